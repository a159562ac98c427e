"""Classes that a gradient passes through: relaxed to probabilities, or as if they were these."""

from __future__ import annotations

from typing import Any

from ..ops.random import rand
from ..ops.softmax import log_softmax
from ..ops.special import lgamma
from ..tensor import Tensor
from . import constraints
from .classes import OneHotCategorical, _Classes
from .discrete import _Chances, inside
from .distribution import broadcast_all


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """A one-hot class whose gradient is that of the probabilities (Bengio, Léonard and Courville, 2013)."""

    has_rsample = True

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.sample(sample_shape) + (self.probs - self.probs.detach())


class RelaxedBernoulli(_Chances):
    """Between 0 and 1, and the nearer to either the lower the `temperature`.

    Source: Maddison, Mnih and Teh, "The Concrete Distribution", 2017.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    has_rsample = True
    support = constraints.unit_interval

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self._set_chances(probs, logits)
        (self.temperature,) = broadcast_all(temperature)
        super().__init__(self._param.shape, (), validate_args)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        u = inside(rand(self._extended_shape(sample_shape), dtype=self._param.dtype))
        noise = u.log() - (-u).log1p()
        return inside(((self.logits + noise) / self.temperature).sigmoid())

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        y = inside(value)
        logit = y.log() - (-y).log1p()
        z = self.logits - logit * self.temperature
        return self.temperature.log() + z - 2 * z.exp().log1p() - y.log() - (-y).log1p()


class RelaxedOneHotCategorical(_Classes):
    """Probabilities over K classes, and the nearer to a one-hot vector the lower the `temperature`.

    Sources: Jang, Gu and Poole, "Categorical Reparameterization with Gumbel-Softmax", 2017; Maddison, Mnih and Teh, 2017.
    """

    has_rsample = True
    support = constraints.simplex

    def __init__(
        self,
        temperature: Any,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        K = self._set_classes(probs, logits)
        (self.temperature,) = broadcast_all(temperature)
        super().__init__(self.probs.shape[:-1], (K,), validate_args)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        u = inside(rand(self._extended_shape(sample_shape), dtype=self.logits.dtype))
        return log_softmax((self.logits - (-u.log()).log()) / self.temperature, -1).exp()

    def log_prob(self, value: Tensor) -> Tensor:
        K = self._event_shape[0]
        self._validate_sample(value)
        logs = value.log()
        score = log_softmax(self.logits - logs * self.temperature, -1).sum(-1)
        k = self.temperature * 0 + float(K)
        return score + lgamma(k) + (K - 1) * self.temperature.log() - logs.sum(-1)


__all__ = ["OneHotCategoricalStraightThrough", "RelaxedBernoulli", "RelaxedOneHotCategorical"]
