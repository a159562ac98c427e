"""Matrix products of float32 by kernels of minidl's own.

The reference is three loops, the inner one of which adds up K products:

    for i in range(M):
        for j in range(N):
            out[i, j] = sum(a[i, k] * b[k, j] for k in range(K))

It reads two numbers for each multiplication, and a core with AVX-512 does 16 multiplications and additions in the time in
which it reads one or two. What helps is to use a number often once it was read, and to read it from near:

    registers   A tile of the result, ROWS x 2 registers, stays in registers while k runs (tile.py). Step k reads ROWS numbers
                of a and two registers of b, and does 2 ROWS multiply-adds with them, which take longer than the reading.
    panels      All tiles of the same columns use the same part of b: K rows of two registers. This panel is worked off for all
                rows of a before the next one, so it comes from memory once, and then from a cache.
    blocks      A panel of K rows fits no cache if K is large. So k is cut into blocks of at most DEEP, and each but the first
                adds to what is there.
    packing     A panel's rows are 128 bytes each and lie N numbers apart. Caches are bad at this: they cannot guess which row
                comes next, and have only a few places for rows that a power of two lies between. So a panel is copied, row
                after row (packed.py). If b lies transposed in memory, as a layer's weight in x @ weight.T does, then the copy
                also turns it, since a register holds neighbours in a row. Copying takes about as long as five rows of a do.
                So it is lost in many rows; with up to FEW rows b is read where it is, if that is possible; and with few rows
                and a transposed b, outᵀ = bᵀ @ aᵀ is computed: there it is a, the smaller one, that is copied.

The numbers of a are read singly, each into all lanes of a register. So a may lie in any order, transposed too, as it does in
the gradient of a weight, gᵀ @ x.

A BLAS is made in the same way, and packs both matrices whatever their sizes are. In large products that is lost in the rest; in
those of training, where a batch has 128 rows or K is 128, it is not. `pays` says where the kernels here take less time.

Source: Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", 2008.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import parallel
from .common import FLOAT32, Array
from .jit import jit
from .layout import exchange_axes
from .packed import MATRIX, columns, pack
from .simd import WIDTH, width

DEEP = 512  # rows of a panel: 64 KB with AVX-512
FEW = 512  # rows of a, up to which b is not packed
FAR = 4096  # bytes from row to row of what lies transposed: a cache has few places for numbers that are a power of two apart


def pays(a: Array, b: Array, bias: Array | None) -> bool:
    """Whether a @ b + bias is one that `product` computes, and in less time than a BLAS.

    With narrower registers than those of AVX-512, a BLAS takes about as long, and there its own choice is not overruled.
    """
    (M, K), N = a.shape, b.shape[1]
    if M * N < 4096 or width() != 16:
        return False
    if turns(a, b):
        M, N = N, M
    if b.strides[0] == 4:  # with a transposed b, a BLAS leaves more to gain
        enough = fills(N, 8)
    else:
        enough = fills(N, 16) and M * K * N >= 1 << 20
    if not enough or M < 32 or N < 16:
        return False
    if a.dtype != FLOAT32 or b.dtype != FLOAT32 or (bias is not None and bias.dtype != FLOAT32):
        return False
    if 4 not in a.strides or 4 not in b.strides or (a.strides[1] != 4 and a.strides[1] >= FAR):
        return False
    return bool(a.flags.aligned and b.flags.aligned)


def fills(n: int, most: int) -> bool:
    """Whether n numbers fill registers of 16 so far that at most one lane in `most` has nothing to do."""
    return -n % 16 * most <= n


def turns(a: Array, b: Array) -> bool:
    """Whether to compute out.T = b.T @ a.T. If b lies transposed, it is the smaller a that is packed then, and the result that
    has to be transposed: this pays where a has few rows, and they fill registers."""
    (M, K), N = a.shape, b.shape[1]
    return b.strides[0] == 4 and a.strides[1] == 4 and (N - M) * K > 2 * M * N and fills(M, 16)


def product(a: Array, b: Array, bias: Array | None = None) -> Array:
    """a @ b + bias for (M, K), (K, N) and (N,), one part for each thread."""
    M, N = len(a), b.shape[1]
    out = np.empty((M, N), np.float32)
    if turns(a, b):
        exchange_axes(product(b.T, a.T).reshape(-1), out.reshape(-1), 1, N, M)
        return out if bias is None else np.add(out, bias, out=out)
    bias, work = NOTHING if bias is None else bias, a.size * N
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
