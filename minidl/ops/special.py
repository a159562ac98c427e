"""Special functions: error functions and the normal distribution, the gamma function and its kin, Bessel functions.

The values are SciPy's (on a GPU CuPy's). What PyTorch has under `torch.special` only is public in `minidl.special`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.op import Op
from ..kernels import activation as kernels
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .define import FloatOp, named, public, scipy_of_one, scipy_of_two, scipy_special
from .exponential import exp, log
from .rounding import sign
from .selection import where

TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)
MANY = 128  # elements from which on the kernel of erf takes less time than SciPy's, way there included
erf_of_few = scipy_of_one("erf")


# ---------------------------------------------------------------------------------------------------------------------
# Error functions and the normal distribution


class Erf(FloatOp):
    @staticmethod
    def forward(x: Any) -> Any:
        return kernels.erf(x) if x.size >= MANY else erf_of_few(x)

    def backward(self, g: Any, x: Any) -> Any:
        return g * TWO_OVER_SQRT_PI * exp(-x * x)


class Erfc(FloatOp):
    forward = scipy_of_one("erfc")

    def backward(self, g: Any, x: Any) -> Any:
        return g * -TWO_OVER_SQRT_PI * exp(-x * x)


class Erfinv(FloatOp):
    precision = "full on cuda"
    forward = scipy_of_one("erfinv")

    def backward(self, g: Any, out: Any) -> Any:
        return g * (math.sqrt(math.pi) / 2) * exp(out * out)


class Erfcx(FloatOp):
    """e^(x^2) erfc(x)."""

    forward = scipy_of_one("erfcx")

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        return g * (2 * x * out - TWO_OVER_SQRT_PI)


class Ndtr(FloatOp):
    forward = scipy_of_one("ndtr")

    def backward(self, g: Any, x: Any) -> Any:
        return g * exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))


class Ndtri(FloatOp):
    forward = scipy_of_one("ndtri")

    def backward(self, g: Any, out: Any) -> Any:
        return g * exp(0.5 * out * out) * math.sqrt(2 * math.pi)


class LogNdtr(FloatOp):
    forward = scipy_of_one("log_ndtr")

    def backward(self, g: Any, x: Any) -> Any:
        return g * math.sqrt(2 / math.pi) / erfcx(x * -math.sqrt(0.5))


class Entr(FloatOp):
    forward = scipy_of_one("entr")

    def backward(self, g: Any, x: Any) -> Any:
        return -g * (log(x) + 1)


erf = public(Erf, "erf", "The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to input.")
erfc = public(Erfc, "erfc", "1 - erf(input), accurate where that is small.")
erfinv = public(Erfinv, "erfinv", "The inverse of erf.")
erfcx = named(Erfcx, "erfcx", "exp(input^2) * erfc(input), without underflow for large input.")
ndtr = named(Ndtr, "ndtr", "The probability that a standard normal variable is below input.")
ndtri = named(Ndtri, "ndtri", "The inverse of ndtr: the quantile of the standard normal distribution.")
log_ndtr = named(LogNdtr, "log_ndtr", "The logarithm of ndtr, accurate far below zero.")
entr = named(Entr, "entr", "-input * log(input), the entropy's term; 0 at 0 and minus infinity below.")


# ---------------------------------------------------------------------------------------------------------------------
# The gamma function and its kin


class Lgamma(FloatOp):
    forward = scipy_of_one("gammaln")

    def backward(self, g: Any, x: Any) -> Any:
        return g * digamma(x)


class Digamma(FloatOp):
    forward = scipy_of_one("digamma")

    def backward(self, g: Any, x: Any) -> Any:
        return g * polygamma(1, x)


class Polygamma(FloatOp):
    """The n-th derivative of digamma."""

    def forward(self, x: Any, *, n: int) -> Any:
        self.n = n
        return scipy_special(x).polygamma(array_module(x).asarray(n), x).astype(x.dtype)

    def backward(self, g: Any, x: Any) -> Any:
        return g * polygamma(self.n + 1, x)


class _InSecond(FloatOp):
    """A function of two variables whose derivative by the first one has no closed form."""

    def refuse_first(self) -> None:
        if self.edges[0] is not None:
            raise NotImplementedError(
                f"{type(self).__name__.lower()}: the derivative with respect to the first argument is not implemented; "
                "detach() it"
            )


class Zeta(_InSecond):
    """The Hurwitz zeta function: the sum of (y + k)^-x over k = 0, 1, ..."""

    forward = scipy_of_two("zeta")

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        self.refuse_first()
        return None, g * -x * zeta(x + 1, y)


class Igamma(_InSecond):
    """The lower incomplete gamma function of order x, divided by gamma(x)."""

    forward = scipy_of_two("gammainc")

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        self.refuse_first()
        return None, g * _gamma_density(x, y)


class Igammac(_InSecond):
    """The upper incomplete gamma function of order x, divided by gamma(x)."""

    forward = scipy_of_two("gammaincc")

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        self.refuse_first()
        return None, -g * _gamma_density(x, y)


def _gamma_density(x: Any, y: Any) -> Any:
    return exp((x - 1) * log(y) - y - lgamma(x))


class GammaQuantile(FloatOp):
    """The numbers below which the gamma distribution of order x and rate 1 lies with the probabilities u.

    Its derivative by the order is that of a draw with the uniform number u behind it held fixed: the implicit gradient of
    Figurnov, Mohamed and Mnih, 2018. There is no formula for it; a central difference has eight digits.
    """

    def forward(self, x: Any, *, u: Any) -> Any:
        self.u = u
        return _gamma_quantile(x.astype(np.float64), u).astype(x.dtype)

    def backward(self, g: Any, x: Any) -> Any:
        order = x.astype(np.float64)
        h = 1e-4 * order
        slope = (_gamma_quantile(order + h, self.u) - _gamma_quantile(order - h, self.u)) / (2 * h)
        return g * slope.astype(x.dtype)

    def composite(self, g: Any, x: Any) -> Any:
        raise NotImplementedError("the gradient of a gamma draw by its concentration cannot be differentiated again")


def _gamma_quantile(order: Any, u: Any) -> Any:
    special, xp = scipy_special(order), array_module(order)
    low = u < 0.5  # each half from its nearer end, where it is exact
    return xp.where(
        low, special.gammaincinv(order, xp.where(low, u, 0.25)), special.gammainccinv(order, xp.where(low, 0.25, 1 - u))
    )


@samples(GammaQuantile)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, low=1.0, high=5.0), u=make(2, 3, low=0.02, high=0.98), second_order=False)


lgamma = public(Lgamma, "lgamma", "The logarithm of the absolute value of the gamma function.")
digamma = public(Digamma, "digamma", "The derivative of lgamma.")
igamma = public(
    Igamma, "igamma", "The lower incomplete gamma function of order input at other, divided by gamma(input)."
)
igammac = public(Igammac, "igammac", "The upper incomplete gamma function of order input at other: 1 - igamma.")
zeta = named(Zeta, "zeta", "The Hurwitz zeta function: the sum of (other + k)^-input over k = 0, 1, ...")


def polygamma(n: int, input: Any) -> Any:
    """The n-th derivative of digamma at input, for n >= 0."""
    if n < 0:
        raise RuntimeError(f"polygamma(n, x) does not support negative n, got {n}")
    return digamma(input) if n == 0 else Polygamma.apply(input, n=n)


@method("polygamma", inplace=True)
def _polygamma_method(input: Tensor, n: int) -> Any:
    return polygamma(n, input)


@method(inplace=True)
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension p, for input > (p - 1) / 2."""
    if p < 1:
        raise RuntimeError(f"mvlgamma: p has to be greater than or equal to 1, got {p}")
    constant = p * (p - 1) / 4 * math.log(math.pi)
    return sum((lgamma(input - j / 2) for j in range(1, p)), lgamma(input)) + constant


