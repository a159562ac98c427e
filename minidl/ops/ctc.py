"""Connectionist temporal classification: the probability of a label sequence when nobody says where each label stands."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import devices
from ..autograd.op import wrap
from ..autograd.precision import in_float32, under_autocast
from ..tensor import Tensor
from .exponential import exp
from .gather import gather
from .joining import cat, stack
from .loss import reduced
from .reduction import logsumexp
from .selection import where
from .shape import expand

NOWHERE = -1e30  # the logarithm of no probability; an infinity would turn gradients into NaN


def _padded_targets(targets: Any, lengths: Any) -> Any:
    """(N, S) from targets (N, S), or from the targets of all sequences in a row."""
    if targets.ndim == 2:
        return targets
    padded = np.zeros((len(lengths), max(int(lengths.max(initial=0)), 1)), np.int64)
    for row, part, n in zip(padded, np.split(targets, np.cumsum(lengths)[:-1]), lengths, strict=True):
        row[:n] = part[:n]
    return padded


@under_autocast("full")
@in_float32
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability that log_probs (T, N, C) spell the targets, summed over all alignments.

    targets: (N, S) class numbers without `blank`, or those of all sequences in a row; lengths (N,) of both. A label may last
    several steps, blanks may stand between labels and must stand between equal ones. "mean" divides each loss by the length of
    its target first. zero_infinity: losses of targets that do not fit into their input count as 0.
    log_probs are taken to be log_softmax of something; without the batch dimension (T, C) and targets (S,).
    Source: Graves, Fernandez, Gomez & Schmidhuber, "Connectionist Temporal Classification", 2006.
    """
    if log_probs.ndim == 2:
        single = ctc_loss(log_probs.unsqueeze(1), targets.reshape(1, -1), [_number(input_lengths)],
                          [_number(target_lengths)], blank, reduction, zero_infinity)  # fmt: skip
        return single.reshape(()) if reduction == "none" else single
    T, N, C = log_probs.shape
    steps, lengths = (np.asarray(_plain(x), np.int64).reshape(-1) for x in (input_lengths, target_lengths))
    _check(T, N, C, steps, lengths, blank)
    labels = _padded_targets(_plain(targets).astype(np.int64), lengths)

    def there(array: Any) -> Tensor:  # which state may follow which is found on the CPU, as numbers of Python are
        return wrap(devices.move(array, log_probs.device))

    S = labels.shape[1]
    states = np.full((N, 2 * S + 1), blank)  # blanks around and between the labels
    states[:, 1::2] = labels
    # from two states back, unless that would leave out a blank between equal labels
    skips = np.zeros(states.shape, bool)
    skips[:, 2:] = (states[:, 2:] != blank) & (states[:, 2:] != states[:, :-2])
    scores = gather(log_probs, 2, there(np.broadcast_to(states, (T, *states.shape)).copy()))
    nowhere = there(np.full((N, 2), NOWHERE, log_probs.array.dtype))
    follows = there(skips)
    first = there(np.broadcast_to(np.arange(2 * S + 1) < np.where(lengths > 0, 2, 1)[:, None], states.shape))
    alpha = where(first, scores[0], NOWHERE)
    history = [alpha]
    for t in range(1, T):
        one = cat([nowhere[:, :1], alpha[:, :-1]], 1)
        two = where(follows, cat([nowhere, alpha[:, :-2]], 1) if S else alpha, NOWHERE)
        alpha = logsumexp(stack([alpha, one, two]), 0) + scores[t]
        history.append(alpha)
    last = there(np.maximum(steps - 1, 0).reshape(1, N, 1))
    alpha = gather(stack(history), 0, expand(last, (1, N, 2 * S + 1)))[0]
    ends = np.stack([2 * lengths, np.maximum(2 * lengths - 1, 0)], 1)
    at_end = where(there(np.stack([lengths >= 0, lengths > 0], 1)), gather(alpha, 1, there(ends)), NOWHERE)
    losses = -logsumexp(at_end, 1)
    # adds nothing to the value, and what PyTorch's gradient has: that of the softmax which log_probs came from
    p = exp(log_probs) * there((np.arange(T)[:, None] < steps)[..., None].astype(log_probs.array.dtype))
    losses = losses + (p - p.detach()).sum((0, 2))
    impossible = wrap(losses.array > -NOWHERE / 2)
    losses = where(impossible, 0.0 if zero_infinity else float("inf"), losses)
    if reduction == "mean":
        losses = losses / there(np.maximum(lengths, 1).astype(losses.array.dtype))
    return reduced(losses, reduction)


def _plain(x: Any) -> Any:
    return devices.move(x.array, devices.CPU) if isinstance(x, Tensor) else x


def _number(x: Any) -> int:
    return int(np.asarray(_plain(x)).reshape(-1)[0])


def _check(T: int, N: int, C: int, steps: Any, lengths: Any, blank: int) -> None:
    if len(steps) != N or len(lengths) != N:
        raise RuntimeError(
            f"ctc_loss: input_lengths and target_lengths must be of size {N}, got {len(steps)}, {len(lengths)}"
        )
    if not 0 <= blank < C:
        raise RuntimeError(f"ctc_loss: blank must be in label range, 0 to {C - 1}, got {blank}")
    if N and (steps.max() > T or steps.min() < 0):
        raise RuntimeError(f"ctc_loss: Expected input_lengths to have value at most {T}, but got value {steps.max()}")
