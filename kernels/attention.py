"""Attention without keeping the matrix of scores, and its backward pass.

    S = scale Q K^T + mask      P = softmax(S) over the keys      out = P V      lse = log sum e^S
    with the gradient G of out, delta = sum_e G out:
    dV = P^T G      dS = P (G V^T - delta)      dQ = scale dS K      dK = scale dS^T Q
P is computed again in the backward pass, as e^(S - lse): what is kept between the passes is out and one number a query. It is
float64, since in float32 a mask of -1e9 would leave nothing of the sum in it. With dropout, P in `P V` and `P^T G` and the
gradient G V^T are multiplied with the same mask (random.py), which is computed again too.

Letters: B batch, H heads, G heads of keys and values, each shared by H / G heads of queries; L queries, S keys, D width of a
head, E of its values.

Sources: Vaswani and others, "Attention is all you need", 2017; Dao and others, "FlashAttention", 2022; Ainslie and others, "GQA",
2023.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import Kernel, array_module
from . import attention_loops as loops
from .common import FLOAT32, Array, at_least_float32
from .cuda import ELEMENTS, HALVES, Entry, Source, aligned, blocks, launchable, limits
from .gemm import gemm
from .parallel import share
from .random import as_uint64, dropout, threshold_and_scale


@Kernel
def attention(
    q: Array, k: Array, v: Array, scale: float, causal: bool, mask: Array | None, p: float, key: int, counter: int
) -> tuple[Array, Array]:
    """softmax(scale q k^T + mask) v for q (B, H, L, D), k (B, G, S, D), v (B, G, S, E): out (B, H, L, E) and lse (B, H, L).

    causal: query i sees the keys 0 to i. mask: added to the scores, each of its four sizes that of the scores or 1; a query that
    sees nothing, since all is -infinity, has the result 0 and lse infinity. p, key, counter: as those of `dropout`, of the
    softmax (B, H, L, S).

    Example:
        >>> import numpy as np
        >>> v = np.array([1.0, 3.0]).reshape(1, 1, 2, 1)
        >>> attention(np.zeros((1, 1, 1, 1)), np.zeros((1, 1, 2, 1)), v, 1.0, False, None, 0.0, 0, 0)[0].item()
        2.0
    """
    xp, s = array_module(q), scores(q, k, scale, causal, mask)
    if not s.shape[-1]:
        return xp.zeros((*q.shape[:3], v.shape[3]), q.dtype), xp.full(q.shape[:3], math.inf, np.float64)
    top = s.max(axis=-1, keepdims=True)
    blind = None if mask is None else top == -math.inf
    e = xp.exp(s - (top if blind is None else xp.where(blind, 0, top)))
    total = e.sum(axis=-1, keepdims=True)
    weights = e / (total if blind is None else xp.where(blind, 1, total))
    out = gemm(dropout(weights, p, key, counter) if p else weights, shared(at_least_float32(v), q), None)
    lse = top.astype(np.float64) + xp.log(total)
    if blind is not None:
        lse = xp.where(blind, math.inf, lse)
    return out.astype(q.dtype, copy=False), lse[..., 0]


attention.statistics = (1,)


@Kernel
def attention_backward(
    g: Array, q: Array, k: Array, v: Array, out: Array, lse: Array, scale: float, causal: bool, mask: Array | None, p: float,
    key: int, counter: int,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Gradients of q, k and v, from the gradient g (B, H, L, E) of `out` and what `attention` has returned."""
    wide_g, wide_v = at_least_float32(g), shared(at_least_float32(v), q)
    s = scores(q, k, scale, causal, mask)
    weights = array_module(q).exp(s - lse[..., None]).astype(s.dtype)
    delta = (wide_g * at_least_float32(out)).sum(axis=-1, keepdims=True)
    d = gemm(wide_g, wide_v.swapaxes(-1, -2), None)
    ds = weights * ((dropout(d, p, key, counter) if p else d) - delta) * scale
    dropped = dropout(weights, p, key, counter) if p else weights
    dq = gemm(ds, shared(at_least_float32(k), q), None)
    dk = summed(gemm(ds.swapaxes(-1, -2), at_least_float32(q), None), k)
    dv = summed(gemm(dropped.swapaxes(-1, -2), wide_g, None), v)
    return tuple(d.astype(q.dtype, copy=False) for d in (dq, dk, dv))


