"""Pooling: maxima and means over windows, with fixed sizes or with a fixed number of windows, and the way back.

A maximum is a choice: once it is known where the largest values are, the operation is to pick them, and its gradient goes back
to those places. A mean is a sum over windows, whose gradient is spread over them.

Letters: B batch, C channels, S spatial sizes of x, K of the window, P of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce
from math import prod
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.op import Op, wrap
from ..autograd.precision import under_autocast
from ..devices import move, of_array, outside
from ..kernels import array_module
from ..kernels import pooling as kernels
from ..kernels.common import at_least_float32
from ..tensor import Tensor
from ..testing.samples import Sample, samples
from .arithmetic import div
from .convolution import at_least, batched, like, per_dimension
from .gather import index_array
from .indexing import IndexPut
from .random import rand
from .selection import where

Sizes = tuple[int, ...]


class Pick(Op):
    """The values of x (B, C, *S) at flat indices (B, C, *P) over S."""

    def forward(self, x: Any, *, index: Any) -> Any:
        self.size, self.index = x.shape[2:], index
        return kernels.pick(x, index)

    def backward(self, g: Any) -> Any:
        return Spill.apply(g, index=self.index, size=self.size)


class Spill(Op):
    """x (B, C, *P) added up at flat indices of (B, C, *size): the transpose of Pick."""

    def forward(self, x: Any, *, index: Any, size: Sizes) -> Any:
        self.index = index
        return kernels.spill(x, index, size)

    def backward(self, g: Any) -> Any:
        return Pick.apply(g, index=self.index)


class MaxPool(Op):
    """The largest value of each window of x (B, C, *S): (B, C, *P); with `indices` also where it is, int64.

    window: its kernel, stride, padding and dilation; None for windows that cover x evenly.
    """

    has_bfloat16_kernel = has_bfloat16_rule = True

    def forward(self, x: Any, *, window: tuple[Sizes, ...] | None, positions: Sizes, indices: bool = False) -> Any:
        self.size, self.window = x.shape[2:], window
        if window is None:
            out, self.index = kernels.adaptive_max_pool(x, positions)
        else:
            out, self.index = kernels.max_pool(x, *window, positions)
        return (out, self.index.astype(np.int64)) if indices else out

    def backward(self, g: Any) -> Any:
        g = g[0] if isinstance(g, list) else g
        if self.window is None:
            return kernels.adaptive_max_pool_backward(g, self.index, self.size)
        return kernels.max_pool_backward(g, self.index, self.size, *self.window)

    def composite(self, g: Any) -> Any:
        return Spill.apply(g[0] if isinstance(g, list) else g, index=self.index, size=self.size)


class SumPool(Op):
    """The sum of each window of x (B, C, *S), divided by a number or an array (*P): (B, C, *P).

    window: kernel, stride and padding, or None as in MaxPool. float16 is added up in float32: its sums soon leave its range.
    """

    def forward(self, x: Any, *, window: tuple[Sizes, ...] | None, positions: Sizes, divisor: Any = None) -> Any:
        self.size, self.window, self.divisor = x.shape[2:], window, divisor
        wide = at_least_float32(x) if x.dtype.kind == "f" else x
        sums = kernels.sum_pool(wide, *window, positions) if window else kernels.adaptive_sum_pool(wide, positions)
        return sums if divisor is None else (sums / divisor).astype(x.dtype, copy=False)

    def backward(self, g: Any) -> Any:
        return SpreadPool.apply(g, window=self.window, size=self.size, divisor=self.divisor)


class SpreadPool(Op):
    """Each of x (B, C, *P), divided, added to every value of its window of (B, C, *size): the transpose of SumPool."""

    def forward(self, x: Any, *, window: tuple[Sizes, ...] | None, size: Sizes, divisor: Any = None) -> Any:
        self.positions, self.window, self.divisor = x.shape[2:], window, divisor
        wide = at_least_float32(x) if divisor is None else at_least_float32(x) / divisor
        out = (
            kernels.sum_pool_backward(wide, size, *window) if window else kernels.adaptive_sum_pool_backward(wide, size)
        )
        return out.astype(x.dtype, copy=False)

    def backward(self, g: Any) -> Any:
        return SumPool.apply(g, window=self.window, positions=self.positions, divisor=self.divisor)


WINDOW = ((3, 2), (2, 1), (1, 0))


@samples(Pick)
def _(make: Any) -> Any:
    yield Sample(make(2, 1, 3, 2), index=np.array([[[[0, 5], [5, 2]]], [[[1, 1], [3, 0]]]]))


@samples(Spill)
def _(make: Any) -> Any:
    yield Sample(make(2, 1, 2), index=np.array([[[4, 4]], [[0, 5]]]), size=(3, 2))


@samples(MaxPool)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, 5, 4), window=(*WINDOW, (1, 1)), positions=(3, 3))
    yield Sample(make(1, 2, 7), window=((2,), (1,), (1,), (3,)), positions=(6,), note="dilation")
    yield Sample(make(2, 2, 5, 3), window=None, positions=(3, 2), note="windows that cover the input evenly")
    yield Sample(make(2, 1, 3), window=None, positions=(7,), note="several windows begin at one position")
    yield Sample(make(0, 1, 4), window=((2,), (1,), (0,), (1,)), positions=(3,), note="no batch")


@samples(SumPool)
def _(make: Any) -> Any:
    yield Sample(make(2, 2, 5, 3), window=None, positions=(3, 2), note="windows that cover the input evenly")
    yield Sample(make(2, 1, 3), window=None, positions=(7,), note="several windows begin at one position")
    yield Sample(make(2, 3, 5, 4), window=WINDOW, positions=(3, 3))
    yield Sample(make(1, 1, 4), window=((2,), (3,), (0,)), positions=(2,), note="the last window is cut off")
    yield Sample(make(0, 1, 4), window=((2,), (1,), (0,)), positions=(3,), note="no batch")
    yield Sample(make(1, 2, 4), window=((3,), (2,), (1,)), positions=(2,), divisor=3.0, note="means")


@samples(SpreadPool)
def _(make: Any) -> Any:
    yield Sample(make(2, 2, 3, 2), window=None, size=(5, 3), note="windows that cover the result evenly")
    yield Sample(make(2, 3, 3, 3), window=WINDOW, size=(5, 4))


# ---------------------------------------------------------------------------------------------------------------------
# Windows of a fixed size


def _check_input(name: str, input: Tensor, n: int) -> None:
    if input.ndim not in (n + 1, n + 2) or not all(input.shape[-n - 1 :]):
        raise RuntimeError(
            f"{name}: Expected {n + 1}D or {n + 2}D (batch mode) tensor with optional 0 dim batch size for input, but got "
            f"{list(input.shape)}"
        )


def _windows(name: str, kernel_size: Any, stride: Any, padding: Any, n: int) -> tuple[Sizes, Sizes, Sizes]:
    kernel = per_dimension(name, "kernel_size", kernel_size, n)
    unset = stride is None or (isinstance(stride, Sequence) and not len(stride))
    steps = kernel if unset else per_dimension(name, "stride", stride, n)
    pad = per_dimension(name, "padding", padding, n)
    _check_windows(name, kernel, steps, pad)
    return kernel, steps, pad


@lru_cache(256)
def _check_windows(name: str, kernel: Sizes, steps: Sizes, pad: Sizes) -> None:
    at_least(name, 1, kernel_size=kernel, stride=steps)
    at_least(name, 0, padding=pad)
    if any(2 * p > k for p, k in zip(pad, kernel, strict=True)):
        raise RuntimeError(
            f"{name}: pad should be at most half of effective kernel size, but got pad={pad} and kernel_size={kernel}"
        )


@lru_cache(256)
def _positions(name: str, size: Sizes, window: tuple[Sizes, Sizes, Sizes], dilation: Sizes, ceil_mode: bool) -> Sizes:
    """How many windows there are; with ceil_mode also one that begins within the input and reaches over its end."""
    at_least(name, 1, dilation=dilation)
    found = []
    for n, k, s, p, d in zip(size, *window, dilation, strict=True):
        left = n + 2 * p - d * (k - 1) - 1
        m = (-(-left // s) if ceil_mode else left // s) + 1
        if ceil_mode and (m - 1) * s >= n + p:
            m -= 1
        found.append(m)
    positions = tuple(found)
    if min(positions) < 1:
        raise RuntimeError(
            f"{name}: Given input size: {tuple(size)}. Calculated output size: {positions}. Output size is too small"
        )
    if any(map(_sees_nothing, size, *window, dilation, positions)):
        raise RuntimeError(
            f"{name}: with dilation={dilation} and padding={window[2]} a window sees no value of an input of size {size}; "
            "use a smaller dilation"
        )
    return positions


def _max_pool(
    n: int, input: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, indices: bool
) -> Any:
    name = f"max_pool{n}d"
    if input.is_quantized and not indices:
        return input.of_integers(lambda t: _max_pool(n, t, kernel_size, stride, padding, dilation, ceil_mode, False))
    _check_input(name, input, n)
    window = _windows(name, kernel_size, stride, padding, n)
    gaps = per_dimension(name, "dilation", dilation, n)
    x = batched(input, n)
    positions = _positions(name, x.array.shape[2:], window, gaps, ceil_mode)
    return _found(input, MaxPool.apply(x, window=(*window, gaps), positions=positions, indices=indices))


def _sees_nothing(n: int, k: int, s: int, p: int, d: int, m: int) -> bool:
    """Whether one of the m windows along a dimension has no tap in it; only a dilation can step over the whole input."""
    return d > n and any(all(not 0 <= i * s - p + d * tap < n for tap in range(k)) for i in range(m))


def _found(input: Tensor, outs: Any) -> Any:
    """The results for an input that may have had no batch dimension."""
    return tuple(like(out, input) for out in outs) if isinstance(outs, tuple) else like(outs, input)


def max_pool1d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest value of each window of input (B, C, L); see max_pool2d."""
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest value of each window of input (B, C, H, W) or (C, H, W).

    stride: from one window to the next (default: the window's size). padding: at most half a window, never chosen.
    ceil_mode: also a last window that reaches over the end. return_indices: the places (int64, row-major) as well.
    The gradient goes to the first of equal values. Raises RuntimeError for sizes that do not fit.

    Example:
        >>> F.max_pool2d(minidl.arange(16.0).reshape(1, 1, 4, 4), 2)
        tensor([[[[ 5.,  7.],
                  [13., 15.]]]])
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@under_autocast("full on cpu")
def max_pool3d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest value of each window of input (B, C, D, H, W); see max_pool2d."""
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _avg_pool(
    n: int, input: Tensor, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_pad: bool, divisor: Any
) -> Tensor:
    name = f"avg_pool{n}d"
    if input.is_quantized:
        return input.of_values(lambda t: _avg_pool(n, t, kernel_size, stride, padding, ceil_mode, count_pad, divisor))
    _check_input(name, input, n)
    if divisor == 0:
        raise RuntimeError(f"{name}: divisor must be not zero")
    window = _windows(name, kernel_size, stride, padding, n)
    x = batched(input, n)
    size = x.array.shape[2:]
    positions = _positions(name, size, window, (1,) * n, ceil_mode)
    counts = _divisor(x.array, _counts(size, window, positions, count_pad) if divisor is None else divisor)
    if x.array.dtype.kind in "iu":
        sums = SumPool.apply(x, window=window, positions=positions)
        return like(div(sums, counts if isinstance(counts, int) else wrap(counts), rounding_mode="trunc"), input)
    return like(SumPool.apply(x, window=window, positions=positions, divisor=counts), input)


@lru_cache(256)
def _counts(size: Sizes, window: tuple[Sizes, Sizes, Sizes], positions: Sizes, count_pad: bool) -> Any:
    """By how many values the sum of each window is divided, (*P): padding counts or not, what lies beyond it never."""
    kernel, steps, pad = window
    inside = all((m - 1) * s + k <= n for n, k, s, m in zip(size, kernel, steps, positions, strict=True))
    if inside and not any(pad):
        return prod(kernel)
    lengths = []
    for n, k, s, p, m in zip(size, *window, positions, strict=True):
        start = np.arange(m) * s - p
        ends = np.minimum(start + k, n + p if count_pad else n)
        lengths.append(ends - (start if count_pad else np.maximum(start, 0)))
    return _products(lengths)


def _products(lengths: Sequence[Any]) -> Any:
    """What windows of these lengths along each dimension hold, (*P); one number if it is the same for all."""
    counts = reduce(np.multiply.outer, lengths)
    return int(counts.flat[0]) if counts.size and (counts == counts.flat[0]).all() else counts


def _divisor(x: Any, counts: Any) -> Any:
    """Counts as what the sums of x are divided by: on its device, in the dtype of its sums."""
    if not isinstance(counts, np.ndarray):
        return counts
    return move(counts.astype(x.dtype if x.dtype.kind in "iu" else np.result_type(x.dtype, np.float32)), of_array(x))


def avg_pool1d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """The mean of each window of input (B, C, L); see avg_pool2d."""
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """The mean of each window of input (B, C, H, W) or (C, H, W).

    count_include_pad: whether the zeros around the input count. divisor_override: divide the sums by this instead.
    """
    return _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@under_autocast("full on cpu")
def avg_pool3d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """The mean of each window of input (B, C, D, H, W); see avg_pool2d."""
    return _avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _lp_pool(n: int, input: Tensor, p: float, kernel_size: Any, stride: Any, ceil_mode: bool) -> Tensor:
    if p in (np.inf, -np.inf):
        sign = 1 if p > 0 else -1
        return _max_pool(n, input.abs() * sign, kernel_size, stride, 0, 1, ceil_mode, False) * sign
    window = _windows(f"lp_pool{n}d", kernel_size, stride, 0, n)
    sums = _avg_pool(n, input.pow(p), window[0], window[1], 0, ceil_mode, True, None) * int(np.prod(window[0]))
    zero = sums.array == 0  # where the root has no derivative; it is taken as 0
    return where(zero, 0.0, where(zero, 1.0, sums).pow(1.0 / p))


def lp_pool1d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """The p-norm of each window of input (B, C, L), for p = norm_type."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """The p-norm of each window of input (B, C, H, W), for p = norm_type."""
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """The p-norm of each window of input (B, C, D, H, W), for p = norm_type."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


# ---------------------------------------------------------------------------------------------------------------------
# A fixed number of windows


def _wanted_size(name: str, input: Tensor, output_size: Any, n: int) -> Sizes:
    """The spatial size asked for; None stands for the input's."""
    _check_adaptive(name, input, n)
    sizes = output_size if isinstance(output_size, Sequence) else (output_size,) * n
    if len(sizes) != n:
        raise RuntimeError(f"{name}: output_size must be one number or {n} of them, got {output_size}")
    wanted = tuple(int(own if s is None else s) for s, own in zip(sizes, input.shape[-n:], strict=True))
    if min(wanted) < 0:
        raise RuntimeError(f"{name}: elements of output_size must be greater than or equal to 0, but got {wanted}")
    return wanted


def _check_adaptive(name: str, input: Tensor, n: int) -> None:
    if input.ndim not in (n + 1, n + 2) or not all(input.shape[-n:]):
        raise RuntimeError(
            f"{name}: Expected {n + 1}D or {n + 2}D tensor with non-zero size for non-batch dimensions, but got "
            f"{list(input.shape)}"
        )


def _adaptive_avg_pool(n: int, input: Tensor, output_size: Any) -> Tensor:
    name = f"adaptive_avg_pool{n}d"
    if input.is_quantized:
        return input.of_values(lambda t: _adaptive_avg_pool(n, t, output_size))
    wanted = _wanted_size(name, input, output_size, n)
    if {*wanted} == {1} and input.array.dtype.kind == "f" and input.array.itemsize > 2:  # float16 sums would overflow
        return input.mean(tuple(range(-n, 0)), keepdim=True)
    if input.array.dtype.kind not in dtypes.FLOATING:
        raise NotImplementedError(f"{name}: not implemented for {input.dtype}; convert the input with float()")
    x = batched(input, n)
    counts = _adaptive_counts(x.array.shape[2:], wanted)
    return like(SumPool.apply(x, window=None, positions=wanted, divisor=_divisor(x.array, counts)), input)


@lru_cache(256)
def _adaptive_counts(size: Sizes, wanted: Sizes) -> Any:
    """How many values each window holds: (*wanted), or one number."""
    spans = [kernels.span(np.arange(count), count, n) for n, count in zip(size, wanted, strict=True)]
    return _products([end - start for start, end in spans])


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """The means of `output_size` windows that cover input (B, C, L) evenly."""
    return _adaptive_avg_pool(1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The means of H' x W' windows that cover input (B, C, H, W) evenly; None keeps a size. (1, 1) is the global mean."""
    return _adaptive_avg_pool(2, input, output_size)


@under_autocast("full on cpu")
def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """The means of D' x H' x W' windows that cover input (B, C, D, H, W) evenly."""
    return _adaptive_avg_pool(3, input, output_size)


def _adaptive_max_pool(n: int, input: Tensor, output_size: Any, indices: bool) -> Any:
    wanted = _wanted_size(f"adaptive_max_pool{n}d", input, output_size, n)
    return _found(input, MaxPool.apply(batched(input, n), window=None, positions=wanted, indices=indices))


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest values of `output_size` windows that cover input (B, C, L) evenly."""
    return _adaptive_max_pool(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest values of H' x W' windows that cover input (B, C, H, W) evenly; None keeps a size."""
    return _adaptive_max_pool(2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest values of D' x H' x W' windows that cover input (B, C, D, H, W) evenly."""
    return _adaptive_max_pool(3, input, output_size, return_indices)


def _fractional_max_pool(
    n: int, input: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any, indices: bool, draws: Tensor | None
) -> Any:
    name = f"fractional_max_pool{n}d"
    _check_input(name, input, n)
    if (output_size is None) == (output_ratio is None):
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    x = batched(input, n)
    size, kernel = x.array.shape[2:], per_dimension(name, "kernel_size", kernel_size, n)
    if output_size is None:
        ratios = output_ratio if isinstance(output_ratio, Sequence) else (output_ratio,) * n
        output_size = [int(s * r) for s, r in zip(size, ratios, strict=True)]
    wanted = per_dimension(name, "output_size", output_size, n)
    at_least(name, 1, kernel_size=kernel, output_size=wanted)
    if any(m + k - 1 > s for s, k, m in zip(size, kernel, wanted, strict=True)):
        raise RuntimeError(f"{name}: kernel_size {kernel} is too large for input {size} and output_size {wanted}")
    if draws is None:
        draws = rand(*x.shape[:2], n, dtype=x.dtype, device=x.device)
    xp = array_module(x.array)
    starts = []  # per dimension (B, C, P)
    order = (1, 0) if n == 2 else range(n)  # of the draws; PyTorch's begin with the width in two dimensions
    for axis, s, k, m in zip(order, size, kernel, wanted, strict=True):
        u = draws.array[..., axis, None]
        step = (s - k) / (m - 1) if m > 1 else 0.0
        start = (xp.floor((xp.arange(m, dtype=u.dtype) + u) * step) - xp.floor(u * step)).astype(np.int64)
        start[..., -1] = s - k
        starts.append(start)
    index = kernels.fractional_max_index(x.array, starts, kernel)
    out = like(Pick.apply(x, index=index), input)
    return (out, like(wrap(index), input)) if indices else out


def fractional_max_pool2d(
    input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """The largest values of windows at random, ever growing steps that give `output_size` of them (Graham, 2014)."""
    return _fractional_max_pool(2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)


def fractional_max_pool3d(
    input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """The largest values of windows at random steps in three dimensions; see fractional_max_pool2d."""
    return _fractional_max_pool(3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)


# ---------------------------------------------------------------------------------------------------------------------
# Back to where the maxima were


def _max_unpool(
    n: int, input: Tensor, indices: Tensor, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> Tensor:
    name = f"max_unpool{n}d"
    if input.shape != indices.shape:
        raise RuntimeError(
            f"{name}: Expected shape of indices to be same as that of the input tensor ({list(input.shape)}), but got "
            f"{list(indices.shape)}"
        )
    _check_input(name, input, n)
    kernel, stride, padding = _windows(name, kernel_size, stride, padding, n)
    smallest = [(m - 1) * s - 2 * p + k for m, k, s, p in zip(input.shape[-n:], kernel, stride, padding, strict=True)]
    size = smallest if output_size is None else list(output_size)[-n:]
    if output_size is not None and len(output_size) not in (n, n + 1, n + 2):
        raise ValueError(f"{name}: output_size must be {n} numbers or a whole shape, got {output_size}")
    if any(not s - t < m < s + t for m, s, t in zip(size, smallest, stride, strict=True)):
        raise ValueError(f"{name}: invalid output_size {size} (each must be less than the stride away from {smallest})")
    x, at = batched(input, n), index_array(name, indices)
    if outside(at, 0, prod(size)):
        wrong = at.min() if at.min() < 0 else at.max()
        raise RuntimeError(f"{name}: found an invalid max index {wrong} for an output of size {tuple(size)}")
    xp, (B, C, *positions) = array_module(x.array), x.shape
    rows = (B * C, prod(positions))
    zeros = wrap(xp.zeros((B * C, prod(size)), x.array.dtype))
    index = (xp.arange(B * C)[:, None], at.reshape(rows))
    return like(IndexPut.apply(zeros, x.reshape(rows), index=index).reshape(B, C, *size), input)


def max_unpool1d(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """Values put back where max_pool1d found them, zeros elsewhere."""
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """Values put back where max_pool2d found them, zeros elsewhere."""
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """Values put back where max_pool3d found them, zeros elsewhere."""
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)
