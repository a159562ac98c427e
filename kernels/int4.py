"""Weights of four bits in groups: a linear layer whose inputs stay float32.

Sixteen integers are few, so each group of 32, 64 or 128 neighbouring weights of a row has a scale and a zero point of its own:

    out[m, n] = sum_g scale[n, g] (sum_k x[m, k] q[n, k]  -  zero[n, g] sum_k x[m, k])  +  bias[n],  k in group g

With one row of x, a float32 layer does nothing but wait for its weights to come from memory. Here they are an eighth, and the
arithmetic to unpack them is done meanwhile. With many rows the arithmetic counts: then some rows of weights at a time are unpacked
into floats, and multiplied by the BLAS.

Two weights share a byte: of a group of G, byte j has weight j in its low half and weight j + G / 2 in its high half, so that a
register of bytes becomes two registers of neighbouring weights by a mask and a shift.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import Kernel
from .common import Array, float32_in_order
from .jit import jit
from .parallel import share
from .simd import WIDTH, float32, fma, load, splat, store, sum_lanes

GROUPS = (32, 64, 128)  # sizes of groups


def pack4(q: Array, group: int) -> Array:
    """Integers from 0 to 15 (N, K), K a multiple of `group`, in bytes (N, K / 2)."""
    halves = q.reshape(len(q), -1, 2, group // 2).astype(np.uint8)
    return (halves[:, :, 0] | halves[:, :, 1] << 4).reshape(len(q), -1)


def unpack4(packed: Array, group: int) -> Array:
    """The integers (N, K) of bytes (N, K / 2), uint8."""
    halves = packed.reshape(len(packed), -1, 1, group // 2)
    return np.concatenate([halves & 15, halves >> 4], 2).reshape(len(packed), -1)


@Kernel
def linear_int4(x: Array, packed: Array, scale: Array, zero: Array, bias: Array | None) -> Array:
    """x (M, K) times weights (N, K) in four bits, transposed, plus bias (N,): (M, N).

    packed (N, K / 2) uint8, by pack4; scale and zero (N, K / G) float32, which say the size of the groups.

    Example:
        >>> x, q = np.ones((1, 32), np.float32), np.full((1, 32), 9)
        >>> linear_int4(x, pack4(q, 32), np.array([[0.5]], np.float32), np.array([[8]], np.float32), None)
        array([[16.]], dtype=float32)
    """
    out = x @ unpacked(packed, scale, zero).T
    return out if bias is None else out + bias


def unpacked(packed: Array, scale: Array, zero: Array) -> Array:
    """The weights (N, K) as floats."""
    N, groups = scale.shape
    group = 2 * packed.shape[1] // max(groups, 1)
    q = unpack4(packed, group).reshape(N, groups, group)
    return ((q - zero[:, :, None]) * scale[:, :, None]).reshape(N, -1)


FEW = 4  # rows of x, up to which the weights are not unpacked for the BLAS
BLOCK = 256  # rows of weights that are unpacked at a time


@linear_int4.variant(
    "numba", device="cpu", supports=lambda x, packed, scale, zero, bias: float32_in_order(x, scale, zero) and x.size > 0
)
def linear_int4_numba(x: Array, packed: Array, scale: Array, zero: Array, bias: Array | None) -> Array:
    (M, K), N = x.shape, len(packed)
    out = np.empty((M, N), np.float32)
    if M <= FEW:
        sums = x.reshape(M, scale.shape[1], -1).sum(2)
        share(N, few_rows, M * N * K, x, sums, packed, scale, zero, out)
    else:
        weights = np.empty((min(BLOCK, N), K), np.float32)
        for n in range(0, N, BLOCK):
            some = slice(n, min(n + BLOCK, N))
            block = weights[: some.stop - n]
            unpack(packed[some], scale[some], zero[some], block)
            np.matmul(x, block.T, out=out[:, some])
    return out if bias is None else out + bias


@jit(nogil=True)
def few_rows(begin: int, end: int, x: Any, sums: Any, packed: Any, scale: Any, zero: Any, out: Any) -> None:
    """Columns `begin` to end - 1 of the result; sums (M, K / G) of the groups of x."""
    M, K = x.shape
    groups = scale.shape[1]
    half = K // groups // 2
    for n in range(begin, end):
        for m in range(M):
            total, offset = splat(0.0), np.float32(0)
            for g in range(groups):
                part = splat(0.0)
                for j in range(0, half, WIDTH):
                    q = load(packed, (n * groups + g) * half + j)
                    k = m * K + 2 * g * half + j
                    part = fma(float32(q & 15), load(x, k), part)
                    part = fma(float32(q >> 4), load(x, k + half), part)
                total = fma(part, scale[n, g], total)
                offset += sums[m, g] * scale[n, g] * zero[n, g]
            out[m, n] = sum_lanes(total) - offset


@jit
def unpack(packed: Any, scale: Any, zero: Any, out: Any) -> None:
    groups = scale.shape[1]
    half = packed.shape[1] // groups
    for n in range(out.shape[0]):
        for g in range(groups):
            factor, middle = scale[n, g], zero[n, g]
            place = (n * groups + g) * half
            for j in range(0, half, WIDTH):
                q = load(packed, place + j)
                store(out, 2 * place + j, (float32(q & 15) - middle) * factor)
                store(out, 2 * place + half + j, (float32(q >> 4) - middle) * factor)
