"""Metrics of probabilities: whether what is said to happen in 80 % of cases does, and proper scores.

A classifier can be accurate and badly calibrated, or calibrated and useless (one that always says the share of the class).
Sources: Brier, "Verification of forecasts expressed in terms of probability" (1950); Guo, Pleiss, Sun & Weinberger, "On
calibration of modern neural networks" (2017).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .inputs import Array, as_array, class_numbers, one_of, positives, probabilities, same_length, sample_weights


def calibration_curve(
    y_true: Any, y_prob: Any, *, pos_label: Any = None, n_bins: int = 5, strategy: str = "uniform"
) -> tuple[Array, Array]:
    """The share of positives and the mean probability in each bin that is not empty: two arrays of equal length.

    y_true (N,): two classes, pos_label the positive one (default 1); y_prob (N,): its probability. strategy: bins of equal
    width ("uniform") or of equally many samples ("quantile"). Where calibration is perfect, both are equal.

    Example:
        >>> calibration_curve([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], n_bins=2)
        (array([0., 1.]), array([0.15, 0.8 ]))
    """
    name = "calibration_curve"
    positive, p = positives(name, y_true, pos_label), probabilities(name, "y_prob", y_prob)
    same_length(name, y_true=positive, y_prob=p)
    count, said, happened = bins_of(name, p, positive, n_bins, strategy)
    return happened[count > 0] / count[count > 0], said[count > 0] / count[count > 0]


def expected_calibration_error(y_true: Any, y_prob: Any, *, n_bins: int = 15, strategy: str = "uniform") -> float:
    """How far said and true frequencies are apart: the mean over bins of |accuracy - confidence|, weighted by their samples.

    y_prob (N, C) with class numbers y_true (N,): the confidence is the probability of the predicted class, as in Guo et al.
    y_prob (N,) with y_true of 0 and 1: the probability of 1, against the share of 1.
    It depends on the number of bins, and is above 0 for a finite sample even where calibration is perfect.

    Example:
        >>> round(expected_calibration_error([1, 0], [[0.1, 0.9], [0.3, 0.7]], n_bins=1), 3)
        0.3
    """
    name = "expected_calibration_error"
    confidence, right = confidences(name, y_true, y_prob)
    count, said, happened = bins_of(name, confidence, right, n_bins, strategy)
    return float(np.abs(said - happened).sum() / count.sum())


def brier_score_loss(y_true: Any, y_proba: Any, *, sample_weight: Any = None, pos_label: Any = None) -> float:
    """The mean squared difference between probability and what happened; lower is better, 0.25 is what 0.5 always gets.

    y_proba (N,) with two classes; or (N, C) with class numbers: the sum over classes of the squared differences, which is up
    to 2 (halved for two columns, so that it agrees with one).

    Example:
        >>> round(brier_score_loss([0, 1], [0.1, 0.8]), 3)
        0.025
    """
    name = "brier_score_loss"
    p = probabilities(name, "y_proba", y_proba, (1, 2))
    if p.ndim == 1:
        happened = positives(name, y_true, pos_label)
        same_length(name, y_true=happened, y_proba=p)
        squares = (p - happened) ** 2
    else:
        if pos_label is not None:
            raise ValueError(f"{name}: with a column per class there is no pos_label")
        y = class_numbers(name, y_true, p.shape[1])
        same_length(name, y_true=y, y_proba=p)
        squares = ((p - np.eye(p.shape[1])[y]) ** 2).sum(1) / (2 if p.shape[1] == 2 else 1)
    return float(np.average(squares, weights=sample_weights(name, sample_weight, len(p))))


def log_loss(y_true: Any, y_pred: Any, *, normalize: bool = True, sample_weight: Any = None) -> float:
    """The mean (or with normalize=False the sum) of -log of the probability of what happened: the cross-entropy.

    y_pred (N,): the probability of class 1, y_true of 0 and 1; or (N, C) with class numbers. Probabilities are clipped to
    [eps, 1 - eps], eps that of their dtype, so that a wrong 0 costs much and not everything. For logits there is
    nn.functional.cross_entropy, which needs no clipping.

    Example:
        >>> round(log_loss([0, 1], [0.1, 0.8]), 4)
        0.1643
    """
    name = "log_loss"
    given = as_array(y_pred).dtype
    p = probabilities(name, "y_pred", y_pred, (1, 2))
    if p.ndim == 1:
        y = positives(name, y_true, None).astype(np.int64)
        p = np.stack([1 - p, p], 1)
    else:
        y = class_numbers(name, y_true, p.shape[1])
    same_length(name, y_true=y, y_pred=p)
    eps = np.finfo(given if given.kind == "f" else np.float64).eps
    losses = -np.log(np.clip(p, eps, 1 - eps)[np.arange(len(y)), y])
    weights = sample_weights(name, sample_weight, len(y))
    return float((losses * weights).sum() / (weights.sum() if normalize else 1))


def confidences(name: str, y_true: Any, y_prob: Any) -> tuple[Array, Array]:
    """The probability that each prediction claims (N,), and whether it came true (N,) bool."""
    p = probabilities(name, "y_prob", y_prob, (1, 2))
    if p.ndim == 1:
        right = positives(name, y_true, None)
        same_length(name, y_true=right, y_prob=p)
        return p, right
    y = class_numbers(name, y_true, p.shape[1])
    same_length(name, y_true=y, y_prob=p)
    return p.max(1), p.argmax(1) == y


def bins_of(name: str, p: Array, happened: Array, n_bins: int, strategy: str = "uniform") -> tuple[Array, Array, Array]:
    """Of each bin (n_bins,): the number of samples, the sum of their probabilities, and how many happened.

    A bin holds its upper edge and not its lower, and the first both.
    """
    one_of(name, "strategy", strategy, ("uniform", "quantile"))
    if n_bins < 1:
        raise ValueError(f"{name}: n_bins must be at least 1, got {n_bins}")
    edges = np.linspace(0, 1, n_bins + 1)
    if strategy == "quantile":
        # as scikit-learn rounds them: a probability on an edge goes to the same bin
        edges = np.percentile(p, 100 * edges)
    place = np.searchsorted(edges[1:-1], p)
    count, said, true = (np.bincount(place, w, n_bins) for w in (None, p, happened.astype(np.float64)))
    return count, said, true
