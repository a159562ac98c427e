"""The gradient of a convolution's input where that has few channels, written out from the output's side.

convolution_direct.py finds each pixel of dx from the positions of the output that see it, with the pixel's channels as lanes: of
16 lanes, six channels leave ten idle. But in channels-last order the pixels that one position sees in one row of the image lie
side by side, and are KX * C numbers:

    dx[row of the window, 0 : KX C] += sum over o of g[p, o] * w[o, row of the kernel, 0 : KX C]

With a kernel of 5 x 5, six channels are 30 of 32 lanes. What this costs is that windows overlap: the sums go to memory, and are
added there to those of other positions. A tile (tile.py) takes eight positions whose windows do not overlap, since a core has to
wait for a number that it wrote a moment ago as a part of a longer register.

An image is summed up in a small array with the padding around it, from which the inside is copied.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .common import Array
from .convolution_tables import Sizes, sums, three
from .jit import jit
from .layout import channels_last_memory, channels_last_numbers, copy, empty_channels_last
from .parallel import share
from .simd import WIDTH, width
from .tile import ROWS, add_products, add_tile, entries, rows, tile

# A register that is added to memory costs as much as so many multiply-adds. Measured against convolution_direct.py with one
# thread and up to 16 channels: with this number the better way is chosen most often.
ADDING = 10


def registers(numbers: int) -> int:
    return -(-numbers // width())


def pays(weight: Sizes, x: Sizes, count: Sizes, stride: Sizes, dilation: Sizes, groups: int) -> bool:
    """Whether this way takes fewer steps, for the shapes of the weight and of x, and `count` positions that are read."""
    outside, inside, *kernel = weight
    if groups != 1 or dilation[-1] != 1 or prod(count) < rows():
        return False
    direct = prod(x[2:]) * prod(kernel) / prod(stride) * registers(inside) * outside
    return prod(count) * prod(kernel[:-1]) * registers(kernel[-1] * inside) * (outside + ADDING) < direct


class Plan(NamedTuple):
    """All that follows from the sizes. Positions are flat: in g, and in an image with its padding."""

    padded: Sizes
    corner: Sizes  # where in it the image begins
    near: Array  # where the numbers of each position of the output are, and where the first row of its window begins
    targets: Array
    kernel_rows: Array  # where each row of the kernel begins


@lru_cache(256)
def plan(x: Sizes, count: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, outside: int) -> Plan:
    """For x of the shape (B, C, *S)."""
    size, count, kernel = three(x[2:], 1), three(count, 1), three(kernel, 1)
    stride, padding, dilation = three(stride, 1), three(padding, 0), three(dilation, 1)
    padded = tuple(n + 2 * p for n, p in zip(size, padding, strict=True))
    pitch = [x[1] * prod(padded[i:]) for i in (1, 2, 3)]
    steps = [np.arange(n) * s for n, s in zip(count, stride, strict=True)]
    near, targets = np.arange(prod(count)) * outside, sums(pitch, *steps)
    column = np.arange(near.size) % count[2]
    order = np.argsort(column % -(-kernel[2] // stride[2]), kind="stable")  # neighbours do not overlap
    spare = -near.size % rows()  # the last tile is filled up with what is added behind the image
    near = np.append(near[order], np.zeros(spare, np.int64))
    targets = np.append(targets[order], np.full(spare, x[1] * prod(padded)))
    lines = [np.arange(k) * d for k, d in zip(kernel[:2], dilation[:2], strict=True)]
    return Plan(padded, padding, near, targets, sums(pitch[:2], *lines))


def backward_input(
    g: Array, weight: Array, bias: Array | None, shape: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> Array:
    """conv_backward_input in one group: g taken back to an array of the shape `shape`."""
    outside, inside, *kernel = weight.shape
    found = plan(shape, g.shape[2:], tuple(kernel), stride, padding, dilation, outside)
    lanes, lines = kernel[-1] * inside, found.kernel_rows.size
    packed = np.zeros((lines, outside, registers(lanes) * width()), np.float32)
    each = weight.reshape(outside, inside, lines, kernel[-1])
    packed[:, :, :lanes] = each.transpose(2, 0, 3, 1).reshape(lines, outside, lanes)
    start = np.zeros(inside, np.float32) if bias is None else bias
    size, out = three(shape[2:], 1), empty_channels_last(shape)
    numbers, target, image = channels_last_numbers(g), channels_last_memory(out), prod(found.padded) * inside

    def run(first: int, end: int) -> None:
        piece = np.empty(image + found.kernel_rows[-1] + lanes, np.float32)
        spread_images(
            first, end, numbers, packed.reshape(-1), outside, lanes, packed.shape[2], found.near, found.targets,
            found.kernel_rows, start, piece, found.padded, found.corner, size, target,
        )  # fmt: skip

    share(shape[0], run, prod(g.shape) * lines * lanes)
    return out


@jit(nogil=True)
def spread_images(
    first: int, end: int, g: Any, packed: Any, outside: int, lanes: int, wide: int, near: Any, targets: Any, kernel_rows: Any,
    start: Any, piece: Any, padded: Any, corner: Any, size: Any, out: Any,
) -> None:  # fmt: skip
    """Images first ... end - 1; rows of `wide` numbers in `packed`, of which `lanes` count."""
    channels, image = start.size, size[0] * size[1] * size[2] * start.size
    positions = g.size // (out.size // image)
    for b in range(first, end):
        for i in range(0, piece.size - channels + 1, channels):
            for c in range(channels):
                piece[np.uintp(i + c)] = start[c]
        for line in range(kernel_rows.size):
            for c in range(0, lanes, 2 * WIDTH):
                w = line * outside * wide + c
                where = (
                    g,
                    b * positions,
                    near,
                    outside,
                    packed,
                    w,
                    wide,
                    piece,
                    kernel_rows[line] + c,
                    targets,
                    lanes - c,
                )
                if lanes - c > WIDTH:
                    spread(tile(ROWS, 2), *where)
                else:
                    spread(tile(ROWS, 1), *where)
        for z in range(size[0]):
            for y in range(size[1]):
                row = ((corner[0] + z) * padded[1] + corner[1] + y) * padded[2] + corner[2]
                to = b * image + (z * size[1] + y) * size[2] * channels
                copy(piece, row * channels, out, to, size[2] * channels)


@jit
def spread(
    zeros: Any, g: Any, base: int, near: Any, outside: int, w: Any, q: int, wide: int, piece: Any, to: int, targets: Any,
    lanes: int,
) -> None:  # fmt: skip
    """piece[to + targets[p] + j] += sum over o of g[base + near[p] + o] * w[q + wide * o + j]."""
    for p in range(0, near.size, ROWS):
        seen, position = entries(near, p, ROWS), q
        t = zeros
        for o in range(outside):
            t = add_products(t, g, base + o, seen, w, position)
            position += wide
        add_tile(piece, to, entries(targets, p, ROWS), t, lanes)
