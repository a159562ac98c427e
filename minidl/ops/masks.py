"""Elements that a mask chooses (masked_fill, masked_select, masked_scatter), and where the elements are that are not zero."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..autograd.op import as_array, wrap
from ..kernels import array_module
from ..tensor import Tensor, method
from .conversion import cast
from .gather import index_array
from .indexing import IndexPut, Take, number
from .selection import where


def _check_mask(name: str, mask: Tensor) -> None:
    if mask.array.dtype.kind != "b":
        raise RuntimeError(f"{name} only supports boolean masks, but got mask with dtype {mask.dtype}; compare first")


@method(inplace=True)
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """input with `value`, a number or a 0-d tensor, where `mask` holds; both are broadcast."""
    _check_mask("masked_fill", mask)
    if not isinstance(value, Tensor):
        value = number(value, input)
    elif value.array.ndim:
        raise RuntimeError(
            "masked_fill only supports a 0-dimensional value tensor, but got tensor with "
            f"{value.array.ndim} dimension(s)."
        )
    elif not dtypes.can_cast(value.dtype, input.dtype):
        raise RuntimeError(f"masked_fill: value cannot be converted to type {input.dtype} without overflow: {value}")
    devices.check_same("masked_fill", input, mask)
    return where(wrap(mask.array.copy()), cast(value, input.array.dtype), input)


@method()
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where `mask` holds, as a 1-d tensor; both are broadcast."""
    _check_mask("masked_select", mask)
    devices.check_same("masked_select", input, mask)
    shape = np.broadcast_shapes(input.array.shape, mask.array.shape)
    return Take.apply(input.expand(shape), index=(mask.expand(shape).array.copy(),))


@method(inplace=True)
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """input with the elements where `mask` holds replaced by those of source, in their order."""
    _check_mask("masked_scatter", mask)
    if source.array.dtype != input.array.dtype:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes but got {input.dtype} and {source.dtype}"
        )
    shape = np.broadcast_shapes(input.array.shape, mask.array.shape)
    at = mask.expand(shape).array.copy()
    count = int(at.sum())
    if source.array.size < count:
        raise RuntimeError(
            f"masked_scatter: Number of elements of source < number of ones in mask: {source.array.size} < {count}"
        )
    flat = source.reshape(-1)
    flat = flat if flat.array.size == count else flat[:count]
    return IndexPut.apply(input.expand(shape), flat, index=(at,))


@method()
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not zero: (N, ndim), or with as_tuple ndim tensors (N,)."""
    xp = array_module(input.array)
    if input.array.ndim or as_tuple:
        found = xp.atleast_1d(input.array).nonzero()
        return tuple(wrap(i) for i in found) if as_tuple else wrap(xp.stack(found, 1))
    return wrap(xp.zeros((int(input.array != 0), 0), np.int64))


@method()
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The first `size` rows of nonzero(input), with rows of fill_value behind them where there are fewer."""
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be a non-negative number, got {size}")
    found = nonzero(input).array[:size]
    rest = array_module(found).full((size - len(found), found.shape[1]), fill_value)
    return wrap(array_module(found).concatenate([found, rest]))


@method()
def fill_diagonal_(input: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Write a number on the diagonal, in place; with more than two dimensions, which must be of one size, at (i, i, ...).

    wrap: for a matrix with more rows than columns, begin again below the square.
    """
    shape = input.array.shape
    if len(shape) < 2 or (len(shape) > 2 and len(set(shape)) > 1):
        raise RuntimeError(
            f"fill_diagonal_: expected a matrix, or more dimensions of one size; got shape {list(shape)}"
        )
    n, columns = min(shape), shape[1]
    index: tuple[Any, ...] = (np.arange(n),) * len(shape)
    if wrap and len(shape) == 2 and shape[0] > columns:
        flat = np.arange(0, prod(shape), columns + 1)
        index = (flat // columns, flat % columns)
    input[index] = fill_value
    return input


@method()
def argwhere(input: Tensor) -> Tensor:
    """The indices of the elements that are not zero: (N, ndim)."""
    return nonzero(input)


def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """Positions in a flattened tensor of that shape as positions in its dimensions, one tensor each."""
    at, sizes = index_array("unravel_index", indices), (shape,) if isinstance(shape, int) else tuple(shape)
    n = prod(sizes)
    if devices.outside(at, 0, n):
        raise IndexError(
            f"unravel_index: indices from {at.min()} to {at.max()} for {n} elements of shape {list(sizes)}"
        )
    return tuple(wrap(as_array(i)) for i in array_module(at).unravel_index(at, sizes))


__all__ = [
    "argwhere", "masked_fill", "masked_scatter", "masked_select", "nonzero", "nonzero_static", "unravel_index",
]  # fmt: skip
