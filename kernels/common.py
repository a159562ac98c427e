"""What the kernel families share: the array type of their signatures, and the conditions of their Numba variants."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any  # numpy.ndarray or cupy.ndarray; the two have no common type to name

FLOAT32 = np.dtype(np.float32)


def float32_in_order(*arrays: Array) -> bool:
    """Whether all arrays are float32 and C-contiguous, which is what one compiled loop per kernel is made for."""
    for a in arrays:  # a loop costs half of all(...), and this runs before every call
        if a.dtype != FLOAT32 or not a.flags.c_contiguous:
            return False
    return True


def at_least_float32(x: Array) -> Array:
    """x itself, or a float16 x in float32: its sums, squares and exponentials do not fit into float16."""
    return x.astype(np.result_type(x.dtype, FLOAT32), copy=False)


def rows(x: Array) -> Array:
    """x (..., D) as (N, D)."""
    width = x.shape[-1]
    return x.reshape(x.size // width if width else 0, width)


def float32_side_by_side(*arrays: Array) -> bool:
    """Whether the arrays are float32, laid out alike and without gaps in any order of axes, channels-last for one."""
    x = arrays[0]
    for a in arrays:
        if a.dtype != FLOAT32 or (a is not x and (a.strides != x.strides or a.shape != x.shape)):
            return False
    return x.flags.c_contiguous or np.may_share_memory(x, in_memory_order(x))


def in_memory_order(x: Array) -> Array:
    """x as one axis, its elements in the order in which they lie in memory: a view where there are no gaps."""
    return x.ravel() if x.flags.c_contiguous else x.ravel(order="K")


def row_major(x: Array) -> Array:
    """x, copied into row-major order if it is not: PyTorch's results are, so that programs take view() of them, where
    NumPy keeps the layout of the input."""
    return x if x.flags.c_contiguous else x.copy()
