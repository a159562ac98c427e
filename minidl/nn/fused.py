"""A linear layer and the activation after it, computed together on a GPU.

There a bias and an activation cost what it takes to read and write their arrays, and so half as much in one kernel as in two; and
the gradient of the bias comes with that of the activation. The user writes two layers: Sequential and the Transformer's feed-forward
networks find them. On the CPU, and where somebody wants to see what is between the two, they stay two operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..ops.activation import BiasActivation, BiasGELU
from ..tensor import Tensor
from . import functional as F
from .activation import GELU, ReLU, Sigmoid, Tanh
from .linear import Linear
from .module import Module

Fused = Callable[[Tensor, Tensor], Tensor]  # of a product and a bias


def _bias_activation(name: str) -> Fused:
    return lambda product, bias: BiasActivation.apply(product, bias, activation=name)


def _bias_gelu(approximate: str) -> Fused:
    return lambda product, bias: BiasGELU.apply(product, bias, approximate=approximate)


BY_TYPE: dict[type, Fused] = {kind: _bias_activation(kind.__name__.lower()) for kind in (ReLU, Sigmoid, Tanh)}


def on_gpu(x: Any) -> bool:
    """Whether x is a plain tensor on a GPU."""
    return x.__class__ is Tensor and x.array.__class__ is not np.ndarray


def linear_activation(linear: Any, activation: Callable[[Tensor], Tensor], input: Tensor) -> Tensor:
    """activation(linear(input))."""
    fused = _fused(linear, activation) if on_gpu(input) else None
    return activation(linear(input)) if fused is None else fused(F.linear(input, linear.weight), linear.bias)


def one_after_another(modules: Iterable[Module], input: Any) -> Any:
    """The modules called one after another, each on the result of the one before; on a GPU in pairs where that is possible."""
    ahead = list(modules)
    while ahead:
        module: Any = ahead.pop(0)
        fused = _fused(module, ahead[0]) if ahead and on_gpu(input) else None
        if fused is None:
            input = module(input)
        else:
            input = fused(F.linear(input, module.weight), module.bias)
            ahead.pop(0)
    return input


def _fused(linear: Any, activation: Any) -> Fused | None:
    """What computes `activation` with the bias of `linear`, or None where the two are to be called."""
    if type(linear) is not Linear or linear.bias is None or _watched(linear):
        return None
    if linear.bias.array.dtype != linear.weight.array.dtype:
        return None  # which linear() refuses
    if activation is F.relu or activation is F.gelu:
        return BY_TYPE[ReLU] if activation is F.relu else _bias_gelu("none")
    if not isinstance(activation, Module) or _watched(activation):
        return None
    return _bias_gelu(activation.approximate) if type(activation) is GELU else BY_TYPE.get(type(activation))


def _watched(module: Module) -> bool:
    """Whether a module does more when called than its class's forward: it has hooks, or a forward of its own."""
    hooks = module._forward_pre_hooks or module._forward_hooks or module._backward_pre_hooks or module._backward_hooks
    return bool(hooks) or "forward" in module.__dict__
