"""Orthogonal polynomials and a few more special functions, by SciPy. They have no gradient, as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.op import Op
from ..kernels import array_module
from ..tensor import Tensor
from .define import FloatOp, named, scipy_special


class _Polynomial(Op):
    """The polynomial of degree n, rounded towards zero, at x; 0 for negative degrees."""

    promotion = "float"
    evaluate: Callable[[Any, Any, Any], Any]  # of SciPy's functions, n and x

    def forward(self, x: Any, n: Any) -> Any:
        array = x if hasattr(x, "dtype") else n
        xp, degree = array_module(array), np.trunc(n)
        order = xp.maximum(degree, 0).astype(np.int64)
        value = type(self).evaluate(scipy_special(array), order, xp.asarray(x, np.float64))
        return xp.where(degree < 0, 0, value).astype(array.dtype)


def _polynomial(name: str, what: str, evaluate: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any], Tensor]:
    op = type(
        name.title().replace("_", ""), (_Polynomial,), {"evaluate": staticmethod(evaluate), "__module__": __name__}
    )
    return named(op, name, f"{what} of degree n at input.")


chebyshev_polynomial_t = _polynomial(
    "chebyshev_polynomial_t", "The Chebyshev polynomial of the first kind", lambda s, n, x: s.eval_chebyt(n, x)
)
chebyshev_polynomial_u = _polynomial(
    "chebyshev_polynomial_u", "The Chebyshev polynomial of the second kind", lambda s, n, x: s.eval_chebyu(n, x)
)
# V_n and W_n are U_n -+ U_(n - 1)
chebyshev_polynomial_v = _polynomial(
    "chebyshev_polynomial_v",
    "The Chebyshev polynomial of the third kind",
    lambda s, n, x: s.eval_chebyu(n, x) - np.where(n > 0, s.eval_chebyu(np.maximum(n - 1, 0), x), 0),
)
chebyshev_polynomial_w = _polynomial(
    "chebyshev_polynomial_w",
    "The Chebyshev polynomial of the fourth kind",
    lambda s, n, x: s.eval_chebyu(n, x) + np.where(n > 0, s.eval_chebyu(np.maximum(n - 1, 0), x), 0),
)
hermite_polynomial_h = _polynomial(
    "hermite_polynomial_h", "The physicist's Hermite polynomial", lambda s, n, x: s.eval_hermite(n, x)
)
hermite_polynomial_he = _polynomial(
    "hermite_polynomial_he", "The probabilist's Hermite polynomial", lambda s, n, x: s.eval_hermitenorm(n, x)
)
laguerre_polynomial_l = _polynomial(
    "laguerre_polynomial_l", "The Laguerre polynomial", lambda s, n, x: s.eval_laguerre(n, x)
)
legendre_polynomial_p = _polynomial(
    "legendre_polynomial_p", "The Legendre polynomial", lambda s, n, x: s.eval_legendre(n, x)
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
    """The Airy function Ai."""

    def forward(self, x: Any) -> Any:
        return scipy_special(x).airy(x)[0].astype(x.dtype)


class SphericalBesselJ0(FloatOp):
    """sin(x) / x."""

    def forward(self, x: Any) -> Any:
        return np.sinc(x / np.pi).astype(x.dtype)


airy_ai = named(AiryAi, "airy_ai", "The Airy function Ai.")
spherical_bessel_j0 = named(
    SphericalBesselJ0, "spherical_bessel_j0", "The spherical Bessel function of order 0: sin(x) / x."
)

__all__ = []  # functions of minidl.special only
