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

from .elementary import exp32
from .jit import jit
from .packed import pack, product, room
from .random import BATCH, some_blocks
from .simd import WIDTH, first, load, max_lanes, maximum, select, splat, store, sum_lanes

ROWS = 32  # queries of a block
GAP = (
    16  # beside each row of scores: rows whose distance is a power of two would compete for the same places of a cache
)
ZERO, ONE, INFINITY = np.float32(0), np.float32(1), np.float32(np.inf)
GIVEN, MADE = "Array(float32, 4, 'A', readonly=True)", "float32[:,:,:,:]"
LSE, GIVEN_LSE = "float64[:,:,::1]", "Array(float64, 3, 'C', readonly=True)"
OPTIONS = f"float32, boolean, boolean, {GIVEN}, boolean, uint64, float32, uint64, uint64, uint64"


@jit(signature=f"void(int64, int64, {GIVEN}, {GIVEN}, {GIVEN}, {OPTIONS}, {MADE}, {LSE})", nogil=True)
def attention(
    begin: int, end: int, q: Any, k: Any, v: Any,
    scale: float, causal: bool, masked: bool, mask: Any,
    dropping: bool, threshold: Any, factor: float, low: Any, high: Any, key: Any,
    out: Any, lse: Any,
) -> None:  # fmt: skip
    """Heads begin to end of the keys, counted through the batch."""
    H, L, D = q.shape[1:]
    G, S, E = v.shape[1:]
    keys, values = room(D, S), room(S, E)
    scores, kept = np.empty((ROWS, S + GAP), np.float32), np.empty(S + GAP, np.float32)
    words = np.empty((4, BATCH), np.uint32)
    for n in range(begin, end):
        b, shared = n // G, n % G
        pack(k[b, shared].T, scale, keys, 0)
        pack(v[b, shared], ONE, values, 0)
        for h in range(shared * (H // G), (shared + 1) * (H // G)):
            for i in range(0, L, ROWS):
                rows = min(ROWS, L - i)
                seen = min(S, i + rows) if causal else S
                weights = scores[:rows, :seen]
                product(q[b, h, i : i + rows], keys, weights, False)
                for r in range(rows):
                    visible = min(S, i + r + 1) if causal else S
                    lse[b, h, i + r] = softmax(weights[r], visible, masked, mask[b, h, i + r])
                    if dropping:
                        row = ((b * H + h) * L + i + r) * S
                        at = keep(kept, words, row, visible, threshold, factor, low, high, key)
                        multiply(weights[r], visible, kept, at)
                product(weights, values, out[b, h, i : i + rows], False)


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
            store(out[i], j, load(x[i], j, there), there)


@jit(fastmath={"contract"})
def softmax(x: Any, visible: int, masked: bool, mask: Any) -> float:
    """Make softmax of the first `visible` scores, and zeros of the rest; log of the sum of their exponentials."""
    top = splat(-INFINITY)
    for j in range(0, visible, WIDTH):
        there = first(visible - j)
        score = load(x, j, there)
        if masked:
            score += load(mask, j, there)
            store(x, j, score, there)
        top = maximum(top, select(there, score, -INFINITY))
    largest = max_lanes(top)
    base = ZERO if largest == -INFINITY else largest  # nothing is visible: all exponentials are 0 then
    sums = splat(ZERO)
    for j in range(0, x.size, WIDTH):
        there, here = first(visible - j), first(x.size - j)
        e = select(there, exp32(load(x, j, there) - base), ZERO)
        store(x, j, e, here)
        sums += e
    total = sum_lanes(sums)
    if total == ZERO:
        return math.inf
    scale = ONE / total
    for j in range(0, visible, WIDTH):
        there = first(visible - j)
        store(x, j, load(x, j, there) * scale, there)
    return largest + math.log(np.float64(total))


@jit(fastmath={"contract"})
def softmax_gradient(
    x: Any, d: Any, visible: int, masked: bool, mask: Any, lse: float, delta: Any, dropping: bool, kept: Any, at: int
) -> None:
    """Make of the scores x the softmax again, with dropout, and of d, the gradient of that, the gradient of the scores."""
    high = np.float32(lse)  # lse in two float32 numbers: near the maximum, x - high is exact
    low = ZERO if high == INFINITY else np.float32(lse - high)
    for j in range(0, x.size, WIDTH):
        there, here = first(visible - j), first(x.size - j)
        score, slope = load(x, j, there), load(d, j, there)
        if masked:
            score += load(mask, j, there)
        weights = select(there, exp32((score - high) - low), ZERO)
        if dropping:
            factor = load(kept, at + j, there)
            store(x, j, weights * factor, here)
            store(d, j, weights * (slope * factor - delta), here)
        else:
            store(x, j, weights, here)
            store(d, j, weights * (slope - delta), here)


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
        store(x, j, load(x, j, there) * load(y, at + j, there), there)


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
