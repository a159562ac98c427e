"""Elements picked and placed along one dimension, each by its own entry of an index: gather and scatter.

An index has as many dimensions as what it points into, and is no larger in the others:

    take      out[i][j] = x[index[i][j]][j]                           along dimension 0
    put       out[index[i][j]][j] = src[i][j]
    reduce    out[index[i][j]][j] = out[index[i][j]][j] + src[i][j]   or their product, or the larger or smaller one

Entries of the index are not checked here. Of several values that are put in one place, the last one stays on the CPU.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from . import Kernel, array_module, determinism
from .accumulate import add_at, maximum_at, minimum_at, multiply_at, put_last
from .common import Array, float32_in_order
from .jit import jit

REDUCTIONS = {"sum": add_at, "prod": multiply_at, "amax": maximum_at, "amin": minimum_at}  # in place, at an index
NUMBERS = {name: i for i, name in enumerate(REDUCTIONS)}


def places(index: Array, dim: int) -> tuple[Array, ...]:
    """The index that names, at each place of `index`, the element it points to along `dim`."""
    xp, last = array_module(index), index.ndim - 1
    return tuple(
        index if d == dim else xp.arange(n).reshape((n,) + (1,) * (last - d)) for d, n in enumerate(index.shape)
    )


@Kernel
def take_along(x: Array, index: Array, dim: int) -> Array:
    """The elements of x that an index points to along `dim`, of the shape of the index.

    Example:
        >>> import numpy as np
        >>> take_along(np.array([[1, 2], [3, 4]]), np.array([[1], [0]]), 1)
        array([[2],
               [3]])
    """
    return array_module(x).ascontiguousarray(x[places(index, dim)])


@Kernel
def put_along(x: Array, src: Array, index: Array, dim: int) -> Array:
    """A copy of x with src, of the shape of the index, written where it points to along `dim`."""
    out, at = x.copy(), places(index, dim)
    if array_module(x) is not np and determinism.mode != "default":
        put_last(out, at, src)
    else:
        out[at] = src
    return out


@Kernel
def reduce_along(x: Array, src: Array, index: Array, dim: int, reduce: str) -> Array:
    """A copy of x into which src is reduced where an index points to along `dim`: "sum", "prod", "amax" or "amin".

    NaN is larger and smaller than all.
    """
    out = x.copy()
    REDUCTIONS[reduce](out, places(index, dim), src)
    return out


# Numba


def three(shape: tuple[int, ...], dim: int) -> tuple[int, int, int]:
    """The sizes before, along and behind a dimension."""
    return prod(shape[:dim]), shape[dim], prod(shape[dim + 1 :])


def supports(x: Array, index: Array, dim: int) -> bool:
    """As many entries as elements in the other dimensions."""
    same = x.shape[:dim] == index.shape[:dim] and x.shape[dim + 1 :] == index.shape[dim + 1 :]
    return same and float32_in_order(x) and index.dtype == "int64" and index.flags.c_contiguous and index.size > 0


def supports_src(x: Array, src: Array, index: Array, dim: int, *rest: Any) -> bool:
    return supports(x, index, dim) and float32_in_order(src)


@take_along.variant("numba", device="cpu", supports=supports)
def take_along_numba(x: Array, index: Array, dim: int) -> Array:
    out = np.empty(index.shape, np.float32)
    take_all(x.reshape(three(x.shape, dim)), index.reshape(three(index.shape, dim)), out.reshape(three(out.shape, dim)))
    return out


@jit
def take_all(x: Any, index: Any, out: Any) -> None:
    for o in range(out.shape[0]):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                out[o, j, i] = x[o, np.uintp(index[o, j, i]), i]


@put_along.variant("numba", device="cpu", supports=supports_src)
def put_along_numba(x: Array, src: Array, index: Array, dim: int) -> Array:
    return reduced(x, src, index, dim, -1)


@reduce_along.variant("numba", device="cpu", supports=supports_src)
def reduce_along_numba(x: Array, src: Array, index: Array, dim: int, reduce: str) -> Array:
    return reduced(x, src, index, dim, NUMBERS[reduce])


def reduced(x: Array, src: Array, index: Array, dim: int, kind: int) -> Array:
    out, shape = x.copy(), three(index.shape, dim)
    reduce_all(out.reshape(three(x.shape, dim)), src.reshape(shape), index.reshape(shape), kind)
    return out


@jit
def reduce_all(out: Any, src: Any, index: Any, kind: int) -> None:
    """kind: a number of NUMBERS, or -1 for writing."""
    for o in range(src.shape[0]):
        for j in range(src.shape[1]):
            for i in range(src.shape[2]):
                place, value = np.uintp(index[o, j, i]), src[o, j, i]
                now = out[o, place, i]
                if kind == 0:
                    value += now
                elif kind == 1:
                    value *= now
                elif kind == 2:
                    value = value if value > now or value != value else now
                elif kind == 3:
                    value = value if value < now or value != value else now
                out[o, place, i] = value
