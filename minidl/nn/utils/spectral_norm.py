"""Spectral normalisation as PyTorch first had it: `weight_orig`, of which each call makes `weight` beforehand."""

from __future__ import annotations

from typing import Any

from ...autograd.grad_mode import no_grad
from ...ops.random import randn
from ...tensor import Tensor
from .. import functional as F
from ..module import Module
from ..parameter import Parameter
from .parametrizations import as_matrix, output_dim, power_iteration
from .weight_norm import find_hook


class SpectralNorm:
    """The hook that makes the weight anew before every forward."""

    def __init__(self, name: str, n_power_iterations: int, dim: int, eps: float) -> None:
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.name, self.n_power_iterations, self.dim, self.eps = name, n_power_iterations, dim, eps

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        weight = getattr(module, f"{self.name}_orig")
        matrix, names = as_matrix(weight, self.dim), (f"{self.name}_u", f"{self.name}_v")
        u, v = (getattr(module, name) for name in names)
        if do_power_iteration:
            v, u = power_iteration(matrix.mT, v, u, self.n_power_iterations, self.eps)  # v is the first to be renewed
            for name, value in zip(names, (u, v), strict=True):
                setattr(module, name, value)
        return weight / (u @ matrix @ v)

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide a weight by its largest singular value; parametrizations.spectral_norm is its newer form.

    Source: Miyato, Kataoka, Koyama and Yoshida, "Spectral Normalization for Generative Adversarial Networks", 2018.
    """
    if find_hook(module, SpectralNorm, name) is not None:
        raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
    hook = SpectralNorm(name, n_power_iterations, output_dim(module) if dim is None else dim, eps)
    weight = getattr(module, name)
    delattr(module, name)
    module.register_parameter(f"{name}_orig", weight)
    setattr(module, name, weight.detach())
    for suffix, n in zip("uv", as_matrix(weight.detach(), hook.dim).shape, strict=True):
        start = F.normalize(randn(n, dtype=weight.dtype, device=weight.device), dim=0, eps=eps)
        module.register_buffer(f"{name}_{suffix}", start)
    module.register_forward_pre_hook(hook)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight an ordinary parameter again, with the value that it has in evaluation."""
    key = find_hook(module, SpectralNorm, name)
    if key is None:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    hook = module._forward_pre_hooks.pop(key)
    with no_grad():
        weight = hook.compute_weight(module, do_power_iteration=False)
    for attribute in (name, f"{name}_u", f"{name}_v", f"{name}_orig"):
        delattr(module, attribute)
    module.register_parameter(name, Parameter(weight))
    return module
