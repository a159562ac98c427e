"""Functions of one variable: exponentials, logarithms, trigonometry, error functions, signs and rounding."""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from ..autograd.op import Op
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .define import public
from .selection import where


class _Smooth(Op):
    """A function whose domain is the whole line unless its samples say otherwise."""

    promotion = "float"


class Exp(_Smooth):
    forward = np.exp

    def backward(self, g: Any, out: Any) -> Any:
        return g * out


class Exp2(_Smooth):
    forward = np.exp2

    def backward(self, g: Any, out: Any) -> Any:
        return g * out * math.log(2)


class Expm1(_Smooth):
    forward = np.expm1

    def backward(self, g: Any, out: Any) -> Any:
        return g * (out + 1)


class Log(_Smooth):
    forward = np.log

    def backward(self, g: Any, x: Any) -> Any:
        return g / x


class Log2(_Smooth):
    forward = np.log2

    def backward(self, g: Any, x: Any) -> Any:
        return g / (x * math.log(2))


class Log10(_Smooth):
    forward = np.log10

    def backward(self, g: Any, x: Any) -> Any:
        return g / (x * math.log(10))


class Log1p(_Smooth):
    forward = np.log1p

    def backward(self, g: Any, x: Any) -> Any:
        return g / (x + 1)


class Sqrt(_Smooth):
    forward = np.sqrt

    def backward(self, g: Any, out: Any) -> Any:
        return g / (2 * out)


class Rsqrt(_Smooth):
    @staticmethod
    def forward(x: Any) -> Any:
        return 1 / array_module(x).sqrt(x)

    def backward(self, g: Any, out: Any) -> Any:
        return g * (-0.5 * out * out * out)


class Reciprocal(_Smooth):
    @staticmethod
    def forward(x: Any) -> Any:
        return 1 / x

    def backward(self, g: Any, out: Any) -> Any:
        return -g * out * out


class Square(Op):
    @staticmethod
    def forward(x: Any) -> Any:
        return x * x if x.dtype.kind != "b" else x.astype(np.int64)

    def backward(self, g: Any, x: Any) -> Any:
        return g * (2 * x)


class Sin(_Smooth):
    forward = np.sin

    def backward(self, g: Any, x: Any) -> Any:
        return g * cos(x)


class Cos(_Smooth):
    forward = np.cos

    def backward(self, g: Any, x: Any) -> Any:
        return -g * sin(x)


class Tan(_Smooth):
    forward = np.tan

    def backward(self, g: Any, out: Any) -> Any:
        return g * (1 + out * out)


class Asin(_Smooth):
    forward = np.arcsin

    def backward(self, g: Any, x: Any) -> Any:
        return g * rsqrt(1 - x * x)


class Acos(_Smooth):
    forward = np.arccos

    def backward(self, g: Any, x: Any) -> Any:
        return -g * rsqrt(1 - x * x)


class Atan(_Smooth):
    forward = np.arctan

    def backward(self, g: Any, x: Any) -> Any:
        return g / (1 + x * x)


class Sinh(_Smooth):
    forward = np.sinh

    def backward(self, g: Any, x: Any) -> Any:
        return g * cosh(x)


class Cosh(_Smooth):
    forward = np.cosh

    def backward(self, g: Any, x: Any) -> Any:
        return g * sinh(x)


class Tanh(_Smooth):
    forward = np.tanh

    def backward(self, g: Any, out: Any) -> Any:
        return g * (1 - out * out)


class Asinh(_Smooth):
    forward = np.arcsinh

    def backward(self, g: Any, x: Any) -> Any:
        return g * rsqrt(x * x + 1)


class Acosh(_Smooth):
    forward = np.arccosh

    def backward(self, g: Any, x: Any) -> Any:
        return g * rsqrt(x * x - 1)


class Atanh(_Smooth):
    forward = np.arctanh

    def backward(self, g: Any, x: Any) -> Any:
        return g / (1 - x * x)


def _special(name: str) -> Any:
    """A function of scipy.special, imported at its first call."""

    def forward(x: Any) -> Any:
        import scipy.special

        result = getattr(scipy.special, name)(x)
        return result.astype(x.dtype) if hasattr(result, "astype") and x.dtype.kind == "f" else result

    return staticmethod(forward)


