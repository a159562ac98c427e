"""Losses. Each takes `reduction`: "mean" (default), "sum" or "none"."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.op import Op
from ..kernels import array_module
from ..kernels import loss as kernels
from ..tensor import Tensor
from ..testing.samples import Sample, samples
from .activation import softplus
from .exponential import exp, log, xlogy
from .normalization import cosine_similarity, pairwise_distance
from .selection import where
from .softmax import log_softmax


class CrossEntropy(Op):
    """Softmax and negative log-likelihood in one, of logits (N, V) with class numbers (N,) as targets.

    total: None for the losses (N,), else what their sum is divided by.
    """

    def forward(
        self, logits: Any, *, target: Any, weight: Any, ignore_index: int, smoothing: float, total: float | None
    ) -> Any:
        self.options, self.total = (target, weight, ignore_index, smoothing), total
        losses, self.lse = kernels.cross_entropy(logits, *self.options)
        return losses if total is None else losses.sum() / total

    def backward(self, g: Any, logits: Any) -> Any:
        if self.total is None:
            g = np.ascontiguousarray(g)
        else:
            g = array_module(logits).full(len(logits), g / self.total, logits.dtype)
        return kernels.cross_entropy_backward(g, logits, *self.options, self.lse)

    def composite(self, g: Any, logits: Any) -> Any:
        target, weight, ignore_index, smoothing = self.options
        N, V = logits.shape
        kept = target != ignore_index
        w = np.ones(V, logits.array.dtype) if weight is None else weight
        wanted = np.full((N, V), smoothing / V, logits.array.dtype) * w
        wanted[np.arange(N), np.where(kept, target, 0)] += (1 - smoothing) * w[np.where(kept, target, 0)]
        wanted *= kept[:, None]
        p = exp(log_softmax(logits, 1))
        if self.total is not None:
            g = g / self.total
        return g.reshape((-1, 1)) * (p * wanted.sum(1, keepdims=True) - wanted)


@samples(CrossEntropy)
def _(make: Any) -> Any:
    target = np.array([0, 4, 2])
    yield Sample(make(3, 5), target=target, weight=None, ignore_index=-100, smoothing=0.0, total=None)
    weight = np.array([1.0, 2.0, 0.5, 1.0, 3.0])
    yield Sample(make(3, 5), target=target, weight=weight, ignore_index=4, smoothing=0.1, total=None)
    yield Sample(make(3, 5), target=target, weight=weight, ignore_index=4, smoothing=0.1, total=2.5)


def _legacy(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """PyTorch's arguments of old, as a reduction."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        return "none"
    return "sum" if size_average is False else "mean"


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"{reduction} is not a valid value for reduction; it is 'mean', 'sum' or 'none'")


def _rows(name: str, input: Tensor, target: Tensor) -> tuple[Tensor, Any, tuple[int, ...]]:
    """Scores as (N, V), targets as (N,) and the shape of the losses, from (V,), (N, V) or (N, V, ...) inputs."""
    t = target.array
    if t.dtype.kind not in "iu":
        raise RuntimeError(
            f"{name}: expected scalar type Long for the class numbers but found {target.dtype}; use y.long()"
        )
    if input.array.ndim == 1:
        x = input.reshape(1, -1)
    elif input.array.ndim == 2:
        x = input
    else:
        x = input.movedim(1, -1).reshape(-1, input.array.shape[1])
    shape: tuple[int, ...] = () if input.array.ndim == 1 else (input.array.shape[0], *input.array.shape[2:])
    if t.shape != shape:
        raise ValueError(
            f"{name}: Expected target of shape {list(shape)} for input of shape {list(input.shape)}, got {list(t.shape)}"
        )
    return x, t.reshape(-1), shape


def _all_count(name: str, t: Any, classes: int, ignore_index: int | None) -> bool:
    """Whether every target is a class and none is ignored. Raises for one that is neither."""
    ignores_a_class = ignore_index is not None and ignore_index >= 0
    if t.dtype == np.int64 and t.size and not ignores_a_class and t.view(np.uint64).max() < classes:
        return True  # one pass: as an unsigned number, a negative one is larger than any class
    ignored = np.zeros(t.shape, bool) if ignore_index is None else t == ignore_index
    wrong = ~ignored & ((t < 0) | (t >= classes))
    if wrong.any():
        raise IndexError(
            f"{name}: Target {t[wrong][0]} is out of bounds: there are {classes} classes, 0 to {classes - 1}"
        )
    return not ignored.any()


