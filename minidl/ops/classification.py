"""Losses of scores with the number of the right class as target."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..autograd.grad_mode import is_grad_enabled
from ..autograd.op import Op, wrap
from ..autograd.precision import in_float32, under_autocast
from ..kernels import array_module
from ..kernels import loss as kernels
from ..tensor import Tensor
from ..testing.samples import Sample, samples
from .exponential import exp
from .indexing import PutInto
from .linalg import linear
from .loss import legacy_reduction, reduced
from .selection import where
from .softmax import log_softmax

INT64, UINT64 = np.dtype(np.int64), np.dtype(np.uint64)  # comparing with np.int64 makes one each time


def _rows_of(x: Any) -> Any:
    """Scores (N, V, *S), an array or a Tensor, as rows of classes."""
    if x.ndim == 2:
        return x
    last = x.movedim(1, -1) if isinstance(x, Tensor) else array_module(x).moveaxis(x, 1, -1)
    return last.reshape(math.prod(last.shape[:-1]), last.shape[-1])


def _maps_of(rows: Any, shape: tuple[int, ...]) -> Any:
    """Rows of classes, an array or a Tensor, as scores of the shape (N, V, *S)."""
    if len(shape) == 2:
        return rows
    last = rows.reshape((shape[0], *shape[2:], shape[1]))
    return last.movedim(-1, 1) if isinstance(last, Tensor) else array_module(last).moveaxis(last, -1, 1)


class CrossEntropy(Op):
    """Softmax and negative log-likelihood in one, of logits (N, V, *S) with class numbers (N, *S) as targets.

    total: None for the losses (N, *S), else what their sum is divided by. gradient: whether there will be a backward pass.
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
        xp, shape, self.total, self.slopes = array_module(logits), target.shape, total, None
        in_planes = logits.ndim > 2 and xp is np and logits.flags.c_contiguous
        if in_planes:  # the loss with its gradient takes less than rows of classes, copied from a map, would
            logits = logits.reshape(*logits.shape[:2], math.prod(shape[1:]))
            target = target.reshape(len(logits), logits.shape[2])
        elif logits.ndim > 2:
            logits, target = _rows_of(logits), target.reshape(-1)
        self.options = target, weight, ignore_index, smoothing
        if in_planes or (gradient and xp is np):  # on a GPU it takes less to compute them again than to keep them
            losses, slopes = kernels.cross_entropy_and_gradient(logits, *self.options)
            self.slopes = slopes if gradient else None
        else:
            losses, self.lse = kernels.cross_entropy(logits, *self.options)
        return losses.reshape(shape) if total is None else xp.add.reduce(losses, None) / total

    def backward(self, g: Any, logits: Any) -> Any:
        slopes, shape = self.slopes, logits.shape
        if self.total is not None:
            g = _share(g, self.total)
        elif len(shape) > 2:
            g = g.reshape(self.options[0].shape)
        if slopes is not None:
            dx = slopes * (g if self.total is not None else g[:, None])
            return dx.reshape(shape) if dx.ndim == 3 else _maps_of(dx, shape)
        xp, rows = array_module(logits), _rows_of(logits)
        g = xp.ascontiguousarray(g) if self.total is None else xp.full(len(rows), g, logits.dtype)
        return _maps_of(kernels.cross_entropy_backward(g, rows, *self.options, self.lse), shape)

    def composite(self, g: Any, logits: Any) -> Any:
        target, weight, ignore_index, smoothing = self.options
        rows, target = _rows_of(logits), target.reshape(-1)
        N, V = rows.shape
        xp, kept = array_module(target), target != ignore_index
        y = xp.where(kept, target, 0)
        w = xp.ones(V, logits.array.dtype) if weight is None else weight
        wanted = xp.full((N, V), smoothing / V, logits.array.dtype) * w
        wanted[xp.arange(N), y] += (1 - smoothing) * w[y]
        wanted *= kept[:, None]
        p = exp(log_softmax(rows, 1))
        if self.total is not None:
            g = _share(g, self.total)
        return _maps_of(g.reshape((-1, 1)) * (p * wanted.sum(1, keepdims=True) - wanted), logits.shape)


def _share(g: Any, total: Any) -> Any:
    """The gradient of each loss in their mean: 0, as in PyTorch, where every target is ignored and the mean is 0 / 0."""
    if hasattr(total, "dtype"):
        return g / array_module(total).where(total == 0, math.inf, total).astype(total.dtype)
    return g if total == 1.0 else g / (total or math.inf)


