"""Sums of a few neighbours with weights, dimension by dimension: what interpolation and the means and sums of windows are made of.

Each new value along a dimension is made of a few old ones. A `Table` lists them, with their weights, and stands for a matrix of
which only the entries that are not zero are kept; the gradient goes back through its transpose, which is a table too. Several
dimensions are worked on one after another:

    out[..., j, ...] = sum over k of weight[k, j] * x[..., index[k, j], ...]

The numbers of x that follow the dimension in memory are multiplied together, a register at a time. Where there are none, along
the last dimension of an array in row-major order, the lanes are new positions, which collect their old values one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from . import Kernel, array_module
from .common import FLOAT32, Array
from .jit import jit
from .layout import channels_last_memory, empty_channels_last, is_channels_last, load_some, store_some
from .parallel import MEMORY, share
from .simd import WIDTH, collect, first, load, select, splat, width


class Table:
    """Which old positions, of `old` along a dimension, each new one is made of: index and weight are (K, new).

    An entry of weight 0 takes no part, not even where x is infinite or NaN.

    Example:
        >>> Table(np.array([[0, 1], [1, 1]]), np.array([[0.5, 0.0], [0.5, 1.0]]), 2).matrix()
        array([[0.5, 0.5],
               [0. , 1. ]])
    """

    def __init__(self, index: Array, weight: Array, old: int) -> None:
        self.index, self.weight, self.old, self.new = index, weight, old, index.shape[1]

    @classmethod
    def of(cls, matrix: Array) -> Table:
        """The table of a matrix (new, old)."""
        new, old = matrix.shape
        return cls(np.broadcast_to(np.arange(old)[:, None], (old, new)), matrix.T, old).T.T

    def placed(self, move: Callable[[Array], Array]) -> Table:
        """The table with both arrays where `move` brings them."""
        there = Table(move(self.index), move(self.weight), self.old)
        there.picks = self.picks
        return there

    @cached_property
    def picks(self) -> bool:
        """Whether all weights are 1, so that nothing is multiplied."""
        return bool((self.weight == 1).all())

    @cached_property
    def T(self) -> Table:
        """The transpose: which new positions each old one is a part of."""
        there = self.weight.T != 0  # (new, K): so that the new positions of an old one come in their order
        owner, seen = self.index.T[there], np.broadcast_to(np.arange(self.new)[:, None], there.shape)[there]
        order = np.argsort(owner, kind="stable")
        owner, seen, counts = owner[order], seen[order], np.bincount(owner, minlength=self.old)
        place = np.arange(owner.size) - (np.cumsum(counts) - counts)[owner]  # among those of its owner
        index, weight = np.zeros((2, max(counts.max(initial=0), 1), self.old))
        index[place, owner], weight[place, owner] = seen, self.weight.T[there][order]
        return Table(index.astype(np.int64), weight, self.new)

    @cached_property
    def rows(self) -> tuple[Array, Array]:
        """index and weight as the compiled loops take them, with further entries of weight 0 up to whole registers."""
        more = ((0, 0), (0, -self.new % width()))
        return np.pad(self.index, more), np.pad(self.weight, more).astype(np.float32)

    def matrix(self) -> Array:
        """(new, old)."""
        out = np.zeros((self.new, self.old))
        np.add.at(out, (np.broadcast_to(np.arange(self.new), self.index.shape), self.index), self.weight)
        return out


@Kernel
def resample(x: Array, tables: tuple[Table, ...]) -> Array:
    """x (..., *S) with each of its last dimensions made anew by a table, whose arrays are where x is.

    Example:
        >>> resample(np.array([1.0, 3.0]), (Table(np.array([[0, 0, 1]]), np.ones((1, 3)), 2),))
        array([1., 1., 3.])
    """
    xp = array_module(x)
    for axis, table in enumerate(tables, x.ndim - len(tables)):
        shape = [-1 if a == axis else 1 for a in range(x.ndim)]
        total: Any = None
        for index, weight in zip(table.index, table.weight, strict=True):
            part = x.take(index, axis)
            if not table.picks:
                factor = weight.astype(x.dtype).reshape(shape)
                part = xp.where(factor == 0, x.dtype.type(0), part * factor)
            total = part if total is None else total + part
        x = total
    return x


def supports(x: Array, tables: tuple[Table, ...]) -> bool:
    return x.dtype == FLOAT32 and x.size > 0 and all(table.new for table in tables)


@resample.variant("numba", device="cpu", supports=supports)
def resample_numba(x: Array, tables: tuple[Table, ...]) -> Array:
    n, shape = len(tables), x.shape
    before, sizes, after = shape[:-n], [*shape[-n:]], tuple([table.new for table in tables])
    if not x.flags.c_contiguous and x.ndim == n + 2 and is_channels_last(x):
        out = empty_channels_last((*before, *after))
        numbers, target, outer, inner = channels_last_memory(x), channels_last_memory(out), shape[0], shape[1]
    else:
        out = np.empty((*before, *after), np.float32)
        numbers, target, outer, inner = np.ascontiguousarray(x).reshape(-1), out.reshape(-1), prod(before), 1
    # the fewer numbers there are after the first steps, the fewer the later ones read
    for step, axis in enumerate(range(n) if target.size < numbers.size else range(n - 1, -1, -1), 1):
        table, sizes[axis] = tables[axis], after[axis]
        rows, columns = outer * prod(sizes[:axis]), inner * prod(sizes[axis + 1 :])
        made = target if step == n else np.empty(rows * table.new * columns, np.float32)
        along(numbers, made, rows, table, columns)
        numbers = made
    return out


def along(x: Array, out: Array, outer: int, table: Table, inner: int) -> None:
    """One dimension: x (outer, old, inner) to out (outer, new, inner), flat."""
    run = resample_rows if inner > 1 else resample_lanes
    units = outer * table.new if inner > 1 else outer
    share(units, run, MEMORY * out.size * len(table.index), x, out, table.old, table.new, inner, *table.rows)


@jit(nogil=True)
def resample_rows(
    begin: int, end: int, x: Any, out: Any, old: int, new: int, inner: int, index: Any, weight: Any
) -> None:
    """Rows of out, of `inner` numbers: units begin ... end - 1."""
    whole = inner // WIDTH * WIDTH
    for unit in range(begin, end):
        j, base = unit % new, unit // new * old * inner
        for c in range(0, whole, WIDTH):
            weighted(x, base + c, inner, index, weight, j, None, out, unit * inner + c)
        if whole < inner:
            weighted(x, base + whole, inner, index, weight, j, first(inner - whole), out, unit * inner + whole)


@jit(forceinline=True)
def weighted(x: Any, base: int, inner: int, index: Any, weight: Any, j: int, some: Any, out: Any, to: int) -> None:
    """One register of a row."""
    total = splat(0.0)
    for k in range(index.shape[0]):
        if weight[k, j] != 0:
            total += weight[k, j] * load_some(x, base + index[k, j] * inner, some)
    store_some(out, to, total, some)


@jit(nogil=True)
def resample_lanes(
    begin: int, end: int, x: Any, out: Any, old: int, new: int, inner: int, index: Any, weight: Any
) -> None:
    """Rows of out, of `new` numbers: units begin ... end - 1."""
    whole = new // WIDTH * WIDTH
    for unit in range(begin, end):
        for j in range(0, whole, WIDTH):
            collected(x, unit * old, index, weight, j, None, out, unit * new + j)
        if whole < new:
            collected(x, unit * old, index, weight, whole, first(new - whole), out, unit * new + whole)


@jit(forceinline=True)
def collected(x: Any, base: int, index: Any, weight: Any, j: int, some: Any, out: Any, to: int) -> None:
    """One register of new positions."""
    total = splat(0.0)
    for k in range(index.shape[0]):
        here = k * index.shape[1] + j
        share = load(weight, here)
        total += select(share == 0.0, 0.0, share * collect(x, base, index, here))
    store_some(out, to, total, some)
