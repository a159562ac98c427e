"""Matrix products: the routine under every linear layer, and under attention and convolution.

The name is the BLAS's, "general matrix multiply". NumPy hands float32 and float64 to the BLAS that it was built with, which
cuts the matrices into blocks that fit the caches (Goto & van de Geijn, "Anatomy of high-performance matrix multiplication",
2008), copying each block into the order in which it is used. That goes for transposed operands too, but takes longer.
Products of float32 of the sizes that training has are computed by kernels that do the same (gemm_tiled.py) on a CPU with
AVX-512.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from . import Kernel, array_module, cublas, gemm_tiled, parallel
from .blas import matmul
from .cast import empty
from .common import Array, at_least_float32
from .cuda import HALVES, Entry, Source, aligned, blocks, launchable, limits
from .jit import jit
from .threads import hold_blas


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


def supports_blas(a: Array, b: Array, bias: Array | None) -> bool:
    """Rows of a that are a matrix and one matrix b, or batches of both."""
    if a.__class__ is not np.ndarray or a.dtype.itemsize <= 2:
        return False
    if b.ndim == 2:
        return a.ndim == 2 or (a.ndim > 2 and bool(a.flags.c_contiguous))
    return a.ndim == b.ndim > 2 and a.shape[:-2] == b.shape[:-2]


@gemm.variant("blas", device="cpu", supports=supports_blas)
def gemm_blas(a: Array, b: Array, bias: Array | None) -> Array:
    """One product for all rows of a, where `@` makes one for each matrix of a batch; and products by several threads."""
    if b.ndim > 2:
        out = batch_product(a, b)
    else:
        rows = a if a.ndim == 2 else a.reshape((prod(a.shape[:-1]), a.shape[-1]))
        size = b.size
        if size <= LARGE and len(rows) * size <= ALONE:
            out = rows.dot(b)  # what @ does, in half its time for small matrices
        else:
            out, bias = matrix_product(rows, b, bias), None
        if a.ndim > 2:
            out = out.reshape((*a.shape[:-1], b.shape[1]))
    if bias is not None:
        out += bias
    return out


LARGE = 1 << 14  # elements, from which on it is worth asking
ALONE = 1 << 18  # multiply-adds, up to which OpenBLAS does not think of threads


@Kernel
def matrix_product(a: Array, b: Array, bias: Array | None) -> Array:
    """a @ b, plus bias if there is one, for two matrices (M, K) and (K, N), and bias (N,): as the BLAS does it best.

    Example:
        >>> matrix_product(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]), None)
        array([[1., 2.],
               [3., 4.]])
    """
    if turns_better(a, b):
        out = product(b.T, a.T).T.copy()
    elif bias is not None and len(a) * bias.size > LARGE:
        return product_plus_bias(a, b, bias)
    else:
        out = product(a, b)
    if bias is not None:
        out += bias
    return out


@matrix_product.variant("numba", device="cpu", supports=gemm_tiled.pays)
def matrix_product_numba(a: Array, b: Array, bias: Array | None) -> Array:
    return gemm_tiled.product(a, b, bias)


def turns_better(a: Array, b: Array) -> bool:
    """Whether b lies transposed, as a layer's weight does, and it takes less to transpose a and the result instead."""
    (M, K), N = a.shape, b.shape[1]
    return b.flags.f_contiguous and a.flags.c_contiguous and (N - M) * K > 2 * M * N


def product(a: Array, b: Array) -> Any:
    """a @ b for matrices, one part for each thread."""
    (M, _), N = a.shape, b.shape[1]
    work = a.size * N
    if work > ALONE:
        hold_blas()
    if work < 2 * parallel.LEAST:
        return a.dot(b)
    out = np.empty((M, N), np.result_type(a, b))
    if M >= N:  # each thread has the BLAS pack the whole of the other matrix, which should be the smaller one
        parallel.share(M, some_rows, work, a, b, out)
    else:
        parallel.share(N, some_columns, work, a, b, out)
    return out


