"""Data loading, checkpointing and a writer for TensorBoard, under PyTorch's names."""

from typing import Any

from ..paths import submodule
from . import checkpoint, data

__all__ = ["checkpoint", "data"]


def __getattr__(name: str) -> Any:
    return submodule(__name__, name)
