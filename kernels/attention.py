"""Attention without keeping the matrix of scores, and its backward pass.

    S = scale Q K^T      P = softmax(S) over the keys      out = P V      lse = log sum e^S
    with the gradient G of out, delta = sum_d G out:
    dV = P^T G      dS = P (G V^T - delta)      dQ = scale dS K      dK = scale dS^T Q
P is computed again in the backward pass, as e^(S - lse): what is kept between the passes is out and one number a query.

Letters: N batch times heads, L queries, S keys, D width of a head.

Sources: Vaswani and others, "Attention Is All You Need", 2017; Dao and others, "FlashAttention", 2022.
"""

from __future__ import annotations

from typing import Any

from . import Kernel, array_module
from .common import Array, at_least_float32
from .cuda import Entry, Source, aligned, blocks, launchable, limits


@Kernel
def attention(q: Array, k: Array, v: Array, scale: float, causal: bool) -> tuple[Array, Array]:
    """softmax(scale q k^T) v for q (N, L, D), k and v (N, S, D): out (N, L, D) and lse (N, L), at least float32.

    causal: query i sees the keys 0 to i.

    Example:
        >>> import numpy as np
        >>> attention(np.zeros((1, 1, 1)), np.zeros((1, 2, 1)), np.array([[[1.0], [3.0]]]), 1.0, False)[0]
        array([[[2.]]])
    """
    xp, s = array_module(q), scores(q, k, scale, causal)
    largest = s.max(axis=-1, keepdims=True)
    e = xp.exp(s - largest)
    total = e.sum(axis=-1, keepdims=True)
    out = (e / total) @ at_least_float32(v)
    return out.astype(q.dtype, copy=False), (largest + xp.log(total))[..., 0]


@Kernel
def attention_backward(
    g: Array, q: Array, k: Array, v: Array, out: Array, lse: Array, scale: float, causal: bool
) -> tuple[Array, Array, Array]:
    """Gradients of q, k and v, from the gradient g (N, L, D) of `out` and what `attention` has returned."""
    wide_g, wide_v = at_least_float32(g), at_least_float32(v)
    p = array_module(q).exp(scores(q, k, scale, causal) - lse[..., None])
    delta = (wide_g * at_least_float32(out)).sum(axis=-1, keepdims=True)
    ds = p * (wide_g @ wide_v.swapaxes(-1, -2) - delta) * scale
    gradients = ds @ at_least_float32(k), ds.swapaxes(-1, -2) @ at_least_float32(q), p.swapaxes(-1, -2) @ wide_g
    return tuple(d.astype(q.dtype, copy=False) for d in gradients)


def scores(q: Array, k: Array, scale: float, causal: bool) -> Array:
    """scale q k^T (N, L, S), -infinity where a key is hidden."""
    s = at_least_float32(q) @ at_least_float32(k).swapaxes(-1, -2) * scale
    if not causal:
        return s
    xp = array_module(q)
    return xp.where(xp.tri(q.shape[1], k.shape[1], dtype=bool), s, -xp.inf)


# CUDA: see attention.cu.

CU = Source(
    "attention.cu",
    Entry("attention_naive", "attention", registers=255, types=("float32", "float16")),
    Entry("attention_tiled", "attention", registers=128),
    Entry("attention_mma", "attention", registers=192, types=("float16",), since=80),
    Entry("attention_delta", "attention_backward", registers=32, types=("float32", "float16")),
    Entry("attention_backward_kv_tiled", "attention_backward", registers=128),
    Entry("attention_backward_q_tiled", "attention_backward", registers=128),
    Entry("attention_backward_kv_mma", "attention_backward", registers=255, types=("float16",), since=80),
    Entry("attention_backward_q_mma", "attention_backward", registers=192, types=("float16",), since=80),
)
WIDTHS = (32, 64, 128)  # of a head
SIDE, OTHERS = 64, 32  # rows of a tile: as in the file


