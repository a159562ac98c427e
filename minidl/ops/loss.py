"""Losses. Each takes `reduction`: "mean" (default), "sum" or "none"."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import devices
from ..autograd.op import Op
from ..autograd.precision import bfloat16, half_of, in_float32, with_precision
from ..kernels import array_module, pointwise
from ..tensor import Tensor
from ..testing.samples import Sample, samples
from .activation import sigmoid, softplus
from .exponential import exp, log, xlogy
from .normalization import cosine_similarity, pairwise_distance
from .selection import clamp, where


class LogitLoss(Op):
    """The cross-entropy of the probability sigmoid(x) with the target y, without overflow."""

    promotion = "common"

    @staticmethod
    def forward(x: Any, y: Any) -> Any:
        return pointwise.logit_loss(x, y)

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        dx = None if self.edges[0] is None else pointwise.logit_loss_backward(g, x, y)
        return dx, None if self.edges[1] is None else -g * x

    def composite(self, g: Any, x: Any, y: Any) -> Any:
        return g * (sigmoid(x) - y), -g * x


class Huber(Op):
    """d^2 / (2 beta) where d = |x - y| is below beta, d - beta / 2 elsewhere."""

    promotion = "common"

    def forward(self, x: Any, y: Any, *, beta: float) -> Any:
        self.beta = beta
        return pointwise.huber(x, y, beta)

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        dx = pointwise.huber_backward(g, x, y, self.beta)
        return dx, None if self.edges[1] is None else -dx

    def composite(self, g: Any, x: Any, y: Any) -> Any:
        dx = g * ((x - y) / self.beta).clamp(-1.0, 1.0)
        return dx, -dx


@samples(LogitLoss)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), make(2, 3))
    yield Sample(np.array([-90.0, 90.0]), np.array([0.2, 0.7]), note="does not overflow")


@samples(Huber)
def _(make: Any) -> Any:
    yield Sample(np.array([0.3, 2.0, -1.0]), np.array([0.1, -0.5, 0.2]), beta=0.6)
    yield Sample(np.array([[0.3, 2.0, -1.0]]), np.array([[0.1, -0.5, 0.2], [1.9, 1.5, 0.4]]), beta=0.7)


def legacy_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """PyTorch's arguments of old, as a reduction."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        return "none"
    return "sum" if size_average is False else "mean"


def reduced(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"{reduction} is not a valid value for reduction; it is 'mean', 'sum' or 'none'")


def in_full(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A loss: in float32 at least under autocast, and with bfloat16 in float32 with one rounding."""
    rounding = in_float32(function)

    @functools.wraps(function)
    def loss(*args: Any, **kwargs: Any) -> Tensor:
        if half_of.get() is not None:
            args = tuple(with_precision("full", x) for x in args)
            kwargs = {name: with_precision("full", x) for name, x in kwargs.items()}
        return (function if bfloat16._dtype is None else rounding)(*args, **kwargs)

    return loss


def _paired(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A loss of input and target, element by element, with the arguments that all of those have."""

    @in_full
    def loss(
        input: Tensor, target: Tensor, *args: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
        weight: Tensor | None = None, **options: Any,
    ) -> Tensor:  # fmt: skip
        if input.array.shape != target.array.shape:
            warnings.warn(
                f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). This will likely "
                "lead to incorrect results due to broadcasting. Please ensure they have the same size.",
                stacklevel=2,
            )
        losses = function(input, target, *args, **options)
        if weight is not None:
            losses = losses * weight
            if (
                legacy_reduction(size_average, reduce, reduction) == "mean"
                and function.__name__ != "binary_cross_entropy"
            ):
                return losses.sum() / weight.expand(losses.shape).sum()
        return reduced(losses, legacy_reduction(size_average, reduce, reduction))

    loss.__name__ = loss.__qualname__ = function.__name__
    loss.__doc__ = function.__doc__
    loss.__wrapped__ = function  # type: ignore[attr-defined]
    return loss


@_paired
def mse_loss(input: Tensor, target: Tensor) -> Tensor:
    """(input - target)^2."""
    difference = input - target
    return difference * difference


