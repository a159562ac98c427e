"""Maxima of windows by tables, channels-last: what each window sees, dimension by dimension, and lanes that are channels.

A window is a box: along each dimension a few positions, whatever the stride, padding and dilation are, or however the windows
share the input. `Line` lists those positions for every window. Read the other way round it lists for every position the windows
that see it, and its gradient is the sum of those of the windows that chose it.

Sizes have three spatial dimensions, the first ones being 1 for images and sequences.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .common import Array
from .convolution_tables import Sizes, three
from .jit import jit
from .layout import (
    channels_last_memory,
    channels_last_numbers,
    empty_channels_last,
    load_some,
    store_some,
)
from .parallel import MEMORY, share
from .simd import WIDTH, first, select, splat


class Line(NamedTuple):
    """Who sees whom along one dimension: entry i's are seen[begin[i]], ..., seen[begin[i + 1] - 1]."""

    begin: Array
    seen: Array


def line(owner: Array, seen: Array, count: int) -> Line:
    """The lists of `count` owners, from pairs that are sorted by owner."""
    return Line(np.searchsorted(owner, np.arange(count + 1)), np.ascontiguousarray(seen))


def both_ways(size: int, starts: Array, lengths: Array, dilation: int) -> tuple[Line, Line]:
    """The positions of each window, of which those outside of 0 ... size - 1 do not count, and the windows of each position."""
    taps = np.arange(lengths.max())
    place = starts[:, None] + dilation * taps
    window, tap = np.nonzero((place >= 0) & (place < size) & (taps < lengths[:, None]))
    position = place[window, tap]
    order = np.argsort(position, kind="stable")
    return line(window, position, len(starts)), line(position[order], window[order], size)


class Table(NamedTuple):
    """Lines for all dimensions, one after another, and memory that takes the longest list of positions they make."""

    lines: tuple[Array, ...]
    most: int


def table(lines: Iterable[Line]) -> Table:
    lines = tuple(lines)
    most = prod(int(np.diff(line.begin).max(initial=0)) for line in lines)
    return Table(tuple(array for line in lines for array in line), most)


@lru_cache(256)
def fixed(
    size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, positions: Sizes
) -> tuple[Table, Table]:
    """`positions` windows of one size, `stride` apart: what they see, and what sees them."""
    ones = [three(values, 1) for values in (size, kernel, stride, dilation, positions)]
    each = zip(*ones, three(padding, 0), strict=True)
    pairs = [both_ways(n, np.arange(m) * s - p, np.full(m, k), d) for n, k, s, d, m, p in each]
    return table(seen for seen, _ in pairs), table(seen_by for _, seen_by in pairs)


@lru_cache(256)
def adaptive(size: Sizes, positions: Sizes) -> tuple[Table, Table]:
    """As many windows as there are positions, which cover the input evenly: what they see, and what sees them."""
    pairs = []
    for n, m in zip(three(size, 1), three(positions, 1), strict=True):
        starts, ends = np.arange(m) * n // m, -(-np.arange(1, m + 1) * n // m)
        pairs.append(both_ways(n, starts, ends - starts, 1))
    return table(seen for seen, _ in pairs), table(seen_by for _, seen_by in pairs)


def largest(x: Array, seen: Table, positions: Sizes) -> tuple[Array, Array]:
    """The largest value of each window of x (B, C, *S), and where it is, counted over S: int32."""
    batch, channels = x.shape[:2]
    size, count = three(x.shape[2:], 1), three(positions, 1)
    out = empty_channels_last((batch, channels, *positions))
    index = empty_channels_last(out.shape, np.int32)
    numbers, targets = channels_last_numbers(x), (channels_last_memory(out), channels_last_memory(index))

    def run(begin: int, end: int) -> None:
        places = np.empty(seen.most, np.int64)
        find_largest(begin, end, numbers, size, count, channels, *seen.lines, places, *targets)

    share(batch * count[0] * count[1], run, MEMORY * (x.size + 2 * out.size))
    return out, index


