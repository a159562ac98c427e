"""Products of bytes with a scale for each row: the arithmetic of a linear layer whose weights and inputs are quantized.

    out[m, n] = scale_x[m] scale_w[n] sum_k x[m, k] w[n, k]  +  bias[n]
The sums are exact: K products of signed bytes fit into int32 for every K below 130000.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import Kernel, array_module
from .common import Array
from .cuda import Entry, Source, aligned, blocks, launchable, limits
from .quantize import not_finite


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


class Weights(NamedTuple):
    """int8 weights of a linear layer on a GPU: (N, K), filled up with zeros to a multiple of 16 columns; scales and sums of rows (N,)."""

    integers: Array
    scales: Array
    sums: Array


def weights(integers: Array, scale: Array) -> Weights:
    """Weights (N, K), int8, with a scale for all or for each row, which may be NumPy's."""
    xp, (N, K) = array_module(integers), integers.shape
    whole = xp.zeros((N, 16 * blocks(K, 16)), np.int8)
    whole[:, :K] = integers
    scales = xp.asarray(np.ascontiguousarray(np.broadcast_to(np.float32(scale), N)))
    return Weights(whole, scales, whole.sum(1, dtype=np.int32))


def linear_int8(x: Array, weights: Weights, bias: Array | None) -> Array:
    """x (M, K), float32, quantized to a byte with the scale that its range needs, times the weights, plus bias (N,): (M, N).

    The bytes are those of quantize.py less 128, so that they have signs; what that and the zero point add to a sum is the same for
    all rows of x and goes into the bias. Raises ValueError where an element is not finite, for which it waits for the GPU.
    """
    xp, (M, K) = array_module(x), x.shape
    if not x.size:
        return xp.zeros((M, len(weights.scales)), np.float32) + (0 if bias is None else bias)
    low, high = xp.minimum(x.min(), 0).astype(np.float64), xp.maximum(x.max(), 0).astype(np.float64)
    if not bool(xp.isfinite(high - low)):
        raise not_finite()
    scale = ((high - low) / 255).astype(np.float32)
    scale = xp.where(scale < np.finfo(np.float32).tiny, np.float32(1), scale)
    zero = xp.clip(-xp.rint(low / scale.astype(np.float64)), 0, 255).astype(np.float32)
    q = xp.rint(xp.clip(x * (1 / scale), -zero, 255 - zero)) + (zero - 128)
    whole = xp.zeros((M, weights.integers.shape[1]), np.int8)
    whole[:, :K] = q.astype(np.int8)
    shift = (weights.sums * (zero - 128).astype(np.float64) * weights.scales * scale).astype(np.float32)
    shifted = -shift if bias is None else bias - shift
    return gemm_int8(whole, weights.integers, xp.zeros(M, np.float32) + scale, weights.scales, shifted)


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


@gemm_int8.variant("cuda", device="cuda", supports=supports_packs, copies=True)
def gemm_int8_mma(x: Array, w: Array, scale_x: Array, scale_w: Array, bias: Array | None) -> Array:
    if limits(x).capability < 80:  # no such instruction of the tensor cores
        return gemm_int8_dp4a(x, w, scale_x, scale_w, bias)
    return launch("int8_mma", (128, 128), 256, MMA_SHARED, x, w, scale_x, scale_w, bias)


@gemm_int8.variant("cuda_dp4a", device="cuda", supports=supports_packs)
def gemm_int8_dp4a(x: Array, w: Array, scale_x: Array, scale_w: Array, bias: Array | None) -> Array:
    return launch("int8_dp4a", (64, 64), 256, 0, x, w, scale_x, scale_w, bias)


@gemm_int8.variant("cuda_naive", device="cuda", supports=supports)
def gemm_int8_naive(x: Array, w: Array, scale_x: Array, scale_w: Array, bias: Array | None) -> Array:
    return launch("int8_naive", (32, 8), (32, 8), 0, x, w, scale_x, scale_w, bias)
