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
from .simd import WIDTH, first, load, splat, store
from .tile import ROWS, add_products, add_row, add_tile, load_tile, store_tile, tile, transposed


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
    columns, zeros = 2 * WIDTH, splat(0.0)
    for p in range((N + columns - 1) // columns):
        panel, there = packed[p, begin : begin + K], min(columns, N - p * columns)
        if b.strides[1] == b.itemsize:
            step = b.strides[0] // b.itemsize
            for k in range(K):
                for c in range(0, columns, WIDTH):
                    value = load(b, k * step + p * columns + c, first(there - c))
                    store(panel, k * columns + c, scale * value)
            continue
        if b.strides[0] == b.itemsize and min(K, there) >= WIDTH:  # the columns are contiguous
            step = b.strides[1] // b.itemsize
            for k in range(0, K, WIDTH):
                k = min(k, K - WIDTH)  # the last block begins earlier, and writes some numbers a second time
                for c in range(0, there, WIDTH):
                    c = min(c, there - WIDTH)
                    block = load_tile(tile(WIDTH, 1), b, (p * columns + c) * step + k, step)
                    store_tile(panel, k * columns + c, columns, transposed(block), WIDTH)
            if scale != 1:
                for i in range(0, K * columns, WIDTH):
                    store(panel, i, scale * load(panel, i))
        else:
            for c in range(there):
                for k in range(K):
                    panel[k, c] = scale * b[k, p * columns + c]
        for c in range(there // WIDTH * WIDTH, columns, WIDTH):
            missing = ~first(there - c)
            for k in range(K):
                store(panel, k * columns + c, zeros, missing)


@jit(signature=f"void({MATRIX}, float32[:,:,::1], float32[:,:], boolean)")
def product(a: Any, packed: Any, out: Any, add: bool) -> None:
    """out = a @ b for a packed b, or out += a @ b; a (M, K) in any memory order, out (M, N) with contiguous rows.

    N and K may be smaller than those of b: its first N columns and K rows are read. Nothing is checked.
    """
    start = np.zeros(2 * WIDTH, np.float32)
    for j in range(0, out.shape[1], 2 * WIDTH):
        columns(a, packed[j // (2 * WIDTH)], 0, 2 * WIDTH, start, out[:, j : j + 2 * WIDTH], add)


@jit(signature=f"void({MATRIX}, {MATRIX}, int64, int64, float32[::1], Array(float32, 2, 'A'), boolean)")
def columns(a: Any, w: Any, place: int, step: int, start: Any, out: Any, add: bool) -> None:
    """At most two registers of columns: out = start + a @ b, or out += start + a @ b, where row k of b is w[place + k * step : ...].

    start is a row of two registers, and so are those of b, whether out has as many columns or not.
    """
    if out.shape[1] > WIDTH:
        in_tiles(tile(ROWS, 2), tile(4, 2), tile(1, 2), a, w, place, step, start, out, add)
    else:
        in_tiles(tile(ROWS, 1), tile(4, 1), tile(1, 1), a, w, place, step, start, out, add)


@jit
def in_tiles(
    many: Any, four: Any, one: Any, a: Any, w: Any, place: int, step: int, start: Any, out: Any, add: bool
) -> None:
    """The same in tiles of these sizes."""
    M, K = a.shape
    row, column, out_row = a.strides[0] // a.itemsize, a.strides[1] // a.itemsize, out.strides[0] // out.itemsize
    i, fours, lanes = 0, fours_of(M), out.shape[1]
    while i + ROWS <= M - 4 * fours:
        some_rows(
            add_row(many, start, 0), a, i * row, row, column, K, w, place, step, out, i * out_row, out_row, lanes, add
        )
        i += ROWS
    while i + 4 <= M:
        some_rows(
            add_row(four, start, 0), a, i * row, row, column, K, w, place, step, out, i * out_row, out_row, lanes, add
        )
        i += 4
    while i < M:
        single_row(one, a[i], w, place, step, start, out[i : i + 1], add)
        i += 1


@jit
def fours_of(M: int) -> int:
    """How many tiles of M rows in all should have 4 instead of ROWS: 8 rows are 4 and 4, not 6, 1 and 1."""
    fours = 0
    while fours < 2 and (M - 4 * fours) % ROWS > 1 and M >= 4 * (fours + 1):
        fours += 1
    return fours


@jit(forceinline=True)
def some_rows(
    t: Any, a: Any, begin: int, row: int, column: int, K: int, w: Any, place: int, step: int,
    out: Any, target: int, out_row: int, lanes: int, add: bool,
) -> None:  # fmt: skip
    """As many rows of the product, from a[begin] on, as the tile t has; t is what they begin with."""
    for k in range(K):
        t = add_products(t, a, begin + k * column, row, w, place + k * step)
    if add:
        add_tile(out, target, out_row, t, lanes)
    else:
        store_tile(out, target, out_row, t, lanes)


@jit
def single_row(zeros: Any, a: Any, w: Any, place: int, step: int, start: Any, out: Any, add: bool) -> None:
    """The product with a row, in four sums of every fourth k: one or two registers that add up would wait for themselves."""
    K, column = a.size, a.strides[0] // a.itemsize
    t, t1, t2, t3 = add_row(zeros, start, 0), zeros, zeros, zeros
    for k in range(0, K - 3, 4):
        t = add_products(t, a, k * column, 0, w, place + k * step)
        t1 = add_products(t1, a, (k + 1) * column, 0, w, place + (k + 1) * step)
        t2 = add_products(t2, a, (k + 2) * column, 0, w, place + (k + 2) * step)
        t3 = add_products(t3, a, (k + 3) * column, 0, w, place + (k + 3) * step)
    for k in range(K // 4 * 4, K):
        t = add_products(t, a, k * column, 0, w, place + k * step)
    if add:
        add_tile(out, 0, 0, t, out.shape[1])
    else:
        store_tile(out, 0, 0, t, out.shape[1])
    if K > 3:
        add_tile(out, 0, 0, t1, out.shape[1])
        add_tile(out, 0, 0, t2, out.shape[1])
        add_tile(out, 0, 0, t3, out.shape[1])
