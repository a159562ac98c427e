"""Products of bytes: out[m, n] = scale_x[m] scale_w[n] sum_k x[m, k] w[n, k] + bias[n], as in a quantized linear layer.

    1. gemm_int8   tiles as in gemm.py, of bytes: a quarter of the memory traffic of floats. A product of two bytes needs 16
                   bits and the sum of K of them 32, so the sum is an int32 and exact; only the end is floating point

w is (N, K), as a layer keeps its weight: both tiles are read along K. A row of a tile is 16 bytes, and memory moves at least 32
(a "sector") at a time, so half of what is moved waits in the cache for the next tile. In shared memory 16 bytes are four banks, and
16 rows of them use each bank twice; with four bytes more a row, lanes that read down a column of tile_w meet 16 different banks.
"""

import numpy as np
from numba import cuda, float32, int8, int32

TILE = 16
PADDED = TILE + 4


@cuda.jit
def gemm_int8(x, w, scale_x, scale_w, bias, out):
    tile_x = cuda.shared.array((TILE, TILE), int8)
    tile_w = cuda.shared.array((TILE, PADDED), int8)
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    first_column = cuda.blockIdx.x * TILE
    total = int32(0)
    for first in range(0, x.shape[1], TILE):
        inside = row < x.shape[0] and first + tx < x.shape[1]
        tile_x[ty, tx] = x[row, first + tx] if inside else int8(0)
        inside = first_column + ty < w.shape[0] and first + tx < w.shape[1]
        tile_w[ty, tx] = w[first_column + ty, first + tx] if inside else int8(0)
        cuda.syncthreads()
        for k in range(TILE):
            total += int32(tile_x[ty, k]) * int32(tile_w[tx, k])
        cuda.syncthreads()
    if row < out.shape[0] and column < out.shape[1]:
        out[row, column] = float32(total) * (scale_x[row] * scale_w[column]) + bias[column]


def inputs():
    rng = np.random.default_rng(0)
    x, w = rng.integers(-128, 128, (18, 33), np.int8), rng.integers(-128, 128, (20, 33), np.int8)
    scales = np.full(18, 0.5, np.float32), np.full(20, 0.25, np.float32)
    return x, w, *scales, np.zeros(20, np.float32), np.zeros((18, 20), np.float32)
