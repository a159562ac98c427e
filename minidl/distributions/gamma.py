"""The gamma distribution and what is made of gamma variables: chi-squared, beta and Dirichlet."""

from __future__ import annotations

from typing import Any

from ..dtypes import finfo, float64
from ..ops.embedding import one_hot
from ..ops.joining import stack
from ..ops.random import rand, standard_gamma
from ..ops.selection import where
from ..ops.softmax import softmax
from ..ops.special import GammaQuantile, digamma, lgamma
from ..tensor import Tensor
from . import constraints
from .distribution import Distribution, broadcast_all


def _log_gamma(concentration: Tensor, shape: Any) -> Tensor:
    """Logarithms of draws from the gamma distribution of rate 1. The draws themselves would be 0 for small concentrations.

    Gamma(a) is Gamma(a + 1) U^(1/a) with U uniform (Marsaglia & Tsang, "A simple method for generating gamma variables",
    2000, section 6).
    """
    a = concentration.detach().expand(shape)
    return standard_gamma(a + 1).log() + (-rand(shape, dtype=a.dtype, device=a.device)).log1p() / a


def _log_gamma_as_function(concentration: Tensor, shape: Any) -> Tensor:
    """_log_gamma as a differentiable function of the concentration."""
    a = concentration.expand(shape)
    u = rand(shape, dtype=float64).clamp(1e-12, 1 - 1e-12)
    return GammaQuantile.apply(a + 1, u=u.array).log() + (-rand(shape, dtype=a.dtype)).log1p() / a


class Gamma(Distribution):
    """The gamma distribution with shape `concentration` and `rate`; for whole shapes, the sum of that many waiting times."""

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    parameters = ("concentration", "rate")
    has_rsample = True
    support = constraints.nonnegative

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.rate.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp_min(0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate**2

    def sample(self, sample_shape: Any = ()) -> Tensor:
        draws = _log_gamma(self.concentration, self._extended_shape(sample_shape)).exp() / self.rate.detach()
        return draws.clamp_min(float(finfo(draws.dtype).tiny))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        draws = _log_gamma_as_function(self.concentration, self._extended_shape(sample_shape)).exp() / self.rate
        return draws.clamp_min(float(finfo(draws.dtype).tiny))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a, b = self.concentration, self.rate
        return a * b.log() + (a - 1) * value.log() - b * value - lgamma(a)

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - self.rate.log() + lgamma(a) + (1 - a) * digamma(a)


class Chi2(Gamma):
    """The sum of the squares of `df` standard normal variables."""

    arg_constraints = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        (degrees,) = broadcast_all(df)
        super().__init__(degrees / 2, 0.5, validate_args)

    @property
    def df(self) -> Tensor:
        """The degrees of freedom."""
        return self.concentration * 2


class Dirichlet(Distribution):
    """Random probabilities over K classes; `concentration` (..., K) counts what was seen of each, plus a prior."""

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    parameters = ("concentration",)
    event_dims = {"concentration": 1}
    has_rsample = True
    support = constraints.simplex

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    @property
    def mode(self) -> Tensor:
        a = self.concentration
        above = (a - 1).clamp_min(0)
        corner = one_hot(a.argmax(-1), a.shape[-1]).to(a.dtype)  # the density is unbounded there if all are below 1
        return where((a < 1).all(-1, keepdim=True), corner, above / above.sum(-1, keepdim=True))

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, keepdim=True)
        return self.concentration * (total - self.concentration) / (total**2 * (total + 1))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return softmax(_log_gamma(self.concentration, self._extended_shape(sample_shape)), -1)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return softmax(_log_gamma_as_function(self.concentration, self._extended_shape(sample_shape)), -1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a = self.concentration
        return ((a - 1) * value.log()).sum(-1) + lgamma(a.sum(-1)) - lgamma(a).sum(-1)

    def entropy(self) -> Tensor:
        a, K = self.concentration, self.concentration.shape[-1]
        total = a.sum(-1)
        return lgamma(a).sum(-1) - lgamma(total) - (K - total) * digamma(total) - ((a - 1) * digamma(a)).sum(-1)


class Beta(Distribution):
    """Random probabilities of one event: a Dirichlet distribution over two classes, of which the first is looked at."""

    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    parameters = ("concentration1", "concentration0")
    has_rsample = True
    support = constraints.unit_interval

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        super().__init__(self.concentration1.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Tensor:
        return Dirichlet(stack((self.concentration1, self.concentration0), -1), False).mode[..., 0]

    @property
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total**2 * (total + 1))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return (_log_gamma(self.concentration1, shape) - _log_gamma(self.concentration0, shape)).sigmoid()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        logs = [_log_gamma_as_function(a, shape) for a in (self.concentration1, self.concentration0)]
        return (logs[0] - logs[1]).sigmoid()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a, b = self.concentration1, self.concentration0
        return (a - 1) * value.log() + (b - 1) * (-value).log1p() + lgamma(a + b) - lgamma(a) - lgamma(b)

    def entropy(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        log_beta = lgamma(a) + lgamma(b) - lgamma(a + b)
        return log_beta - (a - 1) * digamma(a) - (b - 1) * digamma(b) + (a + b - 2) * digamma(a + b)


__all__ = ["Beta", "Chi2", "Dirichlet", "Gamma"]