class Erf(_Smooth):
    forward = _special("erf")

    def backward(self, g: Any, x: Any) -> Any:
        return g * (2 / math.sqrt(math.pi)) * exp(-x * x)


class Erfc(_Smooth):
    forward = _special("erfc")

    def backward(self, g: Any, x: Any) -> Any:
        return g * (-2 / math.sqrt(math.pi)) * exp(-x * x)


class Erfinv(_Smooth):
    forward = _special("erfinv")

    def backward(self, g: Any, out: Any) -> Any:
        return g * (math.sqrt(math.pi) / 2) * exp(out * out)


class Lgamma(_Smooth):
    forward = _special("gammaln")

    def backward(self, g: Any, x: Any) -> Any:
        return g * digamma(x)


class Digamma(_Smooth):
    forward = _special("digamma")

    def backward(self, g: Any, x: Any) -> Any:
        return g * polygamma(1, x)


class Polygamma(Op):
    """The n-th derivative of digamma."""

    promotion = "float"

    def forward(self, x: Any, *, n: int) -> Any:
        import scipy.special

        self.n = n
        return scipy.special.polygamma(n, x).astype(x.dtype)

    def backward(self, g: Any, x: Any) -> Any:
        return g * polygamma(self.n + 1, x)


class Sinc(_Smooth):
    """sin(pi x) / (pi x), and 1 at 0."""

    forward = np.sinc

    def backward(self, g: Any, x: Any) -> Any:
        y = x * math.pi
        away = x != 0
        safe = where(away, y, 1.0)
        return g * where(away, math.pi * (cos(safe) / safe - sin(safe) / (safe * safe)), 0.0)


class Logit(Op):
    """log(x / (1 - x)), with x first held within [eps, 1 - eps] if eps is given."""

    promotion = "float"

    def forward(self, x: Any, *, eps: float | None) -> Any:
        xp = array_module(x)
        self.eps = eps
        if eps is not None:
            x = xp.clip(x, eps, 1 - eps)
        return xp.log(x / (1 - x))

    def backward(self, g: Any, x: Any) -> Any:
        if self.eps is None:
            return where((x < 0) | (x > 1), math.nan, g / (x * (1 - x)))
        return where((x < self.eps) | (x > 1 - self.eps), 0.0, g / (x * (1 - x)))


class Atan2(Op):
    """The angle of the point (y, x), between -pi and pi. Called with y first."""

    promotion = "float"
    forward = np.arctan2

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        scale = g / (x * x + y * y)
        return scale * y, -scale * x


class Hypot(Op):
    """The length of the vector (x, y)."""

    promotion = "float"
    forward = np.hypot

    def backward(self, g: Any, x: Any, y: Any, out: Any) -> Any:
        return g * x / out, g * y / out


class LogAddExp(Op):
    """log(e^x + e^y) without overflow."""

    promotion = "float"
    forward = np.logaddexp

    def backward(self, g: Any, x: Any, y: Any, out: Any) -> Any:
        return g * exp(x - out), g * exp(y - out)


class LogAddExp2(Op):
    """log2(2^x + 2^y) without overflow."""

    promotion = "float"
    forward = np.logaddexp2

    def backward(self, g: Any, x: Any, y: Any, out: Any) -> Any:
        return g * exp2(x - out), g * exp2(y - out)


class XLogY(Op):
    """x log(y), and 0 where x is 0."""

    promotion = "float"

    @staticmethod
    def forward(x: Any, y: Any) -> Any:
        import scipy.special

        return scipy.special.xlogy(x, y)

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        dx = where((x == 0) & (y <= 0), 0.0, g * log(y)) if hasattr(y, "shape") else g * math.log(y)
        return dx, g * x / y


