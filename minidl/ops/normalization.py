"""Layer, RMS, batch, group and instance normalization, and lengths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..autograd.op import Op, wrap
from ..autograd.precision import holds_bfloat16, in_float32, rounded, under_autocast, widened
from ..autograd.storage import mark_written
from ..kernels import groupnorm as group_kernels
from ..kernels import layernorm as kernels
from ..kernels.common import rows
from ..tensor import Tensor
from ..testing.samples import Sample, samples
from .exponential import rsqrt
from .reduction import norm as _norm


class LayerNorm(Op):
    """(x - mean) / sqrt(var + eps) over the last axis of x (..., D), times weight plus bias."""

    has_bfloat16_kernel = has_bfloat16_rule = True
    precision = "full on cuda"
    mixes = True

    def forward(self, x: Any, weight: Any, bias: Any, *, eps: float) -> Any:
        self.eps = eps
        out, self.mean, self.rstd = kernels.layer_norm(rows(x), weight, bias, eps)
        return out.reshape(x.shape)

    def backward(self, g: Any, x: Any, weight: Any) -> Any:
        dx, dweight, dbias = kernels.layer_norm_backward(rows(g), rows(x), self.mean, self.rstd, weight)
        return dx.reshape(x.shape), dweight, dbias

    def composite(self, g: Any, x: Any, weight: Any) -> Any:
        centred = x - x.mean(axis=-1, keepdims=True)
        rstd = rsqrt((centred * centred).mean(axis=-1, keepdims=True) + self.eps)
        xhat = centred * rstd
        h = g if weight is None else g * weight
        dx = rstd * (h - h.mean(axis=-1, keepdims=True) - xhat * (h * xhat).mean(axis=-1, keepdims=True))
        return dx, _sum_of_rows(g * xhat), _sum_of_rows(g)


class RMSNorm(Op):
    """x / sqrt(mean of x^2 + eps) over the last axis of x (..., D), times weight."""

    has_bfloat16_kernel = has_bfloat16_rule = True
    precision = "full on cuda"
    mixes = True

    def forward(self, x: Any, weight: Any, *, eps: float) -> Any:
        self.eps = eps
        out, self.rstd = kernels.rms_norm(rows(x), weight, eps)
        return out.reshape(x.shape)

    def backward(self, g: Any, x: Any, weight: Any) -> Any:
        dx, dweight = kernels.rms_norm_backward(rows(g), rows(x), self.rstd, weight)
        return dx.reshape(x.shape), dweight

    def composite(self, g: Any, x: Any, weight: Any) -> Any:
        rstd = rsqrt((x * x).mean(axis=-1, keepdims=True) + self.eps)
        xhat = x * rstd
        h = g if weight is None else g * weight
        return rstd * (h - xhat * (h * xhat).mean(axis=-1, keepdims=True)), _sum_of_rows(g * xhat)


def _sum_of_rows(t: Any) -> Any:
    return t.sum(axis=tuple(range(t.ndim - 1))) if t.ndim > 1 else t


@samples(RMSNorm)
def _(make: Any) -> Any:
    yield Sample(make(4, 5), make(5), eps=1e-5)
    yield Sample(make(2, 3, 4), make(4), eps=1e-5)
    yield Sample(make(4, 5), None, eps=1e-5, note="without weight")


@samples(LayerNorm)
def _(make: Any) -> Any:
    yield Sample(make(4, 5), make(5), make(5), eps=1e-5)
    yield Sample(make(2, 3, 4), make(4), make(4), eps=1e-5)
    yield Sample(make(4), make(4), make(4), eps=1e-5)
    yield Sample(make(4, 5), None, None, eps=1e-5, note="without weight and bias")


def layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalize over the last dimensions, of `normalized_shape`; then times weight plus bias, of that shape.

    Source: Ba, Kiros and Hinton, "Layer Normalization", 2016.
    """
    x, flat = _along_one_axis("layer_norm", input, normalized_shape, weight, bias)
    out = LayerNorm.apply(x, *flat, eps=eps)
    return out if x is input else out.reshape(input.shape)


def rms_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """Divide by the root of the mean square over the last dimensions; then times weight, of their shape.

    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
    """
    x, flat = _along_one_axis("rms_norm", input, normalized_shape, weight)
    out = RMSNorm.apply(x, *flat, eps=dtypes.finfo(input.dtype).eps if eps is None else eps)
    return out if x is input else out.reshape(input.shape)


