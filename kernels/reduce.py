"""Sums, maxima and minima along any axes.

On a GPU a sum is the first thing that one learns to write: see reduce.cu.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np

from . import Kernel, array_module, determinism
from .common import FLOAT32, Array, in_memory_order, row_major
from .cuda import ELEMENTS, HALVES, TALL, Entry, Source, blocks, launchable
from .jit import jit
from .simd import WIDTH, first, load, splat, sum_lanes


@Kernel
def sum_axes(x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
    """A sum along axes whose rounding errors stay small however many terms there are.

    NumPy adds in pairs of pairs along the innermost axis alone. Along any other it adds term after term, and the error
    grows with their number: over a million float32 rows it is some 1e-5 of the sum. Here blocks of rows are added, then
    their sums.

    Example:
        >>> sum_axes(np.ones((2, 3)), (0,), True)
        array([[2., 2., 2.]])
    """
    add = array_module(x).add.reduce  # not x.sum, whose warnings (of inf - inf) come from NumPy's own Python code
    if x.dtype.kind != "f" or not axes or (len(axes) == x.ndim and (x.flags.c_contiguous or x.flags.f_contiguous)):
        return row_major(add(x, axis=axes, keepdims=keepdim))
    for axis in axes:
        n, block = x.shape[axis], math.isqrt(x.shape[axis])
        if block < 16 or x.strides[axis] == x.itemsize:
            x = add(x, axis=axis, keepdims=True)
            continue
        before, whole = (slice(None),) * axis, n // block * block
        parts = x[(*before, slice(whole))].reshape(*x.shape[:axis], n // block, block, *x.shape[axis + 1 :])
        rest = x[(*before, slice(whole, None))]
        x = add(add(parts, axis=axis + 1), axis=axis, keepdims=True)
        if n > whole:
            x = x + add(rest, axis=axis, keepdims=True)
    return row_major(x if keepdim else x.reshape([m for a, m in enumerate(x.shape) if a not in axes]))


LARGE = 2**11  # elements from which on a compiled loop pays, which is quick and adds in a good order


def add_up(x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
    """The sum of x along axes, by `sum_axes` where that pays; of few elements in NumPy's order, without its overhead."""
    if x.size >= LARGE or x.__class__ is not np.ndarray:
        return sum_axes(x, axes, keepdim)
    # not x.sum, whose warnings (of inf - inf) come from NumPy's own Python code and are not filtered
    out: Array = np.add.reduce(x, axis=axes, keepdims=keepdim)  # type: ignore[call-overload]  # a bool is either
    return out if len(axes) == x.ndim else row_major(out)


