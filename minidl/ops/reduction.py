"""Sums, means and other values of many: over all elements, or along dimensions."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import dtypes
from ..autograd.op import Op
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .arithmetic import cast
from .elementwise import exp, log, sqrt
from .selection import isnan, maximum, minimum, where

# ---------------------------------------------------------------------------------------------------------------------
# Dimensions


def _axes(x: Any, dim: Any, name: str) -> tuple[int, ...]:
    """Dimensions as non-negative numbers; all of them for None or ()."""
    ndim = x.ndim
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return tuple(range(ndim))
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    result = []
    for d in dims:
        d = int(d)
        bound = builtins.max(ndim, 1)
        if not -bound <= d < bound:
            raise IndexError(
                f"{name}: Dimension out of range (expected to be in range of [{-bound}, {bound - 1}], but got {d})"
            )
        result.append(d % bound)
    if len(set(result)) < len(result):
        raise RuntimeError(f"{name}: dim {dims} appears multiple times in the list of dims")
    return tuple(result) if ndim else ()


def _restore(g: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
    """g with the reduced dimensions back, of size 1."""
    if keepdim or not axes:
        return g
    shape = list(g.shape)
    for axis in sorted(axes):
        shape.insert(axis, 1)
    return g.reshape(tuple(shape))


def _dims(dim: Any, keepdim: bool, axis: Any, keepdims: Any) -> tuple[Any, bool]:
    """NumPy's names of the arguments, where they are used."""
    return (dim if axis is None else axis), (keepdim if keepdims is None else keepdims)


# ---------------------------------------------------------------------------------------------------------------------
# Sums


class Sum(Op):
    """The sum along dimensions."""

    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool) -> Any:
        self.shape, self.axes, self.keepdim = x.shape, axes, keepdim
        return x.sum(axis=axes, keepdims=keepdim)

    def backward(self, g: Any) -> Any:
        return Spread.apply(g, shape=self.shape, axes=self.axes, keepdim=self.keepdim)


class Spread(Op):
    """The reverse of Sum: each value repeated over the dimensions that were summed."""

    def forward(self, g: Any, *, shape: tuple[int, ...], axes: tuple[int, ...], keepdim: bool) -> Any:
        self.axes, self.keepdim = axes, keepdim
        return array_module(g).broadcast_to(_restore(g, axes, keepdim), shape)

    def backward(self, g: Any) -> Any:
        return Sum.apply(g, axes=self.axes, keepdim=self.keepdim)


class Prod(Op):
    """The product along one dimension."""

    def forward(self, x: Any, *, axis: int, keepdim: bool) -> Any:
        self.axis, self.keepdim = axis, keepdim
        return x.prod(axis=axis, keepdims=keepdim)

    def backward(self, g: Any, x: Any) -> Any:
        # the product of all others, from both sides: right where there are zeros too
        n = x.shape[self.axis]
        g = _restore(g, (self.axis,), self.keepdim)
        if n == 0:
            return g * x
        return g * _product_of_others(x, self.axis)


def _product_of_others(x: Any, axis: int) -> Any:
    from .joining import stack

    n = x.shape[axis]
    before = (slice(None),) * axis
    ones = x[(*before, 0)] * 0 + 1
    left, right = [ones], [ones]
    for i in range(n - 1):
        left.append(left[-1] * x[(*before, i)])
        right.append(right[-1] * x[(*before, n - 1 - i)])
    if isinstance(x, Tensor):
        return stack([a * b for a, b in zip(left, reversed(right), strict=True)], axis)
    return array_module(x).stack([a * b for a, b in zip(left, reversed(right), strict=True)], axis)


def _reduces(name: str, x: Any, dim: Any) -> tuple[int, ...]:
    return _axes(x.array if isinstance(x, Tensor) else x, dim, name)


@method()
def sum(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, axis: Any = None, keepdims: Any = None
) -> Tensor:
    """The sum of all elements, or along `dim` (an int or several). Bools and integers add up as int64."""
    dim, keepdim = _dims(dim, keepdim, axis, keepdims)
    if dtype is not None:
        input = cast(input, dtypes.as_array_dtype(dtype))
    elif input.array.dtype.kind in "biu":
        input = cast(input, np.dtype(np.int64))
    return Sum.apply(input, axes=_reduces("sum", input, dim), keepdim=keepdim)