_RANGES: dict[type[Op], tuple[float, float]] = {
    Log: (0.3, 3), Log2: (0.3, 3), Log10: (0.3, 3), Log1p: (-0.6, 2), Sqrt: (0.3, 3), Rsqrt: (0.3, 3),
    Reciprocal: (0.4, 2), Asin: (-0.9, 0.9), Acos: (-0.9, 0.9), Acosh: (1.2, 3), Atanh: (-0.8, 0.8), Tan: (-1.2, 1.2),
    Erfinv: (-0.8, 0.8), Lgamma: (0.4, 3), Digamma: (0.4, 3),
}  # fmt: skip
for _op in (
    Exp, Exp2, Expm1, Log, Log2, Log10, Log1p, Sqrt, Rsqrt, Reciprocal, Square, Sin, Cos, Tan, Asin, Acos, Atan, Sinh,
    Cosh, Tanh, Asinh, Acosh, Atanh, Erf, Erfc, Erfinv, Lgamma, Digamma, Sinc,
):  # fmt: skip

    @samples(_op)
    def _(make: Any, op: type[Op] = _op) -> Any:
        low, high = _RANGES.get(op, (-2, 2))
        yield Sample(make(2, 3, low=low, high=high))
        yield Sample(make(low=low, high=high), note="without dimensions")


for _op in (Atan2, Hypot, LogAddExp, LogAddExp2):

    @samples(_op)
    def _(make: Any) -> Any:
        yield Sample(make(2, 3), make(2, 3, low=0.3))
        yield Sample(make(4, 1, 3), make(2, 1, low=0.3), note="broadcasting")


@samples(XLogY)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), make(2, 3, low=0.3))
    yield Sample(make(4, 1, 3), make(2, 1, low=0.3), note="broadcasting")


@samples(Polygamma)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, low=0.5), n=1)


@samples(Logit)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, low=0.2, high=0.8), eps=None)
    yield Sample(make(4, 3, low=0.0, high=1.0), eps=0.3)


exp = public(Exp, "exp", "e to the power input.")
exp2 = public(Exp2, "exp2", "2 to the power input.")
expm1 = public(Expm1, "expm1", "e to the power input, minus 1, accurate near 0.")
log = public(Log, "log", "The natural logarithm.")
log2 = public(Log2, "log2", "The logarithm to base 2.")
log10 = public(Log10, "log10", "The logarithm to base 10.")
log1p = public(Log1p, "log1p", "The natural logarithm of 1 + input, accurate near 0.")
sqrt = public(Sqrt, "sqrt", "The square root.")
rsqrt = public(Rsqrt, "rsqrt", "1 over the square root.")
reciprocal = public(Reciprocal, "reciprocal", "1 over input.")
square = public(Square, "square", "input times itself.")
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
erf = public(Erf, "erf", "The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to input.")
erfc = public(Erfc, "erfc", "1 - erf(input), accurate where that is small.")
erfinv = public(Erfinv, "erfinv", "The inverse of erf.")
lgamma = public(Lgamma, "lgamma", "The logarithm of the absolute value of the gamma function.")
digamma = public(Digamma, "digamma", "The derivative of lgamma.")
sinc = public(Sinc, "sinc", "sin(pi input) / (pi input), and 1 at 0.")
atan2 = arctan2 = public(Atan2, "atan2", "The angle of the point (other, input), in radians.", "arctan2")
hypot = public(Hypot, "hypot", "The square root of input^2 + other^2, without overflow.")
logaddexp = public(LogAddExp, "logaddexp", "log(exp(input) + exp(other)), without overflow.", inplace=False)
logaddexp2 = public(LogAddExp2, "logaddexp2", "log2(2^input + 2^other), without overflow.", inplace=False)
xlogy = public(XLogY, "xlogy", "input * log(other), and 0 where input is 0.")


def polygamma(n: int, input: Any) -> Any:
    """The n-th derivative of digamma at input, for n >= 0."""
    return digamma(input) if n == 0 else Polygamma.apply(input, n=n)


@method("polygamma", inplace=True)
def _polygamma_method(input: Tensor, n: int) -> Any:
    return polygamma(n, input)


