"""Distributions over real numbers and vectors."""

from __future__ import annotations

import math
from typing import Any

from ..ops.random import rand, randn, standard_gamma
from ..ops.selection import where
from ..ops.special import digamma, erf, erfinv, lgamma
from ..tensor import Tensor
from . import constraints
from .distribution import Distribution, broadcast_all

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Normal(Distribution):
    """The normal distribution with mean `loc` and standard deviation `scale`.

    Example:
        >>> Normal(0.0, 1.0).log_prob(minidl.tensor(0.0))
        tensor(-0.9189)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    parameters = ("loc", "scale")
    has_rsample = True
    support = constraints.real

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.scale**2

    @property
    def stddev(self) -> Tensor:
        return self.scale

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc + self.scale * randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return -(((value - self.loc) / self.scale) ** 2) / 2 - self.scale.log() - HALF_LOG_TWO_PI

    def cdf(self, value: Tensor) -> Tensor:
        return 0.5 * (1 + erf((value - self.loc) / (self.scale * math.sqrt(2))))

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc + self.scale * erfinv(2 * value - 1) * math.sqrt(2)

    def entropy(self) -> Tensor:
        return 0.5 + HALF_LOG_TWO_PI + self.scale.log()


class LogNormal(Distribution):
    """The distribution of e to the power of a normal variable."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    parameters = ("loc", "scale")
    has_rsample = True
    support = constraints.positive

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return (self.loc + self.scale**2 / 2).exp()

    @property
    def mode(self) -> Tensor:
        return (self.loc - self.scale**2).exp()

    @property
    def variance(self) -> Tensor:
        return (self.scale**2).expm1() * (2 * self.loc + self.scale**2).exp()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return Normal(self.loc, self.scale, False).rsample(sample_shape).exp()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        logarithm = value.log()
        return Normal(self.loc, self.scale, False).log_prob(logarithm) - logarithm

    def cdf(self, value: Tensor) -> Tensor:
        return Normal(self.loc, self.scale, False).cdf(value.log())

    def icdf(self, value: Tensor) -> Tensor:
        return Normal(self.loc, self.scale, False).icdf(value).exp()

    def entropy(self) -> Tensor:
        return Normal(self.loc, self.scale, False).entropy() + self.loc