@method()
def mean(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, axis: Any = None, keepdims: Any = None
) -> Tensor:
    """The mean of all elements, or along `dim`. Raises RuntimeError for integers unless a float `dtype` is given."""
    dim, keepdim = _dims(dim, keepdim, axis, keepdims)
    if dtype is not None:
        input = cast(input, dtypes.as_array_dtype(dtype))
    if input.array.dtype.kind not in "fc":
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {input.dtype}; use x.float().mean()"
        )
    axes = _reduces("mean", input, dim)
    n = math.prod(input.array.shape[a] for a in axes)
    total = Sum.apply(input, axes=axes, keepdim=keepdim)
    return total * (1.0 / n) if n else total / 0.0


@method()
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum with NaN counted as 0."""
    if input.array.dtype.kind == "f":
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
    dim, keepdim = _dims(dim, keepdim, axis, keepdims)
    if dtype is not None:
        input = cast(input, dtypes.as_array_dtype(dtype))
    elif input.array.dtype.kind in "biu":
        input = cast(input, np.dtype(np.int64))
    if dim is None or not input.array.ndim:
        return Prod.apply(input.reshape(-1), axis=0, keepdim=False)
    return Prod.apply(input, axis=_reduces("prod", input, dim)[0], keepdim=keepdim)


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
    dim, keepdim = _dims(dim, keepdim, axis, keepdims)
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None:
        correction = 1 if unbiased else 0
    axes = _reduces("var", input, dim)
    n = math.prod(input.array.shape[a] for a in axes)
    centre = mean(input, axes, True) if axes else input
    away = input - centre
    freedom = builtins.max(n - (1 if correction is None else correction), 0)
    total = Sum.apply(away * away, axes=axes, keepdim=keepdim)
    return total / float(freedom)


@method()
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
    """The standard deviation: the square root of var()."""
    return sqrt(var(input, dim, unbiased, keepdim, correction=correction, axis=axis, keepdims=keepdims))


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


# ---------------------------------------------------------------------------------------------------------------------
# Extremes


class _Extreme(Op):
    """The largest or smallest value along dimensions; equal ones share the gradient."""

    find: str

    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool) -> Any:
        self.axes, self.keepdim = axes, keepdim
        return getattr(x, self.find)(axis=axes, keepdims=keepdim)

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        raw_x, raw_out = getattr(x, "array", x), getattr(out, "array", out)
        hit = raw_x == _restore(np.asarray(raw_out), self.axes, self.keepdim)
        share = hit / hit.sum(axis=self.axes, keepdims=True)
        return _restore(g, self.axes, self.keepdim) * share.astype(raw_x.dtype)


class AMax(_Extreme):
    find = "max"


class AMin(_Extreme):
    find = "min"


class _ExtremeAt(Op):
    """The largest or smallest value along one dimension, and where it stands; the gradient goes to the first."""

    several = True
    find: str

    def forward(self, x: Any, *, axis: int, keepdim: bool) -> Any:
        self.axis, self.keepdim, self.shape = axis, keepdim, x.shape
        xp = array_module(x)
        if not x.ndim:
            self.index = xp.zeros((), np.int64)
            return x.copy(), self.index
        index = getattr(xp, self.find)(x, axis=axis, keepdims=True)
        self.index = index
        values = xp.take_along_axis(x, index, axis)
        return (values, index) if keepdim else (values.squeeze(axis), index.squeeze(axis))

    def backward(self, g: Any) -> Any:
        if not self.shape:
            return g[0]
        positions = np.arange(self.shape[self.axis]).reshape(
            [-1 if i == self.axis else 1 for i in range(len(self.shape))]
        )
        here = (positions == self.index).astype(getattr(g[0], "array", g[0]).dtype)
        return _restore(g[0], (self.axis,), self.keepdim) * here


class MaxAt(_ExtremeAt):
    find = "argmax"


class MinAt(_ExtremeAt):
    find = "argmin"


class ValuesIndices(NamedTuple):
    """Values and their positions, as functions with `dim` return them."""

    values: Tensor
    indices: Tensor

    def __repr__(self) -> str:
        return f"torch.return_types.{type(self).__name__.lower()}(\nvalues={self.values!r},\nindices={self.indices!r})"


def _result_type(name: str) -> type[ValuesIndices]:
    return type(name, (ValuesIndices,), {"__slots__": ()})


_MAX, _MIN = _result_type("max"), _result_type("min")


def _not_empty(name: str, input: Tensor, axes: tuple[int, ...]) -> None:
    if builtins.any(input.array.shape[a] == 0 for a in axes):
        raise RuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0, or of non-zero size; "
            f"the input has shape {list(input.shape)}"
        )


@method()
def amax(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The largest value along `dim` (one or several; default all)."""
    axes = _reduces("amax", input, dim)
    _not_empty("amax", input, axes)
    return AMax.apply(input, axes=axes, keepdim=keepdim)


