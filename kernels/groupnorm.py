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

from typing import Any

import numpy as np

from . import Kernel, array_module
from . import groupnorm_loops as loops
from .common import FLOAT32, Array, at_least_float32
from .layout import channels_last_memory, channels_last_numbers, empty_channels_last, row_major
from .parallel import MEMORY, share

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
def running_norm(
    x: Array, weight: Array | None, bias: Array | None, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """x (B, C, *S) normalized by a mean and a variance that are given, (C,): as by batch normalization, once it is trained.

    Also a copy of the mean, and 1 / sqrt(var + eps); for a float16 x they are float32.

    Example:
        >>> running_norm(np.array([[1.0, 3.0]]), None, np.array([0.0, 5.0]), np.ones(2), np.full(2, 4.0), 0.0)[0]
        array([[0., 6.]])
    """
    wide = np.result_type(x.dtype, FLOAT32)
    mean, rstd = mean.astype(wide), 1 / array_module(x).sqrt(var.astype(wide) + eps)
    out = (x - _by_channel(mean, x)) * _by_channel(rstd if weight is None else rstd * weight, x)
    if bias is not None:
        out = out + _by_channel(bias, x)
    return out.astype(x.dtype, copy=False), mean, rstd


@Kernel
def running_norm_backward(
    g: Array, x: Array, weight: Array | None, mean: Array, rstd: Array
) -> tuple[Array, Array, Array]:
    """Gradients (dx, dweight, dbias) from the gradient g of running_norm's result; without a weight, as if it were ones."""
    every, wide = (0, *range(2, x.ndim)), at_least_float32(g)
    dx = wide * _by_channel(rstd if weight is None else rstd * weight, x)
    found = dx, (wide * (x - _by_channel(mean, x))).sum(axis=every) * rstd, wide.sum(axis=every)
    return tuple(a.astype(g.dtype, copy=False) for a in found)


def _sets(x: Array, groups: int, shared: bool) -> tuple[Array, tuple[int, ...]]:
    """x as (B, groups, channels of a group, positions), and the axes of a set."""
    size = x.size // max(x.shape[0] * x.shape[1], 1)
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, size), (0, 2, 3) if shared else (2, 3)


def _by_channel(numbers: Array, x: Array) -> Array:
    """(C,) in a shape that goes together with x (B, C, *S)."""
    return numbers.reshape(-1, *(1,) * (x.ndim - 2))


# Numba: see groupnorm_loops.py.


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


def in_planes(x: Array) -> bool:
    """Whether x is row-major, with planes that are long enough to be worked on one by one."""
    return x.ndim > 2 and x.shape[1] > 1 and x.flags.c_contiguous and x.size >= 64 * x.shape[0] * x.shape[1]


def planes_of(x: Array) -> tuple[int, int]:
    """The numbers of a plane, and how many samples there are."""
    return x.size // (x.shape[0] * x.shape[1]), x.shape[0]


def ones_or(weight: Array | None, channels: int) -> Array:
    return np.ones(channels, np.float32) if weight is None else np.ascontiguousarray(weight)


def zeros_or(bias: Array | None, channels: int) -> Array:
    return np.zeros(channels, np.float32) if bias is None else np.ascontiguousarray(bias)


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
        statistics = loops.plane_statistics if planes else loops.channel_statistics
        statistics(begin, end, numbers, size, channels, means, squares, np.empty((3, channels), np.float32))

    def finish(begin: int, end: int) -> None:
        (loops.scale_planes if planes else loops.scale_rows)(
            begin, end, numbers, size, channels, centre, scale, bias, target
        )

    def each_by_itself(begin: int, end: int) -> None:
        partial = np.empty((3, channels), np.float32)
        loops.normalize_samples(
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
        loops.set_statistics(
            0, 1, means, squares, size, x.size // channels, weight, float(eps), mean, var, centre, scale
        )
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
        (loops.plane_sums if planes else loops.channel_sums)(
            begin, end, slopes, numbers, size, channels, centre, plain, weighted, partial
        )

    def finish(begin: int, end: int) -> None:
        (loops.combine_planes if planes else loops.combine_rows)(
            begin, end, slopes, numbers, size, channels, centre, by_g, by_x, rest, target
        )

    def each_by_itself(begin: int, end: int) -> None:
        partial = np.empty((2, channels), np.float32)
        results.append(np.zeros((2, channels), np.float32))
        loops.differentiate_samples(
            begin, end, slopes, numbers, size, centre, plain, weighted, partial, n, weight, var, float(eps), by_g, by_x, rest,
            results[-1], target, planes,
        )  # fmt: skip

    if shared:
        share(each * pieces, measure, MEMORY * x.size)
        results.append(np.zeros((2, channels), np.float32))
        loops.coefficients(0, 1, plain, weighted, n, weight, var, float(eps), by_g, by_x, rest, results[0])
        share(each * pieces, finish, MEMORY * x.size)
    else:
        share(pieces, each_by_itself, 2 * MEMORY * x.size)
    return dx, *sum(results[1:], results[0])


def supports_running(x: Array, weight: Array | None, bias: Array | None, mean: Array, var: Array, eps: float) -> bool:
    return supports(x, weight, bias) and mean.dtype == var.dtype == FLOAT32


@running_norm.variant("numba", device="cpu", supports=supports_running)
def running_norm_numba(
    x: Array, weight: Array | None, bias: Array | None, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    channels, planes = x.shape[1], in_planes(x)
    out, target = like(x, planes)
    numbers, (size, pieces) = (x.reshape(-1), planes_of(x)) if planes else (rows_of(x), cut(x, True))
    shift, centre, scale = zeros_or(bias, channels), mean.copy(), np.empty((2, channels), np.float32)
    loops.running_scales(np.ascontiguousarray(var), ones_or(weight, channels), float(eps), scale)
    run = loops.scale_planes if planes else loops.scale_rows
    units = pieces * channels if planes else pieces
    share(units, run, MEMORY * x.size, numbers, size, channels, centre[None], scale[1:], shift, target)
    return out, centre, scale[0]


def supports_running_backward(g: Array, x: Array, weight: Array | None, mean: Array, rstd: Array) -> bool:
    return supports(x, g, weight) and mean.dtype == rstd.dtype == FLOAT32


@running_norm_backward.variant("numba", device="cpu", supports=supports_running_backward)
def running_norm_backward_numba(
    g: Array, x: Array, weight: Array | None, mean: Array, rstd: Array
) -> tuple[Array, Array, Array]:
    channels, planes = x.shape[1], in_planes(x)
    if planes:
        slopes, numbers, (size, pieces) = row_major(g).reshape(-1), x.reshape(-1), planes_of(x)
    else:
        slopes, numbers, (size, pieces) = rows_of(g), rows_of(x), cut(x, True)
    dx, target = like(x, planes)
    plain, weighted = np.empty((2, pieces, channels))
    nothing, dparams = np.zeros((1, channels), np.float32), np.empty((2, channels), np.float32)

    def run(begin: int, end: int) -> None:
        measure = loops.plane_sums if planes else loops.channel_sums
        partial = np.empty((2, channels), np.float32)
        measure(begin, end, slopes, numbers, size, channels, mean[None], plain, weighted, partial)
        scale = loops.scale_planes if planes else loops.scale_rows
        scale(begin, end, slopes, size, channels, nothing, by_g, nothing[0], target)

    by_g = (rstd if weight is None else rstd * weight)[None]
    share(pieces * channels if planes else pieces, run, 2 * MEMORY * x.size)
    loops.add_pieces(plain, weighted, rstd, dparams)
    return dx, *dparams
