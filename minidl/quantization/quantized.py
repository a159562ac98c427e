"""Layers that take and return quantized tensors, by scales that were found before: static quantization.

A product's sum, int32, goes straight to the integers of the result, with one rounding. PyTorch's names are in torch.ao.nn.quantized.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.op import wrap
from ..dtypes import qint8, quint8
from ..kernels.qlinear import Weights, qlinear_requantized
from ..kernels.quantize import windows
from ..nn.module import Module
from ..ops.joining import cat
from ..tensor import Tensor
from . import intrinsic, qat
from .dynamic import Embedding as Embedding
from .dynamic import quantized_weight
from .qconfig import default_weight_observer
from .tensor import QTensor, quantize_per_tensor

WITH_RELU = (intrinsic.ConvReLU2d, intrinsic.LinearReLU, qat.ConvReLU2d, qat.ConvBnReLU2d, qat.LinearReLU)


class _Quantized(Module):
    """A layer whose result has the scale and the zero point of two buffers."""

    def __init__(self, scale: Any, zero_point: Any, dtype: Any = quint8) -> None:
        super().__init__()
        self.register_buffer("scale", wrap(np.array(getattr(scale, "array", scale), np.float32).reshape(())))
        self.register_buffer(
            "zero_point", wrap(np.array(getattr(zero_point, "array", zero_point), np.int32).reshape(()))
        )
        self.dtype = dtype

    def _requantized(self, values: Tensor) -> QTensor:
        return quantize_per_tensor(values, self.scale, self.zero_point, self.dtype)

    def _get_name(self) -> str:
        return f"Quantized{type(self).__name__}"

    def extra_repr(self) -> str:
        return f"scale={float(self.scale.array):.6g}, zero_point={int(self.zero_point.array)}"


def integers_without_sign(name: str, input: Any) -> tuple[Any, Any, int]:
    """uint8 integers of a quantized input, its scale and its zero point. Raises TypeError for a float one."""
    if not isinstance(input, QTensor):
        got = input.dtype if isinstance(input, Tensor) else type(input).__name__
        raise TypeError(
            f"quantized.{name}: expected a quantized tensor, got {got}; put a QuantStub before the first quantized layer of the "
            "model, or quantize the input with quantize_per_tensor()"
        )
    scale, zero = np.float32(input.q_scale()), input.q_zero_point()
    if input.kind is quint8:
        return input.integers, scale, zero
    if input.kind is qint8:
        return (input.integers.astype(np.int16) + 128).astype(np.uint8), scale, zero + 128
    raise TypeError(f"quantized.{name}: expected an input of quint8 or qint8, got {input.dtype}")


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


class _Product(_Quantized):
    """What Linear and Conv2d share: int8 weights, a float bias, ReLU or not."""

    def __init__(self, weight: QTensor, bias: Tensor | None, relu: bool, scale: Any, zero_point: Any) -> None:
        super().__init__(scale, zero_point)
        self.register_buffer("_weight", weight)
        self.register_buffer("_bias", None if bias is None else bias.detach().clone())
        self.relu = relu

    @classmethod
    def _like(cls, mod: Any, *parts: Any) -> Any:
        """The layer of these parts with the settings of a float one."""
        raise NotImplementedError

    @classmethod
    def from_float(cls, mod: Any) -> Any:
        """The layer of an observed float layer, alone or fused with a ReLU, or of one that was trained for it.

        Raises NotImplementedError for results in another type than quint8.
        """
        observer = mod.activation_post_process
        if observer.dtype is not quint8:
            raise NotImplementedError(
                f"quantized.{cls.__name__}: results are quint8, got an observer of {observer.dtype}"
            )
        layer = mod if hasattr(mod, "weight") else mod[0]
        weight_observer = getattr(mod, "weight_fake_quant", None)  # of a layer that was trained for it
        if weight_observer is None:
            qconfig = getattr(mod, "qconfig", None)
            weight_observer = (default_weight_observer if qconfig is None else qconfig.weight)()
        weight, bias = mod.folded() if hasattr(mod, "folded") else (layer.weight, layer.bias)
        relu = isinstance(mod, WITH_RELU)
        return cls._like(layer, quantized_weight(weight, weight_observer), bias, relu, *observer.calculate_qparams())

    def weight(self) -> QTensor:
        """The quantized weight."""
        return self._weight

    def bias(self) -> Tensor | None:
        """The bias, float32; in the sums it is an integer."""
        return self._bias

    def _get_name(self) -> str:
        return f"{super()._get_name()}{'ReLU' if self.relu else ''}"


def product(layer: _Product, x: Any, scale: Any, zero: int, weights: Weights, bias: Any) -> Any:
    """Rows of bytes times weights, in the integers of the layer's result."""
    out_scale, out_zero = np.float32(layer.scale.array), int(layer.zero_point.array)
    return qlinear_requantized(x, scale, zero, weights, bias, layer.relu, out_scale, out_zero)


class Linear(_Product):
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


