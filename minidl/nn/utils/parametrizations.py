"""Ready-made parametrizations: weights with norm and direction apart, of spectral norm 1, with orthogonal columns."""

from __future__ import annotations

from typing import Any

from ...autograd.grad_mode import no_grad
from ...dtypes import finfo
from ...ops.creation import eye, zeros_like
from ...ops.decompositions import geqrf, householder_product, linalg_qr
from ...ops.joining import cat
from ...ops.matrix_functions import matrix_exp
from ...ops.random import randn
from ...ops.reduction import norm_except_dim
from ...ops.selection import allclose, where
from ...ops.solving import solve
from ...tensor import Tensor
from .. import functional as F
from ..conv import _ConvTransposeNd
from ..module import Module
from .parametrize import register_parametrization


def _tensor_of(module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


# ---------------------------------------------------------------------------------------------------------------------
# Weight normalisation


class _WeightNorm(Module):
    """v times g / norm(v), the norm taken over all dimensions but `dim`."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except_dim(weight_v, 2, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, 2, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn a weight as norm (`original0`) and direction (`original1`), one norm for each index of `dim`, or one for all.

    Source: Salimans and Kingma, "Weight Normalization", 2016.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(state_dict: dict[str, Any], prefix: str, *others: Any) -> None:  # files of the older weight_norm
        for old, new in (("g", "original0"), ("v", "original1")):
            if f"{prefix}{name}_{old}" in state_dict:
                state_dict[f"{prefix}parametrizations.{name}.{new}"] = state_dict.pop(f"{prefix}{name}_{old}")

    module._register_load_state_dict_pre_hook(rename)
    return module


# ---------------------------------------------------------------------------------------------------------------------
# Spectral normalisation


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """The weight with `dim` as rows and all other dimensions as columns."""
    return weight.movedim(dim, 0).flatten(1)


def output_dim(module: Module) -> int:
    """The dimension of a layer's weight that counts outputs."""
    return 1 if isinstance(module, _ConvTransposeNd) else 0


def power_iteration(matrix: Tensor, u: Tensor, v: Tensor, steps: int, eps: float) -> tuple[Tensor, Tensor]:
    """u and v, unit vectors, nearer to the first left and right singular vectors of the matrix."""
    with no_grad():
        for _ in range(steps):
            u = F.normalize(matrix @ v, dim=0, eps=eps)
            v = F.normalize(matrix.mT @ u, dim=0, eps=eps)
    return u, v


class _SpectralNorm(Module):
    """The weight divided by its largest singular value, which the power method estimates, a few steps at each call."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        ndim = weight.ndim
        if not -ndim <= dim < ndim:
            raise IndexError(
                f"spectral_norm: Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim, self.eps, self.n_power_iterations = dim % ndim, eps, n_power_iterations
        if ndim > 1:
            matrix = as_matrix(weight.detach(), self.dim)
            u, v = (
                F.normalize(randn(n, dtype=weight.dtype, device=weight.device), dim=0, eps=eps) for n in matrix.shape
            )
            u, v = power_iteration(matrix, u, v, 15, eps)
            self.register_buffer("_u", u)
            self.register_buffer("_v", v)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._u, self._v = power_iteration(matrix, self._u, self._v, self.n_power_iterations, self.eps)
        return weight / (self._u @ matrix @ self._v)

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide a weight by its largest singular value, so that the layer does not make differences larger.

    Each use of the weight in training takes n_power_iterations steps of the power method. dim: that of the outputs.
    Source: Miyato, Kataoka, Koyama and Yoshida, "Spectral Normalization for Generative Adversarial Networks", 2018.
    """
    weight = _tensor_of(module, name)
    chosen = output_dim(module) if dim is None else dim
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, chosen, eps))


# ---------------------------------------------------------------------------------------------------------------------
# Orthogonal matrices


def _orthogonalized(matrix: Tensor) -> Tensor:
    """Q of the QR decomposition whose R has a positive diagonal."""
    q, r = linalg_qr(matrix)
    return q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)


