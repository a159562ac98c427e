from pathlib import Path

import numpy as np

import minidl
from minidl import Tensor, nn


def save(model: nn.Module, path: Path) -> None:
    np.savez(path, **{name: tensor.detach().numpy() for name, tensor in tensors(model).items()})


def load(model: nn.Module, path: Path) -> None:
    own = tensors(model)
    with np.load(path) as file:
        saved = dict(file)
    with minidl.no_grad():
        for name, tensor in own.items():
            array = saved.pop(name)
            if array.shape != tensor.shape:
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}, in the file {array.shape}")
            tensor.copy_(minidl.from_numpy(array))
    if saved:
        raise KeyError(f"only in the file: {sorted(saved)}")


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())
