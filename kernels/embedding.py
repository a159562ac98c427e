"""Rows added up by index: the backward pass of an embedding, and the steps that change a few rows of a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import Kernel, array_module, determinism
from .accumulate import add_at
from .common import FLOAT32, Array, float32_in_order
from .cuda import ELEMENTS, Entry, Source, blocks, capturing, launchable
from .jit import jit


@Kernel
def embedding_backward(g: Array, index: Array, rows: int) -> Array:
    """Dense gradient (rows, D): row r is the sum of the g[i] (N, D) with index[i] == r, in the order of i.

    index is (N,), integers in [0, rows). Raises IndexError for an index outside, on the CPU.

    Example:
        >>> embedding_backward(np.array([[1.0], [2.0], [4.0]]), np.array([2, 0, 2]), 3)
        array([[2.],
               [0.],
               [5.]])
    """
    xp = array_module(g)
    if xp is np:  # on a GPU a look at them would wait for it
        check_range(index, rows)
    out = xp.zeros((rows, g.shape[1]), dtype=g.dtype)
    add_at(out, (index,), g)
    return out


def check_range(index: Array, rows: int) -> None:
    if index.size and (index.min() < 0 or index.max() >= rows):
        raise IndexError(f"embedding_backward: indices from {index.min()} to {index.max()}, but there are {rows} rows")


def supports(g: Array, index: Array, rows: int) -> bool:
    return float32_in_order(g) and index.dtype == np.int64 and index.flags.c_contiguous


@embedding_backward.variant("numba", device="cpu", supports=supports)
def embedding_backward_numba(g: Array, index: Array, rows: int) -> Array:
    out = np.zeros((rows, g.shape[1]), np.float32)
    if not add_rows(g, index, out):
        check_range(index, rows)  # which raises
    return out


@jit
def add_rows(g: Any, index: Any, out: Any) -> bool:
    """Whether all rows exist: at one that does not, the loop ends."""
    for i in range(g.shape[0]):
        row = index[i]
        if row < 0 or row >= out.shape[0]:
            return False
        for j in range(g.shape[1]):
            out[row, j] += g[i, j]
    return True


@Kernel
def add_to_rows(table: Array, index: Array, rows: Array, scale: float, distinct: bool = False) -> None:
    """table[index[i]] += scale * rows[i] for every i in order, in place; an index that occurs twice is added to twice.

    table (V, D), index (N,) integers in [0, V), which is not checked, rows (N, D). distinct: no index occurs twice, which
    saves a GPU from sorting them.

    Example:
        >>> table = np.zeros((3, 1))
        >>> add_to_rows(table, np.array([2, 0, 2]), np.array([[1.0], [2.0], [4.0]]), -1.0)
        >>> table
        array([[-2.],
               [ 0.],
               [-5.]])
    """
    add_at(table, (index,), (scale * rows).astype(table.dtype, copy=False))


@add_to_rows.variant(
    "numba",
    device="cpu",
    supports=lambda table, index, rows, scale, distinct=False: float32_in_order(table) and rows.dtype == FLOAT32,
)
def add_to_rows_numba(table: Array, index: Array, rows: Array, scale: float, distinct: bool = False) -> None:
    add_scaled_rows(table, index, rows, float(scale))


@jit(fastmath={"contract"})
def add_scaled_rows(table: Any, index: Any, rows: Any, scale: Any) -> None:
    scale = np.float32(scale)
    for i in range(index.size):
        row = index[i]
        for j in range(table.shape[1]):
            table[row, j] += scale * rows[i, j]


@Kernel
def adam_rows(
    table: Array,
    mean: Array,
    square: Array,
    index: tuple[Array, ...],
    g: Array,
    size: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> None:
    """One step of Adam on those elements of a table that an index names, none twice, in place; the others stay as they are.

    table, its running averages `mean` of gradients and `square` of their squares, all (V, ...); g (N, ...), the gradient of
    table[index]. size: of the step, with the corrections of the averages in it.
    """
    m = mean[index] + (1 - beta1) * (g - mean[index])
    v = square[index] + (1 - beta2) * (g * g - square[index])
    mean[index], square[index] = m, v
    table[index] -= size * m / (array_module(g).sqrt(v) + eps)


# CUDA: see embedding.cu.

CU = Source(
    "embedding.cu",
    Entry("embedding_atomic", "embedding_backward", registers=32),
    Entry("embedding_segments", "embedding_backward", registers=64, types=ELEMENTS),
    Entry("add_rows", "add_to_rows", registers=64, types=ELEMENTS),
    Entry("adam_rows", "adam_rows", registers=48),
)


def supports_cuda(g: Array, index: Array, rows: int) -> bool:
    fits = g.size > 0 and launchable(g, types=ELEMENTS) and launchable(index, types=("int64",))
    return fits and not capturing(g)


@embedding_backward.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def embedding_backward_cuda(g: Array, index: Array, rows: int) -> Array:
    xp, width = array_module(g), g.shape[1]
    out, order = xp.empty((rows, width), g.dtype), xp.argsort(index, kind="stable")
    starts = xp.searchsorted(index[order], xp.arange(rows + 1))
    threads = min(256, 32 * blocks(width, 32 * 16 // g.itemsize))
    CU.launch("embedding_segments", rows, threads, g, order, starts, out, width)
    return out


def supports_atomic(g: Array, index: Array, rows: int) -> bool:
    return supports_cuda(g, index, rows) and g.itemsize == 4


@embedding_backward.variant("cuda_atomic", device="cuda", supports=supports_atomic)
def embedding_backward_atomic(g: Array, index: Array, rows: int) -> Array:
    determinism.refuse("embedding_backward's variant cuda_atomic")
    out = array_module(g).zeros((rows, g.shape[1]), g.dtype)
    CU.launch("embedding_atomic", blocks(g.size, 256), 256, g, index, out, index.size, rows, g.shape[1])
    return out


def supports_add(table: Array, index: Array, rows: Array, scale: float, distinct: bool = False) -> bool:
    fits = table.ndim == 2 and launchable(table, rows, types=ELEMENTS) and type(index) is type(table)
    return fits and index.dtype == np.int64 and (distinct or not capturing(table))


@add_to_rows.variant("cuda", device="cuda", supports=supports_add)
def add_to_rows_cuda(table: Array, index: Array, rows: Array, scale: float, distinct: bool = False) -> None:
    xp = array_module(table)
    order = None if distinct else xp.argsort(index, kind="stable")
    index = xp.ascontiguousarray(index) if distinct else index[order]
    CU.launch("add_rows", blocks(index.size, 8), 256, rows, index, order, table, scale, index.size, table.shape[1])


def supports_adam(
    table: Array,
    mean: Array,
    square: Array,
    index: tuple[Array, ...],
    g: Array,
    size: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> bool:
    of_rows = table.ndim == 2 and len(index) == 1 and launchable(index[0], types=("int64",))
    return of_rows and type(index[0]) is type(table) and launchable(table, mean, square, g)


@adam_rows.variant("cuda", device="cuda", supports=supports_adam)
def adam_rows_cuda(
    table: Array,
    mean: Array,
    square: Array,
    index: tuple[Array, ...],
    g: Array,
    size: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> None:
    (rows,), (_, width) = index, table.shape
    numbers = (size, 1 - beta1, 1 - beta2, eps, rows.size, width)
    CU.launch("adam_rows", blocks(rows.size, 8), 256, g, rows, table, mean, square, *numbers)
