"""Convolution with a 3 x 3 kernel in a quarter of the multiplications.

Four neighbouring outputs of a convolution with three weights take 12 multiplications; Winograd's way takes six. Put
together, the outputs y are the product of two polynomials (or its transpose), and a polynomial of degree 5 is known by its
values at six points: so evaluate both factors at the points, multiply the values, and go back.

    y = Aᵀ [(G w) * (Bᵀ d)]        d six numbers, w three weights, y[i] = sum over k of w[k] d[i + k] for four i

Here * is element by element. Bᵀ (6 x 6), G (6 x 3) and Aᵀ (4 x 6) depend on the points alone. In two dimensions the same is
done to the columns and then to the rows: a tile of 6 x 6 pixels gives 4 x 4 outputs with 36 multiplications instead of 144.
And since changing tiles back and forth is linear, the sum over channels is taken between the two changes: for each of the 36
places, the values of many tiles are a matrix (tiles, channels), and a matrix product with the weights' values (channels,
output channels) is all that remains.

The gradient of the input is a convolution of g with the weight turned round. For the gradient of the weight, note that
<g, y> = sum of (A g) * (G w) * (Bᵀ d), so that dw = Gᵀ [(A g) * (Bᵀ d)], added up over all tiles before Gᵀ: again 36 matrix
products, of (channels, tiles) and (tiles, output channels).

The points are 0, ±sqrt(1/2), ±sqrt(2) and infinity (which stands for the leading coefficient). With the usual ±1 and ±2 some
entries of the matrices are large, and large numbers that cancel leave rounding errors behind: those are about five times
the errors here, which are hardly larger than those of a plain sum (tests/kernels/test_winograd.py compares).

Sources: Winograd, "Arithmetic Complexity of Computations", 1980; Lavin and Gray, "Fast Algorithms for Convolutional Neural
Networks", 2016; Barabasz and others, "Error Analysis and Improving the Accuracy of Winograd Convolution", 2020 (the points).
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .common import Array
from .convolution_direct import add_rows, add_tiles, panels
from .convolution_tables import Sizes
from .jit import jit
from .layout import channels_last_memory, cut_out, empty_channels_last, memory, transpose
from .parallel import share
from .simd import WIDTH, width
from .tile import ROWS, add_row, load_tile, registers, rows, stacked, store_tile, tile

TILES = 64  # that are worked on together, at least, if there are so many: their values stay in the second-level cache
PAD = 16  # numbers between the matrices of two places; 4096 bytes apart, they would compete for the same lines of the cache
A, B = np.float32(0.5**0.5), np.float32(2**0.5)  # the points, whose squares are 1/2 and 2 and whose product is 1


# The matrices of one dimension. Each argument and result is a register.


@jit(forceinline=True)
def from_input(d0: Any, d1: Any, d2: Any, d3: Any, d4: Any, d5: Any) -> Any:
    """Bᵀ d."""
    even, odd = d4 - 2.0 * d2, A * (d3 - 2.0 * d1)
    even2, odd2 = d4 - 0.5 * d2, B * (d3 - 0.5 * d1)
    return d0 - 2.5 * d2 + d4, even + odd, even - odd, even2 + odd2, even2 - odd2, d1 - 2.5 * d3 + d5


@jit(forceinline=True)
def to_output(m0: Any, m1: Any, m2: Any, m3: Any, m4: Any, m5: Any) -> Any:
    """Aᵀ m."""
    even, odd, even2, odd2 = m1 + m2, A * (m1 - m2), m3 + m4, B * (m3 - m4)
    return m0 + even + even2, odd + odd2, 0.5 * even + 2.0 * even2, 0.5 * odd + 2.0 * odd2 + m5


@jit(forceinline=True)
def from_gradient(g0: Any, g1: Any, g2: Any, g3: Any) -> Any:
    """A g."""
    even, odd, even2, odd2 = g0 + 0.5 * g2, A * (g1 + 0.5 * g3), g0 + 2.0 * g2, B * (g1 + 2.0 * g3)
    return g0, even + odd, even - odd, even2 + odd2, even2 - odd2, g3


@jit(forceinline=True)
def from_weight(w0: Any, w1: Any, w2: Any) -> Any:
    """G w."""
    even, odd = (-2 / 3) * w0 + (-1 / 3) * w2, (-2 / 3 * A) * w1
    even2, odd2 = (1 / 6) * w0 + (1 / 3) * w2, (1 / 6 * B) * w1
    return w0, even + odd, even - odd, even2 + odd2, even2 - odd2, w2


@jit(forceinline=True)
def to_weight(m0: Any, m1: Any, m2: Any, m3: Any, m4: Any, m5: Any) -> Any:
    """Gᵀ m."""
    even, odd = (-2 / 3) * (m1 + m2), (-2 / 3 * A) * (m1 - m2)
    even2, odd2 = (1 / 6) * (m3 + m4), (1 / 6 * B) * (m3 - m4)
    return m0 + even + even2, odd + odd2, 0.5 * even + 2.0 * even2 + m5


@jit(forceinline=True)
def change(
    matrix: Any, size: Any, n: int, m: int, x: Any, place: int, row: int, column: int, out: Any, to: int, out_row: int,
    out_column: int, half: Any,
) -> None:  # fmt: skip
    """matrix @ square @ matrixᵀ, for one register of channels of n x n pixels; the result has m x m.

    size: tile(n, 1). Rows and columns of the square are `row` and `column` apart in x. half: memory for n x m registers.
    """
    for j in range(n):
        t = load_tile(size, x, place + j * column, row)
        store_tile(half, j * WIDTH, n * WIDTH, stacked(matrix(*registers(t))), WIDTH)
    for i in range(m):
        t = load_tile(size, half, i * n * WIDTH, WIDTH)
        store_tile(out, to + i * out_row, out_column, stacked(matrix(*registers(t))), WIDTH)


# ---------------------------------------------------------------------------------------------------------------------
# Convolution, and the gradient of its input


def pays(weight: Sizes, batch: int, count: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int) -> bool:
    """Whether this way is the faster one for a weight of a shape and `count` positions that are written.

    Measured: changing tiles takes the time of a few channels, changing the weight that of some tiles.
    """
    if weight[2:] != (3, 3) or groups != 1 or (*stride, *dilation) != (1, 1, 1, 1) or max(padding) > 2:
        return False
    tiles = -(-count[0] // 4) * -(-count[1] // 4)
    return min(weight[:2]) >= 8 and batch * tiles >= 16 and 16 * tiles < 2.5 * prod(count)


def units(batch: int, down: int, across: int) -> tuple[int, int, int]:
    """Work in units of about TILES tiles: how many whole images, or else rows of tiles, are in one; how many units there are."""
    if down * across >= TILES:
        band = min(down, -(-TILES // across))
        return 1, band, batch * -(-down // band)
    many = min(batch, -(-TILES // (down * across)))
    return many, down, -(-batch // many)


def up_to(n: int, whole: int) -> int:
    """The next multiple."""
    return -(-n // whole) * whole


class Plan(NamedTuple):
    """All that follows from the sizes of a convolution."""

    many: int
    band: int
    units: int
    tiles: int  # in a unit; at least as many as there are rows in a tile of registers
    inner: int  # channels of what is read, and of what is written, in whole registers
    outer: int
    windows: Array  # where the values of each tile begin, for what is read and for what is written
    targets: Array
    steps: Array  # 0, 1, ..., for each channel of what is read, and so many more that they are whole tiles of registers


@lru_cache(256)
def plan(batch: int, channels: int, outside: int, count: Sizes) -> Plan:
    down, across = -(-count[0] // 4), -(-count[1] // 4)
    many, band, total = units(batch, down, across)
    tiles, inner, outer = max(many * band * across, rows()), up_to(channels, width()), up_to(outside, width())
    places = np.arange(tiles)
    return Plan(
        many, band, total, tiles, inner, outer, inner * places, outer * places, np.arange(up_to(channels, rows()))
    )


def convolve(x: Array, weight: Array, bias: Array | None, padding: Sizes, back: bool) -> Array:
    """conv_forward of x (B, C, H, W) or, with `back`, conv_backward_input of the gradient x, for weight (O, C, 3, 3)."""
    numbers, last = memory(x)
    batch, channels, *size = x.shape
    outside = weight.shape[1 if back else 0]
    above, left = (2 - p for p in padding) if back else padding
    count = size[0] + 2 * above - 2, size[1] + 2 * left - 2
    p = plan(batch, channels, outside, count)
    values = np.empty(36 * channels * up_to(outside, 2 * width()), np.float32)
    change_weight(
        np.ascontiguousarray(weight).reshape(-1), channels, outside, back, np.empty(9 * channels * 2 * width(), np.float32),
        np.empty(36 * width(), np.float32), values,
    )  # fmt: skip
    start, nothing = np.zeros((2, p.outer + 2 * width()), np.float32)
    if bias is not None:
        start[:outside] = bias
    out = empty_channels_last((batch, outside, *count))
    target = channels_last_memory(out)

    def run(first: int, end: int) -> None:
        half, square = np.empty(36 * width(), np.float32), np.empty(16 * width(), np.float32)
        convolve_units(
            first, end, p.many, p.band, batch, numbers, last, (1, *size), channels, (0, -above, -left),
            piece_for(p, count, 2, p.inner), *(np.empty(36 * (p.tiles * n + PAD), np.float32) for n in (p.inner, p.outer)),
            values, nothing, p.windows, p.targets, p.steps[:channels], start, target, count, outside, half, square,
        )  # fmt: skip

    share(p.units, run, 3 * out.size * channels)
    return out


def piece_for(p: Plan, count: Sizes, more: int, step: int) -> Array:
    """Memory for the pixels under the tiles of an image, and `more` in both directions; channels that are not there are 0."""
    return np.zeros((4 * p.band + more) * (4 * -(-count[1] // 4) + more) * step, np.float32)


@jit
def change_weight(weight: Any, inside: int, outside: int, back: bool, few: Any, half: Any, values: Any) -> None:
    """G w Gᵀ of weight (O, C, 3, 3): (36, panel, inside, 2 WIDTH); back: of the weight turned round, from O to C channels.

    few: memory for the weights of a panel, (inside, 9, 2 WIDTH).
    """
    wide, matrix = 2 * WIDTH, values.size // 36
    turn = -1 if back else 1
    for o in range(0, outside, wide):
        n = min(wide, outside - o)
        if not back:
            transpose(weight, o * inside * 9, inside * 9, few, 0, wide, n, inside * 9)
        for c in range(inside):
            if back:
                transpose(weight, (c * outside + o) * 9, 9, few, c * 9 * wide, wide, n, 9)
            corner = (c * 9 + (8 if back else 0)) * wide
            for h in range(0, wide, WIDTH):
                to = o * inside + c * wide + h
                change(
                    from_weight, tile(3, 1), 3, 6, few, corner + h, turn * 3 * wide, turn * wide, values, to, 6 * matrix, matrix,
                    half,
                )  # fmt: skip


@jit
def change_input(
    x: Any, begin: int, last: bool, size: Any, channels: int, corner: Any, lines: int, across: int, piece: Any, inner: int,
    first: int, half: Any, v: Any,
) -> None:  # fmt: skip
    """Bᵀ d B of the tiles of an image from a corner on, `lines` rows of `across`: to v (36, tiles, inner), from a tile on."""
    extent, apart = (size[0], 4 * lines + 2, 4 * across + 2), v.size // 36
    cut_out(x, begin, last, size, channels, corner, extent, piece, 0, inner)
    row = extent[2] * inner
    for k in range(lines * across):
        place, to = k // across * 4 * row + k % across * 4 * inner, (first + k) * inner
        for c in range(0, inner, WIDTH):
            change(from_input, tile(6, 1), 6, 6, piece, place + c, row, inner, v, to + c, 6 * apart, apart, half)


@jit(nogil=True)
def convolve_units(
    first: int, end: int, many: int, band: int, batch: int, x: Any, last: bool, size: Any, channels: int, low: Any, piece: Any,
    v: Any, m: Any, values: Any, nothing: Any, windows: Any, targets: Any, steps: Any, start: Any, out: Any, count: Any,
    outside: int, half: Any, square: Any,
) -> None:  # fmt: skip
    """Units first ... end - 1 of a convolution."""
    down, across = (count[0] + 3) // 4, (count[1] + 3) // 4
    bands = (down + band - 1) // band
    image, inner, outer = size[1] * size[2] * channels, windows[1], targets[1]
    for unit in range(first, end):
        b, top = unit // bands * many, unit % bands * band
        n, lines = min(many, batch - b), min(band, down - top)
        for i in range(n):
            corner, begin = (low[0], 4 * top + low[1], low[2]), (b + i) * image
            change_input(
                x, begin, last, size, channels, corner, lines, across, piece, inner, i * lines * across, half, v
            )
        some = max(n * lines * across, ROWS)
        for e in range(36):
            place, q, to = e * (v.size // 36), e * (values.size // 36), e * (m.size // 36)
            panels(v, place, windows[:some], steps, values, q, nothing, 0, m, to, targets[:some], outer)
        for k in range(n * lines * across):
            y, s = 4 * (top + k // across % lines), 4 * (k % across)
            to = (((b + k // (lines * across)) * count[0] + y) * count[1] + s) * outside
            write(m, k * outer, start, out, to, count[1] * outside, outside, count[0] - y, count[1] - s, half, square)


@jit
def write(
    m: Any,
    place: int,
    start: Any,
    out: Any,
    to: int,
    row: int,
    channels: int,
    high: int,
    broad: int,
    half: Any,
    square: Any,
) -> None:
    """Aᵀ m A, plus the bias: 4 x 4 pixels of the output, or as many as there are."""
    apart = m.size // 36
    for c in range(0, channels, WIDTH):
        change(to_output, tile(6, 1), 6, 4, m, place + c, 6 * apart, apart, square, 0, 4 * WIDTH, WIDTH, half)
        for i in range(min(4, high)):
            for j in range(min(4, broad)):
                pixel = add_row(load_tile(tile(1, 1), square, (4 * i + j) * WIDTH, 0), start, c)
                store_tile(out, to + i * row + j * channels + c, 0, pixel, channels - c)


# ---------------------------------------------------------------------------------------------------------------------
# The gradient of the weight


def weight_gradient(g: Array, x: Array, padding: Sizes) -> tuple[Array, Array]:
    """conv_backward_weight for a 3 x 3 kernel with stride 1: the gradients of the weight and of the bias."""
    numbers, last = memory(x)
    slopes, slopes_last = memory(g)
    batch, channels, *size = x.shape
    outside, *count = g.shape[1:]
    p = plan(batch, channels, outside, tuple(count))
    wide = up_to(outside, 2 * width())
    results = []

    def run(first: int, end: int) -> None:
        total, dbias = np.zeros(36 * p.steps.size * wide, np.float32), np.zeros(p.outer, np.float32)
        v, m = (np.empty(36 * (p.tiles * n + PAD), np.float32) for n in (p.inner, p.outer))
        add_units(
            first, end, p.many, p.band, batch, numbers, last, (1, *size), channels, (0, -padding[0], -padding[1]),
            piece_for(p, count, 2, p.inner), slopes, slopes_last, (0, 0, 0), (1, *count), outside,
            piece_for(p, count, 0, p.outer), v, m, p.windows, p.steps, p.outer, wide, total, dbias,
            np.empty(36 * width(), np.float32),
        )  # fmt: skip
        results.append((total, dbias))

    share(p.units, run, 3 * g.size * channels)
    sums, dbias = (sum(parts[1:], parts[0]) for parts in zip(*results, strict=True))
    out = np.empty((outside, channels, 3, 3), np.float32)
    memories = (np.empty(n, np.float32) for n in (9 * channels * wide, 36 * width()))
    change_back(sums, channels, outside, wide, *memories, out.reshape(-1))
    return out, dbias[:outside].copy()


@jit(nogil=True)
def add_units(
    first: int, end: int, many: int, band: int, batch: int, x: Any, last: bool, size: Any, channels: int, low: Any, piece: Any,
    g: Any, g_last: bool, g_low: Any, count: Any, outside: int, g_piece: Any, v: Any, m: Any, windows: Any, steps: Any,
    outer: int, wide: int, sums: Any, dbias: Any, half: Any,
) -> None:  # fmt: skip
    """Add the values of units first ... end - 1 to sums (36, channels, wide)."""
    down, across = (count[1] + 3) // 4, (count[2] + 3) // 4
    bands = (down + band - 1) // band
    inner, m_apart = piece.size // ((4 * band + 2) * (4 * across + 2)), m.size // 36
    row = 4 * across * outer
    for unit in range(first, end):
        b, top = unit // bands * many, unit % bands * band
        n, lines = min(many, batch - b), min(band, down - top)
        for i in range(n):
            corner, begin, k = (
                (low[0], 4 * top + low[1], low[2]),
                (b + i) * size[1] * size[2] * channels,
                i * lines * across,
            )
            change_input(x, begin, last, size, channels, corner, lines, across, piece, inner, k, half, v)
            corner, begin = (g_low[0], 4 * top, g_low[2]), (b + i) * count[1] * count[2] * outside
            extent = (count[0], 4 * lines, 4 * across)
            cut_out(g, begin, g_last, count, outside, corner, extent, g_piece, 0, outer)
            add_rows(g_piece, 0, 16 * lines * across, outer, dbias)
            for t in range(lines * across):
                place, to = t // across * 4 * row + t % across * 4 * outer, (k + t) * outer
                for c in range(0, outer, WIDTH):
                    change(
                        from_gradient,
                        tile(4, 1),
                        4,
                        6,
                        g_piece,
                        place + c,
                        row,
                        outer,
                        m,
                        to + c,
                        6 * m_apart,
                        m_apart,
                        half,
                    )
        near = windows[: n * lines * across]
        for e in range(36):
            place, begin, to = e * (v.size // 36), e * m_apart, e * (sums.size // 36)
            for o in range(0, outer, 2 * WIDTH):
                if outer - o > WIDTH:
                    add_tiles(tile(ROWS, 2), v, place, near, steps, m, begin + o, outer, sums, to + o, wide)
                else:
                    add_tiles(tile(ROWS, 1), v, place, near, steps, m, begin + o, outer, sums, to + o, wide)


@jit
def change_back(sums: Any, inside: int, outside: int, wide: int, few: Any, half: Any, out: Any) -> None:
    """Gᵀ m G of sums (36, inside, wide), as the gradient (outside, inside, 3, 3). few: memory for (inside, 9, wide)."""
    apart = sums.size // 36
    for c in range(inside):
        for o in range(0, outside, WIDTH):
            place, to = c * wide + o, c * 9 * wide + o
            change(to_weight, tile(6, 1), 6, 3, sums, place, 6 * apart, apart, few, to, 3 * wide, wide, half)
    transpose(few, 0, wide, out, 0, inside * 9, inside * 9, outside)
