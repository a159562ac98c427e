"""How often each of `count` values occurs. `counts[key] += 1` is a read and a write, between which others may come: atomics.

1. histogram           an atomic addition in global memory for every key. Keys that are often the same wait for one another
2. histogram_private   every block counts in shared memory, where atomics are much faster and meet the threads of one block
                       only; then it adds its counts to the result, one atomic addition for each value that occurred
"""

import numpy as np
from numba import cuda, int32

THREADS = 64
MOST = 1024  # values, whose counts fit into shared memory with room for several blocks


@cuda.jit
def histogram(keys, counts):
    for i in range(cuda.grid(1), keys.size, cuda.gridsize(1)):
        cuda.atomic.add(counts, keys[i], 1)


@cuda.jit
def histogram_private(keys, counts):
    private = cuda.shared.array(MOST, int32)
    for value in range(cuda.threadIdx.x, counts.size, THREADS):
        private[value] = 0
    cuda.syncthreads()
    for i in range(cuda.grid(1), keys.size, cuda.gridsize(1)):
        cuda.atomic.add(private, keys[i], 1)
    cuda.syncthreads()
    for value in range(cuda.threadIdx.x, counts.size, THREADS):
        if private[value] > 0:
            cuda.atomic.add(counts, value, private[value])


def inputs():
    return np.random.default_rng(0).integers(0, 10, 300), np.zeros(10, np.int32)
