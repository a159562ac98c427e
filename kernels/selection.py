"""Choice: between two values by a condition, which masks of attention are made of; of the largest values of a row."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import Kernel, array_module
from .common import FLOAT32, Array, float32_in_order
from .jit import jit


@Kernel
def where(condition: Array, x: Any, y: Any) -> Array:
    """x where the condition, of bools, holds, else y: arrays or numbers, broadcast.

    Example:
        >>> where(np.array([True, False]), np.array([1.0, 2.0]), 0.0)
        array([1., 0.])
    """
    return array_module(condition).where(condition, x, y)


# Numba: one loop for two arrays, one for an array and a number. A condition that lacks leading axes, like a mask (T, T) of
# attention scores (B, H, T, T), is read again for each of what it is repeated over.


def supports(condition: Array, x: Any, y: Any) -> bool:
    arrays = [a for a in (x, y) if getattr(a, "ndim", 0)]
    if not arrays or condition.dtype.kind != "b" or not condition.flags.c_contiguous or not float32_in_order(*arrays):
        return False
    shape = arrays[0].shape
    if shape != arrays[-1].shape or not all(getattr(a, "ndim", 0) or is_number(a) for a in (x, y)):
        return False
    mask = condition.shape
    while mask and mask[0] == 1:
        mask = mask[1:]
    return condition.size > 0 and mask == shape[len(shape) - len(mask) :]


def is_number(a: Any) -> bool:
    """Whether a does not change the dtype of a float32 array beside it."""
    return type(a) in (int, float) or getattr(a, "dtype", None) == FLOAT32


@where.variant("numba", device="cpu", supports=supports)
def where_numba(condition: Array, x: Any, y: Any) -> Array:
    mask, like = condition.reshape(-1), x if getattr(x, "ndim", 0) else y
    out = np.empty(like.shape, np.float32)
    lines = out.reshape(-1, mask.size)
    if like is y:
        fill_rows(mask, True, np.float32(x), y.reshape(lines.shape), lines)
    elif getattr(y, "ndim", 0):
        choose_rows(mask, x.reshape(lines.shape), y.reshape(lines.shape), lines)
    else:
        fill_rows(mask, False, np.float32(y), x.reshape(lines.shape), lines)
    return out


@jit
def choose_rows(condition: Any, x: Any, y: Any, out: Any) -> None:
    for i in range(out.shape[0]):
        for j in range(condition.size):
            out[i, j] = x[i, j] if condition[j] else y[i, j]


@jit
def fill_rows(condition: Any, at: bool, value: Any, x: Any, out: Any) -> None:
    """x, or the value where the condition is `at`."""
    for i in range(out.shape[0]):
        for j in range(condition.size):
            out[i, j] = value if condition[j] == at else x[i, j]


@Kernel
def top_k(x: Array, k: int, largest: bool) -> Array:
    """The places of the k largest (or smallest) elements of each row of x (N, D), in order: (N, k) int64.

    Equal elements keep their order; NaN counts as the largest.

    Example:
        >>> top_k(np.array([[3.0, 1.0, 2.0]]), 2, True)
        array([[0, 2]])
    """
    xp = array_module(x)
    if not largest:
        return xp.argsort(x, axis=1, kind="stable")[:, :k]
    # stable and descending: sort the reversed row upwards and read it backwards
    return xp.flip(x.shape[1] - 1 - xp.argsort(xp.flip(x, 1), axis=1, kind="stable"), 1)[:, :k].copy()


# Numba. A sort puts all D elements in order where k are asked for. One pass that keeps the best so far, in order, compares
# each element with the worst of them; where the row is in no order of its own, few elements get further than that. Of more, the
# worst is found first (Hoare, "Algorithm 65: Find", 1961), and only what is not worse is put in order.

FEW = 64  # of so many the row could be in the worst of orders, and the pass would still not take longer than a sort


def supports_top_k(x: Array, k: int, largest: bool) -> bool:
    some = 0 < k <= max(FEW, x.shape[1] // 4)
    return x.dtype.kind == "f" and x.dtype.itemsize >= 4 and x.flags.c_contiguous and some


@top_k.variant("numba", device="cpu", supports=supports_top_k)
def top_k_numba(x: Array, k: int, largest: bool) -> Array:
    out = np.empty((len(x), k), np.int64)
    if k <= FEW:
        keep_best(x, np.empty(k, x.dtype), largest, out)
    else:
        for row, places in zip(x, out, strict=True):
            found = not_worse(row, k, largest)
            places[:] = found[top_k.reference(row[None, found], k, largest)[0]]
    return out


def not_worse(x: Array, k: int, largest: bool) -> Array:
    """Where the elements of x (D,) are that the k largest, or smallest, are among: these, and what equals the last of them."""
    bound = np.partition(x, len(x) - k)[-k] if largest else np.partition(x, k - 1)[k - 1]
    if bound != bound:  # NaN, of which there are too many on this side
        return np.arange(len(x))
    return np.flatnonzero(~(x < bound) if largest else x <= bound)


@jit
def keep_best(x: Any, best: Any, largest: bool, out: Any) -> None:
    """best (k,): the best elements of a row so far, the best one first."""
    k = best.size
    for i in range(x.shape[0]):
        n = 0
        for j in range(x.shape[1]):
            value = x[i, j]
            if n == k and not better(value, best[k - 1], largest):
                continue
            place = n if n < k else k - 1
            while place > 0 and better(value, best[place - 1], largest):
                best[place], out[i, place] = best[place - 1], out[i, place - 1]
                place -= 1
            best[place], out[i, place] = value, j
            if n < k:
                n += 1


@jit
def better(a: Any, b: Any, largest: bool) -> bool:
    if largest:
        return a > b or (a != a and b == b)
    return a < b or (b != b and a == a)
