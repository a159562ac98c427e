"""Layers that take and return quantized tensors, by scales that were found before: static quantization.

A product's sum, int32, goes straight to the integers of the result, with one rounding. What all these layers share is in
static.py; convolution.py, embedding.py and through_floats.py have the larger families. PyTorch's names are in
torch.ao.nn.quantized.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import quint8
from ..nn import activation
from ..nn.module import Module
from ..ops.joining import cat
from ..ops.selection import clamp
from ..tensor import Tensor
from .convolution import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .embedding import Embedding, EmbeddingBag
from .static import WeightedQuantizedModule, _Quantized, integers_without_sign, product
from .tensor import QTensor
from .through_floats import (
    ELU,
    GELU,
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    BNReLU2d,
    BNReLU3d,
    GroupNorm,
    Hardsigmoid,
    Hardswish,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    LayerNorm,
    LeakyReLU,
    PReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)


class Quantize(_Quantized):
    """Floats to a quantized tensor: what convert() makes of a QuantStub."""

    @classmethod
    def from_float(cls, mod: Any) -> Quantize:
        """The layer of an observed QuantStub."""
        scale, zero_point = mod.activation_post_process.calculate_qparams()
        return cls(scale, zero_point, mod.activation_post_process.dtype)

    def forward(self, X: Tensor) -> QTensor:
        return self._requantized(X)

    def _get_name(self) -> str:
        return "Quantize"


class DeQuantize(Module):
    """A quantized tensor to floats: what convert() makes of a DeQuantStub."""

    @classmethod
    def from_float(cls, mod: Any) -> DeQuantize:
        """The layer of a DeQuantStub."""
        return cls()

    def forward(self, Xq: Any) -> Tensor:
        if not isinstance(Xq, QTensor):
            raise TypeError(f"DeQuantize: expected a quantized tensor, got {getattr(Xq, 'dtype', type(Xq).__name__)}")
        return Xq.dequantize()


class Linear(WeightedQuantizedModule):
    """x Wᵀ + b, quantized (*, in_features) to quantized (*, out_features), with ReLU or without."""

    @classmethod
    def _like(cls, mod: Any, *parts: Any) -> Linear:
        return cls(*parts)

    def forward(self, input: QTensor) -> QTensor:
        x, scale, zero = integers_without_sign("Linear", input)
        N, K = self._weight.shape
        if not x.ndim or x.shape[-1] != K:
            raise RuntimeError(f"quantized.Linear: expected inputs of {K} features, got shape {list(x.shape)}")
        rows = np.ascontiguousarray(x).reshape(x.size // K if K else 0, K)
        bias = None if self._bias is None else self._bias.array
        out = product(self, rows, scale, zero, self._weight.weights(), bias)
        return QTensor(out.reshape(*x.shape[:-1], N), self.scale.array, self.zero_point.array, quint8)

    def extra_repr(self) -> str:
        N, K = self._weight.shape
        return f"in_features={K}, out_features={N}, {super().extra_repr()}, qscheme={self._weight.qscheme()}"


class ReLU6(activation.ReLU6):
    """Quantized tensors held within [0, 6]: integers, with the scale of the input."""

    @classmethod
    def from_float(cls, mod: Any) -> ReLU6:
        """The layer of a float ReLU6."""
        return cls(mod.inplace)

    def forward(self, input: Any) -> QTensor:
        integers_without_sign("ReLU6", input)
        return clamp(input, 0.0, 6.0)

    def _get_name(self) -> str:
        return "QuantizedReLU6"


class QFunctional(_Quantized):
    """FloatFunctional on quantized tensors: computed in floats, and quantized with the scale that was observed."""

    @classmethod
    def from_float(cls, mod: Any) -> QFunctional:
        """The layer of an observed FloatFunctional."""
        scale, zero_point = mod.activation_post_process.calculate_qparams()
        return cls(scale, zero_point, mod.activation_post_process.dtype)

    def forward(self, x: Any) -> Any:
        raise RuntimeError("QFunctional is not called: use its methods add, mul, cat, add_relu, ...")

    def add(self, x: QTensor, y: QTensor) -> QTensor:
        """x + y."""
        return self._requantized(floats("add", x) + floats("add", y))

    def add_scalar(self, x: QTensor, y: float) -> QTensor:
        """x + y for a number y."""
        return self._requantized(floats("add_scalar", x) + y)

    def mul(self, x: QTensor, y: QTensor) -> QTensor:
        """x * y."""
        return self._requantized(floats("mul", x) * floats("mul", y))

    def mul_scalar(self, x: QTensor, y: float) -> QTensor:
        """x * y for a number y."""
        return self._requantized(floats("mul_scalar", x) * y)

    def cat(self, x: list[QTensor], dim: int = 0) -> QTensor:
        """The tensors one after the other along `dim`."""
        return self._requantized(cat([floats("cat", t) for t in x], dim))

    def add_relu(self, x: QTensor, y: QTensor) -> QTensor:
        """max(x + y, 0)."""
        return self._requantized((floats("add_relu", x) + floats("add_relu", y)).relu())

    def matmul(self, x: QTensor, y: QTensor) -> QTensor:
        """x @ y."""
        return self._requantized(floats("matmul", x) @ floats("matmul", y))


def floats(name: str, x: Any) -> Tensor:
    """The values of a quantized operand. Raises TypeError for a float one."""
    integers_without_sign(f"QFunctional.{name}", x)
    return x.dequantize()


__all__ = [
    "ELU", "GELU", "BNReLU2d", "BNReLU3d", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "Conv1d", "Conv2d", "Conv3d",
    "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "DeQuantize", "Embedding", "EmbeddingBag", "GroupNorm", "Hardsigmoid",
    "Hardswish", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LayerNorm", "LeakyReLU", "Linear", "PReLU", "QFunctional",
    "Quantize", "ReLU6", "SiLU", "Sigmoid", "Softmax", "Tanh",
]  # fmt: skip
