"""What follows from the sizes of a convolution alone: which work there is, and the two tables of convolution_direct.py.

The positions of what is written fall into *phases*, one for a convolution, stride x stride for the gradient of its input; those of
a phase see the same taps. The work is cut into *units* of some hundred positions, which threads share. Plain Python and NumPy, once
for each combination of sizes.
"""

from __future__ import annotations

from functools import lru_cache, reduce
from math import gcd, prod
from typing import Any, NamedTuple

import numpy as np

from .common import Array
from .simd import width

Sizes = tuple[int, ...]
# of the output in a unit of work: at least, unless threads then had none, and, of one image, at most
POSITIONS, MOST = 256, 4096
# numbers that a unit copies, at most, if the positions allow: 128 KB, which the second-level cache holds
PIECE = 32 * 1024


class Axis(NamedTuple):
    """How positions of what is read and of what is written go together along one dimension."""

    size: int  # of what is read
    positions: int  # of what is written
    read_step: int  # from one position of a phase to the next, in what is read
    write_step: int  # the same in what is written; so it is the number of phases
    taps: tuple[Sizes, ...]  # of each phase
    offsets: tuple[Sizes, ...]  # where they are, counted from the position in what is read
    low: int  # the smallest and the largest offset
    high: int

    def reach(self, count: int) -> int:
        """How many positions are read for `count` that are written."""
        return (-(-count // self.write_step) - 1) * self.read_step + self.high - self.low + 1


def axis(size: int, count: int, kernel: int, stride: int, padding: int, dilation: int, back: bool) -> Axis:
    """back: from the gradient of the output to that of the input."""
    if back:
        ahead = [[(f + padding - dilation * k, k) for k in range(kernel)] for f in range(stride)]
        seen = [[(k, n // stride) for n, k in phase if n % stride == 0] for phase in ahead]
    else:
        seen = [[(k, dilation * k - padding) for k in range(kernel)]]
    taps, offsets = (tuple(tuple(pair[i] for pair in phase) for phase in seen) for i in (0, 1))
    everywhere = sum(offsets, ())
    return Axis(size, count, *((1, stride) if back else (stride, 1)), taps, offsets, min(everywhere), max(everywhere))


class Work(NamedTuple):
    """A convolution cut into units: `many` whole images each, or `band` rows of the output of one image."""

    axes: tuple[Axis, ...]
    many: int
    band: int
    bands: int  # units of an image
    units: int
    extent: Sizes  # the box of positions that a unit reads of each image
    in_place: bool  # whether it reads them where they are: channels-last, and no window reaches over the border
    pitch: Sizes  # in what is read, from one image, and along each dimension, to the next position


def divided(axes: tuple[Axis, ...], batch: int, channels: int, last: bool, threads: int) -> Work:
    """The work for so many threads, each of which is to get about as many positions, be they less than POSITIONS."""
    z, y, x = axes
    row, count = x.reach(x.positions) * channels, z.positions * y.positions * x.positions
    many, band = min(-(-batch // threads), -(-POSITIONS // count)), y.positions
    if many == 1 and z.positions == 1:
        fitting = (PIECE // row - (y.high - y.low)) // y.read_step * y.write_step
        wanted = max(min(fitting, MOST // x.positions), -(-POSITIONS // x.positions))
        even = threads // gcd(batch, threads)  # a multiple of so many bands is as many units for each thread
        bands = -(-y.positions // (wanted * even)) * even
        band = min(band, -(-y.positions // (bands * y.write_step)) * y.write_step)
    bands = -(-y.positions // band)
    extent = tuple(a.reach(n) for a, n in zip(axes, (z.positions, band, x.positions), strict=True))
    in_place = last and all(a.low >= 0 and a.low + a.reach(a.positions) <= a.size for a in axes)
    box = tuple(a.size for a in axes) if in_place else extent
    pitch = tuple(channels * prod(box[i:]) for i in range(4))
    return Work(axes, many, band, bands, -(-batch // many) * bands, extent, in_place, pitch)


class Tables(NamedTuple):
    """Where a unit reads and writes, phase after phase; positions are counted from its corner."""

    windows: Array
    targets: Array
    steps: Array
    taps: Array  # of the weight, in the order of the steps, without the channels
    phases: (
        Array  # each a row: first and last of its taps; its first window, windows in one row of an image; its first row
    )


def tables(work: Work, inside: int, step: int, kernel: Sizes) -> Tables:
    """step: from one pixel to the next in the output."""
    axes, found, t, w = work.axes, [], 0, 0
    count = (axes[0].positions, work.band, axes[2].positions)
    corner = [0 if work.in_place else a.low for a in axes]
    images = np.arange(work.many)
    for phase in np.ndindex(*(a.write_step for a in axes)):
        written = [np.arange(f, n, a.write_step) for f, n, a in zip(phase, count, axes, strict=True)]
        read = [n // a.write_step * a.read_step for n, a in zip(written, axes, strict=True)]
        offsets = [np.array(a.offsets[f], int) - n for a, f, n in zip(axes, phase, corner, strict=True)]
        taps = [np.array(a.taps[f], int) for a, f in zip(axes, phase, strict=True)]
        windows = sums(work.pitch, images, *read)
        targets = sums([step * prod(a.positions for a in axes[i:]) for i in range(4)], images, *written)
        places = sums(work.pitch[1:], *offsets)
        steps = (np.arange(inside)[:, None] + places).reshape(-1)
        numbers = sums([prod(kernel[i:]) for i in (1, 2, 3)], *taps)
        found.append(
            (windows, targets, steps, numbers, (t, t + numbers.size, w, len(written[0]) * len(written[2]), phase[1]))
        )
        t, w = t + numbers.size, w + windows.size
    all_windows, all_targets, all_steps, all_numbers, phases = zip(*found, strict=True)
    joined = (np.concatenate(parts) for parts in (all_windows, all_targets, all_steps, all_numbers))
    return Tables(*joined, np.array(phases))  # type: ignore[call-arg]  # four


def sums(factors: Any, *numbers: Array) -> Array:
    """factors[0] * a + factors[1] * b + ... for each a, b, ... of the numbers, the last one changing fastest."""
    return reduce(np.add.outer, [f * n for f, n in zip(factors, numbers, strict=True)]).reshape(-1)


def three(values: Sizes, rest: int) -> Sizes:
    """Values for three dimensions, the first ones being `rest`."""
    return (rest,) * (3 - len(values)) + tuple(values)


class Plan(NamedTuple):
    """All that follows from the sizes of a convolution."""

    work: Work
    table: Tables
    size: Sizes  # of what is read and of what is written, in three dimensions
    positions: Sizes
    low: Sizes
    lanewise: bool
    inside: int
    outside: int
    groups: int


@lru_cache(256)  # networks repeat their sizes; the tables of a plan are some 100 KB at most
def plan(
    read: Sizes, written: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int, back: bool,
    last: bool, threads: int,
) -> Plan:  # fmt: skip
    """For arrays of the shapes `read` and `written`; last: what is read is channels-last. One channel a group on both sides
    is one group of channels that are lanes."""
    lanewise = read[1] == written[1] == groups > 1
    inside, outside, groups = (1, groups, 1) if lanewise else (read[1] // groups, written[1] // groups, groups)
    size, count, kernel = three(read[2:], 1), three(written[2:], 1), three(kernel, 1)
    geometry = (three(stride, 1), three(padding, 0), three(dilation, 1))
    axes = tuple(map(axis, size, count, kernel, *geometry, (back,) * 3))
    # lanes are loaded as whole registers, which must not reach beyond the array
    work = divided(axes, read[0], read[1], last and not (lanewise and read[1] % width()), threads)
    table = tables(work, inside, written[1], kernel)
    return Plan(work, table, size, count, tuple(a.low for a in axes), lanewise, inside, outside, groups)
