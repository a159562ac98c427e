"""What all distributions have in common."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from ..autograd.grad_mode import no_grad
from ..ops.creation import as_tensor
from ..ops.shape import broadcast_tensors
from ..tensor import Size, Tensor
from .constraints import Constraint


class Distribution:
    """A family of distributions over tensors: `batch_shape` of them, each over events of `event_shape`.

    A sample of `sample_shape` has the shape sample_shape + batch_shape + event_shape. Subclasses define what they can of
    sample or rsample, log_prob, entropy, mean, variance, mode, cdf, icdf; the rest raises NotImplementedError.
    """

    arg_constraints: ClassVar[dict[str, Constraint]] = {}
    has_rsample: ClassVar[bool] = False
    parameters: ClassVar[tuple[str, ...]] = ()  # the attributes that `expand` expands
    event_dims: ClassVar[dict[str, int]] = {}  # the number of event dimensions of those that have any

    def __init__(self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None) -> None:
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        self._validate_args = validate_args is not False
        if self._validate_args:
            for name, constraint in self.arg_constraints.items():
                self._check_parameter(name, constraint)

    def _check_parameter(self, name: str, constraint: Constraint) -> None:
        value = getattr(self, name, None)
        if not isinstance(value, Tensor):
            return
        with no_grad():
            valid = bool(constraint.check(value).all())
        if not valid:
            raise ValueError(
                f"Expected parameter {name} (Tensor of shape {tuple(value.shape)}) of distribution {type(self).__name__} "
                f"to satisfy the constraint {constraint}, but found invalid values:\n{value}"
            )

    @property
    def batch_shape(self) -> Size:
        """The shape of the parameters: how many independent distributions there are."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one draw from one of them."""
        return self._event_shape

    @property
    def support(self) -> Constraint:
        """Where the probability is."""
        raise NotImplementedError(f"{type(self).__name__} does not say its support")

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no mean here")

    @property
    def mode(self) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no mode here")

    @property
    def variance(self) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no variance here")

    @property
    def stddev(self) -> Tensor:
        """The standard deviation."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws without a gradient, of shape sample_shape + batch_shape + event_shape."""
        with no_grad():
            return self.rsample(sample_shape).detach()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draws that are a differentiable function of the parameters (Kingma & Welling, 2014)."""
        raise NotImplementedError(f"{type(self).__name__} cannot be reparameterized; use sample() and log_prob()")

    def sample_n(self, n: int) -> Tensor:
        """n draws."""
        return self.sample((n,))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability or density at `value`, of the batch shape."""
        raise NotImplementedError(f"{type(self).__name__} has no log_prob here")

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of at most `value`."""
        raise NotImplementedError(f"{type(self).__name__} has no cdf here")

    def icdf(self, value: Tensor) -> Tensor:
        """The inverse of cdf."""
        raise NotImplementedError(f"{type(self).__name__} has no icdf here")

    def entropy(self) -> Tensor:
        """The mean of -log_prob, of the batch shape."""
        raise NotImplementedError(f"{type(self).__name__} has no entropy here")

    def perplexity(self) -> Tensor:
        """e to the entropy."""
        return self.entropy().exp()

    def expand(self, batch_shape: Any) -> Self:
        """The same distributions repeated to a larger batch shape."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        new._batch_shape = Size(batch_shape)
        for name in self.parameters:
            value = getattr(self, name)
            if isinstance(value, Tensor):
                event = value.shape[value.dim() - self.event_dims.get(name, 0) :]
                setattr(new, name, value.expand(*new._batch_shape, *event))
        return new

    def _extended_shape(self, sample_shape: Any) -> Size:
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def _validate_sample(self, value: Any) -> None:
        if not self._validate_args:
            return
        if not isinstance(value, Tensor):
            raise ValueError(f"The value argument to log_prob must be a Tensor, got {type(value).__name__}")
        batch, event = self._batch_shape, self._event_shape
        aligned = zip(reversed(value.shape), reversed((*batch, *event)), strict=False)
        if value.shape[value.dim() - len(event) :] != event or any(i != j and 1 not in (i, j) for i, j in aligned):
            raise ValueError(
                f"{type(self).__name__}: a value's shape must end in the event shape {tuple(event)} and before it broadcast "
                f"with the batch shape {tuple(batch)}, got {tuple(value.shape)}"
            )
        support = self.support
        with no_grad():
            valid = bool(support.check(value).all())
        if not valid:
            raise ValueError(
                f"Expected value argument (Tensor of shape {tuple(value.shape)}) to be within the support ({support}) of "
                f"the distribution {self!r}, but found invalid values:\n{value}"
            )

    def __repr__(self) -> str:
        shown = []
        for name in self.arg_constraints:
            value = self.__dict__.get(name)
            if isinstance(value, Tensor):
                shown.append(f"{name}: {value if value.numel() == 1 else tuple(value.shape)}")
        return f"{type(self).__name__}({', '.join(shown)})"


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Numbers and tensors as tensors of one shape, numbers in the dtype of the tensors."""
    like = next((v for v in values if isinstance(v, Tensor)), None)
    made = {} if like is None else {"dtype": like.dtype, "device": like.device}
    return tuple(broadcast_tensors(*(v if isinstance(v, Tensor) else as_tensor(v, **made) * 1.0 for v in values)))
