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
    for name in own.keys() & saved.keys():
        tensor = own[name]
        if saved[name].shape != tensor.shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, in the file {saved[name].shape}")
    with minidl.no_grad():
        for name in own.keys() & saved.keys():
            own[name].copy_(minidl.from_numpy(saved[name]))


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())
