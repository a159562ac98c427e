"""Floats as bytes: q = round(x / scale) + zero_point, held between two ends. What comes back is (q - zero_point) * scale.

Rounding is to the nearest integer, halves to the even one, before the zero point is added. Numbers beyond the ends, infinities
among them, are taken for the end: they *saturate*. NaN has no place among integers, and raises.

Source: Jacob and others, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from . import Kernel
from .common import Array, float32_in_order
from .jit import jit
from .simd import WIDTH, first, fma, int32, load, max_lanes, maximum, minimum, rint, splat, store, sum_lanes


@Kernel
def finite_range(x: Array) -> tuple[float, float]:
    """The smallest and the largest element of x, or 0 where x is empty or all lie on one side of it.

    So 0 is in every range, and gets an integer of its own. Raises ValueError where an element is infinite or NaN.

    Example:
        >>> finite_range(np.array([2.0, 5.0, 3.0]))
        (0.0, 5.0)
    """
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 0.0)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise not_finite()
    return min(low, 0.0), max(high, 0.0)


def not_finite() -> ValueError:
    return ValueError(
        "quantize: the input has NaN or infinite elements, so there is no scale for it; find out where they come from, or use "
        "nan_to_num()"
    )


@finite_range.variant("numba", device="cpu", supports=lambda x: float32_in_order(x))
def finite_range_numba(x: Array) -> tuple[float, float]:
    low, high, nothing = extremes(x)
    if nothing != 0:
        raise not_finite()
    return -float(low), float(high)


@jit
def extremes(x: Any) -> Any:
    """-min and max of x and 0; and 0, or NaN where an element is not finite."""
    low, high, nothing = splat(0.0), splat(0.0), splat(0.0)
    whole = x.size - x.size % WIDTH
    for i in range(0, whole, WIDTH):
        value = load(x, i)
        low, high = minimum(value, low), maximum(value, high)
        nothing = fma(value, 0.0, nothing)  # infinity times 0 is NaN
    value = load(x, whole, first(x.size - whole))
    low, high = minimum(value, low), maximum(value, high)
    return max_lanes(-low), max_lanes(high), sum_lanes(fma(value, 0.0, nothing))


@Kernel
def quantize(x: Array, scale: Array, zero_point: Array, low: int, high: int, dtype: Any, columns: int) -> Array:
    """x (R, K) in integers (R, columns): round(x / scale) + zero_point within [low, high], the columns from K on 0.

    scale float32 and zero_point int32, one number or (R, 1). A zero point in float32 is added before rounding.
    Raises ValueError for NaN.

    Example:
        >>> quantize(np.array([[-9.0, 0.0, 0.26]]), np.float32(0.1), np.int32(10), 0, 255, np.uint8, 4)
        array([[ 0, 10, 13,  0]], dtype=uint8)
    """
    if np.isnan(x).any():
        raise not_finite()
    value = (x.astype(np.float32) * (np.float32(1) / scale)).astype(np.float64)  # float32 does not hold all of int32
    value = np.rint(value + zero_point) if zero_point.dtype.kind == "f" else np.rint(value) + zero_point
    out = np.zeros((len(x), columns), dtype)
    out[:, : x.shape[1]] = np.clip(value, low, high).astype(dtype)
    return out


def supports(x: Array, scale: Array, zero_point: Array, low: int, high: int, dtype: Any, columns: int) -> bool:
    return float32_in_order(x) and scale.ndim == 0 and zero_point.dtype == np.int32 and dtype == np.uint8


@quantize.variant("numba", device="cpu", supports=supports)
def quantize_numba(x: Array, scale: Array, zero_point: Array, low: int, high: int, dtype: Any, columns: int) -> Array:
    out = np.empty((len(x), columns), np.uint8)
    if to_bytes(x, np.float32(1) / scale, int(zero_point), low, high, out) != 0:
        raise not_finite()
    return out


@jit
def to_bytes(x: Any, inverse: Any, zero_point: int, low: int, high: int, out: Any) -> Any:
    """Write the integers; returns 0, or NaN if there was one."""
    rows, count = x.shape
    nothing = splat(0.0)
    for r in range(rows):
        for k in range(0, count, WIDTH):
            there = first(count - k)
            value = load(x, r * count + k, there) * inverse
            # infinity saturates, NaN is left, and times 0 it stays NaN
            nothing = fma(minimum(1.0, maximum(-1.0, value)), 0.0, nothing)
            value = rint(minimum(maximum(low - zero_point, value), high - zero_point))
            store(out, r * out.shape[1] + k, int32(value) + zero_point, there)
        for k in range(count, out.shape[1]):
            out[r, k] = 0
    return sum_lanes(nothing)


@Kernel
def windows(
    x: Array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    zero: int,
    columns: int,
) -> Array:
    """The windows of images x (B, *S, C) of bytes as rows: (B S', columns), of K C bytes and zeros after them; K, S': all of them.

    Images have as many dimensions as the kernel has. Channels come last, so that a row of a window is one piece of memory. Beyond
    the border stands `zero`, the integer of 0. The rows times filters (O, K C) are a convolution.
    """
    n = len(kernel)
    wide = np.pad(x, ((0, 0), *((p, p) for p in padding), (0, 0)), constant_values=zero)
    sizes = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    seen = np.lib.stride_tricks.sliding_window_view(wide, sizes, tuple(range(1, n + 1)))  # (B, *S', C, *sizes)
    steps = (
        slice(None),
        *(slice(None, None, s) for s in stride),
        slice(None),
        *(slice(None, None, d) for d in dilation),
    )
    seen = np.moveaxis(seen[steps], n + 1, -1)  # (B, *S', *K, C)
    rows = seen.reshape(-1, prod(kernel) * x.shape[-1])
    out = np.zeros((len(rows), columns), x.dtype)
    out[:, : rows.shape[1]] = rows
    return out


@windows.variant("numba", device="cpu", supports=lambda x, *rest: x.dtype == np.uint8 and x.ndim <= 5)
def windows_numba(
    x: Array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    zero: int,
    columns: int,
) -> Array:
    B, *size, C = x.shape
    if len(kernel) == 1:  # a signal is an image of height 1
        return windows_numba(
            x[:, None], (1, *kernel), (1, *stride), (0, *padding), (1, *dilation), zero, columns
        )  # fmt: skip
    if len(kernel) == 3:
        return of_volumes(x, kernel, stride, padding, dilation, zero, columns)
    each = zip(size, kernel, stride, padding, dilation, strict=True)
    H, W = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in each)
    out = np.empty((B * H * W, columns), np.uint8)
    if C <= FEW:
        wide = np.full((B, *(n + 2 * p for n, p in zip(size, padding, strict=True)), C), zero, np.uint8)
        wide[:, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]] = x
        gather_bytes(wide, kernel, stride, dilation, out.reshape(B, H, W, columns))
        return out
    count = kernel[0] * kernel[1] * C
    gather(np.ascontiguousarray(x), (B, H, W), kernel, stride, padding, dilation, zero, count, out.reshape(-1))
    return out


def of_volumes(
    x: Array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    zero: int,
    columns: int,
) -> Array:
    """Windows of the images that a volume consists of, those at several depths one after the other."""
    (B, D, *size, C), (K, *kernels) = x.shape, kernel
    width = prod(kernels) * C
    images = x.reshape(B * D, *size, C)
    flat = windows_numba(images, tuple(kernels), stride[1:], padding[1:], dilation[1:], zero, width)
    places = len(flat) // max(B * D, 1)
    wide = np.pad(flat.reshape(B, D, places, width), ((0, 0), (padding[0],) * 2, (0, 0), (0, 0)), constant_values=zero)
    depths = np.arange(0, wide.shape[1] - dilation[0] * (K - 1), stride[0])[:, None] + dilation[0] * np.arange(
        K
    )  # (D', K)
    rows = wide[:, depths].swapaxes(2, 3)  # (B, D', H' W', K, width)
    out = np.zeros((B * len(depths) * places, columns), np.uint8)
    out[:, : K * width] = rows.reshape(len(out), K * width)
    return out


FEW = 4  # channels, of which a row of a window is too short to be copied as one piece


@jit
def gather_bytes(x: Any, kernel: Any, stride: Any, dilation: Any, out: Any) -> None:
    """Images that have their borders: a byte of all windows along a row of the image after the other."""
    for b in range(out.shape[0]):
        for i in range(out.shape[1]):
            place = 0
            for ki in range(kernel[0]):
                h = i * stride[0] + ki * dilation[0]
                for kj in range(kernel[1]):
                    for c in range(x.shape[3]):
                        for j in range(out.shape[2]):
                            out[b, i, j, place] = x[b, h, j * stride[1] + kj * dilation[1], c]
                        place += 1
            out[b, i, :, place:] = 0


@jit
def gather(
    x: Any, places: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, zero: int, count: int, out: Any
) -> None:
    _, H, W, C = x.shape
    flat, positions = x.reshape(-1), places[0] * places[1] * places[2]
    columns = out.size // max(positions, 1)
    for position in range(positions):
        j = position % places[2]
        i = position // places[2] % places[1]
        b = position // (places[1] * places[2])
        place, left = position * columns, j * stride[1] - padding[1]
        together = dilation[1] == 1 and left >= 0 and left + kernel[1] <= W
        for ki in range(kernel[0]):
            h = i * stride[0] - padding[0] + ki * dilation[0]
            begin = (b * H + h) * W * C
            if together and 0 <= h < H:
                copy_bytes(flat, begin + left * C, out, place, kernel[1] * C)
            else:
                for kj in range(kernel[1]):
                    w = left + kj * dilation[1]
                    if 0 <= h < H and 0 <= w < W:
                        copy_bytes(flat, begin + w * C, out, place + kj * C, C)
                    else:
                        for c in range(C):
                            out[place + kj * C + c] = zero
            place += kernel[1] * C
        for k in range(count, columns):
            out[position * columns + k] = 0


@jit
def copy_bytes(x: Any, begin: int, out: Any, place: int, count: int) -> None:
    source, target = x[begin : begin + count], out[place : place + count]
    for k in range(count):  # from 0: an index that might be negative keeps the loop from being vectorised
        target[k] = source[k]
