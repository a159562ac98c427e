"""What statically quantized layers share: the scale of the result, and products of bytes with int8 weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.op import wrap
from ..dtypes import qint8, quint8
from ..kernels.qlinear import Weights, qlinear_requantized
from ..nn.module import Module
from ..tensor import Tensor
from . import intrinsic, qat
from .dynamic import quantized_weight
from .qconfig import default_weight_observer
from .tensor import QTensor, quantize_per_tensor

WITH_RELU = tuple(
    found
    for of in (intrinsic, qat)
    for name, found in vars(of).items()
    if name.endswith(("ReLU", "ReLU1d", "ReLU2d", "ReLU3d"))
)


class _Quantized(Module):
    """A layer whose result has the scale and the zero point of two buffers."""

    def __init__(self, scale: Any, zero_point: Any, dtype: Any = quint8) -> None:
        super().__init__()
        self._set_scale(scale, zero_point, dtype)

    def _set_scale(self, scale: Any, zero_point: Any, dtype: Any) -> None:
        scale, zero_point = (getattr(v, "array", v) for v in (scale, zero_point))
        self.register_buffer("scale", wrap(np.array(scale, np.float32).reshape(())))
        self.register_buffer("zero_point", wrap(np.array(zero_point, np.int32).reshape(())))
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


class WeightedQuantizedModule(_Quantized):
    """What Linear and the convolutions share: int8 weights, a float bias, ReLU or not. These are the layers that multiply bytes."""

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
        if bias is not None and not np.isfinite(bias.detach().array).all():
            raise ValueError(f"quantized.{cls.__name__}: the bias has NaN or infinite elements")
        relu = isinstance(mod, WITH_RELU)
        return cls._like(
            layer, cls._in_bytes(layer, weight, weight_observer), bias, relu, *observer.calculate_qparams()
        )

    @classmethod
    def _in_bytes(cls, mod: Any, weight: Tensor, observer: Any) -> QTensor:
        """The weight of a float layer as integers. Raises where the kernels cannot take it."""
        found = quantized_weight(weight, observer)
        found.weights()
        return found

    def weight(self) -> QTensor:
        """The quantized weight."""
        return self._weight

    def bias(self) -> Tensor | None:
        """The bias, float32; in the sums it is an integer."""
        return self._bias

    def _get_name(self) -> str:
        return f"{super()._get_name()}{'ReLU' if self.relu else ''}"


def product(layer: WeightedQuantizedModule, x: Any, scale: Any, zero: int, weights: Weights, bias: Any) -> Any:
    """Rows of bytes times weights, in the integers of the layer's result."""
    out_scale, out_zero = np.float32(layer.scale.array), int(layer.zero_point.array)
    return qlinear_requantized(x, scale, zero, weights, bias, layer.relu, out_scale, out_zero)