def some_rows(begin: int, end: int, a: Array, b: Array, out: Array) -> None:
    np.matmul(a[begin:end], b, out=out[begin:end])


def some_columns(begin: int, end: int, a: Array, b: Array, out: Array) -> None:
    np.matmul(a, b[:, begin:end], out=out[:, begin:end])


def batch_product(a: Array, b: Array) -> Any:
    """a (..., M, K) @ b (..., K, N), the batch in parts."""
    work = a.size * b.shape[-1]
    if work > ALONE:
        hold_blas()
    if work < 2 * parallel.LEAST:
        return a @ b
    out = np.empty((*a.shape[:-1], b.shape[-1]), np.result_type(a, b))
    longest = max(range(a.ndim - 2), key=lambda axis: a.shape[axis])
    parallel.share(a.shape[longest], some_matrices, work, *(x.swapaxes(0, longest) for x in (a, b, out)))
    return out


def some_matrices(begin: int, end: int, a: Array, b: Array, out: Array) -> None:
    np.matmul(a[begin:end], b[begin:end], out=out[begin:end])


@Kernel
def product_plus_bias(a: Array, b: Array, bias: Array) -> Array:
    """a @ b + bias for two matrices (M, K) and (K, N), and bias (N,).

    Example:
        >>> product_plus_bias(np.eye(2), np.eye(2), np.array([10.0, 20.0]))
        array([[11., 20.],
               [10., 21.]])
    """
    return product(a, b) + bias


def supports_product(a: Array, b: Array, bias: Array) -> bool:
    """Matrices that the BLAS takes as they are."""
    dense = (a.flags.c_contiguous or a.flags.f_contiguous) and (b.flags.c_contiguous or b.flags.f_contiguous)
    return dense and a.size > 0 < b.size and a.dtype == b.dtype == bias.dtype == np.float32


@product_plus_bias.variant("numba", device="cpu", supports=supports_product)
def product_plus_bias_numba(a: Array, b: Array, bias: Array) -> Array:
    """The biases first, and the product added to them: a BLAS adds to zeros otherwise, which it has to write as well."""
    (M, _), N = a.shape, bias.size
    out, work = np.empty((M, N), np.float32), a.size * N
    if work > ALONE:
        hold_blas()
    if M >= N:
        parallel.share(M, add_some_rows, work, a, b, bias, out)
    else:
        parallel.share(N, add_some_columns, work, a, b, bias, out)
    return out


def add_some_rows(begin: int, end: int, a: Array, b: Array, bias: Array, out: Array) -> None:
    add_product(a[begin:end], b, bias, out[begin:end])


def add_some_columns(begin: int, end: int, a: Array, b: Array, bias: Array, out: Array) -> None:
    add_product(a, b[:, begin:end], bias[begin:end], out[:, begin:end])


GIVEN = "Array(float32, 2, 'A', readonly=True)"


@jit(signature=f"void({GIVEN}, {GIVEN}, Array(float32, 1, 'A', readonly=True), float32[:,:])", nogil=True)
def add_product(a: Any, b: Any, bias: Any, out: Any) -> None:
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = bias[j]
    matmul(a, b, out, 1.0, 1.0)


def supports_cublas(a: Array, b: Array, bias: Array | None) -> bool:
    return cublas.fits(a, b)


@gemm.variant("cublas", device="cuda", supports=supports_cublas)
def gemm_cublas(a: Array, b: Array, bias: Array | None) -> Array:
    if bias is not None and a.dtype.kind == "V":  # the biases first, and the product added to them: one rounding
        out = empty(cublas.result_shape(a.shape, b.shape), a.dtype, a)
        out.view(np.uint16)[...] = bias.view(np.uint16)
        return cublas.product(a, b, out, add=True)
    out = cublas.product(a, b)
    if bias is not None:
        out += bias
    return out


# CUDA, for learning: see gemm.cu. None of these is the default, which is cuBLAS.

