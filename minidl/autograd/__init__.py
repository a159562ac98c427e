"""Automatic differentiation: the engine behind Tensor.backward and what users need of it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..paths import submodule
from .engine import backward, grad
from .function import Function
from .grad_mode import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from .gradcheck import gradcheck, gradgradcheck

if TYPE_CHECKING:
    from . import checkpoint, graph
    from .anomaly import detect_anomaly, set_detect_anomaly

__all__ = [
    "Function", "Variable", "backward", "detect_anomaly", "enable_grad", "grad", "gradcheck", "gradgradcheck",
    "inference_mode", "is_grad_enabled", "no_grad", "set_detect_anomaly", "set_grad_enabled",
]  # fmt: skip


def Variable(data: Any, requires_grad: bool = False) -> Any:
    """A tensor. PyTorch's Variable of old is today's Tensor."""
    tensor = data.detach()
    return tensor.requires_grad_() if requires_grad else tensor


_LAZY = {"detect_anomaly": "anomaly", "set_detect_anomaly": "anomaly"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    return submodule(__name__, name)
