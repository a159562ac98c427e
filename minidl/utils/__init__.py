"""Data loading and checkpointing, under PyTorch's names."""

from . import checkpoint, data

__all__ = ["checkpoint", "data"]
