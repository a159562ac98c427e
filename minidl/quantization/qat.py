"""Layers that are trained as they will be quantized: float weights, rounded on the way through FakeQuantize.

PyTorch's names are in torch.ao.nn.qat and torch.ao.nn.intrinsic.qat.
"""

from __future__ import annotations

from typing import Any

from ..nn import conv, linear
from ..nn import functional as F
from ..nn.module import Module
from ..nn.utils.fusion import fuse_conv_bn_weights
from ..tensor import Tensor


class _Trained(Module):
    """A float layer with its weight, and its result, going through fake quantization."""

    weight_fake_quant: Any

    @classmethod
    def from_float(cls, mod: Any) -> Any:
        """The layer of a float one, or of a fused one, that has a qconfig; it shares its parameters."""
        inner = mod if hasattr(mod, "weight") else mod[0]
        layer = cls.__new__(cls)
        layer.__dict__.update(inner.__dict__)
        for kind in ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks"):
            layer.__dict__[kind] = dict(inner.__dict__[kind])
        layer.training, layer.qconfig = mod.training, mod.qconfig
        layer.weight_fake_quant = mod.qconfig.weight()
        if inner is not mod and len(mod) > 1 and hasattr(mod[1], "running_var"):
            layer.bn = mod[1]
        return layer


class Linear(_Trained, linear.Linear):
    """A Linear with its weight fake-quantized."""

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight_fake_quant(self.weight), self.bias)


class LinearReLU(Linear):
    """A Linear and a ReLU with the weight fake-quantized."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(super().forward(input))


class _Conv(_Trained, conv._Conv):
    """A convolution with its weight fake-quantized."""

    def forward(self, input: Tensor) -> Tensor:
        return self._convolved(input, self.weight_fake_quant(self.weight), self.bias)

    def _convolved(self, input: Tensor, weight: Tensor, bias: Any) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._sides(), mode=self.padding_mode), 0
        return type(self).function(input, weight, bias, self.stride, padding, self.dilation, self.groups)


class _ConvReLU(_Conv):
    """A convolution and a ReLU with the weight fake-quantized."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(super().forward(input))


class _ConvBn(_Conv):
    """A convolution and a normalization, trained with the weight that they will have when one is folded into the other.

    The weight is scaled by what the running estimates say, fake-quantized, and used; the result is scaled back before the
    normalization, so that the batch is normalized as ever.
    Source: Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference", 2018, section 3.2.2.
    """

    bn: Any

    def forward(self, input: Tensor) -> Tensor:
        bn, ones = self.bn, (1,) * self.dimensions
        factor = (bn.running_var + bn.eps).rsqrt()
        factor = factor if bn.weight is None else bn.weight * factor
        weight = self.weight_fake_quant(self.weight * factor.reshape(-1, 1, *ones))
        out = self._convolved(input, weight, None) / factor.reshape(-1, *ones)
        return bn(out if self.bias is None else out + self.bias.reshape(-1, *ones))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of one convolution that does what both do in evaluation."""
        bn = self.bn
        return fuse_conv_bn_weights(self.weight, self.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)


class _ConvBnReLU(_ConvBn):
    """A convolution, a normalization and a ReLU, trained as they will be when they are one."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(super().forward(input))


class Conv1d(_Conv, conv.Conv1d):
    """A Conv1d with its weight fake-quantized."""


class Conv2d(_Conv, conv.Conv2d):
    """A Conv2d with its weight fake-quantized."""


class Conv3d(_Conv, conv.Conv3d):
    """A Conv3d with its weight fake-quantized."""


class ConvReLU1d(_ConvReLU, conv.Conv1d):
    """A Conv1d and a ReLU with the weight fake-quantized."""


class ConvReLU2d(_ConvReLU, conv.Conv2d):
    """A Conv2d and a ReLU with the weight fake-quantized."""


class ConvReLU3d(_ConvReLU, conv.Conv3d):
    """A Conv3d and a ReLU with the weight fake-quantized."""


class ConvBn1d(_ConvBn, conv.Conv1d):
    """A Conv1d and a BatchNorm1d, trained with the weight that they will have as one."""


class ConvBn2d(_ConvBn, conv.Conv2d):
    """A Conv2d and a BatchNorm2d, trained with the weight that they will have as one."""


class ConvBn3d(_ConvBn, conv.Conv3d):
    """A Conv3d and a BatchNorm3d, trained with the weight that they will have as one."""


class ConvBnReLU1d(_ConvBnReLU, conv.Conv1d):
    """A Conv1d, a BatchNorm1d and a ReLU, trained as they will be when they are one."""


class ConvBnReLU2d(_ConvBnReLU, conv.Conv2d):
    """A Conv2d, a BatchNorm2d and a ReLU, trained as they will be when they are one."""


class ConvBnReLU3d(_ConvBnReLU, conv.Conv3d):
    """A Conv3d, a BatchNorm3d and a ReLU, trained as they will be when they are one."""
