"""Rows of a table by number, and numbers as one-hot rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import devices
from ..autograd.op import Op, wrap
from ..autograd.precision import holds_bfloat16, rounded, widened
from ..autograd.storage import mark_written
from ..kernels import array_module
from ..kernels.common import row_major
from ..kernels.embedding import embedding_backward
from ..tensor import Tensor
from ..testing.samples import Sample, samples


class Embedding(Op):
    """The rows of `weight` (V, D) that `index` names; `scale` (N, 1), if any, weighs their gradients.

    sparse: the gradient of `weight` stores the rows that were looked up and no other; those with a scale of 0 neither.
    """

    complex_rule = True
    exact = True
    has_bfloat16_rule = True

    def forward(self, weight: Any, *, index: Any, scale: Any = None, sparse: bool = False) -> Any:
        self.index, self.shape, self.scale, self.sparse = index, weight.shape, scale, sparse
        # take() is faster, but copies a whole table that is not contiguous
        return weight.take(index, axis=0) if weight.flags.c_contiguous else weight[index]

    def backward(self, g: Any) -> Any:
        if not self.sparse:
            return EmbeddingGrad.apply(g, index=self.index, rows=self.shape[0], scale=self.scale)
        from ..sparse.gradient import of_rows

        index, rows = self.index.reshape(-1), g.reshape((self.index.size, *self.shape[1:]))
        if self.scale is not None:
            counted = self.scale[:, 0] != 0
            index, rows = index[counted], rows[counted] * self.scale[counted].astype(_raw(g).dtype)
        return of_rows(rows, index, self.shape)


def _raw(x: Any) -> Any:
    return x.array if isinstance(x, Tensor) else x


class EmbeddingGrad(Op):
    """The gradients of looked-up rows, scaled and added up by row."""

    complex_rule = True
    has_bfloat16_kernel = True

    def forward(self, g: Any, *, index: Any, rows: int, scale: Any = None) -> Any:
        self.index, self.scale = index, scale
        flat = g.reshape(index.size, g.shape[-1])
        if scale is not None:
            low = holds_bfloat16(g)
            flat = rounded(widened(flat) * scale.astype(np.float32)) if low else flat * scale.astype(g.dtype)
        return embedding_backward(array_module(g).ascontiguousarray(flat), index.reshape(-1), rows)

    def backward(self, g: Any) -> Any:
        rows = Embedding.apply(g, index=self.index)
        return rows if self.scale is None else rows * self.scale.astype(g.dtype).reshape((*self.index.shape, 1))


@samples(Embedding)
def _(make: Any) -> Any:
    yield Sample(make(5, 3), index=np.array([[0, 4], [4, 2]]))
    scale = np.array([[0.0], [0.5], [0.5]])
    yield Sample(make(5, 3), index=np.array([1, 4, 4]), scale=scale, smooth=False, note="not the derivative, by intent")
    yield Sample(
        make(5, 3), index=np.array([[0, 4], [4, 2]]), sparse=True, smooth=False, note="its gradient is no array"
    )


@samples(EmbeddingGrad)
def _(make: Any) -> Any:
    yield Sample(make(3, 2), index=np.array([1, 3, 3]), rows=4)
    yield Sample(make(3, 2), index=np.array([1, 3, 3]), rows=4, scale=np.array([[0.0], [0.5], [0.5]]))


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

    padding_idx: a row that gets no gradient. max_norm: rows looked up that are longer are first scaled down, in place.
    scale_grad_by_freq: the gradient of a row is divided by how often it was looked up. sparse: the gradient of `weight` is a
    sparse tensor of the rows looked up, for large tables; optim.SGD, Adagrad and SparseAdam take it.
    Raises IndexError for a number outside [0, V).

    Example:
        >>> minidl.nn.functional.embedding(minidl.tensor([1, 0]), minidl.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[3., 4.],
                [1., 2.]])
    """
    devices.check_same("embedding", input, weight)
    index = input.array.copy()  # the gradient needs it as it is now
    xp = array_module(index)
    if index.dtype not in (np.int64, np.int32):
        raise RuntimeError(f"embedding: expected indices of dtype int32 or int64, got {input.dtype}; use x.long()")
    if weight.array.ndim != 2:
        raise RuntimeError(f"embedding: 'weight' must be 2-D, got shape {list(weight.shape)}")
    V = weight.array.shape[0]
    if devices.outside(index, 0, V):
        raise IndexError(
            f"embedding: index out of range in self: {index.min()} to {index.max()}, the table has {V} rows"
        )
    if sparse and scale_grad_by_freq:
        raise RuntimeError(
            "embedding: scale_grad_by_freq not supported with sparse gradients; leave out one of the two"
        )
    if padding_idx is not None and not -V <= padding_idx < V:
        raise ValueError(f"embedding: padding_idx {padding_idx} must be within num_embeddings {V}")
    if max_norm is not None:
        used = xp.unique(index)
        length = xp.linalg.norm(weight.array[used], norm_type, axis=1, keepdims=True)
        weight.array[used] *= xp.where(length > max_norm, max_norm / (length + 1e-7), 1).astype(weight.array.dtype)
        mark_written(weight)
    flat = index.astype(np.int64).reshape(-1)
    scale = None
    if scale_grad_by_freq:
        scale = 1 / xp.bincount(flat, minlength=V)[flat, None]
    if padding_idx is not None:
        scale = xp.ones((flat.size, 1)) if scale is None else scale
        scale[flat == padding_idx % V] = 0
    return Embedding.apply(weight, index=index.astype(np.int64), scale=scale, sparse=sparse)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """int64 rows that are 1 at the place the number names: (...) gives (..., num_classes)."""
    index, xp = row_major(tensor.array), array_module(tensor.array)
    if index.dtype != np.int64:
        raise RuntimeError(f"one_hot is only applicable to index tensor of type LongTensor, got {tensor.dtype}")
    if index.size and index.min() < 0:
        raise RuntimeError(f"one_hot: Class values must be non-negative, got {index.min()}")
    n = int(index.max()) + 1 if num_classes == -1 and index.size else num_classes
    if n <= 0 or (index.size and index.max() >= n):
        raise RuntimeError(f"one_hot: Class values must be smaller than num_classes, which is {n}")
    return wrap((index[..., None] == xp.arange(n)).astype(np.int64))


__all__ = ["embedding", "one_hot"]
