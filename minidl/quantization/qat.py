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


class Conv2d(_Trained, conv.Conv2d):
    """A Conv2d with its weight fake-quantized."""

    def forward(self, input: Tensor) -> Tensor:
        return self._convolved(input, self.weight_fake_quant(self.weight), self.bias)

    def _convolved(self, input: Tensor, weight: Tensor, bias: Any) -> Tensor:
        if self.padding_mode != "zeros":
            raise NotImplementedError(f"qat.Conv2d: padding is with zeros, got padding_mode={self.padding_mode!r}")
        return F.conv2d(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)


class ConvReLU2d(Conv2d):
    """A Conv2d and a ReLU with the weight fake-quantized."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(super().forward(input))


class ConvBn2d(Conv2d):
    """A Conv2d and a BatchNorm2d, trained with the weight that they will have when one is folded into the other.

    The weight is scaled by what the running estimates say, fake-quantized, and used; the result is scaled back before the
    normalization, so that the batch is normalized as ever.
    Source: Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference", 2018, section 3.2.2.
    """

    bn: Any

    def forward(self, input: Tensor) -> Tensor:
        bn = self.bn
        factor = bn.weight / (bn.running_var + bn.eps).sqrt()
        weight = self.weight_fake_quant(self.weight * factor.reshape(-1, 1, 1, 1))
        out = self._convolved(input, weight, None) / factor.reshape(1, -1, 1, 1)
        return bn(out if self.bias is None else out + self.bias.reshape(1, -1, 1, 1))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of one convolution that does what both do in evaluation."""
        bn = self.bn
        return fuse_conv_bn_weights(self.weight, self.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)


class ConvBnReLU2d(ConvBn2d):
    """A Conv2d, a BatchNorm2d and a ReLU, trained as they will be when they are one."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(super().forward(input))
