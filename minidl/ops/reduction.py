"""Sums, means and other values of many: over all elements, or along dimensions."""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.op import Op, SparseOperand
from ..autograd.precision import in_float32, under_autocast
from ..kernels import array_module
from ..kernels import reduce as kernels
from ..kernels.common import row_major
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .axes import axes_of, either, restored
from .conversion import cast
from .cumulative import products_before
from .exponential import exp, log, sqrt
from .extremum import AMax, amax, amin
from .rearrange import Flip
from .selection import isnan, where
from .shape import sizes_of

SMALL = 2**12  # elements up to which repeating costs less than broadcast_to, and the leaf's copy of that


class Sum(Op):
    """The sum along dimensions."""

    complex_rule = True
    has_bfloat16_kernel = has_bfloat16_rule = True
    precision = "full on cuda"

    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool) -> Any:
        self.shape, self.axes, self.keepdim = x.shape, axes, keepdim
        return kernels.add_up(x, axes, keepdim)

    def backward(self, g: Any) -> Any:
        return Spread.apply(g, shape=self.shape, axes=self.axes, keepdim=self.keepdim)


class Spread(Op):
    """The reverse of Sum: each value repeated over the dimensions that were summed."""

    complex_rule = exact = True

    def forward(self, g: Any, *, shape: tuple[int, ...], axes: tuple[int, ...], keepdim: bool) -> Any:
        self.axes, self.keepdim = axes, keepdim
        if len(axes) < len(shape):  # else it is one value
            g = restored(g, axes, keepdim)
        if isinstance(g, (np.ndarray, np.generic)) and math.prod(shape) < SMALL:
            out = np.empty(shape, g.dtype)
            out[...] = g
            return out
        return array_module(g).broadcast_to(g, shape)

    def backward(self, g: Any) -> Any:
        return Sum.apply(g, axes=self.axes, keepdim=self.keepdim)


class Mean(Sum):
    """The mean along dimensions."""

    has_bfloat16_kernel = has_bfloat16_rule = False  # it multiplies with a number
    precision = None  # type: ignore[assignment]  # unlike a sum, PyTorch's keeps the dtype under autocast

    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool) -> Any:
        n = math.prod(x.shape[a] for a in axes)
        self.share = 1.0 / n if n else math.nan
        return super().forward(x, axes=axes, keepdim=keepdim) * self.share

    def backward(self, g: Any) -> Any:
        return Spread.apply(g * self.share, shape=self.shape, axes=self.axes, keepdim=self.keepdim)


class Var(Op):
    """The variance along dimensions: the sum of the squared distances from the mean, over `freedom`."""

    complex_rule = True

    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool, freedom: float) -> Any:
        self.axes, self.keepdim, self.freedom = axes, keepdim, freedom
        away = x - Mean.apply(x, axes=axes, keepdim=True) if axes else x * 0
        square = away.real * away.real + away.imag * away.imag if x.dtype.kind == "c" else away * away
        return Sum.apply(square, axes=axes, keepdim=keepdim) / freedom

    def backward(self, g: Any, x: Any) -> Any:
        away = x - Mean.apply(x, axes=self.axes, keepdim=True) if self.axes else x * 0
        return restored(g / self.freedom, self.axes, self.keepdim) * 2.0 * away.conj()


class LogSumExp(Op):
    """log(sum(exp(x))) along dimensions of real numbers, without overflow."""

    precision = "full on cuda"

    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool) -> Any:
        self.axes, self.keepdim = axes, keepdim
        xp = array_module(x)
        top = x.max(axis=axes, keepdims=True)
        top = xp.where(top * 0 == 0, top, 0)  # an infinite maximum must not be subtracted from itself
        out = xp.log(xp.add.reduce(xp.exp(x - top), axis=axes, keepdims=True)) + top
        return row_major(out if keepdim else out.reshape([n for a, n in enumerate(x.shape) if a not in axes]))

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        return restored(g, self.axes, self.keepdim) * exp(x - restored(out, self.axes, self.keepdim))


class Prod(Op):
    """The product along one dimension."""

    complex_rule = True
    precision = "full"

    def forward(self, x: Any, *, axis: int, keepdim: bool) -> Any:
        self.axis, self.keepdim = axis, keepdim
        return row_major(array_module(x).multiply.reduce(x, axis=axis, keepdims=keepdim))

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        g, out = restored(g, (self.axis,), self.keepdim), restored(out, (self.axis,), self.keepdim)
        if (getattr(x, "array", x) != 0).all():
            return g * out / x
        return g * product_of_others(x, self.axis)


