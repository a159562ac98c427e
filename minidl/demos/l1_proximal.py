"""Does an L1 penalty make weights zero?

At its minimum, yes: a weight whose loss gains less than the penalty costs is exactly 0. Whether training gets there depends on
the step. With the subgradient, sign(w), a weight near 0 is moved by rate * strength to the other side of 0, and back by the
next step: it stays small and is never 0. The proximal step (ISTA) takes the gradient of the loss alone, then moves each weight
towards 0 by at most rate * strength, stopping there: soft thresholding.

Softmax regression on the digits, 640 weights, both ways with the same strength; bias and first weights are the same.
"""

from __future__ import annotations

from typing import Any

import minidl as md
from minidl import nn

from .common import accuracy, digit_rows
from .demo import Demo, Figure, Measured, Track
from .plots import lines

RATE, STRENGTH, STEPS = 0.5, 0.01, 600


def subgradient(w: Any, g: Any) -> Any:
    return w - RATE * (g + STRENGTH * w.sign())


def proximal(w: Any, g: Any) -> Any:
    w = w - RATE * g
    return w.sign() * (w.abs() - RATE * STRENGTH).clamp(min=0)


def train(step: Any, x: Any, y: Any) -> tuple[nn.Linear, list[int]]:
    """Gradient descent on all rows; the model, and how many weights were exactly 0 after each step."""
    model, zeros = nn.Linear(64, 10), []
    for _ in range(STEPS):
        loss = nn.functional.cross_entropy(model(x), y)
        g, g_bias = md.autograd.grad(loss, [model.weight, model.bias])
        with md.no_grad():
            model.weight.copy_(step(model.weight, g))
            model.bias -= RATE * g_bias
        zeros.append(int((model.weight == 0).sum()))
    return model, zeros


def measure(seed: int, track: Track) -> Measured:
    x, y, x_test, y_test = digit_rows(seed)
    figures: dict[str, float] = {}
    curves = {}
    for step in track((subgradient, proximal)):
        md.manual_seed(seed)
        model, curves[step.__name__] = train(step, x, y)
        figures[f"{step.__name__}.zeros"] = curves[step.__name__][-1]
        figures[f"{step.__name__}.small"] = int((model.weight.abs() <= RATE * STRENGTH).sum())
        figures[f"{step.__name__}.accuracy"] = accuracy(model, x_test, y_test)
    return figures, curves


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    lines(ax, {name: (range(1, STEPS + 1), curve) for name, curve in shown.items()})
    ax.set(xlabel="step", ylabel="weights that are exactly 0, of 640")


DEMO = Demo(
    name="l1-proximal",
    title="Zeros by L1: subgradient and proximal steps",
    statement="Adding an L1 penalty to the loss and training as usual makes weights exactly zero.",
    verdict="refutes",
    because="Subgradient steps jump over zero and leave weights small; proximal steps stop at zero, at the same accuracy.",
    figures=(
        Figure("subgradient.zeros", 0, 0, "weights that are exactly 0, of 640: subgradient"),
        Figure("subgradient.small", 440, 490, "weights not larger than what the penalty moves in a step"),
        Figure("subgradient.accuracy", 0.87, 0.95, "test accuracy"),
        Figure("proximal.zeros", 520, 550, "weights that are exactly 0, of 640: proximal"),
        Figure("proximal.small", 520, 550, "weights not larger than what the penalty moves in a step"),
        Figure("proximal.accuracy", 0.86, 0.95, "test accuracy"),
    ),
    seeds=20,
    measure=measure,
    draw=draw,
    picture="How many of 640 weights are exactly 0 over the steps: none with subgradient steps, most with proximal steps.",
    topics=(12, 15, 23, 25, 33, 35, 43, 45),
    sources=(
        "Tibshirani, Regression shrinkage and selection via the lasso, 1996",
        "Daubechies, Defrise & De Mol, An iterative thresholding algorithm for linear inverse problems with a sparsity "
        "constraint, 2004",
    ),
    seconds=2,
)
