"""Orthogonal polynomials, each by its recurrence, and two more special functions. They have no gradient, as in PyTorch.

Source of the recurrences: Abramowitz and Stegun, "Handbook of Mathematical Functions", 22.7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import devices
from ..autograd.op import Op
from ..kernels import array_module
from ..tensor import Tensor
from .define import FloatOp, named


class _Polynomial(Op):
    """The polynomial of degree n, rounded towards zero, at x; 0 for negative degrees.

    P_0 is 1, P_1 is first(x), and P_(k + 1) is following(k, x, P_k, P_(k - 1)).
    """

    promotion = "float"
    first: Callable[[Any], Any]
    following: Callable[[int, Any, Any, Any], Any]

    def forward(self, x: Any, n: Any) -> Any:
        array = x if hasattr(x, "dtype") else n
        xp, dtype = array_module(array), array.dtype
        x, degree = xp.broadcast_arrays(xp.asarray(x, np.float64), xp.trunc(xp.asarray(n, np.float64)))
        previous, current = xp.zeros_like(x), xp.ones_like(x)
        result = xp.where(degree == 0, current, 0.0)
        for k in range(int(degree.max()) if degree.size else 0):
            previous, current = current, self.first(x) if k == 0 else self.following(k, x, current, previous)
            result = xp.where(degree == k + 1, current, result)
        return result.astype(dtype)


def _polynomial(
    name: str, what: str, first: Callable[[Any], Any], following: Callable[[int, Any, Any, Any], Any]
) -> Callable[[Any, Any], Tensor]:
    rules = {"first": staticmethod(first), "following": staticmethod(following), "__module__": __name__}
    return named(type(name.title().replace("_", ""), (_Polynomial,), rules), name, f"The {what} of degree n at input.")


def _chebyshev(k: int, x: Any, p: Any, before: Any) -> Any:
    return 2 * x * p - before


chebyshev_polynomial_t = _polynomial(
    "chebyshev_polynomial_t", "Chebyshev polynomial of the first kind", lambda x: x, _chebyshev
)
chebyshev_polynomial_u = _polynomial(
    "chebyshev_polynomial_u", "Chebyshev polynomial of the second kind", lambda x: 2 * x, _chebyshev
)
chebyshev_polynomial_v = _polynomial(
    "chebyshev_polynomial_v", "Chebyshev polynomial of the third kind", lambda x: 2 * x - 1, _chebyshev
)
chebyshev_polynomial_w = _polynomial(
    "chebyshev_polynomial_w", "Chebyshev polynomial of the fourth kind", lambda x: 2 * x + 1, _chebyshev
)
hermite_polynomial_h = _polynomial(
    "hermite_polynomial_h",
    "physicist's Hermite polynomial",
    lambda x: 2 * x,
    lambda k, x, p, before: 2 * x * p - 2 * k * before,
)
hermite_polynomial_he = _polynomial(
    "hermite_polynomial_he",
    "probabilist's Hermite polynomial",
    lambda x: x,
    lambda k, x, p, before: x * p - k * before,
)
laguerre_polynomial_l = _polynomial(
    "laguerre_polynomial_l",
    "Laguerre polynomial",
    lambda x: 1 - x,
    lambda k, x, p, before: ((2 * k + 1 - x) * p - k * before) / (k + 1),
)
legendre_polynomial_p = _polynomial(
    "legendre_polynomial_p",
    "Legendre polynomial",
    lambda x: x,
    lambda k, x, p, before: ((2 * k + 1) * x * p - k * before) / (k + 1),
)


def _shifted(function: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    """A polynomial on [-1, 1] moved to [0, 1]."""

    def shifted(input: Any, n: Any) -> Tensor:
        return function(2 * input - 1, n)

    shifted.__name__ = shifted.__qualname__ = f"shifted_{function.__name__}"
    shifted.__doc__ = f"{function.__name__} of degree n at 2 input - 1."
    return shifted


shifted_chebyshev_polynomial_t = _shifted(chebyshev_polynomial_t)
shifted_chebyshev_polynomial_u = _shifted(chebyshev_polynomial_u)
shifted_chebyshev_polynomial_v = _shifted(chebyshev_polynomial_v)
shifted_chebyshev_polynomial_w = _shifted(chebyshev_polynomial_w)


class AiryAi(FloatOp):
    """The Airy function Ai, by SciPy; CuPy has none, so that the values of a GPU's array are computed on the CPU."""

    def forward(self, x: Any) -> Any:
        from scipy.special import airy

        value = airy(devices.move(x, devices.CPU))[0].astype(x.dtype)
        return devices.move(value, devices.of_array(x))


class SphericalBesselJ0(FloatOp):
    """sin(x) / x."""

    def forward(self, x: Any) -> Any:
        return array_module(x).sinc(x / np.pi).astype(x.dtype)


airy_ai = named(AiryAi, "airy_ai", "The Airy function Ai.")
spherical_bessel_j0 = named(
    SphericalBesselJ0, "spherical_bessel_j0", "The spherical Bessel function of order 0: sin(x) / x."
)

__all__ = []  # functions of minidl.special only
