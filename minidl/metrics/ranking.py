"""Metrics of scores that rank samples, without a threshold: ROC and precision-recall curves and the areas below them.

Sources: Fawcett, "An introduction to ROC analysis" (2006); Davis & Goadrich, "The relationship between precision-recall and
ROC curves" (2006); Saito & Rehmsmeier, "The precision-recall plot is more informative than the ROC plot when evaluating
binary classifiers on imbalanced datasets" (2015).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .inputs import Array, class_numbers, one_of, positives, same_length, sample_weights, scores


def roc_curve(
    y_true: Any, y_score: Any, *, pos_label: Any = None, sample_weight: Any = None, drop_intermediate: bool = True
) -> tuple[Array, Array, Array]:
    """False positive rate FP / (FP + TN) and true positive rate (the recall) for every threshold, and the thresholds.

    Three arrays of one length. Sample i is called positive where y_score[i] >= threshold; thresholds fall, from infinity, at
    which nothing is positive. Equal scores change sides together. drop_intermediate leaves out points within a straight line.
    y_true (N,): two classes; pos_label is the positive one (default 1).
    Raises ValueError where a class is missing: one of the rates is then 0/0.

    Example:
        >>> roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])[1]
        array([0. , 0.5, 0.5, 1. , 1. ])
    """
    fp, tp, thresholds = _counts("roc_curve", y_true, y_score, pos_label, sample_weight)
    _both_classes("roc_curve", fp, tp)
    if drop_intermediate and len(tp) > 2:
        corner = np.r_[True, (np.diff(fp, 2) != 0) | (np.diff(tp, 2) != 0), True]
        fp, tp, thresholds = fp[corner], tp[corner], thresholds[corner]
    return np.r_[0.0, fp / fp[-1]], np.r_[0.0, tp / tp[-1]], np.r_[np.inf, thresholds]


def auc(x: Any, y: Any) -> float:
    """The area below the points of a curve, by trapezoids; x (N,) rises or falls. Raises ValueError where it does both."""
    across, up = scores("auc", "x", x), scores("auc", "y", y)
    same_length("auc", x=across, y=up)
    steps = np.diff(across)
    if len(across) < 2 or ((steps < 0).any() and (steps > 0).any()):
        raise ValueError("auc: x must have at least 2 points, and rise or fall all the way")
    return float(abs((steps * (up[1:] + up[:-1]) / 2).sum()))


def roc_auc_score(
    y_true: Any, y_score: Any, *, average: str | None = "macro", sample_weight: Any = None, multi_class: str = "ovr"
) -> Any:
    """The area below the ROC curve: how likely a positive sample has a higher score than a negative one, ties counting half.

    This is the Mann-Whitney statistic U / (number of pairs). It is about the order alone: neither a threshold nor
    calibration matters, nor how rare positives are, so that where they are, a high value can still mean a useless precision.
    y_true (N,) of 0 and 1 with y_score (N,); or class numbers with y_score (N, C), where each class is set against the rest:
    the mean over classes ("macro"), weighted by their share in y_true ("weighted"), or (C,) (None).
    Raises ValueError where a class has no sample, or all.

    Example:
        >>> roc_auc_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75
    """
    if multi_class != "ovr":
        raise ValueError(f"roc_auc_score: multi_class is 'ovr', each class against the rest, got {multi_class!r}")
    return _per_class("roc_auc_score", _roc_auc, y_true, y_score, average, sample_weight)


def precision_recall_curve(
    y_true: Any, y_score: Any, *, pos_label: Any = None, sample_weight: Any = None, drop_intermediate: bool = False
) -> tuple[Array, Array, Array]:
    """Precision and recall for every threshold, thresholds rising, and the thresholds (one less).

    The last point, precision 1 and recall 0, belongs to no threshold. Between points the curve is not a straight line: for
    its area see average_precision_score.
    Raises ValueError where no sample is positive: the recall is then 0/0.

    Example:
        >>> precision_recall_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])[0]
        array([0.5       , 0.66666667, 0.5       , 1.        , 1.        ])
    """
    fp, tp, thresholds = _counts("precision_recall_curve", y_true, y_score, pos_label, sample_weight)
    _some_positive("precision_recall_curve", tp)
    if drop_intermediate and len(tp) > 2:
        end = np.r_[True, (np.diff(tp[:-1]) != 0) | (np.diff(tp[1:]) != 0), True]
        fp, tp, thresholds = fp[end], tp[end], thresholds[end]
    said = fp + tp
    precision = np.where(said == 0, 0.0, tp / np.where(said == 0, 1, said))
    return np.r_[precision[::-1], 1.0], np.r_[(tp / tp[-1])[::-1], 0.0], thresholds[::-1]


def average_precision_score(
    y_true: Any, y_score: Any, *, average: str | None = "macro", sample_weight: Any = None
) -> Any:
    """The area below the precision-recall curve as a sum of steps: of (R_n - R_(n-1)) P_n over thresholds.

    A score without information has about the share of positives, not 0.5. Arguments as in roc_auc_score.
    Raises ValueError where a class has no sample.

    Example:
        >>> average_precision_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.8333333333333333
    """
    return _per_class("average_precision_score", _average_precision, y_true, y_score, average, sample_weight)


def _roc_auc(name: str, y_true: Any, y_score: Any, weights: Any) -> float:
    fp, tp, _ = _counts(name, y_true, y_score, None, weights)
    _both_classes(name, fp, tp)
    return auc(np.r_[0.0, fp], np.r_[0.0, tp]) / float(fp[-1] * tp[-1])  # divided last: exact for counts


def _average_precision(name: str, y_true: Any, y_score: Any, weights: Any) -> float:
    fp, tp, _ = _counts(name, y_true, y_score, None, weights)
    _some_positive(name, tp)
    said = fp + tp
    return float((np.diff(tp, prepend=0.0) / tp[-1] * tp / np.where(said == 0, 1, said)).sum())


def _per_class(
    name: str, metric: Callable[..., float], y_true: Any, y_score: Any, average: str | None, sample_weight: Any
) -> Any:
    """The metric for scores (N,), or for each column of scores (N, C) against the rest, averaged."""
    one_of(name, "average", average, ("macro", "weighted", None))
    score = scores(name, "y_score", y_score, (1, 2))
    if score.ndim == 1:
        return metric(name, y_true, score, sample_weight)
    y = class_numbers(name, y_true, score.shape[1])
    same_length(name, y_true=y, y_score=score)
    weights = sample_weights(name, sample_weight, len(y))
    counts = np.bincount(y, weights, minlength=score.shape[1])
    if not counts.all():
        raise ValueError(
            f"{name}: no sample is of class {int((counts == 0).argmax())}, so it has no value for this class"
        )
    each = np.array([metric(name, (y == c).astype(np.int64), score[:, c], weights) for c in range(score.shape[1])])
    if average is None:
        return each
    return float(each.mean() if average == "macro" else np.average(each, weights=counts))


def _counts(name: str, y_true: Any, y_score: Any, pos_label: Any, sample_weight: Any) -> tuple[Array, Array, Array]:
    """False and true positives (K,) at each of the K different scores as a threshold, and these scores, falling."""
    positive, score = positives(name, y_true, pos_label), scores(name, "y_score", y_score)
    same_length(name, y_true=positive, y_score=score)
    weights = sample_weights(name, sample_weight, len(score))
    order = np.argsort(-score, kind="stable")
    order = order[weights[order] > 0]  # a sample without weight makes no point of the curve
    score, positive, weights = score[order], positive[order], weights[order]
    last = np.r_[np.nonzero(score[1:] != score[:-1])[0], len(score) - 1]  # of each group of equal scores
    return np.cumsum(weights * ~positive)[last], np.cumsum(weights * positive)[last], score[last]


def _both_classes(name: str, fp: Array, tp: Array) -> None:
    if not fp[-1] or not tp[-1]:
        which = "positive" if fp[-1] == 0 else "negative"
        raise ValueError(f"{name}: all samples are {which}; without both classes nothing can be ranked above the other")


def _some_positive(name: str, tp: Array) -> None:
    if not tp[-1]:
        raise ValueError(f"{name}: no sample is positive, so the recall is 0/0")
