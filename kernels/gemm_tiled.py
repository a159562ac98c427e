"""Matrix products of float32 by kernels of minidl's own.

The reference is three loops, of which the inner one adds up K products:

    for i in range(M):
        for j in range(N):
            out[i, j] = sum(a[i, k] * b[k, j] for k in range(K))

That reads two numbers for each multiplication, of a core that can do 32 multiplications and additions in the time of one or
two reads. What makes it ten to a hundred times faster is reading each number seldom, and from near:

    registers   A tile of the result, ROWS x 2 registers, stays in registers while k runs (tile.py). A step reads ROWS numbers
                of a and two registers of b, and does 2 ROWS multiply-adds with them: so now these are what it waits for.
    panels      All tiles in the same columns read the same part of b, which is K rows of two registers. One panel at a time
                is worked off for all rows of a, so it is read from memory once and then from a cache.
    blocks      A panel of K rows fits no cache if K is large. So k is cut into blocks of at most DEEP; the second one adds to
                what the first one wrote.
    packing     The rows of a panel are 128 bytes each and lie N numbers apart, which is bad for a cache: it cannot foresee
                them, and where N is a power of two it has only a few places for all of them. So a panel is copied first, row
                after row. If b is a transposed matrix, as a layer's weight is in x @ weight.T, the copy also transposes it
                (a register holds neighbours in a row). A copy takes about as long as the products with five rows of a, and so
                b is read where it is if its rows are contiguous and a has no more than FEW rows.

The numbers of a are read one at a time, and so it may lie in any order: each of ROWS rows is read from left to right, or
ROWS neighbours in each of the rows of what is transposed.

A BLAS does the same, and packs both operands always. It is faster where there are only a few rows, or columns; see `pays`.

Source: Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", 2008.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import parallel
from .common import FLOAT32, Array
from .jit import jit
from .packed import MATRIX, columns, pack
from .simd import WIDTH, width

DEEP = 512  # rows of a panel: 64 KB with AVX-512
FEW = 512  # rows of a, up to which b is not packed
LEAST = 32  # rows, and columns, of the result
FAR = 4096  # bytes from row to row of what lies transposed: a cache has few places for numbers that are a power of two apart


def pays(a: Array, b: Array, bias: Array | None) -> bool:
    """Whether a @ b + bias is one that `product` computes, and in less time than a BLAS.

    With narrower registers than those of AVX-512, a BLAS takes about as long, and there its own choice is not overruled.
    """
    (M, _), N = a.shape, b.shape[1]
    if M < LEAST or N < LEAST or -N % 16 * 8 > N or width() != 16:  # lanes that compute nothing: one in eight at most
        return False
    if a.dtype != FLOAT32 or b.dtype != FLOAT32 or (bias is not None and bias.dtype != FLOAT32):
        return False
    if a.strides[1] != 4 and (a.strides[0] != 4 or a.strides[1] >= FAR):
        return False
    return 4 in b.strides and bool(a.flags.aligned and b.flags.aligned)


def product(a: Array, b: Array, bias: Array | None = None) -> Array:
    """a @ b + bias for (M, K), (K, N) and (N,), one part for each thread."""
    M, N = len(a), b.shape[1]
    out, work = np.empty((M, N), np.float32), a.size * N
    bias = NOTHING if bias is None else bias
    if work < 2 * parallel.LEAST:
        multiply(a, b, bias, out)
    elif M >= N:
        parallel.share(-(-M // EACH), some_rows, work, a, b, bias, out)
    else:
        parallel.share(-(-N // EACH), some_columns, work, a, b, bias, out)
    return out


NOTHING = np.empty(0, np.float32)
EACH = 32  # rows or columns that a thread takes at a time: whole tiles


def some_rows(begin: int, end: int, a: Array, b: Array, bias: Array, out: Array) -> None:
    rows = slice(begin * EACH, end * EACH)
    multiply(a[rows], b, bias, out[rows])


def some_columns(begin: int, end: int, a: Array, b: Array, bias: Array, out: Array) -> None:
    some = slice(begin * EACH, end * EACH)
    multiply(a, b[:, some], bias[some], out[:, some])


@jit(signature=f"void({MATRIX}, {MATRIX}, Array(float32, 1, 'A', readonly=True), float32[:,:])", nogil=True)
def multiply(a: Any, b: Any, bias: Any, out: Any) -> None:
    """out = a @ b + bias, if there is any: the rows of out contiguous. Nothing is checked."""
    K, N = b.shape
    wide, step = 2 * WIDTH, b.strides[0] // b.itemsize
    blocks = max(1, (K + DEEP - 1) // DEEP)
    start, room = np.zeros(wide, np.float32), np.empty((1, (K + blocks - 1) // blocks, wide), np.float32)
    in_place = len(a) <= FEW and b.strides[1] == b.itemsize
    for block in range(blocks):
        first, end = K * block // blocks, K * (block + 1) // blocks
        left = a[:, first:end]
        for j in range(0, N, wide):
            some = out[:, j : j + wide]
            start[:] = 0
            if block == 0 and bias.size > 0:
                for c in range(some.shape[1]):
                    start[c] = bias[j + c]
            if in_place and j + wide <= N:
                columns(left, b, first * step + j, step, start, some, block > 0)
            else:
                pack(b[first:end, j : j + wide], np.float32(1), room, 0)
                columns(left, room[0], 0, wide, start, some, block > 0)