@_paired
def l1_loss(input: Tensor, target: Tensor) -> Tensor:
    """|input - target|."""
    return (input - target).abs()


@in_full
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d^2 / (2 beta) where d = |input - target| is below beta, d - beta / 2 elsewhere (Girshick, 2015)."""
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss does not support negative values for beta, got {beta}")
    losses = (input - target).abs() if beta == 0 else Huber.apply(input, target, beta=beta)
    return reduced(losses, legacy_reduction(size_average, reduce, reduction))


@in_full
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """d^2 / 2 where d = |input - target| is at most delta, delta (d - delta / 2) elsewhere (Huber, 1964)."""
    if not isinstance(delta, (int, float)):
        raise TypeError(f"huber_loss: delta must be a float or int, got: {type(delta)}")
    if delta <= 0:
        raise RuntimeError(f"huber_loss does not support non-positive values for delta, got {delta}")
    losses = Huber.apply(input, target, beta=delta) * delta
    if weight is not None:
        losses = losses * weight
        if reduction == "mean":
            return losses.sum() / weight.sum()
    return reduced(losses, reduction)


class BCE(Op):
    """-(t log p + (1 - t) log(1 - p)), with logarithms held above -100; the slope is (p - t) / (p (1 - p))."""

    promotion = "common"

    def forward(self, p: Any, t: Any) -> Any:
        xp = array_module(p)
        with np.errstate(divide="ignore"):  # of 0, which is held as well
            yes, no = xp.log(p).clip(-100.0, 0.0), xp.log1p(-p).clip(-100.0, 0.0)
        return (t - 1) * no - t * yes

    def backward(self, g: Any, p: Any, t: Any) -> Any:
        wants_p, wants_t = self.edges
        dp = g * (p - t) / clamp(p * (1 - p), 1e-12, None) if wants_p else None
        return dp, g * (log(1 - p).clip(-100.0, 0.0) - log(p).clip(-100.0, 0.0)) if wants_t else None


@samples(BCE)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, low=0.1, high=0.9), make(2, 3, low=0.0, high=1.0))


@in_full
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """-(target log input + (1 - target) log(1 - input)) for probabilities; logarithms are held above -100."""
    if input.is_cuda and "cuda" in (half_of.get() or {}):
        raise RuntimeError(
            "binary_cross_entropy is unsafe to autocast: probabilities near 0 and 1 do not survive half precision; use "
            "binary_cross_entropy_with_logits or BCEWithLogitsLoss, which take the numbers before the sigmoid"
        )
    if input.array.shape != target.array.shape:
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated. Please "
            "ensure they have the same size."
        )
    if input.array.size and not ((input.array >= 0) & (input.array <= 1)).all():
        raise RuntimeError(
            "binary_cross_entropy: all elements of input should be between 0 and 1; use the one with_logits"
        )
    losses = BCE.apply(input, target)
    if weight is not None:
        losses = losses * weight
    return reduced(losses, legacy_reduction(size_average, reduce, reduction))


@in_full
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """binary_cross_entropy of sigmoid(input), without overflow; pos_weight multiplies the positive part."""
    if input.array.shape != target.array.shape:
        raise ValueError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    if pos_weight is None:
        losses: Any = LogitLoss.apply(input, target)
    else:
        losses = (1 - target) * input + softplus(-input, 1.0, math.inf) * (1 + (pos_weight - 1) * target)
    if weight is not None:
        losses = losses * weight
    return reduced(losses, legacy_reduction(size_average, reduce, reduction))


@in_full
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target (log target - input) for log-probabilities `input`; "batchmean" divides by the batch, as the definition wants."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if log_target:
        losses = exp(target) * (target - input)
    else:
        losses = xlogy(target, target) - target * input
    if reduction == "batchmean":
        return losses.sum() / float(input.array.shape[0] if input.array.ndim else 1)
    return reduced(losses, reduction)


@in_full
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: Any = None,
    eps: float = 1e-8,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of counts under Poisson rates input, or exp(input); `full` adds Stirling's term."""
    losses = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        stirling = target * log(target) - target + 0.5 * log(2 * math.pi * target)
        losses = losses + where(target > 1, stirling, 0.0)
    return reduced(losses, legacy_reduction(size_average, reduce, reduction))


