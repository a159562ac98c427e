"""Matrix products: the routine under every linear layer, and under attention and convolution.

The name is the BLAS's, "general matrix multiply". NumPy hands float32 and float64 to the BLAS that it was built with, which
cuts the matrices into blocks that fit the caches (Goto & van de Geijn, "Anatomy of high-performance matrix multiplication",
2008); transposed operands are read where they lie.
"""

from __future__ import annotations

import numpy as np

from . import Kernel, array_module
from .common import Array, at_least_float32


@Kernel
def gemm(a: Array, b: Array, bias: Array | None) -> Array:
    """a @ b, plus bias if there is one: (..., M, K) and (..., K, N) give (..., M, N), bias is (N,).

    Leading dimensions broadcast, and vectors count as in `numpy.matmul`. float16 is added up in float32.

    Example:
        >>> import numpy as np
        >>> gemm(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([10.0, 20.0]))
        array([[11., 22.],
               [13., 24.]])
    """
    if a.dtype.kind == "f" and a.dtype.itemsize == 2 and array_module(a) is np:  # CuPy's products do so by themselves
        wide = at_least_float32(a) @ at_least_float32(b)
        return (wide if bias is None else wide + bias).astype(a.dtype)
    out = a @ b
    if bias is not None:
        out += bias
    return out
