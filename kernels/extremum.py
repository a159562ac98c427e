"""The largest and the smallest elements along axes, and where they stand. NaN counts as larger and as smaller than all."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from . import Kernel, array_module
from .common import Array, float32_in_order
from .jit import jit
from .reduce import along, max_axes, min_axes, supports_axes
from .simd import WIDTH, any_lane, first, load, max_lanes, maximum, select, splat

INFINITY, NAN = np.float32(np.inf), np.float32(np.nan)


@Kernel
def extreme_at(x: Array, axis: int, largest: bool) -> Any:
    """The largest (or smallest) element along an axis and its place, the first of equal ones; the axis stays with size 1.

    Example:
        >>> extreme_at(np.array([[1.0, 3.0, 3.0]]), 1, True)
        (array([[3.]]), array([[1]]))
    """
    xp = array_module(x)
    index = (xp.argmax if largest else xp.argmin)(x, axis=axis, keepdims=True)
    return xp.take_along_axis(x, index, axis), index


# Numba. Neighbouring axes are one, so the elements are x (A, N, D) along N: rows, where D = 1, or N rows at a time. The
# smallest element is the largest of those with the other sign; a change of sign is exact.


def supports_at(x: Array, axis: int, largest: bool) -> bool:
    return float32_in_order(x) and x.size > 0


@max_axes.variant("numba", device="cpu", supports=supports_axes)
def max_axes_numba(x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
    return along(max_middle, x, axes, keepdim)


@min_axes.variant("numba", device="cpu", supports=supports_axes)
def min_axes_numba(x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
    return along(min_middle, x, axes, keepdim)


def max_middle(x: Array, terms: int, inside: int) -> Array:
    """The largest along the middle of (A, N, D), whose elements are x (A * N * D,), as (A * D,)."""
    return extreme(x, terms, inside, np.float32(1))


def min_middle(x: Array, terms: int, inside: int) -> Array:
    return extreme(x, terms, inside, np.float32(-1))


def extreme(x: Array, terms: int, inside: int, sign: Any) -> Array:
    if terms == 1:
        return x
    out = np.empty(x.size // terms, np.float32)
    if inside == 1:
        extreme_of_rows(x.reshape(-1, terms), sign, out)
    else:
        extreme_of_columns(x.reshape(-1, terms, inside), sign, out.reshape(-1, inside))
    return out


@extreme_at.variant("numba", device="cpu", supports=supports_at)
def extreme_at_numba(x: Array, axis: int, largest: bool) -> Any:
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    out, index, sign = np.empty(shape, np.float32), np.empty(shape, np.int64), np.float32(1 if largest else -1)
    if axis == x.ndim - 1:
        place_in_rows(x.reshape(out.size, -1), sign, out.reshape(-1), index.reshape(-1))
    else:
        inside = prod(x.shape[axis + 1 :])
        places = index.reshape(-1, inside)
        place_in_columns(x.reshape(len(places), -1, inside), sign, out.reshape(-1, inside), places)
    return out, index


@jit
def extreme_of_row(x: Any, i: int, sign: Any) -> Any:
    """The largest of sign * x[i], NaN if there is one."""
    start, stop = i * x.shape[1], (i + 1) * x.shape[1]
    best, other, none = splat(-INFINITY), splat(-INFINITY), first(0)  # two: one would wait for each comparison
    rest = stop - (stop - start) % (2 * WIDTH)
    for j in range(start, rest, 2 * WIDTH):
        a, b = sign * load(x, j), sign * load(x, j + WIDTH)
        none = none | (a != a) | (b != b)
        best, other = maximum(a, best), maximum(b, other)  # of a NaN and another it takes the other
    for j in range(rest, stop, WIDTH):
        there = first(stop - j)
        a = select(there, sign * load(x, j, there), best)
        none = none | (a != a)
        best = maximum(a, best)
    return NAN if any_lane(none) else max_lanes(maximum(best, other))


@jit
def extreme_of_rows(x: Any, sign: Any, out: Any) -> None:
    for i in range(out.size):
        out[i] = sign * extreme_of_row(x, i, sign)


@jit
def extreme_of_columns(x: Any, sign: Any, out: Any) -> None:
    for i in range(x.shape[0]):
        for k in range(x.shape[2]):
            out[i, k] = x[i, 0, k]
        for j in range(1, x.shape[1]):
            for k in range(x.shape[2]):
                value, best = x[i, j, k], out[i, k]
                out[i, k] = value if sign * value > sign * best or value != value else best


@jit
def place_in_rows(x: Any, sign: Any, out: Any, index: Any) -> None:
    for i in range(out.size):
        best = extreme_of_row(x, i, sign)
        j = 0
        while not (sign * x[i, j] == best or x[i, j] != x[i, j]):
            j += 1
        out[i], index[i] = x[i, j], j


@jit
def place_in_columns(x: Any, sign: Any, out: Any, index: Any) -> None:
    for i in range(x.shape[0]):
        # not out[i] = x[i, 0]: an assignment of arrays compiles for a second, its errors most of all
        for k in range(x.shape[2]):
            out[i, k], index[i, k] = x[i, 0, k], 0
        for j in range(1, x.shape[1]):
            for k in range(x.shape[2]):
                value, best = x[i, j, k], out[i, k]
                better = sign * value > sign * best or (value != value and best == best)
                out[i, k] = value if better else best
                index[i, k] = j if better else index[i, k]
