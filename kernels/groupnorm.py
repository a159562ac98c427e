"""Batch, group and instance normalization, and the multiplication and addition of one number per channel.

The values of x (B, C, *S) fall into sets, each with its own mean m and variance v (divided by the number n of values):

    batch normalization       a set for each channel, of all samples
    group normalization       a set for each sample and group of channels
    instance normalization    a set for each sample and channel: as many groups as channels

    xhat = (x - m) r,  r = 1 / sqrt(v + eps)         out = xhat * weight + bias, one weight and bias for each channel
    h    = g * weight                                dx = r (h - mean(h) - xhat * mean(h * xhat)), means over a set
    dweight = sum of g * xhat                        dbias = sum of g, over samples and positions

`shared` says that samples share their sets, which then have one channel each: batch normalization.

Sources: Ioffe and Szegedy, "Batch Normalization", 2015; Ulyanov, Vedaldi and Lempitsky, "Instance Normalization", 2016; Wu and
He, "Group Normalization", 2018; Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
Variances", 1979.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import Kernel, array_module
from .common import FLOAT32, Array, at_least_float32
from .jit import jit
from .layout import channels_last_memory, channels_last_numbers, empty_channels_last, load_some, row_major, store_some
from .parallel import MEMORY, share
from .simd import WIDTH, first, splat

BLOCK = 4096  # numbers that are summed up in float32 and read again, while they are in the first-level cache: so many rows of them
PIECE = 2048  # pixels of a piece, the unit in which work is shared out, where samples share their sets


@Kernel
def group_norm(
    x: Array, weight: Array | None, bias: Array | None, groups: int, shared: bool, eps: float
) -> tuple[Array, Array, Array]:
    """x (B, C, *S) normalized; the mean and the variance of every set, (B, groups) or, if `shared`, (1, C).

    weight and bias are (C,) or None. For a float16 x, mean and variance are float32.

    Example:
        >>> group_norm(np.array([[[1.0, 3.0]]]), None, None, 1, True, 0.0)
        (array([[[-1.,  1.]]]), array([[2.]]), array([[1.]]))
    """
    sets, axes = _sets(at_least_float32(x), groups, shared)
    mean = sets.mean(axis=axes, keepdims=True)
    centred = sets - mean
    var = (centred * centred).mean(axis=axes, keepdims=True)
    out = (centred / array_module(x).sqrt(var + eps)).reshape(x.shape)
    if weight is not None:
        out = out * _by_channel(weight, x)
    if bias is not None:
        out = out + _by_channel(bias, x)
    return out.astype(x.dtype, copy=False), *(s.reshape(len(s), groups) for s in (mean, var))


@Kernel
def group_norm_backward(
    g: Array, x: Array, weight: Array | None, mean: Array, var: Array, groups: int, shared: bool, eps: float
) -> tuple[Array, Array, Array]:
    """Gradients (dx, dweight, dbias) from the gradient g of the result; without a weight, as if it were ones."""
    xp, every = array_module(x), (0, *range(2, x.ndim))
    sets, axes = _sets(at_least_float32(x), groups, shared)
    rstd = 1 / xp.sqrt(var + eps).reshape(*var.shape, 1, 1)
    xhat = (sets - mean.reshape(rstd.shape)) * rstd
    wide = at_least_float32(g)
    h = _sets(wide if weight is None else wide * _by_channel(weight, x), groups, shared)[0]
    dx = rstd * (h - h.mean(axis=axes, keepdims=True) - xhat * (h * xhat).mean(axis=axes, keepdims=True))
    dweight, dbias = (wide * xhat.reshape(x.shape)).sum(axis=every), wide.sum(axis=every)
    return dx.reshape(x.shape).astype(x.dtype, copy=False), *(d.astype(g.dtype, copy=False) for d in (dweight, dbias))


@Kernel
def channel_affine(x: Array, scale: Array, shift: Array) -> Array:
    """x (B, C, *S) * scale + shift, which are (C,).

    Example:
        >>> channel_affine(np.ones((1, 2)), np.array([2.0, 3.0]), np.array([0.0, 1.0]))
        array([[2., 4.]])
    """
    return (x * _by_channel(scale, x) + _by_channel(shift, x)).astype(x.dtype, copy=False)


@Kernel
def channel_affine_backward(g: Array, x: Array, scale: Array) -> tuple[Array, Array, Array]:
    """Gradients (dx, dscale, dshift) from the gradient g of channel_affine's result."""
    every, wide = (0, *range(2, x.ndim)), at_least_float32(g)
    found = wide * _by_channel(scale, x), (wide * x).sum(axis=every), wide.sum(axis=every)
    return tuple(a.astype(g.dtype, copy=False) for a in found)


