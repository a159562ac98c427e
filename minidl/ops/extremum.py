"""The largest and smallest elements, and where they stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.op import Op
from ..kernels import Kernel, array_module
from ..kernels import extremum as kernels
from ..kernels.common import row_major
from ..kernels.reduce import LARGE, max_axes, min_axes
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .axes import axes_of, check_not_empty, either, restored
from .define import result_type
from .selection import maximum, minimum


class _Extreme(Op):
    """The largest or smallest value along dimensions; equal ones share the gradient."""

    ufunc: Any
    kernel: Kernel

    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool) -> Any:
        self.axes, self.keepdim = axes, keepdim
        if x.__class__ is np.ndarray and x.size < LARGE:
            return row_major(self.ufunc.reduce(x, axis=axes, keepdims=keepdim))
        return self.kernel(x, axes, keepdim)

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        raw_x, raw_out = getattr(x, "array", x), getattr(out, "array", out)
        hit = raw_x == restored(raw_out, self.axes, self.keepdim)
        share = hit / hit.sum(axis=self.axes, keepdims=True)
        return restored(g, self.axes, self.keepdim) * share.astype(raw_x.dtype)


class AMax(_Extreme):
    ufunc, kernel = np.maximum, max_axes


class AMin(_Extreme):
    ufunc, kernel = np.minimum, min_axes


@method()
def amax(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The largest value along `dim` (one or several; default all)."""
    axes = axes_of(input, dim, "amax")
    check_not_empty(input, axes, "amax")
    return AMax.apply(input, axes=axes, keepdim=keepdim)


@method()
def amin(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The smallest value along `dim` (one or several; default all)."""
    axes = axes_of(input, dim, "amin")
    check_not_empty(input, axes, "amin")
    return AMin.apply(input, axes=axes, keepdim=keepdim)


@method()
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """(min, max): the smallest and the largest value, of all elements or along `dim`."""
    along: Any = () if dim is None else dim
    return AMINMAX(amin(input, along, keepdim), amax(input, along, keepdim))


AMINMAX = result_type("aminmax", "min", "max")


# ---------------------------------------------------------------------------------------------------------------------
# With their positions


class _ExtremeAt(Op):
    """The largest or smallest value along one dimension, and where it stands; the gradient goes to the first."""

    several = True
    largest: bool

    def forward(self, x: Any, *, axis: int, keepdim: bool) -> Any:
        self.axis, self.keepdim, self.shape = axis, keepdim, x.shape
        if not x.ndim:
            self.index = array_module(x).zeros((), np.int64)
            return x.copy(), self.index
        values, index = kernels.extreme_at(x, axis, self.largest)
        self.index = index
        return (values, index) if keepdim else (values.squeeze(axis), index.squeeze(axis))

    def backward(self, g: Any) -> Any:
        if not self.shape:
            return g[0]
        positions = (
            array_module(self.index)
            .arange(self.shape[self.axis])
            .reshape([-1 if i == self.axis else 1 for i in range(len(self.shape))])
        )
        here = (positions == self.index).astype(getattr(g[0], "array", g[0]).dtype)
        return restored(g[0], (self.axis,), self.keepdim) * here


class MaxAt(_ExtremeAt):
    largest = True


class MinAt(_ExtremeAt):
    largest = False


def _extreme(name: str, whole: Any, at: type[Op], pair: Any) -> Callable[..., Any]:
    """max or min: PyTorch puts three functions under each of these names."""
    result = result_type(name, "values", "indices")

    def function(
        input: Tensor,
        dim: Any = None,
        keepdim: bool = False,
        *,
        other: Any = None,
        axis: Any = None,
        keepdims: Any = None,
    ) -> Any:
        dim, keepdim = either(dim, keepdim, axis, keepdims)
        if isinstance(dim, Tensor):
            other = dim
        if other is not None:
            return pair(input, other)
        if dim is None:
            return whole(input)
        (along,) = axes_of(input, dim, name) or (0,)
        if input.array.ndim:
            check_not_empty(input, (along,), name)
        return result(*at.apply(input, axis=along, keepdim=keepdim))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"The {'largest' if name == 'max' else 'smallest'} element; with `dim`, (values, indices) along it, the first of "
        "equal ones; with another tensor, element by element."
    )
    return method(name)(function)


max = _extreme("max", amax, MaxAt, maximum)
min = _extreme("min", amin, MinAt, minimum)


class ArgMax(Op):
    def forward(self, x: Any, *, axis: int | None, keepdim: bool) -> Any:
        return x.argmax(axis=axis, keepdims=keepdim)


class ArgMin(Op):
    def forward(self, x: Any, *, axis: int | None, keepdim: bool) -> Any:
        return x.argmin(axis=axis, keepdims=keepdim)


def _position(op: type[Op], name: str, input: Tensor, dim: Any, keepdim: bool) -> Tensor:
    axes = axes_of(input, dim, name)
    check_not_empty(input, axes, name)
    return op.apply(input, axis=axes[0] if axes and dim is not None else None, keepdim=keepdim)


@method()
def argmax(input: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Tensor:
    """The position of the largest element, the first of equal ones; without `dim` in the flattened tensor."""
    return _position(ArgMax, "argmax", input, dim if axis is None else axis, keepdim)


@method()
def argmin(input: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Tensor:
    """The position of the smallest element, the first of equal ones; without `dim` in the flattened tensor."""
    return _position(ArgMin, "argmin", input, dim if axis is None else axis, keepdim)


_op: type[Op]
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


__all__ = ["amax", "amin", "aminmax", "argmax", "argmin", "max", "min"]
