"""Matrix products inside of compiled kernels, by the BLAS that NumPy brought along.

A kernel that multiplies many small matrices, or parts of larger ones, would lose more to Python between the products than
the products take. So it calls the library itself:

    @jit
    def scores(q, k, out):  # (B, T, D), (B, T, D) -> (B, T, T)
        for b in range(q.shape[0]):
            matmul(q[b], k[b].T, out[b], 1 / math.sqrt(q.shape[2]))

Arguments are views: of a matrix's rows and columns, of one head of (B, T, H, D), transposed. Nothing is copied.

The library is the one that NumPy loaded, found by threadpoolctl; else one of the system's. Each is believed only after it
has multiplied two small matrices rightly. Without any, `matmul` is a loop in Numba: right, and slow.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from .jit import instruction, jit

# NumPy's wheels rename the functions of their OpenBLAS, so that it does not collide with another one
NAMES = ("scipy_cblas_{}64_", "scipy_cblas_{}", "cblas_{}64_", "cblas_{}")
SET_AND_GET_THREADS = (
    ("scipy_openblas_set_num_threads64_", "scipy_openblas_get_num_threads64_"),
    ("scipy_openblas_set_num_threads", "scipy_openblas_get_num_threads"),
    ("openblas_set_num_threads64_", "openblas_get_num_threads64_"),
    ("openblas_set_num_threads", "openblas_get_num_threads"),
    ("MKL_Set_Num_Threads", "MKL_Get_Max_Threads"),
    ("bli_thread_set_num_threads", "bli_thread_get_num_threads"),
)
SYSTEM = ("openblas", "mkl_rt", "blis", "Accelerate", "cblas")
ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112  # cblas.h


class Library:
    """A BLAS in this process: its path, the functions "sgemm" and "dgemm", and how many threads they may use."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.handle = ctypes.CDLL(path)
        self.functions = {name: self.find(*(n.format(name) for n in NAMES)) for name in ("sgemm", "dgemm")}
        self.set_threads = self.find(*(name for name, _ in SET_AND_GET_THREADS))
        self.get_threads = self.find(*(name for _, name in SET_AND_GET_THREADS))

    def find(self, *names: str) -> Any:
        """The first function that the library has of these, or None."""
        return next((getattr(self.handle, name) for name in names if hasattr(self.handle, name)), None)

    def works(self) -> bool:
        """Whether there are both functions and a product of each is right."""
        kinds = (("sgemm", np.float32, ctypes.c_float), ("dgemm", np.float64, ctypes.c_double))
        return all(self.functions.values()) and all(self.multiplies(*kind) for kind in kinds)

    def multiplies(self, name: str, dtype: Any, real: Any) -> bool:
        """Whether c += 2 aᵀ bᵀ is right for parts of three arrays."""
        a = np.arange(12, dtype=dtype).reshape(3, 4)
        b = np.arange(20, dtype=dtype).reshape(4, 5)
        c = np.arange(12, dtype=dtype).reshape(2, 6)
        wanted = c.copy()
        wanted[:, :4] += 2 * a[:, :2].T @ b[:, :3].T
        # Sizes are passed as 64-bit integers. A library that takes 32-bit ones reads the lower half of the register, or
        # of the eight bytes on the stack, that each one lies in.
        choice, size, address = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
        function = self.functions[name]
        function.restype = None
        function.argtypes = (
            *(choice, choice, choice, size, size, size, real),
            *(address, size, address, size, real, address, size),
        )
        function(ROW_MAJOR, TRANSPOSED, TRANSPOSED, 2, 4, 3, 2, a.ctypes.data, 4, b.ctypes.data, 5, 1, c.ctypes.data, 6)
        return bool(np.array_equal(c, wanted))

    def address(self, name: str) -> int:
        """Where the machine code of "sgemm" or "dgemm" begins."""
        return ctypes.cast(self.functions[name], ctypes.c_void_p).value or 0


