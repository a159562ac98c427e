"""Convolution in any number of spatial dimensions, and its gradients.

A window of x is what one position of the output sees: its C channels at the K taps of the weight, which is the same
number of values everywhere. With the windows as the columns of a matrix ("im2col"), each of the three is one product:

    columns = unfold(x)         (B, C K, P)       out     = weight @ columns
    weight                      (O, C K)          dx      = fold(weightᵀ @ g)
    out and its gradient g      (B, O, P)         dweight = sum over the batch of g @ columnsᵀ

unfold copies every value of x to the windows that it lies in; fold, its transpose, adds what comes back from them.
With several groups the channels of x and of the output fall into as many parts, and each is convolved for itself.

Letters: B batch, C and O channels of x and of the output, G groups, S spatial sizes of x, K of the weight, P of the
output; stride, padding and dilation are tuples of one number per spatial dimension.

The Numba variants do not unfold. They compute from x itself, channels-last (layout.py): as a product that finds the windows by
a table (convolution_direct.py), with a quarter of the multiplications (winograd.py), for the gradient of an x of few channels by
adding up where the windows are (convolution_spread.py), or as a product with the pixels (convolution_pointwise.py).

Source: Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for Document Processing", 2006.
"""

from __future__ import annotations

import itertools
from math import prod
from typing import Any

from . import Kernel, array_module, convolution_direct, convolution_pointwise, convolution_spread, winograd
from .common import FLOAT32, Array
from .cuda import ELEMENTS, HALVES, Entry, Source, blocks, launchable, limits
from .gemm import gemm
from .reduce import add_columns, sum_axes

Sizes = tuple[int, ...]


