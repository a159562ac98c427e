"""Products inside of kernels with a matrix that is used many times: it is rearranged once, for tiles to walk through.

A tile (tile.py) takes two registers of columns of b and a few rows of a. Of b it reads two registers in each row, and the rows
lie far apart. `pack` cuts b into panels of that width and writes each one down in the order in which it is read, row after row,
filled up with zeros at the right edge: so it comes from the nearest cache. A panel is used for all rows of a before the next
one; of a, only the rows of a tile are in use at a time, so they may lie anywhere.

A BLAS packs b, and a too, at every call. Where the product is large that is lost in the rest. Where 32 rows meet 1 MB of
recurrent weights at every time step, or some queries the same keys as those before, it is not, and there this is the faster one.

Source of the scheme: Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", 2008.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import jit
from .simd import WIDTH, first, load, store
from .tile import ROWS, add_products, add_tile, store_tile, tile

ZERO = np.float32(0)


@jit
def room(k: int, n: int) -> Any:
    """An array for `pack` to fill from b (K, N): panels, K, columns of a panel."""
    columns = 2 * WIDTH
    return np.empty(((n + columns - 1) // columns, k, columns), np.float32)


# In any memory order, and perhaps not to be written to: functions with one signature are compiled once for all arguments.
MATRIX = "Array(float32, 2, 'A', readonly=True)"


@jit(signature=f"void({MATRIX}, float32, float32[:,:,::1], int64)")
def pack(b: Any, scale: float, packed: Any, begin: int) -> None:
    """Write scale * b (K, N), which may be a transposed or strided view, into the rows `begin` to begin + K of `packed`."""
    K, N = b.shape
    columns = 2 * WIDTH
    for p in range((N + columns - 1) // columns):
        panel, there = packed[p, begin : begin + K], min(columns, N - p * columns)
        if b.strides[1] == b.itemsize:
            step = b.strides[0] // b.itemsize
            for k in range(K):
                for c in range(0, columns, WIDTH):
                    value = load(b, k * step + p * columns + c, first(there - c))
                    store(panel, k * columns + c, scale * value)
        else:  # the columns are contiguous, or nothing is
            for c in range(there):
                for k in range(K):
                    panel[k, c] = scale * b[k, p * columns + c]
            for k in range(K):
                for c in range(there, columns):
                    panel[k, c] = ZERO


@jit(signature=f"void({MATRIX}, float32[:,:,::1], float32[:,:], boolean)")
def product(a: Any, packed: Any, out: Any, add: bool) -> None:
    """out = a @ b for a packed b, or out += a @ b; a (M, K) in any memory order, out (M, N) with contiguous rows.

    N and K may be smaller than those of b: its first N columns and K rows are read. Nothing is checked.
    """
    M, N = out.shape
    for j in range(0, N, 2 * WIDTH):
        panel, columns, i = packed[j // (2 * WIDTH)], out[:, j:], 0
        while i + ROWS <= M:
            some_rows(tile(ROWS, 2), a[i:], panel, columns[i:], add)
            i += ROWS
        while i + 4 <= M:
            some_rows(tile(4, 2), a[i:], panel, columns[i:], add)
            i += 4
        while i < M:
            some_rows(tile(1, 2), a[i:], panel, columns[i:], add)
            i += 1


@jit
def some_rows(t: Any, a: Any, panel: Any, out: Any, add: bool) -> None:
    """The first rows of the product, as many as the tile t has."""
    row, column, out_row = a.strides[0] // a.itemsize, a.strides[1] // a.itemsize, out.strides[0] // out.itemsize
    for k in range(a.shape[1]):
        t = add_products(t, a, k * column, row, panel, k * 2 * WIDTH)
    if add:
        add_tile(out, 0, out_row, t, out.shape[1])
    else:
        store_tile(out, 0, out_row, t, out.shape[1])
