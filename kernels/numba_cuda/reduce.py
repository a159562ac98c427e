"""A sum of all elements: every thread has a number, and one number is wanted.

    1. sum_atomic   every thread adds to the result. Right, and slow: all additions to one address wait for one another
    2. sum_tree     a block adds up in shared memory first, half of the threads to the other half, log2(THREADS) times with a
                    barrier each; one atomic addition a block is left
    3. sum_warps    within a warp, registers are read from lane to lane by shuffles: no shared memory, no barriers. One number a
                    warp goes through shared memory; and each thread first adds up many elements by itself

Float addition is not associative: the order of the atomic additions changes from run to run, and the last bits with it.
"""

import numpy as np
from numba import cuda, float32

THREADS = 128
WARPS = THREADS // 32
FULL_MASK = 0xFFFFFFFF  # all 32 lanes take part


@cuda.jit
def sum_atomic(x, out):
    i = cuda.grid(1)
    if i < x.size:
        cuda.atomic.add(out, 0, x[i])


@cuda.jit
def sum_tree(x, out):
    part = cuda.shared.array(THREADS, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    part[t] = x[i] if i < x.size else float32(0)  # every thread writes: shared memory holds anything at first
    step = THREADS // 2
    while step > 0:
        cuda.syncthreads()  # outside of the if: all threads of a block come to every barrier
        if t < step:
            part[t] += part[t + step]
        step //= 2
    if t == 0:
        cuda.atomic.add(out, 0, part[0])


@cuda.jit(device=True)
def warp_sum(value):
    """The sum over the 32 lanes of a warp, in lane 0."""
    value += cuda.shfl_down_sync(FULL_MASK, value, 16)
    value += cuda.shfl_down_sync(FULL_MASK, value, 8)
    value += cuda.shfl_down_sync(FULL_MASK, value, 4)
    value += cuda.shfl_down_sync(FULL_MASK, value, 2)
    return value + cuda.shfl_down_sync(FULL_MASK, value, 1)


@cuda.jit
def sum_warps(x, out):
    parts = cuda.shared.array(WARPS, float32)
    t = cuda.threadIdx.x
    total = float32(0)
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        total += x[i]
    total = warp_sum(total)
    if t % 32 == 0:
        parts[t // 32] = total
    cuda.syncthreads()
    if t == 0:
        total = float32(0)
        for w in range(WARPS):
            total += parts[w]
        cuda.atomic.add(out, 0, total)


def inputs():
    return np.arange(300, dtype=np.float32), np.zeros(1, np.float32)
