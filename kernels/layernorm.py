"""Layer and RMS normalization over the last axis, and their backward passes.

For each row x of D numbers, with mean m and variance v (divided by D):
    xhat = (x - m) r,  r = 1 / sqrt(v + eps)         out = xhat * weight + bias
    h    = g * weight                                dx = r (h - mean(h) - xhat * mean(h * xhat))
    dweight = sum over the rows of g * xhat          dbias = sum over the rows of g
RMS normalization is the same with m = 0 and without a bias.

Sources: Ba, Kiros and Hinton, "Layer Normalization", 2016; Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import Kernel, array_module
from .common import Array, at_least_float32, float32_in_order
from .cuda import ELEMENTS, TALL, Entry, Source, aligned, blocks, launchable
from .jit import jit
from .parallel import ELEMENTARY, how_many, share, share_rows
from .reduce import add_columns
from .simd import WIDTH, first, load, select, splat, store, sum_lanes

ZERO, ONE = np.float32(0), np.float32(1)


@Kernel
def layer_norm(x: Array, weight: Array | None, bias: Array | None, eps: float) -> tuple[Array, Array, Array]:
    """Normalize the rows of x (N, D); returns out (N, D), mean (N,) and rstd (N,), the r above.

    weight and bias are (D,) or None. For a float16 x, mean and rstd are float32.

    Example:
        >>> layer_norm(np.array([[1.0, 3.0]]), None, None, 0.0)
        (array([[-1.,  1.]]), array([2.]), array([1.]))
    """
    xp = array_module(x)
    wide = at_least_float32(x)
    mean = wide.sum(axis=1, keepdims=True) / max(x.shape[1], 1)
    centred = wide - mean
    rstd = 1 / xp.sqrt((centred * centred).sum(axis=1, keepdims=True) / max(x.shape[1], 1) + eps)
    out = centred * rstd
    if weight is not None:
        out = out * weight
    if bias is not None:
        out = out + bias
    return out.astype(x.dtype, copy=False), mean[:, 0], rstd[:, 0]


layer_norm.statistics = (1, 2)


@Kernel
def layer_norm_backward(
    g: Array, x: Array, mean: Array, rstd: Array, weight: Array | None
) -> tuple[Array, Array, Array]:
    """Gradients (dx, dweight, dbias) from the gradient g (N, D) of the result; without a weight, as if it were ones."""
    wide_g, rstd = at_least_float32(g), rstd[:, None]
    xhat = (at_least_float32(x) - mean[:, None]) * rstd
    h = wide_g if weight is None else wide_g * weight
    width = max(x.shape[1], 1)
    mean_h = h.sum(axis=1, keepdims=True) / width
    mean_h_xhat = (h * xhat).sum(axis=1, keepdims=True) / width
    dx = rstd * (h - mean_h - xhat * mean_h_xhat)
    dweight, dbias = (wide_g * xhat).sum(axis=0), wide_g.sum(axis=0)
    return dx.astype(x.dtype, copy=False), dweight.astype(g.dtype, copy=False), dbias.astype(g.dtype, copy=False)


@Kernel
def rms_norm(x: Array, weight: Array | None, eps: float) -> tuple[Array, Array]:
    """Divide the rows of x (N, D) by their root mean square; returns out (N, D) and rstd (N,).

    weight is (D,) or None. For a float16 x, rstd is float32.

    Example:
        >>> rms_norm(np.array([[3.0, 3.0]]), None, 0.0)
        (array([[1., 1.]]), array([0.33333333]))
    """
    wide = at_least_float32(x)
    rstd = 1 / array_module(x).sqrt((wide * wide).sum(axis=1, keepdims=True) / max(x.shape[1], 1) + eps)
    out = wide * rstd if weight is None else wide * rstd * weight
    return out.astype(x.dtype, copy=False), rstd[:, 0]


rms_norm.statistics = (1,)


@Kernel
def rms_norm_backward(g: Array, x: Array, rstd: Array, weight: Array | None) -> tuple[Array, Array]:
    """Gradients (dx, dweight) from the gradient g (N, D) of the result; without a weight, as if it were ones."""
    wide_g, rstd = at_least_float32(g), rstd[:, None]
    xhat = at_least_float32(x) * rstd
    h = wide_g if weight is None else wide_g * weight
    dx = rstd * (h - xhat * (h * xhat).sum(axis=1, keepdims=True) / max(x.shape[1], 1))
    return dx.astype(x.dtype, copy=False), (wide_g * xhat).sum(axis=0).astype(g.dtype, copy=False)


# Numba: one pass over memory. A row is read once; the loops after the first find it in the first-level cache. Two rows at a
# time: each sum waits for its last addition, and each row for its sum, while the registers of the other row work. Where the
# number of rows is odd, the last one is its own neighbour. RMS normalization is `centred=False`.


def supports(x: Array, weight: Array | None, bias: Array | None, eps: float) -> bool:
    return float32_in_order(x) and x.size > 0 and all(p is None or float32_in_order(p) for p in (weight, bias))


def supports_backward(g: Array, x: Array, mean: Array, rstd: Array, weight: Array | None) -> bool:
    return float32_in_order(g, mean, rstd) and supports(x, weight, None, 0.0)


def supports_rms(x: Array, weight: Array | None, eps: float) -> bool:
    return supports(x, weight, None, eps)


def supports_rms_backward(g: Array, x: Array, rstd: Array, weight: Array | None) -> bool:
    return supports_backward(g, x, rstd, rstd, weight)


@layer_norm.variant("numba", device="cpu", supports=supports)
def layer_norm_numba(x: Array, weight: Array | None, bias: Array | None, eps: float) -> tuple[Array, Array, Array]:
    return normalized(x, weight, bias, eps, True)


@rms_norm.variant("numba", device="cpu", supports=supports_rms)
def rms_norm_numba(x: Array, weight: Array | None, eps: float) -> tuple[Array, Array]:
    out, _, rstd = normalized(x, weight, None, eps, False)
    return out, rstd


@layer_norm_backward.variant("numba", device="cpu", supports=supports_backward)
def layer_norm_backward_numba(
    g: Array, x: Array, mean: Array, rstd: Array, weight: Array | None
) -> tuple[Array, Array, Array]:
    return gradients(g, x, mean, rstd, weight, True)


@rms_norm_backward.variant("numba", device="cpu", supports=supports_rms_backward)
def rms_norm_backward_numba(g: Array, x: Array, rstd: Array, weight: Array | None) -> tuple[Array, Array]:
    dx, dweight, _ = gradients(g, x, np.zeros_like(rstd), rstd, weight, False)
    return dx, dweight


def normalized(x: Array, weight: Array | None, bias: Array | None, eps: float, centred: bool) -> tuple[Array, ...]:
    count, width = x.shape
    weight = np.ones(width, np.float32) if weight is None else weight
    bias = np.zeros(width, np.float32) if bias is None else bias
    out, mean, rstd = np.empty_like(x), np.empty(count, np.float32), np.empty(count, np.float32)
    share_rows(normalize_rows, ELEMENTARY, (x, out, mean, rstd), weight, bias, float(eps), centred)
    return out, mean, rstd


def gradients(g: Array, x: Array, mean: Array, rstd: Array, weight: Array | None, centred: bool) -> tuple[Array, ...]:
    width = x.shape[1]
    weight = np.ones(width, np.float32) if weight is None else weight
    dx, work = np.empty_like(x), ELEMENTARY * x.size
    parts = how_many(len(x), work)
    dweight, dbias = np.zeros((2, parts, width), np.float32)  # each thread adds up rows of its own
    if parts == 1:
        gradient_rows(g, x, mean, rstd, weight, centred, dx, dweight[0], dbias[0])
        return dx, dweight[0], dbias[0]
    share(parts, gradient_parts, work, (g, x, mean, rstd, dx), weight, centred, dweight, dbias)
    return dx, dweight.sum(axis=0), dbias.sum(axis=0)


def gradient_parts(
    begin: int, end: int, arrays: tuple[Array, ...], weight: Array, centred: bool, dweight: Array, dbias: Array
) -> None:
    count, parts = len(arrays[0]), len(dweight)
    for part in range(begin, end):
        some = slice(count * part // parts, count * (part + 1) // parts)
        g, x, mean, rstd, dx = (a[some] for a in arrays)
        gradient_rows(g, x, mean, rstd, weight, centred, dx, dweight[part], dbias[part])


@jit(forceinline=True)
def put(x: Any, i: int, value: Any, n: int) -> None:
    """Store the lanes of `value`, or the first n if there are fewer: masked stores are slow with AVX2."""
    if n >= WIDTH:
        store(x, i, value)
    else:
        store(x, i, value, first(n))


@jit(nogil=True)
def normalize_rows(
    x: Any, out: Any, mean: Any, rstd: Any, weight: Any, bias: Any, eps: float, centred: bool
) -> None:  # rows a and b
    count, width = x.shape
    for row in range(0, count, 2):
        other = min(row + 1, count - 1)
        a, b = row * width, other * width
        m_a = m_b = ZERO
        if centred:
            sum_a, sum_b = splat(0.0), splat(0.0)
            for j in range(0, width, WIDTH):
                some = first(width - j)
                sum_a += load(x, a + j, some)
                sum_b += load(x, b + j, some)
            m_a, m_b = np.float32(sum_lanes(sum_a) / width), np.float32(sum_lanes(sum_b) / width)
        sum_a, sum_b = splat(0.0), splat(0.0)  # of (x - m)^2: the mean square minus the squared mean would cancel
        for j in range(0, width, WIDTH):
            some = first(width - j)
            away_a = select(some, load(x, a + j, some) - m_a, ZERO)
            away_b = select(some, load(x, b + j, some) - m_b, ZERO)
            sum_a += away_a * away_a
            sum_b += away_b * away_b
        r_a = np.float32(1 / math.sqrt(sum_lanes(sum_a) / width + eps))
        r_b = np.float32(1 / math.sqrt(sum_lanes(sum_b) / width + eps))
        for j in range(0, width, WIDTH):
            some = first(width - j)
            w, c = load(weight, j, some), load(bias, j, some)
            put(out, a + j, (load(x, a + j, some) - m_a) * r_a * w + c, width - j)
            put(out, b + j, (load(x, b + j, some) - m_b) * r_b * w + c, width - j)
        mean[row], mean[other], rstd[row], rstd[other] = m_a, m_b, r_a, r_b


@jit(nogil=True)
def gradient_rows(
    g: Any, x: Any, mean: Any, rstd: Any, weight: Any, centred: bool, dx: Any, dweight: Any, dbias: Any
) -> None:
    count, width = x.shape
    for row in range(0, count, 2):
        other = min(row + 1, count - 1)
        once = ONE if other > row else ZERO  # a row that is its own neighbour counts once in the sums over the rows
        a, b = row * width, other * width
        m_a, m_b, r_a, r_b = mean[row], mean[other], rstd[row], rstd[other]
        h_a, h_b, hx_a, hx_b = splat(0.0), splat(0.0), splat(0.0), splat(0.0)  # sums of h and of h * xhat
        for j in range(0, width, WIDTH):
            some = first(width - j)
            w = load(weight, j, some)
            h = load(g, a + j, some) * w
            h_a += h
            hx_a += h * ((load(x, a + j, some) - m_a) * r_a)
            h = load(g, b + j, some) * w
            h_b += h
            hx_b += h * ((load(x, b + j, some) - m_b) * r_b)
        mean_a = np.float32(sum_lanes(h_a) / width) if centred else ZERO
        mean_b = np.float32(sum_lanes(h_b) / width) if centred else ZERO
        slope_a, slope_b = np.float32(sum_lanes(hx_a) / width), np.float32(sum_lanes(hx_b) / width)
        for j in range(0, width, WIDTH):
            some = first(width - j)
            w, g_a, g_b = load(weight, j, some), load(g, a + j, some), load(g, b + j, some)
            xhat_a = (load(x, a + j, some) - m_a) * r_a
            xhat_b = (load(x, b + j, some) - m_b) * r_b
            put(dx, a + j, r_a * (g_a * w - mean_a - xhat_a * slope_a), width - j)
            put(dx, b + j, r_b * (g_b * w - mean_b - xhat_b * slope_b), width - j)
            g_b *= once
            put(dweight, j, load(dweight, j, some) + (g_a * xhat_a + g_b * xhat_b), width - j)
            put(dbias, j, load(dbias, j, some) + (g_a + g_b), width - j)


# CUDA: see layernorm.cu.

CU = Source(
    "layernorm.cu",
    Entry("layer_norm_naive", "layer_norm", registers=48, types=ELEMENTS),
    Entry("layer_norm_block", "layer_norm", registers=32, shared=128, types=ELEMENTS),
    Entry("layer_norm_cached", "layer_norm", registers=64, shared=128, types=ELEMENTS),
    Entry("rms_norm_block", "rms_norm", registers=32, shared=128, types=ELEMENTS),
    Entry("rms_norm_cached", "rms_norm", registers=64, shared=128, types=ELEMENTS),
    Entry("layer_norm_backward_rows", "layer_norm_backward", registers=32, shared=128, types=ELEMENTS),
    Entry("layer_norm_backward_columns", "layer_norm_backward", registers=48, shared=1024, types=ELEMENTS),
    Entry("layer_norm_backward_fused", "layer_norm_backward", registers=64, shared=256, types=ELEMENTS),
    Entry("rms_norm_backward_rows", "rms_norm_backward", registers=32, shared=128, types=ELEMENTS),
    Entry("rms_norm_backward_columns", "rms_norm_backward", registers=48, shared=1024, types=ELEMENTS),
    Entry("rms_norm_backward_fused", "rms_norm_backward", registers=64, shared=256, types=ELEMENTS),
)
CACHED = 16  # elements of a row that a thread keeps, as in the file


def supports_cuda(x: Array, weight: Array | None, bias: Array | None, eps: float) -> bool:
    return x.size > 0 and launchable(x, weight, bias, types=ELEMENTS)


def supports_rms_cuda(x: Array, weight: Array | None, eps: float) -> bool:
    return supports_cuda(x, weight, None, eps)


def supports_backward_cuda(g: Array, x: Array, mean: Array, rstd: Array, weight: Array | None) -> bool:
    return x.size > 0 and launchable(g, x, weight, types=ELEMENTS) and launchable(mean, rstd)


def supports_rms_backward_cuda(g: Array, x: Array, rstd: Array, weight: Array | None) -> bool:
    return supports_backward_cuda(g, x, rstd, rstd, weight)


def in_packs(width: int, *arrays: Array | None) -> bool:
    """Whether rows of this width begin at multiples of 16 bytes in all arrays."""
    there = [a for a in arrays if a is not None]
    return width * there[0].itemsize % 16 == 0 and aligned(*there)


def launch_norm(kind: str, x: Array, eps: float, *parameters: Array | None) -> tuple[Array, ...]:
    """out, mean and rstd of "layer", out and rstd of "rms"; parameters are the weight, and the bias of "layer"."""
    xp, (count, width) = array_module(x), x.shape
    out, statistics = xp.empty_like(x), [xp.empty(count, "float32") for _ in parameters]
    if in_packs(width, x, *parameters) and width <= 1024 * CACHED:
        version, threads = "cached", 32 * blocks(width, 32 * CACHED)
    else:
        version, threads = "block", min(512, 32 * blocks(width, 32 * 4))
    CU.launch(f"{kind}_norm_{version}", count, threads, x, *parameters, eps, out, *statistics, count, width)
    return out, *statistics


def launch_norm_backward(kind: str, fused: bool, g: Array, x: Array, weight: Array | None, *statistics: Array) -> Any:
    """dx, dweight and for "layer" dbias; statistics are the mean of "layer", and rstd."""
    xp, (count, width) = array_module(x), x.shape
    dx = xp.empty_like(x)
    across = blocks(width, 32)
    if fused:
        threads = 32 * blocks(width, 32 * 16 // x.itemsize)
        chunk = blocks(count, min(count, 2048 * 264 // threads))  # as many blocks as an H100 holds at a time
        partial = [xp.empty((blocks(count, chunk), width), "float32") for _ in statistics]
        arrays = (g, x, *statistics, weight, dx, *partial)
        CU.launch(f"{kind}_norm_backward_fused", len(partial[0]), threads, *arrays, count, width, chunk)
    else:
        threads, chunk = min(512, 32 * blocks(width, 32 * 4)), max(4 * TALL, blocks(count, blocks(1024, across)))
        partial = [xp.empty((blocks(count, chunk), width), "float32") for _ in statistics]
        CU.launch(f"{kind}_norm_backward_rows", count, threads, g, x, *statistics, weight, dx, width)
        grid, arrays = (across, len(partial[0])), (g, x, *statistics, *partial)
        CU.launch(f"{kind}_norm_backward_columns", grid, (32, TALL), *arrays, count, width, chunk)
    return dx, *(add_columns(part, x) for part in partial)


def one_pack_each(g: Array, x: Array, weight: Array | None) -> bool:
    """Whether a block of 1024 threads covers a row with a pack a thread, as the fused version needs it."""
    return in_packs(x.shape[1], g, x, weight) and x.shape[1] * x.itemsize <= 1024 * 16


@layer_norm.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def layer_norm_cuda(x: Array, weight: Array | None, bias: Array | None, eps: float) -> tuple[Array, ...]:
    return launch_norm("layer", x, eps, weight, bias)


@rms_norm.variant("cuda", device="cuda", supports=supports_rms_cuda, copies=True)
def rms_norm_cuda(x: Array, weight: Array | None, eps: float) -> tuple[Array, ...]:
    return launch_norm("rms", x, eps, weight)


@layer_norm_backward.variant("cuda", device="cuda", supports=supports_backward_cuda, copies=True)
def layer_norm_backward_cuda(g: Array, x: Array, mean: Array, rstd: Array, weight: Array | None) -> tuple[Array, ...]:
    return launch_norm_backward("layer", one_pack_each(g, x, weight), g, x, weight, mean, rstd)


@rms_norm_backward.variant("cuda", device="cuda", supports=supports_rms_backward_cuda, copies=True)
def rms_norm_backward_cuda(g: Array, x: Array, rstd: Array, weight: Array | None) -> tuple[Array, ...]:
    return launch_norm_backward("rms", one_pack_each(g, x, weight), g, x, weight, rstd)


@layer_norm.variant("cuda_naive", device="cuda", supports=supports_cuda)
def layer_norm_naive(x: Array, weight: Array | None, bias: Array | None, eps: float) -> tuple[Array, ...]:
    xp, (count, width) = array_module(x), x.shape
    out, mean, rstd = xp.empty_like(x), xp.empty(count, "float32"), xp.empty(count, "float32")
    CU.launch("layer_norm_naive", blocks(count, 64), 64, x, weight, bias, eps, out, mean, rstd, count, width)
    return out, mean, rstd


@layer_norm_backward.variant("cuda_two_kernels", device="cuda", supports=supports_backward_cuda)
def layer_norm_backward_two(g: Array, x: Array, mean: Array, rstd: Array, weight: Array | None) -> tuple[Array, ...]:
    return launch_norm_backward("layer", False, g, x, weight, mean, rstd)