def supports_cuda(q: Array, k: Array, v: Array, scale: float, causal: bool) -> bool:
    shapes = q.ndim == 3 and k.shape == v.shape and q.size > 0 and k.size > 0 and q.shape[2] == k.shape[2]
    return (
        shapes
        and q.shape[2] in WIDTHS
        and q.shape[0] < 65536  # blocks along y
        and launchable(q, k, v, types=("float32", "float16"))
        and aligned(q, k, v)
        and tile_bytes(q, 4, 2) <= limits(q).shared
        and limits(q).capability >= (80 if q.itemsize == 2 else 75)
    )


def supports_backward_cuda(
    g: Array, q: Array, k: Array, v: Array, out: Array, lse: Array, scale: float, causal: bool
) -> bool:
    same = launchable(g, q, out, types=("float32", "float16")) and aligned(g, out) and launchable(lse)
    return same and supports_cuda(q, k, v, scale, causal)


def tile_bytes(q: Array, tiles: int, squares: int) -> int:
    """Shared memory of a tiled float32 kernel, or of a float16 one with tiles of half that height."""
    if q.itemsize == 2:
        return tiles * SIDE * q.shape[2] * 2
    return (tiles * SIDE * (q.shape[2] + 1) + squares * SIDE * (SIDE + 1)) * 4


def launch(entry: str, rows: int, q: Array, tiles: int, squares: int, *args: Any) -> None:
    """Launch a kernel with a block for each tile of `rows`."""
    version, threads = ("mma", 128) if q.itemsize == 2 else ("tiled", (16, 16))
    memory = tile_bytes(q, tiles, squares)
    CU.launch(f"{entry}_{version}", (blocks(rows, SIDE), len(q)), threads, *args, shared=memory, WIDTH=q.shape[2])


@attention.variant("cuda", device="cuda", supports=supports_cuda)
def attention_cuda(q: Array, k: Array, v: Array, scale: float, causal: bool) -> tuple[Array, Array]:
    xp, L, S = array_module(q), q.shape[1], k.shape[1]
    out, lse = xp.empty_like(q), xp.empty(q.shape[:2], "float32")
    tiles = 5 if q.itemsize == 2 else 3  # float16: queries, and twice keys and values
    squares = (
        1 if q.shape[2] < SIDE and q.itemsize == 4 else 0
    )  # the probabilities fit where the keys were, but for small D
    launch("attention", L, q, tiles, squares, q, k, v, out, lse, L, S, scale, causal)
    return out, lse


@attention_backward.variant("cuda", device="cuda", supports=supports_backward_cuda)
def attention_backward_cuda(
    g: Array, q: Array, k: Array, v: Array, out: Array, lse: Array, scale: float, causal: bool
) -> tuple[Array, Array, Array]:
    xp, (N, L, D), S = array_module(q), q.shape, k.shape[1]
    dq, dk, dv, delta = xp.empty_like(q), xp.empty_like(k), xp.empty_like(v), xp.empty((N, L), "float32")
    CU.launch("attention_delta", blocks(N * L, 8), 256, g, out, delta, N * L, WIDTH=D)
    arguments = (g, q, k, v, lse, delta)
    launch("attention_backward_kv", S, q, 4, 2, *arguments, dk, dv, L, S, scale, causal)
    launch("attention_backward_q", L, q, 4, 1, *arguments, dq, L, S, scale, causal)
    return dq, dk, dv


def supports_naive(q: Array, k: Array, v: Array, scale: float, causal: bool) -> bool:
    return supports_cuda(q, k, v, scale, causal) and q.shape[2] <= 64  # wider rows do not fit into a thread's registers


@attention.variant("cuda_naive", device="cuda", supports=supports_naive)
def attention_naive(q: Array, k: Array, v: Array, scale: float, causal: bool) -> tuple[Array, Array]:
    xp, (N, L, D), S = array_module(q), q.shape, k.shape[1]
    out, lse = xp.empty_like(q), xp.empty((N, L), "float32")
    CU.launch("attention_naive", (blocks(L, 64), N), 64, q, k, v, out, lse, L, S, scale, causal, WIDTH=D)
    return out, lse
