"""out[i, j] = a[j, i]: nothing is computed, everything is about the order in which memory is touched.

    1. transpose         a warp reads a row of a, one line of memory; and writes a column of out, 32 lines for 32 numbers
    2. transpose_tiled   a block reads a tile by rows into shared memory and writes it by rows: both are coalesced, the turn
                         happens in shared memory, which has no lines. 8 rows of threads move 32 rows of elements

Shared memory has 32 banks, and element k of a float array lies in bank k % 32. Were a row of the tile 32 elements
long, a column of it would lie in one bank, and be read one element after the other. One more element a row, which nothing
uses, moves each row on by a bank.
"""

import numpy as np
from numba import cuda, float32

TILE, ROWS = 32, 8
PADDED = TILE + 1  # a constant of its own: Numba takes no expression as the size of an array


@cuda.jit
def transpose(a, out):
    x, y = cuda.grid(2)  # neighbouring threads differ in x
    if y < a.shape[0] and x < a.shape[1]:
        out[x, y] = a[y, x]


@cuda.jit
def transpose_tiled(a, out):
    tile = cuda.shared.array((TILE, PADDED), float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    first_row, first_column = cuda.blockIdx.y * TILE, cuda.blockIdx.x * TILE
    for k in range(y, TILE, ROWS):
        if first_row + k < a.shape[0] and first_column + x < a.shape[1]:
            tile[k, x] = a[first_row + k, first_column + x]
    cuda.syncthreads()
    for k in range(y, TILE, ROWS):
        if first_column + k < out.shape[0] and first_row + x < out.shape[1]:
            out[first_column + k, first_row + x] = tile[x, k]


def inputs():
    a = np.arange(32 * 32, dtype=np.float32).reshape(32, 32)
    return a, np.zeros((32, 32), np.float32)