class Uniform(Distribution):
    """Equally likely everywhere from `low` to `high`."""

    arg_constraints = {"low": constraints.real, "high": constraints.real}
    parameters = ("low", "high")
    has_rsample = True

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = broadcast_all(low, high)
        super().__init__(self.low.shape, (), validate_args)
        if self._validate_args and not bool((self.low < self.high).all()):
            raise ValueError(f"Uniform is not defined when low >= high, got low {self.low} and high {self.high}")

    @property
    def support(self) -> constraints.Constraint:
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        return (self.low + self.high) / 2

    @property
    def variance(self) -> Tensor:
        return (self.high - self.low) ** 2 / 12

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.low + (self.high - self.low) * rand(self._extended_shape(sample_shape), dtype=self.low.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        inside = (value >= self.low) & (value < self.high)
        return where(inside, -(self.high - self.low).log() + 0 * value, -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        return ((value - self.low) / (self.high - self.low)).clamp(0, 1)

    def icdf(self, value: Tensor) -> Tensor:
        return self.low + value * (self.high - self.low)

    def entropy(self) -> Tensor:
        return (self.high - self.low).log()


class Exponential(Distribution):
    """Waiting times with `rate` events per unit of time."""

    arg_constraints = {"rate": constraints.positive}
    parameters = ("rate",)
    has_rsample = True
    support = constraints.nonnegative

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return 1 / self.rate

    @property
    def mode(self) -> Tensor:
        return self.rate * 0

    @property
    def variance(self) -> Tensor:
        return self.rate**-2

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return -(-rand(self._extended_shape(sample_shape), dtype=self.rate.dtype)).log1p() / self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return self.rate.log() - self.rate * value

    def cdf(self, value: Tensor) -> Tensor:
        return -(-self.rate * value).expm1()

    def icdf(self, value: Tensor) -> Tensor:
        return -(-value).log1p() / self.rate

    def entropy(self) -> Tensor:
        return 1 - self.rate.log()


class Laplace(Distribution):
    """Exponential on both sides of `loc`, with mean distance `scale`."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    parameters = ("loc", "scale")
    has_rsample = True
    support = constraints.real

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return 2 * self.scale**2

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(rand(self._extended_shape(sample_shape), dtype=self.loc.dtype).clamp_min(2.0**-25))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return -(2 * self.scale).log() - (value - self.loc).abs() / self.scale

    def cdf(self, value: Tensor) -> Tensor:
        d = value - self.loc
        return 0.5 - 0.5 * d.sign() * (-d.abs() / self.scale).expm1()

    def icdf(self, value: Tensor) -> Tensor:
        d = value - 0.5
        return self.loc - self.scale * d.sign() * (-2 * d.abs()).log1p()

    def entropy(self) -> Tensor:
        return 1 + (2 * self.scale).log()


class Gamma(Distribution):
    """The gamma distribution with shape `concentration` and `rate`; for whole shapes, the sum of that many waiting times."""

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    parameters = ("concentration", "rate")
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
        return (standard_gamma(self.concentration.expand(self._extended_shape(sample_shape))) / self.rate).detach()

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
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, keepdim=True)
        return self.concentration * (total - self.concentration) / (total**2 * (total + 1))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        draws = standard_gamma(self.concentration.expand(self._extended_shape(sample_shape)))
        return (draws / draws.sum(-1, keepdim=True)).detach()

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
    support = constraints.unit_interval

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        super().__init__(self.concentration1.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total**2 * (total + 1))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        first, second = (standard_gamma(a.expand(shape)) for a in (self.concentration1, self.concentration0))
        return (first / (first + second)).detach()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a, b = self.concentration1, self.concentration0
        return (a - 1) * value.log() + (b - 1) * (-value).log1p() + lgamma(a + b) - lgamma(a) - lgamma(b)

    def entropy(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        log_beta = lgamma(a) + lgamma(b) - lgamma(a + b)
        return log_beta - (a - 1) * digamma(a) - (b - 1) * digamma(b) + (a + b - 2) * digamma(a + b)


class MultivariateNormal(Distribution):
    """The normal distribution of vectors: mean `loc` (..., D), and one of covariance, its inverse or its Cholesky factor."""

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    parameters = ("loc", "scale_tril")
    event_dims = {"loc": 1, "scale_tril": 2}
    has_rsample = True
    support = constraints.real_vector

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        from ..ops.decompositions import cholesky
        from ..ops.solving import inv

        given = {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix, "scale_tril": scale_tril}
        if sum(m is not None for m in given.values()) != 1:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        ((name, matrix),) = ((n, m) for n, m in given.items() if m is not None)
        if loc.dim() < 1 or matrix.dim() < 2 or matrix.shape[-1] != matrix.shape[-2]:
            raise ValueError(
                f"MultivariateNormal: expected loc (..., D) and {name} (..., D, D), got {list(loc.shape)} and "
                f"{list(matrix.shape)}"
            )
        if validate_args is not False:
            self._check_matrix(name, matrix)
        batch = (matrix[..., 0] + loc).shape[:-1]
        self.loc = loc.expand(*batch, *loc.shape[-1:])
        factor = matrix if name == "scale_tril" else cholesky(matrix if name == "covariance_matrix" else inv(matrix))
        self.scale_tril = factor.expand(*batch, *factor.shape[-2:])
        super().__init__(batch, loc.shape[-1:], False)
        self._validate_args = validate_args is not False

    def _check_matrix(self, name: str, matrix: Tensor) -> None:
        constraint = self.arg_constraints[name]
        if not bool(constraint.check(matrix.detach()).all()):
            raise ValueError(
                f"Expected parameter {name} (Tensor of shape {tuple(matrix.shape)}) of distribution MultivariateNormal to "
                f"satisfy the constraint {constraint}, but found invalid values:\n{matrix}"
            )

    @property
    def covariance_matrix(self) -> Tensor:
        return self.scale_tril @ self.scale_tril.mT

    @property
    def precision_matrix(self) -> Tensor:
        from ..ops.solving import cholesky_inverse

        return cholesky_inverse(self.scale_tril)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return (self.scale_tril**2).sum(-1).expand(*self._batch_shape, *self._event_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        draws = randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + (self.scale_tril @ draws.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        from ..ops.solving import solve_triangular

        self._validate_sample(value)
        difference = value - self.loc
        L = self.scale_tril.expand(*difference.shape, difference.shape[-1])
        whitened = solve_triangular(L, difference.unsqueeze(-1), upper=False).squeeze(-1)
        return -0.5 * (whitened**2).sum(-1) - self._half_log_det() - self._event_shape[0] * HALF_LOG_TWO_PI

    def _half_log_det(self) -> Tensor:
        return self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def entropy(self) -> Tensor:
        return self._half_log_det() + self._event_shape[0] * (0.5 + HALF_LOG_TWO_PI)


__all__ = [
    "Beta", "Chi2", "Dirichlet", "Exponential", "Gamma", "Laplace", "LogNormal", "MultivariateNormal", "Normal", "Uniform",
]  # fmt: skip
