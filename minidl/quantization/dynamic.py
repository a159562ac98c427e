"""Layers with quantized weights and float inputs, which are quantized for the while of each product: dynamic quantization.

Each takes and returns float32 and holds int8 weights, a quarter of the memory. No calibration is needed, and a scale is as good as
the batch at hand allows; it costs a pass over the input. Results are in no graph: no gradient passes. PyTorch's names are in
torch.ao.nn.quantized.dynamic.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.grad_mode import no_grad
from ..autograd.op import wrap
from ..kernels.recurrent import sigmoid, steps
from ..nn import attention, rnn
from ..nn.module import Module
from ..tensor import Tensor
from .forms import dynamic_product
from .observer import PER_CHANNEL
from .qconfig import default_dynamic_qconfig
from .tensor import QTensor, quantized


def quantized_weight(weight: Tensor, observer: Any) -> QTensor:
    """A weight as integers, with the scale that an observer of weights, fresh or one that has observed, finds for it."""
    with no_grad():
        weight = weight.detach()
        observer(weight)
    scale, zero = observer.calculate_qparams()
    inner = getattr(observer, "activation_post_process", observer)
    axis = inner.ch_axis if inner.qscheme in PER_CHANNEL else None
    return quantized(weight, scale, zero, inner.dtype, axis, "quantized_weight", inner.quant_min, inner.quant_max)


def qconfig_of(module: Module, default: Any) -> Any:
    """The QConfig that a layer was given, or a default."""
    given = getattr(module, "qconfig", None)
    return default if given is None else given


class Linear(Module):
    """x Wᵀ + b with int8 weights (out_features, in_features): the input is quantized to uint8, the sums are int32.

    Made by quantize_dynamic, or `from_float` with the scales that layer.qconfig says. Raises RuntimeError for an input that is
    not float32, ValueError for one that is not finite.
    """

    def __init__(self, weight: QTensor, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.register_buffer("_weight", weight)
        self.register_buffer("_bias", None if bias is None else bias.detach().clone())

    @classmethod
    def from_float(cls, mod: Any) -> Linear:
        """The layer of a float Linear."""
        weight = quantized_weight(mod.weight, qconfig_of(mod, default_dynamic_qconfig).weight())
        weight.weights()  # raises where the kernels cannot take it
        return cls(weight, mod.bias)

    def weight(self) -> QTensor:
        """The quantized weight."""
        return self._weight

    def bias(self) -> Tensor | None:
        """The bias, float32."""
        return self._bias

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self._weight, self._bias
        return wrap(dynamic_product(float_array("Linear", input), weight, None if bias is None else bias.array))

    def _get_name(self) -> str:
        return "DynamicQuantizedLinear"

    def extra_repr(self) -> str:
        weight = self.weight()
        return f"in_features={self.in_features}, out_features={self.out_features}, dtype={weight.dtype}, qscheme={weight.qscheme()}"


def float_array(name: str, input: Any) -> Any:
    """The array of a float input. Raises TypeError for a quantized one, or what is no tensor."""
    if not isinstance(input, Tensor) or input.is_quantized:
        got = input.dtype if isinstance(input, Tensor) else type(input).__name__
        raise TypeError(
            f"quantized.dynamic.{name}: expected a tensor of floats, got {got}; it quantizes its input itself: leave out QuantStub, "
            "or use the static layer"
        )
    return input.array


class _Recurrent(rnn.RNNBase):
    """A recurrent layer whose weights are int8: products of the inputs, of all steps at once, and of the states, step by step.

    Inputs, results and states are those of the float layer, in float32.
    """

    @classmethod
    def from_float(cls, mod: Any) -> Any:
        """The layer of a float one. Raises NotImplementedError for states that are projected (proj_size)."""
        if mod.proj_size:
            raise NotImplementedError(
                f"quantized.dynamic.{cls.__name__}: states that are projected (proj_size) are not quantized"
            )
        return _of_weights(cls, mod)

    def _check_dtype(self, x: Tensor) -> None:
        if x.is_cuda:
            raise RuntimeError(
                f"quantized.dynamic.{self.mode}: recurrent layers in bytes are for the CPU, got an input on {x.device}; move it and "
                "the layer with cpu()"
            )
        if float_array(self.mode, x).dtype != np.float32:
            raise ValueError(
                f"quantized.dynamic.{self.mode}: expected a float32 input, got {x.dtype}; convert it with float()"
            )

    def _get_name(self) -> str:
        return f"DynamicQuantized{type(self).__name__}"


class LSTM(_Recurrent, rnn.LSTM):
    """An LSTM with int8 weights. Raises NotImplementedError for one with proj_size."""

    def _sequence(self, x: Tensor, suffix: str, states: tuple[Tensor, ...], sizes: Any, reverse: bool) -> Any:
        w_ih, w_hh, b_ih, b_hh = self._weights(suffix)
        bias = (b_ih + b_hh).array if self.bias else None
        made = dynamic_product(x.array, w_ih, bias)  # (T, B, 4 H)
        h, c = (state.array.copy() for state in states)
        out = np.zeros((*x.shape[:2], self.hidden_size), np.float32)
        for t, n in steps(sizes, reverse):
            i, f, g, o = np.split(made[t, :n] + dynamic_product(h[:n], w_hh, None), 4, axis=1)
            c[:n] = sigmoid(f) * c[:n] + sigmoid(i) * np.tanh(g)
            h[:n] = out[t, :n] = sigmoid(o) * np.tanh(c[:n])
        return wrap(out), wrap(h), wrap(c)


class GRU(_Recurrent, rnn.GRU):
    """A GRU with int8 weights."""

    def _sequence(self, x: Tensor, suffix: str, states: tuple[Tensor, ...], sizes: Any, reverse: bool) -> Any:
        w_ih, w_hh, *biases = self._weights(suffix)
        b_ih, b_hh = (None if b is None else b.array for b in biases)
        made = dynamic_product(x.array, w_ih, b_ih)  # (T, B, 3 H)
        h = states[0].array.copy()
        out = np.zeros((*x.shape[:2], self.hidden_size), np.float32)
        for t, n in steps(sizes, reverse):
            xr, xz, xn = np.split(made[t, :n], 3, axis=1)
            hr, hz, hn = np.split(dynamic_product(h[:n], w_hh, b_hh), 3, axis=1)
            z = sigmoid(xz + hz)
            h[:n] = out[t, :n] = (1 - z) * np.tanh(xn + sigmoid(xr + hr) * hn) + z * h[:n]
        return wrap(out), wrap(h)


class _Cell(rnn.RNNCellBase):
    """A recurrent cell with int8 weights: its two products are linear(), which quantizes their inputs."""

    @classmethod
    def from_float(cls, mod: Any) -> Any:
        """The cell of a float one."""
        return _of_weights(cls, mod)

    def _check(self, input: Tensor, h: Tensor) -> None:
        for x in (input, h):
            if float_array(type(self).__name__, x).dtype != np.float32:
                raise ValueError(
                    f"quantized.dynamic.{type(self).__name__}: expected a float32 input and state, got {x.dtype}; convert it "
                    "with float()"
                )
        super()._check(input, h)

    def _get_name(self) -> str:
        return f"DynamicQuantized{type(self).__name__}"


class RNNCell(_Cell, rnn.RNNCell):
    """An RNNCell with int8 weights."""


class LSTMCell(_Cell, rnn.LSTMCell):
    """An LSTMCell with int8 weights."""

    _next = rnn.LSTMCell._in_parts


class GRUCell(_Cell, rnn.GRUCell):
    """A GRUCell with int8 weights."""

    _next = rnn.GRUCell._in_parts


class MultiheadAttention(attention.MultiheadAttention):
    """Attention with several heads whose four projections have int8 weights; what lies between them is float32.

    PyTorch quantizes none of them dynamically: its attention reads the weights of its parts.
    """

    @classmethod
    def from_float(cls, mod: Any) -> MultiheadAttention:
        """The layer of a float MultiheadAttention."""
        layer = _without_parameters(cls, mod)
        observer = qconfig_of(mod, default_dynamic_qconfig).weight
        layer._qkv_same_embed_dim = False  # a weight, and a scale, for each of the three
        names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        whole = (getattr(mod, n) for n in names) if mod.in_proj_weight is None else mod.in_proj_weight.detach().chunk(3)
        for name, weight in zip(names, whole, strict=True):
            layer.register_buffer(name, quantized_weight(weight, observer()))
        for name in ("in_proj_weight", "in_proj_bias", "bias_k", "bias_v"):
            value = getattr(mod, name)
            layer.register_buffer(name, None if value is None or name == "in_proj_weight" else value.detach().clone())
        layer.out_proj = Projection(quantized_weight(mod.out_proj.weight, observer()), mod.out_proj.bias)
        return layer

    def _get_name(self) -> str:
        return "DynamicQuantizedMultiheadAttention"


class Projection(Module):
    """A quantized weight and a float bias, as attributes: what MultiheadAttention reads of its output layer."""

    def __init__(self, weight: QTensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())


def _of_weights(cls: Any, mod: Module) -> Any:
    """A layer of class cls like another, whose weights are quantized as layer.qconfig says; its biases stay."""
    layer = _without_parameters(cls, mod)
    observer = qconfig_of(mod, default_dynamic_qconfig).weight
    for name, parameter in mod._parameters.items():
        if parameter is None:
            layer.register_buffer(name, None)
        else:
            whole = quantized_weight(parameter, observer()) if name.startswith("weight") else parameter.detach().clone()
            layer.register_buffer(name, whole)
    return layer


def _without_parameters(cls: Any, mod: Module) -> Any:
    """A layer of class cls with the settings of another and none of its parameters."""
    layer = cls.__new__(cls)
    Module.__init__(layer)
    own = layer.__dict__
    own.update({name: value for name, value in mod.__dict__.items() if name not in own and name != "qconfig"})
    layer.training = mod.training
    return layer
