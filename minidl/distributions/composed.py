"""Distributions made of others: pushed through functions, and mixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..autograd.grad_mode import no_grad
from ..ops.gather import gather
from ..ops.reduction import logsumexp
from ..tensor import Tensor
from . import constraints
from .classes import Categorical
from .continuous import Normal
from .distribution import Distribution
from .transforms import ComposeTransform, StickBreakingTransform, Transform, sum_rightmost


class TransformedDistribution(Distribution):
    """The distribution of f(x) for x from `base_distribution`; transforms: f, or several functions one after the other.

    Example:
        >>> squashed = TransformedDistribution(Normal(0.0, 1.0), [TanhTransform(cache_size=1)])
        >>> squashed.log_prob(squashed.rsample()).shape
        torch.Size([])
    """

    def __init__(
        self,
        base_distribution: Distribution,
        transforms: Transform | Sequence[Transform],
        validate_args: bool | None = None,
    ) -> None:
        self.transforms = [transforms] if isinstance(transforms, Transform) else list(transforms)
        if not all(isinstance(t, Transform) for t in self.transforms):
            raise ValueError(f"transforms must be a Transform or list, but was {transforms}")
        whole = ComposeTransform(self.transforms)
        base_shape = (*base_distribution.batch_shape, *base_distribution.event_shape)
        shape = whole.forward_shape(base_shape)
        if len(shape) < whole.domain.event_dim:
            raise ValueError(
                f"base_distribution needs to have shape with size at least {whole.domain.event_dim}, but got {base_shape}"
            )
        event_dim = max(len(base_distribution.event_shape), whole.codomain.event_dim)
        self.base_dist, self._whole = base_distribution, whole
        split = len(shape) - event_dim
        super().__init__(shape[:split], shape[split:], validate_args)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]  # the base's
        return self.base_dist.has_rsample

    @property
    def support(self) -> constraints.Constraint:
        support = self.transforms[-1].codomain if self.transforms else self.base_dist.support
        missing = len(self._event_shape) - support.event_dim
        return constraints.independent(support, missing) if missing > 0 else support

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            return self._whole(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self._whole(self.base_dist.rsample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        event_dim, y = len(self._event_shape), value
        total: Any = 0.0
        for transform in reversed(self.transforms):
            x = transform.back(y)
            event_dim += transform.domain.event_dim - transform.codomain.event_dim
            stretch = transform.log_abs_det_jacobian(x, y)
            total = total - sum_rightmost(stretch, event_dim - transform.domain.event_dim)
            y = x
        density = self.base_dist.log_prob(y)
        return total + sum_rightmost(density, event_dim - len(self.base_dist.event_shape))

    def _monotone(self, value: Tensor) -> Tensor:
        """A probability of the base as one of the result: 1 - p where the transforms fall."""
        for transform in self.transforms:
            if not transform.bijective:
                raise NotImplementedError(f"{transform} is not one to one: no cdf or icdf through it")
        sign: Any = 1
        for transform in self.transforms:
            sign = sign * transform.sign
        return sign * (value - 0.5) + 0.5

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return self._monotone(self.base_dist.cdf(self._whole.back(value)))

    def icdf(self, value: Tensor) -> Tensor:
        return self._whole(self.base_dist.icdf(self._monotone(value)))

    def expand(self, batch_shape: Any) -> TransformedDistribution:
        shape = self._whole.inverse_shape((*batch_shape, *self._event_shape))
        base = self.base_dist.expand(shape[: len(shape) - len(self.base_dist.event_shape)])
        return TransformedDistribution(base, self.transforms, self._validate_args)


class LogisticNormal(TransformedDistribution):
    """Probabilities over K + 1 classes, by stick breaking from K normal variables."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        base = Normal(loc, scale, validate_args)
        if not base.batch_shape:
            base = base.expand([1])
        super().__init__(base, StickBreakingTransform(), validate_args)

    @property
    def loc(self) -> Tensor:
        """The means of the normal variables."""
        return self.base_dist.loc  # type: ignore[attr-defined]

    @property
    def scale(self) -> Tensor:
        """Their standard deviations."""
        return self.base_dist.scale  # type: ignore[attr-defined]


class MixtureSameFamily(Distribution):
    """One of the last batch dimension of `component_distribution`, chosen by the Categorical `mixture_distribution`.

    Example:
        >>> mixture = MixtureSameFamily(Categorical(torch.ones(2)), Normal(torch.tensor([-1.0, 1.0]), torch.ones(2)))
        >>> mixture.mean
        tensor(0.)
    """

    def __init__(
        self, mixture_distribution: Categorical, component_distribution: Distribution, validate_args: bool | None = None
    ) -> None:
        shape = component_distribution.batch_shape
        if not isinstance(mixture_distribution, Categorical) or not shape:
            raise ValueError(
                "MixtureSameFamily: expected a Categorical and a distribution with a batch dimension, that of the components"
            )
        K = mixture_distribution.probs.shape[-1]
        if shape[-1] != K or any(
            1 not in (a, b) and a != b
            for a, b in zip(reversed(mixture_distribution.batch_shape), reversed(shape[:-1]), strict=False)
        ):
            raise ValueError(
                f"`mixture_distribution.batch_shape` {tuple(mixture_distribution.batch_shape)} with {K} classes is not compatible "
                f"with `component_distribution.batch_shape` {tuple(shape)}"
            )
        self.mixture_distribution, self.component_distribution, self._num_component = (
            mixture_distribution, component_distribution, K,
        )  # fmt: skip
        super().__init__(shape[:-1], component_distribution.event_shape, validate_args)

    @property
    def support(self) -> constraints.Constraint:
        return self.component_distribution.support

    def _weights(self) -> Tensor:
        """The probabilities of the components, with dimensions of size 1 for the event behind them."""
        probs = self.mixture_distribution.probs
        return probs.reshape(*probs.shape, *[1] * len(self._event_shape))

    def _over(self, x: Tensor) -> Tensor:
        return (self._weights() * x).sum(-1 - len(self._event_shape))

    @property
    def mean(self) -> Tensor:
        return self._over(self.component_distribution.mean)

    @property
    def variance(self) -> Tensor:
        apart = self.component_distribution.mean - self.mean.unsqueeze(-1 - len(self._event_shape))
        return self._over(self.component_distribution.variance) + self._over(apart**2)

    def cdf(self, value: Tensor) -> Tensor:
        return self._over(self.component_distribution.cdf(value.unsqueeze(-1 - len(self._event_shape))))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        each = self.component_distribution.log_prob(value.unsqueeze(-1 - len(self._event_shape)))
        return logsumexp(each + self.mixture_distribution.logits, -1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            drawn = self.component_distribution.sample(sample_shape)  # of all components
            event, batch = self._event_shape, (*sample_shape, *self._batch_shape)
            chosen = self.mixture_distribution.sample(sample_shape).expand(batch)
            index = chosen.reshape(*batch, 1, *[1] * len(event)).expand(*batch, 1, *event)
            return gather(drawn, len(batch), index).squeeze(len(batch))

    def expand(self, batch_shape: Any) -> MixtureSameFamily:
        return MixtureSameFamily(
            self.mixture_distribution.expand(batch_shape),
            self.component_distribution.expand((*batch_shape, self._num_component)),
            self._validate_args,
        )

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self.mixture_distribution!r},\n  {self.component_distribution!r})"


__all__ = ["LogisticNormal", "MixtureSameFamily", "TransformedDistribution"]