def _sets(x: Array, groups: int, shared: bool) -> tuple[Array, tuple[int, ...]]:
    """x as (B, groups, channels of a group, positions), and the axes of a set."""
    size = x.size // max(x.shape[0] * x.shape[1], 1)
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, size), (0, 2, 3) if shared else (2, 3)


def _by_channel(numbers: Array, x: Array) -> Array:
    """(C,) in a shape that goes together with x (B, C, *S)."""
    return numbers.reshape(-1, *(1,) * (x.ndim - 2))


# Numba, channels-last: x is a matrix of pixels, N rows of C numbers. A piece of some rows is what is worked on at a time: a
# sample, or PIECE rows where samples share their sets. Statistics are found for each channel of each piece and put together in
# float64, those of groups from those of their channels.


def supports(x: Array, weight: Array | None, bias: Array | None, *rest: Any) -> bool:
    same = all(a is None or a.dtype == FLOAT32 for a in (x, weight, bias))
    return same and 2 <= x.ndim <= 5 and x.size > 0


def supports_backward(g: Array, x: Array, weight: Array | None, *rest: Any) -> bool:
    return supports(x, g, weight)


def rows_of(x: Array) -> Array:
    """The numbers of x (B, C, *S), channels-last."""
    return np.ascontiguousarray(x).reshape(-1) if x.ndim == 2 else channels_last_numbers(x)


def like(x: Array, planes: bool = False) -> tuple[Array, Array]:
    """A new array of x's shape, channels-last or in planes, and its numbers."""
    if x.ndim == 2 or planes:
        out = np.empty(x.shape, np.float32)
        return out, out.reshape(-1)
    out = empty_channels_last(x.shape)
    return out, channels_last_memory(out)


