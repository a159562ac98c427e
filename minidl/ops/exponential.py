"""Exponentials, logarithms and roots."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.op import Op
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .define import FloatOp, named, public, scipy_of_two
from .selection import where


class Exp(FloatOp):
    precision = "full on cuda"
    complex_rule = True
    forward = np.exp

    def backward(self, g: Any, out: Any) -> Any:
        return g * out


class Exp2(FloatOp):
    complex_rule = True
    forward = np.exp2

    def backward(self, g: Any, out: Any) -> Any:
        return g * out * math.log(2)


class Expm1(FloatOp):
    precision = "full on cuda"
    complex_rule = True
    forward = np.expm1

    def backward(self, g: Any, out: Any) -> Any:
        return g * (out + 1)


class Log(FloatOp):
    precision = "full on cuda"
    complex_rule = True
    forward = np.log

    def backward(self, g: Any, x: Any) -> Any:
        return g / x


class Log2(FloatOp):
    precision = "full on cuda"
    complex_rule = True
    forward = np.log2

    def backward(self, g: Any, x: Any) -> Any:
        return g / (x * math.log(2))


class Log10(FloatOp):
    precision = "full on cuda"
    complex_rule = True
    forward = np.log10

    def backward(self, g: Any, x: Any) -> Any:
        return g / (x * math.log(10))


class Log1p(FloatOp):
    precision = "full on cuda"
    complex_rule = True
    forward = np.log1p

    def backward(self, g: Any, x: Any) -> Any:
        return g / (x + 1)


class Sqrt(FloatOp):
    complex_rule = True
    forward = np.sqrt

    def backward(self, g: Any, out: Any) -> Any:
        return g / (2 * out)


class Rsqrt(FloatOp):
    precision = "full on cuda"
    complex_rule = True

    @staticmethod
    def forward(x: Any) -> Any:
        return 1 / array_module(x).sqrt(x)

    def backward(self, g: Any, out: Any) -> Any:
        return g * (-0.5 * out * out * out)


class Reciprocal(FloatOp):
    precision = "full on cuda"
    complex_rule = True

    @staticmethod
    def forward(x: Any) -> Any:
        return 1 / x

    def backward(self, g: Any, out: Any) -> Any:
        return -g * out * out


class Square(Op):
    complex_rule = True

    @staticmethod
    def forward(x: Any) -> Any:
        return x * x if x.dtype.kind != "b" else x.astype(np.int64)

    def backward(self, g: Any, x: Any) -> Any:
        return g * (2 * x)


_op: type[Op]
_RANGES: dict[type[Op], tuple[float, float]] = {
    Log: (0.3, 3), Log2: (0.3, 3), Log10: (0.3, 3), Log1p: (-0.6, 2), Sqrt: (0.3, 3), Rsqrt: (0.3, 3),
    Reciprocal: (0.4, 2),
}  # fmt: skip
for _op in (Exp, Exp2, Expm1, Log, Log2, Log10, Log1p, Sqrt, Rsqrt, Reciprocal, Square):

    @samples(_op)
    def _(make: Any, op: type[Op] = _op) -> Any:
        low, high = _RANGES.get(op, (-2, 2))
        yield Sample(make(2, 3, low=low, high=high))
        yield Sample(make(low=low, high=high), note="without dimensions")


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


# ---------------------------------------------------------------------------------------------------------------------
# Logarithms in company


class Logit(FloatOp):
    """log(x / (1 - x)), with x first held within [eps, 1 - eps] if eps is given."""

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


class LogAddExp(FloatOp):
    """log(e^x + e^y) without overflow."""

    forward = np.logaddexp

    def backward(self, g: Any, x: Any, y: Any, out: Any) -> Any:
        return g * exp(x - out), g * exp(y - out)


class LogAddExp2(FloatOp):
    """log2(2^x + 2^y) without overflow."""

    forward = np.logaddexp2

    def backward(self, g: Any, x: Any, y: Any, out: Any) -> Any:
        return g * exp2(x - out), g * exp2(y - out)


class XLogY(FloatOp):
    """x log(y), and 0 where x is 0."""

    forward = scipy_of_two("xlogy")

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        dx = where((x == 0) & (y <= 0), 0.0, g * log(y)) if hasattr(y, "shape") else g * math.log(y)
        return dx, g * x / y


class XLog1pY(FloatOp):
    """x log(1 + y), and 0 where x is 0."""

    forward = scipy_of_two("xlog1py")

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        dx = where((x == 0) & (y <= -1), 0.0, g * log1p(y)) if hasattr(y, "shape") else g * math.log1p(y)
        return dx, g * x / (y + 1)


@samples(Logit)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, low=0.2, high=0.8), eps=None)
    yield Sample(make(4, 3, low=0.0, high=1.0), eps=0.3)


for _op in (LogAddExp, LogAddExp2, XLogY, XLog1pY):

    @samples(_op)
    def _(make: Any) -> Any:
        yield Sample(make(2, 3), make(2, 3, low=0.3))
        yield Sample(make(4, 1, 3), make(2, 1, low=0.3), note="broadcasting")


@method(inplace=True)
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(input / (1 - input)), the inverse of sigmoid; input is held within [eps, 1 - eps] if eps is given."""
    return Logit.apply(input, eps=eps)


logaddexp = public(LogAddExp, "logaddexp", "log(exp(input) + exp(other)), without overflow.", inplace=False)
logaddexp2 = public(LogAddExp2, "logaddexp2", "log2(2^input + 2^other), without overflow.", inplace=False)
xlogy = public(XLogY, "xlogy", "input * log(other), and 0 where input is 0.")
xlog1py = named(XLog1pY, "xlog1py", "input * log(1 + other), and 0 where input is 0.")


__all__ = [
    "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "logaddexp", "logaddexp2", "logit", "reciprocal", "rsqrt",
    "sqrt", "square", "xlogy",
]  # fmt: skip
