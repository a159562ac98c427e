"""Matrix products on a GPU by cuBLAS, called directly.

CuPy calls cuBLAS too, with two differences: it refuses to while the work of a stream is being recorded into a CUDA graph, and
a product costs it several times the Python. The library is the one that CuPy has loaded. It gets memory of its own to work
in, once for each device, so that a recorded product allocates nothing.

cuBLAS counts columns first, so what it takes for a matrix is our matrix transposed. Hence out = a @ b is asked for as
outᵀ = bᵀ @ aᵀ, where no array has to move.
"""

from __future__ import annotations

import ctypes
from functools import cache
from math import prod
from typing import Any

import numpy as np

from .common import Array

PLAIN, TRANSPOSED, DEFAULT_ALGORITHM = 0, 1, -1  # cublas_api.h
# of the elements, of the sums (cublasComputeType_t), and of alpha and beta
TYPES = {
    np.dtype(np.float16): (2, 68, ctypes.c_float),
    np.dtype(np.float32): (0, 68, ctypes.c_float),
    np.dtype(np.float64): (1, 70, ctypes.c_double),
}
WORKSPACE = 32 << 20  # bytes: what NVIDIA advises for Hopper


class CublasError(RuntimeError):
    """cuBLAS refused a call; the message has its status."""


@cache
def library() -> Any:
    """The cuBLAS in this process, or None: without CuPy or a GPU, and where processes do not list their files."""
    try:
        import cupy  # noqa: F401
        import cupy_backends.cuda.libs.cublas  # noqa: F401  # loads it

        with open("/proc/self/maps") as maps:  # noqa: PTH123  # pathlib costs time at import
            path = next(line.split()[-1] for line in maps if "/libcublas.so" in line)
    except (ImportError, OSError, StopIteration):
        return None
    found = ctypes.CDLL(path)
    pointer, size, number = ctypes.c_void_p, ctypes.c_longlong, ctypes.c_int
    found.cublasCreate_v2.argtypes = [ctypes.POINTER(pointer)]
    found.cublasSetStream_v2.argtypes = [pointer, pointer]
    found.cublasSetWorkspace_v2.argtypes = [pointer, pointer, ctypes.c_size_t]
    matrix = (pointer, number, number, size)  # address, type, leading dimension, step to the next matrix
    sizes = (number,) * 5
    found.cublasGemmStridedBatchedEx.argtypes = (
        pointer, *sizes, pointer, *matrix, *matrix, pointer, *matrix, number, number, number
    )  # fmt: skip
    return found


def check(status: int, what: str) -> None:
    if status:
        raise CublasError(f"cuBLAS: {what} failed with status {status}")


@cache
def handle_of(device: int) -> tuple[Any, Any]:
    """cuBLAS's handle for a device, and the memory that it works in."""
    import cupy

    handle = ctypes.c_void_p()
    with cupy.cuda.Device(device):
        check(library().cublasCreate_v2(ctypes.byref(handle)), "cublasCreate")
        return handle, cupy.cuda.alloc(WORKSPACE)


def operand(x: Array) -> tuple[Array, int, int, int] | None:
    """(x, whether it lies transposed, step between rows or columns, step between matrices) of (M, K) or (B, M, K), in elements.

    None where neither rows nor columns are contiguous, or steps are none that cuBLAS takes.
    """
    *batch, rows, columns = x.shape
    steps = [s // x.itemsize for s in x.strides]
    down, along = steps[-2:]
    between = steps[0] if batch else 0
    if (columns == 1 or along == 1) and (rows == 1 or down >= columns):
        return x, PLAIN, max(down if rows > 1 else columns, columns, 1), between
    if (rows == 1 or down == 1) and (columns == 1 or along >= rows):
        return x, TRANSPOSED, max(along if columns > 1 else rows, rows, 1), between
    return None


def matrices(a: Array, b: Array) -> tuple[Array, Array] | None:
    """a (..., M, K) and b (..., K, N) as two matrices or two equal batches (B, ...) of them, without copying; else None."""
    if b.ndim == 2:
        if a.ndim == 2:
            return a, b
        return (a.reshape(prod(a.shape[:-1]), a.shape[-1]), b) if a.flags.c_contiguous else None
    if a.ndim == b.ndim == 3 and a.shape[0] == b.shape[0]:
        return a, b
    if a.shape[:-2] == b.shape[:-2] and all(_one_step(x) for x in (a, b)):
        return tuple(x.reshape(prod(x.shape[:-2]), *x.shape[-2:]) for x in (a, b))
    return None


def _one_step(x: Array) -> bool:
    """Whether the matrices of a batch with several dimensions lie the same step apart."""
    batch, strides = x.shape[:-2], x.strides[:-2]
    return all(strides[i] == strides[i + 1] * batch[i + 1] for i in range(len(batch) - 1))


def fits(a: Array, b: Array) -> bool:
    """Whether `product` is made for a @ b."""
    if a.dtype != b.dtype or a.dtype not in TYPES or a.ndim < 2 or b.ndim < 2 or a.size == 0 or b.size == 0:
        return False
    if a.shape[-1] != b.shape[-2] or library() is None:
        return False
    pair = matrices(a, b)
    return pair is not None and operand(pair[0]) is not None and operand(pair[1]) is not None


def product(a: Array, b: Array) -> Array:
    """a @ b in CuPy's current stream, for arrays that fit. Sums of float16 products are float32. Raises CublasError."""
    import cupy

    pair = matrices(a, b)
    assert pair is not None
    left, right = operand(pair[0]), operand(pair[1])
    assert left is not None and right is not None
    (x, x_transposed, x_step, x_next), (y, y_transposed, y_step, y_next) = left, right
    m, k, n = x.shape[-2], x.shape[-1], y.shape[-1]
    count = x.shape[0] if x.ndim == 3 else 1
    out = cupy.empty((*a.shape[:-1], n), a.dtype)
    kind, sums, number = TYPES[a.dtype]
    one, zero = number(1), number(0)
    handle, memory = handle_of(out.device.id)
    blas = library()
    check(blas.cublasSetStream_v2(handle, cupy.cuda.get_current_stream().ptr), "cublasSetStream")
    check(blas.cublasSetWorkspace_v2(handle, memory.ptr, WORKSPACE), "cublasSetWorkspace")
    status = blas.cublasGemmStridedBatchedEx(
        handle, y_transposed, x_transposed, n, m, k, ctypes.addressof(one),
        y.data.ptr, kind, y_step, y_next, x.data.ptr, kind, x_step, x_next,
        ctypes.addressof(zero), out.data.ptr, kind, n, m * n, count, sums, DEFAULT_ALGORITHM,
    )  # fmt: skip
    check(status, f"the product of {list(a.shape)} and {list(b.shape)}, {a.dtype},")
    return out