@cache
def library() -> Library | None:
    """The BLAS that `matmul` calls, or None."""
    for path in candidates():
        try:
            found = Library(path)
        except OSError:
            continue
        if found.works():
            return found
    return None


def candidates() -> Iterator[str]:
    """Paths of libraries to try: those that are loaded, NumPy's own first, then the system's."""
    import ctypes.util

    import threadpoolctl

    loaded = [lib["filepath"] for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas"]
    yield from sorted(loaded, key=lambda path: "numpy" not in path)
    for name in SYSTEM:
        path = ctypes.util.find_library(name)
        if path:
            yield path


def describe() -> str:
    """Which BLAS `matmul` calls, for `minidl doctor`."""
    found = library()
    if found is None:
        return "none found: matrix products inside of kernels are loops"
    return found.path if found.set_threads is not None else f"{found.path}, whose threads are its own choice"


@jit
def matmul(a: Any, b: Any, out: Any, alpha: float = 1.0, beta: float = 0.0) -> None:
    """out = alpha a @ b + beta out, in a kernel; (M, K), (K, N) and (M, N), all float32 or all float64.

    out is not read if beta is 0. The rows of out must be contiguous; of a and b the rows or the columns. out must not
    overlap with a or b.
    Raises: ValueError for sizes that do not match and for other layouts.
    """
    m, n, k = out.shape[0], out.shape[1], a.shape[1]
    if a.shape[0] != m or b.shape[0] != k or b.shape[1] != n:
        raise ValueError("blas.matmul: the sizes of a (M, K), b (K, N) and out (M, N) do not match")
    a_rows, b_rows, a_columns, b_columns = row_step(a), row_step(b), row_step(a.T), row_step(b.T)
    out_rows = row_step(out)
    if out_rows < 0 or (a_rows < 0 and a_columns < 0) or (b_rows < 0 and b_columns < 0):
        raise ValueError("blas.matmul: rows of out, and rows or columns of a and b, must be contiguous; make a copy")
    transpose_a, transpose_b = a_rows < 0, b_rows < 0
    cblas_gemm(
        transpose_a, transpose_b, m, n, k, alpha, a, a_columns if transpose_a else a_rows,
        b, b_columns if transpose_b else b_rows, beta, out, out_rows,
    )  # fmt: skip


@jit
def row_step(x: Any) -> int:
    """How many elements the rows of x lie apart, or -1 if they are not contiguous, overlap or run backwards."""
    if x.size > 0 and x.shape[1] > 1 and x.strides[1] != x.itemsize:
        return -1
    if x.size == 0 or x.shape[0] == 1:  # its strides say nothing then
        return max(1, x.shape[1])
    step = x.strides[0] // x.itemsize
    return step if step >= x.shape[1] else -1


@instruction
def cblas_gemm(
    a_transposed: bool, b_transposed: bool, m: int, n: int, k: int,
    alpha: float, a: Any, lda: int, b: Any, ldb: int, beta: float, c: Any, ldc: int,
) -> None:  # fmt: skip
    """The library's function: c = alpha a @ b + beta c, where lda, ldb and ldc are the steps between the rows, or between
    the columns of what lies transposed in memory."""
    c[:] = alpha * (a @ b) + (beta * c if beta else 0)


@jit
def gemm_loops(
    a_transposed: bool, b_transposed: bool, m: int, n: int, k: int,
    alpha: float, a: Any, lda: int, b: Any, ldb: int, beta: float, c: Any, ldc: int,
) -> None:  # fmt: skip
    """The same where there is no library: four rows of b at a time are added to a row of c."""
    rows = np.ascontiguousarray(b)
    number = c.dtype.type
    for i in range(m):
        for j in range(n):
            c[i, j] = number(beta) * c[i, j] if beta != 0 else number(0)
        for p in range(0, k, 4):
            last = min(p + 4, k)
            for q in range(p, last):
                factor = number(alpha) * a[i, q]
                for j in range(n):
                    c[i, j] += factor * rows[q, j]
