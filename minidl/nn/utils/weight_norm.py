"""Weight normalisation as PyTorch first had it: `weight_g` and `weight_v`, of which each call makes `weight` beforehand."""

from __future__ import annotations

from typing import Any

from ...tensor import Tensor
from ..module import Module
from ..parameter import Parameter
from .parametrizations import _WeightNorm


class WeightNorm:
    """The hook that makes the weight anew before every forward."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name, self.rule = name, _WeightNorm(dim)

    def compute_weight(self, module: Module) -> Tensor:
        return self.rule(getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v"))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn a weight as norm `weight_g` and direction `weight_v`; parametrizations.weight_norm is its newer form.

    Source: Salimans and Kingma, "Weight Normalization", 2016.
    """
    if find_hook(module, WeightNorm, name) is not None:
        raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
    hook, weight = WeightNorm(name, dim), getattr(module, name).detach()
    delattr(module, name)
    for suffix, value in zip("gv", hook.rule.right_inverse(weight), strict=True):
        module.register_parameter(f"{name}_{suffix}", Parameter(value))
    hook(module, ())
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight an ordinary parameter again, with its value."""
    key = find_hook(module, WeightNorm, name)
    if key is None:
        raise ValueError(f"weight_norm of '{name}' not found in {module}")
    hook = module._forward_pre_hooks.pop(key)
    weight = hook.compute_weight(module).detach()
    for attribute in (name, f"{name}_g", f"{name}_v"):
        delattr(module, attribute)
    module.register_parameter(name, Parameter(weight))
    return module


def find_hook(module: Module, kind: type, name: str) -> int | None:
    """The key of the forward pre-hook of that kind on that tensor."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, kind) and name in (getattr(hook, "name", None), getattr(hook, "_tensor_name", None)):
            return key
    return None
