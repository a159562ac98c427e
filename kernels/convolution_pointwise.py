"""Convolution with a kernel of one position: the product of a matrix with every pixel, which is left to the BLAS.

In row-major order an image is a matrix (C, P) with the pixels as columns, channels-last all images are one (B P, C) with the
pixels as rows. Neither is copied, and so for small images it is faster than the tiles of convolution_direct.py, which put the
weights into another order first. For large ones it is not.
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
# Multiply-adds up to which it is faster, and up to which for the weight's gradient, which is not shared between threads.
# Measured with 3 to 256 channels, with one thread and with two. For row-major images alone there is no such limit; but then
# the output is row-major too, and a 3x3 convolution after it has to reorder it: the two together took longer.
MOST, MOST_SUMMED = 4_000_000, 2_000_000


def pays(weight: Sizes, x: Array, stride: Sizes, padding: Sizes, groups: int, most: int = MOST) -> bool:
    """Whether this is such a product and a small one, for a weight of that shape and x, or the gradient of the output."""
    if groups != 1 or prod(weight[2:]) != 1 or max(stride) > 1 or max(padding) > 0:
        return False
    return x.size // x.shape[1] * weight[0] * weight[1] <= most


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
