"""Prefix sums and histograms: small routines whose threads, on a GPU, depend on one another.

The engine's own operations call NumPy and CuPy for them. They are kernels for the sake of their variants in kernels/numba_cuda.
"""

from __future__ import annotations

from . import Kernel, array_module
from .common import Array


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
