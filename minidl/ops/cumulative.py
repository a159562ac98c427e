"""Running totals along a dimension, differences, and integrals of samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.op import Op, wrap
from ..kernels import array_module, determinism
from ..kernels.accumulate import accumulate
from ..kernels.common import row_major
from ..kernels.scan import running_sum
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .axes import axes_of
from .conversion import cast
from .define import FloatOp, result_type
from .exponential import exp, log
from .gather import gather
from .joining import Narrow, cat, stack
from .rearrange import Flip
from .selection import logical_xor, where
from .shape import normalize_dim


class CumSum(Op):
    """Running sums along a dimension, from its end if `reverse`."""

    complex_rule = True
    precision = "full on cuda"

    def forward(self, x: Any, *, axis: int, reverse: bool) -> Any:
        self.axis, self.reverse = axis, reverse
        return running_sum(row_major(x), axis, reverse) if x.ndim else x.copy()

    def backward(self, g: Any) -> Any:
        return CumSum.apply(g, axis=self.axis, reverse=not self.reverse)


class CumProd(Op):
    """Running products along a dimension."""

    complex_rule = True
    precision = "full on cuda"

    def forward(self, x: Any, *, axis: int) -> Any:
        self.axis = axis
        if x.ndim and determinism.required(x):
            return accumulate("multiply", x, axis)
        return row_major(x).cumprod(axis, dtype=x.dtype) if x.ndim else x.copy()

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        if not x.ndim:
            return g
        if (getattr(x, "array", x) != 0).all():
            return CumSum.apply(g * out, axis=self.axis, reverse=True) / x
        # without a division: the product of what stands before i, times s_i = g_i + x_(i+1) s_(i+1)
        before = (slice(None),) * self.axis
        last = x.shape[self.axis] - 1
        sums = [g[(*before, last)]]
        for i in reversed(range(last)):
            sums.append(g[(*before, i)] + x[(*before, i + 1)] * sums[-1])
        return products_before(x, self.axis) * stack(sums[::-1], self.axis)


def products_before(x: Any, axis: int) -> Any:
    """For each element the product of those before it along an axis, 1 for the first."""
    n = x.shape[axis]
    ones = array_module(x).ones_like(Narrow.apply(getattr(x, "array", x), dim=axis, start=0, length=1))
    return CumProd.apply(cat([ones, Narrow.apply(x, dim=axis, start=0, length=n - 1)], axis), axis=axis)


class LogCumSumExp(FloatOp):
    """log of the running sums of e^x, without overflow."""

    def forward(self, x: Any, *, axis: int) -> Any:
        self.axis = axis
        # in float64: the rule subtracts results that may be large
        return (
            accumulate("logaddexp", x.astype(np.result_type(x.dtype, np.float64)), axis).astype(x.dtype)
            if x.ndim
            else x.copy()
        )

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        if not x.ndim:
            return g
        # the sum of g_j e^(x_i - out_j) over j >= i, by logarithms, for positive and negative g apart
        return exp(self._log_sums(g, out) + x) - exp(self._log_sums(-g, out) + x)

    def _log_sums(self, g: Any, out: Any) -> Any:
        positive = g > 0
        logs = where(positive, log(where(positive, g, 1.0)), float(np.finfo(getattr(g, "array", g).dtype).min))
        turned = Flip.apply(logs - out, dims=(self.axis,))
        return Flip.apply(LogCumSumExp.apply(turned, axis=self.axis), dims=(self.axis,))


class RunningExtreme(Op):
    """Where the largest (or smallest) element so far stands, the last of equal ones; NaN stays once it came."""

    def forward(self, x: Any, *, axis: int, largest: bool) -> Any:
        xp = array_module(x)
        if not x.ndim:
            return xp.zeros((), np.int64)
        running = accumulate("maximum" if largest else "minimum", x, axis)
        here = (x == running) | (x != x)
        place = xp.arange(x.shape[axis]).reshape([-1 if d == axis else 1 for d in range(x.ndim)])
        return accumulate("maximum", xp.where(here, place, 0), axis)


def _running(name: str, input: Tensor, dim: int, dtype: Any) -> tuple[Tensor, int]:
    if dtype is not None:
        input = cast(input, dtypes.as_array_dtype(dtype))
    elif input.array.dtype.kind in "biu":
        input = cast(input, np.dtype(np.int64))
    return input, normalize_dim(dim, input.array.ndim, name)


@method(inplace=True)
def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running sums along `dim`."""
    x, axis = _running("cumsum", input, dim, dtype)
    return CumSum.apply(x, axis=axis, reverse=False)