@method()
def amin(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The smallest value along `dim` (one or several; default all)."""
    axes = _reduces("amin", input, dim)
    _not_empty("amin", input, axes)
    return AMin.apply(input, axes=axes, keepdim=keepdim)


def _extreme(name: str, whole: Any, at: type[Op], pair: Any, result: Any) -> Callable[..., Any]:
    def function(
        input: Tensor,
        dim: Any = None,
        keepdim: bool = False,
        *,
        other: Any = None,
        axis: Any = None,
        keepdims: Any = None,
    ) -> Any:
        dim, keepdim = _dims(dim, keepdim, axis, keepdims)
        if isinstance(dim, Tensor):
            other = dim
        if other is not None:
            return pair(input, other)
        if dim is None:
            return whole(input)
        (along,) = _reduces(name, input, dim) or (0,)
        if input.array.ndim:
            _not_empty(name, input, (along,))
        return result(*at.apply(input, axis=along, keepdim=keepdim))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"The {'largest' if name == 'max' else 'smallest'} element; with `dim`, (values, indices) along it, the first of equal "
        "ones; with another tensor, element by element."
    )
    method(name)(function)
    return function


max = _extreme("max", amax, MaxAt, maximum, _MAX)
min = _extreme("min", amin, MinAt, minimum, _MIN)


@method()
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest and the largest value."""
    at: Any = () if dim is None else dim
    return amin(input, at, keepdim), amax(input, at, keepdim)


class ArgMax(Op):
    def forward(self, x: Any, *, axis: int | None, keepdim: bool) -> Any:
        return array_module(x).argmax(x, axis=axis, keepdims=keepdim)


class ArgMin(Op):
    def forward(self, x: Any, *, axis: int | None, keepdim: bool) -> Any:
        return array_module(x).argmin(x, axis=axis, keepdims=keepdim)


def _arg(op: type[Op], name: str, input: Tensor, dim: Any, keepdim: bool) -> Tensor:
    if dim is not None:
        axes = _reduces(name, input, dim)
        dim = axes[0] if axes else None
    _not_empty(name, input, range(input.array.ndim) if dim is None else (dim,))  # type: ignore[arg-type]
    return op.apply(input, axis=dim, keepdim=keepdim)


@method()
def argmax(input: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Tensor:
    """The position of the largest element, the first of equal ones; without `dim` in the flattened tensor."""
    return _arg(ArgMax, "argmax", input, dim if axis is None else axis, keepdim)


@method()
def argmin(input: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Tensor:
    """The position of the smallest element, the first of equal ones; without `dim` in the flattened tensor."""
    return _arg(ArgMin, "argmin", input, dim if axis is None else axis, keepdim)


class All(Op):
    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool) -> Any:
        return (x != 0).all(axis=axes, keepdims=keepdim)


class Any_(Op):
    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool) -> Any:
        return (x != 0).any(axis=axes, keepdims=keepdim)


def _logical(op: type[Op], name: str, input: Tensor, dim: Any, keepdim: bool) -> Tensor:
    result = op.apply(input, axes=_reduces(name, input, dim), keepdim=keepdim)
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
    if input.array.dtype.kind not in "fc":
        input = cast(input, dtypes.get_default_dtype().dtype)
    axes = _reduces("logsumexp", input, dim)
    if builtins.any(input.array.shape[a] == 0 for a in axes):
        return log(sum(exp(input), axes, keepdim))
    top = AMax.apply(input.detach(), axes=axes, keepdim=True)
    top = where(top.array * 0 == 0, top, 0.0)  # an infinite maximum must not be subtracted from itself
    total = log(Sum.apply(exp(input - top), axes=axes, keepdim=True)) + top
    return total if keepdim else Sum.apply(total, axes=axes, keepdim=False)


@method()
def norm(input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """The p-norm of all elements, or along `dim`: (sum |x|^p)^(1/p); p may be inf, -inf, 0 or "fro" (2)."""
    if dtype is not None:
        input = cast(input, dtypes.as_array_dtype(dtype))
    if input.array.dtype.kind not in "fc":
        raise RuntimeError(f"norm(): expected a floating point tensor as input. Got {input.dtype}; use x.float()")
    if p == "nuc":
        raise RuntimeError("norm: the nuclear norm is not there; p is a number, inf, -inf or 'fro'")
    axes = _reduces("norm", input, dim)
    p = 2.0 if p in ("fro", None) else float(p)
    if p == math.inf or p == -math.inf:
        return (amax if p > 0 else amin)(input.abs(), axes, keepdim)
    if p == 0:
        count = cast(sum(input != 0, axes, keepdim), input.array.dtype)
        return count + Sum.apply(input * 0.0, axes=axes, keepdim=keepdim)  # in the graph, with a gradient of zero
    if p == 1:
        return Sum.apply(input.abs(), axes=axes, keepdim=keepdim)
    if p == 2:
        return Norm2.apply(input, axes=axes, keepdim=keepdim)
    return Sum.apply(input.abs() ** p, axes=axes, keepdim=keepdim) ** (1.0 / p)


class Norm2(Op):
    """The Euclidean length along dimensions; its gradient at zero is taken to be zero."""

    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool) -> Any:
        self.axes, self.keepdim = axes, keepdim
        return array_module(x).sqrt((abs(x) ** 2).sum(axis=axes, keepdims=keepdim))

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        length = _restore(out, self.axes, self.keepdim)
        return x * where(length == 0, 0.0, _restore(g, self.axes, self.keepdim) / length)


# ---------------------------------------------------------------------------------------------------------------------
# Running totals


class CumSum(Op):
    """Running sums along a dimension."""

    def forward(self, x: Any, *, axis: int, reverse: bool) -> Any:
        self.axis, self.reverse = axis, reverse
        if not x.ndim:
            return x.copy()
        xp = array_module(x)
        return xp.flip(xp.cumsum(xp.flip(x, axis), axis), axis) if reverse else xp.cumsum(x, axis, dtype=x.dtype)

    def backward(self, g: Any) -> Any:
        return CumSum.apply(g, axis=self.axis, reverse=not self.reverse)


class CumProd(Op):
    """Running products along a dimension."""

    def forward(self, x: Any, *, axis: int) -> Any:
        self.axis = axis
        return x.cumprod(axis, dtype=x.dtype) if x.ndim else x.copy()

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        if not x.ndim:
            return g
        safe = (getattr(x, "array", x) != 0).all()
        if safe:
            return CumSum.apply(g * out, axis=self.axis, reverse=True) / x
        return self._with_zeros(g, x)

    def _with_zeros(self, g: Any, x: Any) -> Any:
        """d out_j / d x_i is the product of x_0..x_j without x_i: for each i, a running product with x_i left out."""
        from .joining import stack

        n, before = x.shape[self.axis], (slice(None),) * self.axis
        columns = [x[(*before, i)] for i in range(n)]
        upstream = [g[(*before, i)] for i in range(n)]
        grads = []
        ahead = columns[0] * 0 + 1
        for i in range(n):
            running, total = ahead, ahead * upstream[i]
            for j in range(i + 1, n):
                running = running * columns[j]
                total = total + running * upstream[j]
            grads.append(total)
            ahead = ahead * columns[i]
        return stack(grads, self.axis) if isinstance(x, Tensor) else array_module(x).stack(grads, self.axis)


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


def _running(name: str, input: Tensor, dim: int, dtype: Any) -> tuple[Tensor, int]:
    if dtype is not None:
        input = cast(input, dtypes.as_array_dtype(dtype))
    elif input.array.dtype.kind in "biu":
        input = cast(input, np.dtype(np.int64))
    axes = _axes(input.array, dim, name)
    return input, axes[0] if axes else 0


for _op in (AMax, AMin):

    @samples(_op)
    def _(make: Any) -> Any:
        yield Sample(make.distinct(2, 3), axes=(1,), keepdim=False)
        yield Sample(make.distinct(2, 3), axes=(0, 1), keepdim=True)
        yield Sample(np.array([1.0, 1.0, 0.0]), axes=(0,), keepdim=False, note="equal values", smooth=False)


for _op in (MaxAt, MinAt):

    @samples(_op)
    def _(make: Any) -> Any:
        yield Sample(make.distinct(2, 3), axis=1, keepdim=False)
        yield Sample(make.distinct(2, 3), axis=0, keepdim=True)


@samples(Sum)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), axes=(0, 1), keepdim=False)
    yield Sample(make(2, 3, 4), axes=(1,), keepdim=True)
    yield Sample(make(0, 3), axes=(0,), keepdim=False, note="nothing to add")


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


@samples(CumSum)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), axis=1, reverse=False)
    yield Sample(make(2, 3), axis=0, reverse=True)


@samples(CumProd)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, low=0.5), axis=1)
    yield Sample(np.array([2.0, 0.0, 3.0, 0.0]), axis=0, note="with zeros")


__all__ = [
    "all", "amax", "amin", "aminmax", "any", "argmax", "argmin", "count_nonzero", "cumprod", "cumsum", "logsumexp",
    "max", "mean", "min", "nanmean", "nansum", "norm", "prod", "std", "std_mean", "sum", "var", "var_mean",
]  # fmt: skip
