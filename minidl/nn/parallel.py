"""Modules over several GPUs: here one process has one device, and the wrappers pass everything through."""

from __future__ import annotations

from typing import Any

from ..paths import submodule
from ..tensor import Tensor
from .module import Module

__path__: list[str] = []  # nn.parallel.distributed is a path of PyTorch's, see paths.py


class DistributedDataParallel(Module):
    """PyTorch's wrapper for training in several processes. There is none here: making one raises RuntimeError."""

    def __init__(self, module: Module, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            "DistributedDataParallel: training in several processes is not there; train the module itself in one process"
        )


def scatter(inputs: Any, target_gpus: Any, dim: int = 0) -> list[Any]:
    """Tensors, or nested lists, tuples and dicts of them, in as many parts along `dim` as there are devices, each on its own.

    Other values go to every device as they are.

    Example:
        >>> nn.parallel.scatter(torch.arange(4), ["cpu", "cpu"])
        [tensor([0, 1]), tensor([2, 3])]
    """
    devices = list(target_gpus)
    if isinstance(inputs, Tensor):
        parts = inputs.chunk(len(devices), dim)
        return [part.to(device) for part, device in zip(parts, devices, strict=False)]
    if isinstance(inputs, (tuple, list)) and inputs:
        return [type(inputs)(each) for each in zip(*(scatter(x, devices, dim) for x in inputs), strict=False)]
    if isinstance(inputs, dict) and inputs:
        values = zip(*(scatter(x, devices, dim) for x in inputs.values()), strict=False)
        return [type(inputs)(zip(inputs, each, strict=True)) for each in values]
    return [inputs] * len(devices)


class DataParallel(Module):
    """A module that runs on the device it is on, under the names that PyTorch's wrapper gives: `module.` before each key.

    device_ids, output_device and dim are taken for PyTorch's sake.
    """

    def __init__(self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0) -> None:
        super().__init__()
        self.module, self.device_ids = module, device_ids

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


def __getattr__(name: str) -> Any:
    return submodule(__name__, name)
