"""What operations do on quantized tensors; the mechanism is that of sparse/forms.py.

Operations that move elements or pick some move integers. Where weights are quantized and the input is not, the input is
quantized for the while of the product, with the range that it has: *dynamic* quantization.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from .. import devices
from ..autograd.op import Op, wrap
from ..kernels import array_module
from ..kernels.int8 import linear_int8
from ..kernels.qlinear import qlinear
from ..kernels.quantize import finite_range, quantize
from ..ops.activation import ReLU
from ..ops.indexing import Slice, Take
from ..ops.joining import Narrow, Select, Split, Unbind
from ..ops.linalg import Linear
from ..ops.selection import Clamp
from ..ops.shape import Permute, Reshape, Squeeze, Transpose, Unsqueeze
from ..tensor import Tensor
from .tensor import QTensor, affine, quantize_per_tensor


def on_quantized(*ops: type[Op]) -> Callable[[Any], Any]:
    """Register the decorated function as what these operations do where an input is a quantized tensor."""

    def register(function: Any) -> Any:
        for op in ops:
            op.on_quantized = staticmethod(function)
        return function

    return register


def _moves_elements(op: type[Op]) -> None:
    @on_quantized(op)
    def form(x: QTensor, **params: Any) -> Any:
        found = object.__new__(op).forward(x.integers, **params)
        return tuple(map(x.like, found)) if isinstance(found, tuple) else x.like(np.asarray(found))


_op: type[Op]
for _op in (Narrow, Permute, Reshape, Select, Slice, Split, Squeeze, Take, Transpose, Unbind, Unsqueeze):
    _moves_elements(_op)


@on_quantized(ReLU)
def relu(x: QTensor) -> QTensor:
    """Integers below the zero point become the zero point."""
    return x.like(np.maximum(x.integers, x.zero_point.astype(x.integers.dtype)))


@on_quantized(Clamp)
def clamp(x: Any, low: Any, high: Any) -> QTensor:
    """Integers below that of `low` become it, those above that of `high` that one."""
    if not isinstance(x, QTensor) or any(isinstance(end, Tensor) for end in (low, high)):
        raise TypeError("clamp: of a quantized tensor the ends are numbers; use dequantize() first")
    ends = (quantize_per_tensor(wrap(np.array(v, np.float32)), x.q_scale(), x.q_zero_point(), x.kind) if v is not None else None
            for v in (low, high))  # fmt: skip
    return x.like(x.integers.clip(*(None if end is None else end.integers for end in ends)))


@on_quantized(Linear)
def linear(x: Any, weight: Any, bias: Any) -> Tensor:
    """A float input times quantized weights, plus a float bias: dynamic quantization."""
    if isinstance(x, QTensor) or not isinstance(weight, QTensor) or isinstance(bias, QTensor):
        raise TypeError(
            f"linear: of a quantized input only the layer quantization.quantized.Linear knows the scale of the result; got input "
            f"{x.dtype}, weight {weight.dtype}; use dequantize() first"
        )
    return wrap(dynamic_product(x.array, weight, None if bias is None else bias.array))


def dynamic_product(x: Any, weight: QTensor, bias: Any, relu: bool = False) -> Any:
    """x (*, K), float32, times weight (N, K) transposed, plus bias (N,): (*, N).

    x is quantized to uint8 with the scale that its smallest and largest element need. Raises ValueError where one is not finite.
    """
    N, K = weight.shape
    place = weight.device
    if x.__class__ is not weight.integers.__class__ or x.dtype != np.float32:
        raise RuntimeError(
            f"linear with quantized weights: expected a float32 input on {place}, where the weights are, got {x.dtype} on "
            f"{devices.of_array(x)}"
        )
    if not x.ndim or x.shape[-1] != K:
        raise RuntimeError(f"linear with quantized weights: expected inputs of {K} features, got shape {list(x.shape)}")
    if place.type == "cuda":
        rows = x.reshape(prod(x.shape[:-1]), K)
        out = linear_int8(rows, weight.weights_on_gpu(), bias).reshape(*x.shape[:-1], N)
        return array_module(x).maximum(out, 0) if relu else out
    weights = weight.weights()
    rows = np.ascontiguousarray(x).reshape(x.size // K if K else 0, K)
    low, high = finite_range(rows)
    scale, zero = affine(low, high, 0, 255)
    integers = quantize(rows, scale, zero, 0, 255, np.uint8, -(-K // 4) * 4)
    return qlinear(integers, scale, int(zero), weights, bias, relu).reshape(*x.shape[:-1], N)
