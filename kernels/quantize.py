"""Floats as bytes: q = round(x / scale) + zero_point, held between two ends. What comes back is (q - zero_point) * scale.

Rounding is to the nearest integer, halves to the even one, before the zero point is added. Numbers beyond the ends, infinities
among them, are taken for the end: they *saturate*. NaN has no place among integers, and raises.

Source: Jacob and others, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018.
"""

from __future__ import annotations

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
    x: Array, kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...], dilation: tuple[int, ...], zero: int,
    columns: int,
) -> Array:  # fmt: skip
    """The windows of images x (B, C, H, W) of bytes as rows: (B H' W', columns), of C KH KW bytes and zeros after them.

    Beyond the border stands `zero`, the integer of 0. The rows times filters (O, C KH KW) are a convolution.
    """
    (KH, KW), (SH, SW), (PH, PW), (DH, DW) = kernel, stride, padding, dilation
    wide = np.pad(x, ((0, 0), (0, 0), (PH, PH), (PW, PW)), constant_values=zero)
    seen = np.lib.stride_tricks.sliding_window_view(wide, (DH * (KH - 1) + 1, DW * (KW - 1) + 1), (2, 3))
    seen = seen[:, :, ::SH, ::SW, ::DH, ::DW].transpose(0, 2, 3, 1, 4, 5)  # (B, H', W', C, KH, KW)
    rows = seen.reshape(-1, seen.shape[3] * KH * KW)
    out = np.zeros((len(rows), columns), x.dtype)
    out[:, : rows.shape[1]] = rows
    return out


@windows.variant("numba", device="cpu", supports=lambda x, *rest: x.dtype == np.uint8)
def windows_numba(
    x: Array, kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...], dilation: tuple[int, ...], zero: int,
    columns: int,
) -> Array:  # fmt: skip
    B, C, *size = x.shape
    each = zip(size, kernel, stride, padding, dilation, strict=True)
    positions = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in each)
    out = np.empty((B, *positions, columns), np.uint8)
    gather(np.ascontiguousarray(x), kernel, stride, padding, dilation, zero, C * kernel[0] * kernel[1], out)
    return out.reshape(-1, columns)


@jit
def gather(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, zero: int, count: int, out: Any) -> None:
    H, W = x.shape[2], x.shape[3]
    for b in range(x.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                row = out[b, i, j]
                place, left = 0, j * stride[1] - padding[1]
                inside = left >= 0 and left + dilation[1] * (kernel[1] - 1) < W
                for c in range(x.shape[1]):
                    for ki in range(kernel[0]):
                        h = i * stride[0] - padding[0] + ki * dilation[0]
                        if not 0 <= h < H:
                            for kj in range(kernel[1]):
                                row[place + kj] = zero
                        elif inside:
                            for kj in range(kernel[1]):
                                row[place + kj] = x[b, c, h, left + kj * dilation[1]]
                        else:
                            for kj in range(kernel[1]):
                                w = left + kj * dilation[1]
                                row[place + kj] = x[b, c, h, w] if 0 <= w < W else zero
                        place += kernel[1]
                for k in range(count, row.size):
                    row[k] = 0
