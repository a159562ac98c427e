"""Products inside of kernels with a matrix that is used many times: it is rearranged once, for registers to walk through.

a @ b, (M, K) @ (K, N), is computed in tiles of the result: 8 rows by two registers (simd.py) of columns, which stay in
registers while k runs over the inner dimension. Each k takes two loads from row k of b and eight numbers from a, and makes
16 fused multiply-adds of them:

                                b[k]:  b0 b1
    a[0, k], in all lanes of x:  x     c00 += x b0   c01 += x b1
    a[1, k]                      x     c10 += x b0   c11 += x b1
    ...

So most instructions are multiply-adds, and the processor begins one in almost every cycle, if the loads come from the
nearest cache. That is what packing is for: `pack` cuts b into panels two registers wide and writes each one down in the
order in which it is read, row after row, filled up with zeros at the right edge. A panel is used for all rows of a before
the next one; of a, only the rows of a tile are in use at a time, so they may lie anywhere.

A BLAS packs b, and a too, at every call. Where the product is large that is lost in the rest. Where 32 rows meet 1 MB of
recurrent weights at every time step, or 64 queries the same keys, it is not, and there this is the faster one.

Source of the scheme: Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", 2008.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import jit
from .simd import WIDTH, broadcast, first, fma, load, splat, store

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
    """out = a @ b for a packed b, or out += a @ b; a (M, K) in any layout, out (M, N) with contiguous rows.

    N and K may be smaller than those of b: its first N columns and K rows are read. Nothing is checked.
    """
    M, N = out.shape
    out_step = out.strides[0] // out.itemsize
    for p in range((N + 2 * WIDTH - 1) // (2 * WIDTH)):
        panel, j, i = packed[p], p * 2 * WIDTH, 0
        if WIDTH == 16:  # AVX-512 has 32 registers; on other CPUs 16 sums and what else is needed do not fit
            while i + 8 <= M:
                tile_of_8(a[i:], panel, out, i * out_step + j, N - j, add)
                i += 8
        while i < M:
            tile_of_4(a[i:], panel, out, i * out_step + j, N - j, add)
            i += 4


@jit
def tile_of_8(a: Any, b: Any, out: Any, place: int, columns: int, add: bool) -> None:
    """The first eight rows of a @ b, to `out` from position `place` on."""
    step, k_step = a.strides[0] // a.itemsize, a.strides[1] // a.itemsize
    out_step = out.strides[0] // out.itemsize
    zero = splat(ZERO)
    c00, c10, c20, c30, c40, c50, c60, c70 = zero, zero, zero, zero, zero, zero, zero, zero
    c01, c11, c21, c31, c41, c51, c61, c71 = zero, zero, zero, zero, zero, zero, zero, zero
    at = 0
    for k in range(a.shape[1]):
        b0, b1 = load(b, k * 2 * WIDTH), load(b, k * 2 * WIDTH + WIDTH)
        x = broadcast(a, at)
        c00, c01 = fma(x, b0, c00), fma(x, b1, c01)
        x = broadcast(a, at + step)
        c10, c11 = fma(x, b0, c10), fma(x, b1, c11)
        x = broadcast(a, at + 2 * step)
        c20, c21 = fma(x, b0, c20), fma(x, b1, c21)
        x = broadcast(a, at + 3 * step)
        c30, c31 = fma(x, b0, c30), fma(x, b1, c31)
        x = broadcast(a, at + 4 * step)
        c40, c41 = fma(x, b0, c40), fma(x, b1, c41)
        x = broadcast(a, at + 5 * step)
        c50, c51 = fma(x, b0, c50), fma(x, b1, c51)
        x = broadcast(a, at + 6 * step)
        c60, c61 = fma(x, b0, c60), fma(x, b1, c61)
        x = broadcast(a, at + 7 * step)
        c70, c71 = fma(x, b0, c70), fma(x, b1, c71)
        at += k_step
    put(out, place, columns, add, c00, c01)
    put(out, place + out_step, columns, add, c10, c11)
    put(out, place + 2 * out_step, columns, add, c20, c21)
    put(out, place + 3 * out_step, columns, add, c30, c31)
    put(out, place + 4 * out_step, columns, add, c40, c41)
    put(out, place + 5 * out_step, columns, add, c50, c51)
    put(out, place + 6 * out_step, columns, add, c60, c61)
    put(out, place + 7 * out_step, columns, add, c70, c71)


@jit
def tile_of_4(a: Any, b: Any, out: Any, place: int, columns: int, add: bool) -> None:
    """The first four rows of a @ b, or as many as there are."""
    rows = a.shape[0]
    k_step, out_step = a.strides[1] // a.itemsize, out.strides[0] // out.itemsize
    step = a.strides[0] // a.itemsize
    step1, step2, step3 = min(1, rows - 1) * step, min(2, rows - 1) * step, min(3, rows - 1) * step
    zero = splat(ZERO)
    c00, c10, c20, c30 = zero, zero, zero, zero
    c01, c11, c21, c31 = zero, zero, zero, zero
    at = 0
    for k in range(a.shape[1]):
        b0, b1 = load(b, k * 2 * WIDTH), load(b, k * 2 * WIDTH + WIDTH)
        x = broadcast(a, at)
        c00, c01 = fma(x, b0, c00), fma(x, b1, c01)
        x = broadcast(a, at + step1)
        c10, c11 = fma(x, b0, c10), fma(x, b1, c11)
        x = broadcast(a, at + step2)
        c20, c21 = fma(x, b0, c20), fma(x, b1, c21)
        x = broadcast(a, at + step3)
        c30, c31 = fma(x, b0, c30), fma(x, b1, c31)
        at += k_step
    put(out, place, columns, add, c00, c01)
    if rows > 1:
        put(out, place + out_step, columns, add, c10, c11)
    if rows > 2:
        put(out, place + 2 * out_step, columns, add, c20, c21)
    if rows > 3:
        put(out, place + 3 * out_step, columns, add, c30, c31)


@jit(forceinline=True)
def put(out: Any, place: int, columns: int, add: bool, c0: Any, c1: Any) -> None:
    """Write or add two registers to the array, as far as there are columns."""
    if columns >= 2 * WIDTH:
        if add:
            c0, c1 = c0 + load(out, place), c1 + load(out, place + WIDTH)
        store(out, place, c0)
        store(out, place + WIDTH, c1)
    else:
        there0, there1 = first(columns), first(columns - WIDTH)
        if add:
            c0, c1 = c0 + load(out, place, there0), c1 + load(out, place + WIDTH, there1)
        store(out, place, c0, there0)
        store(out, place + WIDTH, c1, there1)
