"""Comparison, logic, bits, and the choice between values: where, maximum, minimum, clamp."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..autograd.op import Op, as_array, wrap
from ..kernels import array_module
from ..kernels import selection as kernels
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .conversion import cast
from .define import public


class _Comparison(Op):
    promotion = "common"


class Eq(_Comparison):
    """x == y."""

    forward = np.equal


class Ne(_Comparison):
    """x != y."""

    forward = np.not_equal


class Lt(_Comparison):
    """x < y."""

    forward = np.less


class Le(_Comparison):
    """x <= y."""

    forward = np.less_equal


class Gt(_Comparison):
    """x > y."""

    forward = np.greater


class Ge(_Comparison):
    """x >= y."""

    forward = np.greater_equal


eq = public(Eq, "eq", "Where input equals other, as a bool tensor.")
ne = public(Ne, "ne", "Where input differs from other, as a bool tensor.", "not_equal")
lt = public(Lt, "lt", "Where input is less than other, as a bool tensor.", "less", "__lt__")
le = public(Le, "le", "Where input is at most other, as a bool tensor.", "less_equal", "__le__")
gt = public(Gt, "gt", "Where input is greater than other, as a bool tensor.", "greater", "__gt__")
ge = public(Ge, "ge", "Where input is at least other, as a bool tensor.", "greater_equal", "__ge__")
not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge


def _comparable(other: Any) -> bool:
    return isinstance(other, (Tensor, bool, int, float, complex, np.generic)) or devices.is_array(other)


@method("__eq__")
def _equals(input: Tensor, other: Any) -> Any:
    return eq(input, other) if _comparable(other) else NotImplemented


@method("__ne__")
def _differs(input: Tensor, other: Any) -> Any:
    return ne(input, other) if _comparable(other) else NotImplemented


class _Logic(Op):
    pass


class LogicalAnd(_Logic):
    forward = np.logical_and


class LogicalOr(_Logic):
    forward = np.logical_or


class LogicalXor(_Logic):
    forward = np.logical_xor


class LogicalNot(_Logic):
    forward = np.logical_not


class BitwiseAnd(_Comparison):
    forward = np.bitwise_and


class BitwiseOr(_Comparison):
    forward = np.bitwise_or


class BitwiseXor(_Comparison):
    forward = np.bitwise_xor


class BitwiseNot(Op):
    forward = np.bitwise_not


class LeftShift(_Comparison):
    forward = np.left_shift


class RightShift(_Comparison):
    forward = np.right_shift


logical_and = public(LogicalAnd, "logical_and", "Both true (not zero), element by element.")
logical_or = public(LogicalOr, "logical_or", "Either true (not zero), element by element.")
logical_xor = public(LogicalXor, "logical_xor", "Exactly one true (not zero), element by element.")
logical_not = public(LogicalNot, "logical_not", "True where zero, element by element.")
bitwise_and = public(BitwiseAnd, "bitwise_and", "Bitwise and; logical and of bool tensors.", "__and__", "__rand__")
bitwise_or = public(BitwiseOr, "bitwise_or", "Bitwise or; logical or of bool tensors.", "__or__", "__ror__")
bitwise_xor = public(BitwiseXor, "bitwise_xor", "Bitwise exclusive or.", "__xor__", "__rxor__")
bitwise_not = public(BitwiseNot, "bitwise_not", "Bitwise not; logical not of bool tensors.", "__invert__")
bitwise_left_shift = public(LeftShift, "bitwise_left_shift", "input shifted left by other bits.", "__lshift__")
bitwise_right_shift = public(RightShift, "bitwise_right_shift", "input shifted right by other bits.", "__rshift__")


class IsNaN(Op):
    forward = np.isnan


class IsInf(Op):
    forward = np.isinf


class IsFinite(Op):
    forward = np.isfinite


class SignBit(Op):
    @staticmethod
    def forward(x: Any) -> Any:
        return np.signbit(x) if x.dtype.kind == "f" else x < 0


isnan = public(IsNaN, "isnan", "Where input is NaN.", inplace=False)
isinf = public(IsInf, "isinf", "Where input is plus or minus infinity.", inplace=False)
isfinite = public(IsFinite, "isfinite", "Where input is neither NaN nor infinite.", inplace=False)
signbit = public(SignBit, "signbit", "Where the sign bit of input is set (also for -0.0).", inplace=False)


@method()
def isposinf(input: Tensor) -> Tensor:
    """Where input is plus infinity."""
    return isinf(input) & (input > 0)


@method()
def isneginf(input: Tensor) -> Tensor:
    """Where input is minus infinity."""
    return isinf(input) & (input < 0)


@method()
def isclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Where |input - other| <= atol + rtol |other|."""
    if input.array.dtype != other.array.dtype:
        raise RuntimeError(f"isclose: dtypes differ: {input.dtype} and {other.dtype}; convert one with to()")
    if rtol < 0 or atol < 0:
        raise RuntimeError(f"isclose: rtol and atol must be at least 0, got {rtol} and {atol}")
    devices.check_same("isclose", input, other)
    return wrap(as_array(array_module(input.array).isclose(input.array, other.array, rtol, atol, equal_nan)))