class Conv2d(_Product):
    """Quantized images (B, C, H, W) convolved with filters (O, C / groups, KH, KW): quantized (B, O, H', W'), with ReLU or without.

    Padding is with the zero point, which stands for 0 exactly.
    """

    @classmethod
    def _like(cls, mod: Any, *parts: Any) -> Conv2d:
        if mod.padding_mode != "zeros":
            raise NotImplementedError(f"quantized.Conv2d: padding is with zeros, got padding_mode={mod.padding_mode!r}")
        layer = cls(*parts)
        padding = mod.padding
        if isinstance(padding, str):
            sides = [d * (k - 1) for k, d in zip(mod.kernel_size, mod.dilation, strict=True)]
            if padding == "same" and any(s % 2 for s in sides):
                raise NotImplementedError(
                    "quantized.Conv2d: padding='same' with even kernels is wider on one side; pad before"
                )
            padding = tuple(s // 2 for s in sides) if padding == "same" else (0, 0)
        layer.kernel_size, layer.stride, layer.padding = mod.kernel_size, mod.stride, padding
        layer.dilation, layer.groups = mod.dilation, mod.groups
        return layer

    def forward(self, input: QTensor) -> QTensor:
        x, scale, zero = integers_without_sign("Conv2d", input)
        outputs, C = self._weight.shape[0], self._weight.shape[1] * self.groups
        if x.ndim != 4 or x.shape[1] != C:
            raise RuntimeError(f"quantized.Conv2d: expected images (B, {C}, H, W), got shape {list(x.shape)}")
        each = zip(x.shape[2:], self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        H, W = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in each)
        if H < 1 or W < 1:
            raise RuntimeError(
                f"quantized.Conv2d: a kernel of {self.kernel_size} is larger than the padded image {list(x.shape)}"
            )
        parts, images = [], x.transpose(0, 2, 3, 1)
        for g, weights in enumerate(self._filters()):
            own = images[..., g * C // self.groups : (g + 1) * C // self.groups]
            columns = -(-weights.integers.shape[1] // 4) * 4
            rows = windows(own, self.kernel_size, self.stride, self.padding, self.dilation, zero, columns)
            of_group = slice(g * outputs // self.groups, (g + 1) * outputs // self.groups)
            bias = None if self._bias is None else self._bias.array[of_group]
            parts.append(product(self, rows, scale, zero, weights, bias))
        out = parts[0] if len(parts) == 1 else np.concatenate(parts, 1)
        channels_last = out.reshape(len(x), H, W, outputs)
        return QTensor(channels_last.transpose(0, 3, 1, 2), self.scale.array, self.zero_point.array, quint8)

    def _filters(self) -> list[Weights]:
        """The filters of each group as a matrix (O / groups, KH KW C / groups)."""
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
        outputs, C = self._weight.shape[0], self._weight.shape[1] * self.groups
        text = f"{C}, {outputs}, kernel_size={self.kernel_size}, stride={self.stride}, {super().extra_repr()}"
        return (
            text
            + f", padding={self.padding}" * (self.padding != (0, 0))
            + f", groups={self.groups}" * (self.groups != 1)
        )


class ThroughFloats(_Quantized):
    """A layer without a form in integers: its input is taken back to floats, and its result quantized again."""

    def __init__(self, module: Module, scale: Any, zero_point: Any, dtype: Any = quint8) -> None:
        super().__init__(scale, zero_point, dtype)
        self.module = module

    @classmethod
    def from_float(cls, mod: Any) -> ThroughFloats:
        """The layer of an observed float layer."""
        observer = mod._modules.pop("activation_post_process")
        scale, zero_point = observer.calculate_qparams()
        return cls(mod, scale, zero_point, observer.dtype)

    def forward(self, input: QTensor) -> QTensor:
        integers_without_sign(type(self.module).__name__, input)
        return self._requantized(self.module(input.dequantize()))


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
        return self._requantized(x.dequantize() + y.dequantize())

    def add_scalar(self, x: QTensor, y: float) -> QTensor:
        """x + y for a number y."""
        return self._requantized(x.dequantize() + y)

    def mul(self, x: QTensor, y: QTensor) -> QTensor:
        """x * y."""
        return self._requantized(x.dequantize() * y.dequantize())

    def mul_scalar(self, x: QTensor, y: float) -> QTensor:
        """x * y for a number y."""
        return self._requantized(x.dequantize() * y)

    def cat(self, x: list[QTensor], dim: int = 0) -> QTensor:
        """The tensors one after the other along `dim`."""
        return self._requantized(cat([t.dequantize() for t in x], dim))

    def add_relu(self, x: QTensor, y: QTensor) -> QTensor:
        """max(x + y, 0)."""
        return self._requantized((x.dequantize() + y.dequantize()).relu())

    def matmul(self, x: QTensor, y: QTensor) -> QTensor:
        """x @ y."""
        return self._requantized(x.dequantize() @ y.dequantize())