def product_of_others(x: Any, axis: int) -> Any:
    """For each element the product of all others along an axis, from both sides: right where there are zeros too."""
    after = products_before(Flip.apply(x, dims=(axis,)), axis)
    return products_before(x, axis) * Flip.apply(after, dims=(axis,))


@method()
def sum(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, axis: Any = None, keepdims: Any = None
) -> Tensor:
    """The sum of all elements, or along `dim` (an int or several). Bools and integers add up as int64."""
    dim, keepdim = either(dim, keepdim, axis, keepdims)
    if dtype is None:
        try:
            kind = input.array.dtype.kind
        except SparseOperand:
            kind = input.entries.array.dtype.kind
        dtype = dtypes.int64 if kind in "biu" else None
    if dtype is not None:
        input = input.to(dtype=dtype)
    return Sum.apply(input, axes=axes_of(input, dim, "sum"), keepdim=keepdim)


@method()
def mean(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, axis: Any = None, keepdims: Any = None
) -> Tensor:
    """The mean of all elements, or along `dim`. Raises RuntimeError for integers unless a float `dtype` is given."""
    dim, keepdim = either(dim, keepdim, axis, keepdims)
    if dtype is not None:
        input = cast(input, dtypes.as_array_dtype(dtype))
    if input.array.dtype.kind not in dtypes.INEXACT:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {input.dtype}; use x.float().mean()"
        )
    if input.array.dtype == np.float16:  # in float32, where its sums do not overflow
        return cast(mean(cast(input, np.dtype(np.float32)), dim, keepdim), input.array.dtype)
    return Mean.apply(input, axes=axes_of(input, dim, "mean"), keepdim=keepdim)


@method()
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum with NaN counted as 0."""
    if input.array.dtype.kind in dtypes.FLOATING:
        input = where(isnan(input), 0.0, input)
    return sum(input, dim, keepdim, dtype=dtype)


@method()
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean of what is not NaN."""
    return nansum(input, dim, keepdim, dtype=dtype) / sum(~isnan(input), dim, keepdim)


@method()
def prod(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, axis: Any = None, keepdims: Any = None
) -> Tensor:
    """The product of all elements, or along one dimension. Bools and integers multiply as int64."""
    dim, keepdim = either(dim, keepdim, axis, keepdims)
    if dtype is not None:
        input = cast(input, dtypes.as_array_dtype(dtype))
    elif input.array.dtype.kind in "biu":
        input = cast(input, np.dtype(np.int64))
    if dim is None or not input.array.ndim:
        return Prod.apply(input.reshape(-1), axis=0, keepdim=False)
    return Prod.apply(input, axis=axes_of(input, dim, "prod")[0], keepdim=keepdim)


@method()
def var(
    input: Tensor,
    dim: Any = None,
    unbiased: Any = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Any = None,
    keepdims: Any = None,
) -> Tensor:
    """The variance, divided by n - correction (default 1: unbiased)."""
    dim, keepdim = either(dim, keepdim, axis, keepdims)
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None:
        correction = 1 if unbiased else 0
    axes = axes_of(input, dim, "var")
    n = math.prod(input.array.shape[a] for a in axes)
    freedom = builtins.max(n - (1 if correction is None else correction), 0)
    return Var.apply(input, axes=axes, keepdim=keepdim, freedom=float(freedom))


@method()
@under_autocast("off")
@in_float32
def std(
    input: Tensor,
    dim: Any = None,
    unbiased: Any = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Any = None,
    keepdims: Any = None,
) -> Tensor:
    """The standard deviation: the square root of var(). Its gradient is taken to be zero where it is zero."""
    square = var(input, dim, unbiased, keepdim, correction=correction, axis=axis, keepdims=keepdims)
    zero = square == 0
    return where(zero, 0.0, sqrt(where(zero, 1.0, square))) if zero.array.any() else sqrt(square)


