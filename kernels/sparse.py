"""Products with a sparse matrix whose entries are grouped by row.

The entries of row i are the numbers e with pointers[i] <= e < pointers[i + 1]; entry e has the value values[e] and stands in
column indices[e]. A matrix that is stored by column, or in any order, is grouped by row first, by `group`.

A row of the result is the sum of a few rows of the dense matrix, each times one number. With simple loops that sum travels
through memory once per entry. Numba's variant keeps it in registers while it walks over the entries of the row, so per entry
only a row of the dense matrix is read; a dense matrix that is wider than the registers is taken in strips of columns. On a
GPU thousands of threads share the work, and what matters is that none of them gets much more of it than others: sparse.cu.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from . import Kernel, array_module
from .accumulate import add_at
from .common import FLOAT32, Array, at_least_float32
from .cuda import ELEMENTS, TALL, Entry, Source, aligned, blocks, launchable, name_of
from .jit import jit
from .simd import WIDTH, broadcast, first, fma, load, splat, store

LINE = 16  # float32 numbers in a cache line


@Kernel
def group(keys: Array, count: int) -> tuple[Array, Array]:
    """Numbers grouped by their value: where each group begins (count + 1,), and what is in it (N,), in ascending order.

    keys: (N,) integers in [0, count), which is not checked.

    Example:
        >>> group(np.array([2, 0, 2]), 3)
        (array([0, 1, 1, 3]), array([1, 0, 2]))
    """
    xp = array_module(keys)
    pointers = xp.zeros(count + 1, np.int64)
    pointers[1:] = xp.cumsum(xp.bincount(keys, minlength=count))
    return pointers, xp.argsort(keys, kind="stable")


@Kernel
def spmm(values: Array, dense: Array, pointers: Array, indices: Array, cuts: Array | None = None) -> Array:
    """The sparse matrix (N, M) times dense (M, D) or (M,): (N, D) or (N,). float16 is added up in float32.

    cuts: what `cuts_where_uneven` says of the pointers; it changes how the work is shared out, not the result.
    """
    xp = array_module(dense)
    x = at_least_float32(dense)
    out = xp.zeros((pointers.size - 1, *dense.shape[1:]), x.dtype)
    products = values.reshape(-1, *(1,) * (dense.ndim - 1)) * x[indices]
    add_at(out, (rows_of(pointers, indices.size),), products)
    return out.astype(dense.dtype, copy=False)


@Kernel
def sddmm(x: Array, y: Array, pointers: Array, indices: Array) -> Array:
    """The elements of x @ y.T at the places of the entries: x (N, D) and y (M, D), or both without D, give (nnz,).

    "Sampled dense-dense matrix multiplication": what the gradient of the values of a sparse matrix is.
    """
    products = at_least_float32(x)[rows_of(pointers, indices.size)] * y[indices]
    return (products.sum(axis=1) if x.ndim == 2 else products).astype(x.dtype, copy=False)


def rows_of(pointers: Array, nnz: int) -> Array:
    """The row of each of the nnz entries."""
    if isinstance(pointers, np.ndarray):
        return np.repeat(np.arange(pointers.size - 1), np.diff(pointers))
    xp = array_module(pointers)  # whose repeat() does not take an array of counts
    return xp.searchsorted(pointers, xp.arange(nnz), side="right") - 1


# Numba


@group.variant("numba", device="cpu", supports=lambda keys, count: keys.dtype == np.int64)
def group_numba(keys: Array, count: int) -> tuple[Array, Array]:
    pointers, members = np.zeros(count + 1, np.int64), np.empty(keys.size, np.int64)
    sort_by_counting(keys, pointers, members)
    return pointers, members


@jit
def sort_by_counting(keys: Any, pointers: Any, members: Any) -> None:
    for key in keys:
        pointers[key + 1] += 1
    for i in range(pointers.size - 1):
        pointers[i + 1] += pointers[i]
    free = pointers.copy()  # the next place in each group
    for e in range(keys.size):
        members[free[keys[e]]] = e
        free[keys[e]] += 1


def supports(a: Array, b: Array, pointers: Array, indices: Array, cuts: Array | None = None) -> bool:
    return a.dtype == FLOAT32 and b.dtype == FLOAT32 and indices.dtype == np.int32


@spmm.variant("numba", device="cpu", supports=supports)
def spmm_numba(values: Array, dense: Array, pointers: Array, indices: Array, cuts: Array | None = None) -> Array:
    values = np.ascontiguousarray(values)
    out = np.empty((pointers.size - 1, *dense.shape[1:]), np.float32)
    if dense.ndim == 1:
        times_vector(values, np.ascontiguousarray(dense), pointers, indices, out)
    else:
        times_matrix(values, in_lines(dense, indices.size), pointers, indices, out)
    return out


def in_lines(x: Array, reads: int) -> Array:
    """x (N, D), or a copy of it in columns 0 ... D - 1 of an array whose rows begin where a cache line does.

    Caches hold lines of 64 bytes, and NumPy's memory begins anywhere: a register's worth of numbers then lies in two lines
    nearly every time. `reads` is how many rows are going to be read; the copy pays if each is read often.
    """
    if reads < 16 * x.shape[0]:
        return np.ascontiguousarray(x)
    N, D = x.shape
    pitch = -(-D // LINE) * LINE
    memory = np.empty(N * pitch + LINE, np.float32)
    begin = -(memory.__array_interface__["data"][0] // 4) % LINE
    lines = memory[begin : begin + N * pitch].reshape(N, pitch)
    lines[:, :D] = x
    return lines


@jit
def times_matrix(values: Any, dense: Any, pointers: Any, indices: Any, out: Any) -> None:
    D, begin = out.shape[1], 0
    while begin + 8 * WIDTH <= D:
        strip_of_8(values, dense, pointers, indices, out, begin)
        begin += 8 * WIDTH
    while begin < D:
        strip_of_2(values, dense, pointers, indices, out, begin)
        begin += 2 * WIDTH


@jit
def strip_of_8(values: Any, dense: Any, pointers: Any, indices: Any, out: Any, begin: int) -> None:
    """8 registers of columns from column `begin` on."""
    D, pitch = out.shape[1], dense.shape[1]
    for i in range(out.shape[0]):
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = splat(0.0)
        for e in range(pointers[i], pointers[i + 1]):
            value, at = broadcast(values, e), indices[e] * pitch + begin
            s0 = fma(value, load(dense, at), s0)
            s1 = fma(value, load(dense, at + WIDTH), s1)
            s2 = fma(value, load(dense, at + 2 * WIDTH), s2)
            s3 = fma(value, load(dense, at + 3 * WIDTH), s3)
            s4 = fma(value, load(dense, at + 4 * WIDTH), s4)
            s5 = fma(value, load(dense, at + 5 * WIDTH), s5)
            s6 = fma(value, load(dense, at + 6 * WIDTH), s6)
            s7 = fma(value, load(dense, at + 7 * WIDTH), s7)
        at = i * D + begin
        store(out, at, s0)
        store(out, at + WIDTH, s1)
        store(out, at + 2 * WIDTH, s2)
        store(out, at + 3 * WIDTH, s3)
        store(out, at + 4 * WIDTH, s4)
        store(out, at + 5 * WIDTH, s5)
        store(out, at + 6 * WIDTH, s6)
        store(out, at + 7 * WIDTH, s7)


@jit
def strip_of_2(values: Any, dense: Any, pointers: Any, indices: Any, out: Any, begin: int) -> None:
    """2 registers of columns from column `begin` on, or as much of them as there is."""
    D, pitch = out.shape[1], dense.shape[1]
    there, there_too = first(D - begin), first(D - begin - WIDTH)
    for i in range(out.shape[0]):
        s0 = s1 = splat(0.0)
        for e in range(pointers[i], pointers[i + 1]):
            value, at = broadcast(values, e), indices[e] * pitch + begin
            s0 = fma(value, load(dense, at, there), s0)
            s1 = fma(value, load(dense, at + WIDTH, there_too), s1)
        store(out, i * D + begin, s0, there)
        store(out, i * D + begin + WIDTH, s1, there_too)


@jit(fastmath={"contract"})
def times_vector(values: Any, dense: Any, pointers: Any, indices: Any, out: Any) -> None:
    """Four sums a row: one sum would have to wait for each addition to end. SIMD does not help to read here and there."""
    for i in range(out.size):
        value, at = values[pointers[i] : pointers[i + 1]], indices[pointers[i] : pointers[i + 1]]
        s0 = s1 = s2 = s3 = np.float32(0)
        rest = value.size % 4
        for e in range(rest):
            s0 += value[e] * dense[at[e]]
        for e in range(rest, value.size, 4):
            s0 += value[e] * dense[at[e]]
            s1 += value[e + 1] * dense[at[e + 1]]
            s2 += value[e + 2] * dense[at[e + 2]]
            s3 += value[e + 3] * dense[at[e + 3]]
        out[i] = s0 + s1 + (s2 + s3)


@sddmm.variant("numba", device="cpu", supports=supports)
def sddmm_numba(x: Array, y: Array, pointers: Array, indices: Array) -> Array:
    out = np.empty(indices.size, np.float32)
    if x.ndim == 1:
        products(np.ascontiguousarray(x), np.ascontiguousarray(y), pointers, indices, out)
    else:
        inner_products(np.ascontiguousarray(x), in_lines(y, indices.size), pointers, indices, out)
    return out


@jit
def products(x: Any, y: Any, pointers: Any, indices: Any, out: Any) -> None:
    for i in range(x.size):
        for e in range(pointers[i], pointers[i + 1]):
            out[e] = x[i] * y[indices[e]]


@jit(fastmath={"contract", "reassoc"})
def inner_products(x: Any, y: Any, pointers: Any, indices: Any, out: Any) -> None:
    """The compiler's own SIMD does for a plain sum: registers by hand gain a tenth here."""
    for i in range(x.shape[0]):
        for e in range(pointers[i], pointers[i + 1]):
            column = indices[e]
            total = np.float32(0)
            for d in range(x.shape[1]):
                total += x[i, d] * y[column, d]
            out[e] = total


