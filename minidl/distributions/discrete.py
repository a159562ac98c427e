"""Distributions over counts: of successes, of tries, of events."""

from __future__ import annotations

from typing import Any, ClassVar

from ..dtypes import finfo
from ..ops import random
from ..ops.activation import softplus
from ..ops.creation import arange
from ..ops.special import lgamma
from ..tensor import Tensor
from . import constraints
from .distribution import Distribution, broadcast_all


def _logits_of(probs: Tensor) -> Tensor:
    """log(p / (1 - p)), kept finite."""
    p = inside(probs)
    return p.log() - (-p).log1p()


def inside(probs: Tensor) -> Tensor:
    """Probabilities a rounding error away from 0 and 1."""
    eps = float(finfo(probs.dtype).eps)
    return probs.clamp(eps, 1 - eps)


def one_of(name: str, probs: Any, logits: Any) -> None:
    if (probs is None) == (logits is None):
        raise ValueError(f"{name}: Either `probs` or `logits` must be specified, but not both.")


class _Chances(Distribution):
    """A distribution with a probability of success, given as `probs` or as `logits` = log(p / (1 - p))."""

    parameters: ClassVar[tuple[str, ...]] = ("_probs", "_logits")
    _probs: Tensor | None
    _logits: Tensor | None

    def _set_chances(self, probs: Any, logits: Any, *others: Any) -> tuple[Tensor, ...]:
        one_of(type(self).__name__, probs, logits)
        given, *rest = broadcast_all(logits if probs is None else probs, *others)
        self._probs, self._logits = (None, given) if probs is None else (given, None)
        return tuple(rest)

    @property
    def _param(self) -> Tensor:
        given = self._logits if self._probs is None else self._probs
        assert given is not None
        return given

    @property
    def probs(self) -> Tensor:
        """The probability of success."""
        return self._param.sigmoid() if self._probs is None else self._probs

    @property
    def logits(self) -> Tensor:
        """log(p / (1 - p))."""
        return _logits_of(self._param) if self._logits is None else self._logits

    def __repr__(self) -> str:
        name = "logits" if self._probs is None else "probs"
        return f"{type(self).__name__}({name}: {self._param if self._param.numel() == 1 else tuple(self._param.shape)})"


class Bernoulli(_Chances):
    """1 with probability `probs`, else 0.

    Example:
        >>> Bernoulli(probs=0.25).log_prob(minidl.tensor(1.0)).exp()
        tensor(0.2500)
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.boolean

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._set_chances(probs, logits)
        super().__init__(self._param.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return (self.probs >= 0.5).to(self.probs.dtype)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return random.bernoulli(self.probs.detach().expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return value * self.logits - softplus(self.logits)

    def entropy(self) -> Tensor:
        return softplus(self.logits) - self.probs * self.logits


class Geometric(_Chances):
    """The number of failures before the first success."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._set_chances(probs, logits)
        super().__init__(self._param.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return 1 / self.probs - 1

    @property
    def mode(self) -> Tensor:
        return self.probs * 0

    @property
    def variance(self) -> Tensor:
        return (1 / self.probs - 1) / self.probs

    def sample(self, sample_shape: Any = ()) -> Tensor:
        probs = self.probs.detach()
        draws = random.rand(self._extended_shape(sample_shape), dtype=probs.dtype, device=probs.device)
        return ((-draws).log1p() / (-inside(probs)).log1p()).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        probs = inside(self.probs)
        return value * (-probs).log1p() + probs.log()

    def entropy(self) -> Tensor:
        probs = inside(self.probs)
        return (softplus(self.logits) - probs * self.logits) / probs


class Binomial(_Chances):
    """How many of `total_count` tries succeed."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    parameters = ("_probs", "_logits", "total_count")

    def __init__(
        self, total_count: Any = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        (self.total_count,) = self._set_chances(probs, logits, total_count)
        super().__init__(self._param.shape, (), validate_args)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        return ((self.total_count + 1) * self.probs).floor().minimum(self.total_count)

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return random.binomial(self.total_count.expand(shape), self.probs.detach().expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        n, logits = self.total_count, self.logits
        return lgamma(n + 1) - lgamma(value + 1) - lgamma(n - value + 1) + value * logits - n * softplus(logits)

    def entropy(self) -> Tensor:
        n = int(self.total_count.max().item())
        if not bool((self.total_count == n).all()):
            raise NotImplementedError("Binomial: the entropy needs one total_count for all distributions")
        values = arange(n + 1, dtype=self._param.dtype, device=self._param.device).reshape(
            (-1,) + (1,) * len(self._batch_shape)
        )
        log_p = Binomial(self.total_count, logits=self.logits, validate_args=False).log_prob(values)
        return -(log_p.exp() * log_p).sum(0)


class Poisson(Distribution):
    """How many events there are where `rate` are expected."""

    arg_constraints = {"rate": constraints.nonnegative}
    parameters = ("rate",)
    support = constraints.nonnegative_integer

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def mode(self) -> Tensor:
        return self.rate.floor()

    @property
    def variance(self) -> Tensor:
        return self.rate

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return random.poisson(self.rate.detach().expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        rate, value = broadcast_all(self.rate, value)
        return value.xlogy(rate) - rate - lgamma(value + 1)


class NegativeBinomial(_Chances):
    """The number of successes before `total_count` failures."""

    arg_constraints = {
        "total_count": constraints.nonnegative, "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }  # fmt: skip
    parameters = ("total_count", "_probs", "_logits")
    support = constraints.nonnegative_integer

    def __init__(
        self, total_count: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        (self.total_count,) = self._set_chances(probs, logits, total_count)
        super().__init__(self._param.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp_min(0)

    @property
    def variance(self) -> Tensor:
        return self.mean / (-self.logits).sigmoid()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        rate = random.standard_gamma(self.total_count.detach().expand(shape)) * self.logits.detach().exp()
        return random.poisson(rate)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        n = self.total_count
        count = lgamma(n + value) - lgamma(1 + value) - lgamma(n)
        count = count.masked_fill(n + value == 0, 0.0)
        return count - n * softplus(self.logits) - value * softplus(-self.logits)


__all__ = ["Bernoulli", "Binomial", "Geometric", "NegativeBinomial", "Poisson"]