def var_mean(
    input: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> Any:
    """The variance and the mean."""
    at = None if isinstance(dim, bool) else dim
    return var(input, dim, unbiased, keepdim, correction=correction), mean(input, at, keepdim)


def std_mean(
    input: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> Any:
    """The standard deviation and the mean."""
    at = None if isinstance(dim, bool) else dim
    return std(input, dim, unbiased, keepdim, correction=correction), mean(input, at, keepdim)


class All(Op):
    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool) -> Any:
        return row_major((x != 0).all(axis=axes, keepdims=keepdim))


class Any_(Op):
    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool) -> Any:
        return row_major((x != 0).any(axis=axes, keepdims=keepdim))


def _logical(op: type[Op], name: str, input: Tensor, dim: Any, keepdim: bool) -> Tensor:
    result = op.apply(input, axes=axes_of(input, dim, name), keepdim=keepdim)
    return cast(result, np.dtype(np.uint8)) if input.array.dtype == np.uint8 else result


@method()
def all(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether all elements are true (not zero)."""
    return _logical(All, "all", input, dim, keepdim)


@method()
def any(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether any element is true (not zero)."""
    return _logical(Any_, "any", input, dim, keepdim)


@method()
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """How many elements are not zero."""
    return sum(input != 0, dim)


@method()
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """log(sum(exp(input))) along `dim`, without overflow."""
    if input.array.dtype.kind not in dtypes.INEXACT:
        input = cast(input, dtypes.get_default_dtype().dtype)
    axes = axes_of(input, dim, "logsumexp")
    if builtins.any(input.array.shape[a] == 0 for a in axes):
        return log(sum(exp(input), axes, keepdim))
    if input.array.dtype.kind in dtypes.FLOATING:
        return LogSumExp.apply(input, axes=axes, keepdim=keepdim)
    top = AMax.apply(input.detach().real, axes=axes, keepdim=True)
    top = where(top.array * 0 == 0, top, 0.0)  # an infinite maximum must not be subtracted from itself
    total = log(Sum.apply(exp(input - top), axes=axes, keepdim=True)) + top
    return total if keepdim else Sum.apply(total, axes=axes, keepdim=False)


@method()
@under_autocast("full on cuda")
@in_float32
def norm(input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """The p-norm of all elements, or along `dim`: (sum |x|^p)^(1/p); p may be inf, -inf, 0 or "fro" (2)."""
    if dtype is not None:
        input = cast(input, dtypes.as_array_dtype(dtype))
    if input.array.dtype.kind not in dtypes.INEXACT:
        raise RuntimeError(f"norm(): expected a floating point tensor as input. Got {input.dtype}; use x.float()")
    if p == "nuc":
        from .matrix_functions import matrix_norm

        return matrix_norm(input, "nuc", (-2, -1) if dim is None else dim, keepdim)
    axes = axes_of(input, dim, "norm")
    p = 2.0 if p in ("fro", None) else float(p)
    if p == math.inf or p == -math.inf:
        return (amax if p > 0 else amin)(input.abs(), axes, keepdim)
    if p == 0:
        count = cast(sum(input != 0, axes, keepdim), input.array.real.dtype)
        return count + Sum.apply(input.abs() * 0.0, axes=axes, keepdim=keepdim)  # in the graph, with a gradient of zero
    if p == 1:
        return Sum.apply(input.abs(), axes=axes, keepdim=keepdim)
    if p == 2:
        return Norm2.apply(input, axes=axes, keepdim=keepdim)
    return NormP.apply(input, p=p, axes=axes, keepdim=keepdim)


class Norm2(Op):
    """The Euclidean length along dimensions; its gradient at zero is taken to be zero."""

    complex_rule = True
    precision = "full on cuda"

    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool) -> Any:
        self.axes, self.keepdim = axes, keepdim
        squares = x.real * x.real + x.imag * x.imag if x.dtype.kind == "c" else x * x
        return array_module(x).sqrt(kernels.sum_axes(squares, axes, keepdim))

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        length = restored(out, self.axes, self.keepdim)
        return x.conj() * where(length == 0, 0.0, restored(g, self.axes, self.keepdim) / length)


class NormP(Op):
    """(sum |x|^p)^(1/p) along dimensions; the gradient of an element that is zero is taken to be zero."""

    complex_rule = True
    precision = "full on cuda"

    def forward(self, x: Any, *, p: float, axes: tuple[int, ...], keepdim: bool) -> Any:
        self.p, self.axes, self.keepdim = p, axes, keepdim
        return kernels.sum_axes(abs(x) ** p, axes, keepdim) ** (1.0 / p)

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        length = restored(out, self.axes, self.keepdim)
        scale = where(length == 0, 0.0, restored(g, self.axes, self.keepdim) / length ** (self.p - 1))
        return where(x == 0, 0.0, x.conj() * where(x == 0, 1.0, abs(x)) ** (self.p - 2)) * scale


@method()
@under_autocast("full on cuda")
@in_float32
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of input - other."""
    return norm(input - other, p)


def norm_except_dim(v: Tensor, pow: float = 2, dim: int = 0) -> Tensor:
    """The norm of each slice of v along `dim`, with the other dimensions of size 1; for dim=-1 that of all of v."""
    if dim == -1:
        return norm(v, pow)
    (along,) = axes_of(v, dim, "norm_except_dim")
    others = tuple(d for d in range(v.array.ndim) if d != along)
    return norm(v, pow, others, True) if others else abs(v)


@method(inplace=True)
@under_autocast("full on cuda")
@in_float32
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """input with those of its slices along `dim` scaled down whose p-norm is above maxnorm, to that norm."""
    if p <= 0 or maxnorm < 0:
        raise RuntimeError(f"renorm: expected p > 0 and maxnorm >= 0, got p = {p} and maxnorm = {maxnorm}")
    if input.array.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.array.ndim} dimensions")
    (along,) = axes_of(input, dim, "renorm")
    size = norm(input, p, tuple(d for d in range(input.array.ndim) if d != along), True)
    # 1e-7, as in PyTorch, leaves the norm a little below maxnorm
    return input * where(size > maxnorm, maxnorm / (size + 1e-7), 1.0)


@method()
def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """input summed over the dimensions in which `size` is 1 or missing: what undoes broadcasting from `size`."""
    wanted, shape = sizes_of(size), input.array.shape
    extra = len(shape) - len(wanted)
    if extra < 0 or builtins.any(m not in (1, n) for n, m in zip(shape[extra:], wanted, strict=True)):
        raise RuntimeError(f"sum_to_size: size {list(wanted)} is not expandable to size {list(shape)}")
    axes = tuple(d for d, n in enumerate(shape) if d < extra or (wanted[d - extra] == 1 and n != 1))
    return Sum.apply(input, axes=axes, keepdim=True).reshape(wanted) if axes else input


@samples(Sum)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), axes=(0, 1), keepdim=False)
    yield Sample(make(2, 3, 4), axes=(1,), keepdim=True)
    yield Sample(make(0, 3), axes=(0,), keepdim=False, note="nothing to add")


@samples(Mean)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), axes=(0, 1), keepdim=False)
    yield Sample(make(2, 3, 4), axes=(1,), keepdim=True)


@samples(Var)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), axes=(0, 1), keepdim=False, freedom=5.0)
    yield Sample(make(2, 3, 4), axes=(1,), keepdim=True, freedom=3.0)


@samples(LogSumExp)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), axes=(1,), keepdim=False)
    yield Sample(make(2, 3, 4), axes=(0, 2), keepdim=True)
    yield Sample(make(5), axes=(0,), keepdim=False)
    yield Sample(np.array([[900.0, 899.0], [-900.0, -901.0]]), axes=(1,), keepdim=False, note="does not overflow")


@samples(Spread)
def _(make: Any) -> Any:
    yield Sample(make(2), shape=(2, 3), axes=(1,), keepdim=False)


@samples(Prod)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), axis=1, keepdim=False)
    yield Sample(np.array([[0.0, 2.0], [3.0, 0.0]]), axis=0, keepdim=True, note="with zeros")


@samples(Norm2)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), axes=(1,), keepdim=False)
    yield Sample(np.zeros(3), axes=(0,), keepdim=False, note="zero", smooth=False)


@samples(NormP)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), p=3.0, axes=(1,), keepdim=False)
    yield Sample(make(2, 3, low=0.5), p=0.5, axes=(0, 1), keepdim=True)
    yield Sample(np.array([0.0, 1.0]), p=0.5, axes=(0,), keepdim=False, note="an element is zero", smooth=False)
    yield Sample(np.zeros(3), p=3.0, axes=(0,), keepdim=False, note="zero", smooth=False)


__all__ = [
    "all", "any", "count_nonzero", "dist", "logsumexp", "mean", "nanmean", "nansum", "norm", "norm_except_dim", "prod", "renorm",
    "std", "std_mean", "sum", "var", "var_mean",
]  # fmt: skip