# CUDA: see sparse.cu

CU = Source(
    "sparse.cu",
    Entry("spmm_naive", "spmm", registers=64, types=ELEMENTS),
    Entry("spmm_rows", "spmm", registers=72, types=ELEMENTS),
    Entry("spmm_merge", "spmm", registers=80, types=ELEMENTS),
    Entry("spmm_carry", "spmm", registers=40, shared=1024, types=ELEMENTS),
    Entry("sddmm_naive", "sddmm", registers=56, types=ELEMENTS),
    Entry("sddmm_warps", "sddmm", registers=64, types=ELEMENTS),
)
PIECE = 128  # entries and ends of rows that are one warp's work in spmm_merge
BUSY = 1024  # warps with four loads of 512 bytes each under way: about what keeps the memory of a large GPU busy
WARPS = 4  # in a block: few, as a block holds its place until the last of them is done
WIDEST = 32 * 65535  # columns of a dense matrix: 32 or more to a strip, and a grid has so many strips


def cuts_where_uneven(pointers: Array, nnz: int) -> Array | None:
    """How a GPU should share out the rows of a matrix: None for a warp a row, or where to cut them (`cut`).

    It waits for the GPU, and is asked once for each matrix. With a warp a row, the longest row is read by one warp while BUSY
    warps could read all entries. It holds up the rest where it has more than its share of them, nnz / BUSY; unless it is
    no longer than two pieces, for then cutting gains less than the second launch costs. Neither number has been measured.
    """
    if isinstance(pointers, np.ndarray) or pointers.size < 2:
        return None
    longest = int((pointers[1:] - pointers[:-1]).max())
    return cut(pointers, nnz) if longest > max(2 * PIECE, nnz / BUSY) else None


