"""Softmax and log-softmax along one axis, and their backward passes.

For each line x of D numbers along the axis, with m = max x:
    softmax      y_i = e^(x_i - m) / sum_j e^(x_j - m)        dx_i = y_i (g_i - sum_j g_j y_j)
    log-softmax  y_i = x_i - m - log sum_j e^(x_j - m)        dx_i = g_i - e^y_i sum_j g_j
Subtracting m changes nothing in the result and keeps every exponential at most 1. A line of only -inf has no largest
finite number to subtract: it gives NaN, as in PyTorch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import Kernel, array_module
from .common import Array, at_least_float32, float32_in_order, rows
from .cuda import ELEMENTS, Entry, Source, aligned, blocks, launchable
from .elementary import exp32, row_max, sum_exp
from .jit import jit
from .parallel import ELEMENTARY, MEMORY, share_rows


def shifted(x: Array, axis: int) -> Array:
    """x - max x along the axis, in at least float32."""
    x = at_least_float32(x)
    with np.errstate(invalid="ignore"):  # infinity - infinity is NaN, and that is the answer
        return x - x.max(axis=axis, keepdims=True) if x.size else x


@Kernel
def softmax(x: Array, axis: int) -> Array:
    """Softmax of x along an axis; the result has x's shape and dtype.

    Example:
        >>> softmax(np.array([0.0, 0.0]), 0)
        array([0.5, 0.5])
    """
    xp = array_module(x)
    e = xp.exp(shifted(x, axis))
    return (e / e.sum(axis=axis, keepdims=True)).astype(x.dtype, copy=False)


@Kernel
def softmax_backward(g: Array, out: Array, axis: int) -> Array:
    """Gradient of softmax's input, from the gradient g of its result `out`."""
    wide_g, wide_out = at_least_float32(g), at_least_float32(out)
    dx = wide_out * (wide_g - (wide_g * wide_out).sum(axis=axis, keepdims=True))
    return dx.astype(g.dtype, copy=False)


@Kernel
def log_softmax(x: Array, axis: int) -> Array:
    """Logarithm of softmax along an axis, computed without forming softmax, whose small entries would become 0.

    Example:
        >>> log_softmax(np.array([0.0, -1000.0]), 0)
        array([    0., -1000.])
    """
    xp = array_module(x)
    z = shifted(x, axis)
    with np.errstate(divide="ignore"):  # an empty line has the sum 0
        return (z - xp.log(xp.exp(z).sum(axis=axis, keepdims=True))).astype(x.dtype, copy=False)


@Kernel
def log_softmax_backward(g: Array, out: Array, axis: int) -> Array:
    """Gradient of log_softmax's input, from the gradient g of its result `out`."""
    xp = array_module(g)
    wide_g = at_least_float32(g)
    dx = wide_g - xp.exp(at_least_float32(out)) * wide_g.sum(axis=axis, keepdims=True)
    return dx.astype(g.dtype, copy=False)


# Numba: one row at a time, so that the second and third pass over it read the first-level cache and not memory.


def last_axis(x: Array, axis: int) -> bool:
    return x.size > 0 and axis in (-1, x.ndim - 1) and x.ndim > 0 and float32_in_order(x)


def last_axis_backward(g: Array, out: Array, axis: int) -> bool:
    return last_axis(out, axis) and float32_in_order(g)


@softmax.variant("numba", device="cpu", supports=last_axis)
def softmax_numba(x: Array, axis: int) -> Array:
    out = np.empty_like(x)
    share_rows(softmax_rows, ELEMENTARY, (rows(x), rows(out)))
    return out


@jit(fastmath={"reassoc", "contract"}, nogil=True)  # reassoc: several partial sums side by side
def softmax_rows(x: Any, out: Any) -> None:
    for i in range(x.shape[0]):
        m = row_max(x, i)
        total = np.float32(0)
        for j in range(x.shape[1]):
            e = exp32(x[i, j] - m)
            out[i, j] = e
            total += e
        scale = np.float32(1) / total
        for j in range(x.shape[1]):
            out[i, j] *= scale


@softmax_backward.variant("numba", device="cpu", supports=last_axis_backward)
def softmax_backward_numba(g: Array, out: Array, axis: int) -> Array:
    dx = np.empty_like(out)
    share_rows(softmax_backward_rows, 3 * MEMORY, (rows(g), rows(out), rows(dx)))
    return dx


@jit(fastmath={"reassoc", "contract"}, nogil=True)
def softmax_backward_rows(g: Any, out: Any, dx: Any) -> None:
    for i in range(g.shape[0]):
        total = np.float32(0)
        for j in range(g.shape[1]):
            total += g[i, j] * out[i, j]
        for j in range(g.shape[1]):
            dx[i, j] = out[i, j] * (g[i, j] - total)


@log_softmax.variant("numba", device="cpu", supports=last_axis)
def log_softmax_numba(x: Array, axis: int) -> Array:
    out = np.empty_like(x)
    share_rows(log_softmax_rows, ELEMENTARY, (rows(x), rows(out)))
    return out


@jit(
    nogil=True
)  # without reassoc, which would make of the last line x - (m + log_total), less accurate where m is large
def log_softmax_rows(x: Any, out: Any) -> None:
    for i in range(x.shape[0]):
        m = row_max(x, i)
        log_total = np.float32(math.log(sum_exp(x, i, m)))
        for j in range(x.shape[1]):
            out[i, j] = (x[i, j] - m) - log_total


