"""Products of bytes with a scale for each row: the arithmetic of a linear layer whose weights and inputs are quantized.

    out[m, n] = scale_x[m] scale_w[n] sum_k x[m, k] w[n, k]  +  bias[n]
The sums are exact: K products of signed bytes fit into int32 for every K below 130000.
"""

from __future__ import annotations

import numpy as np

from . import Kernel, array_module
from .common import Array
from .cuda import Entry, Source, aligned, blocks, launchable, limits


@Kernel
def gemm_int8(x: Array, w: Array, scale_x: Array, scale_w: Array, bias: Array | None) -> Array:
    """x (M, K) and w (N, K), int8, with scales (M,) and (N,) and a bias (N,) or None: (M, N) in the dtype of the scales.

    Example:
        >>> import numpy as np
        >>> ones = np.ones(1, np.float32)
        >>> gemm_int8(np.array([[2, 3]], np.int8), np.array([[10, 1]], np.int8), 0.5 * ones, ones, None)
        array([[11.5]], dtype=float32)
    """
    xp = array_module(x)
    # float64 holds the sums exactly and goes to the BLAS, which int32 does not
    sums = xp.asarray(x, "float64") @ xp.asarray(w, "float64").T
    out = sums.astype(scale_x.dtype) * (scale_x[:, None] * scale_w)
    return out if bias is None else out + bias


CU = Source(
    "int8.cu",
    Entry("int8_naive", "gemm_int8", registers=64),
    Entry("int8_dp4a", "gemm_int8", registers=64, shared=8704),
    Entry("int8_mma", "gemm_int8", registers=128, since=80),
)
MMA_SHARED = 4 * 2 * 128 * 64  # bytes: four stages of two tiles


def supports(x: Array, w: Array, scale_x: Array, scale_w: Array, bias: Array | None) -> bool:
    return launchable(x, w, types=("int8",)) and x.size > 0 and w.size > 0 and launchable(scale_x, scale_w, bias)


def supports_packs(x: Array, w: Array, scale_x: Array, scale_w: Array, bias: Array | None) -> bool:
    return supports(x, w, scale_x, scale_w, bias) and x.shape[1] % 16 == 0 and aligned(x, w)


def launch(
    entry: str,
    tile: tuple[int, int],
    block: int | tuple[int, int],
    shared: int,
    x: Array,
    w: Array,
    *rest: Array | None,
) -> Array:
    (M, K), N = x.shape, len(w)
    out = array_module(x).empty((M, N), np.float32)
    grid = (blocks(N, tile[0]), blocks(M, tile[1]))
    CU.launch(entry, grid, block, x, w, *rest, out, M, N, K, shared=shared)
    return out


def supports_mma(x: Array, w: Array, scale_x: Array, scale_w: Array, bias: Array | None) -> bool:
    return supports_packs(x, w, scale_x, scale_w, bias) and limits(x).capability >= 80


@gemm_int8.variant("cuda", device="cuda", supports=supports_mma, copies=True)
def gemm_int8_mma(x: Array, w: Array, scale_x: Array, scale_w: Array, bias: Array | None) -> Array:
    return launch("int8_mma", (128, 128), 256, MMA_SHARED, x, w, scale_x, scale_w, bias)


@gemm_int8.variant("cuda_dp4a", device="cuda", supports=supports_packs)
def gemm_int8_dp4a(x: Array, w: Array, scale_x: Array, scale_w: Array, bias: Array | None) -> Array:
    return launch("int8_dp4a", (64, 64), 256, 0, x, w, scale_x, scale_w, bias)


@gemm_int8.variant("cuda_naive", device="cuda", supports=supports)
def gemm_int8_naive(x: Array, w: Array, scale_x: Array, scale_w: Array, bias: Array | None) -> Array:
    return launch("int8_naive", (32, 8), (32, 8), 0, x, w, scale_x, scale_w, bias)
