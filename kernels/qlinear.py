"""A linear layer in bytes: inputs uint8 with a zero point, weights int8, sums int32.

    out[m, n] = scale scale_w[n] sum_k (x[m, k] - zero_point) w[n, k]  +  bias[n]

The zero point comes out of the sum: what is left to do is sum_k x w, bytes without sign times bytes with sign, and to take
zero_point sum_k w off it, which is known beforehand. CPUs have an instruction for four such products and their sum (`dot4` in
simd.py), 64 products at a time with AVX-512, where float32 has 16; and a byte comes from memory in a quarter of the time.

The sums are exact. An older instruction, vpmaddubsw, adds up pairs in int16, which does not hold 2 * 255 * 127: libraries that
use it keep inputs to 7 bits ("reduce_range"). It is not used here: without `dot4` in one instruction the same sums take eight.

These kernels are for the CPU; gemm_int8 (int8.py) is the product of bytes on a GPU.

**Packed weights.** Columns of the result are worked on in panels of two registers. A panel lies in memory in the order in which
it is read: four weights for each of its columns, the next four, and so on, with zeros where there are no more.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import Kernel
from .common import Array
from .jit import jit
from .parallel import share
from .simd import WIDTH, first, float32, int32, load, maximum, minimum, rint, store, width
from .tile import ROWS, add_dots, int_tile, store_tile

LONGEST = 2**30 // (
    255 * 128
)  # the row of weights whose sums, whatever the bytes, fit into int32 with a bias of that size

HALF = 2**30  # of the largest int32
LARGEST = np.finfo(np.float32).max
TINY = 1e-37  # above the smallest normal number of float32


class Weights:
    """int8 weights (N, K) of a linear layer with their scales, one or (N,), and what the kernels make of them once.

    Raises ValueError for rows too long for int32.
    """

    def __init__(self, integers: Array, scale: Array) -> None:
        if integers.shape[1] > LONGEST:
            raise ValueError(
                f"quantized linear: rows of {integers.shape[1]} weights; the sums surely fit into int32 up to {LONGEST}: split the layer"
            )
        self.integers = integers
        self.scales = np.ascontiguousarray(np.broadcast_to(np.float32(scale), len(integers)))  # (N,)
        self.least, self.most = float(self.scales.min(initial=np.inf)), float(self.scales.max(initial=0))
        self.sums = integers.sum(1, dtype=np.int32)  # (N,)
        self._panels: Array | None = None

    def panels(self) -> Array:
        """The weights as the compiled kernels read them: (N / columns, K / 4, columns, 4), rounded up."""
        if self._panels is None:
            (N, K), columns = self.integers.shape, 2 * width()
            count, steps = -(-N // columns), -(-K // 4)
            whole = np.zeros((count * columns, steps * 4), np.int8)
            whole[:N, :K] = self.integers
            parts = whole.reshape(count, columns, steps, 4)
            self._panels = np.ascontiguousarray(parts.transpose(0, 2, 1, 3))
        return self._panels


def sums_of(x: Array, zero_point: int, weights: Weights) -> Array:
    """sum_k (x[m, k] - zero_point) w[n, k], int32, for the references."""
    # float64 holds these sums exactly and goes to the BLAS, which int32 does not
    x = x[:, : weights.integers.shape[1]].astype(np.float64) - zero_point
    return (x @ weights.integers.T.astype(np.float64)).astype(np.int32)


@Kernel
def qlinear(x: Array, scale: float, zero_point: int, weights: Weights, bias: Array | None, relu: bool) -> Array:
    """x (M, K) uint8 that stands for (x - zero_point) * scale, times the weights, plus bias (N,): (M, N) float32.

    x may have more columns than the weights, which are not read. relu: negative results are 0.
    """
    out = sums_of(x, zero_point, weights).astype(np.float32) * (np.float32(scale) * weights.scales)
    if bias is not None:
        out += bias
    return np.maximum(out, np.float32(0)) if relu else out


@Kernel
def qlinear_requantized(
    x: Array, scale: float, zero_point: int, weights: Weights, bias: Array | None, relu: bool, out_scale: float, out_zero: int
) -> Array:  # fmt: skip
    """The same with a result in uint8, (M, N), that stands for (out - out_zero) * out_scale.

    Integers until the last step: the bias is rounded to units of the sums, and one multiplication turns a sum into units of the
    result, round(sum * scale * scale_w / out_scale) + out_zero. relu: nothing is below the zero point.
    A bias too large for that, of a row of weights that are as good as 0, is added in units of the result.
    """
    added, factors, rest = in_units(bias, scale, weights, out_scale)
    out = np.rint((sums_of(x, zero_point, weights) + added).astype(np.float32) * factors + rest)
    low, high = (0 if relu else -out_zero), 255 - out_zero
    return (np.clip(out, low, high) + out_zero).astype(np.uint8)


def in_units(bias: Array | None, scale: float, weights: Weights, out_scale: float) -> tuple[Array, Array, Array]:
    """The bias in units of the sums, int32; a unit, and what is left of the bias, in units of the result. All (N,).

    Where the bias does not fit into half of int32 all of it is left.
    """
    N = len(weights.scales)
    if bias is None:
        bias = np.zeros(N, np.float32)
    scale, out_scale = float(scale), float(out_scale)
    if scale * weights.least > TINY and scale * weights.most < min(out_scale, 1.0) / TINY:
        units = np.float32(scale) * weights.scales
        whole = np.rint(bias / units)
        if max(whole.max(initial=0), -whole.min(initial=0)) < HALF:
            return whole.astype(np.int32), units / np.float32(out_scale), np.zeros(N, np.float32)
    with np.errstate(all="ignore"):  # what overflows becomes the largest number: of infinity, 0 would make NaN
        units, bias = np.float32(scale) * weights.scales, np.asarray(bias, np.float32)
        whole = np.rint(bias / units)
        fits = np.abs(whole) < HALF
        rest = np.clip(np.where(fits, np.float32(0), bias / np.float32(out_scale)), -LARGEST, LARGEST)
        return np.where(fits, whole, 0).astype(np.int32), np.minimum(units / np.float32(out_scale), LARGEST), rest


def supports(x: Array, *rest: Any) -> bool:
    return x.dtype == np.uint8 and x.flags.c_contiguous


@qlinear.variant("numba", device="cpu", supports=supports)
def qlinear_numba(x: Array, scale: float, zero_point: int, weights: Weights, bias: Array | None, relu: bool) -> Array:
    factors = np.float32(scale) * weights.scales
    bias = np.zeros(len(factors), np.float32) if bias is None else np.ascontiguousarray(bias, np.float32)
    out = np.empty((len(x), len(factors)), np.float32)
    compute(floats, x, weights, -zero_point * weights.sums, factors, bias, np.float32(0 if relu else -np.inf), out)
    return out


@qlinear_requantized.variant("numba", device="cpu", supports=supports)
def qlinear_requantized_numba(
    x: Array, scale: float, zero_point: int, weights: Weights, bias: Array | None, relu: bool, out_scale: float, out_zero: int
) -> Array:  # fmt: skip
    added, factors, rest = in_units(bias, scale, weights, out_scale)
    out = np.empty((len(x), len(factors)), np.uint8)
    added -= zero_point * weights.sums
    compute(integers, x, weights, added, factors, rest, out_zero if relu else 0, out_zero, out)
    return out


def compute(run: Any, x: Array, weights: Weights, *rest: Any) -> None:
    """Share the panels out among threads."""
    panels = weights.panels()
    K = panels.shape[1] * 4
    if x.shape[1] < K:
        x = np.pad(x, ((0, 0), (0, K - x.shape[1])))
    share(len(panels), run, len(x) * panels.size // 4, x, panels, *rest)


@jit(nogil=True)
def floats(begin: int, end: int, x: Any, panels: Any, added: Any, factors: Any, bias: Any, low: Any, out: Any) -> None:
    """Columns of the panels `begin` to end - 1: (sums + added) * factors + bias, or low if that is more."""
    M, N = out.shape
    columns = 2 * WIDTH
    sums = np.empty((2, ROWS, columns), np.int32)
    for p in range(begin, end, 2):
        i, count = 0, min(2, end - p)
        while i < M:
            rows = add_up(x, i, panels, p, count, sums)
            for c in range(0, count * columns, WIDTH):
                j = p * columns + c
                there = first(N - j)
                more, factor, offset = load(added, j, there), load(factors, j, there), load(bias, j, there)
                place = c // columns * ROWS * columns + c % columns
                for r in range(rows):
                    value = float32(load(sums, place + r * columns) + more) * factor + offset
                    store(out, (i + r) * N + j, maximum(low, value), there)
            i += rows


@jit(nogil=True)
def integers(
    begin: int, end: int, x: Any, panels: Any, added: Any, factors: Any, rest: Any, low: int, zero: int, out: Any
) -> None:
    """Columns of the panels `begin` to end - 1: round((sums + added) * factors + rest) + zero, within low and 255."""
    M, N = out.shape
    columns = 2 * WIDTH
    sums = np.empty((2, ROWS, columns), np.int32)
    for p in range(begin, end, 2):
        i, count = 0, min(2, end - p)
        while i < M:
            rows = add_up(x, i, panels, p, count, sums)
            for c in range(0, count * columns, WIDTH):
                j = p * columns + c
                there = first(N - j)
                more, factor, offset = load(added, j, there), load(factors, j, there), load(rest, j, there)
                place = c // columns * ROWS * columns + c % columns
                for r in range(rows):
                    value = rint(float32(load(sums, place + r * columns) + more) * factor + offset)
                    value = minimum(maximum(value, low - zero), 255 - zero)
                    store(out, (i + r) * N + j, int32(value) + zero, there)
            i += rows


@jit
def add_up(x: Any, i: int, panels: Any, p: int, count: int, sums: Any) -> int:
    """sums[q, r, c] = sum_k x[i + r, k] w[k, c] for the columns of panel p + q, q < count; returns how many rows: ROWS, 4 or 1."""
    left = x.shape[0] - i
    if left >= ROWS:
        for q in range(count):
            some_rows(int_tile(ROWS, 2), x, i, panels, p + q, sums[q])
        return ROWS
    if left >= 4:
        for q in range(count):
            some_rows(int_tile(4, 2), x, i, panels, p + q, sums[q])
        return 4
    if count == 2:
        one_row(x, i, panels, p, sums)
    else:
        some_rows(int_tile(1, 2), x, i, panels, p, sums[0])
    return 1


@jit
def some_rows(t: Any, x: Any, i: int, panels: Any, p: int, sums: Any) -> None:
    """As many rows as the tile t has."""
    columns, step = 2 * WIDTH, x.shape[1]
    place = p * panels.shape[1] * 4 * columns
    for k in range(0, 4 * panels.shape[1], 4):
        t = add_dots(t, x, i * step + k, step, panels, place + k * columns)
    store_tile(sums, 0, columns, t, columns)


@jit
def one_row(x: Any, i: int, panels: Any, p: int, sums: Any) -> None:
    """One row, which every weight meets once: how fast they come from memory is what counts, and two streams come faster."""
    columns, step, length = 2 * WIDTH, x.shape[1], panels.shape[1] * 8 * WIDTH
    left, right = int_tile(1, 2), int_tile(1, 2)
    place = p * length
    for k in range(0, 4 * panels.shape[1], 4):
        left = add_dots(left, x, i * step + k, step, panels, place + k * columns)
        right = add_dots(right, x, i * step + k, step, panels, place + length + k * columns)
    store_tile(sums[0], 0, columns, left, columns)
    store_tile(sums[1], 0, columns, right, columns)
