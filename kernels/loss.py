"""Softmax cross-entropy of logits (N, V) with integer targets (N,), and its backward pass; the same of maps (N, V, P).

With p = softmax(x), target y, class weights w (1 without them) and label smoothing e:
    loss  = (1 - e) w_y (L - x_y)  +  e / V * sum_c w_c (L - x_c)          L = log sum_c e^x_c
    dx_c  = g * ( ((1 - e) w_y + e W / V) p_c  -  (1 - e) w_y [c = y]  -  e / V * w_c )         W = sum_c w_c
A row whose target is `ignore_index` has loss and gradient 0. Reduction over the rows, and the check that targets lie in
[0, V), are the caller's.

On a GPU time goes by memory, so softmax is not stored: the backward pass computes p_c = e^(x_c - L) again from the N numbers
L. They are float64, since in float32 a rounded L = 10000 alone would change p by 5e-4. On a CPU time goes by exponentials, and
those of the loss are most of the gradient too: `cross_entropy_and_gradient` computes them once.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from . import Kernel, array_module
from .cast import astype
from .common import FLOAT32, Array, at_least_float32, float32_in_order
from .cuda import ELEMENTS, Entry, Source, blocks, launchable
from .elementary import exp32, log32, row_max, sum_exp
from .jit import jit
from .layout import load_some, store_some
from .parallel import ELEMENTARY, FEW, share, share_rows
from .simd import WIDTH, first, load, maximum, select, splat, store

INT64 = np.dtype(np.int64)  # comparing with np.int64 makes one each time


@Kernel
def cross_entropy(
    logits: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float
) -> tuple[Array, Array]:
    """Losses (N,) in the dtype of the logits (N, V), and log-sum-exp (N,) in float64 for `cross_entropy_backward`.

    Semantics of `torch.nn.functional.cross_entropy(reduction="none")`; weight is (V,) or None.

    Example:
        >>> cross_entropy(np.zeros((1, 4)), np.array([2]), None, -100, 0.0)
        (array([1.38629436]), array([1.38629436]))
    """
    xp = array_module(logits)
    x = at_least_float32(logits)
    row = xp.arange(len(x))
    kept = target != ignore_index
    y = xp.where(kept, target, 0)  # an ignored target need not be an index
    with np.errstate(invalid="ignore"):
        m = x.max(axis=1, keepdims=True)
        log_total = xp.log(xp.exp(x - m).sum(axis=1, keepdims=True))
        log_p = (x - m) - log_total
    losses = -log_p[row, y] * (1 if weight is None else weight[y])
    if smoothing:
        mean = -(log_p * (1 if weight is None else weight)).sum(axis=1) / x.shape[1]
        losses = (1 - smoothing) * losses + smoothing * mean
    lse = m.astype(np.float64) + log_total
    return xp.where(kept, losses, 0).astype(logits.dtype), lse[:, 0]


@Kernel
def cross_entropy_backward(
    g: Array, logits: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float, lse: Array
) -> Array:
    """Gradient (N, V) of the logits, from the gradients g (N,) of the losses and the forward pass's `lse` (N,)."""
    xp = array_module(logits)
    row, classes = xp.arange(len(logits)), logits.shape[1]
    kept = target != ignore_index
    y = xp.where(kept, target, 0)
    w = xp.ones(classes, dtype=logits.dtype) if weight is None else weight
    one_hot_part = (1 - smoothing) * w[y]
    with np.errstate(invalid="ignore"):
        p = xp.exp(logits - lse[:, None])
    dx = (one_hot_part + smoothing / classes * w.sum())[:, None] * p
    dx[row, y] -= one_hot_part
    if smoothing:
        dx -= smoothing / classes * w
    return xp.where(kept[:, None], g[:, None] * dx, 0).astype(logits.dtype)


@Kernel
def cross_entropy_and_gradient(
    logits: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float
) -> tuple[Array, Array]:
    """Losses (N,) as `cross_entropy`, and the gradients (N, V) of the losses, each by its own row.

    Or of maps: logits (N, V, P), classified at each of P positions by targets (N, P), give losses (N, P) and gradients (N, V, P).

    Example:
        >>> cross_entropy_and_gradient(np.zeros((1, 4)), np.array([2]), None, -100, 0.0)
        (array([1.38629436]), array([[ 0.25,  0.25, -0.75,  0.25]]))
    """
    if logits.ndim == 3:
        rows = logits.swapaxes(1, 2).reshape(target.size, logits.shape[1])
        found = cross_entropy_and_gradient.reference(rows, target.reshape(-1), weight, ignore_index, smoothing)
        return found[0].reshape(target.shape), found[1].reshape(*target.shape, logits.shape[1]).swapaxes(1, 2)
    options = target, weight, ignore_index, smoothing
    losses, lse = cross_entropy.reference(logits, *options)
    return losses, cross_entropy_backward.reference(array_module(logits).ones_like(losses), logits, *options, lse)


