"""Modules over several GPUs: here one process has one device, and the wrappers pass everything through."""

from __future__ import annotations

from typing import Any

from .module import Module


class DistributedDataParallel(Module):
    """PyTorch's wrapper for training in several processes. There is none here: making one raises RuntimeError."""

    def __init__(self, module: Module, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            "DistributedDataParallel: training in several processes is not there; train the module itself in one process"
        )


class DataParallel(Module):
    """A module that runs on the device it is on, under the names that PyTorch's wrapper gives: `module.` before each key.

    device_ids, output_device and dim are taken for PyTorch's sake.
    """

    def __init__(self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0) -> None:
        super().__init__()
        self.module, self.device_ids = module, device_ids

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)