def _total(t: Any, weight: Any, ignore_index: int, all_count: bool, reduction: str) -> float | None:
    """What the sum of the losses is divided by, for the mean the weights of the targets that count; None for no sum."""
    if reduction == "none":
        return None
    if reduction == "sum":
        return 1.0
    if reduction != "mean":
        raise ValueError(f"{reduction} is not a valid value for reduction; it is 'mean', 'sum' or 'none'")
    if weight is None and all_count:
        return float(t.size)
    counting = t != ignore_index
    return float(counting.sum() if weight is None else weight[t[counting]].sum())


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input)[target], for logits (V,), (N, V) or (N, V, ...) and class numbers, or probabilities like input.

    weight: (V,) factors per class. ignore_index: a target that does not count. label_smoothing: the share of probability that
    is spread over all classes (Szegedy et al., 2016). Raises IndexError for a class that does not exist.
    """
    reduction = _legacy(size_average, reduce, reduction)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if target.array.shape == input.array.shape and target.array.dtype.kind == "f":
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    x, t, shape = _rows("cross_entropy", input, target)
    all_count = _all_count("cross_entropy", t, x.array.shape[1], ignore_index)
    w = None if weight is None else weight.array
    total = _total(t, w, ignore_index, all_count, reduction)
    losses = CrossEntropy.apply(
        x, target=t, weight=w, ignore_index=ignore_index, smoothing=float(label_smoothing), total=total
    )
    return losses.reshape(shape) if total is None and losses.array.shape != shape else losses


def _soft_cross_entropy(x: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float) -> Tensor:
    """The cross-entropy with probabilities as targets."""
    dim = 0 if x.array.ndim == 1 else 1
    V = x.array.shape[dim]
    if smoothing:
        target = target * (1 - smoothing) + smoothing / V
    log_p = log_softmax(x, dim)
    if weight is not None:
        log_p = log_p * weight.reshape((-1,) + (1,) * (x.array.ndim - dim - 1))
    losses = -(log_p * target).sum(dim)
    if reduction == "mean":
        return losses.sum() / float(max(x.numel() // V, 1))
    return _reduced(losses, reduction)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-input[target], for log-probabilities (V,), (N, V) or (N, V, ...) and class numbers."""
    reduction = _legacy(size_average, reduce, reduction)
    x, t, shape = _rows("nll_loss", input, target)
    all_count = _all_count("nll_loss", t, x.array.shape[1], ignore_index)
    kept = t != ignore_index
    y = np.where(kept, t, 0)
    w = None if weight is None else weight.array
    factor = kept.astype(x.array.dtype) if w is None else (kept * w[y]).astype(x.array.dtype)
    picked = x[np.arange(len(y)), y]
    losses = where(kept, -picked * factor, 0.0)
    total = _total(t, w, ignore_index, all_count, reduction)
    return losses.reshape(shape) if total is None else losses.sum() / total


