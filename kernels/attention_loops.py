"""The compiled loops of attention.py: some heads of the batch, block after block of queries.

A block of ROWS queries meets all keys that it sees at once: its scores and the packed keys and values of a head stay in the
second-level cache, between products (packed.py) and passes over rows with registers (simd.py). Under a causal mask a block sees
the keys up to its last query, and the rest is never computed. A row of scores is as long as what the block sees; from the keys
on that its own query does not see it is filled with zeros.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .elementary import exp32, log32
from .jit import Lazy, jit
from .layernorm import put
from .packed import pack, product, room
from .random import BATCH, some_blocks
from .simd import WIDTH, first, load, max_lanes, maximum, select, splat, store, sum_lanes
from .tile import rows as rows_of_a_tile


def block_rows() -> int:
    """Queries of a block, for Python code; kernels write ROWS. They are whole tiles, and whole registers of a number each."""
    return 4 * rows_of_a_tile()


class BlockRows(Lazy):
    """Stands for them, since they depend on the CPU."""

    def compile(self) -> int:
        return block_rows()


ROWS: Any = BlockRows()
GAP = 16  # beside a row of scores: rows whose distance is a power of two would compete for the same places of a cache
ZERO, ONE, INFINITY = np.float32(0), np.float32(1), np.float32(np.inf)
GIVEN, MADE = "Array(float32, 4, 'A', readonly=True)", "float32[:,:,:,:]"
LSE, GIVEN_LSE = "float64[:,:,::1]", "Array(float64, 3, 'C', readonly=True)"
OPTIONS = f"float32, boolean, boolean, {GIVEN}, boolean, uint64, float32, uint64, uint64, uint64"


@jit(signature=f"void(int64, int64, boolean, {GIVEN}, {GIVEN}, {GIVEN}, {OPTIONS}, {MADE}, {LSE})", nogil=True)
def attention(
    begin: int, end: int, few: bool, q: Any, k: Any, v: Any,
    scale: float, causal: bool, masked: bool, mask: Any,
    dropping: bool, threshold: Any, factor: float, low: Any, high: Any, key: Any,
    out: Any, lse: Any,
) -> None:  # fmt: skip
    """Heads begin to end of the keys, counted through the batch. few: keys and values are read where they are."""
    H, L, D = q.shape[1:]
    G, S, E = v.shape[1:]
    keys, values = room(0 if few else D, S), room(0 if few else S, E)
    scores, kept = np.empty((ROWS, S + GAP), np.float32), np.empty(S + GAP, np.float32)
    words = np.empty((4, BATCH), np.uint32)
    tops, over, logs = np.zeros(ROWS, np.float32), np.zeros(ROWS, np.float32), np.zeros(ROWS, np.float32)
    for n in range(begin, end):
        b, shared = n // G, n % G
        if not few:
            pack(k[b, shared].T, scale, keys, 0)
            pack(v[b, shared], ONE, values, 0)
        for h in range(shared * (H // G), (shared + 1) * (H // G)):
            for i in range(0, L, ROWS):
                rows = min(ROWS, L - i)
                seen = min(S, i + rows) if causal else S
                weights = scores[:rows, :seen]
                if few:
                    compared(q[b, h, i : i + rows], k[b, shared], scale, weights)
                else:
                    product(q[b, h, i : i + rows], keys, weights, False)
                for r in range(rows):
                    visible = min(S, i + r + 1) if causal else S
                    tops[r] = largest(weights[r], visible, masked, mask[b, h, i + r])
                for r in range(rows):
                    visible = min(S, i + r + 1) if causal else S
                    over[r] = exponentials(weights[r], visible, tops[r])
                    if dropping:
                        row = ((b * H + h) * L + i + r) * S
                        at = keep(kept, words, row, visible, threshold, factor, low, high, key)
                        multiply(weights[r], visible, kept, at)
                normalizers(tops, over, logs, lse[b, h, i : i + rows])
                if few:
                    mixed(weights, v[b, shared], out[b, h, i : i + rows])
                else:
                    product(weights, values, out[b, h, i : i + rows], False)
                for r in range(rows):
                    scale_by(out[b, h, i + r], over[r])


@jit(
    signature=f"void(int64, int64, {GIVEN}, {GIVEN}, {GIVEN}, {GIVEN}, {GIVEN}, {GIVEN_LSE}, {OPTIONS}, {MADE}, {MADE}, {MADE})",
    nogil=True,
)
def attention_backward(
    begin: int, end: int, g: Any, q: Any, k: Any, v: Any, out: Any, lse: Any,
    scale: float, causal: bool, masked: bool, mask: Any,
    dropping: bool, threshold: Any, factor: float, low: Any, high: Any, key: Any,
    dq: Any, dk: Any, dv: Any,
) -> None:  # fmt: skip
    H, L, D = q.shape[1:]
    G, S, E = v.shape[1:]
    keys, keys_again, values, queries, gradients = room(D, S), room(S, D), room(E, S), room(ROWS, D), room(ROWS, E)
    scores, slopes = np.empty((ROWS, S + GAP), np.float32), np.empty((ROWS, S + GAP), np.float32)
    kept, words = np.empty(S + GAP, np.float32), np.empty((4, BATCH), np.uint32)
    dk_sum, dv_sum = np.empty((S, D), np.float32), np.empty((S, E), np.float32)  # rows of dk and dv may lie far apart
    for n in range(begin, end):
        b, shared = n // G, n % G
        pack(k[b, shared].T, scale, keys, 0)
        pack(k[b, shared], scale, keys_again, 0)
        pack(v[b, shared].T, ONE, values, 0)
        clear(dk_sum)
        clear(dv_sum)
        for h in range(shared * (H // G), (shared + 1) * (H // G)):
            for i in range(0, L, ROWS):
                rows = min(ROWS, L - i)
                seen = min(S, i + rows) if causal else S
                weights, ds = scores[:rows, :seen], slopes[:rows, :seen]
                product(q[b, h, i : i + rows], keys, weights, False)
                product(g[b, h, i : i + rows], values, ds, False)
                for r in range(rows):
                    visible = min(S, i + r + 1) if causal else S
                    at = 0
                    if dropping:
                        row = ((b * H + h) * L + i + r) * S
                        at = keep(kept, words, row, visible, threshold, factor, low, high, key)
                    delta = dot(g[b, h, i + r], out[b, h, i + r])
                    softmax_gradient(
                        weights[r],
                        ds[r],
                        visible,
                        masked,
                        mask[b, h, i + r],
                        lse[b, h, i + r],
                        delta,
                        dropping,
                        kept,
                        at,
                    )
                product(ds, keys_again, dq[b, h, i : i + rows], False)
                pack(q[b, h, i : i + rows], scale, queries, 0)
                product(ds.T, queries, dk_sum[:seen], True)
                pack(g[b, h, i : i + rows], ONE, gradients, 0)
                product(weights.T, gradients, dv_sum[:seen], True)
        copy(dk_sum, dk[b, shared])
        copy(dv_sum, dv[b, shared])


@jit
def clear(x: Any) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] = ZERO


@jit
def copy(x: Any, out: Any) -> None:
    for i in range(x.shape[0]):
        for j in range(0, x.shape[1], WIDTH):
            there = first(x.shape[1] - j)
            put(out[i], j, load(x[i], j, there), x.shape[1] - j)


@jit(fastmath={"contract"})
def compared(q: Any, k: Any, scale: float, scores: Any) -> None:
    """scores (L, S) = scale q k^T without packing: a number at a time."""
    q_step, k_step = q.strides[0] // q.itemsize, k.strides[0] // k.itemsize
    for r in range(scores.shape[0]):
        for s in range(scores.shape[1]):
            sums = splat(ZERO)
            for d in range(0, q.shape[1], WIDTH):
                there = first(q.shape[1] - d)
                sums += load(q, r * q_step + d, there) * load(k, s * k_step + d, there)
            scores[r, s] = scale * sum_lanes(sums)


@jit(fastmath={"contract"})
def mixed(weights: Any, v: Any, out: Any) -> None:
    """out (L, E) = weights (L, S) v without packing: a register of columns at a time, in two sums, since one waits for itself."""
    seen, E, step, row = weights.shape[1], v.shape[1], v.strides[0] // v.itemsize, out.strides[0] // out.itemsize
    for r in range(out.shape[0]):
        for e in range(0, E, WIDTH):
            there, even, odd = first(E - e), splat(ZERO), splat(ZERO)
            for s in range(0, seen - 1, 2):
                even += weights[r, s] * load(v, s * step + e, there)
                odd += weights[r, s + 1] * load(v, (s + 1) * step + e, there)
            if seen % 2:
                even += weights[r, seen - 1] * load(v, (seen - 1) * step + e, there)
            put(out, r * row + e, even + odd, E - e)


@jit(fastmath={"contract"})
def largest(x: Any, visible: int, masked: bool, mask: Any) -> Any:
    """The largest of the first `visible` scores, the mask added to them for good; 0 if they are all -infinity."""
    top = splat(-INFINITY)
    for j in range(0, visible, WIDTH):
        there = first(visible - j)
        score = load(x, j, there)
        if masked:
            score += load(mask, j, there)
            put(x, j, score, visible - j)
        top = maximum(top, select(there, score, -INFINITY))
    most = max_lanes(top)
    return ZERO if most == -INFINITY else most


@jit(fastmath={"contract"})
def exponentials(x: Any, visible: int, top: Any) -> Any:
    """Make of the first `visible` scores e^(score - top), and zeros of the rest; their sum.

    The weights are these divided by the sum. But to divide what they are multiplied with is less work: a row is as long as there
    are keys, its product as a head is wide.
    """
    sums = splat(ZERO)
    for j in range(0, x.size, WIDTH):
        there = first(visible - j)
        e = select(there, exp32(load(x, j, there) - top), ZERO)
        put(x, j, e, x.size - j)
        sums += e
    return sum_lanes(sums)


@jit(fastmath={"contract"})
def normalizers(tops: Any, totals: Any, logs: Any, lse: Any) -> None:
    """Make of the sums what the products are to be multiplied with, and log of the sum of e^score; a sum of 0 is of no key."""
    for r in range(0, ROWS, WIDTH):
        total = load(totals, r)
        store(logs, r, log32(total))
        store(totals, r, select(total == ZERO, ZERO, ONE / total))
    for r in range(lse.size):
        lse[r] = np.float64(tops[r]) + np.float64(logs[r]) if totals[r] != ZERO else math.inf


@jit
def scale_by(x: Any, factor: Any) -> None:
    for j in range(0, x.size, WIDTH):
        there = first(x.size - j)
        put(x, j, load(x, j, there) * factor, x.size - j)


@jit(fastmath={"contract"})
def softmax_gradient(
    x: Any, d: Any, visible: int, masked: bool, mask: Any, lse: float, delta: Any, dropping: bool, kept: Any, at: int
) -> None:
    """Make of the scores x the softmax again, with dropout, and of d, the gradient of that, the gradient of the scores."""
    high = np.float32(lse)  # lse in two float32 numbers: near the maximum, x - high is exact
    low = ZERO if high == INFINITY else np.float32(lse - high)
    for j in range(0, x.size, WIDTH):
        there = first(visible - j)
        score, slope = load(x, j, there), load(d, j, there)
        if masked:
            score += load(mask, j, there)
        weights = select(there, exp32((score - high) - low), ZERO)
        if dropping:
            factor = load(kept, at + j, there)
            put(x, j, weights * factor, x.size - j)
            put(d, j, weights * (slope * factor - delta), x.size - j)
        else:
            put(x, j, weights, x.size - j)
            put(d, j, weights * (slope - delta), x.size - j)


@jit(fastmath={"contract"})
def dot(x: Any, y: Any) -> Any:
    sums = splat(ZERO)
    for j in range(0, x.size, WIDTH):
        there = first(x.size - j)
        sums += load(x, j, there) * load(y, j, there)
    return sum_lanes(sums)


@jit
def multiply(x: Any, visible: int, y: Any, at: int) -> None:
    for j in range(0, visible, WIDTH):
        there = first(visible - j)
        put(x, j, load(x, j, there) * load(y, at + j, there), visible - j)


@jit
def keep(
    out: Any, words: Any, begin: int, count: int, threshold: Any, factor: float, low: Any, high: Any, key: Any
) -> int:
    """The factors of dropout, 0 or `factor`, for the elements begin to begin + count; the position of the first in `out`."""
    start, at = begin // 4, begin % 4
    blocks = (at + count + 3) // 4
    for done in range(0, blocks, BATCH):
        n = min(BATCH, blocks - done)
        some_blocks(words, start + done, n, low, high, key)
        for b in range(n):
            for i in range(4):
                out[4 * (done + b) + i] = factor if words[i, b] >= threshold else ZERO
    return at
