"""Running sums and histograms: routines whose threads, on a GPU, depend on one another.

The operations of the engine call `running_sum`; `prefix_sum` and `histogram` are here for their variants in kernels/numba_cuda.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import Kernel, array_module, determinism
from .accumulate import accumulate
from .common import Array, float32_in_order
from .jit import jit


@Kernel
def running_sum(x: Array, axis: int, reverse: bool) -> Array:
    """out[i] = x[0] + ... + x[i] along an axis, or x[i] + ... + x[n - 1] if `reverse`.

    Example:
        >>> import numpy as np
        >>> running_sum(np.array([1.0, 2.0, 4.0]), 0, True)
        array([7., 6., 4.])
    """
    xp = array_module(x)
    if determinism.required(x):
        return xp.flip(accumulate("add", xp.flip(x, axis), axis), axis) if reverse else accumulate("add", x, axis)
    if reverse:
        return xp.flip(xp.cumsum(xp.flip(x, axis), axis, dtype=x.dtype), axis)
    return xp.cumsum(x, axis, dtype=x.dtype)


# Numba. NumPy adds element after element through a general loop, which takes ten times as long as the additions. A sum must wait
# for the one before it, so four rows are summed side by side; sums are kept in float64, as PyTorch does.


@running_sum.variant("numba", device="cpu", supports=lambda x, axis, reverse: float32_in_order(x) and x.size > 0)
def running_sum_numba(x: Array, axis: int, reverse: bool) -> Array:
    out, n = np.empty(x.shape, np.float32), x.shape[axis]
    first, step = (n - 1, -1) if reverse else (0, 1)
    inside = math.prod(x.shape[axis:]) // n
    if inside == 1:
        add_along_rows(x.reshape(-1, n), out.reshape(-1, n), first, step)
    else:
        add_rows(x.reshape(-1, n, inside), out.reshape(-1, n, inside), np.empty(inside), first, step)
    return out


@jit
def add_along_rows(x: Any, out: Any, first: int, step: int) -> None:
    rows, n = x.shape
    for i in range(0, rows - 3, 4):
        a = b = c = d = 0.0
        for t in range(n):
            j = first + t * step
            a += x[i, j]
            b += x[i + 1, j]
            c += x[i + 2, j]
            d += x[i + 3, j]
            out[i, j], out[i + 1, j], out[i + 2, j], out[i + 3, j] = a, b, c, d
    for i in range(rows // 4 * 4, rows):
        a = 0.0
        for t in range(n):
            j = first + t * step
            a += x[i, j]
            out[i, j] = a


@jit
def add_rows(x: Any, out: Any, total: Any, first: int, step: int) -> None:
    """x (A, N, B) along N; total (B,) is for the sums so far."""
    for i in range(x.shape[0]):
        total[:] = 0.0
        for t in range(x.shape[1]):
            j = first + t * step
            for k in range(x.shape[2]):
                total[k] += x[i, j, k]
                out[i, j, k] = total[k]


@Kernel
def prefix_sum(x: Array) -> Array:
    """out[i] = x[0] + ... + x[i] for x (N,).

    Example:
        >>> import numpy as np
        >>> prefix_sum(np.array([1.0, 2.0, 4.0]))
        array([1., 3., 7.])
    """
    return array_module(x).cumsum(x, dtype=x.dtype)


@Kernel
def histogram(keys: Array, count: int) -> Array:
    """How often each of 0 ... count - 1 occurs in keys (N,), integers of that range, which is not checked: (count,) int64.

    Example:
        >>> import numpy as np
        >>> histogram(np.array([2, 0, 2]), 4)
        array([1, 0, 2, 0])
    """
    return array_module(keys).bincount(keys, minlength=count)
