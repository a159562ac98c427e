"""Rows of a table by number, and numbers as one-hot rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.op import Op, wrap
from ..kernels.embedding import embedding_backward
from ..tensor import Tensor
from ..testing.samples import Sample, samples


class Embedding(Op):
    """The rows of `weight` (V, D) that `index` names."""

    def forward(self, weight: Any, *, index: Any, padding: int | None, by_count: bool) -> Any:
        self.index, self.rows, self.padding, self.by_count = index, weight.shape[0], padding, by_count
        return weight[index]

    def backward(self, g: Any) -> Any:
        return EmbeddingGrad.apply(g, index=self.index, rows=self.rows, padding=self.padding, by_count=self.by_count)


class EmbeddingGrad(Op):
    """The gradients of looked-up rows, added up by row."""

    def forward(self, g: Any, *, index: Any, rows: int, padding: int | None, by_count: bool) -> Any:
        self.index = index
        flat = g.reshape(-1, g.shape[-1])
        self.scale = np.ones((flat.shape[0], 1), flat.dtype)
        if padding is not None:
            self.scale[index.reshape(-1) == padding] = 0
        if by_count and index.size:
            self.scale /= np.bincount(index.reshape(-1), minlength=rows)[index.reshape(-1), None].astype(flat.dtype)
        if padding is not None or by_count:
            flat = flat * self.scale
        return embedding_backward(np.ascontiguousarray(flat), index.reshape(-1), rows)

    def backward(self, g: Any) -> Any:
        rows = Embedding.apply(g, index=self.index, padding=None, by_count=False)
        return rows * self.scale.reshape((*self.index.shape, 1))


@samples(Embedding)
def _(make: Any) -> Any:
    yield Sample(make(5, 3), index=np.array([[0, 4], [4, 2]]), padding=None, by_count=False)
    # not the true gradient on purpose: row 1 gets none, row 4 the mean
    yield Sample(make(5, 3), index=np.array([1, 4, 4]), padding=1, by_count=True, smooth=False)


@samples(EmbeddingGrad)
def _(make: Any) -> Any:
    yield Sample(make(3, 2), index=np.array([1, 3, 3]), rows=4, padding=None, by_count=False)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of `weight` (V, D) at the numbers in `input` (...): (..., D).

    padding_idx: a row that gets no gradient. max_norm: rows longer than that are scaled down first, in place.
    Raises IndexError for a number outside [0, V).
    """
    index = input.array
    if index.dtype.kind not in "iu":
        raise RuntimeError(f"embedding: expected indices of dtype int32 or int64, got {input.dtype}; use x.long()")
    V = weight.array.shape[0]
    if index.size and not (0 <= index.min() and index.max() < V):
        raise IndexError(
            f"embedding: index out of range in self: {index.min()} to {index.max()}, the table has {V} rows"
        )
    if sparse:
        raise RuntimeError("embedding: sparse gradients are not there yet; leave sparse=False")
    if padding_idx is not None and padding_idx < 0:
        padding_idx += V
    if max_norm is not None:
        used = np.unique(index)
        length = np.linalg.norm(weight.array[used], norm_type, axis=1, keepdims=True)
        weight.array[used] *= np.where(length > max_norm, max_norm / (length + 1e-7), 1).astype(weight.array.dtype)
        weight.version[0] += 1
    return Embedding.apply(weight, index=index, padding=padding_idx, by_count=scale_grad_by_freq)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """int64 rows that are 1 at the place the number names: (...) gives (..., num_classes)."""
    index = tensor.array
    if index.dtype != np.int64:
        raise RuntimeError(f"one_hot is only applicable to index tensor of type LongTensor, got {tensor.dtype}")
    if index.size and index.min() < 0:
        raise RuntimeError("Class values must be non-negative.")
    n = int(index.max()) + 1 if num_classes == -1 and index.size else num_classes
    if n <= 0 or (index.size and index.max() >= n):
        raise RuntimeError(f"one_hot: Class values must be smaller than num_classes, which is {n}.")
    out = np.zeros((*index.shape, n), np.int64)
    np.put_along_axis(out, index[..., None], 1, -1)
    return wrap(out)
