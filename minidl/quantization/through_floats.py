"""Layers without a form in integers: their input is taken back to floats, and their result quantized again.

Each is the float layer of its name, with its settings and parameters, and a scale of its own.
"""

from __future__ import annotations

from typing import Any, Self

from ..nn import activation, batchnorm, normalization
from ..nn.module import Module
from . import intrinsic
from .static import _Quantized, integers_without_sign
from .tensor import QTensor


class _ThroughFloats(_Quantized):
    """Stands before the class of a float layer among the bases of a quantized one."""

    @classmethod
    def from_float(cls, mod: Any) -> Self:
        """The layer of an observed float one; it shares its parameters."""
        layer = cls.__new__(cls)
        layer.__dict__.update(mod.__dict__)
        for kind in ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks"):
            layer.__dict__[kind] = dict(mod.__dict__[kind])
        observer = layer._modules.pop("activation_post_process")
        scale, zero_point = observer.calculate_qparams()
        layer._set_scale(scale, zero_point, observer.dtype)
        return layer

    def forward(self, input: QTensor) -> QTensor:
        integers_without_sign(type(self).__name__, input)
        if self.training:  # a normalization would follow the batch
            self.eval()
        return self._requantized(super().forward(input.dequantize()))

    def extra_repr(self) -> str:
        own = super(_Quantized, self).extra_repr()  # the float layer's
        return ", ".join(filter(None, (own, super().extra_repr())))


def _through_floats(base: type[Module]) -> Any:
    body = {
        "__module__": __name__,
        "__doc__": f"{base.__name__} of a quantized input, computed in floats, quantized again.",
    }
    return type(base.__name__, (_ThroughFloats, base), body)


ELU = _through_floats(activation.ELU)
GELU = _through_floats(activation.GELU)
Hardsigmoid = _through_floats(activation.Hardsigmoid)
Hardswish = _through_floats(activation.Hardswish)
LeakyReLU = _through_floats(activation.LeakyReLU)
PReLU = _through_floats(activation.PReLU)
Sigmoid = _through_floats(activation.Sigmoid)
SiLU = _through_floats(activation.SiLU)
Softmax = _through_floats(activation.Softmax)
Tanh = _through_floats(activation.Tanh)
BatchNorm1d = _through_floats(batchnorm.BatchNorm1d)
BatchNorm2d = _through_floats(batchnorm.BatchNorm2d)
BatchNorm3d = _through_floats(batchnorm.BatchNorm3d)
GroupNorm = _through_floats(normalization.GroupNorm)
InstanceNorm1d = _through_floats(batchnorm.InstanceNorm1d)
InstanceNorm2d = _through_floats(batchnorm.InstanceNorm2d)
InstanceNorm3d = _through_floats(batchnorm.InstanceNorm3d)
LayerNorm = _through_floats(normalization.LayerNorm)
BNReLU2d = _through_floats(intrinsic.BNReLU2d)
BNReLU3d = _through_floats(intrinsic.BNReLU3d)

ALL = (
    ELU, GELU, Hardsigmoid, Hardswish, LeakyReLU, PReLU, Sigmoid, SiLU, Softmax, Tanh, BatchNorm1d, BatchNorm2d, BatchNorm3d,
    GroupNorm, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, LayerNorm, BNReLU2d, BNReLU3d,
)  # fmt: skip
