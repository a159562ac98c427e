"""Softmax of each row: y_j = e^(x_j - m) / sum_k e^(x_k - m), with m the largest of the row.

    1. softmax         a thread a row: three passes over it. Neighbouring threads are in different rows, so each read of a warp
                       touches 32 lines of memory; and a matrix of few rows leaves the GPU idle
    2. softmax_block   a block a row: neighbouring threads take neighbouring elements. Largest and sum are reductions over the
                       block, each a tree in shared memory as in reduce.py

m keeps every exponent at most 0, so that nothing overflows; it cancels from the result.
"""

import math

import numpy as np
from numba import cuda, float32

THREADS = 64


@cuda.jit
def softmax(x, out):
    row = cuda.grid(1)
    if row < x.shape[0]:
        top = x[row, 0]
        for j in range(1, x.shape[1]):
            top = max(top, x[row, j])
        total = float32(0)
        for j in range(x.shape[1]):
            total += math.exp(x[row, j] - top)
        for j in range(x.shape[1]):
            out[row, j] = math.exp(x[row, j] - top) / total


@cuda.jit(device=True)
def block_max(value, part):
    """The largest value of the threads of a block, in every thread; part: THREADS elements of shared memory."""
    t = cuda.threadIdx.x
    part[t] = value
    step = THREADS // 2
    while step > 0:
        cuda.syncthreads()
        if t < step:
            part[t] = max(part[t], part[t + step])
        step //= 2
    cuda.syncthreads()
    return part[0]


@cuda.jit(device=True)
def block_sum(value, part):
    """The sum over the threads of a block, in every thread; part: THREADS elements of shared memory."""
    t = cuda.threadIdx.x
    part[t] = value
    step = THREADS // 2
    while step > 0:
        cuda.syncthreads()
        if t < step:
            part[t] += part[t + step]
        step //= 2
    cuda.syncthreads()
    return part[0]


@cuda.jit
def softmax_block(x, out):
    part = cuda.shared.array(THREADS, float32)
    row, t, width = cuda.blockIdx.x, cuda.threadIdx.x, x.shape[1]
    top = float32(-math.inf)
    for j in range(t, width, THREADS):
        top = max(top, x[row, j])
    top = block_max(top, part)
    cuda.syncthreads()  # all have read part[0] before part is used again
    total = float32(0)
    for j in range(t, width, THREADS):
        total += math.exp(x[row, j] - top)
    total = block_sum(total, part)
    for j in range(t, width, THREADS):
        out[row, j] = math.exp(x[row, j] - top) / total


def inputs():
    x = np.random.default_rng(0).standard_normal((40, 70)).astype(np.float32)
    return x, np.zeros_like(x)
