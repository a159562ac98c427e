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
    for name, tensor in own.items():
        if saved[name].shape != tensor.shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, in the file {saved[name].shape}")
    for name, tensor in own.items():
        owner, _, attribute = name.rpartition(".")
        value = minidl.from_numpy(saved[name])
        is_parameter = isinstance(tensor, nn.Parameter)
        setattr(model.get_submodule(owner), attribute, nn.Parameter(value) if is_parameter else value)


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())
