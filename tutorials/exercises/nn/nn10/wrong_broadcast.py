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
    if own.keys() != saved.keys():
        raise KeyError(f"only in the model or only in the file: {sorted(own.keys() ^ saved.keys())}")
    with minidl.no_grad():
        for name, tensor in own.items():
            tensor.copy_(minidl.from_numpy(saved[name]))


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())
