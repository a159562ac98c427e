"""Convolution with a kernel of one position: the product of a matrix with every pixel, which is left to the BLAS.

In row-major order an image is a matrix (C, P) with the pixels as columns, channels-last all images are one (B P, C) with the
pixels as rows. Neither is copied, while the tiles of convolution_direct.py put row-major pixels and all weights into another
order first. So it is faster for row-major images and for small ones. For the others it is not.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .common import Array
from .layout import channels_last_memory, empty_channels_last, memory
from .parallel import share
from .threads import hold_blas

Sizes = tuple[int, ...]
# multiply-adds up to which it is faster: measured at 978 shapes of 3 to 256 channels, with one thread and with two
MOST, MOST_SUMMED = 4_000_000, 2_000_000


def pays(weight: Sizes, x: Array, stride: Sizes, padding: Sizes, groups: int) -> bool:
    """Whether to convolve x so, or take x back as a gradient, with a weight of that shape: always if x is row-major."""
    if not of_pixels(weight, stride, padding, groups):
        return False
    return x.flags.c_contiguous or x.size // x.shape[1] * weight[0] * weight[1] <= MOST


def pays_for_weight(weight: Sizes, g: Array, stride: Sizes, padding: Sizes, groups: int) -> bool:
    """Whether to find the gradient of the weight so, which is not shared between threads."""
    return of_pixels(weight, stride, padding, groups) and g.size * weight[1] <= MOST_SUMMED


def of_pixels(weight: Sizes, stride: Sizes, padding: Sizes, groups: int) -> bool:
    """Whether a weight of that shape is one matrix, by which every pixel is multiplied."""
    return groups == 1 and prod(weight[2:]) == 1 and max(stride) == 1 and max(padding) == 0


def convolve(x: Array, weight: Array, bias: Array | None, back: bool) -> Array:
    """conv_forward of x or, with `back`, conv_backward_input of the gradient x."""
    matrix = weight.reshape(weight.shape[:2])
    matrix = matrix.T if back else matrix
    numbers, last = memory(x)
    batch, channels, shape = x.shape[0], x.shape[1], (x.shape[0], len(matrix), *x.shape[2:])
    hold_blas()
    if last:
        out = empty_channels_last(shape)
        pixels, target = numbers.reshape(-1, channels), channels_last_memory(out).reshape(-1, len(matrix))
        share(len(pixels), products, out.size * channels, pixels, matrix.T, target)
        if bias is not None:
            target += bias
        return out
    out = np.empty(shape, np.float32)
    target = out.reshape(batch, len(matrix), -1)
    share(target.shape[2], columns, out.size * channels, matrix, numbers.reshape(batch, channels, -1), target)
    if bias is not None:
        target += bias[:, None]
    return out


def products(begin: int, end: int, a: Array, b: Array, out: Array) -> None:
    np.matmul(a[begin:end], b, out=out[begin:end])


def columns(begin: int, end: int, a: Array, b: Array, out: Array) -> None:
    np.matmul(a, b[:, :, begin:end], out=out[:, :, begin:end])


def weight_gradient(g: Array, x: Array, shape: Sizes) -> tuple[Array, Array]:
    """conv_backward_weight: the gradients of the weight, of the shape `shape`, and of the bias."""
    (numbers, last), (slopes, slopes_last) = memory(x), memory(g)
    hold_blas()
    if last and slopes_last:
        pixels, slopes = numbers.reshape(-1, shape[1]), slopes.reshape(-1, shape[0])
        ones = np.ones(len(slopes), np.float32)
        return (slopes.T @ pixels).reshape(shape), ones @ slopes
    pixels, slopes = pixels_of(x, numbers, last), pixels_of(g, slopes, slopes_last)
    ones = np.ones(slopes.shape[2], np.float32)
    return np.matmul(slopes, pixels.swapaxes(1, 2)).sum(0).reshape(shape), np.matmul(slopes, ones).sum(0)


def pixels_of(x: Array, numbers: Array, last: bool) -> Any:
    """(B, C, P), a view of the numbers of x (B, C, *S)."""
    batch, channels = x.shape[:2]
    if last:
        return numbers.reshape(batch, -1, channels).swapaxes(1, 2)
    return numbers.reshape(batch, channels, -1)
