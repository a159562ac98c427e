"""Metrics of labels, against scikit-learn and by hand."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl as md
from minidl import metrics

LABELS = st.integers(0, 3)
PAIRS = st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=30)  # often without one class or the other
WEIGHTS = st.one_of(st.none(), st.integers(0, 1000))


def weights_for(seed, n):
    """None, or weights of which some are 0."""
    if seed is None:
        return None
    drawn = np.random.default_rng(seed)
    return np.where(drawn.random(n) < 0.2, 0.0, drawn.random(n)) + (np.arange(n) == 0) * 0.5


def same(found, expected):
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), rtol=1e-12, atol=1e-14)


@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")  # scikit-learn's, for a matrix of 1 x 1
@settings(deadline=None, max_examples=60)
@given(PAIRS, WEIGHTS, st.sampled_from([None, "true", "pred", "all"]))
def test_confusion_matrix_and_accuracy(pairs, seed, normalize):
    true, predicted = np.array(pairs).T
    weights = weights_for(seed, len(true))
    matrix = metrics.confusion_matrix(true, predicted, sample_weight=weights, normalize=normalize)
    same(matrix, reference.confusion_matrix(true, predicted, sample_weight=weights, normalize=normalize))
    whole = metrics.confusion_matrix(true, predicted, labels=[3, 1, 0, 2, 7])
    same(whole, reference.confusion_matrix(true, predicted, labels=[3, 1, 0, 2, 7]))
    assert whole.dtype == np.int64
    for share in (True, False):
        options = {"normalize": share, "sample_weight": weights}
        same(metrics.accuracy_score(true, predicted, **options), reference.accuracy_score(true, predicted, **options))


@settings(deadline=None, max_examples=120)
@given(
    PAIRS, WEIGHTS, st.sampled_from(["micro", "macro", "weighted", None]), st.sampled_from([0, 1, math.nan]),
    st.sampled_from([0.0, 0.5, 1.0, 2.0, math.inf]), st.sampled_from([None, [2, 0], [1, 5], [0, 1, 2, 3]]),
)  # fmt: skip
def test_precision_recall_and_f_of_several_classes(pairs, seed, average, zero_division, beta, labels):
    true, predicted = np.array(pairs).T
    options = {"average": average, "labels": labels, "zero_division": zero_division,
               "sample_weight": weights_for(seed, len(true))}  # fmt: skip
    if labels is not None and not set(labels) & set(true.tolist()):
        labels = None  # scikit-learn refuses some of these
        options["labels"] = None
    found = metrics.precision_recall_fscore_support(true, predicted, beta=beta, **options)
    expected = reference.precision_recall_fscore_support(true, predicted, beta=beta, **options)
    for mine, theirs in zip(found[:3], expected[:3], strict=True):
        same(mine, theirs)
    assert (found[3] is None) == (average is not None)
    if average is None:
        same(found[3], expected[3])
    same(metrics.precision_score(true, predicted, **options), found[0])
    same(metrics.recall_score(true, predicted, **options), found[1])
    same(metrics.fbeta_score(true, predicted, beta=beta, **options), found[2])
    same(metrics.f1_score(true, predicted, **options), reference.f1_score(true, predicted, **options))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20), st.sampled_from([0, 1]))
def test_precision_recall_and_f_of_two_classes(pairs, pos_label):
    true, predicted = np.array(pairs).T
    if pos_label == 0 and true.all() and predicted.all():
        return  # scikit-learn then says that there is no class 0
    for name in ("precision_score", "recall_score", "f1_score"):
        options = {"pos_label": pos_label, "zero_division": 0}
        same(getattr(metrics, name)(true, predicted, **options),
             getattr(reference, name)(true.astype(int), predicted.astype(int), **options))  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 3), st.booleans(), WEIGHTS)
def test_top_k_accuracy_with_ties(seed, n, k, normalize, weighted):
    drawn = np.random.default_rng(seed)
    y, score = drawn.integers(0, 4, n), drawn.integers(0, 3, (n, 4)) / 2
    options = {"k": k, "normalize": normalize, "sample_weight": weights_for(weighted, n)}
    same(metrics.top_k_accuracy_score(y, score, **options),
         reference.top_k_accuracy_score(y, score, labels=range(4), **options))  # fmt: skip


@pytest.mark.tiny
def test_f1_is_not_made_from_the_accuracy():
    true, predicted = [1] * 4 + [0] * 96, [1] * 3 + [0] + [1] * 3 + [0] * 93
    assert metrics.accuracy_score(true, predicted) == 0.96
    precision, recall = metrics.precision_score(true, predicted), metrics.recall_score(true, predicted)
    assert (precision, recall) == (0.5, 0.75)
    assert metrics.f1_score(true, predicted) == pytest.approx(2 / (1 / 0.5 + 1 / 0.75))
    assert metrics.fbeta_score(true, predicted, beta=2) == pytest.approx(5 * 3 / (5 * 3 + 4 * 1 + 3))
    never = [0] * 100
    assert metrics.accuracy_score(true, never) == 0.96 and metrics.recall_score(true, never) == 0


@pytest.mark.tiny
def test_tensors_texts_and_lists_are_taken():
    true, predicted = md.tensor([0, 1, 2, 2]), md.tensor([[3.0, 1, 0], [0, 1, 3], [0, 0, 1], [0, 0, 1]])
    predicted.requires_grad_()
    assert metrics.accuracy_score(true, predicted.argmax(1)) == 0.75
    assert metrics.top_k_accuracy_score(true, predicted, k=2) == 1.0
    assert metrics.accuracy_score(true.float(), predicted.argmax(1).to(md.uint8)) == 0.75
    assert metrics.confusion_matrix(["cat", "dog"], ["dog", "dog"]).tolist() == [[0, 1], [0, 1]]
    assert metrics.f1_score(["cat", "dog"], ["dog", "dog"], pos_label="dog") == pytest.approx(2 / 3)


def test_a_division_by_zero_is_a_warning_unless_it_is_decided():
    for metric, true, predicted, what in (
        (metrics.precision_score, [0, 1], [0, 0], "precision_score: no sample was predicted of the positive class"),
        (metrics.recall_score, [0, 0], [0, 1], "recall_score: no sample is of the positive class"),
        (metrics.f1_score, [0, 0], [0, 0], "f1_score: no sample is or was predicted of the positive class"),
    ):
        with pytest.warns(metrics.UndefinedMetricWarning, match=what) as caught:
            assert metric(true, predicted) == 0
        assert caught[0].filename == __file__
        assert math.isnan(metric(true, predicted, zero_division=math.nan))
        assert metric(true, predicted, zero_division=1) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metrics.recall_score([0, 1], [0, 0]) == 0  # the precision is 0/0, and nobody asked for it


@pytest.mark.tiny
@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda m: m.accuracy_score([0, 1], [0]),
            "accuracy_score: the numbers of samples differ: y_true 2 and y_pred 1",
        ),
        (lambda m: m.accuracy_score([], []), "y_true is empty"),
        (lambda m: m.accuracy_score([[0], [1]], [0, 1]), r"\(N,\), got the shape \(2, 1\); argmax"),
        (lambda m: m.accuracy_score([0, 1], [0.3, 0.9]), "y_pred holds 0.3, which is no label; compare"),
        (lambda m: m.accuracy_score([0, 1], [float("nan"), 1]), "y_pred holds nan, which is no label"),
        (lambda m: m.accuracy_score(["a"], [1]), "no label is in both"),
        (lambda m: m.accuracy_score([1j], [1]), "holds complex128; labels are whole numbers"),
        (lambda m: m.accuracy_score([0, 1], [0, 1], sample_weight=[1]), "there are 2 samples, but sample_weight has 1"),
        (lambda m: m.accuracy_score([0, 1], [0, 1], sample_weight=[1, -1]), "at least 0, and not all 0"),
        (lambda m: m.confusion_matrix([0, 1], [0, 11], labels=[0, 1]), "y_pred holds 11, which is not in labels: 0, 1"),
        (lambda m: m.confusion_matrix([0, 1], [0, 1], labels=[0, 0, 1]), "labels holds a class twice: 0, 0, 1"),
        (lambda m: m.confusion_matrix([0], [0], normalize="rows"), "normalize is one of None, 'true'"),
        (lambda m: m.precision_score([0, 1, 2], [0, 1, 2]), "there are 3 classes; average='binary' is for two: choose"),
        (lambda m: m.recall_score([0, 1], [0, 1], pos_label=7), "pos_label=7 is none of the classes 0, 1"),
        (lambda m: m.recall_score([0, 1], [0, 1], labels=[0]), "leave out labels"),
        (lambda m: m.f1_score([0, 1], [0, 1], average="samples"), "average is one of 'binary', 'micro'"),
        (lambda m: m.f1_score([0, 1], [0, 1], zero_division=2), "zero_division is 'warn', 0, 1 or NaN, got 2"),
        (lambda m: m.fbeta_score([0, 1], [0, 1], beta=-1), "beta must be a number from 0, got -1"),
        (lambda m: m.top_k_accuracy_score([0, 3], [[1, 2, 3]] * 2), "holds the class 3, but there are 3 columns, for"),
        (lambda m: m.top_k_accuracy_score([0], [[1, 2, 3]], k=3), "k is from 1 to 2 for 3 classes, got 3"),
        (lambda m: m.top_k_accuracy_score([0], [1.0]), r"y_score has the shape \(N, C\), got \(1,\)"),
        (lambda m: m.top_k_accuracy_score([0], [[1, math.nan, 0]]), "y_score is NaN for sample 0"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(metrics)