def scores(q: Array, k: Array, scale: float, causal: bool, mask: Array | None) -> Array:
    """scale q k^T + mask (B, H, L, S), -infinity where a key is hidden."""
    xp = array_module(q)
    s = gemm(at_least_float32(q), shared(at_least_float32(k), q).swapaxes(-1, -2), None) * scale
    if mask is not None:
        s = s + mask
    return xp.where(xp.tri(*s.shape[-2:], dtype=bool), s, -math.inf).astype(s.dtype) if causal else s


def shared(x: Array, q: Array) -> Array:
    """Keys or values (B, G, S, .) for each head of the queries."""
    return x if x.shape[1] == q.shape[1] else x.repeat(q.shape[1] // x.shape[1], axis=1)


def summed(d: Array, x: Array) -> Array:
    """Gradients (B, H, S, .) for each head of the queries, as those of the heads that they share, of x (B, G, S, .)."""
    return d if d.shape == x.shape else d.reshape(*x.shape[:2], -1, *d.shape[2:]).sum(axis=2)


# Numba: one loop over batch and heads of keys, in threads (attention_loops.py). Heads may lie in memory between each other, as in a
# product with the weights of q, k and v side by side: they are read and written where they are.


def supports(
    q: Array, k: Array, v: Array, scale: float, causal: bool, mask: Array | None, p: float, key: int, counter: int
) -> bool:
    for a in (q, k, v):  # a loop costs half of all(...), and one query of few keys costs little more than its call
        if a.dtype != FLOAT32 or not a.flags.aligned or not a.size:
            return False
    return (mask is None or mask.dtype == FLOAT32) and p < 1


FEW = 4  # queries: for fewer, packing the keys takes longer than the product with them


@attention.variant("numba", device="cpu", supports=supports)
def attention_numba(
    q: Array, k: Array, v: Array, scale: float, causal: bool, mask: Array | None, p: float, key: int, counter: int
) -> tuple[Array, Array]:
    B, G, S, E = v.shape
    H, L = q.shape[1:3]
    out, lse = blank_like(q, (B, H, L, E)), np.empty((B, H, L), np.float64)
    work = B * H * L * S * (q.shape[3] + E)
    options = scale, causal, *wide(mask, (B, H, L, S)), *dropping(p, key, counter)
    few = L < FEW and q.strides[3] == k.strides[3] == v.strides[3] == q.itemsize
    share(B * G, loops.attention, work, few, q, k, v, *options, out, lse)
    return out, lse


def supports_backward(
    g: Array, q: Array, k: Array, v: Array, out: Array, lse: Array, scale: float, causal: bool, mask: Array | None, p: float,
    key: int, counter: int,
) -> bool:  # fmt: skip
    return supports(q, k, v, scale, causal, mask, p, key, counter) and all(
        a.dtype == FLOAT32 and a.flags.aligned for a in (g, out)
    )


@attention_backward.variant("numba", device="cpu", supports=supports_backward)
def attention_backward_numba(
    g: Array, q: Array, k: Array, v: Array, out: Array, lse: Array, scale: float, causal: bool, mask: Array | None, p: float,
    key: int, counter: int,
) -> tuple[Array, Array, Array]:  # fmt: skip
    B, G, S, E = v.shape
    H, L = q.shape[1:3]
    dq, dk, dv = gradients_like(q, k, v)
    work = B * H * L * S * (3 * q.shape[3] + 2 * E)
    options = scale, causal, *wide(mask, (B, H, L, S)), *dropping(p, key, counter)
    share(B * G, loops.attention_backward, work, contiguous(g), q, k, v, contiguous(out), lse, *options, dq, dk, dv)
    return dq, dk, dv


def blank_like(x: Array, shape: tuple[int, ...]) -> Array:
    """An array to fill in, its axes in memory in the order of those of x, if the last one is contiguous."""
    if x.strides[-1] != x.itemsize or 0 in x.strides:
        return np.empty(shape, FLOAT32)
    return np.empty_like(x, shape=shape, subok=False)


def gradients_like(q: Array, k: Array, v: Array) -> tuple[Array, ...]:
    """Arrays for the gradients. Where q, k and v are slices of one array, so are they, and need not be joined afterwards."""
    if q.base is not None and q.base is k.base is v.base and q.shape == k.shape == v.shape:
        first, second, third = (a.__array_interface__["data"][0] for a in (q, k, v))
        if q.strides == k.strides == v.strides and second - first == third - second > 0:
            together = np.lib.stride_tricks.as_strided(q, (3, *q.shape), (second - first, *q.strides))
            return tuple(blank_like(together, together.shape))
    return tuple(blank_like(a, a.shape) for a in (q, k, v))


def contiguous(x: Array) -> Array:
    """x, or a copy if the elements of its last axis do not lie side by side."""
    return x if x.strides[-1] == x.itemsize else np.ascontiguousarray(x)


def wide(mask: Array | None, shape: tuple[int, ...]) -> tuple[bool, Array]:
    """Whether there is a mask, and a view (B, H, L, S) of it, whose last axis is contiguous."""
    if mask is None:
        return False, NO_MASK
    return True, np.broadcast_to(contiguous(np.broadcast_to(mask, (*mask.shape[:3], shape[3]))), shape)


NO_MASK = np.broadcast_to(np.zeros((), FLOAT32), (1, 1, 1, 1))


def dropping(p: float, key: int, counter: int) -> tuple[Any, ...]:
    """What the loops take for dropout: whether there is any, the threshold for the words, the factor of what stays."""
    if not p:
        return NO_DROPOUT
    threshold, factor = threshold_and_scale(p)
    return True, threshold, factor, *as_uint64(key, counter)


NO_DROPOUT = (False, np.uint64(0), 1.0, *as_uint64(0, 0))


# CUDA: see attention.cu.

CU = Source(
    "attention.cu",
    Entry("attention_naive", "attention", registers=255, types=ELEMENTS),
    Entry("attention_tiled", "attention", registers=128),
    Entry("attention_mma", "attention", registers=192, types=HALVES, since=80),
    Entry("attention_delta", "attention_backward", registers=32, types=ELEMENTS),
    Entry("attention_backward_kv_tiled", "attention_backward", registers=128),
    Entry("attention_backward_q_tiled", "attention_backward", registers=128),
    Entry("attention_backward_kv_mma", "attention_backward", registers=255, types=HALVES, since=80),
    Entry("attention_backward_q_mma", "attention_backward", registers=192, types=HALVES, since=80),
)
WIDTHS = (32, 64, 128)  # of a head
SIDE, OTHERS = 64, 32  # rows of a tile: as in the file


def supports_cuda(
    q: Array, k: Array, v: Array, scale: float, causal: bool, mask: Array | None, p: float, key: int, counter: int
) -> bool:
    return (
        k.shape == v.shape
        and q.shape[:2] == k.shape[:2]
        and q.shape[3] == k.shape[3]
        and q.size > 0
        and k.size > 0
        and mask is None
        and not p
        and q.shape[3] in WIDTHS
        and q.shape[0] * q.shape[1] < 65536  # blocks along y
        and launchable(q, k, v, types=ELEMENTS)
        and aligned(q, k, v)
        and tile_bytes(q, 4, 2) <= limits(q).shared
        and limits(q).capability >= (80 if q.itemsize == 2 else 75)
    )


def supports_backward_cuda(
    g: Array, q: Array, k: Array, v: Array, out: Array, lse: Array, scale: float, causal: bool, mask: Array | None, p: float,
    key: int, counter: int,
) -> bool:  # fmt: skip
    same = launchable(g, q, out, types=ELEMENTS) and aligned(g, out)
    return same and supports_cuda(q, k, v, scale, causal, mask, p, key, counter)


def tile_bytes(q: Array, tiles: int, squares: int) -> int:
    """Shared memory of a tiled float32 kernel, or of a float16 one with tiles of half that height."""
    if q.itemsize == 2:
        return tiles * SIDE * q.shape[3] * 2
    return (tiles * SIDE * (q.shape[3] + 1) + squares * SIDE * (SIDE + 1)) * 4


def launch(entry: str, rows: int, q: Array, tiles: int, squares: int, *args: Any) -> None:
    """Launch a kernel with a block for each tile of `rows`."""
    version, threads = ("mma", 128) if q.itemsize == 2 else ("tiled", (16, 16))
    memory, heads = tile_bytes(q, tiles, squares), q.shape[0] * q.shape[1]
    CU.launch(f"{entry}_{version}", (blocks(rows, SIDE), heads), threads, *args, shared=memory, WIDTH=q.shape[3])


@attention.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def attention_cuda(
    q: Array, k: Array, v: Array, scale: float, causal: bool, mask: Array | None, p: float, key: int, counter: int
) -> tuple[Array, Array]:
    xp, L, S = array_module(q), q.shape[2], k.shape[2]
    out, lse = xp.empty_like(q), xp.empty(q.shape[:3], "float32")
    tiles = 5 if q.itemsize == 2 else 3  # float16: queries, and twice keys and values
    squares = (
        1 if q.shape[3] < SIDE and q.itemsize == 4 else 0
    )  # the probabilities fit where the keys were, but for small D
    launch("attention", L, q, tiles, squares, q, k, v, out, lse, L, S, scale, causal)
    return out, lse.astype("float64")


@attention_backward.variant("cuda", device="cuda", supports=supports_backward_cuda, copies=True)
def attention_backward_cuda(
    g: Array, q: Array, k: Array, v: Array, out: Array, lse: Array, scale: float, causal: bool, mask: Array | None, p: float,
    key: int, counter: int,
) -> tuple[Array, Array, Array]:  # fmt: skip
    xp, (B, H, L, D), S = array_module(q), q.shape, k.shape[2]
    dq, dk, dv, delta = xp.empty_like(q), xp.empty_like(k), xp.empty_like(v), xp.empty((B, H, L), "float32")
    CU.launch("attention_delta", blocks(B * H * L, 8), 256, g, out, delta, B * H * L, WIDTH=D)
    arguments = (g, q, k, v, lse.astype("float32"), delta)
    launch("attention_backward_kv", S, q, 4, 2, *arguments, dk, dv, L, S, scale, causal)
    launch("attention_backward_q", L, q, 4, 1, *arguments, dq, L, S, scale, causal)
    return dq, dk, dv


def supports_naive(
    q: Array, k: Array, v: Array, scale: float, causal: bool, mask: Array | None, p: float, key: int, counter: int
) -> bool:
    fits = q.shape[3] <= 64  # wider rows do not fit into a thread's registers
    return fits and supports_cuda(q, k, v, scale, causal, mask, p, key, counter)


@attention.variant("cuda_naive", device="cuda", supports=supports_naive)
def attention_naive(
    q: Array, k: Array, v: Array, scale: float, causal: bool, mask: Array | None, p: float, key: int, counter: int
) -> tuple[Array, Array]:
    xp, (B, H, L, D), S = array_module(q), q.shape, k.shape[2]
    out, lse = xp.empty_like(q), xp.empty((B, H, L), "float32")
    CU.launch("attention_naive", (blocks(L, 64), B * H), 64, q, k, v, out, lse, L, S, scale, causal, WIDTH=D)
    return out, lse.astype("float64")
