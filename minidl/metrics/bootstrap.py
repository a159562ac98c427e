"""How sure a metric is: intervals from resampled test sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..ops.random import randint
from ..random import Generator
from .inputs import Array, as_array, same_length


class Interval(NamedTuple):
    """A value measured on all samples, and the ends of its confidence interval."""

    value: float
    low: float
    high: float


def bootstrap_interval(
    metric: Callable[[Any, Any], float],
    y_true: Any,
    y_pred: Any,
    other: Any = None,
    *,
    confidence: float = 0.95,
    n_resamples: int = 1000,
    stratify: bool = False,
    seed: int = 0,
) -> Interval:
    """The percentile bootstrap interval of metric(y_true, y_pred).

    With `other`, the predictions of a second model for the same samples, it is that of the difference
    metric(y_true, y_pred) - metric(y_true, other), both measured on the same resamples (paired): what is hard for both
    cancels, so it is narrower than the two intervals suggest. A difference whose interval holds 0 may be chance.
    The interval covers the choice of test samples, not that of seeds or of training data.
    y_true, y_pred, other: tensors or arrays of equal length along their first dimension, N. stratify: each class of y_true
    keeps its number of samples, for metrics that have no value without one.
    Raises ValueError for lengths that differ, and for a resample on which the metric has no value.
    Source: Efron, "Bootstrap methods: another look at the jackknife" (1979).

    Example:
        >>> bootstrap_interval(accuracy_score, [0, 1, 1, 0] * 25, [0, 1, 0, 0] * 25).value
        0.75
    """
    name = "bootstrap_interval"
    arrays = {"y_true": as_array(y_true), "y_pred": as_array(y_pred)}
    if other is not None:
        arrays["other"] = as_array(other)
    if any(a.ndim == 0 or not len(a) for a in arrays.values()):
        raise ValueError(f"{name}: there must be at least one sample")
    same_length(name, **arrays)
    if not 0 < confidence < 1:
        raise ValueError(f"{name}: confidence is a share between 0 and 1, such as 0.95, got {confidence}")
    if n_resamples < 1:
        raise ValueError(f"{name}: n_resamples must be at least 1, got {n_resamples}")

    def measure(rows: Any) -> float:
        true, *predicted = (a[rows] for a in arrays.values())
        values = [float(metric(true, p)) for p in predicted]
        return values[0] - values[1] if len(values) == 2 else values[0]

    value = measure(slice(None))
    drawn = np.empty(n_resamples)
    for i, rows in enumerate(_resamples(arrays["y_true"], n_resamples, stratify, seed)):
        try:
            drawn[i] = measure(rows)
        except ValueError as error:
            hint = "" if stratify else "; stratify=True keeps the numbers of the classes"
            raise ValueError(f"{name}: the metric has no value on resample {i}{hint} ({error})") from None
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))


def _resamples(y_true: Array, n_resamples: int, stratify: bool, seed: int) -> Any:
    """Row numbers (N,), drawn with replacement, for each resample."""
    generator = Generator().manual_seed(seed)
    groups = [np.nonzero(y_true == c)[0] for c in np.unique(y_true)] if stratify else [np.arange(len(y_true))]
    for _ in range(n_resamples):
        drawn = [g[randint(0, len(g), (len(g),), generator=generator).numpy()] for g in groups]
        yield np.concatenate(drawn) if stratify else drawn[0]
