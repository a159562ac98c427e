"""Layers that are one after fusion: still float, and for quantization a single step with a single rounding.

PyTorch's names are in torch.ao.nn.intrinsic.
"""

from __future__ import annotations

from typing import Any

from ..nn.container import Sequential


class _FusedModule(Sequential):
    """Two or three layers in a row that convert() makes one of."""


class ConvReLU2d(_FusedModule):
    """A Conv2d and a ReLU."""

    def __init__(self, conv: Any, relu: Any) -> None:
        super().__init__(conv, relu)


class LinearReLU(_FusedModule):
    """A Linear and a ReLU."""

    def __init__(self, linear: Any, relu: Any) -> None:
        super().__init__(linear, relu)


class ConvBn2d(_FusedModule):
    """A Conv2d and a BatchNorm2d that are in training."""

    def __init__(self, conv: Any, bn: Any) -> None:
        super().__init__(conv, bn)


class ConvBnReLU2d(_FusedModule):
    """A Conv2d, a BatchNorm2d and a ReLU that are in training."""

    def __init__(self, conv: Any, bn: Any, relu: Any) -> None:
        super().__init__(conv, bn, relu)