# ---------------------------------------------------------------------------------------------------------------------
# Bessel functions


class I0(FloatOp):
    forward = scipy_of_one("i0")

    def backward(self, g: Any, x: Any) -> Any:
        return g * i1(x)


class I0e(FloatOp):
    """e^-|x| i0(x)."""

    forward = scipy_of_one("i0e")

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        return g * (i1e(x) - sign(x) * out)


class I1(FloatOp):
    forward = scipy_of_one("i1")

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        return g * where(x == 0, 0.5, i0(x) - out / where(x == 0, 1.0, x))


class I1e(FloatOp):
    """e^-|x| i1(x)."""

    forward = scipy_of_one("i1e")

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        return g * where(x == 0, 0.5, i0e(x) - out * (sign(x) + 1 / where(x == 0, 1.0, x)))


i0 = public(I0, "i0", "The modified Bessel function of the first kind, order 0.")
i0e = named(I0e, "i0e", "exp(-|input|) * i0(input), without overflow.")
i1 = named(I1, "i1", "The modified Bessel function of the first kind, order 1.")
i1e = named(I1e, "i1e", "exp(-|input|) * i1(input), without overflow.")


def _without_gradient(name: str, function: str, doc: str) -> Any:
    """A function of scipy.special that has no gradient, in PyTorch neither."""
    op = type(function, (FloatOp,), {"forward": scipy_of_one(function), "__module__": __name__})
    return named(op, name, doc)


