"""Beside all pairs of a positive and a negative sample: with few and with many ties; what the order alone must decide."""

from functools import partial

import numpy as np
from sklearn.metrics import roc_auc_score

from minidl.learn.checks import case, check, equal, forbid, raises, values


def pairs_won(y_true, scores):
    better = scores[y_true == 1][:, None] - scores[y_true == 0]
    return float(np.mean((np.sign(better) + 1) / 2))


def sample(rng, n, step):
    """Labels of both classes, and scores from 0 to 1 in steps (0: no two are equal), higher for positives on average."""
    y_true = rng.permutation(np.arange(n) < rng.integers(1, n))
    scores = (rng.random(n) + 0.3 * y_true) / 1.3
    return y_true.astype(np.int64), np.round(scores / step) * step if step else scores


def cases(rng):
    for y_true, scores in [
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]),
        ([1, 0], [0.3, 0.7]),
        ([0, 1, 1, 0, 1], [0.2, 0.2, 0.9, 0.9, 0.9]),
        ([1, 0, 1, 0], [0.5, 0.5, 0.5, 0.5]),
    ]:
        yield case(np.array(y_true), np.array(scores), note=f"y_true={y_true}, scores={scores}")
    for n, step in [(2, 0), (13, 0), (101, 0), (7, 0.5), (31, 0.25), (101, 0.1), (997, 0.05)]:
        y_true, scores = sample(rng, n, step)
        ties = f"{len(np.unique(scores))} different scores"
        yield case(y_true, scores, note=f"{n} samples, {y_true.sum()} positive, {ties}")


@check("property")
def the_order_alone(subject, rng):
    y_true, scores = sample(rng, 60, 0.1)
    seen = subject.main(y_true, scores)
    yield equal("beside scikit-learn", seen, roc_auc_score(y_true, scores))
    yield equal("scores as logits, 20 s - 10", subject.main(y_true, 20 * scores - 10), seen)
    yield equal("scores cubed", subject.main(y_true, scores**3), seen)
    yield equal("scores negated", subject.main(y_true, -scores), 1 - seen)
    yield equal("samples in another order", subject.main(y_true[::-1], scores[::-1]), seen)
    negatives = np.tile(np.nonzero(y_true == 0)[0], 9)
    rows = np.r_[np.arange(60), negatives]
    yield equal("every negative sample ten times", subject.main(y_true[rows], scores[rows]), seen)


@check("property")
def one_class(subject, rng):
    for label in (0, 1):
        labels = np.full(3, label)
        yield raises(f"y_true={labels.tolist()}", ValueError, partial(subject.main, labels, np.array([0.1, 0.5, 0.7])))


checks = [forbid("scipy", "sklearn", "minidl", "torch"), values(pairs_won, cases), the_order_alone, one_class]
