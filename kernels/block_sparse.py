"""Products with a sparse matrix whose entries are blocks of R x C numbers.

The blocks of a row of blocks, b, are the numbers e with pointers[b] <= e < pointers[b + 1]. Block e stands in column indices[e] of
the grid of blocks, and its numbers are values[order[e]]: R rows and C columns of the matrix.

An entry of one number costs an index, and a row of the dense matrix is loaded for the one multiplication by it (sparse.py). A
block costs one index for R C numbers. And R rows of the result need the same rows of the dense matrix, so a register of it that
was loaded is used R times: a tile (tile.py) of some rows of the result stays in registers while all blocks of the row add to
it, as in a product of dense matrices, from which only the blocks that are not stored are missing. So blocks of 16 x 16 pay at
a much smaller share of zeros than single numbers do; what they ask for is that the zeros come in blocks.

A dense matrix whose rows are whole registers is read where it lies; any other, in whatever memory order, is cut into panels first
(packed.py), filled up with zeros. A transposed sparse matrix has its blocks transposed: these are read where they are, with
other strides.

Source: Gray, Radford & Kingma, "GPU Kernels for Block-Sparse Weights", 2017.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import Kernel, array_module
from .accumulate import add_at
from .common import FLOAT32, Array, at_least_float32
from .jit import jit
from .packed import fours_of, pack, product
from .parallel import share
from .simd import WIDTH, first, fma, load, splat, sum_lanes, width
from .sparse import rows_of
from .tile import ROWS, add_products, store_tile, tile


@Kernel
def block_spmm(values: Array, dense: Array, pointers: Array, indices: Array, order: Array | None = None) -> Array:
    """The matrix (N, M) with the blocks `values` (nnz, R, C) times dense (M, D): (N, D). float16 is added up in float32.

    N is R for each row of blocks that `pointers` has, M a multiple of C. order: None where values[e] is block e.
    """
    xp = array_module(dense)
    nnz, R, C = values.shape
    M, D = dense.shape
    x = at_least_float32(dense)
    out = xp.zeros((pointers.size - 1, R, D), x.dtype)
    products = (values if order is None else values[order]) @ x.reshape(M // C, C, D)[indices]
    add_at(out, (rows_of(pointers, nnz),), products)
    return out.reshape(out.shape[0] * R, D).astype(dense.dtype, copy=False)


@Kernel
def block_sddmm(
    x: Array, y: Array, pointers: Array, indices: Array, block: tuple[int, int], order: Array | None = None
) -> Array:
    """The elements of x @ y.T at the places of the blocks: x (N, D) and y (M, D) give (nnz, R, C), for blocks (R, C).

    What the gradient of the values of a matrix in blocks is: for each block a small product of dense matrices.
    """
    xp = array_module(x)
    (R, C), (M, D) = block, y.shape
    left, right = at_least_float32(x).reshape(x.shape[0] // R, R, D), y.reshape(M // C, C, D)
    sampled = (left[rows_of(pointers, indices.size)] @ right[indices].swapaxes(1, 2)).astype(x.dtype, copy=False)
    if order is None:
        return sampled
    out = xp.empty_like(sampled)
    out[order] = sampled
    return out


# Numba. Functions with one signature are compiled once for all memory orders

BLOCKS, MATRIX = "Array(float32, 3, 'A', readonly=True)", "Array(float32, 2, 'A', readonly=True)"
VECTOR = "Array(float32, 1, 'C', readonly=True)"
PLACES = "Array(int64, 1, 'C', readonly=True), Array(int32, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True)"


def supports(a: Array, b: Array, pointers: Array, indices: Array, *rest: Any) -> bool:
    return a.dtype == FLOAT32 and b.dtype == FLOAT32 and indices.dtype == np.int32


@block_spmm.variant("numba", device="cpu", supports=supports)
def block_spmm_numba(values: Array, dense: Array, pointers: Array, indices: Array, order: Array | None = None) -> Array:
    M, D = dense.shape
    rows = pointers.size - 1
    out = np.empty((rows * values.shape[1], D), np.float32)
    order = np.arange(len(values)) if order is None else order
    places = pointers, indices, order, out
    if D == 1 and values.strides[2] == values.itemsize:
        share(rows, rows_times_vector, values.size, values, np.ascontiguousarray(dense).reshape(-1), *places)
        return out
    columns = 2 * width()
    if dense.flags.c_contiguous and D % width() == 0:
        panels, step, pitch = dense.reshape(-1), columns, D
    else:
        packed = np.empty((-(-D // columns), M, columns), np.float32)
        pack(dense, np.float32(1), packed, 0)
        panels, step, pitch = packed.reshape(-1), M * columns, columns
    share(rows, rows_of_blocks, values.size * D, values, panels, step, pitch, *places)
    return out


@jit(signature=f"void(int64, int64, {BLOCKS}, {VECTOR}, int64, int64, {PLACES}, float32[:,::1])", nogil=True)
def rows_of_blocks(
    begin: int, end: int, values: Any, panels: Any, step: int, pitch: int, pointers: Any, indices: Any, order: Any, out: Any
) -> None:  # fmt: skip
    """The rows of blocks from `begin` to end - 1 of the product, a panel of the dense matrix after the other.

    The panels begin `step` numbers apart, and the rows in each of them `pitch`.
    """
    for column in range(0, out.shape[1], 2 * WIDTH):
        panel = panels[column // (2 * WIDTH) * step :]
        if out.shape[1] - column > WIDTH:
            sizes = tile(ROWS, 2), tile(4, 2), tile(1, 2)
            one_panel(sizes, begin, end, values, panel, pitch, pointers, indices, order, out, column)
        else:
            narrow = tile(ROWS, 1), tile(4, 1), tile(1, 1)
            one_panel(narrow, begin, end, values, panel, pitch, pointers, indices, order, out, column)


@jit
def one_panel(
    sizes: Any, begin: int, end: int, values: Any, panel: Any, pitch: int, pointers: Any, indices: Any, order: Any, out: Any,
    column: int,
) -> None:  # fmt: skip
    """The columns of a panel, each row of blocks in tiles of ROWS, 4 and 1 rows."""
    many, four, one = sizes
    R = values.shape[1]
    fours = fours_of(R)
    for b in range(begin, end):
        r = 0
        while r + ROWS <= R - 4 * fours:
            some_rows(many, b, r, values, panel, pitch, pointers, indices, order, out, column)
            r += ROWS
        while r + 4 <= R:
            some_rows(four, b, r, values, panel, pitch, pointers, indices, order, out, column)
            r += 4
        while r < R:
            some_rows(one, b, r, values, panel, pitch, pointers, indices, order, out, column)
            r += 1


@jit
def some_rows(
    t: Any, b: int, r: int, values: Any, panel: Any, pitch: int, pointers: Any, indices: Any, order: Any, out: Any, column: int
) -> None:  # fmt: skip
    """Rows r, r + 1, ... of the row b of blocks, as many as the tile t has: it walks over all blocks of the row."""
    R, C, D = values.shape[1], values.shape[2], out.shape[1]
    block, row, step = values.strides[0] // 4, values.strides[1] // 4, values.strides[2] // 4
    for e in range(pointers[b], pointers[b + 1]):
        place, position = order[e] * block + r * row, indices[e] * C * pitch
        for k in range(C):
            t = add_products(t, values, place + k * step, row, panel, position + k * pitch)
    store_tile(out, (b * R + r) * D + column, D, t, D - column)


@jit(signature=f"void(int64, int64, {BLOCKS}, {VECTOR}, {PLACES}, float32[:,::1])", nogil=True)
def rows_times_vector(
    begin: int, end: int, values: Any, x: Any, pointers: Any, indices: Any, order: Any, out: Any
) -> None:
    """The same for one column x: a register holds numbers of a row of a block, and one of x is used for four rows.

    Where R is no multiple of 4, the last row is computed more than once.
    """
    R, C = values.shape[1], values.shape[2]
    block, row = values.strides[0] // 4, values.strides[1] // 4
    for b in range(begin, end):
        for r0 in range(0, R, 4):
            r1, r2, r3 = min(r0 + 1, R - 1), min(r0 + 2, R - 1), min(r0 + 3, R - 1)
            s0 = s1 = s2 = s3 = splat(0.0)
            for e in range(pointers[b], pointers[b + 1]):
                for c in range(0, C, WIDTH):
                    place, there = order[e] * block + c, first(C - c)
                    shared = load(x, indices[e] * C + c, there)
                    s0 = fma(load(values, place + r0 * row, there), shared, s0)
                    s1 = fma(load(values, place + r1 * row, there), shared, s1)
                    s2 = fma(load(values, place + r2 * row, there), shared, s2)
                    s3 = fma(load(values, place + r3 * row, there), shared, s3)
            out[b * R + r0, 0] = sum_lanes(s0)
            out[b * R + r1, 0] = sum_lanes(s1)
            out[b * R + r2, 0] = sum_lanes(s2)
            out[b * R + r3, 0] = sum_lanes(s3)


@block_sddmm.variant("numba", device="cpu", supports=supports)
def block_sddmm_numba(
    x: Array, y: Array, pointers: Array, indices: Array, block: tuple[int, int], order: Array | None = None
) -> Array:
    (R, C), (M, D) = block, y.shape
    out = np.empty((indices.size, R, C), np.float32)
    panels = np.empty((M // C, -(-C // (2 * width())), D, 2 * width()), np.float32)
    pack_blocks(y, C, panels)
    order = np.arange(indices.size) if order is None else order
    share(pointers.size - 1, products_of_blocks, out.size * D, x, panels, pointers, indices, order, out)
    return out


@jit(signature=f"void({MATRIX}, int64, float32[:,:,:,::1])")
def pack_blocks(y: Any, C: int, panels: Any) -> None:
    """Every C rows of y (M, D), transposed, as panels of their own."""
    for c in range(panels.shape[0]):
        pack(y[c * C : (c + 1) * C].T, np.float32(1), panels[c], 0)


@jit(signature=f"void(int64, int64, {MATRIX}, float32[:,:,:,::1], {PLACES}, float32[:,:,::1])", nogil=True)
def products_of_blocks(
    begin: int, end: int, x: Any, panels: Any, pointers: Any, indices: Any, order: Any, out: Any
) -> None:
    R = out.shape[1]
    for b in range(begin, end):
        for e in range(pointers[b], pointers[b + 1]):
            product(x[b * R : (b + 1) * R], panels[indices[e]], out[order[e]], False)
