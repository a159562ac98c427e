"""Attention of one query a block: softmax(scale q k^T) v, without ever keeping the row of scores.

    1. attention_row   the keys come in chunks. Three things go along: the largest score so far m, the sum l of e^(s - m), and the
                       result acc = sum of e^(s - m) v. When a chunk brings a larger m, l and acc are multiplied by
                       e^(old m - new m), as if m had been the larger one from the start ("online softmax")

The shared memory holds the scores of one chunk, whatever the number of keys. First a warp takes a key at a time, its lanes
going along the key, so that the reads are coalesced; then every thread takes an element of the result, and goes along the chunk.

Sources: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao and others, "FlashAttention", 2022.
"""

import math

import numpy as np
from numba import cuda, float32

THREADS = 64
WARPS = THREADS // 32
CHUNK = 64  # keys
WIDEST = 128  # elements of a query, and of a value: two for each thread
FULL_MASK = 0xFFFFFFFF


@cuda.jit(device=True)
def warp_sum(value):
    """The sum over the 32 lanes of a warp, in every lane."""
    step = 16
    while step > 0:
        value += cuda.shfl_xor_sync(FULL_MASK, value, step)
        step //= 2
    return value


@cuda.jit
def attention_row(q, k, v, scale, causal, out, lse):
    """q (N, L, D), k (N, S, D), v (N, S, E); out (N, L, E), lse (N, L). The grid is (L, N); D and E are at most WIDEST."""
    query = cuda.shared.array(WIDEST, float32)
    scores = cuda.shared.array(CHUNK, float32)
    t, row, n = cuda.threadIdx.x, cuda.blockIdx.x, cuda.blockIdx.y
    keys = min(k.shape[1], row + 1) if causal else k.shape[1]
    for d in range(t, q.shape[2], THREADS):
        query[d] = q[n, row, d]
    top = float32(-math.inf)
    total = float32(0)
    acc = float32(0)  # element t of the result
    acc_high = float32(0)  # element t + THREADS
    for first in range(0, keys, CHUNK):
        count = min(CHUNK, keys - first)
        cuda.syncthreads()  # the query is there; the scores of the chunk before have been used
        for j in range(t // 32, count, WARPS):
            score = float32(0)
            for d in range(t % 32, q.shape[2], 32):
                score += query[d] * k[n, first + j, d]
            score = warp_sum(score)
            if t % 32 == 0:
                scores[j] = score * float32(scale)
        cuda.syncthreads()
        new_top = top
        for j in range(count):
            new_top = max(new_top, scores[j])  # all threads read the same word: a broadcast
        shrink = math.exp(top - new_top)
        top = new_top
        total *= shrink
        acc *= shrink
        acc_high *= shrink
        for j in range(count):
            weight = math.exp(scores[j] - top)
            total += weight
            if t < v.shape[2]:
                acc += weight * v[n, first + j, t]
            if t + THREADS < v.shape[2]:
                acc_high += weight * v[n, first + j, t + THREADS]
    if t < v.shape[2]:
        out[n, row, t] = acc / total
    if t + THREADS < v.shape[2]:
        out[n, row, t + THREADS] = acc_high / total
    if t == 0:
        lse[n, row] = top + math.log(total)


def inputs():
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((1, rows, 48)).astype(np.float32) for rows in (2, 70, 70))
    return q, k, v, 0.25, False, np.zeros_like(q), np.zeros((1, 2))
