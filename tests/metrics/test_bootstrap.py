"""Bootstrap intervals, and the metrics as pictures."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md
from minidl import metrics


def answers(seed, n=300, right=0.9):
    """Labels of three classes and predictions, of which a share is right."""
    drawn = np.random.default_rng(seed)
    y = drawn.integers(0, 3, n)
    return y, np.where(drawn.random(n) < right, y, (y + 1) % 3)


def test_the_interval_of_an_accuracy_is_that_of_the_binomial_distribution():
    y, predicted = answers(0)
    found = metrics.bootstrap_interval(metrics.accuracy_score, y, predicted, n_resamples=2000)
    assert found.value == metrics.accuracy_score(y, predicted)
    half = 1.96 * np.sqrt(found.value * (1 - found.value) / len(y))
    # an end of 2,000 resamples is itself off by about 5 % of the width
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=0.2 * half)
    narrow = metrics.bootstrap_interval(metrics.accuracy_score, y, predicted, n_resamples=2000, confidence=0.5)
    assert found.low < narrow.low < found.value < narrow.high < found.high


def test_it_covers_the_true_value_about_as_often_as_it_says():
    inside = 0
    for seed in range(100):
        y, predicted = answers(seed, n=150)
        interval = metrics.bootstrap_interval(np_accuracy, y, predicted, n_resamples=150, seed=seed)
        inside += interval.low <= 0.9 <= interval.high
    # of 100 draws with 0.95 each, fewer than 85 would be 4.6 standard deviations off
    assert 85 <= inside < 100


def np_accuracy(y, predicted):
    return (y == predicted).mean()


def test_paired_differences():
    y, first = answers(0)
    second = first.copy()
    second[:6] = (first[:6] + 1) % 3  # wrong six times more, where the first was right or wrong
    paired = metrics.bootstrap_interval(metrics.accuracy_score, y, first, second)
    assert paired.value == pytest.approx(np_accuracy(y, first) - np_accuracy(y, second))
    alone = metrics.bootstrap_interval(metrics.accuracy_score, y, first)
    assert paired.high - paired.low < 0.8 * (alone.high - alone.low)
    same = metrics.bootstrap_interval(metrics.accuracy_score, y, first, first)
    assert same == (0.0, 0.0, 0.0)


def test_seeds_and_tensors():
    y, predicted = answers(1)
    state = md.get_rng_state()
    first = metrics.bootstrap_interval(np_accuracy, md.tensor(y), md.tensor(predicted), n_resamples=50)
    assert (md.get_rng_state() == state).all(), "it draws from a generator of its own"
    assert first == metrics.bootstrap_interval(np_accuracy, y, predicted, n_resamples=50)
    assert first != metrics.bootstrap_interval(np_accuracy, y, predicted, n_resamples=50, seed=1)


def test_strata_keep_a_rare_class():
    y = np.array([1, 1] + [0] * 30)
    score = np.linspace(1, 0, 32)
    with pytest.raises(ValueError, match=r"no value on resample \d+; stratify=True keeps .*all samples are negative"):
        metrics.bootstrap_interval(metrics.roc_auc_score, y, score, n_resamples=200)
    kept = metrics.bootstrap_interval(metrics.roc_auc_score, y, score, n_resamples=200, stratify=True)
    assert kept == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        (([0, 1], [0]), {}, "the numbers of samples differ: y_true 2 and y_pred 1"),
        (([0, 1], [0, 1], [1]), {}, "y_true 2 and y_pred 2 and other 1"),
        (([], []), {}, "at least one sample"),
        (([0], [0]), {"confidence": 95}, "a share between 0 and 1, such as 0.95, got 95"),
        (([0], [0]), {"n_resamples": 0}, "n_resamples must be at least 1, got 0"),
    ],
)
def test_mistakes_are_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        metrics.bootstrap_interval(np_accuracy, *arguments, **options)


def test_pictures_show_what_was_measured(tmp_path):
    y, predicted = answers(2)
    score = np.random.default_rng(0).random(300) + (y == 1)
    binary = (y == 1).astype(int)
    p = np.clip(score / 2, 0, 1)
    figure = metrics.plot_confusion_matrix(md.tensor(y), md.tensor(predicted), names=["a", "b", "c"])
    (axes,) = figure.axes
    matrix = metrics.confusion_matrix(y, predicted)
    assert sorted(int(t.get_text()) for t in axes.texts) == sorted(matrix[matrix > 0].tolist())
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b", "c"]
    for plot, scores, value in (
        (metrics.plot_roc_curve, score, metrics.roc_auc_score(binary, score)),
        (metrics.plot_precision_recall_curve, score, metrics.average_precision_score(binary, score)),
        (metrics.plot_reliability, p, metrics.expected_calibration_error(binary, p, n_bins=10)),
    ):
        figure = plot(binary, scores, name="mine")
        legend = [t.get_text() for t in figure.axes[0].get_legend().get_texts()]
        assert any("mine" in text and f"{value:.3f}" in text for text in legend), legend
        figure.savefig(tmp_path / "figure.png")
    axes = figure.axes[0]
    assert plot(binary, p, axes=axes) is figure, "it draws into axes that are given"