@log_softmax_backward.variant("numba", device="cpu", supports=last_axis_backward)
def log_softmax_backward_numba(g: Array, out: Array, axis: int) -> Array:
    dx = np.empty_like(out)
    share_rows(log_softmax_backward_rows, ELEMENTARY, (rows(g), rows(out), rows(dx)))
    return dx


@jit(fastmath={"reassoc", "contract"}, nogil=True)
def log_softmax_backward_rows(g: Any, out: Any, dx: Any) -> None:
    for i in range(g.shape[0]):
        total = np.float32(0)
        for j in range(g.shape[1]):
            total += g[i, j]
        for j in range(g.shape[1]):
            dx[i, j] = g[i, j] - exp32(out[i, j]) * total


# CUDA. The numbered versions of softmax.cu are variants too, so that each can be run, compared and timed.

CU = Source(
    "softmax.cu",
    Entry("softmax_naive", "softmax", registers=48, types=ELEMENTS),
    Entry("softmax_block", "softmax", registers=32, shared=256, types=ELEMENTS),
    Entry("softmax_online", "softmax", registers=40, shared=256, types=ELEMENTS),
    Entry("log_softmax_online", "log_softmax", registers=40, shared=256, types=ELEMENTS),
    Entry("softmax_cached", "softmax", registers=40, shared=256, types=ELEMENTS),
    Entry("log_softmax_cached", "log_softmax", registers=40, shared=256, types=ELEMENTS),
    Entry("softmax_warp", "softmax", registers=56, types=ELEMENTS),
    Entry("log_softmax_warp", "log_softmax", registers=56, types=ELEMENTS),
    Entry("softmax_backward_warp", "softmax_backward", registers=64, types=ELEMENTS),
    Entry("log_softmax_backward_warp", "log_softmax_backward", registers=64, types=ELEMENTS),
    Entry("softmax_backward_block", "softmax_backward", registers=40, shared=128, types=ELEMENTS),
    Entry("log_softmax_backward_block", "log_softmax_backward", registers=40, shared=128, types=ELEMENTS),
)
WARP_WIDTH, CACHED = 512, 16  # the longest row for one warp, and how many elements a thread keeps: as in the file


def supports_cuda(x: Array, axis: int) -> bool:
    return x.size > 0 and axis in (-1, x.ndim - 1) and x.ndim > 0 and launchable(x, types=ELEMENTS)


def supports_backward_cuda(g: Array, out: Array, axis: int) -> bool:
    return supports_cuda(out, axis) and launchable(g, out, types=ELEMENTS)


def supports_cached(x: Array, axis: int) -> bool:
    fits = supports_cuda(x, axis) and x.shape[-1] <= 1024 * CACHED and x.shape[-1] * x.itemsize % 16 == 0
    return fits and aligned(x)


def supports_warp(x: Array, axis: int) -> bool:
    return supports_cuda(x, axis) and x.shape[-1] <= WARP_WIDTH


def launch_rows(entry: str, *arrays: Array) -> Array:
    """Launch a version of softmax.cu on the rows of the arrays; the last word of its name says how rows are shared out."""
    out, width = array_module(arrays[0]).empty_like(arrays[0]), arrays[0].shape[-1]
    count, version = out.size // width, entry.rpartition("_")[2]
    if version == "naive":
        grid, block = blocks(count, 64), 64  # a thread a row
    elif version == "warp":
        grid, block = blocks(count, 8), 8 * 32  # a warp a row
    else:
        per_thread, most = (CACHED, 1024) if version == "cached" else (8, 512)
        grid, block = count, min(most, 32 * blocks(width, 32 * per_thread))  # a block a row
    CU.launch(entry, grid, block, *arrays, out, count, width)
    return out


def fitting(x: Array, axis: int) -> str:
    """The fastest forward version for rows of this width."""
    return "warp" if supports_warp(x, axis) else "cached" if supports_cached(x, axis) else "online"


@softmax.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def softmax_cuda(x: Array, axis: int) -> Array:
    return launch_rows(f"softmax_{fitting(x, axis)}", x)


@log_softmax.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def log_softmax_cuda(x: Array, axis: int) -> Array:
    return launch_rows(f"log_softmax_{fitting(x, axis)}", x)


@softmax_backward.variant("cuda", device="cuda", supports=supports_backward_cuda, copies=True)
def softmax_backward_cuda(g: Array, out: Array, axis: int) -> Array:
    return launch_rows(f"softmax_backward_{'warp' if out.shape[-1] <= WARP_WIDTH else 'block'}", g, out)


@log_softmax_backward.variant("cuda", device="cuda", supports=supports_backward_cuda, copies=True)
def log_softmax_backward_cuda(g: Array, out: Array, axis: int) -> Array:
    return launch_rows(f"log_softmax_backward_{'warp' if out.shape[-1] <= WARP_WIDTH else 'block'}", g, out)


@softmax.variant("cuda_naive", device="cuda", supports=supports_cuda)
def softmax_naive(x: Array, axis: int) -> Array:
    return launch_rows("softmax_naive", x)


@softmax.variant("cuda_block", device="cuda", supports=supports_cuda)
def softmax_block(x: Array, axis: int) -> Array:
    return launch_rows("softmax_block", x)


@softmax.variant("cuda_online", device="cuda", supports=supports_cuda)
def softmax_online(x: Array, axis: int) -> Array:
    return launch_rows("softmax_online", x)


@softmax.variant("cuda_cached", device="cuda", supports=supports_cached)
def softmax_cached(x: Array, axis: int) -> Array:
    return launch_rows("softmax_cached", x)


@softmax.variant("cuda_warp", device="cuda", supports=supports_warp)
def softmax_warp(x: Array, axis: int) -> Array:
    return launch_rows("softmax_warp", x)
