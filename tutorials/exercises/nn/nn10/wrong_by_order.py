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
    if len(own) != len(saved):
        raise KeyError(f"{len(own)} tensors in the model, {len(saved)} in the file")
    with minidl.no_grad():
        for tensor, array in zip(own.values(), saved.values(), strict=True):
            if array.shape != tensor.shape:
                raise ValueError(f"shape {tuple(tensor.shape)}, in the file {array.shape}")
            tensor.copy_(minidl.from_numpy(array))


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())
