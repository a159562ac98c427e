"""Metrics of scores and of probabilities, against scikit-learn, SciPy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import sklearn.calibration
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl as md
from minidl import metrics

SEEDS = st.integers(0, 100_000)


def binary(seed, levels=6):
    """Labels of both classes, scores of few values, and weights of which some are 0."""
    drawn = np.random.default_rng(seed)
    n = int(drawn.integers(4, 40))
    y = (drawn.random(n) < drawn.choice([0.1, 0.5, 0.9])).astype(np.int64)
    y[:2] = 0, 1
    weights = np.where(drawn.random(n) < 0.2, 0, drawn.random(n))
    weights[:2] = 0.3, 0.7
    return y, drawn.integers(0, levels + 1, n) / levels, weights


def several(seed, C=3):
    """Class numbers of which every one occurs, and probabilities with ties."""
    drawn = np.random.default_rng(seed)
    n = int(drawn.integers(2 * C, 40))
    y = np.concatenate([np.arange(C), drawn.integers(0, C, n - C)])
    p = drawn.integers(1, 5, (n, C)).astype(float)
    return y, p / p.sum(1, keepdims=True), drawn.random(n) + 0.1


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.booleans(), st.booleans())
def test_curves_and_areas(seed, weighted, drop):
    y, score, weights = binary(seed)
    options = {"sample_weight": weights if weighted else None}
    # with weights, whether a point lies on a straight line is a question of rounding: there all points are compared
    cut = {"drop_intermediate": drop and not weighted}
    for name in ("roc_curve", "precision_recall_curve"):
        found = getattr(metrics, name)(y, score, **options, **cut)
        for mine, theirs in zip(found, getattr(reference, name)(y, score, **options, **cut), strict=True):
            same(mine, theirs)
    same(metrics.roc_auc_score(y, score, **options), reference.roc_auc_score(y, score, **options))
    same(metrics.average_precision_score(y, score, **options), reference.average_precision_score(y, score, **options))


@settings(deadline=None, max_examples=40)
@given(SEEDS)
def test_the_area_is_the_mann_whitney_statistic(seed):
    y, score, _ = binary(seed, levels=3)
    positive, negative = score[y == 1], score[y == 0]
    pairs = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    same(metrics.roc_auc_score(y, score), pairs.mean())
    u = scipy.stats.mannwhitneyu(positive, negative, method="asymptotic").statistic if np.ptp(score) else pairs.sum()
    same(metrics.roc_auc_score(y, score), u / pairs.size)
    same(metrics.roc_auc_score(y, -score), 1 - metrics.roc_auc_score(y, score))
    same(metrics.roc_auc_score(y, np.exp(3 * score)), metrics.roc_auc_score(y, score))  # the order is all


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.sampled_from(["macro", "weighted"]), st.booleans())
def test_areas_of_several_classes(seed, average, weighted):
    y, p, weights = several(seed)
    options = {"average": average, "sample_weight": weights if weighted else None}
    same(metrics.roc_auc_score(y, p, **options), reference.roc_auc_score(y, p, multi_class="ovr", **options))
    same(metrics.average_precision_score(y, p, **options), reference.average_precision_score(y, p, **options))
    each = metrics.roc_auc_score(y, p, average=None)
    same(each, [reference.roc_auc_score(y == c, p[:, c]) for c in range(3)])


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.booleans(), st.integers(1, 12), st.sampled_from(["uniform", "quantile"]))
def test_probabilities(seed, weighted, n_bins, strategy):
    y, p, weights = binary(seed)
    options = {"sample_weight": weights if weighted else None}
    same(metrics.brier_score_loss(y, p, **options), reference.brier_score_loss(y, p, **options))
    same(metrics.log_loss(y, p, **options), reference.log_loss(y, p, **options))
    for mine, theirs in zip(
        metrics.calibration_curve(y, p, n_bins=n_bins, strategy=strategy),
        sklearn.calibration.calibration_curve(y, p, n_bins=n_bins, strategy=strategy),
        strict=True,
    ):
        same(mine, theirs)
    y, p, weights = several(seed)
    for normalize in (True, False):
        options = {"sample_weight": weights if weighted else None, "normalize": normalize}
        same(metrics.log_loss(y, p, **options), reference.log_loss(y, p, **options))
    options.pop("normalize")
    same(metrics.brier_score_loss(y, p, **options), reference.brier_score_loss(y, p, **options))
    y, p, _ = several(seed, C=2)
    same(metrics.brier_score_loss(y, p), metrics.brier_score_loss(y, p[:, 1]))
    hard = p.astype(np.float32).round()
    hard[:, 1] = 1 - hard[:, 0]
    # clipped at the eps of float32; scikit-learn adds up in float32 too, minidl in float64
    np.testing.assert_allclose(metrics.log_loss(y, hard), reference.log_loss(y, hard), rtol=1e-6)


def test_the_calibration_error_by_its_definition():
    drawn = np.random.default_rng(0)
    p = drawn.dirichlet([1, 1, 1], 300)
    y = np.array([drawn.choice(3, p=row) for row in p])
    confidence, right = p.max(1), p.argmax(1) == y
    error = 0.0
    for low in np.arange(10) / 10:
        inside = (confidence > low) & (confidence <= low + 0.1)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert metrics.expected_calibration_error(y, p, n_bins=10) == pytest.approx(error)
    assert error < 0.15, "the labels were drawn with these probabilities"
    sure = p**4 / (p**4).sum(1, keepdims=True)
    assert metrics.expected_calibration_error(y, sure, n_bins=10) > 0.15
    one = metrics.expected_calibration_error((y == 0).astype(int), p[:, 0], n_bins=1)
    assert one == pytest.approx(abs((y == 0).mean() - p[:, 0].mean()))
    assert metrics.expected_calibration_error([1, 0, 1, 0], [0.5] * 4) == 0


@pytest.mark.tiny
def test_scores_may_be_tensors_and_infinite():
    y, score = md.tensor([0, 1, 0, 1]), md.tensor([0.1, float("inf"), float("-inf"), 0.2]).requires_grad_()
    assert metrics.roc_auc_score(y, score) == 1.0
    assert metrics.roc_auc_score([-1, 1, -1, 1], score) == 1.0
    assert metrics.roc_curve(["a", "b"], [0.2, 0.4], pos_label="a")[1].tolist() == [0, 0, 1]
    assert metrics.auc([3, 2, 0], [1, 1, 3]) == 5.0


@pytest.mark.tiny
@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda m: m.roc_auc_score([1, 1], [0.1, 0.2]),
            "roc_auc_score: all samples are positive; without both classes",
        ),
        (lambda m: m.roc_curve([0, 0], [0.1, 0.2]), "roc_curve: all samples are negative"),
        (lambda m: m.roc_auc_score([0, 1], [0.1, np.nan]), "roc_auc_score: y_score is NaN for sample 1"),
        (lambda m: m.roc_auc_score([0, 1, 1], [0.1, 0.2]), "the numbers of samples differ: y_true 3 and y_score 2"),
        (lambda m: m.roc_auc_score([0, 1, 2], [0.1, 0.2, 0.3]), "y_true holds 3 classes; a single score per sample"),
        (lambda m: m.roc_auc_score([2, 3], [0.1, 0.2]), "y_true holds 2, 3; say which is positive with pos_label="),
        (lambda m: m.roc_curve([0, 1], [[0.9, 0.1], [0.2, 0.8]]), r"\(N,\), got \(2, 2\); take the column"),
        (lambda m: m.roc_auc_score([0, 1, 1], np.eye(3)), "no sample is of class 2"),
        (lambda m: m.roc_auc_score([0, 1, 3], np.eye(3)), "holds the class 3, but there are 3 columns"),
        (lambda m: m.roc_auc_score([0, 1], [0.1, 0.2], multi_class="ovo"), "multi_class is 'ovr'"),
        (lambda m: m.roc_auc_score([0, 1], [0.1, 0.2], average="micro"), "average is one of 'macro', 'weighted', None"),
        (lambda m: m.average_precision_score([0, 0], [0.1, 0.2]), "no sample is positive, so the recall is 0/0"),
        (lambda m: m.precision_recall_curve([0, 1], ["a", "b"]), "y_score holds <U1; it must hold numbers"),
        (lambda m: m.auc([0, 2, 1], [1, 1, 1]), "rise or fall all the way"),
        (lambda m: m.log_loss([0, 1], [0.1, 1.2]), "y_pred holds 1.2, which is no probability; sigmoid or softmax"),
        (lambda m: m.log_loss([0, 1], [[0.2, 0.2], [0.5, 0.5]]), "of sample 0 in y_pred add up to 0.4 instead of 1"),
        (lambda m: m.log_loss([0, 2], [[0.2, 0.8], [0.5, 0.5]]), "holds the class 2, but there are 2 columns"),
        (lambda m: m.log_loss(["a"], [[0.2, 0.8]]), "y_true holds texts; a column of scores"),
        (lambda m: m.brier_score_loss([0], [[0.5, 0.5]], pos_label=1), "with a column per class there is no pos_label"),
        (lambda m: m.calibration_curve([0, 1], [0.1, 0.2], n_bins=0), "n_bins must be at least 1, got 0"),
        (lambda m: m.calibration_curve([0, 1], [0.1, 0.2], strategy="equal"), "strategy is one of 'uniform'"),
        (lambda m: m.expected_calibration_error([], []), "y_prob is empty"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(metrics)
