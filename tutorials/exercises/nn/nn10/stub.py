from pathlib import Path

from minidl import nn


def save(model: nn.Module, path: Path) -> None:
    # TODO
    raise NotImplementedError


def load(model: nn.Module, path: Path) -> None:
    # TODO
    raise NotImplementedError