@method(inplace=True)
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(input / (1 - input)), the inverse of sigmoid; input is held within [eps, 1 - eps] if eps is given."""
    return Logit.apply(input, eps=eps)


@method("deg2rad", inplace=True)
def deg2rad(input: Tensor) -> Tensor:
    """Degrees as radians."""
    return input * (math.pi / 180)


@method("rad2deg", inplace=True)
def rad2deg(input: Tensor) -> Tensor:
    """Radians as degrees."""
    return input * (180 / math.pi)


# ---------------------------------------------------------------------------------------------------------------------
# Sign and rounding: piecewise, so smooth only away from their steps


class Neg(Op):
    @staticmethod
    def forward(x: Any) -> Any:
        if x.dtype.kind == "b":
            raise TypeError("negation of a bool tensor is not supported; use ~ to invert a mask")
        return -x

    def backward(self, g: Any) -> Any:
        return -g


class Abs(Op):
    forward = np.abs

    def backward(self, g: Any, x: Any) -> Any:
        return g * sign(x)


class _Step(Op):
    def backward(self, g: Any) -> Any:
        return g * 0.0


class Sign(_Step):
    @staticmethod
    def forward(x: Any) -> Any:
        return x.copy() if x.dtype.kind == "b" else np.where(np.isnan(x), x.dtype.type(0), np.sign(x)).astype(x.dtype)


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


class CopySign(Op):
    """The size of x with the sign of y."""

    promotion = "float"
    forward = np.copysign

    def backward(self, g: Any, x: Any, y: Any, out: Any) -> Any:
        return g * where(x == 0, 0.0, sign(out) * sign(x)), g * 0.0


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


for _op in (Neg, Abs, Sign, Floor, Ceil, Trunc, Frac):

    @samples(_op)
    def _(make: Any) -> Any:
        yield Sample(np.array([[-1.7, -0.4, 0.3], [0.6, 1.2, 2.9]]))
        yield Sample(np.array(1.3), note="without dimensions")


@samples(Round)
def _(make: Any) -> Any:
    yield Sample(np.array([-1.7, -0.4, 0.3, 1.23]), decimals=0)
    yield Sample(np.array([-1.74, -0.43, 0.31, 12.36]), decimals=1)


@samples(CopySign)
def _(make: Any) -> Any:
    yield Sample(np.array([-1.7, -0.4, 0.3]), np.array([1.0, -1.0, -2.0]))


@samples(NanToNum)
def _(make: Any) -> Any:
    yield Sample(np.array([1.0, -2.0]), nan=0.0, posinf=None, neginf=None)
    yield Sample(np.array([np.nan, np.inf, -np.inf, 1.0]), nan=1.0, posinf=2.0, neginf=-2.0, smooth=False)


neg = negative = public(Neg, "neg", "-input.", "negative", "__neg__")
abs = absolute = public(Abs, "abs", "The absolute value.", "absolute", "__abs__")
sign = public(Sign, "sign", "-1, 0 or 1, by the sign of input.", "sgn")
floor = public(Floor, "floor", "The largest whole number not above input.")
ceil = public(Ceil, "ceil", "The smallest whole number not below input.")
trunc = fix = public(Trunc, "trunc", "The whole part: rounded towards zero.", "fix")
frac = public(Frac, "frac", "The part after the decimal point, with the sign of input.")
copysign = public(CopySign, "copysign", "The size of input with the sign of other.")
heaviside = public(Heaviside, "heaviside", "0 where input is negative, 1 where positive, `values` where it is 0.")


@method(inplace=True)
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest multiple of 10^-decimals; halves go to the even one."""
    return Round.apply(input, decimals=decimals)


@method(inplace=True)
def nan_to_num(
    input: Tensor, nan: float | None = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """NaN replaced by `nan`, infinities by `posinf` and `neginf` (default: the largest numbers of the dtype)."""
    return NanToNum.apply(input, nan=nan or 0.0, posinf=posinf, neginf=neginf)


@method("__pos__", "positive")
def positive(input: Tensor) -> Tensor:
    """The tensor itself."""
    return input


__all__ = [
    "abs",
    "absolute",
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "ceil",
    "copysign",
    "cos",
    "cosh",
    "deg2rad",
    "digamma",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "exp2",
    "expm1",
    "fix",
    "floor",
    "frac",
    "heaviside",
    "hypot",
    "lgamma",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logaddexp2",
    "logit",
    "nan_to_num",
    "neg",
    "negative",
    "polygamma",
    "positive",
    "rad2deg",
    "reciprocal",
    "round",
    "rsqrt",
    "sign",
    "sin",
    "sinc",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "trunc",
    "xlogy",
]  # fmt: skip