# Numba: one row at a time, so that the passes after the first read the first-level cache and not memory.


def supports(logits: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float) -> bool:
    return (
        float32_in_order(logits)
        and logits.size > 0
        and target.dtype == INT64
        and target.flags.c_contiguous
        and (weight is None or float32_in_order(weight))
    )


@lru_cache
def ones(classes: int) -> Array:
    """Weights that change nothing: one compiled loop serves both."""
    return np.ones(classes, np.float32)


@cross_entropy.variant("numba", device="cpu", supports=supports)
def cross_entropy_numba(
    logits: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float
) -> tuple[Array, Array]:
    losses, lse = np.empty(len(logits), np.float32), np.empty(len(logits), np.float64)
    weight = ones(logits.shape[1]) if weight is None else weight
    share_rows(loss_rows, ELEMENTARY, (logits, target, losses, lse), weight, ignore_index, float(smoothing))
    return losses, lse


@jit(nogil=True)  # reassoc is left to `sum_exp`: here it would undo the subtraction of the maximum
def loss_rows(
    logits: Any, target: Any, losses: Any, lse: Any, weight: Any, ignore_index: int, smoothing: float
) -> None:
    classes, total_weight = logits.shape[1], np.float64(weight.sum())
    for i in range(logits.shape[0]):
        m = row_max(logits, i)
        log_total = math.log(np.float64(sum_exp(logits, i, m)))
        lse[i] = m + log_total
        y = target[i]
        if y == ignore_index:
            losses[i] = 0
            continue
        loss = weight[y] * (np.float64(m - logits[i, y]) + log_total)
        if smoothing > 0:
            every = np.float64(sum_below(logits, i, m, weight)) + total_weight * log_total
            loss = (1 - smoothing) * loss + smoothing / classes * every
        losses[i] = loss


@jit(fastmath={"reassoc", "contract"})  # reassoc: several partial sums side by side
def sum_below(logits: Any, i: int, m: Any, weight: Any) -> Any:
    """Sum of weight * (m - x) over row i."""
    total = np.float32(0)
    for c in range(logits.shape[1]):
        total += weight[c] * (m - logits[i, c])
    return total


@cross_entropy_and_gradient.variant("numba", device="cpu", supports=supports)
def cross_entropy_and_gradient_numba(
    logits: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float
) -> tuple[Array, Array]:
    if logits.ndim == 3:
        return cross_entropy_and_gradient_maps(logits, target, weight, ignore_index, smoothing)
    losses, dx = np.empty(len(logits), np.float32), np.empty_like(logits)
    weight = ones(logits.shape[1]) if weight is None else weight
    arrays, options = (logits, target, losses, dx), (weight, ignore_index, float(smoothing))
    if logits.size < FEW:
        loss_and_gradient_rows(*arrays, *options)
    else:
        share_rows(loss_and_gradient_rows, ELEMENTARY, arrays, *options)
    return losses, dx


@jit(nogil=True)
def loss_and_gradient_rows(
    logits: Any, target: Any, losses: Any, dx: Any, weight: Any, ignore_index: int, smoothing: float
) -> None:
    classes, total_weight = logits.shape[1], np.float64(weight.sum())
    spread = np.float32(smoothing / classes)
    for i in range(logits.shape[0]):
        y = target[i]
        if y == ignore_index:
            losses[i] = 0
            dx[i, :] = 0
            continue
        m = row_max(logits, i)
        total = exp_row(logits, i, m, dx)
        log_total = math.log(np.float64(total))
        one_hot_part = np.float32((1 - smoothing) * weight[y])
        loss = one_hot_part * (np.float64(m - logits[i, y]) + log_total)
        if smoothing > 0:
            every = np.float64(sum_below(logits, i, m, weight)) + total_weight * log_total
            loss += smoothing / classes * every
        losses[i] = loss
        p_part = np.float32((one_hot_part + spread * total_weight) / total)
        for c in range(classes):
            dx[i, c] = p_part * dx[i, c] - spread * weight[c]
        dx[i, y] -= one_hot_part