def cut(x: Array, shared: bool) -> tuple[int, int]:
    """The rows of a piece (the last one may have fewer), and how many pieces there are."""
    rows = x.size // x.shape[1]
    size = min(rows, PIECE) if shared else rows // x.shape[0]
    return size, -(-rows // size)


@group_norm.variant("numba", device="cpu", supports=supports)
def group_norm_numba(
    x: Array, weight: Array | None, bias: Array | None, groups: int, shared: bool, eps: float
) -> tuple[Array, Array, Array]:
    channels, planes = x.shape[1], in_planes(x)
    numbers, (size, pieces) = (x.reshape(-1), planes_of(x)) if planes else (rows_of(x), cut(x, shared))
    sets, each = 1 if shared else pieces, channels if planes else 1
    means, squares = np.empty((2, pieces, channels))
    mean, var = np.empty((2, sets, groups), np.float32)
    centre, scale = np.empty((2, sets, channels), np.float32)
    weight, bias = ones_or(weight, channels), zeros_or(bias, channels)
    out, target = like(x, planes)

    def measure(begin: int, end: int) -> None:
        statistics = plane_statistics if planes else channel_statistics
        statistics(begin, end, numbers, size, channels, means, squares, np.empty((3, channels), np.float32))

    def finish(begin: int, end: int) -> None:
        (scale_planes if planes else scale_rows)(begin, end, numbers, size, channels, centre, scale, bias, target)

    def each_by_itself(begin: int, end: int) -> None:
        partial = np.empty((3, channels), np.float32)
        normalize_samples(
            begin,
            end,
            numbers,
            size,
            means,
            squares,
            partial,
            weight,
            float(eps),
            mean,
            var,
            centre,
            scale,
            bias,
            target,
            planes,
        )

    if shared:
        share(each * pieces, measure, MEMORY * x.size)
        set_statistics(0, 1, means, squares, size, x.size // channels, weight, float(eps), mean, var, centre, scale)
        share(each * pieces, finish, MEMORY * x.size)
    else:
        share(pieces, each_by_itself, 2 * MEMORY * x.size)
    return out, mean, var


@group_norm_backward.variant("numba", device="cpu", supports=supports_backward)
def group_norm_backward_numba(
    g: Array, x: Array, weight: Array | None, mean: Array, var: Array, groups: int, shared: bool, eps: float
) -> tuple[Array, Array, Array]:
    channels, n, planes = x.shape[1], x.size // mean.size, in_planes(x)
    if planes:
        slopes, numbers, (size, pieces), each = row_major(g).reshape(-1), x.reshape(-1), planes_of(x), channels
    else:
        slopes, numbers, (size, pieces), each = rows_of(g), rows_of(x), cut(x, shared), 1
    centre = mean if groups == channels else np.repeat(mean, channels // groups, 1)
    plain, weighted = np.empty((2, pieces, channels))
    by_g, by_x, rest = np.empty((3, len(mean), channels), np.float32)
    weight = ones_or(weight, channels)
    dx, target = like(x, planes)
    results = []

    def measure(begin: int, end: int) -> None:
        partial = np.empty((2, channels), np.float32)
        (plane_sums if planes else channel_sums)(
            begin, end, slopes, numbers, size, channels, centre, plain, weighted, partial
        )

    def finish(begin: int, end: int) -> None:
        (combine_planes if planes else combine_rows)(
            begin, end, slopes, numbers, size, channels, centre, by_g, by_x, rest, target
        )

    def each_by_itself(begin: int, end: int) -> None:
        partial = np.empty((2, channels), np.float32)
        results.append(np.zeros((2, channels), np.float32))
        differentiate_samples(
            begin, end, slopes, numbers, size, centre, plain, weighted, partial, n, weight, var, float(eps), by_g, by_x, rest,
            results[-1], target, planes,
        )  # fmt: skip

    if shared:
        share(each * pieces, measure, MEMORY * x.size)
        results.append(np.zeros((2, channels), np.float32))
        coefficients(0, 1, plain, weighted, n, weight, var, float(eps), by_g, by_x, rest, results[0])
        share(each * pieces, finish, MEMORY * x.size)
    else:
        share(pieces, each_by_itself, 2 * MEMORY * x.size)
    return dx, *sum(results[1:], results[0])


@jit(nogil=True)
def normalize_samples(
    begin: int, end: int, x: Any, size: int, means: Any, squares: Any, partial: Any, weight: Any, eps: float, mean: Any,
    var: Any, centre: Any, scale: Any, shift: Any, out: Any, planes: bool,
) -> None:  # fmt: skip
    """One sample after the other, which is still in the cache when it is read again."""
    channels = means.shape[1]
    for s in range(begin, end):
        if planes:
            plane_statistics(s * channels, (s + 1) * channels, x, size, channels, means, squares, partial)
        else:
            channel_statistics(s, s + 1, x, size, channels, means, squares, partial)
        set_statistics(s, s + 1, means, squares, size, x.size // channels, weight, eps, mean, var, centre, scale)
        if planes:
            scale_planes(s * channels, (s + 1) * channels, x, size, channels, centre, scale, shift, out)
        else:
            scale_rows(s, s + 1, x, size, channels, centre, scale, shift, out)


@jit(nogil=True)
def differentiate_samples(
    begin: int, end: int, g: Any, x: Any, size: int, centre: Any, plain: Any, weighted: Any, partial: Any, n: int, weight: Any,
    var: Any, eps: float, by_g: Any, by_x: Any, rest: Any, dparams: Any, out: Any, planes: bool,
) -> None:  # fmt: skip
    channels = plain.shape[1]
    for s in range(begin, end):
        if planes:
            plane_sums(s * channels, (s + 1) * channels, g, x, size, channels, centre, plain, weighted, partial)
        else:
            channel_sums(s, s + 1, g, x, size, channels, centre, plain, weighted, partial)
        coefficients(s, s + 1, plain, weighted, n, weight, var, eps, by_g, by_x, rest, dparams)
        if planes:
            combine_planes(s * channels, (s + 1) * channels, g, x, size, channels, centre, by_g, by_x, rest, out)
        else:
            combine_rows(s, s + 1, g, x, size, channels, centre, by_g, by_x, rest, out)


def ones_or(weight: Array | None, channels: int) -> Array:
    return np.ones(channels, np.float32) if weight is None else np.ascontiguousarray(weight)


def zeros_or(bias: Array | None, channels: int) -> Array:
    return np.zeros(channels, np.float32) if bias is None else np.ascontiguousarray(bias)


@channel_affine.variant("numba", device="cpu", supports=supports)
def channel_affine_numba(x: Array, scale: Array, shift: Array) -> Array:
    nothing = np.zeros((1, x.shape[1]), np.float32)
    planes = in_planes(x)
    out, target = like(x, planes)
    numbers, (size, pieces) = (x.reshape(-1), planes_of(x)) if planes else (rows_of(x), cut(x, True))
    scale_all(numbers, size, pieces, nothing, scale[None], shift, target, planes)
    return out


@channel_affine_backward.variant("numba", device="cpu", supports=supports_backward)
def channel_affine_backward_numba(g: Array, x: Array, scale: Array) -> tuple[Array, Array, Array]:
    nothing, planes = np.zeros((1, x.shape[1]), np.float32), in_planes(x)
    if planes:
        slopes, numbers, (size, pieces) = row_major(g).reshape(-1), x.reshape(-1), planes_of(x)
    else:
        slopes, numbers, (size, pieces) = rows_of(g), rows_of(x), cut(x, True)
    dx, target = like(x, planes)
    plain, weighted = (s.sum(0).astype(np.float32) for s in sums(slopes, numbers, size, pieces, nothing, planes))
    scale_all(slopes, size, pieces, nothing, scale[None], nothing[0], target, planes)
    return dx, weighted, plain


def scale_all(
    x: Array, size: int, pieces: int, centre: Array, scale: Array, shift: Array, out: Array, planes: bool = False
) -> None:
    """(x - centre) * scale + shift; centre and scale (pieces, C) or (1, C)."""
    scale, shift = np.ascontiguousarray(scale), np.ascontiguousarray(shift)
    channels = centre.shape[1]

    def run(begin: int, end: int) -> None:
        (scale_planes if planes else scale_rows)(begin, end, x, size, channels, centre, scale, shift, out)

    share(pieces * channels if planes else pieces, run, MEMORY * x.size)


def sums(g: Array, x: Array, size: int, pieces: int, centre: Array, planes: bool = False) -> tuple[Array, Array]:
    """For each piece and channel the sums of g and of g * (x - centre): float64."""
    channels = centre.shape[1]
    plain, weighted = np.empty((2, pieces, channels))

    def run(begin: int, end: int) -> None:
        partial = np.empty((2, channels), np.float32)
        (plane_sums if planes else channel_sums)(begin, end, g, x, size, channels, centre, plain, weighted, partial)

    share(pieces * channels if planes else pieces, run, MEMORY * x.size)
    return plain, weighted


@jit(forceinline=True)
def at_once(channels: int) -> int:
    """Rows of a block."""
    return min(max(BLOCK // channels, 16), 64)


@jit
def set_statistics(
    first: int, last: int, means: Any, squares: Any, size: int, rows: int, weight: Any, eps: float, mean: Any, var: Any,
    centre: Any, scale: Any,
) -> None:  # fmt: skip
    """From channels of pieces to samples first ... last - 1: mean and variance, what channels are shifted and scaled by."""
    sets, groups = mean.shape
    pieces, channels = means.shape
    each = channels // groups
    for s in range(first, last):
        begin, end = s * (pieces // sets), (s + 1) * (pieces // sets)
        for group in range(groups):
            total, n = 0.0, 0
            for p in range(begin, end):
                count = min(size, rows - p * size)
                n += count * each
                for c in range(group * each, (group + 1) * each):
                    total += means[p, c] * count
            middle, spread = total / n, 0.0
            for p in range(begin, end):
                for c in range(group * each, (group + 1) * each):
                    apart = means[p, c] - middle
                    spread += squares[p, c] + min(size, rows - p * size) * apart * apart
            mean[s, group], var[s, group] = middle, spread / n
            for c in range(group * each, (group + 1) * each):
                centre[s, c], scale[s, c] = middle, weight[c] / math.sqrt(spread / n + eps)


@jit
def coefficients(
    first: int, last: int, plain: Any, weighted: Any, n: int, weight: Any, var: Any, eps: float, by_g: Any, by_x: Any,
    rest: Any, dparams: Any,
) -> None:  # fmt: skip
    """From the sums of the pieces: dx = g * by_g + (x - mean) * by_x + rest. To dparams their part of dweight and dbias."""
    sets, groups = var.shape
    pieces, channels = plain.shape
    each = channels // groups
    for s in range(first, last):
        for group in range(groups):
            rstd, h, hx = 1 / math.sqrt(var[s, group] + eps), 0.0, 0.0
            for c in range(group * each, (group + 1) * each):
                a = b = 0.0
                for p in range(s * (pieces // sets), (s + 1) * (pieces // sets)):
                    a += plain[p, c]
                    b += weighted[p, c]
                h += a * weight[c]
                hx += b * weight[c]
                dparams[0, c] += b * rstd
                dparams[1, c] += a
            for c in range(group * each, (group + 1) * each):
                by_g[s, c], by_x[s, c], rest[s, c] = rstd * weight[c], -(rstd**3) * hx / n, -rstd * h / n


@jit(nogil=True)
def channel_statistics(
    begin: int, end: int, x: Any, size: int, channels: int, means: Any, squares: Any, partial: Any
) -> None:
    """Mean and sum of squared deviations of each channel of pieces begin ... end - 1.

    Both are found for a few rows at a time, where nothing cancels, and combined as Chan, Golub and LeVeque do.
    """
    whole = channels // WIDTH * WIDTH
    for piece in range(begin, end):
        means[piece], squares[piece] = 0.0, 0.0
        top, bottom = piece * size, min((piece + 1) * size, x.size // channels)
        for row in range(top, bottom, at_once(channels)):
            n, before = min(at_once(channels), bottom - row), row - top
            for c in range(0, whole, WIDTH):
                deviations(x, row * channels + c, channels, n, None, partial, c)
            if whole < channels:
                deviations(x, row * channels + whole, channels, n, first(channels - whole), partial, whole)
            for c in range(channels):
                apart = partial[0, c] + np.float64(partial[1, c]) - means[piece, c]
                means[piece, c] += apart * n / (before + n)
                squares[piece, c] += partial[2, c] + apart * apart * n * before / (before + n)


@jit(forceinline=True)
def deviations(x: Any, place: int, step: int, n: int, some: Any, partial: Any, c: int) -> None:
    """Mean (in two parts) and sum of squared deviations of n rows, one register of channels, to partial[:, c]."""
    total, total1, total2, total3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)  # one alone would wait for itself
    for i in range(0, n - 3, 4):
        here = place + i * step
        total += load_some(x, here, some)
        total1 += load_some(x, here + step, some)
        total2 += load_some(x, here + 2 * step, some)
        total3 += load_some(x, here + 3 * step, some)
    for i in range(n // 4 * 4, n):
        total += load_some(x, place + i * step, some)
    mean = (total + total1 + total2 + total3) / np.float32(n)
    # mean is rounded: what is left of the deviations' sum tells how much it is off
    total, total1, rest, rest1 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
    for i in range(0, n - 1, 2):
        here = place + i * step
        apart, apart1 = load_some(x, here, some) - mean, load_some(x, here + step, some) - mean
        total, rest = total + apart * apart, rest + apart
        total1, rest1 = total1 + apart1 * apart1, rest1 + apart1
    if n % 2:
        apart = load_some(x, place + (n - 1) * step, some) - mean
        total, rest = total + apart * apart, rest + apart
    rest = (rest + rest1) / np.float32(n)
    store_some(partial, c, mean, some)
    store_some(partial, step + c, rest, some)
    store_some(partial, 2 * step + c, total + total1 - rest * rest * np.float32(n), some)


@jit(nogil=True)
def channel_sums(
    begin: int, end: int, g: Any, x: Any, size: int, channels: int, mean: Any, plain: Any, weighted: Any, partial: Any
) -> None:
    whole = channels // WIDTH * WIDTH
    for piece in range(begin, end):
        plain[piece], weighted[piece] = 0.0, 0.0
        bottom, at = min((piece + 1) * size, x.size // channels), piece % mean.shape[0] * channels
        for row in range(piece * size, bottom, at_once(channels)):
            n = min(at_once(channels), bottom - row)
            for c in range(0, whole, WIDTH):
                products(g, x, row * channels + c, channels, n, None, mean, at + c, partial, c)
            if whole < channels:
                rest = first(channels - whole)
                products(g, x, row * channels + whole, channels, n, rest, mean, at + whole, partial, whole)
            for c in range(channels):
                plain[piece, c] += partial[0, c]
                weighted[piece, c] += partial[1, c]


@jit(forceinline=True)
def products(
    g: Any, x: Any, place: int, step: int, n: int, some: Any, mean: Any, at: int, partial: Any, c: int
) -> None:
    """Sums of g and of g * (x - mean) of n rows, one register of channels, to partial[:, c]."""
    m = load_some(mean, at, some)
    plain, plain1, weighted, weighted1 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
    for i in range(0, n - 1, 2):
        here = place + i * step
        slope, slope1 = load_some(g, here, some), load_some(g, here + step, some)
        plain, weighted = plain + slope, weighted + slope * (load_some(x, here, some) - m)
        plain1, weighted1 = plain1 + slope1, weighted1 + slope1 * (load_some(x, here + step, some) - m)
    if n % 2:
        here = place + (n - 1) * step
        slope = load_some(g, here, some)
        plain, weighted = plain + slope, weighted + slope * (load_some(x, here, some) - m)
    store_some(partial, c, plain + plain1, some)
    store_some(partial, step + c, weighted + weighted1, some)


@jit(nogil=True)
def scale_rows(
    begin: int, end: int, x: Any, size: int, channels: int, mean: Any, scale: Any, shift: Any, out: Any
) -> None:
    whole = channels // WIDTH * WIDTH
    for piece in range(begin, end):
        bottom, at = min((piece + 1) * size, x.size // channels), piece % mean.shape[0] * channels
        for row in range(piece * size, bottom, at_once(channels)):
            n = min(at_once(channels), bottom - row)
            for c in range(0, whole, WIDTH):
                scaled(x, row * channels + c, channels, n, None, mean, scale, at + c, shift, c, out)
            if whole < channels:
                rest = first(channels - whole)
                scaled(x, row * channels + whole, channels, n, rest, mean, scale, at + whole, shift, whole, out)


@jit(forceinline=True)
def scaled(
    x: Any, place: int, step: int, n: int, some: Any, mean: Any, scale: Any, at: int, shift: Any, c: int, out: Any
) -> None:
    m, factor, summand = load_some(mean, at, some), load_some(scale, at, some), load_some(shift, c, some)
    for i in range(n):
        here = place + i * step
        store_some(out, here, (load_some(x, here, some) - m) * factor + summand, some)


@jit(nogil=True)
def combine_rows(
    begin: int, end: int, g: Any, x: Any, size: int, channels: int, mean: Any, by_g: Any, by_x: Any, rest: Any, out: Any
) -> None:
    """g * by_g + (x - mean) * by_x + rest, with coefficients for each piece and channel, or for each channel."""
    whole = channels // WIDTH * WIDTH
    for piece in range(begin, end):
        bottom, at = min((piece + 1) * size, x.size // channels), piece % mean.shape[0] * channels
        for row in range(piece * size, bottom, at_once(channels)):
            n = min(at_once(channels), bottom - row)
            for c in range(0, whole, WIDTH):
                combined(g, x, row * channels + c, channels, n, None, mean, by_g, by_x, rest, at + c, out)
            if whole < channels:
                mask = first(channels - whole)
                combined(g, x, row * channels + whole, channels, n, mask, mean, by_g, by_x, rest, at + whole, out)


@jit(forceinline=True)
def combined(
    g: Any,
    x: Any,
    place: int,
    step: int,
    n: int,
    some: Any,
    mean: Any,
    by_g: Any,
    by_x: Any,
    rest: Any,
    at: int,
    out: Any,
) -> None:
    m, a, b, c = (
        load_some(mean, at, some),
        load_some(by_g, at, some),
        load_some(by_x, at, some),
        load_some(rest, at, some),
    )
    for i in range(n):
        here = place + i * step
        store_some(out, here, load_some(g, here, some) * a + (load_some(x, here, some) - m) * b + c, some)


# Numba, row-major: the numbers of a channel of a sample are side by side, a plane. A piece is a sample. Short planes are turned
# into rows: what is done once for each plane would take longer.


def in_planes(x: Array) -> bool:
    """Whether x is row-major, with planes that are long enough to be worked on one by one."""
    return x.ndim > 2 and x.shape[1] > 1 and x.flags.c_contiguous and x.size >= 64 * x.shape[0] * x.shape[1]


def planes_of(x: Array) -> tuple[int, int]:
    """The numbers of a plane, and how many samples there are."""
    return x.size // (x.shape[0] * x.shape[1]), x.shape[0]


@jit(nogil=True)
def plane_statistics(
    begin: int, end: int, x: Any, size: int, channels: int, means: Any, squares: Any, partial: Any
) -> None:
    """Mean and sum of squared deviations of planes begin ... end - 1: of the lanes first, as if they were channels."""
    lanes = np.empty((3, WIDTH), np.float32)
    for plane in range(begin, end):
        s, c = plane // channels, plane % channels
        means[s, c], squares[s, c] = 0.0, 0.0
        for start in range(0, size, BLOCK):
            count = min(BLOCK, size - start)
            rows, rest = count // WIDTH, count % WIDTH
            if rows:
                deviations(x, plane * size + start, WIDTH, rows, None, lanes, 0)
                include(s, c, start, rows, WIDTH, lanes, means, squares)
            if rest:
                before = start + rows * WIDTH
                deviations(x, plane * size + before, WIDTH, 1, first(rest), lanes, 0)
                include(s, c, before, 1, rest, lanes, means, squares)


@jit
def include(s: int, c: int, before: int, rows: int, count: int, lanes: Any, means: Any, squares: Any) -> None:
    """Put so many lanes, of so many rows each, together with the numbers before."""
    mean, spread, n = 0.0, 0.0, rows * count
    for i in range(count):
        mean += lanes[0, i] + np.float64(lanes[1, i])
    mean /= count
    for i in range(count):
        apart = lanes[0, i] + np.float64(lanes[1, i]) - mean
        spread += lanes[2, i] + rows * apart * apart
    apart = mean - means[s, c]
    means[s, c] += apart * n / (before + n)
    squares[s, c] += spread + apart * apart * n * before / (before + n)


@jit(nogil=True)
def scale_planes(
    begin: int, end: int, x: Any, size: int, channels: int, mean: Any, scale: Any, shift: Any, out: Any
) -> None:
    for plane in range(begin, end):
        s, c = plane // channels % mean.shape[0], plane % channels
        m, factor, summand = mean[s, c], scale[s, c], shift[c]
        source, target = x[plane * size : (plane + 1) * size], out[plane * size : (plane + 1) * size]
        for i in range(size):
            target[i] = (source[i] - m) * factor + summand


@jit(nogil=True, fastmath={"reassoc", "contract"})  # reassoc: several partial sums side by side
def plane_sums(
    begin: int, end: int, g: Any, x: Any, size: int, channels: int, mean: Any, plain: Any, weighted: Any, partial: Any
) -> None:
    for plane in range(begin, end):
        s, c = plane // channels, plane % channels
        m = mean[s % mean.shape[0], c]
        plain[s, c], weighted[s, c] = 0.0, 0.0
        for start in range(plane * size, (plane + 1) * size, BLOCK):
            stop = min(start + BLOCK, (plane + 1) * size)
            slopes, values, a, b = g[start:stop], x[start:stop], np.float32(0), np.float32(0)
            for i in range(stop - start):
                a += slopes[i]
                b += slopes[i] * (values[i] - m)
            plain[s, c] += a
            weighted[s, c] += b


@jit(nogil=True)
def combine_planes(
    begin: int, end: int, g: Any, x: Any, size: int, channels: int, mean: Any, by_g: Any, by_x: Any, rest: Any, out: Any
) -> None:
    for plane in range(begin, end):
        s, c = plane // channels % mean.shape[0], plane % channels
        m, a, b, summand = mean[s, c], by_g[s, c], by_x[s, c], rest[s, c]
        slopes, values = g[plane * size : (plane + 1) * size], x[plane * size : (plane + 1) * size]
        target = out[plane * size : (plane + 1) * size]
        for i in range(size):
            target[i] = slopes[i] * a + (values[i] - m) * b + summand