@method()
def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether isclose holds everywhere."""
    return bool(isclose(input, other, rtol, atol, equal_nan).array.all())


@method()
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and the same values."""
    return input.array.shape == other.array.shape and bool((input.array == other.array).all())


# ---------------------------------------------------------------------------------------------------------------------
# Choice


SMALL = 2**8  # elements of a condition from which on the compiled loop pays


class Where(Op):
    """x where the condition holds, else y."""

    complex_rule = True
    promotion = None

    def forward(self, condition: Any, x: Any, y: Any) -> Any:
        if getattr(condition, "size", 1) < SMALL:  # a bool has none
            return array_module(condition).where(condition, x, y)
        return kernels.where(condition, x, y)

    def backward(self, g: Any, condition: Any) -> Any:
        _, wants_x, wants_y = self.edges
        return None, where(condition, g, 0.0) if wants_x else None, where(condition, 0.0, g) if wants_y else None


@samples(Where)
def _(make: Any) -> Any:
    mask = np.array([[True, False, True], [False, False, True]])
    yield Sample(mask, make(2, 3), make(2, 3))
    yield Sample(mask, make(3), make(2, 1), note="broadcasting")
    yield Sample(mask, 0.0, make(2, 3), note="a number")


@method("_where")
def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """`input` where `condition` (bool) holds, else `other`; with the condition alone, the indices where it holds."""
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    raw = getattr(condition, "array", condition)
    if raw.dtype.kind == "u":
        condition = raw != 0
    elif raw.dtype.kind != "b":
        raise RuntimeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype {raw.dtype}")
    if not (isinstance(condition, Tensor) or isinstance(input, Tensor) or isinstance(other, Tensor)):
        return Where.apply(condition, input, other)
    operands = [getattr(x, "array", x) for x in (input, other)]
    if all(hasattr(x, "dtype") and x.dtype is operands[0].dtype for x in operands):
        return Where.apply(condition, input, other)
    common = dtypes.result_dtype(operands)
    values = [cast(x, common) if hasattr(x, "dtype") else x for x in (input, other)]
    if not any(hasattr(x, "dtype") for x in values):
        values[0] = array_module(raw).full((), input, common)  # a number takes the dtype of an array beside it
    return Where.apply(condition, *values)


@method("where")
def _where_method(input: Tensor, condition: Tensor, other: Any) -> Any:
    return where(condition, input, other)


class Maximum(Op):
    """The larger of x and y; equal values share the gradient."""

    promotion = "common"
    forward = np.maximum

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        return g * _share(x, y), g * _share(y, x)


class Minimum(Op):
    """The smaller of x and y; equal values share the gradient."""

    promotion = "common"
    forward = np.minimum

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        return g * _share(y, x), g * _share(x, y)


class FMax(Op):
    """The larger of x and y, where a NaN yields to a number."""

    promotion = "common"
    forward = np.fmax

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        from_x = (x >= y) | isnan(y)
        return where(from_x, g, 0.0), where(from_x, 0.0, g)


class FMin(Op):
    """The smaller of x and y, where a NaN yields to a number."""

    promotion = "common"
    forward = np.fmin

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        from_x = (x <= y) | isnan(y)
        return where(from_x, g, 0.0), where(from_x, 0.0, g)


