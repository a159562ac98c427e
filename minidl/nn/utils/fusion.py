"""A convolution or linear layer and the batch normalisation after it as one layer, for evaluation."""

from __future__ import annotations

import copy
from typing import Any

from ...ops.creation import ones_like, zeros_like
from ...tensor import Tensor
from ..parameter import Parameter


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of one convolution that does what a convolution and a normalisation by running estimates do.

    transpose: for a transposed convolution, whose weight (C, O / groups, *K) has its outputs in dimension 1.
    """
    scale = (ones_like(bn_rm) if bn_w is None else bn_w) * (bn_rv + bn_eps).rsqrt()
    bias = zeros_like(bn_rm) if conv_b is None else conv_b
    shift = zeros_like(bn_rm) if bn_b is None else bn_b
    ones = (1,) * (conv_w.ndim - 2)
    if transpose:
        groups = len(bn_rm) // conv_w.shape[1]
        by_group = conv_w.reshape(groups, -1, *conv_w.shape[1:])
        scaled = (by_group * scale.reshape(groups, 1, -1, *ones)).reshape(conv_w.shape)
    else:
        scaled = conv_w * scale.reshape(-1, 1, *ones)
    fused = scaled.to(conv_w.dtype), ((bias - bn_rm) * scale + shift).to(bias.dtype)
    weight, bias = (Parameter(t.detach(), conv_w.requires_grad) for t in fused)
    return weight, bias


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of a convolution that also does what the batch normalisation after it does in evaluation.

    Raises AssertionError if either is in training: what the normalisation does then depends on the batch.
    """
    if conv.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None:
        raise ValueError(
            "fusion: the normalization has no running estimates (track_running_stats=False), so it is no fixed layer"
        )
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of one linear layer that does what a linear layer and a normalisation by running estimates do."""
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of a linear layer that also does what the batch normalisation after it does in evaluation.

    Raises AssertionError if either is in training, or if their sizes differ and neither is 1.
    """
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError(
            f"fuse_linear_bn_eval: bn.num_features {bn.num_features} must equal linear.out_features {linear.out_features}, or 1"
        )
    return fuse_conv_bn_eval(linear, bn)
