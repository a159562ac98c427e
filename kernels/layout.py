"""The order in which the numbers of an image lie in memory.

An array (B, C, H, W) in row-major order has the values of one channel side by side. In "channels-last" order, the strides
of (B, H, W, C), the channels of one pixel are side by side. Convolution, pooling and batch normalization do the same to all
channels of a pixel, so in this order each of their steps takes as many neighbouring numbers as a register has lanes, and
nothing depends on how wide the image is. Their results are arrays (B, C, H, W) whose strides are those of (B, H, W, C); NumPy
keeps the strides through element-wise functions.

Shapes never change. Where someone asks for the memory itself, as `view` does, the array is brought into row-major order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import Kernel, array_module
from .common import FLOAT32, Array, in_memory_order
from .jit import jit
from .simd import WIDTH, first, load, splat, store
from .tile import entries, load_tile, store_tile, tile, transposed

Sizes = tuple[int, ...]


CHANNELS_LAST = {n: (0, *range(2, n), 1) for n in range(2, 6)}  # the order of axes


def is_channels_last(x: Array) -> bool:
    """Whether x (B, C, *S) lies in memory as (B, *S, C) without gaps; False where that is row-major order too."""
    if not 3 <= x.ndim <= 5 or x.strides[1] != x.itemsize or x.flags.c_contiguous:
        return False
    return bool(x.transpose(CHANNELS_LAST[x.ndim]).flags.c_contiguous)


# `empty_like` copies the order of the strides; there is no other way to a new array that owns its memory in this order.
PATTERNS = {n: np.moveaxis(np.empty((2,) * n, np.float32), -1, 1) for n in (3, 4, 5)}


def empty_channels_last(shape: Sizes, dtype: Any = np.float32) -> Array:
    """A new array of a shape (B, C, *S) that lies in memory as (B, *S, C)."""
    return np.empty_like(PATTERNS[len(shape)], dtype, shape=shape)


def channels_last_memory(x: Array) -> Array:
    """The memory of an array that is_channels_last, or where the two orders are one, as one axis."""
    return x.transpose(CHANNELS_LAST[x.ndim]).reshape(-1)


def memory(x: Array) -> tuple[Array, bool]:
    """The numbers of x (B, C, *S) on one axis, and whether channels-last (else row-major); a copy if x is in neither order."""
    if x.flags.c_contiguous:
        return x.reshape(-1), x.shape[1] in (1, x.size // x.shape[0])
    return channels_last_memory(x if is_channels_last(x) else channels_last_copy(x)), True


def channels_last_copy(x: Array) -> Array:
    copy = empty_channels_last(x.shape, x.dtype)
    copy[...] = x
    return copy


def channels_last_numbers(x: Array) -> Array:
    """The numbers of x (B, C, *S) on one axis, channels-last; a copy if x is in another order."""
    numbers, last = memory(x)
    if last:
        return numbers
    if x.dtype != FLOAT32:
        return channels_last_memory(channels_last_copy(x))
    out = np.empty(x.size, np.float32)
    exchange_axes(numbers, out, x.shape[0], x.shape[1], x.size // (x.shape[0] * x.shape[1]))
    return out


def numbers_like(x: Array, like: Array) -> Array:
    """The numbers of a float32 x on one axis, in the order in which those of `like`, of its shape, lie without gaps."""
    if x.strides != like.strides:
        if is_channels_last(like):
            return channels_last_numbers(x)
        copy = np.empty_like(like)
        copy[...] = row_major(x)
        x = copy
    return in_memory_order(x)


@Kernel
def row_major(x: Array) -> Array:
    """x in row-major order: itself, or a copy.

    Example:
        >>> row_major(np.zeros((4, 2)).T).strides
        (32, 8)
    """
    return array_module(x).ascontiguousarray(x)


def supports_row_major(x: Array) -> bool:
    return x.dtype == FLOAT32 and is_channels_last(x)


@row_major.variant("numba", device="cpu", supports=supports_row_major)
def row_major_numba(x: Array) -> Array:
    out = np.empty(x.shape, np.float32)
    exchange_axes(channels_last_memory(x), out.reshape(-1), x.shape[0], x.size // (x.shape[0] * x.shape[1]), x.shape[1])
    return out


@jit
def exchange_axes(x: Any, out: Any, batch: int, n: int, m: int) -> None:
    """x (B, N, M) to out (B, M, N)."""
    for b in range(batch):
        transpose(x, b * n * m, m, out, b * n * m, n, n, m)


# Numba: moving numbers. Positions are flat; n and m count numbers.


@jit(forceinline=True)
def load_some(x: Any, i: int, some: Any) -> Any:
    """load, with a mask or, if `some` is None, without: a kernel compiled for None has no masks in it."""
    if some is None:
        return load(x, i)
    return load(x, i, some)


@jit(forceinline=True)
def store_some(x: Any, i: int, value: Any, some: Any) -> None:
    if some is None:
        store(x, i, value)
    else:
        store(x, i, value, some)


@jit
def copy(x: Any, i: int, out: Any, j: int, n: int) -> None:
    whole = n // WIDTH * WIDTH
    for k in range(0, whole, WIDTH):
        store(out, j + k, load(x, i + k))
    if whole < n:
        rest = first(n - whole)
        store(out, j + whole, load(x, i + whole, rest), rest)


@jit
def clear(out: Any, j: int, n: int) -> None:
    whole, zeros = n // WIDTH * WIDTH, splat(0.0)
    for k in range(0, whole, WIDTH):
        store(out, j + k, zeros)
    if whole < n:
        store(out, j + whole, zeros, first(n - whole))


@jit
def transpose(x: Any, i: int, x_step: int, out: Any, j: int, out_step: int, n: int, m: int) -> None:
    """Rows of x, n of m numbers and x_step apart, become the columns of out, whose rows are out_step apart."""
    if n >= WIDTH and m >= WIDTH:
        for r in range(0, n, WIDTH):
            r = min(r, n - WIDTH)  # the last block begins earlier, and writes some numbers a second time
            for c in range(0, m, WIDTH):
                c = min(c, m - WIDTH)
                block = load_tile(tile(WIDTH, 1), x, i + r * x_step + c, x_step)
                store_tile(out, j + c * out_step + r, out_step, transposed(block), WIDTH)
    elif n < WIDTH and m >= 2 * WIDTH:
        transpose_few(x, i, x_step, out, j, out_step, n, m)
    elif m < WIDTH and n >= 2 * WIDTH and i >= WIDTH - m:
        transpose_short(x, i, x_step, out, j, out_step, n, m)
    elif m < WIDTH and n >= 4 * WIDTH:
        transpose_one_by_one(x, i, x_step, out, j, out_step, WIDTH, m)  # before which nothing can be read
        transpose_short(x, i + WIDTH * x_step, x_step, out, j + WIDTH, out_step, n - WIDTH, m)
    else:
        transpose_one_by_one(x, i, x_step, out, j, out_step, n, m)


@jit
def transpose_one_by_one(x: Any, i: int, x_step: int, out: Any, j: int, out_step: int, n: int, m: int) -> None:
    for r in range(n):
        # without a sign: Numba lets negative indices count from the end, which takes a test for each
        source, target = np.uintp(i + r * x_step), np.uintp(j + r)
        for _ in range(m):
            out[target] = x[source]
            source += np.uintp(1)
            target += np.uintp(out_step)


@jit
def transpose_few(x: Any, i: int, x_step: int, out: Any, j: int, out_step: int, n: int, m: int) -> None:
    """transpose of fewer rows than a block has: the last one stands for those that are missing, and is not written then."""
    table = np.empty(WIDTH, np.int64)
    for r in range(WIDTH):
        table[r] = min(r, n - 1) * x_step
    starts = entries(table, 0, WIDTH)
    for c in range(0, m, WIDTH):
        c = min(c, m - WIDTH)
        block = load_tile(tile(WIDTH, 1), x, i + c, starts)
        store_tile(out, j + c * out_step, out_step, transposed(block), n)


@jit
def transpose_short(x: Any, i: int, x_step: int, out: Any, j: int, out_step: int, n: int, m: int) -> None:
    """transpose of rows that are shorter than a register: what is before them in x is loaded too, and written over."""
    before = WIDTH - m
    table = np.empty(WIDTH, np.int64)
    for r in range(WIDTH):
        table[r] = max(r - before, 0) * out_step
    targets = entries(table, 0, WIDTH)
    for r in range(0, n, WIDTH):
        r = min(r, n - WIDTH)
        block = load_tile(tile(WIDTH, 1), x, i + r * x_step - before, x_step)
        store_tile(out, j + r, targets, transposed(block), WIDTH)


@jit
def cut_out(
    x: Any, start: int, last: bool, size: tuple[int, int, int], channels: int,
    corner: tuple[int, int, int], extent: tuple[int, int, int], out: Any, j: int, step: int,
) -> None:  # fmt: skip
    """Copy a box of an image, with zeros for what is outside of the image, to channels-last order.

    The image, (*size, C) if `last` else (C, *size), begins at x[start]. The box begins at `corner`, whose entries may be
    negative, and has `extent` pixels; its pixels in `out` are `step` numbers apart.
    """
    depth, height, breadth = size
    left = min(max(-corner[2], 0), extent[2])  # pixels of a row before the image, in it, behind it
    inside = max(min(breadth - max(corner[2], 0), extent[2] - left), 0)
    right = extent[2] - left - inside
    for dz in range(extent[0]):
        for dy in range(extent[1]):
            z, y = corner[0] + dz, corner[1] + dy
            if z < 0 or z >= depth or y < 0 or y >= height:
                clear(out, j, extent[2] * step)
            else:
                clear(out, j, left * step)
                clear(out, j + (left + inside) * step, right * step)
                row = (z * height + y) * breadth + max(corner[2], 0)
                to = j + left * step
                if not last:
                    transpose(x, start + row, depth * height * breadth, out, to, step, channels, inside)
                elif step == channels:
                    copy(x, start + row * channels, out, to, inside * step)
                else:
                    for i in range(inside):
                        copy(x, start + (row + i) * channels, out, to + i * step, channels)
            j += extent[2] * step