@jit(fastmath={"reassoc", "contract"})
def exp_row(x: Any, i: int, m: Any, out: Any) -> Any:
    """e^(x - m) of row i, written to row i of out, and their sum."""
    total = np.float32(0)
    for c in range(x.shape[1]):
        e = exp32(x[i, c] - m)
        out[i, c] = e
        total += e
    return total


# Numba, maps: the logits of one class are side by side, as many of them as a register has lanes are worked on at a time. Turning
# the map to have rows of classes takes longer than the loss.

POSITIONS = 1024  # of a sample: the unit in which work is shared out


def cross_entropy_and_gradient_maps(
    logits: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float
) -> tuple[Array, Array]:
    losses, dx = np.empty(target.shape, np.float32), np.empty_like(logits)
    weight = ones(logits.shape[1]) if weight is None else weight
    units = len(logits) * -(-logits.shape[2] // POSITIONS)
    arrays = logits.reshape(-1), target.reshape(-1), losses.reshape(-1), dx.reshape(-1)
    options = logits.shape[1], logits.shape[2], weight, ignore_index, float(smoothing)
    share(units, loss_and_gradient_maps, ELEMENTARY * logits.size, *arrays, *options)
    return losses, dx


@jit(nogil=True)
def loss_and_gradient_maps(
    begin: int, end: int, x: Any, target: Any, losses: Any, dx: Any, classes: int, positions: int, weight: Any,
    ignore_index: int, smoothing: float,
) -> None:  # fmt: skip
    own, total_weight = np.empty((6, WIDTH), np.float32), np.float64(weight.sum())
    each = -(-positions // POSITIONS)
    for unit in range(begin, end):
        sample, start = unit // each, unit % each * POSITIONS
        stop = min(start + POSITIONS, positions)
        for p in range(start, stop, WIDTH):
            at, n = sample * classes * positions + p, min(WIDTH, stop - p)
            y = target[sample * positions + p :][:n]
            if n == WIDTH:
                exps_of_positions(x, dx, at, positions, classes, weight, smoothing, None, own)
            else:
                exps_of_positions(x, dx, at, positions, classes, weight, smoothing, first(n), own)
            for i in range(n):
                losses[sample * positions + p + i] = loss_of_position(
                    x, at + i, positions, classes, y[i], weight, total_weight, ignore_index, smoothing, own, i
                )
            if n == WIDTH:
                slopes_of_positions(dx, at, positions, classes, weight, None, own)
            else:
                slopes_of_positions(dx, at, positions, classes, weight, first(n), own)
            for i in range(n):
                if y[i] != ignore_index:
                    dx[at + i + y[i] * positions] -= own[4, i]


# What the three functions tell each other of the positions of one register is in the rows of `own`: the maximum m; the sum of
# e^(x - m), then the factor of p; the sum of weight * (m - x); e / V, or -1 where the target is ignored; the factor of
# [c = y]; the logarithm of the sum.


@jit(forceinline=True)
def exps_of_positions(
    x: Any, dx: Any, at: int, step: int, classes: int, weight: Any, smoothing: float, some: Any, own: Any
) -> None:
    """e^(x - m) of all classes at the positions of one register, to dx."""
    m = load_some(x, at, some)
    for c in range(1, classes):
        m = maximum(m, load_some(x, at + c * step, some))
    total, below = splat(0.0), splat(0.0)
    for c in range(classes):
        apart = load_some(x, at + c * step, some) - m
        e = exp32(apart)
        store_some(dx, at + c * step, e, some)
        total += e
        if smoothing > 0:
            below -= apart * weight[c]
    store(own, 0, m)
    store(own, WIDTH, total)
    store(own, 2 * WIDTH, below)
    store(own, 5 * WIDTH, log32(total))


@jit(forceinline=True)
def loss_of_position(
    x: Any, at: int, step: int, classes: int, y: int, weight: Any, total_weight: float, ignore_index: int, smoothing: float,
    own: Any, i: int,
) -> Any:  # fmt: skip
    if y == ignore_index:
        own[3, i] = -1
        return np.float32(0)
    m, total, spread = own[0, i], own[1, i], np.float32(smoothing / classes)
    one_hot_part, log_total = np.float32((1 - smoothing) * weight[y]), np.float64(own[5, i])
    loss = one_hot_part * (np.float64(m - x[at + y * step]) + log_total)
    if smoothing > 0:
        loss += smoothing / classes * (np.float64(own[2, i]) + total_weight * log_total)
    own[1, i], own[3, i], own[4, i] = (one_hot_part + spread * total_weight) / total, spread, one_hot_part
    return np.float32(loss)


@jit(forceinline=True)
def slopes_of_positions(dx: Any, at: int, step: int, classes: int, weight: Any, some: Any, own: Any) -> None:
    """The gradient but for the target's own part, of all classes at the positions of one register, from e^(x - m) in dx."""
    factor, spread = load(own, WIDTH), load(own, 3 * WIDTH)
    counts = spread >= np.float32(0)
    for c in range(classes):
        value = factor * load_some(dx, at + c * step, some) - spread * weight[c]
        store_some(dx, at + c * step, select(counts, value, splat(0.0)), some)


# CUDA: see loss.cu.

CU = Source(
    "loss.cu",
    Entry("cross_entropy_naive", "cross_entropy", registers=64, types=ELEMENTS),
    Entry("cross_entropy_warp", "cross_entropy", registers=64, types=ELEMENTS),
    Entry("cross_entropy_block", "cross_entropy", registers=64, shared=512, types=ELEMENTS),
    Entry("cross_entropy_backward_rows", "cross_entropy_backward", registers=64, types=ELEMENTS),
)
WARP_CLASSES = 1024  # up to so many classes a warp takes a row


def supports_cuda(
    logits: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float, lse: Array | None = None
) -> bool:
    indices = target.dtype == np.int64 and target.flags.c_contiguous
    return indices and logits.size > 0 and launchable(logits, weight, types=ELEMENTS)


def supports_backward_cuda(
    g: Array, logits: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float, lse: Array
) -> bool:
    return (
        supports_cuda(logits, target, weight, ignore_index, smoothing)
        and launchable(g, logits, types=ELEMENTS)
        and launchable(lse, types=("float64",))
    )


def weight_and_total(weight: Array | None, smoothing: float) -> tuple[Array | None, Array | None]:
    """The weights and their sum, which only smoothing needs; without weights the kernels count ones."""
    return weight, astype(weight, FLOAT32).sum(keepdims=True) if weight is not None and smoothing else None


def launch_forward(
    version: str, logits: Array, target: Array, weight: Array | None, ignore: int, smoothing: float
) -> Any:
    xp, (count, classes) = array_module(logits), logits.shape
    losses, lse = xp.empty(count, logits.dtype), xp.empty(count, "float64")
    if version == "naive":
        grid, block = blocks(count, 64), 64
    elif version == "warp":
        grid, block = blocks(count, 8), 8 * 32
    else:
        grid, block = count, min(512, 32 * blocks(classes, 32 * 8))
    parameters = (*weight_and_total(weight, smoothing), ignore, smoothing, losses, lse, count, classes)
    CU.launch(f"cross_entropy_{version}", grid, block, logits, target, *parameters)
    return losses, lse


@cross_entropy.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def cross_entropy_cuda(
    logits: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float
) -> tuple[Array, Array]:
    version = "warp" if logits.shape[1] <= WARP_CLASSES else "block"
    return launch_forward(version, logits, target, weight, ignore_index, smoothing)


@cross_entropy.variant("cuda_naive", device="cuda", supports=supports_cuda)
def cross_entropy_naive(
    logits: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float
) -> tuple[Array, Array]:
    return launch_forward("naive", logits, target, weight, ignore_index, smoothing)


@cross_entropy_backward.variant("cuda", device="cuda", supports=supports_backward_cuda, copies=True)
def cross_entropy_backward_cuda(
    g: Array, logits: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float, lse: Array
) -> Array:
    dx, (count, classes) = array_module(g).empty_like(logits), logits.shape
    threads = min(256, 32 * blocks(classes, 32 * 4))
    pieces = min(blocks(classes, 16 * threads), blocks(2048, count))
    parameters = (*weight_and_total(weight, smoothing), ignore_index, smoothing, lse, dx, classes)
    CU.launch("cross_entropy_backward_rows", (count, pieces), threads, g, logits, target, *parameters)
    return dx
