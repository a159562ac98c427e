"""A sparse matrix times a vector ("SpMV"). Row i has the entries pointers[i] ... pointers[i + 1] - 1, with values and columns.

    1. spmv         a thread a row. Neighbouring threads read entries that are a row apart, so reads are not coalesced; and a
                    warp takes as long as its longest row
    2. spmv_warps   a warp a row: its lanes read neighbouring entries, and add up by shuffles. Rows of fewer than 32 entries leave
                    lanes idle, so which version is faster depends on the matrix

The elements of the vector are read wherever the columns say, coalesced or not.

Source: Bell and Garland, "Implementing sparse matrix-vector multiplication on throughput-oriented processors", 2009.
"""

import numpy as np
from numba import cuda, float32

THREADS = 64
FULL_MASK = 0xFFFFFFFF


@cuda.jit
def spmv(values, pointers, columns, vector, out):
    row = cuda.grid(1)
    if row < out.size:
        total = float32(0)
        for e in range(pointers[row], pointers[row + 1]):
            total += values[e] * vector[columns[e]]
        out[row] = total


@cuda.jit
def spmv_warps(values, pointers, columns, vector, out):
    row, lane = cuda.grid(1) // 32, cuda.threadIdx.x % 32
    if row < out.size:  # the same for all lanes of a warp: none is missing in the shuffles
        total = float32(0)
        for e in range(pointers[row] + lane, pointers[row + 1], 32):
            total += values[e] * vector[columns[e]]
        step = 16
        while step > 0:
            total += cuda.shfl_down_sync(FULL_MASK, total, step)
            step //= 2
        if lane == 0:
            out[row] = total


def inputs():
    rng = np.random.default_rng(0)
    pointers = np.concatenate([[0], np.cumsum(rng.integers(0, 70, 40))])
    values = rng.standard_normal(pointers[-1]).astype(np.float32)
    vector = rng.standard_normal(50).astype(np.float32)
    return values, pointers, rng.integers(0, 50, pointers[-1]), vector, np.zeros(40, np.float32)
