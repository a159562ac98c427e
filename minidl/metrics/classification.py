"""Metrics of predicted labels: how often, and in which way, the decision of a classifier is wrong.

All follow from the confusion matrix. For one class as "positive", with TP, FP, FN and TN true and false positives and
negatives:

    accuracy   (TP + TN) / N      the share of all samples that are right
    precision  TP / (TP + FP)     the share of what was called positive that is
    recall     TP / (TP + FN)     the share of what is positive that was found
    F1         the harmonic mean of precision and recall (not of accuracy and recall)

Where 1 % is positive, a classifier that never says so has an accuracy of 0.99, a recall of 0, and no precision at all.
Source: van Rijsbergen, "Information retrieval" (1979), for precision, recall and F.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from .inputs import (
    Array,
    UndefinedMetricWarning,
    class_labels,
    class_numbers,
    one_of,
    pair_of_labels,
    same_length,
    sample_weights,
    scores,
)

AVERAGES = ("binary", "micro", "macro", "weighted", None)


def confusion_matrix(
    y_true: Any, y_pred: Any, *, labels: Any = None, sample_weight: Any = None, normalize: str | None = None
) -> Array:
    """How many samples of the true class (row) were predicted to be of which class (column): (C, C), int64.

    labels: the classes in the order of the rows; by default the sorted ones of both arguments. normalize: "true" divides
    rows by their sums, "pred" columns, "all" everything (then, and with weights, it is float64; 0/0 is 0).
    Raises ValueError for a label that is not in `labels`, where scikit-learn leaves the sample out.

    Example:
        >>> confusion_matrix([0, 0, 1], [0, 1, 1])
        array([[1, 1],
               [0, 1]])
    """
    name = "confusion_matrix"
    one_of(name, "normalize", normalize, (None, "true", "pred", "all"))
    true, predicted = pair_of_labels(name, y_true, y_pred)
    weights = sample_weights(name, sample_weight, len(true))
    given = None if labels is None else _distinct(name, labels)
    classes = np.unique(np.concatenate([true, predicted])) if given is None else given
    for which, y in (("y_true", true), ("y_pred", predicted)):
        unknown = np.setdiff1d(y, classes)
        if len(unknown):
            raise ValueError(
                f"{name}: {which} holds {unknown[0]}, which is not in labels: {', '.join(map(str, classes))}"
            )
    order = np.argsort(classes, kind="stable")
    rows, columns = (order[np.searchsorted(classes, y, sorter=order)] for y in (true, predicted))
    C = len(classes)
    matrix = np.bincount(rows * C + columns, weights, C * C).reshape(C, C)
    if normalize is None:
        return matrix.astype(np.int64) if sample_weight is None else matrix
    total = {"true": matrix.sum(1, keepdims=True), "pred": matrix.sum(0, keepdims=True), "all": matrix.sum()}[normalize]
    return matrix / np.where(total == 0, 1, total)


def accuracy_score(y_true: Any, y_pred: Any, *, normalize: bool = True, sample_weight: Any = None) -> float:
    """The share of samples whose label was predicted, or with normalize=False their number.

    Accuracy is not precision: it counts the right negatives too, and says little where one class is rare.

    Example:
        >>> accuracy_score([0, 1, 2, 2], [0, 1, 2, 1])
        0.75
    """
    true, predicted = pair_of_labels("accuracy_score", y_true, y_pred)
    weights = sample_weights("accuracy_score", sample_weight, len(true))
    right = float(weights[true == predicted].sum())
    return right / float(weights.sum()) if normalize else right


def precision_recall_fscore_support(
    y_true: Any,
    y_pred: Any,
    *,
    beta: float = 1.0,
    labels: Any = None,
    pos_label: Any = 1,
    average: str | None = None,
    sample_weight: Any = None,
    zero_division: Any = "warn",
) -> tuple[Any, Any, Any, Any]:
    """Precision, recall, F-beta and support (how many samples are of the class), of each class or averaged.

    average: None gives arrays (C,) in the order of `labels`. "binary": of the class `pos_label` only. "macro": the mean over
    classes, each counting the same. "weighted": the mean weighted by support. "micro": from the counts of all classes
    together; over all classes of a problem with one label per sample, precision, recall and F1 are then all the accuracy.
    The support is None where there is an average.
    labels: the classes to look at (default: all that occur); a class that is left out still counts as a wrong prediction.
    zero_division: what 0/0 is: 0, 1, NaN (such a class is left out of means), or "warn", which is 0 with a warning.
    F-beta is (1 + beta^2) TP / ((1 + beta^2) TP + beta^2 FN + FP); above 1, beta favours recall.
    Raises ValueError for average="binary" with more than two classes.

    Example:
        >>> precision_recall_fscore_support([0, 1, 1, 1], [0, 0, 1, 1], average="binary")
        (1.0, 0.6666666666666666, 0.8, None)
    """
    options = (beta, labels, pos_label, average, sample_weight, zero_division)
    return _scores("precision_recall_fscore_support", y_true, y_pred, *options, ("precision", "recall", "F"))


def precision_score(
    y_true: Any, y_pred: Any, *, labels: Any = None, pos_label: Any = 1, average: str | None = "binary",
    sample_weight: Any = None, zero_division: Any = "warn",
) -> Any:  # fmt: skip
    """TP / (TP + FP): of the samples that were called positive, the share that is. Not the accuracy, and not the recall.

    For the options see precision_recall_fscore_support.

    Example:
        >>> precision_score([0, 1, 1, 1], [1, 0, 1, 1])
        0.6666666666666666
    """
    options = (1.0, labels, pos_label, average, sample_weight, zero_division)
    return _scores("precision_score", y_true, y_pred, *options, ("precision",))[0]


def recall_score(
    y_true: Any, y_pred: Any, *, labels: Any = None, pos_label: Any = 1, average: str | None = "binary",
    sample_weight: Any = None, zero_division: Any = "warn",
) -> Any:  # fmt: skip
    """TP / (TP + FN): of the samples that are positive, the share that was found. The denominator is not N.

    For the options see precision_recall_fscore_support.

    Example:
        >>> recall_score([0, 1, 1, 1, 1], [0, 0, 1, 1, 1])
        0.75
    """
    options = (1.0, labels, pos_label, average, sample_weight, zero_division)
    return _scores("recall_score", y_true, y_pred, *options, ("recall",))[1]


def fbeta_score(
    y_true: Any, y_pred: Any, *, beta: float, labels: Any = None, pos_label: Any = 1, average: str | None = "binary",
    sample_weight: Any = None, zero_division: Any = "warn",
) -> Any:  # fmt: skip
    """The weighted harmonic mean of precision and recall: 1 / F = (1 / P + beta^2 / R) / (1 + beta^2).

    beta 1 is F1; 2 makes recall count more, 0.5 precision. For the options see precision_recall_fscore_support.
    Source: van Rijsbergen, "Information retrieval" (1979), whose effectiveness E is 1 - F.
    """
    options = (beta, labels, pos_label, average, sample_weight, zero_division)
    return _scores("fbeta_score", y_true, y_pred, *options, ("F",))[2]


def f1_score(
    y_true: Any, y_pred: Any, *, labels: Any = None, pos_label: Any = 1, average: str | None = "binary",
    sample_weight: Any = None, zero_division: Any = "warn",
) -> Any:  # fmt: skip
    """The harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN). True negatives do not appear in it.

    For the options see precision_recall_fscore_support.

    Example:
        >>> f1_score([0, 1, 1, 1], [0, 0, 1, 1])
        0.8
    """
    options = (1.0, labels, pos_label, average, sample_weight, zero_division)
    return _scores("f1_score", y_true, y_pred, *options, ("F",))[2]


def top_k_accuracy_score(
    y_true: Any, y_score: Any, *, k: int = 2, normalize: bool = True, sample_weight: Any = None
) -> float:
    """The share of samples whose class is among the k highest scores of its row; y_true (N,), y_score (N, C).

    Of equal scores the later class counts as the higher, as in scikit-learn.
    Raises ValueError for a label that is not the number of a column, and for k below 1 or of C and more, which is always right.

    Example:
        >>> top_k_accuracy_score([0, 1], [[0.5, 0.3, 0.2], [0.6, 0.1, 0.3]], k=2)
        0.5
    """
    name = "top_k_accuracy_score"
    score = scores(name, "y_score", y_score, (2,))
    y = class_numbers(name, y_true, score.shape[1])
    same_length(name, y_true=y, y_score=score)
    if not 1 <= k < score.shape[1]:
        raise ValueError(f"{name}: k is from 1 to {score.shape[1] - 1} for {score.shape[1]} classes, got {k}")
    weights = sample_weights(name, sample_weight, len(y))
    best = np.argsort(score, 1, kind="stable")[:, -k:]
    right = float(weights[(best == y[:, None]).any(1)].sum())
    return right / float(weights.sum()) if normalize else right


def _distinct(metric: str, labels: Any) -> Array:
    found = class_labels(metric, "labels", labels)
    if len(np.unique(found)) != len(found):
        raise ValueError(f"{metric}: labels holds a class twice: {', '.join(map(str, found))}")
    return found


def _scores(
    metric: str, y_true: Any, y_pred: Any, beta: float, labels: Any, pos_label: Any, average: str | None,
    sample_weight: Any, zero_division: Any, warn_for: tuple[str, ...],
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """Precision, recall, F-beta and support; `warn_for` names those of them that the caller asked for."""
    one_of(metric, "average", average, AVERAGES)
    if not beta >= 0:
        raise ValueError(f"{metric}: beta must be a number from 0, got {beta}")
    if zero_division != "warn" and zero_division not in (0, 1) and not math.isnan(zero_division):
        raise ValueError(f"{metric}: zero_division is 'warn', 0, 1 or NaN, got {zero_division!r}")
    true, predicted = pair_of_labels(metric, y_true, y_pred)
    weights = sample_weights(metric, sample_weight, len(true))
    classes = _classes(metric, true, predicted, labels, pos_label, average)
    found, said, there = (
        np.array([weights[chosen].sum() for chosen in which])
        for which in zip(*((t & p, p, t) for t, p in ((true == c, predicted == c) for c in classes)), strict=True)
    )
    support = there
    if average == "micro":
        found, said, there = (np.array([counts.sum()]) for counts in (found, said, there))
    square = beta * beta
    weighted = there if math.isinf(square) else square * there + said
    both = found if math.isinf(square) else (1 + square) * found
    values = []
    for what, above, below in (("precision", found, said), ("recall", found, there), ("F", both, weighted)):
        wanted = zero_division if what in warn_for or zero_division != "warn" else 0
        each = _divided(metric, what, above, below, wanted)
        values.append(each if average is None else _mean(each, support if average == "weighted" else None))
    counts = support.astype(np.int64) if sample_weight is None else support
    return values[0], values[1], values[2], counts if average is None else None


def _classes(metric: str, true: Array, predicted: Array, labels: Any, pos_label: Any, average: str | None) -> Array:
    """The classes that count."""
    present = np.unique(np.concatenate([true, predicted]))
    if average != "binary":
        return present if labels is None else _distinct(metric, labels)
    if labels is not None:
        raise ValueError(f"{metric}: average='binary' looks at the class pos_label alone; leave out labels")
    if len(present) > 2:
        raise ValueError(
            f"{metric}: there are {len(present)} classes; average='binary' is for two: choose 'micro', 'macro', "
            "'weighted', or None for each class"
        )
    if pos_label not in present.tolist() and len(present) == 2:
        raise ValueError(f"{metric}: pos_label={pos_label!r} is none of the classes {', '.join(map(str, present))}")
    return np.array([pos_label])


def _divided(metric: str, what: str, above: Array, below: Array, zero_division: Any) -> Array:
    empty = below == 0
    if empty.any() and zero_division == "warn":
        why = {"precision": "no sample was predicted", "recall": "no sample is", "F": "no sample is or was predicted"}[
            what
        ]
        warnings.warn(
            f"{metric}: {why} of {'a class' if len(below) > 1 else 'the positive class'}, so {what} is 0/0, and 0 is "
            "taken for it; zero_division= says what it is",
            UndefinedMetricWarning,
            stacklevel=4,
        )
    return np.where(empty, 0.0 if zero_division == "warn" else zero_division, above / np.where(empty, 1, below))


def _mean(values: Array, weights: Array | None) -> float:
    """The mean of what is no NaN, each counting the same where all weights are 0."""
    there = ~np.isnan(values)
    if not there.any():
        return math.nan
    if weights is None or not weights[there].any():
        return float(values[there].mean())
    return float(np.average(values[there], weights=weights[there]))