@Kernel
def conv_forward(
    x: Array, weight: Array, bias: Array | None, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> Array:
    """The convolution (B, O, *P) of x (B, C, *S) with weight (O, C / G, *K), plus bias (O,).

    Each output is the sum over a window of x of its products with the weight; the weight is not flipped. float16 is
    added up in float32.

    Example:
        >>> import numpy as np
        >>> conv_forward(np.arange(5.0).reshape(1, 1, 5), np.array([[[-1.0, 1.0]]]), None, (2,), (0,), (1,), 1)
        array([[[1., 1.]]])
    """
    batch = x.shape[0]
    columns = _windows(_wide(x), weight.shape[2:], stride, padding, dilation)  # (B, C, *K, *P)
    positions = columns.shape[weight.ndim :]
    columns = columns.reshape(batch, groups, prod(weight.shape[1:]), prod(positions))
    out = gemm(_by_group(weight, groups), columns, None)  # (B, G, O / G, P)
    return _with_bias(out.reshape(batch, weight.shape[0], *positions), bias).astype(x.dtype, copy=False)


@Kernel
def conv_backward_input(
    g: Array,
    weight: Array,
    bias: Array | None,
    x_shape: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> Array:
    """Gradient (B, C, *S) for x from the gradient g (B, O, *P) of the convolution: the transposed convolution of g.

    As a layer of its own, the transposed convolution has a bias (C,).
    """
    batch, out_channels, *positions = g.shape
    wide = _wide(g).reshape(batch, groups, out_channels // groups, prod(positions))
    columns = gemm(_by_group(weight, groups).swapaxes(-1, -2), wide, None)  # (B, G, C / G * K, P)
    columns = columns.reshape(batch, x_shape[1] * prod(weight.shape[2:]), prod(positions))
    out = fold(columns, x_shape[2:], weight.shape[2:], stride, padding, dilation)
    return _with_bias(out, bias).astype(g.dtype, copy=False)


@Kernel
def conv_backward_weight(
    g: Array, x: Array, weight_shape: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> tuple[Array, Array]:
    """Gradients (O, C / G, *K) for the weight and (O,) for the bias from g (B, O, *P), that of the convolution of x."""
    batch, out_channels = g.shape[:2]
    count = batch * prod(g.shape[2:])
    columns = _windows(_wide(x), weight_shape[2:], stride, padding, dilation)
    # (C, *K, B, *P): with the batch beside the positions, one product adds up over both
    columns = array_module(x).moveaxis(columns, 0, len(weight_shape) - 1)
    columns = columns.reshape(groups, prod(weight_shape[1:]), count)
    rows = _wide(g).swapaxes(0, 1).reshape(groups, out_channels // groups, count)
    dweight = gemm(rows, columns.swapaxes(-1, -2), None).reshape(weight_shape)
    return dweight.astype(g.dtype, copy=False), rows.sum(-1).reshape(out_channels).astype(g.dtype, copy=False)


@Kernel
def unfold(x: Array, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> Array:
    """The windows of x (B, C, *S) as columns: (B, C K, P), channels before taps, positions in row-major order.

    Example:
        >>> import numpy as np
        >>> unfold(np.arange(4.0).reshape(1, 1, 4), (2,), (1,), (0,), (1,))
        array([[[0., 1., 2.],
                [1., 2., 3.]]])
    """
    windows = _windows(x, kernel, stride, padding, dilation)
    rows, positions = x.shape[1] * prod(kernel), windows.shape[2 + len(kernel) :]
    return windows.copy().reshape(x.shape[0], rows, prod(positions))


@Kernel
def fold(columns: Array, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> Array:
    """The transpose of unfold: columns (B, C K, P) added up where they overlap, to (B, C, *size).

    Example:
        >>> import numpy as np
        >>> fold(np.ones((1, 2, 3)), (4,), (2,), (1,), (0,), (1,))
        array([[[1., 2., 2., 1.]]])
    """
    channels, positions = columns.shape[1] // prod(kernel), output_size(size, kernel, stride, padding, dilation)
    wide = _wide(columns).reshape(columns.shape[0], channels, *kernel, *positions)
    return _add_windows(wide, size, stride, padding, dilation).astype(columns.dtype, copy=False)


def _with_bias(out: Array, bias: Array | None) -> Array:
    return out if bias is None else out + bias.reshape(-1, *(1,) * (out.ndim - 2))


def output_size(size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> Sizes:
    """How many windows fit along each dimension; below 1 where the kernel is larger than the padded input."""
    each = zip(size, kernel, stride, padding, dilation, strict=True)
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in each)


def _windows(x: Array, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> Array:
    """(B, C, *K, *P): the windows of x, as a view of x or of its padded copy."""
    xp = array_module(x)
    positions = output_size(x.shape[2:], kernel, stride, padding, dilation)
    if any(padding):
        padded = xp.zeros((*x.shape[:2], *_padded(x.shape[2:], padding)), dtype=x.dtype)
        padded[_inner(x.shape[2:], padding)] = x
        x = padded
    steps = x.strides[2:]
    strides = (
        *x.strides[:2],
        *(n * d for n, d in zip(steps, dilation, strict=True)),
        *(n * s for n, s in zip(steps, stride, strict=True)),
    )
    return xp.lib.stride_tricks.as_strided(x, (*x.shape[:2], *kernel, *positions), strides)


def _add_windows(windows: Array, size: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> Array:
    """The transpose of _windows: (B, C, *size), the sum of windows (B, C, *K, *P) over what each value came from."""
    xp = array_module(windows)
    kernel, positions = windows.shape[2 : 2 + len(size)], windows.shape[2 + len(size) :]
    padded = xp.zeros((*windows.shape[:2], *_padded(size, padding)), dtype=windows.dtype)
    for tap in itertools.product(*map(range, kernel)):
        each = zip(tap, positions, stride, dilation, strict=True)
        there = tuple(slice(i * d, i * d + (n - 1) * s + 1, s) for i, n, s, d in each)
        padded[:, :, *there] += windows[:, :, *tap]
    return xp.ascontiguousarray(padded[_inner(size, padding)])


def _padded(size: Sizes, padding: Sizes) -> Sizes:
    return tuple(n + 2 * p for n, p in zip(size, padding, strict=True))


def _inner(size: Sizes, padding: Sizes) -> tuple[slice, ...]:
    """What of a padded array is not padding."""
    return (slice(None), slice(None), *(slice(p, p + n) for n, p in zip(size, padding, strict=True)))


def _by_group(weight: Array, groups: int) -> Array:
    """weight (O, C / G, *K) as (G, O / G, C / G * K), float16 in float32."""
    return _wide(weight).reshape(groups, weight.shape[0] // groups, prod(weight.shape[1:]))


def _wide(x: Array) -> Array:
    """x itself, or a float16 x in float32; integers stay integers."""
    return x.astype(FLOAT32) if x.dtype.kind == "f" and x.dtype.itemsize == 2 else x


# Numba


def supports(
    x: Array, weight: Array, bias: Array | None, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> bool:
    return (
        x.dtype == weight.dtype == FLOAT32
        and 3 <= x.ndim <= 5
        and x.size > 0
        and weight.size > 0
        and (bias is None or bias.dtype == FLOAT32)
    )


def supports_backward_input(
    g: Array,
    weight: Array,
    bias: Array | None,
    x_shape: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> bool:
    return supports(g, weight, bias, stride, padding, dilation, groups)


def supports_backward_weight(
    g: Array, x: Array, weight_shape: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> bool:
    return supports(x, g, None, stride, padding, dilation, groups) and prod(weight_shape) > 0


@conv_forward.variant("numba", device="cpu", supports=supports)
def conv_forward_numba(
    x: Array, weight: Array, bias: Array | None, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> Array:
    shape = (x.shape[0], weight.shape[0], *output_size(x.shape[2:], weight.shape[2:], stride, padding, dilation))
    if winograd.pays(weight.shape, x.shape[0], shape[2:], stride, padding, dilation, groups):
        return winograd.convolve(x, weight, bias, padding, False)
    if convolution_pointwise.pays(weight.shape, x, stride, padding, groups):
        return convolution_pointwise.convolve(x, weight, bias, False)
    return convolution_direct.convolve(x, weight, bias, shape, stride, padding, dilation, groups, False)


@conv_backward_input.variant("numba", device="cpu", supports=supports_backward_input)
def conv_backward_input_numba(
    g: Array,
    weight: Array,
    bias: Array | None,
    x_shape: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> Array:
    if winograd.pays(weight.shape, g.shape[0], x_shape[2:], stride, padding, dilation, groups):
        return winograd.convolve(g, weight, bias, padding, True)
    if convolution_pointwise.pays(weight.shape, g, stride, padding, groups):
        return convolution_pointwise.convolve(g, weight, bias, True)
    if convolution_spread.pays(weight.shape, x_shape, g.shape[2:], stride, dilation, groups):
        return convolution_spread.backward_input(g, weight, bias, x_shape, stride, padding, dilation)
    return convolution_direct.convolve(g, weight, bias, x_shape, stride, padding, dilation, groups, True)


@conv_backward_weight.variant("numba", device="cpu", supports=supports_backward_weight)
def conv_backward_weight_numba(
    g: Array, x: Array, weight_shape: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> tuple[Array, Array]:
    if winograd.pays(weight_shape, g.shape[0], g.shape[2:], stride, padding, dilation, groups):
        return winograd.weight_gradient(g, x, padding)
    if convolution_pointwise.pays(weight_shape, g, stride, padding, groups, convolution_pointwise.MOST_SUMMED):
        return convolution_pointwise.weight_gradient(g, x, weight_shape)
    return convolution_direct.weight_gradient(g, x, weight_shape, stride, padding, dilation, groups)


# CUDA, for one and two spatial dimensions: see convolution.cu. In three, and for arrays that are not contiguous or larger than
# LARGEST, the reference runs, whose products go to cuBLAS.

CU = Source(
    "convolution.cu",
    Entry("conv_direct", "conv_forward", registers=96, types=ELEMENTS, rtol=1e-5),
    Entry("conv_direct_input", "conv_backward_input", registers=96, types=ELEMENTS, rtol=1e-5),
    Entry("conv_direct_weight", "conv_backward_weight", registers=96, shared=128, types=ELEMENTS, rtol=1e-5),
    Entry("unfold_2d", "unfold", registers=64, types=ELEMENTS),
    Entry("fold_2d", "fold", registers=64, types=ELEMENTS),
    Entry("conv_implicit", "conv_forward", registers=96, shared=8512, rtol=1e-5),
    Entry("conv_tiles", "conv_forward", registers=168, shared=15104, rtol=1e-5),
    Entry("conv_tiles_input", "conv_backward_input", registers=168, shared=15104, rtol=1e-5),
    Entry("conv_tiles_weight", "conv_backward_weight", registers=168, shared=15104, rtol=1e-5),
    Entry("conv_mma", "conv_forward", registers=168, shared=20992, types=HALVES, since=80),
    Entry("conv_mma_input", "conv_backward_input", registers=168, shared=20992, types=HALVES, since=80),
    Entry("conv_mma_weight", "conv_backward_weight", registers=168, shared=20992, types=HALVES, since=80),
)
THREADS, MOST, TILE = 256, 1 << 16, 64
ROWS, COLUMNS, TILE_THREADS = 64, 128, 128  # of conv_tiles
FEW = 8  # channels of a group below which the tiles of 64 are too empty, and each number is computed for itself
WANTED, LEAST = 512, 64  # blocks that fill a large GPU; windows that are worth a part of a sum
LARGEST = 1 << 30  # elements, which an int counts, and a stride beyond the end
GRIDS = 65535  # blocks along the third dimension of a grid
BUSY, LONG = (
    32,
    512,
)  # tiles that occupy a GPU, and a sum of that many terms that must not be left to fewer: judged, not measured


def supports_cuda(x: Array, *rest: Any) -> bool:
    return x.size > 0 and launchable(x, types=ELEMENTS) and 1 <= len(rest[-1]) <= 2


def supports_implicit(
    x: Array, weight: Array, bias: Array | None, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> bool:
    return x.ndim in (3, 4) and groups == 1 and x.size > 0 and weight.size > 0 and launchable(x, weight)


def supports_forward_cuda(
    x: Array, weight: Array, bias: Array | None, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> bool:
    columns = x.shape[0] * prod(output_size(x.shape[2:], weight.shape[2:], stride, padding, dilation))
    many = busy(len(weight) // groups, columns, groups, prod(weight.shape[1:]))
    return many and fits(x, weight, bias, len(weight) * columns, groups)


def supports_backward_input_cuda(
    g: Array,
    weight: Array,
    bias: Array | None,
    x_shape: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> bool:
    rows, taps = x_shape[1] // groups, prod(weight.shape[2:])
    many = busy(rows, prod(x_shape) // max(x_shape[1], 1), groups, len(weight) // groups * taps)
    return many and fits(g, weight, bias, prod(x_shape), groups * prod(stride))


def supports_backward_weight_cuda(
    g: Array, x: Array, weight_shape: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> bool:
    return fits(g, x, None, prod(weight_shape), groups)


def supports_direct_weight(
    g: Array, x: Array, weight_shape: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> bool:
    few = weight_shape[0] // groups < FEW  # every number of the gradient reads g and x again
    return few and supports_backward_weight_cuda(g, x, weight_shape, stride, padding, dilation, groups)


def busy(rows: int, columns: int, groups: int, terms: int) -> bool:
    """Whether the tiles are enough for sums of that length. For few long ones the reference is there: cuBLAS cuts sums into
    parts, as conv_tiles_weight does."""
    return terms <= LONG or blocks(columns, COLUMNS) * blocks(rows, ROWS) * groups >= BUSY


def fits(a: Array, b: Array, bias: Array | None, results: int, grids: int) -> bool:
    """Whether the kernels are made for arrays a and b, and for so many results and blocks along the grid's third dimension."""
    sizes = min(a.size, b.size, results) > 0 and max(a.size, b.size, results) <= LARGEST and grids <= GRIDS
    return (
        a.ndim in (3, 4)
        and sizes
        and launchable(a, b, bias, types=ELEMENTS)
        and (a.itemsize == 4 or limits(a).capability >= 80)  # which have tensor cores for float16 with sums in float32
    )


def planar(*sizes: Sizes) -> list[int]:
    """Sizes of one or two dimensions, one after another, as those of two: a line is a plane of height 1."""
    return [n for size in sizes for n in ((1, *size) if len(size) == 1 else size)]


def geometry(size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> list[int]:
    """H, W, P, Q, kh, kw, sh, sw, ph, pw, dh, dw."""
    pads = padding if len(padding) == 2 else (0, *padding)
    positions = output_size(size, kernel, stride, padding, dilation)
    return [*planar(size, positions, kernel, stride), *pads, *planar(dilation)]


@unfold.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def unfold_cuda(x: Array, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> Array:
    positions = output_size(x.shape[2:], kernel, stride, padding, dilation)
    out = array_module(x).empty((x.shape[0], x.shape[1] * prod(kernel), prod(positions)), x.dtype)
    sizes = geometry(x.shape[2:], kernel, stride, padding, dilation)
    CU.launch("unfold_2d", blocks(out.size, THREADS, MOST), THREADS, x, out, out.size, *sizes)
    return out


@fold.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def fold_cuda(columns: Array, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> Array:
    out = array_module(columns).empty((columns.shape[0], columns.shape[1] // prod(kernel), *size), columns.dtype)
    sizes = geometry(size, kernel, stride, padding, dilation)
    CU.launch("fold_2d", blocks(out.size, THREADS, MOST), THREADS, columns, out, out.size, *sizes)
    return out


def numbers(
    x_shape: Sizes, weight_shape: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> tuple[int, ...]:
    """O, C, groups and the geometry, as the kernels take them."""
    return (weight_shape[0], x_shape[1], groups, *geometry(x_shape[2:], weight_shape[2:], stride, padding, dilation))


def tiles_of(x: Array) -> str:
    """The version by tiles for an element type."""
    return "conv_mma" if x.itemsize == 2 else "conv_tiles"


@conv_forward.variant("cuda", device="cuda", supports=supports_forward_cuda, copies=True)
def conv_forward_cuda(
    x: Array, weight: Array, bias: Array | None, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> Array:
    rows = len(weight) // groups
    if rows < FEW:
        return conv_direct(x, weight, bias, stride, padding, dilation, groups)
    positions = output_size(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    out = array_module(x).empty((len(x), len(weight), *positions), x.dtype)
    grid = (blocks(len(x) * prod(positions), COLUMNS), blocks(rows, ROWS), groups)
    sizes = numbers(x.shape, weight.shape, stride, padding, dilation, groups)
    CU.launch(tiles_of(x), grid, TILE_THREADS, x, weight, bias, out, len(x), *sizes)
    return out


@conv_backward_input.variant("cuda", device="cuda", supports=supports_backward_input_cuda, copies=True)
def conv_backward_input_cuda(
    g: Array,
    weight: Array,
    bias: Array | None,
    x_shape: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> Array:
    rows = x_shape[1] // groups
    if rows < FEW:
        return conv_direct_input(g, weight, bias, x_shape, stride, padding, dilation, groups)
    dx = array_module(g).empty(x_shape, g.dtype)
    columns = x_shape[0] * prod(blocks(n, s) for n, s in zip(x_shape[2:], stride, strict=True))
    grid = (blocks(columns, COLUMNS), blocks(rows, ROWS), groups * prod(stride))
    sizes = numbers(x_shape, weight.shape, stride, padding, dilation, groups)
    CU.launch(tiles_of(g) + "_input", grid, TILE_THREADS, g, weight, bias, dx, len(g), *sizes)
    return dx


@conv_backward_weight.variant("cuda", device="cuda", supports=supports_backward_weight_cuda, copies=True)
def conv_backward_weight_cuda(
    g: Array, x: Array, weight_shape: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> tuple[Array, Array]:
    rows, width = weight_shape[0] // groups, prod(weight_shape[1:])
    if rows < FEW:
        return conv_direct_weight(g, x, weight_shape, stride, padding, dilation, groups)
    tiles, windows = (blocks(width, COLUMNS), blocks(rows, ROWS)), len(g) * prod(g.shape[2:])
    size = prod(weight_shape)
    most = min(blocks(WANTED, prod(tiles) * groups), blocks(windows, LEAST), GRIDS // groups, LARGEST // size)
    many = blocks(windows, most)
    parts = blocks(windows, many)
    partial = array_module(x).empty((parts, size), "float32")
    sizes = numbers(x.shape, weight_shape, stride, padding, dilation, groups)
    CU.launch(tiles_of(g) + "_weight", (*tiles, groups * parts), TILE_THREADS, g, x, partial, many, len(g), *sizes)
    if g.dtype != FLOAT32:
        dweight = add_columns(partial, g)
    else:
        dweight = sum_axes(partial, (0,), False) if parts > 1 else partial
    return dweight.reshape(weight_shape), bias_gradient(g)


def bias_gradient(g: Array) -> Array:
    return sum_axes(g, (0, *range(2, g.ndim)), False)


# The versions for learning, and for few channels


@conv_forward.variant("cuda_direct", device="cuda", supports=supports_forward_cuda)
def conv_direct(
    x: Array, weight: Array, bias: Array | None, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> Array:
    positions = output_size(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    out = array_module(x).empty((len(x), len(weight), *positions), x.dtype)
    sizes = numbers(x.shape, weight.shape, stride, padding, dilation, groups)
    CU.launch("conv_direct", blocks(out.size, THREADS, MOST), THREADS, x, weight, bias, out, out.size, *sizes)
    return out


@conv_backward_input.variant("cuda_direct", device="cuda", supports=supports_backward_input_cuda)
def conv_direct_input(
    g: Array,
    weight: Array,
    bias: Array | None,
    x_shape: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> Array:
    dx = array_module(g).empty(x_shape, g.dtype)
    sizes = numbers(x_shape, weight.shape, stride, padding, dilation, groups)
    CU.launch("conv_direct_input", blocks(dx.size, THREADS, MOST), THREADS, g, weight, bias, dx, dx.size, *sizes)
    return dx


@conv_backward_weight.variant("cuda_direct", device="cuda", supports=supports_direct_weight)
def conv_direct_weight(
    g: Array, x: Array, weight_shape: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> tuple[Array, Array]:
    dweight = array_module(x).empty(weight_shape, g.dtype)
    sizes = numbers(x.shape, weight_shape, stride, padding, dilation, groups)
    CU.launch("conv_direct_weight", dweight.size, THREADS, g, x, dweight, len(g), *sizes)
    return dweight, bias_gradient(g)


@conv_forward.variant("cuda_implicit", device="cuda", supports=supports_implicit)
def conv_implicit(
    x: Array, weight: Array, bias: Array | None, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> Array:
    kernel, channels = weight.shape[2:], weight.shape[0]
    positions = output_size(x.shape[2:], kernel, stride, padding, dilation)
    out = array_module(x).empty((len(x), channels, *positions), x.dtype)
    grid = (blocks(len(x) * prod(positions), TILE), blocks(channels, TILE))
    sizes = (len(x), channels, x.shape[1], *geometry(x.shape[2:], kernel, stride, padding, dilation))
    CU.launch("conv_implicit", grid, THREADS, x, weight, out, *sizes)
    return _with_bias(out, bias)
