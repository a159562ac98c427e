"""Layers that are one after fusion: still float, and for quantization a single step with a single rounding.

PyTorch's names are in torch.ao.nn.intrinsic.
"""

from __future__ import annotations

from ..nn.container import Sequential


class _FusedModule(Sequential):
    """Two or three layers in a row that convert() makes one of."""


class ConvReLU1d(_FusedModule):
    """A Conv1d and a ReLU."""


class ConvReLU2d(_FusedModule):
    """A Conv2d and a ReLU."""


class ConvReLU3d(_FusedModule):
    """A Conv3d and a ReLU."""


class LinearReLU(_FusedModule):
    """A Linear and a ReLU."""


class BNReLU2d(_FusedModule):
    """A BatchNorm2d and a ReLU."""


class BNReLU3d(_FusedModule):
    """A BatchNorm3d and a ReLU."""


class ConvBn1d(_FusedModule):
    """A Conv1d and a BatchNorm1d that are in training."""


class ConvBn2d(_FusedModule):
    """A Conv2d and a BatchNorm2d that are in training."""


class ConvBn3d(_FusedModule):
    """A Conv3d and a BatchNorm3d that are in training."""


class ConvBnReLU1d(_FusedModule):
    """A Conv1d, a BatchNorm1d and a ReLU that are in training."""


class ConvBnReLU2d(_FusedModule):
    """A Conv2d, a BatchNorm2d and a ReLU that are in training."""


class ConvBnReLU3d(_FusedModule):
    """A Conv3d, a BatchNorm3d and a ReLU that are in training."""
