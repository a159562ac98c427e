"""What dense operations do on sparse tensors.

    @on_sparse(Neg)
    def neg(x): ...

An operation that meets a sparse tensor goes to the function registered here for it, whichever way it was called: as a function,
a method or an operator. The functions compute on the entries, which are dense tensors in the graph, so gradients need no rules
of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.op import Op
from ..kernels import array_module
from ..kernels.sparse import rows_of
from ..layouts import sparse_coo
from ..ops.activation import ReLU
from ..ops.arithmetic import Add, Div, Mul, Pow, Sub
from ..ops.complex import Conjugate
from ..ops.exponential import Expm1, Log1p, Sqrt, Square
from ..ops.indexing import Take
from ..ops.linalg import Linear, MatMul
from ..ops.rearrange import Clone
from ..ops.reduction import Sum
from ..ops.rounding import Abs, Ceil, Floor, Frac, NanToNum, Neg, Round, Sign, Trunc
from ..ops.selection import IsInf, IsNaN, SignBit
from ..ops.shape import Permute, Transpose
from ..ops.sparse import sparse_mm
from ..ops.special import Erf, Erfinv
from ..ops.trigonometric import Asin, Asinh, Atan, Atanh, Sin, Sinh, Tan, Tanh
from ..tensor import Tensor
from .pattern import Pattern
from .tensor import SparseTensor, summed


def on_sparse(*ops: type[Op]) -> Callable[[Any], Any]:
    """Register the decorated function as what these operations do where an input is a sparse tensor."""

    def register(function: Any) -> Any:
        for op in ops:
            op.on_sparse = staticmethod(function)
        return function

    return register


# ---------------------------------------------------------------------------------------------------------------------
# One input, element by element. 0 must give 0; what is not linear sees each element once, all that is stored of it added up


def _elementwise(op: type[Op], linear: bool) -> None:
    @on_sparse(op)
    def form(x: SparseTensor, **params: Any) -> SparseTensor:
        x = x if linear else x.distinct()
        return x.like(op.apply(x.entries, **params))


_op: type[Op]
for _op in (Clone, Neg, Conjugate):
    _elementwise(_op, linear=True)
for _op in (
    Abs, Asin, Asinh, Atan, Atanh, Ceil, Erf, Erfinv, Expm1, Floor, Frac, IsInf, IsNaN, Log1p, NanToNum, ReLU, Round, Sign,
    SignBit, Sin, Sinh, Sqrt, Square, Tan, Tanh, Trunc,
):  # fmt: skip
    _elementwise(_op, linear=False)


@on_sparse(Pow)
def power(x: Any, y: Any) -> SparseTensor:
    """x to a power above 0."""
    if isinstance(y, Tensor) and not isinstance(y, SparseTensor) and not y.ndim:
        y = y.item()
    if not isinstance(x, SparseTensor) or isinstance(y, Tensor) or not y > 0:
        raise RuntimeError("pow: of a sparse tensor only the power to a number above 0 is sparse; use to_dense() first")
    x = x.distinct()
    return x.like(x.entries**y)


# ---------------------------------------------------------------------------------------------------------------------
# Sums, products and quotients, element by element


@on_sparse(Add)
def add(x: Any, y: Any) -> Tensor:
    """Two sparse tensors give a sparse one that stores what either does, a sparse and a dense one a dense one."""
    _check_same_shape("add", x, y)
    if not isinstance(x, SparseTensor):
        x, y = y, x
    if not isinstance(y, SparseTensor):
        return y + x.to_dense()
    if x.pattern.same_as(y.pattern):
        return x.like(x.entries + y.entries)
    _check_same_kind("add", x, y)
    joined, places = x.pattern.followed_by(y.pattern).coalesce()
    dtype = dtypes.promote_types(x.dtype, y.dtype)
    total = sum_of_parts(places, joined.nnz, x.entries.to(dtype), y.entries.to(dtype))
    return SparseTensor(joined, total)._in_layout(x.layout)


def sum_of_parts(places: Any, count: int, x: Tensor, y: Tensor) -> Tensor:
    """The entries of two tensors added up by place, where those of y come after those of x."""
    first, second = places[: x.shape[0]], places[x.shape[0] :]
    return summed(x, first, count) + summed(y, second, count)


@on_sparse(Sub)
def sub(x: Any, y: Any) -> Tensor:
    """x + (-y)."""
    return x + -y


@on_sparse(Mul)
def mul(x: Any, y: Any) -> SparseTensor:
    """A sparse tensor times a number, times a dense tensor that broadcasts to its shape, or times another sparse tensor."""
    if not isinstance(x, SparseTensor):
        x, y = y, x
    if not isinstance(y, Tensor) or (not isinstance(y, SparseTensor) and y.ndim == 0):
        return x.like(x.entries * y)
    if not isinstance(y, SparseTensor):
        return x.like(x.entries * _at_entries(y, x))
    _check_same_shape("mul", x, y)
    if x.pattern.same_as(y.pattern) and x.pattern.coalesced:
        return x.like(x.entries * y.entries)
    _check_same_kind("mul", x, y)
    x_of, y_of = x._in_layout(sparse_coo).coalesce(), y._in_layout(sparse_coo).coalesce()
    xp = array_module(x_of.pattern.indices)
    _, in_x, in_y = xp.intersect1d(x_of.pattern.keys(), y_of.pattern.keys(), assume_unique=True, return_indices=True)
    entries = Take.apply(x_of.entries, index=(in_x,)) * Take.apply(y_of.entries, index=(in_y,))
    pattern = Pattern(sparse_coo, x.pattern.shape, x_of.pattern.indices[:, in_x], coalesced=True)
    return SparseTensor(pattern, entries)._in_layout(x.layout)


def _at_entries(y: Tensor, x: SparseTensor) -> Tensor:
    """The elements of a dense tensor, as it broadcasts to the shape of x, at the entries of x: without being expanded."""
    lead = x.ndim - y.ndim
    if lead < 0 or any(size not in (1, n) for size, n in zip(y.shape, x.shape[max(lead, 0) :], strict=True)):
        raise RuntimeError(
            f"mul: a dense tensor of shape {list(y.shape)} does not broadcast to the sparse {list(x.shape)}"
        )
    coordinates = x.pattern.index()[lead:]
    index = tuple(c if size > 1 else c * 0 for c, size in zip(coordinates, y.shape, strict=False))
    return Take.apply(y, index=index) if index else y


@on_sparse(Div)
def div(x: Any, y: Any) -> SparseTensor:
    """A sparse tensor divided by a number or a tensor without dimensions."""
    if not isinstance(x, SparseTensor) or isinstance(y, SparseTensor) or (isinstance(y, Tensor) and y.ndim):
        got = f"divisor of shape {list(y.shape)}" if isinstance(x, SparseTensor) else "sparse divisor"
        raise RuntimeError(
            f"Sparse division requires a scalar or zero-dim dense tensor divisor (got {got}); multiply by the reciprocal instead"
        )
    return x.like(x.entries / y)


def _check_same_shape(name: str, x: Any, y: Any) -> None:
    shapes = [list(t.shape) if isinstance(t, Tensor) else "a number" for t in (x, y)]
    if shapes[0] != shapes[1]:
        raise RuntimeError(
            f"{name}: expected sizes of 'self' and 'other' to match, but {shapes[0]} != {shapes[1]}; the result would not be "
            "sparse, or would have another shape: use to_dense() first"
        )


def _check_same_kind(name: str, x: SparseTensor, y: SparseTensor) -> None:
    if x.layout is not y.layout or x.sparse_dim() != y.sparse_dim():
        raise RuntimeError(
            f"{name}: the operands are {x.layout} with {x.sparse_dim()} sparse dimensions and {y.layout} with {y.sparse_dim()}; "
            "convert one with to_sparse(layout=...)"
        )


# ---------------------------------------------------------------------------------------------------------------------
# Matrix products


@on_sparse(MatMul)
def matmul(x: Any, y: Any) -> Tensor:
    """A sparse matrix times a dense matrix or vector, or the other way round: dense. Two sparse matrices: sparse."""
    inner = x.shape[-1] if x.ndim else 0, y.shape[0 if y.ndim == 1 else -2] if y.ndim else 0
    if any(t.ndim != 2 or t.dense_dim() for t in (x, y) if isinstance(t, SparseTensor)) or min(x.ndim, y.ndim) < 1:
        raise RuntimeError(
            f"matmul: sparse operands must be matrices without dense dimensions, got {list(x.shape)} and {list(y.shape)}"
        )
    if inner[0] != inner[1]:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({'x'.join(map(str, x.shape))} and {'x'.join(map(str, y.shape))})"
        )
    if x.dtype is not y.dtype:
        raise RuntimeError(
            f"matmul: expected m1 and m2 to have the same dtype, but got: {x.dtype} != {y.dtype}; convert one of them with to()"
        )
    if isinstance(x, SparseTensor) and isinstance(y, SparseTensor):
        return _sparse_product(*(t if t.pattern.block is None else t.to_sparse() for t in (x, y)))
    if isinstance(x, SparseTensor):
        if y.ndim > 2:
            raise RuntimeError(f"matmul: a sparse matrix multiplies a matrix or a vector, got shape {list(y.shape)}")
        return sparse_mm(x.entries, y, x.pattern)
    transpose = y.t()
    if x.ndim == 1:
        return sparse_mm(transpose.entries, x, transpose.pattern)
    rows = x if x.ndim == 2 else x.reshape(prod(x.shape[:-1]), x.shape[-1])
    return sparse_mm(transpose.entries, rows.t(), transpose.pattern).t().reshape(*x.shape[:-1], y.shape[1])


def _sparse_product(x: SparseTensor, y: SparseTensor) -> SparseTensor:
    """Every pair of an entry of x in column k and an entry of y in row k gives a product; those of one place add up."""
    xp = array_module(x.pattern.indices)
    pointers, columns, order, _ = y.pattern.compressed(0)
    rows, inner = x.pattern.coordinates()
    first, count = pointers[inner], xp.diff(pointers)[inner]  # of the row of y that each entry of x meets
    begin = xp.concatenate([xp.zeros(1, np.int64), xp.cumsum(count)])  # of its products among all
    of_x = rows_of(begin, int(begin[-1]))
    of_y = xp.arange(of_x.size) - (begin[:-1] - first)[of_x]
    places = Pattern(sparse_coo, (x.shape[0], y.shape[1]), xp.stack([rows[of_x], columns[of_y].astype(rows.dtype)]))
    of_y = of_y if order is None else order[of_y]
    products = Take.apply(x.entries, index=(of_x,)) * Take.apply(y.entries, index=(of_y,))
    pattern, groups = places.coalesce()
    return SparseTensor(pattern, summed(products, groups, pattern.nnz))._in_layout(x.layout)


@on_sparse(Linear)
def linear(x: Any, weight: Any, bias: Any) -> Tensor:
    """x @ weight.T + bias."""
    product = x @ weight.t()
    return product if bias is None else product + bias


# ---------------------------------------------------------------------------------------------------------------------
# Shape


@on_sparse(Transpose)
def transpose(x: SparseTensor, *, dim0: int, dim1: int) -> SparseTensor:
    """Two sparse dimensions exchanged."""
    dims = list(range(x.ndim))
    dims[dim0], dims[dim1] = dim1, dim0
    return permute(x, dims=tuple(dims))


@on_sparse(Permute)
def permute(x: SparseTensor, *, dims: tuple[int, ...]) -> SparseTensor:
    """The sparse dimensions in another order."""
    n = x.sparse_dim()
    if dims == tuple(range(x.ndim)):
        return x
    if dims[n:] != tuple(range(n, x.ndim)):
        raise RuntimeError(
            f"permute: only the first {n}, the sparse dimensions of {list(x.shape)}, can be permuted, got {dims}"
        )
    if dims == (1, 0):
        entries = x.entries if x.pattern.block is None else x.entries.transpose(1, 2)
        return SparseTensor(x.pattern.transposed(), entries)
    sizes = tuple(x.shape[d] for d in dims)
    return SparseTensor(Pattern(sparse_coo, sizes, x.pattern.indices[list(dims[:n])]), x.entries)


# ---------------------------------------------------------------------------------------------------------------------
# Sums along dimensions


@on_sparse(Sum)
def total(x: SparseTensor, *, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    """The sum along dimensions: dense where no sparse dimension is left, else sparse."""
    x = x if x.pattern.block is None else x.to_sparse()
    n, kept = x.sparse_dim(), [d for d in range(x.sparse_dim()) if d not in axes]
    entries = x.entries
    inner = tuple(d - n + 1 for d in axes if d >= n)
    if inner:
        entries = entries.sum(inner, keepdim)
    if not kept:
        result = entries.sum(0)
        return result.reshape((1,) * n + tuple(result.shape)) if keepdim else result
    coordinates = x.pattern.coordinates()
    if keepdim:
        coordinates = coordinates.copy()
        coordinates[[d for d in range(n) if d in axes]] = 0
    else:
        coordinates = coordinates[kept]
    sizes = tuple(1 if d in axes else s for d, s in enumerate(x.shape) if keepdim or d not in axes)
    pattern, places = Pattern(sparse_coo, sizes, coordinates).coalesce()
    return SparseTensor(pattern, summed(entries, places, pattern.nnz))._in_layout(x.layout if keepdim else sparse_coo)
