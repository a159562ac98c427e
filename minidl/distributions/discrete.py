"""Distributions over counts and classes."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from ..ops import random
from ..ops.activation import softplus
from ..ops.creation import arange, as_tensor, zeros
from ..ops.gather import gather, scatter_add
from ..ops.softmax import log_softmax
from ..ops.special import lgamma
from ..tensor import Tensor
from . import constraints
from .distribution import Distribution, broadcast_all


def _logits_of(probs: Tensor) -> Tensor:
    """log(p / (1 - p)), kept finite."""
    p = _inside(probs)
    return p.log() - (-p).log1p()


def _inside(probs: Tensor) -> Tensor:
    """Probabilities a rounding error away from 0 and 1."""
    from .. import finfo

    eps = float(finfo(probs.dtype).eps)
    return probs.clamp(eps, 1 - eps)


def _one_of(name: str, probs: Any, logits: Any) -> None:
    if (probs is None) == (logits is None):
        raise ValueError(f"{name}: Either `probs` or `logits` must be specified, but not both.")


class _Chances(Distribution):
    """A distribution with a probability of success, given as `probs` or as `logits` = log(p / (1 - p))."""

    parameters: ClassVar[tuple[str, ...]] = ("_probs", "_logits")
    _probs: Tensor | None
    _logits: Tensor | None

    def _set_chances(self, probs: Any, logits: Any, *others: Any) -> tuple[Tensor, ...]:
        _one_of(type(self).__name__, probs, logits)
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
        draws = random.rand(self._extended_shape(sample_shape), dtype=probs.dtype)
        return ((-draws).log1p() / (-_inside(probs)).log1p()).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        probs = _inside(self.probs)
        return value * (-probs).log1p() + probs.log()

    def entropy(self) -> Tensor:
        probs = _inside(self.probs)
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
        values = arange(n + 1, dtype=self._param.dtype).reshape((-1,) + (1,) * len(self._batch_shape))
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


class _Classes(Distribution):
    """A distribution over K classes, given as `probs` (..., K), which are made to sum to 1, or as `logits`."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    parameters = ("probs", "logits")
    event_dims = {"probs": 1, "logits": 1}

    def _set_classes(self, probs: Tensor | None, logits: Tensor | None) -> int:
        _one_of(type(self).__name__, probs, logits)
        given = probs if probs is not None else logits
        assert given is not None
        if given.dim() < 1:
            raise ValueError(f"`{'logits' if probs is None else 'probs'}` parameter must be at least one-dimensional.")
        if probs is not None:
            if not bool((probs >= 0).all()) or not bool((probs.sum(-1) > 0).all()):
                raise ValueError(
                    f"Expected parameter probs (Tensor of shape {tuple(probs.shape)}) of distribution "
                    f"{type(self).__name__} to be nonnegative and not all zero, but found invalid values:\n{probs}"
                )
            self.probs = probs / probs.sum(-1, keepdim=True)
            self.logits = _inside(self.probs).log()
        else:
            self.logits = log_softmax(given, -1)
            self.probs = self.logits.exp()
        self._given = "logits" if probs is None else "probs"
        return given.shape[-1]

    def _draw(self, count: int) -> Tensor:
        """`count` class numbers from each distribution: (count, number of distributions)."""
        K = self.probs.shape[-1]
        return random.multinomial(self.probs.detach().reshape(-1, K), count, True).T

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._given}: {tuple(getattr(self, self._given).shape)})"


class Categorical(_Classes):
    """The number of a class, drawn with probabilities `probs` (..., K) or with softmax(logits).

    Example:
        >>> Categorical(logits=minidl.zeros(4)).entropy()
        tensor(1.3863)
    """

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        self._num_events = self._set_classes(probs, logits)
        super().__init__(self.probs.shape[:-1], (), validate_args)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> Tensor:
        return self.probs[..., 0] * math.nan  # class numbers have no mean

    @property
    def mode(self) -> Tensor:
        return self.probs.argmax(-1)

    @property
    def variance(self) -> Tensor:
        return self.probs[..., 0] * math.nan

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self._draw(math.prod(sample_shape)).reshape(self._extended_shape(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        shape = (value + self.probs[..., 0].detach() * 0).shape
        logits = self.logits.expand(*shape, self._num_events)
        return gather(logits, -1, value.long().expand(shape).unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        return -(self.probs * self.logits.clamp_min(-1e30)).sum(-1)


class OneHotCategorical(_Classes):
    """A class drawn with probabilities `probs` (..., K) or softmax(logits), as a one-hot vector."""

    support = constraints.one_hot

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        K = self._set_classes(probs, logits)
        super().__init__(self.probs.shape[:-1], (K,), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return self._one_hot(self.probs.argmax(-1))

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def _one_hot(self, classes: Tensor) -> Tensor:
        return (classes.unsqueeze(-1) == arange(self._event_shape[0])).to(self.probs.dtype)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        drawn = self._draw(math.prod(sample_shape)).reshape(*sample_shape, *self._batch_shape)
        return self._one_hot(drawn)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return (self.logits * value).sum(-1)

    def entropy(self) -> Tensor:
        return -(self.probs * self.logits).sum(-1)


class Multinomial(_Classes):
    """How often each class is drawn in `total_count` draws."""

    def __init__(
        self,
        total_count: int = 1,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        K = self._set_classes(probs, logits)
        super().__init__(self.probs.shape[:-1], (K,), validate_args)

    @property
    def support(self) -> constraints.Constraint:
        n = self.total_count
        return constraints.Constraint(
            "Multinomial()", lambda x: ((x >= 0) & (x % 1 == 0)).all(-1) & (x.sum(-1) <= n), 1, discrete=True
        )

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        n, K = math.prod(sample_shape), self._event_shape[0]
        drawn = self._draw(n * self.total_count).reshape(self.total_count, n, -1).permute(1, 2, 0)
        counts = scatter_add(
            zeros(*drawn.shape[:2], K, dtype=self.probs.dtype), -1, drawn, (drawn * 0 + 1).to(self.probs.dtype)
        )
        return counts.reshape(self._extended_shape(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        value = as_tensor(value, dtype=self.logits.dtype)
        logits = self.logits.masked_fill((value == 0) & (self.probs == 0), 0)
        return lgamma(value.sum(-1) + 1) - lgamma(value + 1).sum(-1) + (logits * value).sum(-1)


__all__ = [
    "Bernoulli", "Binomial", "Categorical", "Geometric", "Multinomial", "OneHotCategorical", "Poisson",
]  # fmt: skip