bessel_j0 = _without_gradient("bessel_j0", "j0", "The Bessel function of the first kind, order 0.")
bessel_j1 = _without_gradient("bessel_j1", "j1", "The Bessel function of the first kind, order 1.")
bessel_y0 = _without_gradient("bessel_y0", "y0", "The Bessel function of the second kind, order 0.")
bessel_y1 = _without_gradient("bessel_y1", "y1", "The Bessel function of the second kind, order 1.")
modified_bessel_i0 = _without_gradient("modified_bessel_i0", "i0", "The modified Bessel function I of order 0.")
modified_bessel_i1 = _without_gradient("modified_bessel_i1", "i1", "The modified Bessel function I of order 1.")
modified_bessel_k0 = _without_gradient("modified_bessel_k0", "k0", "The modified Bessel function K of order 0.")
modified_bessel_k1 = _without_gradient("modified_bessel_k1", "k1", "The modified Bessel function K of order 1.")
scaled_modified_bessel_k0 = _without_gradient("scaled_modified_bessel_k0", "k0e", "exp(x) K(x), order 0.")
scaled_modified_bessel_k1 = _without_gradient("scaled_modified_bessel_k1", "k1e", "exp(x) K(x), order 1.")


_op: type[Op]
_RANGES: dict[type[Op], tuple[float, float]] = {
    Erfinv: (-0.8, 0.8), Ndtri: (0.1, 0.9), Entr: (0.3, 2), Lgamma: (0.4, 3), Digamma: (0.4, 3), I1: (0.3, 2),
    I0e: (0.3, 2), I1e: (-2, -0.3),
}  # fmt: skip
for _op in (Erf, Erfc, Erfinv, Erfcx, Ndtr, Ndtri, LogNdtr, Entr, Lgamma, Digamma, I0, I0e, I1, I1e):

    @samples(_op)
    def _(make: Any, op: type[Op] = _op) -> Any:
        low, high = _RANGES.get(op, (-2, 2))
        yield Sample(make(2, 3, low=low, high=high))
        yield Sample(make(low=low, high=high), note="without dimensions")


@samples(Polygamma)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, low=0.5), n=1)


for _op in (Zeta, Igamma, Igammac):

    @samples(_op)
    def _(make: Any) -> Any:
        yield Sample(np.array([2, 3, 5]), make(2, 3, low=0.5), note="integers, which want no gradient")


__all__ = ["digamma", "erf", "erfc", "erfinv", "i0", "igamma", "igammac", "lgamma", "mvlgamma", "polygamma"]
