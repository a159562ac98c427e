"""Matrix products on a GPU by cuBLAS, called directly.

CuPy calls cuBLAS too, with two differences: it refuses to while the work of a stream is being recorded into a CUDA graph, and
a product costs it several times the Python. The library is the one that CuPy has loaded.

cuBLAS counts columns first, so what it takes for a matrix is our matrix transposed. Hence out = a @ b is asked for as
outᵀ = bᵀ @ aᵀ, where no array has to move.
"""

from __future__ import annotations

import ctypes
from functools import cache
from math import prod
from threading import get_ident
from typing import Any, NamedTuple

import numpy as np

from . import array_module
from .cast import empty
from .common import Array

PLAIN, TRANSPOSED, DEFAULT_ALGORITHM = 0, 1, -1  # cublas_api.h
# of the elements (cudaDataType), of the sums (cublasComputeType_t), and of alpha and beta
TYPES: dict[Any, tuple[int, int, Any]] = {
    np.dtype(np.float16): (2, 68, ctypes.c_float),
    np.dtype(np.float32): (0, 68, ctypes.c_float),
    np.dtype(np.float64): (1, 70, ctypes.c_double),
}
BFLOAT16 = 14, 68, ctypes.c_float  # its dtype is the package ml_dtypes'
WORKSPACE = 32 << 20  # bytes: what NVIDIA advises for Hopper
LARGEST = 2**31 - 1  # sizes and steps are C's int


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
def handle_of(device: int, thread: int) -> Any:
    """cuBLAS's handle for a device. Each thread has its own: between choosing a stream and a product another might step in."""
    import cupy

    if cupy.cuda.get_current_stream().is_capturing():
        raise CublasError("cuBLAS cannot be started while the stream is capturing: multiply matrices once before")
    handle = ctypes.c_void_p()
    with cupy.cuda.Device(device):
        check(library().cublasCreate_v2(ctypes.byref(handle)), "cublasCreate")
    return handle


class Operand(NamedTuple):
    """Matrices as cuBLAS is told of them; steps are in elements."""

    address: int
    transposed: int  # whether columns are contiguous, and not rows
    step: int  # between rows, or between columns if transposed
    between: int  # between matrices, 0 for a single one


def operand(x: Array) -> Operand | None:
    """(..., M, K) as an operand, where it lies. None for what cuBLAS cannot read: gaps between elements, irregular steps."""
    rows, columns = x.shape[-2:]
    down, along = (s // x.itemsize for s in x.strides[-2:])
    between = batch_step(x)
    if between is None or max(rows, columns, abs(down), abs(along)) > LARGEST:
        return None
    if (columns == 1 or along == 1) and (rows == 1 or down >= columns):
        return Operand(start(x), PLAIN, down if rows > 1 else columns, between)
    if (rows == 1 or down == 1) and (columns == 1 or along >= rows):
        return Operand(start(x), TRANSPOSED, along if columns > 1 else rows, between)
    return None


def start(x: Array) -> int:
    return x.ctypes.data if type(x) is np.ndarray else x.data.ptr


def batch_step(x: Array) -> int | None:
    """The one step, in elements, that leads through all matrices of (..., M, K) in order; None where there is none."""
    step, count = 0, 1
    for size, stride in zip(x.shape[-3::-1], x.strides[-3::-1], strict=True):
        if size == 1:
            continue
        if count == 1:
            step = stride
        elif stride != step * count:
            return None
        count *= size
    return step // x.itemsize if step >= 0 else None


def matrices(a: Array, b: Array) -> tuple[Array, Array]:
    """a and b with equal batches (..., M, K) and (..., K, N), without copying where it can be avoided.

    Vectors become matrices. The rows of a batch that meets a single matrix are those of one matrix.
    """
    a = a[None] if a.ndim == 1 else a
    b = b[:, None] if b.ndim == 1 else b
    if b.ndim == 2 and a.ndim > 2 and a.flags.c_contiguous:
        return a.reshape(prod(a.shape[:-1]), a.shape[-1]), b
    if a.shape[:-2] == b.shape[:-2]:
        return a, b
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return tuple(broadcast(x, (*batch, *x.shape[-2:])) for x in (a, b))


def broadcast(x: Array, shape: tuple[int, ...]) -> Array:
    return array_module(x).broadcast_to(x, shape)


def type_of(dtype: np.dtype[Any]) -> tuple[int, int, Any] | None:
    """How cuBLAS is told of elements of a dtype, see TYPES; None for those that it does not know."""
    return BFLOAT16 if dtype.kind == "V" else TYPES.get(dtype)


def fits(a: Array, b: Array) -> bool:
    """Whether `product` is made for a @ b."""
    if type(a) is not type(b) or type(a) is np.ndarray or a.dtype != b.dtype or type_of(a.dtype) is None:
        return False
    if not (a.size and b.size and a.ndim and b.ndim and library()) or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        return False
    import cupy

    if a.dtype.kind == "V" and int(cupy.cuda.Device(a.data.device_id).compute_capability) < 80:
        return False  # GPUs before the A100 have no instruction for it
    return a.data.device_id == b.data.device_id == cupy.cuda.get_device_id()


def product(a: Array, b: Array, out: Array | None = None, add: bool = False) -> Array:
    """a @ b in CuPy's current stream, for arrays that fit. Sums of products of two-byte floats are float32. Raises CublasError.

    out: the contiguous array that the product is written to, or with `add` added to; it may be float32 for two-byte floats.
    """
    import cupy

    x, y = matrices(a, b)
    left, right = operand(x), operand(y)
    if left is None:
        x = x.copy()  # in C order; bound to a name, so that its memory stays until the product is in the stream
        left = operand(x)
    if right is None:
        y = y.copy()
        right = operand(y)
    (m, k), n, count = x.shape[-2:], y.shape[-1], prod(x.shape[:-2])
    if left is None or right is None or count > LARGEST:
        raise CublasError(
            f"the product of {list(a.shape)} and {list(b.shape)}: sizes above {LARGEST} are too large for cuBLAS"
        )
    if out is None:
        out = empty((*x.shape[:-2], m, n), a.dtype, a)
    # Memory for cuBLAS to work in. From the pool, and given back at once, it is nobody else's while this stream needs it: one
    # workspace for all streams would be written by two at a time. A product that is recorded takes it from its graph's memory.
    memory = cupy.cuda.alloc(WORKSPACE)
    (kind, sums, number), (result, _, _) = type_of(a.dtype), type_of(out.dtype)  # type: ignore[misc]  # they fit
    one, kept = number(1), number(add)
    blas, handle = library(), handle_of(out.data.device_id, get_ident())
    # in this order: a new stream takes the workspace away
    check(blas.cublasSetStream_v2(handle, cupy.cuda.get_current_stream().ptr), "cublasSetStream")
    check(blas.cublasSetWorkspace_v2(handle, memory.ptr, WORKSPACE), "cublasSetWorkspace")
    status = blas.cublasGemmStridedBatchedEx(
        handle, right.transposed, left.transposed, n, m, k, ctypes.addressof(one),
        right.address, kind, right.step, right.between, left.address, kind, left.step, left.between,
        ctypes.addressof(kept), out.data.ptr, result, n, m * n, count, sums, DEFAULT_ALGORITHM,
    )  # fmt: skip
    check(status, f"the product of {list(a.shape)} and {list(b.shape)}, {a.dtype},")
    return out if a.ndim == b.ndim == 2 else out.reshape(result_shape(a.shape, b.shape))


def result_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a @ b; a vector's own dimension is gone."""
    batch = np.broadcast_shapes(a[:-2], b[:-2])
    return (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))
