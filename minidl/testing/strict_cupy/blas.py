"""What stands for cuBLAS: the functions of the library that kernels/cublas.py calls, with the same arguments.

They read and write at addresses, as the library does, so that a wrong step or a wrong order of the arguments gives wrong
numbers here, too. What the library refuses they refuse, with its status.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from ...dtypes import bfloat16
from . import device

SUCCESS, NOT_INITIALIZED, INVALID_VALUE, NOT_SUPPORTED = 0, 1, 7, 15
# cudaDataType -> elements, the cublasComputeType_t that goes with it, and the type of alpha and beta
TYPES = {2: (np.float16, 68, ctypes.c_float), 0: (np.float32, 68, ctypes.c_float), 1: (np.float64, 70, ctypes.c_double)}


def types() -> dict[int, tuple[Any, int, Any]]:
    """TYPES, with bfloat16 once that has been used."""
    return TYPES if bfloat16._dtype is None else {**TYPES, 14: (bfloat16.dtype, 68, ctypes.c_float)}


class Cublas:
    """The library, with one handle for all."""

    HANDLE = 0xB1A5

    def __init__(self) -> None:
        self.stream: Any = None

    def cublasCreate_v2(self, handle: Any) -> int:
        handle._obj.value = self.HANDLE
        return SUCCESS

    def cublasSetStream_v2(self, handle: Any, stream: int) -> int:
        self.stream = stream
        return SUCCESS if handle.value == self.HANDLE else NOT_INITIALIZED

    def cublasSetWorkspace_v2(self, handle: Any, workspace: int, size: int) -> int:
        return SUCCESS if workspace % 256 == 0 or size == 0 else INVALID_VALUE

    def cublasGemmStridedBatchedEx(
        self, handle: Any, transa: int, transb: int, m: int, n: int, k: int, alpha: int, a: int, atype: int, lda: int,
        stridea: int, b: int, btype: int, ldb: int, strideb: int, beta: int, c: int, ctype: int, ldc: int, stridec: int,
        count: int, compute: int, algorithm: int,
    ) -> int:  # fmt: skip
        """c = alpha op(a) op(b) + beta c for `count` matrices: op(a) is (m, k), op(b) is (k, n), columns first."""
        known = types()
        to_float32 = ctype == 0 and atype in (2, 14)
        if atype not in known or atype != btype or compute != known[atype][1] or algorithm != -1:
            return NOT_SUPPORTED
        if ctype != atype and not to_float32:
            return NOT_SUPPORTED
        dtype, _, number = known[atype]
        sizes = (m, k) if transa == 0 else (k, m), (k, n) if transb == 0 else (n, k)
        if min(m, n, k, count) < 1 or lda < sizes[0][0] or ldb < sizes[1][0] or ldc < m:
            return INVALID_VALUE
        if handle.value != self.HANDLE or self.stream != device.current_stream().ptr:
            return NOT_INITIALIZED
        left, right = (
            matrices(a, dtype, *sizes[0], lda, stridea, count),
            matrices(b, dtype, *sizes[1], ldb, strideb, count),
        )
        result = matrices(c, known[ctype][0], m, n, ldc, stridec, count)
        left = left.swapaxes(1, 2) if transa else left
        right = right.swapaxes(1, 2) if transb else right
        scale, keep = number.from_address(alpha).value, number.from_address(beta).value
        wide = np.result_type(dtype, np.float32)

        def multiply() -> None:
            with np.errstate(all="ignore"):
                product = scale * (left.astype(wide) @ right.astype(wide))
                result[...] = product + keep * result if keep else product

        device.do(multiply)
        return SUCCESS


def matrices(address: int, dtype: Any, rows: int, columns: int, step: int, between: int, count: int) -> Any:
    """(count, rows, columns) in memory, columns first: `step` elements between columns, `between` between matrices."""
    item = np.dtype(dtype).itemsize
    length = (count - 1) * between + (columns - 1) * step + rows
    memory = np.frombuffer((ctypes.c_char * (length * item)).from_address(address), dtype)
    return np.lib.stride_tricks.as_strided(memory, (count, rows, columns), (between * item, item, step * item))
