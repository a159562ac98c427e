"""Trigonometric and hyperbolic functions, their inverses, and angles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.op import Op
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .define import FloatOp, public
from .exponential import rsqrt
from .selection import where


class Sin(FloatOp):
    complex_rule = True
    forward = np.sin

    def backward(self, g: Any, x: Any) -> Any:
        return g * cos(x)


class Cos(FloatOp):
    complex_rule = True
    forward = np.cos

    def backward(self, g: Any, x: Any) -> Any:
        return -g * sin(x)


class Tan(FloatOp):
    precision = "full on cuda"
    complex_rule = True
    forward = np.tan

    def backward(self, g: Any, out: Any) -> Any:
        return g * (1 + out * out)


class Asin(FloatOp):
    precision = "full on cuda"
    complex_rule = True
    forward = np.arcsin

    def backward(self, g: Any, x: Any) -> Any:
        return g * rsqrt(1 - x * x)


class Acos(FloatOp):
    precision = "full on cuda"
    complex_rule = True
    forward = np.arccos

    def backward(self, g: Any, x: Any) -> Any:
        return -g * rsqrt(1 - x * x)


class Atan(FloatOp):
    complex_rule = True
    forward = np.arctan

    def backward(self, g: Any, x: Any) -> Any:
        return g / (1 + x * x)


class Sinh(FloatOp):
    precision = "full on cuda"
    complex_rule = True
    forward = np.sinh

    def backward(self, g: Any, x: Any) -> Any:
        return g * cosh(x)


class Cosh(FloatOp):
    precision = "full on cuda"
    complex_rule = True
    forward = np.cosh

    def backward(self, g: Any, x: Any) -> Any:
        return g * sinh(x)


class Tanh(FloatOp):
    complex_rule = True
    forward = np.tanh

    def backward(self, g: Any, out: Any) -> Any:
        return g * (1 - out * out)


class Asinh(FloatOp):
    complex_rule = True
    forward = np.arcsinh

    def backward(self, g: Any, x: Any) -> Any:
        return g * rsqrt(x * x + 1)


class Acosh(FloatOp):
    complex_rule = True
    forward = np.arccosh

    def backward(self, g: Any, x: Any) -> Any:
        return g * rsqrt(x * x - 1)


class Atanh(FloatOp):
    complex_rule = True
    forward = np.arctanh

    def backward(self, g: Any, x: Any) -> Any:
        return g / (1 - x * x)


class Sinc(FloatOp):
    """sin(pi x) / (pi x), and 1 at 0."""

    complex_rule = True

    @staticmethod
    def forward(x: Any) -> Any:
        xp = array_module(x)
        safe = xp.where(x == 0, x.dtype.type(1), x * math.pi)
        return xp.where(x == 0, x.dtype.type(1), xp.sin(safe) / safe)

    def backward(self, g: Any, x: Any) -> Any:
        away = x != 0
        safe = where(away, x * math.pi, 1.0)
        return g * where(away, math.pi * (cos(safe) / safe - sin(safe) / (safe * safe)), 0.0)


class Atan2(FloatOp):
    """The angle of the point (y, x), between -pi and pi, called with y first. At the origin its gradient is set to zero."""

    forward = np.arctan2

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        square = x * x + y * y
        scale = where(square == 0, 0.0, g / where(square == 0, 1.0, square))
        return scale * y, -scale * x


class Hypot(FloatOp):
    """The length of the vector (x, y)."""

    forward = np.hypot

    def backward(self, g: Any, x: Any, y: Any, out: Any) -> Any:
        return g * x / out, g * y / out


_op: type[Op]
_RANGES: dict[type[Op], tuple[float, float]] = {
    Asin: (-0.9, 0.9), Acos: (-0.9, 0.9), Acosh: (1.2, 3), Atanh: (-0.8, 0.8), Tan: (-1.2, 1.2),
}  # fmt: skip
for _op in (Sin, Cos, Tan, Asin, Acos, Atan, Sinh, Cosh, Tanh, Asinh, Acosh, Atanh, Sinc):

    @samples(_op)
    def _(make: Any, op: type[Op] = _op) -> Any:
        low, high = _RANGES.get(op, (-2, 2))
        yield Sample(make(2, 3, low=low, high=high))
        yield Sample(make(low=low, high=high), note="without dimensions")


for _op in (Atan2, Hypot):

    @samples(_op)
    def _(make: Any) -> Any:
        yield Sample(make(2, 3), make(2, 3, low=0.3))
        yield Sample(make(4, 1, 3), make(2, 1, low=0.3), note="broadcasting")


sin = public(Sin, "sin", "The sine of an angle in radians.")
cos = public(Cos, "cos", "The cosine of an angle in radians.")
tan = public(Tan, "tan", "The tangent of an angle in radians.")
asin = arcsin = public(Asin, "asin", "The angle, in radians, whose sine is input.", "arcsin")
acos = arccos = public(Acos, "acos", "The angle, in radians, whose cosine is input.", "arccos")
atan = arctan = public(Atan, "atan", "The angle, in radians, whose tangent is input.", "arctan")
sinh = public(Sinh, "sinh", "The hyperbolic sine.")
cosh = public(Cosh, "cosh", "The hyperbolic cosine.")
tanh = public(Tanh, "tanh", "The hyperbolic tangent.")
asinh = arcsinh = public(Asinh, "asinh", "The inverse of the hyperbolic sine.", "arcsinh")
acosh = arccosh = public(Acosh, "acosh", "The inverse of the hyperbolic cosine.", "arccosh")
atanh = arctanh = public(Atanh, "atanh", "The inverse of the hyperbolic tangent.", "arctanh")
sinc = public(Sinc, "sinc", "sin(pi input) / (pi input), and 1 at 0.")
atan2 = arctan2 = public(Atan2, "atan2", "The angle of the point (other, input), in radians.", "arctan2")
hypot = public(Hypot, "hypot", "The square root of input^2 + other^2, without overflow.")


@method(inplace=True)
def deg2rad(input: Tensor) -> Tensor:
    """Degrees as radians."""
    return input * (math.pi / 180)


@method(inplace=True)
def rad2deg(input: Tensor) -> Tensor:
    """Radians as degrees."""
    return input * (180 / math.pi)


__all__ = [
    "acos", "acosh", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "asin", "asinh", "atan",
    "atan2", "atanh", "cos", "cosh", "deg2rad", "hypot", "rad2deg", "sin", "sinc", "sinh", "tan", "tanh",
]  # fmt: skip
