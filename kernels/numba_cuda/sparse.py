"""A sparse matrix times a vector ("SpMV") or a dense matrix ("SpMM"). Row i of the sparse matrix has the entries pointers[i] ...
pointers[i + 1] - 1, with values and columns; row i of the result is the sum of the rows of the dense matrix that they name.

    1. spmv         a thread a row. Neighbouring threads read entries that are a row apart, so reads are not coalesced; and a
                    warp takes as long as its longest row
    2. spmv_warps   a warp a row: its lanes read neighbouring entries, and add up by shuffles. Rows of fewer than 32 entries leave
                    lanes idle, so which version is faster depends on the matrix
    3. spmm         a thread for each number of the result. Neighbours take neighbouring columns, so the dense matrix is read
                    coalesced; but every thread reads all entries of its row, for one number
    4. spmm_warps   a warp a row, for each strip of 32 columns: its lanes read 32 entries at once, one each, and hand them round
                    by shuffles. Each entry is read once a strip instead of once a column

The elements of the vector are read wherever the columns say, coalesced or not. What is left is the longest row, which is one
warp's work: kernels/sparse.cu cuts rows, too.

Sources: Bell and Garland, "Implementing sparse matrix-vector multiplication on throughput-oriented processors", 2009; Yang, Buluc
and Owens, "Design principles for sparse matrix multiplication on the GPU", 2018.
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


@cuda.jit
def spmm(values, pointers, columns, dense, out):
    row, column = cuda.grid(1) // out.shape[1], cuda.grid(1) % out.shape[1]
    if row < out.shape[0]:
        total = float32(0)
        for e in range(pointers[row], pointers[row + 1]):
            total += values[e] * dense[columns[e], column]
        out[row, column] = total


@cuda.jit
def spmm_warps(values, pointers, columns, dense, out):
    row, lane = cuda.grid(1) // 32, cuda.threadIdx.x % 32
    column = cuda.blockIdx.y * 32 + lane
    # the same for all lanes of a warp, as are the ends of the loops: none is missing in the shuffles
    if row < out.shape[0]:
        total = float32(0)
        for begin in range(pointers[row], pointers[row + 1], 32):
            count, value, source = min(32, pointers[row + 1] - begin), float32(0), 0
            if lane < count:
                value, source = values[begin + lane], columns[begin + lane]
            for j in range(count):
                factor = cuda.shfl_sync(FULL_MASK, value, j)
                k = cuda.shfl_sync(FULL_MASK, source, j)
                if column < out.shape[1]:
                    total += factor * dense[k, column]
        if column < out.shape[1]:
            out[row, column] = total


def inputs():
    rng = np.random.default_rng(0)
    pointers = np.concatenate([[0], np.cumsum(rng.integers(0, 70, 40))])
    values = rng.standard_normal(pointers[-1]).astype(np.float32)
    vector = rng.standard_normal(50).astype(np.float32)
    return values, pointers, rng.integers(0, 50, pointers[-1]), vector, np.zeros(40, np.float32)


def spmm_inputs():
    values, pointers, columns, vector, out = inputs()
    return values, pointers, columns, np.outer(vector, np.ones(37, np.float32)), np.outer(out, np.ones(37, np.float32))


def spmm_warps_inputs():
    return spmm_inputs()
