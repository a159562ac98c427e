"""Fake quantization: what a value becomes when it is quantized and taken back, in floats, for training that knows of it.

Rounding has the derivative 0 almost everywhere, from which nothing is learned. The rule here pretends that it is the identity, and
that only values beyond the ends, which saturate, have no influence: the *straight-through estimator*.

Sources: Bengio, Léonard and Courville, "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
Computation", 2013; Jacob and others, "Quantization and Training of Neural Networks ...", 2018.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.op import Op
from ..kernels import array_module
from ..tensor import Tensor
from ..testing.samples import Sample, samples
from .selection import where


class FakeQuantize(Op):
    """(clip(round(x / scale) + zero_point, low, high) - zero_point) * scale; scale and zero_point broadcast against x.

    NaN stays NaN; infinities become the value of an end, as every number beyond it.
    """

    def forward(self, x: Any, *, scale: Any, zero_point: Any, low: int, high: int) -> Any:
        xp = array_module(x)
        scale, zero_point = xp.asarray(scale), xp.asarray(zero_point)
        integers = xp.rint(x * (1 / scale))
        self.inside = (integers >= low - zero_point) & (integers <= high - zero_point)
        return (xp.clip(integers, low - zero_point, high - zero_point) * scale).astype(x.dtype)

    def backward(self, g: Any) -> Any:
        return where(self.inside, g, 0.0)


@samples(FakeQuantize)
def _(make: Any) -> Any:
    one = np.float32(1)
    yield Sample(
        make(2, 3), scale=0.5 * one, zero_point=0 * one, low=-128, high=127, smooth=False, note="a step function"
    )
    yield Sample(make(2, 3), scale=0.125 * one, zero_point=3 * one, low=0, high=15, smooth=False, note="some saturate")
    scales, zeros = np.array([[0.5], [0.25]], np.float32), np.array([[0.0], [1.0]], np.float32)
    yield Sample(make(2, 3), scale=scales, zero_point=zeros, low=-2, high=1, smooth=False, note="a scale for each row")


def fake_quantize_per_tensor_affine(
    input: Tensor, scale: Any, zero_point: Any, quant_min: int, quant_max: int
) -> Tensor:
    """The values that quantize_per_tensor(...).dequantize() gives, in floats, for integers from quant_min to quant_max.

    The gradient passes where nothing saturates. scale and zero_point: numbers, or tensors of one element.
    Raises RuntimeError for quant_min above quant_max or a zero point that is not between them.

    Example:
        >>> minidl.fake_quantize_per_tensor_affine(minidl.tensor([0.26, 9.0]), 0.1, 0, 0, 15)
        tensor([0.3000, 1.5000])
    """
    name = "fake_quantize_per_tensor_affine"
    scale, zero = (np.asarray(_array(v)).reshape(-1) for v in (scale, zero_point))
    if scale.size != 1 or zero.size != 1:
        raise RuntimeError(f"{name}: expected one scale and one zero point, got {scale.size} and {zero.size}")
    return _fake(name, input, scale[0], zero[0], quant_min, quant_max)


def fake_quantize_per_channel_affine(
    input: Tensor, scale: Tensor, zero_point: Tensor, axis: int, quant_min: int, quant_max: int
) -> Tensor:
    """fake_quantize_per_tensor_affine with a scale and a zero point (C,) for each slice along `axis`."""
    name = "fake_quantize_per_channel_affine"
    if not 0 <= axis < input.ndim:
        raise RuntimeError(
            f"{name}: `axis` must be between 0 and number of dimensions of input, {input.ndim}, got {axis}"
        )
    C, arrays = input.shape[axis], (_array(scale), _array(zero_point))
    if any(v.shape != (C,) for v in arrays):
        got = " and ".join(str(list(v.shape)) for v in arrays)
        raise RuntimeError(
            f"{name}: dimensions of scale and zero-point must be [{C}], as input.shape[{axis}], got {got}"
        )
    shape = [C if d == axis else 1 for d in range(input.ndim)]
    scales, zeros = (v.reshape(shape) for v in arrays)
    return _fake(name, input, scales, zeros, quant_min, quant_max)


def _array(v: Any) -> Any:
    return v.array if isinstance(v, Tensor) else np.asarray(v)


def _fake(name: str, input: Tensor, scale: Any, zero: Any, low: int, high: int) -> Tensor:
    if low > high:
        raise RuntimeError(f"{name}: `quant_min` should be less than or equal to `quant_max`, got {low} and {high}")
    if ((zero < low) | (zero > high)).any():
        raise RuntimeError(f"{name}: `zero_point` must be between `quant_min` {low} and `quant_max` {high}, got {zero}")
    scale, zero = scale.astype(np.float32), zero.astype(np.float32)
    if not ((scale >= np.finfo(np.float32).tiny) & (scale < np.inf)).all():  # below it 1 / scale may be infinite
        raise RuntimeError(f"{name}: scales are positive and finite, got {scale}")
    return FakeQuantize.apply(input, scale=scale, zero_point=zero, low=low, high=high)


__all__ = ["fake_quantize_per_channel_affine", "fake_quantize_per_tensor_affine"]
