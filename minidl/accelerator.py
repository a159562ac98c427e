"""The device that a program should use when it does not care which: the GPU if there is one."""

from __future__ import annotations

from . import cuda
from .cuda import device_count, is_available
from .devices import device


def current_accelerator(check_available: bool = False) -> device | None:
    """The GPU, or None where there is none."""
    return device("cuda", cuda.current_device()) if is_available() else None


__all__ = ["current_accelerator", "device_count", "is_available"]
