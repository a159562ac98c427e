"""Sets that parameters and values of distributions must lie in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor


class Constraint:
    """A set of tensors. `check(value)` gives a bool tensor, one element for each event of `event_dim` dimensions."""

    def __init__(
        self, name: str, check: Callable[[Tensor], Tensor], event_dim: int = 0, discrete: bool = False
    ) -> None:
        self.name, self.check, self.event_dim, self.is_discrete = name, check, event_dim, discrete

    def __repr__(self) -> str:
        return self.name


def _sums_to_one(x: Tensor) -> Tensor:
    return (x >= 0).all(-1) & ((x.sum(-1) - 1).abs() < 1e-6 * max(1, x.shape[-1]))


def _one_hot(x: Tensor) -> Tensor:
    return ((x == 0) | (x == 1)).all(-1) & (x.sum(-1) == 1)


def _is_cholesky(x: Tensor) -> Tensor:
    return (x.tril() == x).all(-1).all(-1) & (x.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


def _is_positive_definite(x: Tensor) -> Tensor:
    from ..ops.spectral import eigvalsh

    return _symmetric(x) & (eigvalsh(x) > 0).all(-1)


def greater_than(lower_bound: Any) -> Constraint:
    """Numbers above a bound."""
    return Constraint(f"GreaterThan(lower_bound={lower_bound})", lambda x: x > lower_bound)


def greater_than_eq(lower_bound: Any) -> Constraint:
    """Numbers from a bound on."""
    return Constraint(f"GreaterThanEq(lower_bound={lower_bound})", lambda x: x >= lower_bound)


def less_than(upper_bound: Any) -> Constraint:
    """Numbers below a bound."""
    return Constraint(f"LessThan(upper_bound={upper_bound})", lambda x: x < upper_bound)


def half_open_interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """Numbers from a bound on, below another."""
    return Constraint(
        f"HalfOpenInterval(lower_bound={lower_bound}, upper_bound={upper_bound})",
        lambda x: (x >= lower_bound) & (x < upper_bound),
    )


class dependent_property(property):
    """A property of a distribution that is a constraint which depends on its parameters: `support` of many of them.

    @constraints.dependent_property(is_discrete=False, event_dim=0) decorates a method, as does it without arguments.
    """

    def __init__(self, fget: Any = None, *, is_discrete: Any = None, event_dim: Any = None) -> None:
        super().__init__(fget)

    def __call__(self, fget: Any) -> dependent_property:
        return dependent_property(fget)


def is_dependent(constraint: Any) -> bool:
    """Whether a constraint depends on the parameters of a distribution, so that it cannot be checked by itself."""
    return constraint is dependent or isinstance(constraint, dependent_property)


def _lower_triangular(x: Tensor) -> Tensor:
    return (x.tril() == x).all(-1).all(-1)


def _symmetric(x: Tensor) -> Tensor:
    return (x - x.mT).abs().amax((-2, -1)) <= 1e-6 * x.abs().amax((-2, -1))


def _always(x: Tensor) -> Tensor:
    return x == x


dependent = Constraint("Dependent()", _always)
real = Constraint("Real()", lambda x: x == x)
real_vector = Constraint("RealVector()", lambda x: (x == x).all(-1), 1)
positive, nonnegative = greater_than(0.0), greater_than_eq(0.0)
unit_interval = Constraint("Interval(lower_bound=0.0, upper_bound=1.0)", lambda x: (x >= 0) & (x <= 1))
boolean = Constraint("Boolean()", lambda x: (x == 0) | (x == 1), discrete=True)
nonnegative_integer = Constraint("IntegerGreaterThan(lower_bound=0)", lambda x: (x >= 0) & (x % 1 == 0), discrete=True)
positive_integer = Constraint("IntegerGreaterThan(lower_bound=1)", lambda x: (x >= 1) & (x % 1 == 0), discrete=True)
simplex = Constraint("Simplex()", _sums_to_one, 1)
one_hot = Constraint("OneHot()", _one_hot, 1, discrete=True)
lower_triangular = Constraint("LowerTriangular()", _lower_triangular, 2)
symmetric = Constraint("Symmetric()", _symmetric, 2)
lower_cholesky = Constraint("LowerCholesky()", _is_cholesky, 2)
positive_definite = Constraint("PositiveDefinite()", _is_positive_definite, 2)


def interval(low: Any, high: Any) -> Constraint:
    """Numbers from low to high, both included."""
    return Constraint("Interval()", lambda x: (x >= low) & (x <= high))


def integer_interval(low: Any, high: Any) -> Constraint:
    """Whole numbers from low to high, both included."""
    return Constraint("IntegerInterval()", lambda x: (x >= low) & (x <= high) & (x % 1 == 0), discrete=True)


def independent(base: Constraint, event_dim: int) -> Constraint:
    """`base` for every element of the last `event_dim` dimensions."""

    def check(x: Tensor) -> Tensor:
        inside = base.check(x)
        for _ in range(event_dim):
            inside = inside.all(-1)
        return inside

    return Constraint(
        f"IndependentConstraint({base}, {event_dim})", check, base.event_dim + event_dim, base.is_discrete
    )