@method(inplace=True)
def cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running products along `dim`."""
    x, axis = _running("cumprod", input, dim, dtype)
    return CumProd.apply(x, axis=axis)


@method()
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """log(cumsum(exp(input), dim)), without overflow."""
    return LogCumSumExp.apply(input, axis=normalize_dim(dim, input.array.ndim, "logcumsumexp"))


CUMMAX, CUMMIN = result_type("cummax", "values", "indices"), result_type("cummin", "values", "indices")


@method()
def cummax(input: Tensor, dim: int) -> Any:
    """(values, indices) of the largest element so far along `dim`, the last of equal ones."""
    dim = normalize_dim(dim, input.array.ndim, "cummax")
    index = RunningExtreme.apply(input, axis=dim, largest=True)
    return CUMMAX(gather(input, dim, index), index)


@method()
def cummin(input: Tensor, dim: int) -> Any:
    """(values, indices) of the smallest element so far along `dim`, the last of equal ones."""
    dim = normalize_dim(dim, input.array.ndim, "cummin")
    index = RunningExtreme.apply(input, axis=dim, largest=False)
    return CUMMIN(gather(input, dim, index), index)


# ---------------------------------------------------------------------------------------------------------------------
# Differences and integrals


@method()
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """The n-th differences of neighbours along `dim`; of bools, whether neighbours differ.

    prepend, append: tensors to put before and after input along `dim` first.

    Example:
        >>> minidl.diff(minidl.tensor([1, 4, 9]))
        tensor([3, 5])
    """
    if not input.array.ndim:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    dim = normalize_dim(dim, input.array.ndim, "diff")
    if n == 0:
        return input.clone()
    x = input if prepend is append is None else cat([t for t in (prepend, input, append) if t is not None], dim)
    minus = logical_xor if x.array.dtype.kind == "b" else Tensor.__sub__
    for _ in range(n):
        size = x.array.shape[dim]
        if size < 2:
            return x.narrow(dim, 0, 0)
        x = minus(x.narrow(dim, 1, size - 1), x.narrow(dim, 0, size - 1))
    return x


def _areas(name: str, y: Tensor, x: Tensor | None, dx: Any, dim: int) -> Tensor:
    """The areas of the trapezoids between neighbouring samples along `dim`."""
    if not y.array.ndim:
        raise IndexError(f"{name}: y must have at least one dimension")
    n = y.array.shape[dim]
    if x is not None:
        along = (x if x.array.ndim == 1 else x.movedim(dim - y.array.ndim, -1)) if x.array.ndim else x
        if not along.array.ndim or along.array.shape[-1] != n:
            raise RuntimeError(
                f"{name}: There must be one `x` value for each sample point, got x of shape {list(x.shape)} for y of "
                f"shape {list(y.shape)} along dim {dim}"
            )
        dx = diff(along)
    y = y.movedim(dim, -1)
    m = y.array.shape[-1]
    if m < 2:
        return y.narrow(-1, 0, 0) * 0.5
    return (y.narrow(-1, 1, m - 1) + y.narrow(-1, 0, m - 1)) * dx * 0.5


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    """The integral along `dim` by the trapezoidal rule, of samples y at the points x, or `dx` apart.

    Example:
        >>> minidl.trapezoid(minidl.tensor([1.0, 2.0, 3.0]))
        tensor(4.)
    """
    return _areas("trapezoid", y, x, dx, normalize_dim(dim, y.array.ndim, "trapezoid")).sum(-1)


trapz = trapezoid


def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    """The running integral along `dim` by the trapezoidal rule; one element shorter than y."""
    dim = normalize_dim(dim, y.array.ndim, "cumulative_trapezoid")
    return cumsum(_areas("cumulative_trapezoid", y, x, dx, dim), -1).movedim(-1, dim)


def gradient(input: Tensor, *, spacing: Any = None, dim: Any = None, edge_order: int = 1) -> list[Tensor]:
    """The derivative of a sampled function along each of `dim` (default all), by central differences.

    spacing: the distance of samples (default 1), one for all dimensions or one each, or a tensor of coordinates each.
    edge_order: 1 or 2, the order of the one-sided differences at the ends.

    Example:
        >>> minidl.gradient(minidl.tensor([1.0, 4.0, 9.0]))[0]
        tensor([3., 4., 5.])
    """
    if edge_order not in (1, 2):
        raise RuntimeError(f"torch.gradient only supports edge_order=1 and edge_order=2, got {edge_order}")
    if input.array.dtype.kind not in dtypes.INEXACT:
        input = cast(input, dtypes.get_default_dtype().dtype)
    dims = axes_of(input, dim, "gradient")
    spacing = 1.0 if spacing is None else spacing
    steps = list(spacing) if isinstance(spacing, (tuple, list)) else [spacing] * len(dims)
    if len(steps) != len(dims):
        raise RuntimeError(f"torch.gradient expected spacing to be one value or {len(dims)}, got {len(steps)}")
    for d in dims:
        if input.array.shape[d] < edge_order + 1:
            raise RuntimeError(
                f"torch.gradient expected each dimension size to be at least edge_order+1, got {list(input.shape)}"
            )
    return [_slopes(input, d, step, edge_order) for d, step in zip(dims, steps, strict=True)]


def _slopes(x: Tensor, dim: int, step: Any, edge_order: int) -> Tensor:
    """Second-order accurate slopes inside, slopes of order `edge_order` at the two ends."""
    n = x.array.shape[dim]
    if not (isinstance(step, Tensor) and step.array.ndim):
        step = wrap(array_module(x.array).full(n - 1, float(step)))
    else:
        step = diff(step)
    step = cast(step, x.array.dtype).reshape([-1 if d == dim else 1 for d in range(x.array.ndim)])
    slope = diff(x, dim=dim) / step  # between neighbours
    first, last = slope.narrow(dim, 0, 1), slope.narrow(dim, n - 2, 1)
    if n == 2:
        return cat([first, last], dim)
    left, right = slope.narrow(dim, 0, n - 2), slope.narrow(dim, 1, n - 2)
    a, b = step.narrow(dim, 0, n - 2), step.narrow(dim, 1, n - 2)
    bend = (right - left) / (a + b)  # half the second derivative of the parabola through three samples
    if edge_order == 2:
        first = first - bend.narrow(dim, 0, 1) * step.narrow(dim, 0, 1)
        last = last + bend.narrow(dim, n - 3, 1) * step.narrow(dim, n - 2, 1)
    return cat([first, left + bend * a, last], dim)


@samples(CumSum)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), axis=1, reverse=False)
    yield Sample(make(2, 3), axis=0, reverse=True)


@samples(CumProd)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, low=0.5), axis=1)
    yield Sample(np.array([2.0, 0.0, 3.0, 0.0]), axis=0, note="with zeros")
    yield Sample(np.array([[0.0, 2.0, 0.0], [3.0, 0.5, 2.0]]), axis=1, note="with a zero in front")


@samples(LogCumSumExp)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), axis=1)
    yield Sample(np.array([-900.0, 0.0, 900.0, 899.0]), axis=0, note="does not overflow")


__all__ = [
    "cummax", "cummin", "cumprod", "cumsum", "cumulative_trapezoid", "diff", "gradient", "logcumsumexp", "trapezoid",
    "trapz",
]  # fmt: skip
