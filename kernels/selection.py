"""Choice between two values by a condition, which masks of attention are made of."""

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
