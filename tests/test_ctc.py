"""CTC against the sum over every path, which is what it is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import minidl as md
import minidl.nn.functional as F


def spelled(path):
    """The labels of a path: repetitions once, blanks (0) left out."""
    return [label for label, _ in itertools.groupby(path) if label]


@pytest.mark.parametrize("target", [[1], [1, 2], [1, 1], [2, 1, 2], []])
def test_every_path_counts(target):
    log_p = F.log_softmax(md.randn(4, 1, 3, dtype=md.float64), 2)
    p = log_p.exp().numpy()[:, 0]
    total = sum(
        np.prod([p[t, c] for t, c in enumerate(path)])
        for path in itertools.product(range(3), repeat=4)
        if spelled(path) == target
    )
    padded = md.tensor([target or [1]])  # the padding of an empty target is not looked at
    loss = F.ctc_loss(log_p, padded, [4], [len(target)], reduction="none")
    assert loss.item() == pytest.approx(-np.log(total), rel=1e-12)


def test_a_target_that_does_not_fit():
    log_p = F.log_softmax(md.randn(2, 1, 3), 2).requires_grad_()
    loss = F.ctc_loss(log_p, md.tensor([[1, 1]]), [2], [2], reduction="none")  # 1 1 needs a blank between
    assert loss.tolist() == [np.inf]
    none = F.ctc_loss(log_p, md.tensor([[1, 1]]), [2], [2], zero_infinity=True)
    none.backward()
    assert none.item() == 0 and (log_p.grad == 0).all()


def test_targets_in_a_row_and_of_different_lengths():
    log_p = F.log_softmax(md.randn(5, 2, 4), 2)
    lengths = md.tensor([5, 3]), md.tensor([1, 2])
    padded = F.ctc_loss(log_p, md.tensor([[3, 0], [1, 2]]), *lengths, reduction="none")
    assert F.ctc_loss(log_p, md.tensor([3, 1, 2]), *lengths, reduction="none").tolist() == padded.tolist()
    alone = F.ctc_loss(log_p[:3, 1], md.tensor([1, 2]), 3, 2, reduction="none")
    assert alone.item() == pytest.approx(padded[1].item(), rel=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [(([5, 5], [1, 1], 0), "size 1"), (([9], [1], 0), "at most 5"), (([5], [1], 4), "label range")],
)
def test_errors_say_what_is_wrong(arguments, message):
    steps, lengths, blank = arguments
    with pytest.raises(RuntimeError, match=message):
        F.ctc_loss(md.zeros(5, 1, 4), md.tensor([[1]]), steps, lengths, blank)
