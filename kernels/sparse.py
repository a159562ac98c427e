"""Products with a sparse matrix whose entries are grouped by row.

The entries of row i are the numbers e with pointers[i] <= e < pointers[i + 1]; entry e has the value values[e] and stands in
column indices[e]. A matrix that is stored by column, or in any order, is grouped by row first, by `group`.

A row of the result is the sum of a few rows of the dense matrix, each times one number. With simple loops that sum travels
through memory once per entry. Numba's variant keeps it in registers while it walks over the entries of the row, so per entry
only a row of the dense matrix is read; a dense matrix that is wider than the registers is taken in strips of columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import Kernel, array_module
from .accumulate import add_at
from .common import FLOAT32, Array, at_least_float32
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
def spmm(values: Array, dense: Array, pointers: Array, indices: Array) -> Array:
    """The sparse matrix (N, M) times dense (M, D) or (M,): (N, D) or (N,). float16 is added up in float32."""
    xp = array_module(dense)
    x = at_least_float32(dense)
    out = xp.zeros((pointers.size - 1, *dense.shape[1:]), x.dtype)
    products = values.reshape(-1, *(1,) * (dense.ndim - 1)) * x[indices]
    add_at(out, (rows_of(pointers),), products)
    return out.astype(dense.dtype, copy=False)


@Kernel
def sddmm(x: Array, y: Array, pointers: Array, indices: Array) -> Array:
    """The elements of x @ y.T at the places of the entries: x (N, D) and y (M, D), or both without D, give (nnz,).

    "Sampled dense-dense matrix multiplication": what the gradient of the values of a sparse matrix is.
    """
    products = at_least_float32(x)[rows_of(pointers)] * y[indices]
    return (products.sum(axis=1) if x.ndim == 2 else products).astype(x.dtype, copy=False)


def rows_of(pointers: Array) -> Array:
    """The row of each entry."""
    if isinstance(pointers, np.ndarray):
        return np.repeat(np.arange(pointers.size - 1), np.diff(pointers))
    xp = array_module(pointers)  # whose repeat() does not take an array of counts
    return xp.searchsorted(pointers, xp.arange(int(pointers[-1])), side="right") - 1


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


def supports(a: Array, b: Array, pointers: Array, indices: Array) -> bool:
    return a.dtype == FLOAT32 and b.dtype == FLOAT32 and indices.dtype == np.int32


@spmm.variant("numba", device="cpu", supports=supports)
def spmm_numba(values: Array, dense: Array, pointers: Array, indices: Array) -> Array:
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
