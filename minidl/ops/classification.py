"""Losses of scores with the number of the right class as target."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..autograd.grad_mode import is_grad_enabled
from ..autograd.op import Op
from ..autograd.precision import in_float32, under_autocast
from ..kernels import array_module
from ..kernels import loss as kernels
from ..tensor import Tensor
from ..testing.samples import Sample, samples
from .exponential import exp
from .indexing import Take
from .linalg import linear
from .loss import legacy_reduction, reduced
from .selection import where
from .softmax import log_softmax

INT64, UINT64 = np.dtype(np.int64), np.dtype(np.uint64)  # comparing with np.int64 makes one each time


class CrossEntropy(Op):
    """Softmax and negative log-likelihood in one, of logits (N, V) with class numbers (N,) as targets.

    total: None for the losses (N,), else what their sum is divided by. gradient: whether there will be a backward pass.
    """

    precision = "full"

    def forward(
        self,
        logits: Any,
        *,
        target: Any,
        weight: Any,
        ignore_index: int,
        smoothing: float,
        total: Any,
        gradient: bool = True,
    ) -> Any:
        self.options, self.total = (target, weight, ignore_index, smoothing), total
        self.slopes = None
        if gradient and array_module(logits) is np:  # on a GPU it takes less to compute them again than to keep them
            losses, self.slopes = kernels.cross_entropy_and_gradient(logits, *self.options)
        else:
            losses, self.lse = kernels.cross_entropy(logits, *self.options)
        return losses if total is None else array_module(losses).add.reduce(losses) / total

    def _share(self, g: Any) -> Any:
        """The gradient of each loss in their mean: 0, as in PyTorch, where every target is ignored and the mean is 0 / 0."""
        total = self.total
        if hasattr(total, "dtype"):
            return g / array_module(total).where(total == 0, math.inf, total).astype(total.dtype)
        return g / (total or math.inf)

    def backward(self, g: Any, logits: Any) -> Any:
        if self.slopes is not None:
            return self.slopes * (g[:, None] if self.total is None else self._share(g))
        if self.total is None:
            g = array_module(g).ascontiguousarray(g)
        else:
            g = array_module(logits).full(len(logits), self._share(g), logits.dtype)
        return kernels.cross_entropy_backward(g, logits, *self.options, self.lse)

    def composite(self, g: Any, logits: Any) -> Any:
        target, weight, ignore_index, smoothing = self.options
        N, V = logits.shape
        xp, kept = array_module(target), target != ignore_index
        y = xp.where(kept, target, 0)
        w = xp.ones(V, logits.array.dtype) if weight is None else weight
        wanted = xp.full((N, V), smoothing / V, logits.array.dtype) * w
        wanted[xp.arange(N), y] += (1 - smoothing) * w[y]
        wanted *= kept[:, None]
        p = exp(log_softmax(logits, 1))
        if self.total is not None:
            g = self._share(g)
        return g.reshape((-1, 1)) * (p * wanted.sum(1, keepdims=True) - wanted)


@samples(CrossEntropy)
def _(make: Any) -> Any:
    target = np.array([0, 4, 2])
    yield Sample(make(3, 5), target=target, weight=None, ignore_index=-100, smoothing=0.0, total=None)
    weight = np.array([1.0, 2.0, 0.5, 1.0, 3.0])
    yield Sample(make(3, 5), target=target, weight=weight, ignore_index=4, smoothing=0.1, total=None)
    yield Sample(make(3, 5), target=target, weight=weight, ignore_index=4, smoothing=0.1, total=2.5)


def _rows(name: str, input: Tensor, target: Tensor) -> tuple[Tensor, Any, tuple[int, ...]]:
    """Scores as (N, V), targets as (N,) and the shape of the losses, from (V,), (N, V) or (N, V, ...) inputs."""
    devices.check_same(name, input, target)
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
    if not devices.may_look(t):
        return ignore_index is None
    ignores_a_class = ignore_index is not None and ignore_index >= 0
    if t.dtype == INT64 and t.size and not ignores_a_class and t.view(UINT64).max() < classes:
        return True  # one pass: as an unsigned number, a negative one is larger than any class
    ignored = array_module(t).zeros(t.shape, bool) if ignore_index is None else t == ignore_index
    wrong = ~ignored & ((t < 0) | (t >= classes))
    if wrong.any():
        raise IndexError(
            f"{name}: Target {t[wrong][0]} is out of bounds: there are {classes} classes, 0 to {classes - 1}"
        )
    return not ignored.any()


def _check_weight(name: str, input: Tensor, weight: Tensor) -> None:
    V = input.array.shape[min(1, input.array.ndim - 1)] if input.array.ndim else 1
    if weight.array.shape != (V,) or weight.array.dtype != input.array.dtype:
        raise RuntimeError(
            f"{name}: weight tensor should be defined either for all {V} classes or no classes, in the dtype of the input, "
            f"{input.dtype}; got shape {list(weight.shape)} and {weight.dtype}"
        )


def _total(t: Any, weight: Any, ignore_index: int, all_count: bool, reduction: str, dtype: Any) -> Any:
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
    if not devices.may_look(t):  # as an array, for a graph that is recorded
        xp = array_module(t)
        shares = counting if weight is None else xp.where(counting, weight[xp.where(counting, t, 0)], 0)
        return shares.sum().astype(dtype)
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
    reduction = legacy_reduction(size_average, reduce, reduction)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if weight is not None:
        _check_weight("cross_entropy", input, weight)
    if target.array.shape == input.array.shape and target.array.dtype.kind in dtypes.FLOATING:
        if ignore_index >= 0:
            raise RuntimeError("cross_entropy: ignore_index is not supported for floating point target")
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    x, t, shape = _rows("cross_entropy", input, target)
    all_count = _all_count("cross_entropy", t, x.array.shape[1], ignore_index)
    w = None if weight is None else weight.array
    total = _total(t, w, ignore_index, all_count, reduction, x.array.dtype)
    losses = CrossEntropy.apply(
        x,
        target=t,
        weight=w,
        ignore_index=ignore_index,
        smoothing=float(label_smoothing),
        total=total,
        gradient=x.node is not None and is_grad_enabled(),
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
    return reduced(losses, reduction)


@in_float32
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """cross_entropy of input (N, D) or (D,) times linear_weight (V, D), plus linear_bias (V,).

    linear_weight (V, *S, D) and linear_bias (V, *S) score V classes at each of several places: targets are (N, *S), or
    probabilities (N, V, *S). `options` says how PyTorch divides the work, and is ignored.
    """
    D, (V, *S) = input.shape[-1], linear_weight.shape[:-1]
    if input.ndim not in (1, 2) or linear_weight.ndim < 2 or linear_weight.shape[-1] != D or (S and input.ndim == 1):
        raise RuntimeError(
            f"linear_cross_entropy: expected input (N, D) and linear_weight (V, ..., D), or (D,) and (V, D), got shapes "
            f"{list(input.shape)} and {list(linear_weight.shape)}"
        )
    if linear_bias is not None and list(linear_bias.shape) != [V, *S]:
        raise RuntimeError(f"linear_cross_entropy: expected linear_bias shape {[V, *S]}, got {list(linear_bias.shape)}")
    bias = linear_bias if linear_bias is None else linear_bias.reshape(-1)
    logits = linear(input, linear_weight.reshape(-1, D), bias).reshape(*input.shape[:-1], V, *S)
    if ignore_index is not None and target.shape == logits.shape:
        raise RuntimeError("linear_cross_entropy: ignore_index cannot be specified when target contains probabilities")
    return cross_entropy(
        logits, target, weight, ignore_index=-100 if ignore_index is None else ignore_index, reduction=reduction,
        label_smoothing=label_smoothing,
    )  # fmt: skip


@under_autocast("full")
@in_float32
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
    reduction = legacy_reduction(size_average, reduce, reduction)
    if weight is not None:
        _check_weight("nll_loss", input, weight)
    x, t, shape = _rows("nll_loss", input, target)
    all_count = _all_count("nll_loss", t, x.array.shape[1], ignore_index)
    xp, kept = array_module(t), t != ignore_index
    w = None if weight is None else weight.array
    y = t.copy() if all_count else xp.where(kept, t, 0)
    losses = -Take.apply(x, index=(xp.arange(len(y)), y))
    if w is not None:
        losses = losses * w[y]
    if not all_count:
        losses = where(kept, losses, 0.0)
    total = _total(t, w, ignore_index, all_count, reduction, x.array.dtype)
    return losses.reshape(shape) if total is None else losses.sum() / total


@under_autocast("full")
@in_float32
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
    xp = array_module(t)
    rows, others = xp.arange(len(t)), xp.ones(x.array.shape, bool)
    others[rows, t] = False
    violation = (margin - x[rows, t].reshape(-1, 1) + x).clamp_min(0.0)
    terms = where(others, violation if p == 1 else violation * violation, 0.0)
    if weight is not None:
        terms = terms * weight.array[t][:, None]
    losses = (terms.sum(1) / float(x.array.shape[1])).reshape(shape)
    return reduced(losses, legacy_reduction(size_average, reduce, reduction))
