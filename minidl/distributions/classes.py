"""Distributions over classes."""

from __future__ import annotations

import math
from typing import Any

from ..dtypes import finfo
from ..ops import random
from ..ops.creation import arange, as_tensor, zeros
from ..ops.gather import gather, scatter_add
from ..ops.shape import broadcast_shapes
from ..ops.softmax import log_softmax
from ..ops.special import lgamma
from ..tensor import Tensor
from . import constraints
from .discrete import Binomial, inside, one_of
from .distribution import Distribution


class _Classes(Distribution):
    """A distribution over K classes, given as `probs` (..., K), which are made to sum to 1, or as `logits`."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    parameters = ("probs", "logits")
    event_dims = {"probs": 1, "logits": 1}

    def _set_classes(self, probs: Tensor | None, logits: Tensor | None) -> int:
        one_of(type(self).__name__, probs, logits)
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
            self.logits = inside(self.probs).log()
        else:
            self.logits = log_softmax(given, -1)
            self.probs = self.logits.exp()
        self._given = "logits" if probs is None else "probs"
        return given.shape[-1]

    def _log_prob_of(self, classes: Tensor) -> Tensor:
        shape = broadcast_shapes(classes.shape, self.probs.shape[:-1])
        logits = self.logits.expand(*shape, self.probs.shape[-1])
        return gather(logits, -1, classes.long().expand(shape).unsqueeze(-1)).squeeze(-1)

    def _entropy_of_one(self) -> Tensor:
        """The entropy of one draw; a class of probability 0, whose logarithm is -inf, adds nothing."""
        return -(self.probs * self.logits.clamp_min(float(finfo(self.logits.dtype).min))).sum(-1)

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
        return self._log_prob_of(value)

    def entropy(self) -> Tensor:
        return self._entropy_of_one()


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
        return (classes.unsqueeze(-1) == arange(self._event_shape[0], device=classes.device)).to(self.probs.dtype)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        drawn = self._draw(math.prod(sample_shape)).reshape(*sample_shape, *self._batch_shape)
        return self._one_hot(drawn)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return self._log_prob_of(value.argmax(-1))

    def entropy(self) -> Tensor:
        return self._entropy_of_one()


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
            zeros(*drawn.shape[:2], K, dtype=self.probs.dtype, device=drawn.device), -1, drawn,
            (drawn * 0 + 1).to(self.probs.dtype),
        )  # fmt: skip
        return counts.reshape(self._extended_shape(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        value = as_tensor(value, dtype=self.logits.dtype)
        logits = self.logits.masked_fill((value == 0) & (self.probs == 0), 0)
        return lgamma(value.sum(-1) + 1) - lgamma(value + 1).sum(-1) + (logits * value).sum(-1)

    def entropy(self) -> Tensor:
        n = self.total_count
        counts = arange(n + 1, dtype=self.probs.dtype, device=self.probs.device).reshape(
            (-1,) + (1,) * self.probs.dim()
        )
        chances = Binomial(n, self.probs, validate_args=False).log_prob(counts).exp()  # of each class's count
        orders = math.lgamma(n + 1)
        return n * self._entropy_of_one() - orders + (chances * lgamma(counts + 1)).sum((0, -1))


__all__ = ["Categorical", "Multinomial", "OneHotCategorical"]