CU = Source(
    "gemm.cu",
    Entry("sgemm_naive", "gemm", registers=64),
    Entry("sgemm_coalesced", "gemm", registers=64),
    Entry("sgemm_tiled", "gemm", registers=64, shared=8192),
    Entry("sgemm_registers", "gemm", registers=160, shared=8192),
    Entry("sgemm_vectorised", "gemm", registers=128, shared=8192),
    Entry("sgemm_warps", "gemm", registers=128, shared=16384),
    Entry("hgemm_mma", "gemm", registers=128, types=HALVES, since=80),
)
HGEMM_SHARED = 4 * (128 * 32 + 32 * 128) * 2  # bytes of four stages


def supports_cuda(a: Array, b: Array, bias: Array | None) -> bool:
    return a.ndim >= 2 and b.ndim == 2 and a.size > 0 and b.size > 0 and launchable(a, b, bias)


def supports_packs(a: Array, b: Array, bias: Array | None) -> bool:
    return supports_cuda(a, b, bias) and b.shape[0] % 4 == 0 and b.shape[1] % 4 == 0 and aligned(a, b)


def supports_half(a: Array, b: Array, bias: Array | None) -> bool:
    shapes = a.ndim >= 2 and b.ndim == 2 and a.size > 0 and b.size > 0 and b.shape[0] % 8 == 0 and b.shape[1] % 8 == 0
    return shapes and launchable(a, b, bias, types=HALVES) and aligned(a, b) and limits(a).capability >= 80


def launch(
    entry: str, a: Array, b: Array, bias: Array | None, tile: tuple[int, int], block: Any, shared: int = 0
) -> Array:
    """Launch an entry on a grid of tiles of tile[0] columns and tile[1] rows."""
    (k, n), m = b.shape, prod(a.shape[:-1])
    if a.shape[-1] != k:
        raise ValueError(f"gemm: the matrices {list(a.shape)} and {list(b.shape)} do not fit")
    out = array_module(a).empty((*a.shape[:-1], n), a.dtype)
    CU.launch(entry, (blocks(n, tile[0]), blocks(m, tile[1])), block, a, b, bias, out, m, n, k, shared=shared)
    return out


@gemm.variant("cuda_naive", device="cuda", supports=supports_cuda)
def sgemm_naive(a: Array, b: Array, bias: Array | None) -> Array:
    (k, n), m = b.shape, prod(a.shape[:-1])
    out = array_module(a).empty((*a.shape[:-1], n), a.dtype)
    CU.launch("sgemm_naive", (blocks(m, 32), blocks(n, 8)), (32, 8), a, b, bias, out, m, n, k)
    return out


@gemm.variant("cuda_coalesced", device="cuda", supports=supports_cuda)
def sgemm_coalesced(a: Array, b: Array, bias: Array | None) -> Array:
    return launch("sgemm_coalesced", a, b, bias, (32, 8), (32, 8))


@gemm.variant("cuda_tiled", device="cuda", supports=supports_cuda)
def sgemm_tiled(a: Array, b: Array, bias: Array | None) -> Array:
    return launch("sgemm_tiled", a, b, bias, (32, 32), (32, 32))


@gemm.variant("cuda_registers", device="cuda", supports=supports_cuda)
def sgemm_registers(a: Array, b: Array, bias: Array | None) -> Array:
    return launch("sgemm_registers", a, b, bias, (128, 128), 256)


@gemm.variant("cuda_vectorised", device="cuda", supports=supports_packs)
def sgemm_vectorised(a: Array, b: Array, bias: Array | None) -> Array:
    return launch("sgemm_vectorised", a, b, bias, (128, 128), 256)


@gemm.variant("cuda_warps", device="cuda", supports=supports_packs)
def sgemm_warps(a: Array, b: Array, bias: Array | None) -> Array:
    return launch("sgemm_warps", a, b, bias, (128, 128), 256)


@gemm.variant("cuda_tensor_cores", device="cuda", supports=supports_half)
def hgemm_mma(a: Array, b: Array, bias: Array | None) -> Array:
    return launch("hgemm_mma", a, b, bias, (128, 128), 256, HGEMM_SHARED)
