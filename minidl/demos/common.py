"""What several experiments need: the digits as rows, a training loop, accuracy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import minidl as md
from minidl import nn
from minidl.datasets import digits


class Rows(NamedTuple):
    """Digits as rows of 64 pixels in [0, 1] with their labels: 1,257 to train on and 540 that nothing is chosen on."""

    x: Any
    y: Any
    x_test: Any
    y_test: Any


def digit_rows(seed: int) -> Rows:
    """The handwritten digits, split by seed."""
    train, *held_out = (digits(split, seed) for split in ("train", "val", "test"))
    x_test, y_test = (md.cat(parts) for parts in zip(*(part.tensors for part in held_out), strict=True))
    return Rows(train.data.flatten(1), train.targets, x_test.flatten(1), y_test)


def fit(
    model: nn.Module,
    optimizer: Any,
    x: Any,
    y: Any,
    steps: int,
    batch: int = 64,
    loss: Callable[[Any, Any], Any] = nn.functional.cross_entropy,
    after_step: Callable[[int], Any] | None = None,
) -> None:
    """Take steps on batches drawn at random; after_step(step) is called behind each, and ends it by returning True."""
    model.train()
    for step in range(1, steps + 1):
        rows = md.randint(0, len(x), (batch,))
        optimizer.zero_grad()
        loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
        if after_step is not None and after_step(step):
            break


def accuracy(model: nn.Module, x: Any, y: Any) -> float:
    """The share of rows whose highest output is their label."""
    model.eval()
    with md.no_grad():
        return float((model(x).argmax(1) == y).float().mean())