class NLL(Op):
    """-x at the class numbers `target` (N, *S), of x (N, V, *S).

    kept: where a target counts, None if all do. factors: of each loss, or None. total: as CrossEntropy's.
    """

    precision = "full"

    def forward(self, x: Any, *, target: Any, kept: Any, factors: Any, total: Any) -> Any:
        self.shape, self.counts, self.total = x.shape, kept, total
        self.factors = None if factors is None else factors.astype(x.dtype, copy=False)
        arange, n = array_module(x).arange, target.ndim
        every = [
            arange(size).reshape(-1, *(1,) * (n - 1 - i)) if n > 1 else arange(size)
            for i, size in enumerate(target.shape)
        ]
        self.index = (every[0], target, *every[1:])
        losses = self._counted(-x[self.index])
        return losses if total is None else losses.sum() / total

    def _counted(self, losses: Any) -> Any:
        if self.factors is not None:
            losses = losses * self.factors
        return losses if self.counts is None else array_module(losses).where(self.counts, losses, losses.dtype.type(0))

    def backward(self, g: Any) -> Any:
        if self.total is not None:
            g = _share(g, self.total)
        xp = array_module(g)
        dx = xp.zeros(self.shape, g.dtype)
        plain = self.factors is None and self.counts is None
        dx[self.index] = -g if plain else self._counted(xp.broadcast_to(-g, self.index[1].shape))
        return dx

    def composite(self, g: Any) -> Any:
        if self.total is not None:
            g = _share(g, self.total)
        xp = array_module(g.array)
        each = self._counted(xp.full(self.index[1].shape, -1, g.array.dtype))
        return PutInto.apply(g * wrap(each), shape=self.shape, index=self.index)


@samples(NLL)
def _(make: Any) -> Any:
    target, kept, factors = np.array([[0, 4, 2], [1, 1, 3]]), np.array([[True, False, True]] * 2), make(2, 3)
    yield Sample(make(3, 5), target=target[0], kept=None, factors=None, total=None)
    yield Sample(make(2, 5, 3), target=target, kept=kept, factors=factors, total=2.5, note="of a map")
    yield Sample(make(2, 5, 3), target=target, kept=kept, factors=None, total=None, note="of a map")


@samples(CrossEntropy)
def _(make: Any) -> Any:
    target = np.array([0, 4, 2])
    yield Sample(make(3, 5), target=target, weight=None, ignore_index=-100, smoothing=0.0, total=None)
    weight = np.array([1.0, 2.0, 0.5, 1.0, 3.0])
    yield Sample(make(3, 5), target=target, weight=weight, ignore_index=4, smoothing=0.1, total=None)
    yield Sample(make(3, 5), target=target, weight=weight, ignore_index=4, smoothing=0.1, total=2.5)
    maps = np.array([[[0, 4, 2]], [[1, 2, 3]]])
    yield Sample(
        make(2, 5, 1, 3), target=maps, weight=weight, ignore_index=4, smoothing=0.1, total=2.5, note="of a map"
    )
    yield Sample(
        make(2, 5, 1, 3), target=maps, weight=None, ignore_index=-100, smoothing=0.0, total=None, note="of a map"
    )


def _scores(name: str, input: Tensor, target: Tensor) -> tuple[Tensor, Any, tuple[int, ...]]:
    """Scores as (N, V, *S), targets as (N, *S) and the shape of the losses, from (V,) or (N, V, *S) inputs."""
    devices.check_same(name, input, target)
    t = target.array
    if t.dtype.kind not in "iu":
        raise RuntimeError(
            f"{name}: expected scalar type Long for the class numbers but found {target.dtype}; use y.long()"
        )
    single = input.array.ndim == 1
    shape: tuple[int, ...] = () if single else (input.array.shape[0], *input.array.shape[2:])
    if t.shape != shape:
        raise ValueError(
            f"{name}: Expected target of shape {list(shape)} for input of shape {list(input.shape)}, got {list(t.shape)}"
        )
    return (input.reshape(1, -1), t.reshape(1), shape) if single else (input, t, shape)


def _all_count(name: str, t: Any, classes: int, ignore_index: int | None) -> bool:
    """Whether every target is a class and none is ignored. Raises for one that is neither."""
    if not devices.may_look(t):
        return ignore_index is None
    ignores_a_class = ignore_index is not None and ignore_index >= 0
    if t.dtype == INT64 and t.size and not ignores_a_class:
        numbers = t.view(UINT64).reshape(-1)  # one pass: as an unsigned number, a negative one is larger than any class
        if numbers[numbers.argmax()] < classes:  # max() takes three times as long for a few
            return True
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
    x, t, shape = _scores("cross_entropy", input, target)
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
    x, t, shape = _scores("nll_loss", input, target)
    all_count = _all_count("nll_loss", t, x.array.shape[1], ignore_index)
    kept = None if all_count else t != ignore_index
    y = t.copy() if kept is None else array_module(t).where(kept, t, 0)
    w = None if weight is None else weight.array
    total = _total(t, w, ignore_index, all_count, reduction, x.array.dtype)
    losses = NLL.apply(x, target=y, kept=kept, factors=None if w is None else w[y], total=total)
    return losses.reshape(shape) if total is None and losses.array.shape != shape else losses


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
    x, t, shape = _scores("multi_margin_loss", input, target)
    x, t = _rows_of(x), t.reshape(-1)
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
