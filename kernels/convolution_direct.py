"""Convolution as a matrix product whose left matrix is not stored.

Row p of the matrix is the window that output position p sees: number i of it, what one tap of the weight sees of one channel,
is x[where the window begins + where the tap is]. The first summand depends on p alone, the second on i alone. So the matrix
is given by x and two short tables,

    matrix[p, i] = x[windows[p] + steps[i]]             out[p, o] = sum over i of matrix[p, i] * weight[i, o]

and whatever stride, dilation and kernel size do is in the tables (convolution_tables.py). Tiles (tile.py) take eight positions p, in whatever rows of
the image they are, times the weights of two registers of output channels o. The windows are not copied, as im2col does; only
where they reach over the border, or x is not channels-last, a few rows of the image at a time are copied to a small array with
zeros around them, which stays in the cache.

The gradient of x is the same product with other tables. Position m of dx gets from tap k what is at position
(m + padding - dilation * k) / stride of g, if that is a whole number. For all m with one remainder modulo the stride those
are the same taps, and neighbours among these m see neighbours in g. So the positions of dx fall into stride x stride *phases*,
each of them a convolution of g with some of the taps.

The gradient of the weight is a product with the transpose of the matrix: dweight[i, o] = sum over p of
matrix[p, i] * g[p, o]. A tile has eight entries i of the other table for its rows, and adds up over p.

With one channel a group ("depthwise") there is no sum over channels. There the lanes are channels on both sides:
out[p, c] = sum over k of x[windows[p] + steps[k] + c] * weight[k, c].

Sizes have three spatial dimensions: the first is 1 for images, the first two for sequences. `inside` and `outside` are the
channels per group of what is read and of what is written.

Source: Dukhan, "The Indirect Convolution Algorithm", 2019 (a table of windows).
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .common import Array
from .convolution_tables import Sizes, Tables, Work, plan
from .jit import jit
from .layout import channels_last_memory, cut_out, empty_channels_last, memory, transpose
from .parallel import how_many, share
from .simd import WIDTH, width
from .tile import ROWS, add_lanewise, add_products, add_row, entries, load_tile, rows, store_tile, tile

BLOCK = 128  # positions that a tile of the weight gradient adds up: these parts of x and g are in the first-level cache
NOTHING = np.zeros(0, np.float32)


# ---------------------------------------------------------------------------------------------------------------------
# Convolution, and the gradient of its input


def convolve(
    x: Array, weight: Array, bias: Array | None, shape: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int,
    back: bool,
) -> Array:  # fmt: skip
    """conv_forward of x or, with `back`, conv_backward_input of the gradient x; the result has the shape `shape`."""
    numbers, last = memory(x)
    cost = (x.size if back else prod(shape)) * prod(weight.shape[1:])
    threads = how_many(image_rows(shape), cost)
    work, table, size, count, low, lanewise, inside, outside, groups = plan(
        x.shape, shape, weight.shape[2:], stride, padding, dilation, groups, back, last, threads
    )
    start = np.zeros(shape[1] + 2 * width(), np.float32)
    if bias is not None:
        start[: shape[1]] = bias
    out = empty_channels_last(shape)
    target, y, weight = channels_last_memory(out), work.axes[1], np.ascontiguousarray(weight)

    def run(first: int, end: int) -> None:
        # each thread for itself: what another core has just written takes longer to fetch than to make
        packed = packed_weight(weight, inside, outside, groups, back, table, width() * (1 if lanewise else 2))
        convolve_units(
            first, end, work.bands, work.many, work.band, x.shape[0], numbers, last, size, x.shape[1], low, work.extent,
            work.pitch, y.read_step, y.write_step, piece_for(work), table.windows, table.targets, table.steps, table.phases,
            packed, start, target, count, inside, outside, groups, lanewise,
        )  # fmt: skip

    share(work.units, run, cost)
    return out


def image_rows(shape: Sizes) -> int:
    """How many rows the images of an array (B, C, *S) have: more threads than that have nothing to share."""
    return shape[0] * prod(shape[2:-1])


def piece_for(work: Work) -> Array:
    """Memory for what a unit copies; a register that is loaded at its end may reach beyond it."""
    return np.empty(0 if work.in_place else work.many * work.pitch[0] + width(), np.float32)


def packed_weight(weight: Array, inside: int, outside: int, groups: int, back: bool, table: Tables, wide: int) -> Array:
    """The weights in the order in which they are used: group, phase, `wide` output channels; input channel, tap, lane."""
    packed = np.zeros(groups * -(-outside // wide) * table.steps.size * wide, np.float32)
    taps = prod(weight.shape[2:])
    steps = (taps, outside * taps) if back else (inside * taps, taps)
    pack(
        weight.reshape(-1),
        *steps,
        inside,
        outside,
        groups,
        table.taps,
        table.phases,
        packed,
        wide,
    )
    return packed


@jit(nogil=True)
def pack(
    weight: Any,
    o_step: int,
    i_step: int,
    inside: int,
    outside: int,
    groups: int,
    taps: Any,
    phases: Any,
    packed: Any,
    wide: int,
) -> None:
    """o_step, i_step: from one channel outside, and inside, to the next in the weight."""
    kernel = weight.size // (groups * inside * outside)
    for g in range(groups):
        for f in range(phases.shape[0]):
            some = taps[phases[f, 0] : phases[f, 1]]
            for o in range(0, outside, wide):
                begin, n = g * outside * inside * kernel + o * o_step, min(wide, outside - o)
                panel = place_in(packed, g, groups, phases[f, 0], taps.size) + o * inside * some.size
                if some.size == kernel:  # numbers side by side: of a channel inside, or of all of them
                    side = inside * kernel if i_step == kernel else kernel
                    for k in range(0, inside * kernel, side):
                        source = begin + k // kernel * i_step
                        transpose(weight, source, o_step, packed, panel + k * wide, wide, n, side)
                    continue
                for k in range(inside * some.size):
                    number = np.uintp(begin + k // some.size * i_step + some[k % some.size])
                    for target in range(panel + k * wide, panel + k * wide + n):
                        packed[np.uintp(target)] = weight[number]
                        number += np.uintp(o_step)


@jit(forceinline=True)
def place_in(packed: Any, group: int, groups: int, tap: int, taps: int) -> int:
    """Where the weights of a phase begin, whose first tap is the given one."""
    size = packed.size // groups
    return group * size + size // taps * tap


@jit(nogil=True)
def convolve_units(
    first: int, end: int, bands: int, many: int, band: int, batch: int, x: Any, last: bool, size: Any, channels: int, low: Any,
    extent: Any, pitch: Any, read_step: int, write_step: int, piece: Any, windows: Any, targets: Any, steps: Any, phases: Any,
    packed: Any, start: Any, out: Any, count: Any, inside: int, outside: int, groups: int, lanewise: bool,
) -> None:  # fmt: skip
    """Units first ... end - 1 of a convolution."""
    image = size[0] * size[1] * size[2] * channels
    for unit in range(first, end):
        b, top = unit // bands * many, unit % bands * band
        n, lines = min(many, batch - b), min(band, count[1] - top)
        y = top // write_step * read_step
        source, base = x, b * image + y * pitch[2]
        if piece.size > 0:
            source, base = piece, 0
            for m in range(n):
                corner = (low[0], y + low[1], low[2])
                cut_out(x, (b + m) * image, last, size, channels, corner, extent, piece, m * pitch[0], channels)
        to = (b * count[0] * count[1] + top) * count[2] * groups * outside
        for f in range(phases.shape[0]):
            some = steps[phases[f, 0] * inside : phases[f, 1] * inside]
            w, here = phases[f, 2], n * phases[f, 3] * ((lines - phases[f, 4] + write_step - 1) // write_step)
            near, there = at_least_a_tile(windows[w : w + here]), at_least_a_tile(targets[w : w + here])
            for g in range(groups):
                q = place_in(packed, g, groups, phases[f, 0], steps.size // inside)
                if lanewise:
                    lane_panels(source, base, near, some, packed, q, start, out, to, there, outside)
                else:
                    o = g * outside
                    panels(source, base + g * inside, near, some, packed, q, start, o, out, to + o, there, outside)


@jit
def at_least_a_tile(table: Any) -> Any:
    """The table with its last entry repeated until they are enough for a tile: what it stands for is done several times."""
    if table.size >= ROWS or table.size == 0:
        return table
    longer = np.empty(ROWS, np.int64)
    for r in range(ROWS):
        longer[r] = table[min(r, table.size - 1)]
    return longer


@jit
def panels(
    x: Any, base: int, windows: Any, steps: Any, w: Any, q: int, start: Any, o: int, out: Any, to: int, targets: Any,
    outside: int,
) -> None:  # fmt: skip
    """All output channels of some positions, two registers at a time."""
    for c in range(0, outside, 2 * WIDTH):
        left, here = outside - c, q + c * steps.size
        if left > WIDTH:
            products(
                tile(ROWS, 2), x, base, windows, steps, w, here, 2 * WIDTH, start, o + c, out, to + c, targets, left
            )
        else:
            products(
                tile(ROWS, 1), x, base, windows, steps, w, here, 2 * WIDTH, start, o + c, out, to + c, targets, left
            )


@jit
def products(
    zeros: Any, x: Any, base: int, windows: Any, steps: Any, w: Any, q: int, apart: int, start: Any, o: int, out: Any, to: int,
    targets: Any, lanes: int,
) -> None:  # fmt: skip
    """out[to + targets[p] + j] = start[o + j] + sum over i of x[base + windows[p] + steps[i]] * w[q + apart * i + j]."""
    for p in range(0, windows.size, ROWS):
        p = min(p, windows.size - ROWS)  # the last tile begins earlier, and does some positions a second time
        near, position = entries(windows, p, ROWS), q
        t = add_row(zeros, start, o)
        for i in range(steps.size):
            t = add_products(t, x, base + steps[i], near, w, position)
            position += apart
        store_tile(out, to, entries(targets, p, ROWS), t, lanes)


@jit
def lane_panels(
    x: Any,
    base: int,
    windows: Any,
    steps: Any,
    w: Any,
    q: int,
    start: Any,
    out: Any,
    to: int,
    targets: Any,
    channels: int,
) -> None:
    """The same where a channel is made of itself alone: a register of channels at a time."""
    for c in range(0, channels, WIDTH):
        for p in range(0, windows.size, ROWS):
            p = min(p, windows.size - ROWS)
            near = entries(windows, p, ROWS)
            t = add_row(tile(ROWS, 1), start, c)
            for i in range(steps.size):
                t = add_lanewise(t, x, base + c + steps[i], near, w, q + c * steps.size + i * WIDTH)
            store_tile(out, to + c, entries(targets, p, ROWS), t, channels - c)


# ---------------------------------------------------------------------------------------------------------------------
# The gradient of the weight


def weight_gradient(
    g: Array, x: Array, shape: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> tuple[Array, Array]:
    """conv_backward_weight: the gradients of the weight, of the shape `shape`, and of the bias."""
    numbers, last = memory(x)
    slopes, slopes_last = memory(g)
    cost = g.size * prod(shape[1:])
    threads = how_many(image_rows(g.shape), cost)
    work, table, size, count, low, lanewise, inside, outside, groups = plan(
        x.shape, g.shape, shape[2:], stride, padding, dilation, groups, False, last, threads
    )
    steps = np.concatenate([table.steps, np.repeat(table.steps[-1:], -table.steps.size % rows())])  # for whole tiles
    wide = -(-outside // (2 * width())) * 2 * width()
    results = []

    def run(first: int, end: int) -> None:
        dweight, dbias = np.zeros(groups * steps.size * wide, np.float32), np.zeros(shape[0] + width(), np.float32)
        in_place = slopes_last and outside % width() == 0
        slopes_piece = np.empty(
            0 if in_place else work.many * count[0] * work.band * count[2] * shape[0] + wide, np.float32
        )
        add_units(
            first, end, work.bands, work.many, work.band, x.shape[0], numbers, last, size, x.shape[1], low, work.extent,
            work.pitch, work.axes[1].read_step, piece_for(work), slopes, slopes_last, (0, 0, 0), slopes_piece, count, table.windows, steps, dweight, dbias, inside,
            outside, groups, wide, lanewise,
        )  # fmt: skip
        results.append((dweight, dbias))

    share(work.units, run, cost)
    dweight, dbias = (sum(parts[1:], parts[0]) for parts in zip(*results, strict=True))
    out = np.empty(shape, np.float32)
    unpack(dweight, groups, table.steps.size, steps.size * wide, wide, outside, out.reshape(-1))
    return out, dbias[: shape[0]].copy()


@jit
def unpack(dweight: Any, groups: int, n: int, group: int, wide: int, outside: int, out: Any) -> None:
    """(group, channel inside and tap, channel outside) to (group, channel outside, channel inside and tap)."""
    for g in range(groups):
        transpose(dweight, g * group, wide, out, g * outside * n, n, n, outside)


@jit(nogil=True)
def add_units(
    first: int, end: int, bands: int, many: int, band: int, batch: int, x: Any, last: bool, size: Any, channels: int, low: Any,
    extent: Any, pitch: Any, read_step: int, piece: Any, g: Any, g_last: bool, g_low: Any, g_piece: Any, count: Any, windows: Any,
    steps: Any, dweight: Any, dbias: Any, inside: int, outside: int, groups: int, wide: int, lanewise: bool,
) -> None:  # fmt: skip
    """Add what units first ... end - 1 contribute to the gradients of the weight and the bias."""
    image, out_channels = size[0] * size[1] * size[2] * channels, groups * outside
    out_image = count[0] * count[1] * count[2] * out_channels
    for unit in range(first, end):
        b, top = unit // bands * many, unit % bands * band
        n, lines = min(many, batch - b), min(band, count[1] - top)
        source, base = x, b * image + top * read_step * pitch[2]
        slopes, begin = g, b * out_image + top * count[2] * out_channels
        here = count[0] * lines * count[2]
        if piece.size > 0:
            source, base = piece, 0
            for m in range(n):
                corner = (low[0], top * read_step + low[1], low[2])
                cut_out(x, (b + m) * image, last, size, channels, corner, extent, piece, m * pitch[0], channels)
        if g_piece.size > 0:
            slopes, begin = g_piece, 0
            for m in range(n):
                corner, box = (g_low[0], top, g_low[2]), (count[0], lines, count[2])
                to = m * here * out_channels
                cut_out(g, (b + m) * out_image, g_last, count, out_channels, corner, box, g_piece, to, out_channels)
        add_rows(slopes, begin, n * here, out_channels, dbias)
        for p in range(0, n * here, BLOCK):
            near, at = windows[p : min(p + BLOCK, n * here)], begin + p * out_channels
            if lanewise:
                for c in range(0, outside, WIDTH):
                    add_lane_tiles(source, base + c, near, steps, slopes, at + c, out_channels, dweight, c, wide)
                continue
            for group in range(groups):
                near_x, near_g, to = base + group * inside, at + group * outside, group * steps.size * wide
                for o in range(0, outside, 2 * WIDTH):
                    where = (slopes, near_g + o, out_channels, dweight, to + o, wide)
                    if outside - o > WIDTH:
                        add_tiles(tile(ROWS, 2), source, near_x, near, steps, *where)
                    else:
                        add_tiles(tile(ROWS, 1), source, near_x, near, steps, *where)


@jit
def add_rows(g: Any, begin: int, count: int, step: int, sums: Any) -> None:
    """Add `count` rows of `step` numbers to sums."""
    for c in range(0, step, WIDTH):
        t = load_tile(tile(1, 1), sums, c, 0)
        for p in range(count):
            t = add_row(t, g, begin + p * step + c)
        store_tile(sums, c, 0, t, WIDTH)


@jit
def add_tiles(
    size: Any,
    x: Any,
    base: int,
    windows: Any,
    steps: Any,
    g: Any,
    begin: int,
    g_step: int,
    dweight: Any,
    to: int,
    wide: int,
) -> None:
    """dweight[to + wide * i + j] += sum over p of x[base + windows[p] + steps[i]] * g[begin + g_step * p + j]."""
    for i in range(0, steps.size, ROWS):
        near, position = entries(steps, i, ROWS), begin
        t = load_tile(size, dweight, to + i * wide, wide)
        for p in range(windows.size):
            t = add_products(t, x, base + windows[p], near, g, position)
            position += g_step
        store_tile(dweight, to + i * wide, wide, t, wide)


@jit
def add_lane_tiles(
    x: Any, base: int, windows: Any, steps: Any, g: Any, begin: int, g_step: int, dweight: Any, to: int, wide: int
) -> None:
    """The same with lanes that are channels on both sides."""
    for i in range(0, steps.size, ROWS):
        near = entries(steps, i, ROWS)
        t = load_tile(tile(ROWS, 1), dweight, to + i * wide, wide)
        for p in range(windows.size):
            t = add_lanewise(t, x, base + windows[p], near, g, begin + p * g_step)
        store_tile(dweight, to + i * wide, wide, t, wide)
