"""The functions of torch.sparse."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.op import wrap
from ..kernels import array_module
from ..kernels.accumulate import maximum_at
from ..layouts import layout as Layout
from ..layouts import sparse_coo
from ..ops.axes import axes_of
from ..ops.exponential import exp, log
from ..ops.gather import scatter_reduce
from ..ops.indexing import Take
from ..ops.reduction import Sum
from ..ops.shape import normalize_dim
from ..ops.sparse import sampled_mm
from ..tensor import Tensor
from .pattern import Pattern
from .tensor import SparseTensor, summed


def _check_sparse(name: str, input: Any) -> None:
    if not isinstance(input, SparseTensor):
        raise TypeError(
            f"sparse.{name}: expected a sparse tensor, got a dense one of shape {list(input.shape)}; use to_sparse()"
        )


def mm(mat1: Tensor, mat2: Tensor, reduce: str | None = None) -> Tensor:
    """The product of two matrices, one or both of them sparse: dense, and sparse if both are.

    reduce: for a sparse mat1 and a dense mat2, what becomes of the products that meet in one element: their "sum", "mean" over
    the stored entries of the row, "amax" or "amin"; where nothing is stored it is 0.
    """
    for t, what in ((mat1, "mat1"), (mat2, "mat2")):
        if t.ndim != 2:
            raise RuntimeError(f"sparse.mm: {what} must be a matrix, got shape {list(t.shape)}")
    if reduce is None or reduce == "sum":
        return mat1 @ mat2
    _check_sparse("mm", mat1)
    if isinstance(mat2, SparseTensor) or reduce not in ("mean", "amax", "amin"):
        raise RuntimeError(f"sparse.mm: reduce is 'sum', 'mean', 'amax' or 'amin', with a dense mat2; got {reduce!r}")
    assert isinstance(mat1, SparseTensor)
    xp = array_module(mat1.pattern.indices)
    rows, columns = mat1.pattern.coordinates()
    if reduce == "mean":
        count = xp.bincount(rows, minlength=mat1.shape[0])
        return mat1 @ mat2 / wrap(xp.maximum(count, 1).astype(mat2.dtype.dtype).reshape(-1, 1))
    if not rows.size:
        return mat1 @ mat2
    products = mat1.entries.unsqueeze(1) * Take.apply(mat2, index=(columns,))
    out = wrap(xp.zeros((mat1.shape[0], mat2.shape[1]), products.dtype.dtype))
    index = wrap(xp.broadcast_to(rows.reshape(-1, 1), products.shape))
    return scatter_reduce(out, 0, index, products, reduce, include_self=False)


def addmm(mat: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """beta * mat + alpha * mat1 @ mat2, for a sparse mat1."""
    product = mm(mat1, mat2) * alpha
    return product + mat * beta if beta else product


def sampled_addmm(
    input: SparseTensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1.0, alpha: float = 1.0
) -> SparseTensor:
    """beta * input + alpha * mat1 @ mat2 at the places of input alone: mat1 (N, D), mat2 (D, M), input (N, M)."""
    _check_sparse("sampled_addmm", input)
    shapes = tuple(input.shape), tuple(mat1.shape), tuple(mat2.shape)
    if any(len(s) != 2 for s in shapes) or shapes[1][1] != shapes[2][0] or shapes[0] != (shapes[1][0], shapes[2][1]):
        raise RuntimeError(
            "sampled_addmm: expected input (N, M), mat1 (N, D) and mat2 (D, M), got "
            f"{', '.join(str(list(s)) for s in shapes)}"
        )
    if not input.dtype is mat1.dtype is mat2.dtype:
        raise RuntimeError(
            f"sampled_addmm: the dtypes must be the same, got {input.dtype}, {mat1.dtype} and {mat2.dtype}; convert with to()"
        )
    sampled = sampled_mm(mat1, mat2.t(), input.pattern) * alpha
    return input.like(input.entries * beta + sampled if beta else sampled)


def sum(input: SparseTensor, dim: Any = None, dtype: Any = None) -> Tensor:
    """The sum of all elements, or along `dim`: dense where no sparse dimension is left, else sparse. Integers keep their dtype."""
    _check_sparse("sum", input)
    input = input if dtype is None else input.to(dtype)
    return Sum.apply(input, axes=axes_of(input, dim, "sparse.sum"), keepdim=False)


def softmax(input: SparseTensor, dim: int, *, dtype: Any = None) -> SparseTensor:
    """Softmax over the stored elements along `dim`; those that are not stored count as minus infinity, and stay 0.

    Example:
        >>> s = minidl.sparse_coo_tensor([[0, 0], [1, 2]], [5.0, 5.0], (1, 3))
        >>> minidl.sparse.softmax(s, 1).to_dense()
        tensor([[0.0000, 0.5000, 0.5000]])
    """
    x, shifted, groups, count = _below_maximum("softmax", input, dim, dtype)
    if groups is None:
        return x.like(x.entries.softmax(count))
    e = exp(shifted)
    return x.like(e / Take.apply(summed(e, groups, count), index=(groups,)))


def log_softmax(input: SparseTensor, dim: int, *, dtype: Any = None) -> SparseTensor:
    """The logarithm of softmax, at the stored elements."""
    x, shifted, groups, count = _below_maximum("log_softmax", input, dim, dtype)
    if groups is None:
        return x.like(x.entries.log_softmax(count))
    return x.like(shifted - Take.apply(log(summed(exp(shifted), groups, count)), index=(groups,)))


def _below_maximum(name: str, input: SparseTensor, dim: int, dtype: Any) -> tuple[SparseTensor, Any, Any, int]:
    """The input with each place once, its entries less the largest that they share a softmax with, and which that is: (nnz,).

    Of a dimension that is dense: the input, None, None, and the dimension of its entries.
    """
    _check_sparse(name, input)
    x = (input if dtype is None else input.to(dtype)).distinct()
    if x.dtype.dtype.kind != "f":
        raise TypeError(
            f"sparse.{name}: expected a float tensor, got {x.dtype}; convert it with float(), or give dtype="
        )
    dim, n = normalize_dim(dim, x.ndim, f"sparse.{name}"), x.sparse_dim()
    if dim >= n:
        return x, None, None, dim - n + 1
    xp, entries = array_module(x.entries.array), x.entries.array
    others = [d for d in range(n) if d != dim]
    sizes = tuple(x.shape[d] for d in others)
    distinct, groups = Pattern(sparse_coo, sizes, x.pattern.coordinates()[others]).coalesce()
    largest = xp.full((distinct.nnz, *entries.shape[1:]), -np.inf, entries.dtype)
    maximum_at(largest, (groups,), entries)
    largest[~xp.isfinite(largest)] = 0
    return x, x.entries - wrap(largest[groups]), groups, distinct.nnz


def spdiags(diagonals: Tensor, offsets: Tensor, shape: tuple[int, int], layout: Layout | None = None) -> SparseTensor:
    """The matrix with diagonals[i, j] in column j of the diagonal offsets[i]: 0 the main one, above it positive.

    diagonals (K, L) or (L,), offsets (K,) integers, all different. What falls outside of the shape is left out.
    """
    diagonals = diagonals.reshape(1, -1) if diagonals.ndim == 1 else diagonals
    offset = offsets.array.reshape(-1)
    if diagonals.ndim != 2 or len(shape) != 2:
        raise RuntimeError(
            f"spdiags: expected diagonals (K, L) and the shape of a matrix, got {list(diagonals.shape)}, {shape}"
        )
    if offset.size != diagonals.shape[0]:
        raise RuntimeError(
            f"Number of diagonals ({diagonals.shape[0]}) does not match the number of offsets ({offset.size})"
        )
    xp = array_module(offset)
    if xp.unique(offset).size != offset.size:
        raise RuntimeError("Offset tensor contains duplicate values")
    columns = xp.broadcast_to(xp.arange(diagonals.shape[1]), diagonals.shape)
    rows = columns - offset.reshape(-1, 1)
    inside = (rows >= 0) & (rows < shape[0]) & (columns < shape[1])
    pattern = Pattern(sparse_coo, tuple(shape), xp.stack([rows[inside], columns[inside]]))
    return SparseTensor(pattern, Take.apply(diagonals, index=(inside,))).to_sparse(layout=layout)