@in_float32
def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """The negative log-likelihood of targets under normal distributions of mean input and variance var."""
    if isinstance(var, Tensor):
        if (var.array < 0).any():
            raise ValueError("var has negative entry/entries")
        if var.array.ndim == input.array.ndim - 1:
            var = var.unsqueeze(-1)
        var = var + (var.detach().clamp_min(eps) - var.detach())
    else:
        var = input.detach() * 0 + max(var, eps)
    losses = 0.5 * (log(var) + (input - target) ** 2 / var)
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduced(losses, reduction)


@in_full
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """input where target is 1, max(0, margin - input) where it is -1."""
    losses = where(target == 1, input, 0.0) + where(target == -1, (margin - input).clamp_min(0.0), 0.0)
    losses = losses + where((target != 1) & (target != -1), input * 0 + (margin - input).clamp_min(0.0) + input, 0.0)
    return reduced(losses, legacy_reduction(size_average, reduce, reduction))


@in_full
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos where target is 1, max(0, cos - margin) where it is -1."""
    cos = cosine_similarity(input1, input2, -1)
    losses = where(target == 1, 1 - cos, (cos - margin).clamp_min(0.0))
    return reduced(losses, legacy_reduction(size_average, reduce, reduction))


@in_full
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -target (input1 - input2) + margin)."""
    losses = (-target * (input1 - input2) + margin).clamp_min(0.0)
    return reduced(losses, legacy_reduction(size_average, reduce, reduction))


@in_full
def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    """log(1 + exp(-target input)) for targets 1 and -1."""
    return reduced(softplus(-target * input, 1.0, math.inf), legacy_reduction(size_average, reduce, reduction))


@in_full
def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    """The mean over targets y and other classes i of max(0, 1 - x[y] + x[i]); targets end at the first -1 of each row."""
    x = input.reshape(1, -1) if input.array.ndim < 2 else input
    t = target.array.reshape(x.array.shape)
    devices.check_same("multilabel_margin_loss", input, target)
    xp = array_module(t)
    wanted = xp.cumprod(t >= 0, axis=1).astype(bool)
    is_target = xp.zeros(x.array.shape, bool)
    rows, _ = xp.nonzero(wanted)
    is_target[rows, t[wanted]] = True
    picked = x.gather(1, target.reshape(x.array.shape).clamp_min(0)).unsqueeze(2)
    pairs = (1 - picked + x.unsqueeze(1)).clamp_min(0.0)
    losses = where(wanted[:, :, None] & ~is_target[:, None, :], pairs, 0.0).sum((1, 2)) / float(x.array.shape[1])
    losses = losses if input.array.ndim == 2 else losses.reshape(())
    return reduced(losses, legacy_reduction(size_average, reduce, reduction))


@in_float32
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over classes of binary cross-entropy with logits."""
    losses = target * softplus(-input, 1.0, math.inf) + (1 - target) * softplus(input, 1.0, math.inf)
    if weight is not None:
        losses = losses * weight
    return reduced(losses.mean(-1), legacy_reduction(size_average, reduce, reduction))


@in_full
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin) with the p-norm as distance."""

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_distance(x, y, p, eps)

    reduction = legacy_reduction(size_average, reduce, reduction)
    return triplet_margin_with_distance_loss(
        anchor, positive, negative, distance_function=distance, margin=margin, swap=swap, reduction=reduction
    )


@in_full
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin); `swap` takes the harder of two negative distances."""
    if margin <= 0:
        raise ValueError(f"triplet_margin_loss: margin must be greater than 0, got {margin}")
    distance = distance_function or pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return reduced((near - far + margin).clamp_min(0.0), reduction)


__all__ = [
    "binary_cross_entropy_with_logits", "cosine_embedding_loss", "hinge_embedding_loss", "kl_div", "margin_ranking_loss",
    "poisson_nll_loss", "triplet_margin_loss",
]  # fmt: skip
