"""A matrix product a (M, K) times b (K, N): 2 M N K operations on M K + K N numbers, so each number is needed many times.

    1. gemm         a thread an element of the result: it reads a row of a and a column of b, 2 K numbers, from global memory
    2. gemm_tiled   a block computes a tile of the result. It goes along K tile by tile: together the threads read a tile of a and
                    one of b into shared memory, and each uses a row of the one and a column of the other. Every number that
                    is read from global memory is used TILE times

The barriers: one before the tiles are used, since others have read parts of them; one before they are overwritten, since others
may still be using them. Both are passed by the threads beyond the edges of the result, too.
"""

import numpy as np
from numba import cuda, float32

TILE = 16


@cuda.jit
def gemm(a, b, out):
    column, row = cuda.grid(2)
    if row < out.shape[0] and column < out.shape[1]:
        total = float32(0)
        for k in range(a.shape[1]):
            total += a[row, k] * b[k, column]  # a warp reads one element of a, and neighbours in a row of b
        out[row, column] = total


@cuda.jit
def gemm_tiled(a, b, out):
    tile_a = cuda.shared.array((TILE, TILE), float32)
    tile_b = cuda.shared.array((TILE, TILE), float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for first in range(0, a.shape[1], TILE):
        inside = row < a.shape[0] and first + x < a.shape[1]
        tile_a[y, x] = a[row, first + x] if inside else float32(0)
        inside = first + y < b.shape[0] and column < b.shape[1]
        tile_b[y, x] = b[first + y, column] if inside else float32(0)
        cuda.syncthreads()
        for k in range(TILE):
            total += tile_a[y, k] * tile_b[k, x]
        cuda.syncthreads()
    if row < out.shape[0] and column < out.shape[1]:
        out[row, column] = total


def inputs():
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((33, 20), (20, 18)))
    return a, b, np.zeros((33, 18), np.float32)