class _Orthogonal(Module):
    """A matrix with orthonormal columns, or rows if it is wide, as a function of one that is free."""

    base: Tensor | None

    def __init__(self, weight: Tensor, orthogonal_map: str, use_trivialization: bool = True) -> None:
        super().__init__()
        self.shape, self.orthogonal_map, self.use_trivialization = weight.shape, orthogonal_map, use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        wide = X.shape[-2] < X.shape[-1]
        tall = X.mT if wide else X
        Q = self._reflections(tall) if self.orthogonal_map == "householder" else self._rotation(tall)
        base = self.base if self.use_trivialization else None
        Q = Q if base is None else base @ Q
        return Q.mT if wide else Q

    def _rotation(self, X: Tensor) -> Tensor:
        """An orthogonal function of the skew-symmetric matrix whose lower triangle is that of X (..., N, K)."""
        n, k = X.shape[-2:]
        lower = X.tril()
        if n != k:
            lower = cat([lower, lower.new_zeros(*lower.shape[:-1], n - k)], -1)
        skew = lower - lower.mT
        if self.orthogonal_map == "matrix_exp":
            return matrix_exp(skew)[..., :k]
        one = eye(n, dtype=X.dtype, device=X.device)
        return solve(one - skew * 0.5, one + skew * 0.5)[..., :k]

    def _reflections(self, X: Tensor) -> Tensor:
        """The product of the reflections whose vectors are below the diagonal of X; the diagonal itself is signs."""
        below = X.tril(-1)
        Q = householder_product(below, 2.0 / (1.0 + (below * below).sum(-2)))
        return Q * X.diagonal(dim1=-2, dim2=-1).detach().trunc().unsqueeze(-2)

    def right_inverse(self, Q: Tensor) -> Tensor:
        if Q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}."
            )
        with no_grad():
            wide = Q.shape[-2] < Q.shape[-1]
            tall = Q.mT if wide else Q
            if self.use_trivialization:
                self.base = self._completed(tall)
                return self._where_the_map_is_one(Q)
            if self.orthogonal_map != "householder":
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                    "use_trivialization=False."
                )
            vectors, tau = geqrf(tall)
            signs = vectors.diagonal(dim1=-2, dim2=-1).sign()
            signs = where(tau == 0, -signs, signs)
            X = vectors.tril(-1)
            X.diagonal(dim1=-2, dim2=-1).copy_(signs)
            return X.mT if wide else X

    def _completed(self, Q: Tensor) -> Tensor:
        """Q itself if it is square and orthogonal, else an orthogonal matrix that begins with Q's columns orthogonalized."""
        n, k = Q.shape[-2:]
        if n != k:
            return _orthogonalized(cat([Q, randn(*Q.shape[:-2], n, n - k, dtype=Q.dtype, device=Q.device)], -1))
        one = eye(n, dtype=Q.dtype, device=Q.device).expand(Q.shape)
        return Q.clone() if allclose(Q.mT @ Q, one, atol=10 * n * finfo(Q.dtype).eps) else _orthogonalized(Q)

    @staticmethod
    def _where_the_map_is_one(like: Tensor) -> Tensor:
        """-1 on the diagonal, 0 elsewhere: the point that all three maps take to the identity."""
        X = zeros_like(like)
        X.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return X


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """Keep the columns of a weight (..., M, N) orthonormal, or its rows if M < N.

    orthogonal_map: "matrix_exp" (default for square matrices), "cayley", or "householder" (default for others).
    use_trivialization: the map gives what the weight's first value, orthogonalized, is multiplied by.
    Source: Lezcano-Casado, "Trivializations for Gradient-Based Optimization on Manifolds", 2019.
    """
    weight = _tensor_of(module, name)
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    chosen = orthogonal_map or ("matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder")
    if chosen not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    return register_parametrization(module, name, _Orthogonal(weight, chosen, use_trivialization), unsafe=True)


__all__ = ["orthogonal", "spectral_norm", "weight_norm"]
