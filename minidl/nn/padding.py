"""Padding layers: entries added around the last dimensions of an input, `padding` on every side or each side its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..tensor import Tensor
from . import functional as F
from .module import Module


class _Pad(Module):
    """padding: one number for all sides, or (before, after) from the last dimension to the first."""

    dimensions: ClassVar[int]
    mode: ClassVar[str]

    def __init__(self, padding: Any) -> None:
        super().__init__()
        sides = tuple(padding) if isinstance(padding, Sequence) else (padding,) * (2 * self.dimensions)
        if len(sides) != 2 * self.dimensions:
            raise ValueError(
                f"{type(self).__name__}: padding must be one number or {2 * self.dimensions} of them, got {padding}"
            )
        self.padding = sides

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad1d(_ConstantPad):
    """`value`, around the last dimension."""

    dimensions = 1


class ConstantPad2d(_ConstantPad):
    """`value`, around the last 2 dimensions."""

    dimensions = 2


class ConstantPad3d(_ConstantPad):
    """`value`, around the last 3 dimensions."""

    dimensions = 3


class ZeroPad1d(_ZeroPad):
    """Zeros, around the last dimension."""

    dimensions = 1


class ZeroPad2d(_ZeroPad):
    """Zeros, around the last 2 dimensions."""

    dimensions = 2


class ZeroPad3d(_ZeroPad):
    """Zeros, around the last 3 dimensions."""

    dimensions = 3


class ReflectionPad1d(_Pad):
    """The input mirrored, without its border, around the last dimension."""

    dimensions, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """The input mirrored, without its border, around the last 2 dimensions."""

    dimensions, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """The input mirrored, without its border, around the last 3 dimensions."""

    dimensions, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """The border repeated, around the last dimension."""

    dimensions, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """The border repeated, around the last 2 dimensions."""

    dimensions, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """The border repeated, around the last 3 dimensions."""

    dimensions, mode = 3, "replicate"


class CircularPad1d(_Pad):
    """The input from its other end, around the last dimension."""

    dimensions, mode = 1, "circular"


class CircularPad2d(_Pad):
    """The input from its other end, around the last 2 dimensions."""

    dimensions, mode = 2, "circular"


class CircularPad3d(_Pad):
    """The input from its other end, around the last 3 dimensions."""

    dimensions, mode = 3, "circular"
