"""Beside scikit-learn's, with rare and with frequent positives; every way in which a denominator can be 0; what F1 is blind to."""

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from minidl.learn.checks import case, check, equal, forbid, values


def reference(y_true, y_pred):
    measured = precision_recall_fscore_support(y_true, y_pred, average="binary", zero_division=0)
    return tuple(float(value) for value in measured[:3])


def drawn(rng, n, positive, flipped):
    y_true = (rng.random(n) < positive).astype(np.int64)
    return y_true, np.where(rng.random(n) < flipped, 1 - y_true, y_true)


def cases(rng):
    for y_true, y_pred in [
        ([1, 1, 1, 0, 0], [1, 0, 0, 1, 0]),
        ([0, 1, 0, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0, 0]),
        ([1], [1]),
    ]:
        yield case(np.array(y_true), np.array(y_pred), note=f"y_true={y_true}, y_pred={y_pred}")
    for n, positive, flipped in [(11, 0.5, 0.3), (101, 0.3, 0.2), (997, 0.05, 0.04), (997, 0.9, 0.2)]:
        y_true, y_pred = drawn(rng, n, positive, flipped)
        yield case(y_true, y_pred, note=f"{n} samples, {y_true.sum()} positive, {y_pred.sum()} predicted positive")


def nothing_to_divide_by(rng):
    for y_true, y_pred in [
        ([1, 0, 1], [0, 0, 0]),
        ([0, 0, 0], [0, 1, 1]),
        ([0, 0], [0, 0]),
        ([1, 0], [0, 1]),
        ([0], [0]),
    ]:
        yield case(np.array(y_true), np.array(y_pred), note=f"y_true={y_true}, y_pred={y_pred}")


@check("property")
def true_negatives(subject, rng):
    y_true, y_pred = np.array([1, 1, 1, 0, 0]), np.array([1, 1, 0, 1, 0])
    seen = subject.main(y_true, y_pred)
    more = np.zeros(1000, np.int64)
    padded = subject.main(np.r_[y_true, more], np.r_[y_pred, more])
    yield equal("1000 more negatives, all recognized: nothing changes", padded, seen)
    exchanged = subject.main(y_pred, y_true)
    yield equal("y_true and y_pred exchanged: precision is recall", exchanged, (seen[1], seen[0], seen[2]))


checks = [
    forbid("sklearn", "minidl", "torch"),
    values(reference, cases),
    values(reference, nothing_to_divide_by),
    true_negatives,
]