def _along_one_axis(
    name: str, input: Tensor, normalized_shape: Any, *parameters: Tensor | None
) -> tuple[Tensor, list[Any]]:
    """input as (..., D), D being the product of normalized_shape, and each parameter as (D,)."""
    shape = tuple(normalized_shape) if isinstance(normalized_shape, (list, tuple)) else (int(normalized_shape),)
    _check_tail(name, input, shape)
    for t in parameters:
        if t is not None and t.array.shape != shape:
            raise RuntimeError(
                f"{name}: expected weight and bias of the shape normalized_shape, {list(shape)}, got {list(t.shape)}"
            )
    if len(shape) == 1:
        return input, list(parameters)
    flat = [None if t is None else t.reshape(-1) for t in parameters]
    return input.reshape(-1 if input.numel() else 0, math.prod(shape)), flat


def _check_tail(name: str, input: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(input.array.shape[-len(shape) :]) != shape:
        raise RuntimeError(
            f"{name}: Given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], but got "
            f"input of size{list(input.shape)}"
        )


def _in_usual_layout(input: Tensor) -> Tensor:
    """The input row-major, unless it is channels-last already: the result lies as it does."""
    x = input.array
    usual = x.flags.c_contiguous or x.transpose(0, *range(2, x.ndim), 1).flags.c_contiguous
    return input if usual else input.contiguous()


class GroupNorm(Op):
    """x (B, C, ...) brought to mean 0 and variance 1 in sets, times weight plus bias (C,); see kernels/groupnorm.py.

    statistics: a list that gets the means and the variances of the sets.
    """

    precision = "full on cuda"
    mixes = True

    def forward(
        self,
        x: Any,
        weight: Any,
        bias: Any,
        *,
        groups: int,
        shared: bool,
        eps: float,
        statistics: list[Any] | None = None,
    ) -> Any:
        out, self.mean, self.var = group_kernels.group_norm(x, weight, bias, groups, shared, eps)
        self.settings = groups, shared, eps
        if statistics is not None:
            statistics += (self.mean, self.var)
        return out

    def backward(self, g: Any, x: Any, weight: Any) -> Any:
        return group_kernels.group_norm_backward(g, x, weight, self.mean, self.var, *self.settings)

    def composite(self, g: Any, x: Any, weight: Any) -> Any:
        groups, shared, eps = self.settings
        sets = (x.shape[0], groups, x.shape[1] // groups, -1)
        axes: Any = (0, 2, 3) if shared else (2, 3)
        centred = x.reshape(sets) - x.reshape(sets).mean(axes, True)
        rstd = rsqrt((centred * centred).mean(axes, True) + eps)
        xhat, slopes = centred * rstd, g.reshape(sets)
        h = slopes if weight is None else slopes * weight.reshape(1, groups, -1, 1)
        dx = rstd * (h - h.mean(axes, True) - xhat * (h * xhat).mean(axes, True))
        return dx.reshape(x.shape), (slopes * xhat).sum((0, 3)).reshape(-1), slopes.sum((0, 3)).reshape(-1)


class NormByRunning(Op):
    """(x - mean) / sqrt(var + eps) of x (B, C, ...), times weight plus bias (C,), for a mean and a var (C,) that are given."""

    precision = "full on cuda"
    mixes = True

    def forward(self, x: Any, weight: Any, bias: Any, *, mean: Any, var: Any, eps: float) -> Any:
        out, self.mean, self.rstd = group_kernels.running_norm(x, weight, bias, mean, var, eps)
        return out

    def backward(self, g: Any, x: Any, weight: Any) -> Any:
        return group_kernels.running_norm_backward(g, x, weight, self.mean, self.rstd)

    def composite(self, g: Any, x: Any, weight: Any) -> Any:
        every, by_channel = (0, *range(2, x.ndim)), (-1, *(1,) * (x.ndim - 2))
        mean, rstd = wrap(self.mean.reshape(by_channel)), wrap(self.rstd.reshape(by_channel))
        dx = g * rstd if weight is None else g * rstd * weight.reshape(by_channel)
        return dx, (g * (x - mean) * rstd).sum(every), g.sum(every)


@samples(GroupNorm)
def _(make: Any) -> Any:
    yield Sample(make(3, 4, 2, 3), make(4), make(4), groups=4, shared=True, eps=1e-5, note="batch normalization")
    yield Sample(make(4, 3), None, None, groups=3, shared=True, eps=1e-5, note="without positions, weight and bias")
    yield Sample(make(2, 4, 5), make(4), make(4), groups=2, shared=False, eps=1e-5, note="group normalization")
    yield Sample(make(2, 3, 5), None, make(3), groups=3, shared=False, eps=1e-5, note="instance normalization")


@samples(NormByRunning)
def _(make: Any) -> Any:
    statistics = {"mean": make(3), "var": make(3, low=0.5), "eps": 1e-5}
    yield Sample(make(2, 3, 4, 2), make(3), make(3), **statistics)
    yield Sample(make(4, 3), None, None, **statistics, note="without positions, weight and bias")


def _check_floats(name: str, input: Tensor) -> None:
    if input.array.dtype.kind not in dtypes.FLOATING:
        raise RuntimeError(f"{name}: not implemented for {input.dtype}; convert the input with float()")


def _follow(running: tuple[Tensor | None, Tensor | None], mean: Any, var: Any, n: int, momentum: float) -> None:
    """Move the running mean and variance towards those of n values; the variance as an estimate, with n - 1."""
    for estimate, now in zip(running, (mean, var * (n / (n - 1)) if n else var), strict=True):
        if estimate is not None and n:  # an empty batch says nothing of mean and variance
            moved = (1 - momentum) * widened(estimate.array) + momentum * now
            estimate.array[...] = rounded(moved) if holds_bfloat16(estimate.array) else moved
            mark_written(estimate)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel of (B, C, ...) over batch and positions; in training the running statistics are updated.

    Source: Ioffe & Szegedy, "Batch Normalization", 2015.
    """
    if eps <= 0:
        raise ValueError(f"batch_norm: eps must be positive, got {eps}")
    if input.array.ndim < 2:
        if input.numel():
            raise RuntimeError(f"batch_norm: expected an input (B, C, ...), got one of shape {list(input.shape)}")
        return input.clone()
    _check_floats("batch_norm", input)
    input = _in_usual_layout(input)
    n = input.numel() // max(input.array.shape[1], 1)
    if training:
        if n == 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
        found: list[Any] = []
        channels = input.array.shape[1]
        out = GroupNorm.apply(input, weight, bias, groups=channels, shared=True, eps=eps, statistics=found)
        mean, var = (s[0] for s in found)
        _follow((running_mean, running_var), mean, var, n, momentum)
        return out
    if running_mean is None or running_var is None:
        raise ValueError("batch_norm: Expected running_mean and running_var to be defined when training=False")
    devices.check_same("batch_norm", input, running_mean, running_var)
    mean, var = widened(running_mean.array), widened(running_var.array)
    return NormByRunning.apply(input, widened(weight), widened(bias), mean=mean, var=var, eps=eps)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Bring each channel of each sample of (B, C, ...) to mean 0 and variance 1 over its positions.

    With use_input_stats=False by running_mean and running_var, which otherwise follow the samples' means.
    Source: Ulyanov, Vedaldi & Lempitsky, "Instance Normalization", 2016.
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    n = input[0, 0].numel() if input.numel() else 0
    if n == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.shape}")
    _check_floats("instance_norm", input)
    input = _in_usual_layout(input)
    found: list[Any] = []
    channels = input.array.shape[1]
    out = GroupNorm.apply(input, weight, bias, groups=channels, shared=False, eps=eps, statistics=found)
    mean, var = (s.mean(0) for s in found)
    _follow((running_mean, running_var), mean, var, n, momentum)
    return out


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """input (B, C, ...) divided by (k + alpha * mean of the squares of `size` neighbouring channels)^beta.

    Source: Krizhevsky, Sutskever & Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012.
    """
    from .padding import pad
    from .pooling import avg_pool2d

    if input.array.ndim < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.array.ndim} dimensions)")
    if not input.numel():
        return input
    squares = (input * input).reshape(input.shape[0], 1, input.shape[1], -1)
    means = avg_pool2d(pad(squares, (0, 0, size // 2, (size - 1) // 2)), (size, 1), 1).reshape(input.shape)
    return input / (means * alpha + k) ** beta


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalize groups of channels of (B, C, ...), each over its channels and positions (Wu & He, 2018)."""
    C = input.array.shape[1]
    if num_groups <= 0 or C % num_groups:
        raise RuntimeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape {list(input.shape)} "
            f"and num_groups={num_groups}"
        )
    _check_floats("group_norm", input)
    return GroupNorm.apply(input, weight, bias, groups=num_groups, shared=False, eps=eps)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Divide by the p-norm along `dim`, or by eps where that is larger."""
    return input / _norm(input, p, dim, True).clamp_min(eps)


@under_autocast("full on cuda")
@in_float32
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between x1 and x2 along `dim`; lengths below eps count as eps."""
    shape = np.broadcast_shapes(x1.array.shape, x2.array.shape)
    x1, x2 = x1.expand(shape), x2.expand(shape)
    lengths = [_norm(x, 2.0, dim, True).clamp_min(eps) for x in (x1, x2)]
    return ((x1 / lengths[0]) * (x2 / lengths[1])).sum(dim)


@in_float32
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last dimension."""
    return _norm(x1 - x2 + eps, p, -1, keepdim)


__all__ = ["batch_norm", "cosine_similarity", "group_norm", "layer_norm", "pairwise_distance", "rms_norm"]
