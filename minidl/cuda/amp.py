"""minidl.amp under its old name."""

from typing import Any

from ..amp import GradScaler, autocast, custom_bwd, custom_fwd
from ..paths import submodule

__path__: list[str] = []  # cuda.amp.grad_scaler is a path of PyTorch's, see paths.py

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]


def __getattr__(name: str) -> Any:
    return submodule(__name__, name)