@Kernel
def max_axes(x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
    """The largest element along axes; NaN if there is a NaN.

    Example:
        >>> max_axes(np.array([[1.0, 2.0], [3.0, 4.0]]), (1,), False)
        array([2., 4.])
    """
    return row_major(x.max(axis=axes, keepdims=keepdim))


@Kernel
def min_axes(x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
    """The smallest element along axes, as in max_axes."""
    return row_major(x.min(axis=axes, keepdims=keepdim))


# In memory an array is one line of numbers; axes that lie side by side in it are one axis. So whatever is reduced, from
# the innermost axes out it is a reduction of the middle of (A, N, D), several times perhaps: of rows, where D = 1.


def supports_axes(x: Array, axes: tuple[int, ...], keepdim: bool) -> bool:
    if x.dtype != FLOAT32 or not x.size:
        return False
    return bool(x.flags.c_contiguous or x.transpose(memory_order(x)).flags.c_contiguous)


def memory_order(x: Array) -> tuple[int, ...]:
    """The axes of x from the one with the longest strides to the one whose elements lie side by side."""
    if x.flags.c_contiguous:
        return tuple(range(x.ndim))
    return tuple(sorted(range(x.ndim), key=lambda axis: -x.strides[axis]))


def along(middle: Callable[[Array, int, int], Array], x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
    """x, whose elements lie side by side, reduced along axes by middle(elements (A * N * D,), N, D) -> (A * D,)."""
    order, shape = memory_order(x), x.shape
    out = x.transpose(order).reshape(-1)
    if all(shape[axis] == 1 for axis in axes):  # the elements themselves, which the result must not share
        out = out.copy()
    # of the axes seen so far: how many elements of each result lie side by side, and what is within each of these
    terms, inside = 1, 1
    for axis in reversed(order):
        if axis in axes:
            terms *= shape[axis]
        else:
            out = middle(out, terms, inside)
            terms, inside = 1, inside * shape[axis]
    out = middle(out, terms, inside)
    kept = [axis for axis in order if axis not in axes]
    if kept != sorted(kept):
        out = row_major(out.reshape([shape[axis] for axis in kept]).transpose(np.argsort(kept).tolist()))
    return out.reshape([1 if a in axes else n for a, n in enumerate(shape) if keepdim or a not in axes])


# Numba


@sum_axes.variant("numba", device="cpu", supports=supports_axes)
def sum_axes_numba(x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
    return along(sum_middle, x, axes, keepdim)


def sum_middle(x: Array, terms: int, inside: int) -> Array:
    """x (A * terms * inside,), summed over its terms, as (A * inside,)."""
    if terms == 1:
        return x
    out = np.empty(x.size // terms, np.float32)
    if inside == 1:
        sum_rows(x.reshape(-1, terms), out)
    elif terms <= 8 and inside >= 256:  # a few long rows, which NumPy adds one to the other without looking twice
        np.add.reduce(x.reshape(-1, terms, inside), axis=1, out=out.reshape(-1, inside))
    else:
        sum_columns(x.reshape(-1, terms, inside), out.reshape(-1, inside))
    return out


BLOCK = 4096  # elements of a row, or rows, that are added up in float32; their sums are added in float64
ROWS = 256


@jit
def sum_rows(x: Any, out: Any) -> None:
    """Each row of x (A, N)."""
    width = x.shape[1]
    for i in range(x.shape[0]):
        start = i * width
        if width <= BLOCK:
            out[i] = sum_between(x, start, start + width)
        else:
            total = 0.0
            for j in range(start, start + width, BLOCK):
                total += sum_between(x, j, min(j + BLOCK, start + width))
            out[i] = total


@jit(forceinline=True)
def sum_between(x: Any, start: int, stop: int) -> Any:
    """Elements start ... stop - 1, in four registers: a single one would wait for each addition to end."""
    a, b, c, d = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
    rest = stop - (stop - start) % (4 * WIDTH)
    for j in range(start, rest, 4 * WIDTH):
        a += load(x, j)
        b += load(x, j + WIDTH)
        c += load(x, j + 2 * WIDTH)
        d += load(x, j + 3 * WIDTH)
    for j in range(rest, stop, WIDTH):
        a += load(x, j, first(stop - j))
    return sum_lanes((a + b) + (c + d))


@jit
def sum_columns(x: Any, out: Any) -> None:
    """The middle axis of x (A, N, D): rows, four at a time, added to a row of sums in the first-level cache."""
    n, width = x.shape[1:]
    total, part = np.empty(width, np.float64), np.empty(width, np.float32)
    for i in range(x.shape[0]):
        total[:] = 0
        for start in range(0, n, ROWS):
            end = min(start + ROWS, n)
            rest = end - (end - start) % 4
            part[:] = 0
            for j in range(start, rest, 4):
                for k in range(width):
                    part[k] += (x[i, j, k] + x[i, j + 1, k]) + (x[i, j + 2, k] + x[i, j + 3, k])
            for j in range(rest, end):
                for k in range(width):
                    part[k] += x[i, j, k]
            for k in range(width):
                total[k] += part[k]
        for k in range(width):
            out[i, k] = total[k]


# CUDA: see reduce.cu. A row goes to a warp or to a block, a single one to many blocks; columns to blocks of (32, TALL) threads.

CU = Source(
    "reduce.cu",
    Entry("sum_atomic", "sum_axes", registers=16, types=ELEMENTS, rtol=2e-5),  # float32 adds, one after the other
    Entry("sum_tree", "sum_axes", registers=16, shared=1024, types=ELEMENTS),
    *(
        Entry(f"{name}_{version}", f"{name}_axes", registers, shared, types=ELEMENTS)
        for name in ("sum", "max", "min")
        for version, registers, shared in (
            ("all", 64, 128), ("all_finish", 32, 128), ("rows_warp", 64, 0), ("rows_block", 64, 128),
            ("columns", 40, 1024), ("columns_finish", 40, 1024),
        )
    ),
    Entry("sum_rows_warp_wide", "sum_axes", registers=64, types=HALVES),
    Entry("sum_rows_block_wide", "sum_axes", registers=64, shared=128, types=HALVES),
)  # fmt: skip
ALL_BLOCKS, THREADS, WARP_WIDTH, MOST_LAYERS = 1024, 256, 2048, 65535
FEW_ROWS = 256  # up to which one block goes down the columns, so that no second kernel need be launched


def supports_cuda(x: Array, axes: tuple[int, ...], keepdim: bool) -> bool:
    return bool(x.size and axes) and (
        launchable(x, types=ELEMENTS) or launchable(x.transpose(memory_order(x)), types=ELEMENTS)
    )


def supports_all(x: Array, axes: tuple[int, ...], keepdim: bool) -> bool:
    return len(axes) == x.ndim and supports_cuda(x, axes, keepdim)


def reduce(name: str, x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
    """The "sum", "max" or "min" along axes. Sums in several steps are float32 between these."""
    steps = separate(x, axes)

    def middle(part: Array, terms: int, inside: int) -> Array:
        nonlocal steps
        if terms == 1:
            return part
        steps -= 1
        dtype = FLOAT32 if steps and name == "sum" else x.dtype
        return (
            reduce_rows(name, part, terms, dtype) if inside == 1 else reduce_columns(name, part, terms, inside, dtype)
        )

    out = along(middle, x, axes, keepdim)
    return out if out.size < x.size else out.copy()


def separate(x: Array, axes: tuple[int, ...]) -> int:
    """How many groups of axes that lie side by side in memory are reduced."""
    return sum(reduced for reduced, _ in groupby(axis in axes for axis in memory_order(x) if x.shape[axis] > 1))


def reduce_rows(name: str, x: Array, width: int, dtype: np.dtype[Any]) -> Array:
    """Each row of x (N * width,), as (N,) of x's dtype or float32."""
    count = x.size // width
    out = array_module(x).empty(count, dtype)
    wide = "" if dtype == x.dtype else "_wide"
    if count == 1:
        grid = blocks(x.size, 16 * THREADS, ALL_BLOCKS)
        if grid > 1 or x.dtype != FLOAT32:
            return finish(name, f"{name}_all", x, grid)
        CU.launch(f"{name}_all_finish", 1, THREADS, x, out, x.size)  # few enough to be partial results themselves
    elif width <= WARP_WIDTH:
        CU.launch(f"{name}_rows_warp{wide}", blocks(count, THREADS // 32), THREADS, x, out, count, width)
    else:
        CU.launch(f"{name}_rows_block{wide}", count, THREADS, x, out, count, width)
    return out


def finish(name: str, entry: str, x: Array, grid: int) -> Array:
    """All of x by a kernel that leaves a number for each block, as (1,)."""
    xp = array_module(x)
    partial, out = xp.empty(grid, "float32"), xp.empty(1, x.dtype)
    CU.launch(entry, grid, THREADS, x, partial, x.size)
    CU.launch(f"{name}_all_finish", 1, THREADS, partial, out, grid)
    return out


def reduce_columns(name: str, x: Array, terms: int, width: int, dtype: np.dtype[Any]) -> Array:
    """The middle axis of x (layers * terms * width,), as (layers * width,) of a dtype."""
    layers = x.size // (terms * width)
    out = array_module(x).empty(layers * width, dtype)
    for begin in range(0, layers, MOST_LAYERS):
        end = min(begin + MOST_LAYERS, layers)
        part = x[begin * terms * width : end * terms * width]
        launch_columns(name, part, out[begin * width : end * width], terms, width)
    return out


def launch_columns(name: str, x: Array, out: Array, terms: int, width: int) -> None:
    xp, layers = array_module(x), out.size // width
    across = blocks(width, 32)
    chunk = max(FEW_ROWS, blocks(terms, blocks(ALL_BLOCKS, across * layers)))
    chunks, partial = blocks(terms, chunk), x
    if chunks == 1 and x.dtype == FLOAT32:
        chunks = terms  # as above: one launch instead of two
    else:
        partial = xp.empty(layers * chunks * width, "float32")
        CU.launch(f"{name}_columns", (across, chunks, layers), (32, TALL), x, partial, terms, width, chunk)
    CU.launch(f"{name}_columns_finish", (across, 1, layers), (32, TALL), partial, out, chunks, width)


def add_columns(partial: Array, like: Array) -> Array:
    """The sum of each column of float32 partial sums (N, D), as (D,) in the dtype of another array, added in a fixed order: the end
    of kernels that leave some sums for each of their blocks."""
    count, width = partial.shape
    out = array_module(partial).empty(width, like.dtype)
    CU.launch("sum_columns_finish", blocks(width, 32), (32, TALL), partial, out, count, width)
    return out


@sum_axes.variant("cuda", device="cuda", supports=supports_cuda)
def sum_axes_cuda(x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
    return reduce("sum", x, axes, keepdim)


@max_axes.variant("cuda", device="cuda", supports=supports_cuda)
def max_axes_cuda(x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
    return reduce("max", x, axes, keepdim)


@min_axes.variant("cuda", device="cuda", supports=supports_cuda)
def min_axes_cuda(x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
    return reduce("min", x, axes, keepdim)


@sum_axes.variant("cuda_atomic", device="cuda", supports=supports_all)
def sum_atomic(x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
    determinism.refuse("sum_axes's variant cuda_atomic")
    out = array_module(x).zeros((1,) * x.ndim if keepdim else (), "float32")
    CU.launch("sum_atomic", blocks(x.size, THREADS), THREADS, in_memory_order(x), out, x.size)
    return out.astype(x.dtype)


@sum_axes.variant("cuda_tree", device="cuda", supports=supports_all)
def sum_tree(x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
    out = finish("sum", "sum_tree", in_memory_order(x), blocks(x.size, THREADS))
    return out.reshape((1,) * x.ndim if keepdim else ())