@jit
def seen_from(
    b: int, z: int, y: int, x: int, size: Any, z_begin: Any, z_seen: Any, y_begin: Any, y_seen: Any, x_begin: Any, x_seen: Any,
    places: Any,
) -> int:  # fmt: skip
    """How many positions of the box (size) of image b are seen from (z, y, x); which ones comes to `places`."""
    n = 0
    for p in range(z_begin[z], z_begin[z + 1]):
        for q in range(y_begin[y], y_begin[y + 1]):
            row = ((b * size[0] + z_seen[p]) * size[1] + y_seen[q]) * size[2]
            for r in range(x_begin[x], x_begin[x + 1]):
                places[n] = row + x_seen[r]
                n += 1
    return n


@jit(nogil=True)
def find_largest(
    begin: int, end: int, x: Any, size: Any, count: Any, channels: int, z_begin: Any, z_seen: Any, y_begin: Any, y_seen: Any,
    x_begin: Any, x_seen: Any, places: Any, out: Any, index: Any,
) -> None:  # fmt: skip
    """Rows of the output: the position (b, z, y) of each as one number."""
    whole = channels // WIDTH * WIDTH
    for line in range(begin, end):
        b, z, y = line // (count[0] * count[1]), line // count[1] % count[0], line % count[1]
        image = b * size[0] * size[1] * size[2]
        for i in range(count[2]):
            n = seen_from(b, z, y, i, size, z_begin, z_seen, y_begin, y_seen, x_begin, x_seen, places)
            to = (line * count[2] + i) * channels
            for c in range(0, whole, WIDTH):
                largest_of(x, channels, c, places, n, image, None, out, index, to)
            if whole < channels:
                largest_of(x, channels, whole, places, n, image, first(channels - whole), out, index, to)


@jit(forceinline=True)
def largest_of(
    x: Any, channels: int, c: int, places: Any, n: int, image: int, some: Any, out: Any, index: Any, to: int
) -> None:
    """One register of channels of one window."""
    most, where = splat(np.float32(-np.inf)), splat(places[0] - image)  # which holds if all are -inf
    for k in range(n):
        value = load_some(x, places[k] * channels + c, some)
        better = (value > most) | (value != value)  # NaN counts as larger than all
        most, where = select(better, value, most), select(better, splat(places[k] - image), where)
    store_some(out, to + c, most, some)
    store_some(index, to + c, where, some)


def chosen(g: Array, index: Array, seen_by: Table, size: Sizes) -> Array:
    """The gradient (B, C, *size) of largest: to each position go the gradients of the windows that chose it."""
    batch, channels = g.shape[:2]
    out, wide, count = empty_channels_last((batch, channels, *size)), three(size, 1), three(g.shape[2:], 1)
    numbers, choices, target = channels_last_numbers(g), channels_last_numbers(index), channels_last_memory(out)

    def run(begin: int, end: int) -> None:
        places = np.empty(seen_by.most, np.int64)
        add_chosen(begin, end, numbers, choices, count, wide, channels, *seen_by.lines, places, target)

    share(batch * wide[0] * wide[1], run, MEMORY * (out.size + 2 * g.size))
    return out


@jit(nogil=True)
def add_chosen(
    begin: int, end: int, g: Any, index: Any, count: Any, size: Any, channels: int, z_begin: Any, z_seen: Any, y_begin: Any,
    y_seen: Any, x_begin: Any, x_seen: Any, places: Any, out: Any,
) -> None:  # fmt: skip
    """Rows of the result: the position (b, z, y) of each as one number."""
    whole = channels // WIDTH * WIDTH
    for line in range(begin, end):
        b, z, y = line // (size[0] * size[1]), line // size[1] % size[0], line % size[1]
        for i in range(size[2]):
            n = seen_from(b, z, y, i, count, z_begin, z_seen, y_begin, y_seen, x_begin, x_seen, places)
            here, to = (z * size[1] + y) * size[2] + i, (line * size[2] + i) * channels
            for c in range(0, whole, WIDTH):
                chosen_by(g, index, channels, c, places, n, here, None, out, to)
            if whole < channels:
                chosen_by(g, index, channels, whole, places, n, here, first(channels - whole), out, to)


@jit(forceinline=True)
def chosen_by(
    g: Any, index: Any, channels: int, c: int, places: Any, n: int, here: int, some: Any, out: Any, to: int
) -> None:
    """One register of channels of one position."""
    total, mine = splat(0.0), splat(here)
    for k in range(n):
        source = places[k] * channels + c
        total += select(load_some(index, source, some) == mine, load_some(g, source, some), 0.0)
    store_some(out, to + c, total, some)