def _paired(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A loss of input and target, element by element, with the arguments that all of those have."""

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
            if _legacy(size_average, reduce, reduction) == "mean" and function.__name__ != "binary_cross_entropy":
                return losses.sum() / weight.expand(losses.shape).sum()
        return _reduced(losses, _legacy(size_average, reduce, reduction))

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
    d = (input - target).abs()
    losses = d if beta == 0 else where(d < beta, d * d * (0.5 / beta), d - 0.5 * beta)
    return _reduced(losses, _legacy(size_average, reduce, reduction))


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """d^2 / 2 where d = |input - target| is at most delta, delta (d - delta / 2) elsewhere (Huber, 1964)."""
    if delta <= 0:
        raise RuntimeError(f"huber_loss does not support non-positive values for delta, got {delta}")
    d = (input - target).abs()
    losses = where(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta))
    if weight is not None:
        losses = losses * weight
        if reduction == "mean":
            return losses.sum() / weight.sum()
    return _reduced(losses, reduction)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """-(target log input + (1 - target) log(1 - input)) for probabilities; logarithms are held above -100."""
    if input.array.shape != target.array.shape:
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated. Please "
            "ensure they have the same size."
        )
    if input.array.size and not ((input.array >= 0) & (input.array <= 1)).all():
        raise RuntimeError(
            "binary_cross_entropy: all elements of input should be between 0 and 1; use the one with_logits"
        )
    losses = -(target * log(input).clamp_min(-100.0) + (1 - target) * log(1 - input).clamp_min(-100.0))
    if weight is not None:
        losses = losses * weight
    return _reduced(losses, _legacy(size_average, reduce, reduction))


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
    soft = softplus(-input, 1.0, math.inf)
    factor = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
    losses = (1 - target) * input + soft * factor
    if weight is not None:
        losses = losses * weight
    return _reduced(losses, _legacy(size_average, reduce, reduction))


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target (log target - input) for log-probabilities `input`; "batchmean" divides by the batch, as the definition wants."""
    reduction = _legacy(size_average, reduce, reduction)
    if log_target:
        losses = exp(target) * (target - input)
    else:
        losses = xlogy(target, target) - target * input
    if reduction == "batchmean":
        return losses.sum() / float(input.array.shape[0] if input.array.ndim else 1)
    return _reduced(losses, reduction)


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
    return _reduced(losses, _legacy(size_average, reduce, reduction))


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
    return _reduced(losses, reduction)


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
    return _reduced(losses, _legacy(size_average, reduce, reduction))


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
    return _reduced(losses, _legacy(size_average, reduce, reduction))


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
    return _reduced(losses, _legacy(size_average, reduce, reduction))


def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    """log(1 + exp(-target input)) for targets 1 and -1."""
    return _reduced(softplus(-target * input, 1.0, math.inf), _legacy(size_average, reduce, reduction))


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over classes i other than the target y of max(0, margin - x[y] + x[i])^p, for (N, V) or (V,) scores."""
    if not input.array.ndim:
        input = input.reshape(1)
    if input.array.ndim == 1:
        target = target.reshape(())
    x, t, shape = _rows("multi_margin_loss", input, target)
    _all_count("multi_margin_loss", t, x.array.shape[1], None)
    rows = np.arange(len(t))
    others = np.ones(x.array.shape, bool)
    others[rows, t] = False
    violation = (margin - x[rows, t].reshape(-1, 1) + x).clamp_min(0.0)
    terms = where(others, violation if p == 1 else violation * violation, 0.0)
    if weight is not None:
        terms = terms * weight.array[t][:, None]
    losses = (terms.sum(1) / float(x.array.shape[1])).reshape(shape)
    return _reduced(losses, _legacy(size_average, reduce, reduction))


def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    """The mean over targets y and other classes i of max(0, 1 - x[y] + x[i]); targets end at the first -1 of each row."""
    x = input.reshape(1, -1) if input.array.ndim < 2 else input
    t = target.array.reshape(x.array.shape)
    wanted = np.cumprod(t >= 0, axis=1).astype(bool)
    is_target = np.zeros(x.array.shape, bool)
    for row, labels, real in zip(is_target, t, wanted, strict=True):
        row[labels[real]] = True
    picked = x.gather(1, target.reshape(x.array.shape).clamp_min(0)).unsqueeze(2)
    pairs = (1 - picked + x.unsqueeze(1)).clamp_min(0.0)
    losses = where(wanted[:, :, None] & ~is_target[:, None, :], pairs, 0.0).sum((1, 2)) / float(x.array.shape[1])
    losses = losses if input.array.ndim == 2 else losses.reshape(())
    return _reduced(losses, _legacy(size_average, reduce, reduction))


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
    return _reduced(losses.mean(-1), _legacy(size_average, reduce, reduction))


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

    reduction = _legacy(size_average, reduce, reduction)
    return triplet_margin_with_distance_loss(
        anchor, positive, negative, distance_function=distance, margin=margin, swap=swap, reduction=reduction
    )


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
    distance = distance_function or pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return _reduced((near - far + margin).clamp_min(0.0), reduction)


__all__ = [
    "binary_cross_entropy_with_logits", "cosine_embedding_loss", "hinge_embedding_loss", "kl_div", "margin_ranking_loss",
    "poisson_nll_loss", "triplet_margin_loss",
]  # fmt: skip
