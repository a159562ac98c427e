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
from ..dtypes import qint8, quint8
from ..kernels.recurrent import logistic, steps
from ..nn import attention, rnn
from ..nn.module import Module
from ..tensor import Tensor
from .forms import dynamic_product, rows_of
from .observer import PER_CHANNEL
from .qconfig import default_dynamic_qconfig, float_qparams_weight_only_qconfig
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
        return cls(quantized_weight(mod.weight, qconfig_of(mod, default_dynamic_qconfig).weight()), mod.bias)

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


class Embedding(Module):
    """Rows of a quantized table (num_embeddings, embedding_dim), as floats."""

    def __init__(self, weight: QTensor) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = weight.shape
        self.register_buffer("_weight", weight)

    @classmethod
    def from_float(cls, mod: Any) -> Embedding:
        """The layer of a float Embedding: uint8 with a scale and a float zero point for each row, unless mod.qconfig says other.

        Raises NotImplementedError for a table whose rows are scaled when they are looked up (max_norm).
        """
        if mod.max_norm is not None:
            raise NotImplementedError(
                "quantized.Embedding: max_norm changes rows as they are looked up; apply it before"
            )
        qconfig = qconfig_of(mod, float_qparams_weight_only_qconfig)
        observer = qconfig.weight()
        if observer.dtype not in (qint8, quint8):
            raise RuntimeError(f"quantized.Embedding: tables are qint8 or quint8, got {observer.dtype}")
        return cls(quantized_weight(mod.weight, observer))

    def weight(self) -> QTensor:
        """The quantized table."""
        return self._weight

    def forward(self, indices: Tensor) -> Tensor:
        index = float_array("Embedding", indices)
        if index.dtype not in (np.int64, np.int32):
            raise RuntimeError(f"quantized.Embedding: expected indices of dtype int32 or int64, got {indices.dtype}")
        if index.size and not 0 <= index.min() <= index.max() < self.num_embeddings:
            raise IndexError(
                f"quantized.Embedding: indices from {index.min()} to {index.max()}, the table has {self.num_embeddings} rows"
            )
        return wrap(rows_of(self.weight(), index))

    def _get_name(self) -> str:
        return "QuantizedEmbedding"

    def extra_repr(self) -> str:
        weight = self.weight()
        return (
            f"num_embeddings={self.num_embeddings}, embedding_dim={self.embedding_dim}, dtype={weight.dtype}, "
            f"qscheme={weight.qscheme()}"
        )


class LSTM(rnn.LSTM):
    """An LSTM whose weights are int8: products of the inputs, of all steps at once, and of the states, step by step.

    Inputs, results and states are those of nn.LSTM, in float32. Raises NotImplementedError for one with proj_size.
    """

    @classmethod
    def from_float(cls, mod: Any) -> LSTM:
        """The layer of a float LSTM."""
        if mod.proj_size:
            raise NotImplementedError("quantized.dynamic.LSTM: states that are projected (proj_size) are not quantized")
        layer = _without_parameters(cls, mod)
        observer = qconfig_of(mod, default_dynamic_qconfig).weight
        for name, parameter in mod.named_parameters(recurse=False):
            whole = quantized_weight(parameter, observer()) if name.startswith("weight") else parameter.detach().clone()
            layer.register_buffer(name, whole)
        return layer

    def _check_dtype(self, x: Tensor) -> None:
        float_array("LSTM", x)
        if x.array.dtype != np.float32:
            raise ValueError(
                f"quantized.dynamic.LSTM: expected a float32 input, got {x.dtype}; convert it with float()"
            )

    def _sequence(self, x: Tensor, suffix: str, states: tuple[Tensor, ...], sizes: Any, reverse: bool) -> Any:
        w_ih, w_hh, b_ih, b_hh = self._weights(suffix)
        bias = (b_ih + b_hh).array if self.bias else None
        made = dynamic_product(x.array, w_ih, bias)  # (T, B, 4 H)
        h, c = (state.array.copy() for state in states)
        out = np.zeros((*x.shape[:2], self.hidden_size), np.float32)
        for t, n in steps(sizes, reverse):
            i, f, g, o = np.split(made[t, :n] + dynamic_product(h[:n], w_hh, None), 4, axis=1)
            c[:n] = logistic(f) * c[:n] + logistic(i) * np.tanh(g)
            h[:n] = out[t, :n] = logistic(o) * np.tanh(c[:n])
        return wrap(out), wrap(h), wrap(c)

    def _get_name(self) -> str:
        return "DynamicQuantizedLSTM"


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


def _without_parameters(cls: Any, mod: Module) -> Any:
    """A layer of class cls with the settings of another and none of its parameters."""
    layer = cls.__new__(cls)
    Module.__init__(layer)
    own = layer.__dict__
    own.update({name: value for name, value in mod.__dict__.items() if name not in own and name != "qconfig"})
    layer.training = mod.training
    return layer
