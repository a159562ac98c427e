"""Why dropout divides by 1 - p.

Dropout sets each unit to zero with probability p while training. A layer behind it then adds up only a share 1 - p of its inputs.
Without more, that layer gets inputs 1 / (1 - p) times as large as it has learned for, as soon as nothing is dropped. Inverted
dropout, which every library has, divides what is left by 1 - p while training, so that the mean is the same and evaluation does
nothing at all.

The same network with p = 0.5 behind each of its two hidden layers is trained on the digits both ways.
"""

from __future__ import annotations

from typing import Any

import minidl as md
from minidl import nn, optim

from .common import accuracy, digit_rows, fit
from .demo import Demo, Figure, Measured, Track
from .plots import bars

P, WIDTH = 0.5, 128


class Unscaled(nn.Module):
    """Dropout that drops and does no more."""

    def forward(self, x: Any) -> Any:
        return x * (md.rand_like(x) >= P) if self.training else x


def measure(seed: int, track: Track) -> Measured:
    x, y, x_test, y_test = digit_rows(seed)
    figures = {}
    for name, drop in track([("scaled", lambda: nn.Dropout(P)), ("unscaled", Unscaled)]):
        md.manual_seed(seed)
        model = nn.Sequential(
            *(nn.Linear(64, WIDTH), nn.ReLU(), drop()),
            *(nn.Linear(WIDTH, WIDTH), nn.ReLU(), drop()),
            *(nn.Linear(WIDTH, 10),),
        )
        fit(model, optim.Adam(model.parameters(), lr=0.003), x, y, 600)
        with md.no_grad():
            training, evaluation = (model.train(mode)(x_test) for mode in (True, False))
            figures[f"{name}.loss"] = float(nn.functional.cross_entropy(evaluation, y_test))
        figures[f"{name}.size"] = float(evaluation.norm() / training.norm())
        figures[f"{name}.accuracy"] = accuracy(model, x_test, y_test)
    return figures, {}


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    bars(ax, ["size of outputs, evaluation / training", "test loss", "test accuracy"],
         {name: [figures[f"{name}.{key}"] for key in ("size", "loss", "accuracy")] for name in ("scaled", "unscaled")})  # fmt: skip


DEMO = Demo(
    name="dropout-scaling",
    title="Dropout with and without division by 1 - p",
    statement="Dropout only has to switch off units at random while training.",
    verdict="refutes",
    because="Without the division the outputs are several times as large when nothing is dropped: the classes stay, and are far "
    "too sure.",
    figures=(
        Figure("scaled.size", 0.88, 0.98, "size of the outputs, evaluation by training: divided by 1 - p"),
        Figure("scaled.loss", 0.053, 0.11, "test loss"),
        Figure("scaled.accuracy", 0.95, 0.99, "test accuracy"),
        Figure("unscaled.size", 3.5, 3.9, "size of the outputs, evaluation by training: not divided"),
        Figure("unscaled.loss", 0.073, 0.33, "test loss"),
        Figure("unscaled.accuracy", 0.95, 0.99, "test accuracy"),
    ),
    seeds=12,
    measure=measure,
    draw=draw,
    picture="Bars, with and without the division, for the size of outputs in evaluation by that in training, test loss and test "
    "accuracy.",
    topics=(15, 25, 35, 45),
    sources=("Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, 2014",),
    seconds=2,
)
