"""Convolutions of quantized images, and transposed ones, with ReLU or without.

The windows of an image become rows (kernels/quantize.py), and rows times filters are a product of bytes as in a linear layer.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..autograd.op import wrap
from ..dtypes import qint8, quint8
from ..kernels.qlinear import Weights
from ..kernels.quantize import windows
from ..nn import functional as F
from ..tensor import Tensor
from .dynamic import quantized_weight
from .static import WeightedQuantizedModule, integers_without_sign, product
from .tensor import QTensor


class _Conv(WeightedQuantizedModule):
    """Quantized images (B, C, *S) convolved with filters (O, C / groups, *K): quantized (B, O, *S').

    Padding is with the zero point, which stands for 0 exactly, or as padding_mode says.
    """

    dimensions: ClassVar[int]

    @classmethod
    def _like(cls, mod: Any, *parts: Any) -> Any:
        layer = cls(*parts)
        layer.in_channels, layer.out_channels, layer.groups = mod.in_channels, mod.out_channels, mod.groups
        layer.kernel_size, layer.stride, layer.dilation = mod.kernel_size, mod.stride, mod.dilation
        layer.padding, layer.padding_mode = mod.padding, mod.padding_mode
        layer._set_sides(mod)
        return layer

    def _set_sides(self, mod: Any) -> None:
        self._sides = mod._sides()  # before and after, from the last dimension to the first, as F.pad takes them

    def forward(self, input: QTensor) -> QTensor:
        name = type(self).__name__
        x, scale, zero = integers_without_sign(name, input)
        if x.ndim != self.dimensions + 2 or x.shape[1] != self.in_channels:
            wanted = ", ".join(("D", "H", "W")[-self.dimensions :] if self.dimensions > 1 else "L")
            raise RuntimeError(
                f"quantized.{name}: expected images (B, {self.in_channels}, {wanted}), got shape {list(x.shape)}"
            )
        x, padding = self._padded(x, zero)
        steps, inner = self._steps(), range(2, x.ndim)
        each = zip(x.shape[2:], self.kernel_size, padding, self.dilation, strict=True)
        room = [n + 2 * p - d * (k - 1) - 1 for n, k, p, d in each]
        if min(room) < 0:
            raise RuntimeError(
                f"quantized.{name}: a kernel of {self.kernel_size} is larger than the padded image {list(input.shape)}"
            )
        sizes = tuple(r // s + 1 for r, s in zip(room, steps, strict=True))
        parts, images = [], x.transpose(0, *inner, 1)
        C, outputs = self.in_channels // self.groups, self.out_channels // self.groups
        for g, weights in enumerate(self._filters()):
            own = images[..., g * C : (g + 1) * C]
            columns = -(-weights.integers.shape[1] // 4) * 4
            rows = windows(own, self.kernel_size, steps, padding, self.dilation, zero, columns)
            bias = None if self._bias is None else self._bias.array[g * outputs : (g + 1) * outputs]
            parts.append(product(self, rows, scale, zero, weights, bias))
        out = parts[0] if len(parts) == 1 else np.concatenate(parts, 1)
        channels_last = out.reshape(len(x), *sizes, self.out_channels)
        channels_first = channels_last.transpose(0, -1, *(d - 1 for d in inner))
        return QTensor(channels_first, self.scale.array, self.zero_point.array, quint8)

    def _steps(self) -> tuple[int, ...]:
        """How far apart the windows are."""
        return self.stride

    def _padded(self, x: Any, zero: int) -> tuple[Any, tuple[int, ...]]:
        """The integers, and how many zero points are to be taken for there on both sides: what `windows` cannot do is done."""
        before, after = self._sides[-2::-2], self._sides[::-2]
        if self.padding_mode == "zeros" and before == after and min(before) >= 0:
            return x, before
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        wide = F.pad(wrap(x), self._sides, mode, **({"value": zero} if mode == "constant" else {}))
        return wide.array, (0,) * self.dimensions

    def _filters(self) -> list[Weights]:
        """The filters of each group as a matrix (O / groups, K C / groups)."""
        weight = self._weight
        if self.groups == 1:
            return [weight.weights()]
        made = self.__dict__.get("_groups")
        if made is None or made[0] is not weight.weights():
            whole = weight.weights()
            cut = zip(np.split(whole.integers, self.groups), np.split(whole.scales, self.groups), strict=True)
            self.__dict__["_groups"] = made = whole, [Weights(*part) for part in cut]
        return made[1]

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        zeros, ones = (0,) * self.dimensions, (1,) * self.dimensions
        usual = {"padding": zeros, "dilation": ones, "output_padding": zeros, "groups": 1, "padding_mode": "zeros"}
        other = (f", {name}={getattr(self, name, v)}" for name, v in usual.items() if getattr(self, name, v) != v)
        return f"{text}, {super().extra_repr()}{''.join(other)}"


class Conv1d(_Conv):
    """Quantized signals (B, C, L) convolved with filters (O, C / groups, K): quantized (B, O, L')."""

    dimensions = 1


class Conv2d(_Conv):
    """Quantized images (B, C, H, W) convolved with filters (O, C / groups, KH, KW): quantized (B, O, H', W')."""

    dimensions = 2


class Conv3d(_Conv):
    """Quantized volumes (B, C, D, H, W) convolved with filters (O, C / groups, KD, KH, KW)."""

    dimensions = 3


class _ConvTranspose(_Conv):
    """The transpose of a convolution, with weights (C, O / groups, *K).

    It is a convolution with the filters turned round, of the image with stride - 1 zero points between its elements. Weights have
    one scale, or, without groups, one for each output, along axis 1; PyTorch's have one.
    """

    output_padding: tuple[int, ...]

    @classmethod
    def _in_bytes(cls, mod: Any, weight: Tensor, observer: Any) -> QTensor:
        inner = getattr(observer, "activation_post_process", observer)
        if hasattr(inner, "ch_axis"):
            if mod.groups > 1:
                raise NotImplementedError(
                    f"quantized.{cls.__name__}: with groups the weights have one scale, not one per channel; give the layer a "
                    "qconfig with default_weight_observer"
                )
            inner.ch_axis = 1
        return quantized_weight(weight, observer)

    def _set_sides(self, mod: Any) -> None:
        self.output_padding = mod.output_padding
        each = zip(mod.kernel_size, mod.dilation, mod.padding, mod.output_padding, strict=True)
        pairs = [(d * (k - 1) - p, d * (k - 1) - p + extra) for k, d, p, extra in each]
        self._sides = tuple(side for pair in reversed(pairs) for side in pair)

    def _steps(self) -> tuple[int, ...]:
        return (1,) * self.dimensions

    def _padded(self, x: Any, zero: int) -> tuple[Any, tuple[int, ...]]:
        if max(self.stride) > 1:
            sizes = [max((n - 1) * s + 1, 0) for n, s in zip(x.shape[2:], self.stride, strict=True)]
            wide = np.full((*x.shape[:2], *sizes), zero, x.dtype)
            steps: Any = (..., *(slice(None, None, s) for s in self.stride))
            wide[steps] = x
            x = wide
        return super()._padded(x, zero)

    def _filters(self) -> list[Weights]:
        weight, g = self._weight, self.groups
        made = self.__dict__.get("_groups")
        if made is None or made[0] is not weight.integers:
            if weight.kind is not qint8 or weight.axis not in (None, 1) or weight.zero_point.any():
                raise RuntimeError(
                    f"quantized.{type(self).__name__}: weights are qint8 and symmetric, with one scale or one for each output, got "
                    f"{weight.dtype}, {weight.qscheme()}"
                )
            turned = np.flip(weight.integers, tuple(range(2, weight.ndim)))
            each = [np.moveaxis(part, 0, -1) for part in np.split(turned, g)]  # (O / groups, *K, C / groups)
            parts = [Weights(np.ascontiguousarray(part).reshape(len(part), -1), weight.scale) for part in each]
            self.__dict__["_groups"] = made = weight.integers, parts
        return made[1]


class ConvTranspose1d(_ConvTranspose):
    """Quantized (B, C, L) and filters (C, O / groups, K), transposed: quantized (B, O, L')."""

    dimensions = 1


class ConvTranspose2d(_ConvTranspose):
    """Quantized (B, C, H, W) and filters (C, O / groups, KH, KW), transposed: quantized (B, O, H', W')."""

    dimensions = 2


class ConvTranspose3d(_ConvTranspose):
    """Quantized (B, C, D, H, W) and filters (C, O / groups, KD, KH, KW), transposed."""

    dimensions = 3
