"""Sign, rounding, and the parts of a float number: piecewise functions, smooth only away from their steps."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.op import Op
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .define import FloatOp, public, result_type
from .indexing import Fill
from .selection import where


class Neg(Op):
    complex_rule = True

    @staticmethod
    def forward(x: Any) -> Any:
        if x.dtype.kind == "b":
            raise RuntimeError("neg: negation of a bool tensor is not supported; use ~ to invert a mask")
        return -x

    def backward(self, g: Any) -> Any:
        return -g


class Abs(Op):
    """|x|; of complex numbers too. The derivative at 0 is taken to be 0."""

    complex_rule = True
    forward = np.abs

    def backward(self, g: Any, x: Any) -> Any:
        if (x.array if isinstance(x, Tensor) else x).dtype.kind != "c":
            return g * sign(x)
        length = Abs.apply(x)
        return x.conj() * where(length == 0, 0.0, g / length)


class _Step(Op):
    def backward(self, g: Any) -> Any:
        return Fill.apply(g, value=0)


class Sign(_Step):
    @staticmethod
    def forward(x: Any) -> Any:
        if x.dtype.kind == "c":
            return np.where(np.isnan(x), x.dtype.type(0), np.sign(x))
        return x.copy() if x.dtype.kind == "b" else np.subtract(x > 0, x < 0, dtype=x.dtype)  # 0 for NaN


class Floor(_Step):
    @staticmethod
    def forward(x: Any) -> Any:
        return np.floor(x) if x.dtype.kind in "fc" else x.copy()


class Ceil(_Step):
    @staticmethod
    def forward(x: Any) -> Any:
        return np.ceil(x) if x.dtype.kind in "fc" else x.copy()


class Trunc(_Step):
    @staticmethod
    def forward(x: Any) -> Any:
        return np.trunc(x) if x.dtype.kind in "fc" else x.copy()


class Round(_Step):
    """To the nearest multiple of 10^-decimals, halves to the even one."""

    def forward(self, x: Any, *, decimals: int) -> Any:
        if x.dtype.kind != "f" or decimals == 0:
            return array_module(x).round(x)
        scale = x.dtype.type(10.0 ** builtins.abs(decimals))
        return np.round(x * scale) / scale if decimals > 0 else np.round(x / scale) * scale


class Frac(Op):
    """The part after the decimal point, with the sign of x."""

    @staticmethod
    def forward(x: Any) -> Any:
        return x - np.trunc(x)

    def backward(self, g: Any) -> Any:
        return g


class CopySign(FloatOp):
    """The size of x with the sign of y."""

    forward = np.copysign

    def backward(self, g: Any, x: Any, y: Any, out: Any) -> Any:
        return g * where(x == 0, 0.0, sign(out) * sign(x)), Fill.apply(g, value=0)


class NanToNum(Op):
    """NaN and infinities replaced by numbers."""

    def forward(self, x: Any, *, nan: float, posinf: float | None, neginf: float | None) -> Any:
        self.finite = np.isfinite(x)
        return array_module(x).nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)

    def backward(self, g: Any) -> Any:
        return where(self.finite, g, 0.0)


class Heaviside(Op):
    """0 for negative x, 1 for positive x, y at 0."""

    promotion = "common"
    forward = np.heaviside


class NextAfter(FloatOp):
    """The next float after x in the direction of y."""

    forward = np.nextafter

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        return where(x != y, g, 0.0), Fill.apply(g, value=0)


class Frexp(FloatOp):
    """x as mantissa * 2^exponent, with 0.5 <= |mantissa| < 1."""

    several = True

    def forward(self, x: Any) -> Any:
        mantissa, exponent = np.frexp(x)
        self.scale = np.ldexp(np.ones_like(mantissa), -exponent)
        return mantissa, exponent

    def backward(self, g: Any) -> Any:
        return g[0] * self.scale


_op: type[Op]
for _op in (Neg, Abs, Sign, Floor, Ceil, Trunc, Frac):

    @samples(_op)
    def _(make: Any) -> Any:
        yield Sample(np.array([[-1.7, -0.4, 0.3], [0.6, 1.2, 2.9]]))
        yield Sample(np.array(1.3), note="without dimensions")


@samples(Round)
def _(make: Any) -> Any:
    yield Sample(np.array([-1.7, -0.4, 0.3, 1.23]), decimals=0)
    yield Sample(np.array([-1.74, -0.43, 0.31, 12.36]), decimals=1)


@samples(NextAfter)
def _(make: Any) -> Any:
    yield Sample(np.array([-1.7, -0.4, 0.3]), np.array([1.0, -1.0, -2.0]))


@samples(CopySign)
def _(make: Any) -> Any:
    yield Sample(np.array([-1.7, -0.4, 0.3]), np.array([1.0, -1.0, -2.0]))


@samples(NanToNum)
def _(make: Any) -> Any:
    yield Sample(np.array([1.0, -2.0]), nan=0.0, posinf=None, neginf=None)
    yield Sample(np.array([np.nan, np.inf, -np.inf, 1.0]), nan=1.0, posinf=2.0, neginf=-2.0, smooth=False)


@samples(Frexp)
def _(make: Any) -> Any:
    yield Sample(np.array([-1.7, -0.4, 0.3, 12.36]))


neg = negative = public(Neg, "neg", "-input.", "negative", "__neg__")
abs = absolute = public(Abs, "abs", "The absolute value.", "absolute", "__abs__")
sign = sgn = public(Sign, "sign", "-1, 0 or 1, by the sign of input.", "sgn")
floor = public(Floor, "floor", "The largest whole number not above input.")
ceil = public(Ceil, "ceil", "The smallest whole number not below input.")
trunc = fix = public(Trunc, "trunc", "The whole part: rounded towards zero.", "fix")
frac = public(Frac, "frac", "The part after the decimal point, with the sign of input.")
copysign = public(CopySign, "copysign", "The size of input with the sign of other.")
heaviside = public(Heaviside, "heaviside", "0 where input is negative, 1 where positive, `values` where it is 0.")
nextafter = public(NextAfter, "nextafter", "The next float number after input in the direction of other.")

FREXP = result_type("frexp", "mantissa", "exponent")


@method()
def frexp(input: Tensor) -> Any:
    """(mantissa, exponent) with input = mantissa * 2^exponent and 0.5 <= |mantissa| < 1; the exponent is int32."""
    return FREXP(*Frexp.apply(input))


@method(inplace=True)
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest multiple of 10^-decimals; halves go to the even one."""
    return Round.apply(input, decimals=decimals)


@method(inplace=True)
def nan_to_num(
    input: Tensor, nan: float | None = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """NaN replaced by `nan`, infinities by `posinf` and `neginf` (default: the largest numbers of the dtype)."""
    if input.array.dtype.kind == "V":  # in float32, where it is computed, the largest numbers are others
        posinf, neginf = (
            limit if given is None else given
            for given, limit in ((posinf, dtypes.finfo(input.dtype).max), (neginf, dtypes.finfo(input.dtype).min))
        )
    return NanToNum.apply(input, nan=nan or 0.0, posinf=posinf, neginf=neginf)


@method("__pos__", "positive")
def positive(input: Tensor) -> Tensor:
    """The tensor itself."""
    return input


__all__ = [
    "abs", "absolute", "ceil", "copysign", "fix", "floor", "frac", "frexp", "heaviside", "nan_to_num", "neg", "negative",
    "nextafter", "positive", "round", "sgn", "sign", "trunc",
]  # fmt: skip