def _share(larger: Any, smaller: Any) -> Any:
    """1 where the first is the larger one, one half where they are equal, as a constant of their dtype."""
    a, b = (getattr(t, "array", t) for t in (larger, smaller))
    dtype = a.dtype if hasattr(a, "dtype") else b.dtype
    return (a > b).astype(dtype) + (a == b).astype(dtype) * dtype.type(0.5)


for _op in (Maximum, Minimum, FMax, FMin):

    @samples(_op)
    def _(make: Any) -> Any:
        yield Sample(make(2, 3), make(2, 3))
        yield Sample(make(4, 1, 3), make(2, 1), note="broadcasting")
        yield Sample(np.array([1.0, 2.0]), np.array([1.0, 3.0]), note="equal values", smooth=False)


maximum = public(Maximum, "maximum", "The larger of two tensors, element by element; NaN wins.", inplace=False)
minimum = public(Minimum, "minimum", "The smaller of two tensors, element by element; NaN wins.", inplace=False)
fmax = public(FMax, "fmax", "The larger of two tensors, element by element; NaN loses.", inplace=False)
fmin = public(FMin, "fmin", "The smaller of two tensors, element by element; NaN loses.", inplace=False)


class Clamp(Op):
    """x, but at least `low` and at most `high`; the gradient passes where x lies between (ends included)."""

    promotion = "common"

    def forward(self, x: Any, low: Any, high: Any) -> Any:
        if x.dtype.kind == "f" or (low is not None and high is not None):
            # one pass, and several times faster than maximum() of an array and a number
            return x.clip(-math.inf if low is None else low, math.inf if high is None else high)
        return array_module(x).minimum(x, high) if low is None else array_module(x).maximum(x, low)

    def backward(self, g: Any, x: Any, low: Any, high: Any) -> Any:
        if low is None and high is None:
            return g, None, None
        below = False if low is None else x < low
        above = False if high is None else x > high
        between = x <= high if low is None else x >= low if high is None else (x >= low) & (x <= high)  # NaN is not
        inside = where(between, g, 0.0)
        if low is not None and high is not None:
            crossed = low >= high  # then the result is `high` wherever x is not below it
            to_low = where(below & ~crossed if hasattr(crossed, "dtype") else below & (not crossed), g, 0.0)
            to_high = where(above | (crossed & (x == x)) if hasattr(crossed, "dtype") else above | crossed, g, 0.0)
            return inside, to_low, to_high
        return (
            inside,
            where(below, g, 0.0) if low is not None else None,
            where(above, g, 0.0) if high is not None else None,
        )


@samples(Clamp)
def _(make: Any) -> Any:
    yield Sample(make(3, 4), -0.5, 0.5)
    yield Sample(make(3, 4), None, 0.5, note="no lower bound")
    yield Sample(make(3, 4), make(4, low=-1.5, high=-0.5), make(3, 1, low=0.5, high=1.5), note="tensors as bounds")


@method("clamp", "clip", inplace=True)
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Values below `min` become `min`, values above `max` become `max`; each a number, a tensor or None."""
    if min is None and max is None:
        raise RuntimeError("clamp: at least one of 'min' or 'max' must not be None")
    return Clamp.apply(input, min, max)


clip = clamp


@method(inplace=True)
def clamp_min(input: Tensor, min: Any) -> Tensor:
    """Values below `min` become `min`."""
    return clamp(input, min)


@method(inplace=True)
def clamp_max(input: Tensor, max: Any) -> Tensor:
    """Values above `max` become `max`."""
    return clamp(input, None, max)


__all__ = [
    "allclose", "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor",
    "clamp", "clamp_max", "clamp_min", "clip", "eq", "equal", "fmax", "fmin", "ge", "greater", "greater_equal", "gt",
    "isclose", "isfinite", "isinf", "isnan", "isneginf", "isposinf", "le", "less", "less_equal", "logical_and",
    "logical_not", "logical_or", "logical_xor", "lt", "maximum", "minimum", "ne", "not_equal", "signbit", "where",
]  # fmt: skip
