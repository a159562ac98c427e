"""The normal distribution of vectors."""

from __future__ import annotations

from typing import Any

from ..ops.random import randn
from ..tensor import Tensor
from . import constraints
from .continuous import HALF_LOG_TWO_PI
from .distribution import Distribution


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
        draws = randn(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
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
