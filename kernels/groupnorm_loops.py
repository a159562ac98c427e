"""The compiled loops of groupnorm.py, in either order of memory.

Channels-last, x is a matrix of pixels, N rows of C numbers. A piece of some rows is what is worked on at a time: a sample, or
some rows where samples share their sets. Statistics are found for each channel of each piece and put together in float64, those
of groups from those of their channels.

In row-major order the numbers of a channel of a sample are side by side, a plane. A piece is a sample.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .jit import jit
from .layout import load_some, store_some
from .simd import WIDTH, first, splat

BLOCK = 4096  # numbers that are summed up in float32 and read again, while they are in the first-level cache: so many rows of them


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


@jit
def running_scales(var: Any, weight: Any, eps: float, out: Any) -> None:
    """1 / sqrt(var + eps), and that times weight."""
    for c in range(var.size):
        out[0, c] = 1 / math.sqrt(var[c] + eps)
        out[1, c] = out[0, c] * weight[c]


@jit
def add_pieces(plain: Any, weighted: Any, rstd: Any, dparams: Any) -> None:
    """The sums of all pieces: dweight and dbias."""
    for c in range(rstd.size):
        a = b = 0.0
        for p in range(plain.shape[0]):
            a += plain[p, c]
            b += weighted[p, c]
        dparams[0, c], dparams[1, c] = b * rstd[c], a


# ---------------------------------------------------------------------------------------------------------------------
# Planes


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