def cut(pointers: Array, nnz: int) -> Array:
    """The row in which each piece of work begins, and N behind the last: (pieces + 1,). sparse.cu says what a piece is.

    Example:
        >>> cut(np.array([0, 300]), 300)  # pieces of 128, of the list of 300 entries and the end of their row
        array([0, 0, 0, 1])
    """
    xp, rows = array_module(pointers), pointers.size - 1
    ends = pointers[1:] + xp.arange(rows)  # in that list each row's end has the entries and the ends of rows before it
    begins = xp.minimum(xp.arange(blocks(rows + nnz, PIECE) + 1) * PIECE, rows + nnz)
    return xp.searchsorted(ends, begins)


def supports_cuda(a: Array, b: Array, pointers: Array, indices: Array, cuts: Array | None = None) -> bool:
    """Matrices of any layout, which are copied where they must be."""
    same = a.dtype == b.dtype and type(a) is type(b) is type(pointers) is type(indices)
    known = name_of(a.dtype) in ELEMENTS and launchable(pointers, types=("int64",))
    return same and known and launchable(indices, types=("int32",)) and prod(b.shape[1:]) <= WIDEST


def lanes_for(width: int, most: int, *arrays: Array) -> tuple[bool, int, int]:
    """How lanes share a row of this width: whether in packs, how many, a power of 2, and the columns of all together.

    They are no more than a warp, than what covers the row, and than what reads `most` bytes of it at once.
    """
    size = arrays[0].itemsize
    packs = width % (16 // size) == 0 and aligned(*arrays)
    columns, lanes = 16 // size if packs else 1, 1
    while lanes < min(32, most // (columns * size)) and lanes * columns < width:
        lanes *= 2
    return packs, lanes, lanes * columns


def launch_spmm(
    version: str, values: Array, dense: Array, pointers: Array, indices: Array, cuts: Array | None
) -> Array:
    """Launch a version of sparse.cu, by the last word of its name."""
    xp = array_module(dense)
    values, dense = xp.ascontiguousarray(values), xp.ascontiguousarray(dense)
    rows, width = pointers.size - 1, prod(dense.shape[1:])
    out = xp.empty((rows, *dense.shape[1:]), dense.dtype)
    arrays = (values, dense, pointers, indices)
    packs, lanes, strip = lanes_for(width, 512, dense, out)
    strips = blocks(width, strip)
    if version == "naive":
        CU.launch("spmm_naive", blocks(out.size, 256), 256, *arrays, out, rows, width)
    elif version == "rows":
        CU.launch("spmm_rows", (blocks(rows, WARPS), strips), 32 * WARPS, *arrays, out, rows, width, packs, lanes)
    else:
        cuts = cut(pointers, indices.size) if cuts is None else cuts
        pieces = cuts.size - 1
        carry = xp.empty((pieces, width), np.float32)
        grid, sizes = (blocks(pieces, WARPS), strips), (rows, pieces, PIECE, width)
        CU.launch("spmm_merge", grid, 32 * WARPS, *arrays, cuts, out, carry, *sizes, packs, lanes)
        grid = (pieces, blocks(width, 32))
        CU.launch("spmm_carry", grid, (32, TALL), carry, pointers, cuts, out, rows, PIECE, width)
    return out


@spmm.variant("cuda", device="cuda", supports=supports_cuda)
def spmm_cuda(values: Array, dense: Array, pointers: Array, indices: Array, cuts: Array | None = None) -> Array:
    return launch_spmm("rows" if cuts is None else "merge", values, dense, pointers, indices, cuts)


@spmm.variant("cuda_naive", device="cuda", supports=supports_cuda)
def spmm_naive(values: Array, dense: Array, pointers: Array, indices: Array, cuts: Array | None = None) -> Array:
    return launch_spmm("naive", values, dense, pointers, indices, cuts)


@spmm.variant("cuda_rows", device="cuda", supports=supports_cuda)
def spmm_rows(values: Array, dense: Array, pointers: Array, indices: Array, cuts: Array | None = None) -> Array:
    return launch_spmm("rows", values, dense, pointers, indices, cuts)


@spmm.variant("cuda_merge", device="cuda", supports=supports_cuda)
def spmm_merge(values: Array, dense: Array, pointers: Array, indices: Array, cuts: Array | None = None) -> Array:
    return launch_spmm("merge", values, dense, pointers, indices, cuts)


@sddmm.variant("cuda", device="cuda", supports=supports_cuda)
def sddmm_cuda(x: Array, y: Array, pointers: Array, indices: Array) -> Array:
    xp, width = array_module(x), prod(x.shape[1:])
    x, y, out = xp.ascontiguousarray(x), xp.ascontiguousarray(y), xp.empty(indices.size, x.dtype)
    packs, lanes, _ = lanes_for(width, 128, x, y)  # a cache line of a row for each entry
    grid, sizes = blocks(out.size, 32 * WARPS), (out.size, len(x), width)
    CU.launch("sddmm_warps", grid, 32 * WARPS, x, y, pointers, indices, out, *sizes, packs, lanes)
    return out


@sddmm.variant("cuda_naive", device="cuda", supports=supports_cuda)
def sddmm_naive(x: Array, y: Array, pointers: Array, indices: Array) -> Array:
    xp, width = array_module(x), prod(x.shape[1:])
    x, y, out = xp.ascontiguousarray(x), xp.ascontiguousarray(y), xp.empty(indices.size, x.dtype)
    CU.launch("sddmm_naive", blocks(out.size, 256), 256, x, y, pointers, indices, out, out.size, len(x), width)
    return out
