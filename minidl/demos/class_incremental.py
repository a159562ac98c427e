"""What is left of old classes after new ones are learned?

A network learns the digits 0 to 4, then 5 to 9 from images of these alone. Nothing in the second loss speaks for the first five
outputs, so training drives them down: all old images are called something new. That is catastrophic forgetting, and "train
on the new data only" is its cause, not its cure. Replay keeps 20 images of each old class and mixes them into the batches.

How bad it looks depends on the question. Asked to choose among 0 to 4 only (task-incremental: somebody says which task an image
belongs to), the forgetful network still answers well: its outputs for old classes are low and still in order. Asked among all
ten (class-incremental) it fails.
"""

from __future__ import annotations

import copy
from typing import Any

import minidl as md
from minidl import nn, optim

from ..pictures import GREY
from .common import accuracy, digit_rows, fit
from .demo import Demo, Figure, Measured, Track
from .plots import bars

STEPS, KEPT = 400, 20


class OldOnly(nn.Module):
    """The network, asked among 0 to 4 only."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Any) -> Any:
        return self.model(x)[:, :5]


def memory(x: Any, y: Any) -> tuple[Any, Any]:
    """The first KEPT images of each old class."""
    rows = md.cat([(y == c).nonzero()[:KEPT, 0] for c in range(5)])
    return x[rows], y[rows]


def measure(seed: int, track: Track) -> Measured:
    x, y, x_test, y_test = digit_rows(seed)
    old, old_test = y < 5, y_test < 5
    first = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    fit(first, optim.Adam(first.parameters(), lr=0.003), x[old], y[old], STEPS)
    figures = {"before.old": accuracy(first, x_test[old_test], y_test[old_test])}
    x_kept, y_kept = memory(x[old], y[old])
    times = round(len(x[~old]) / len(x_kept))  # so that half of a batch is old
    data = {
        "naive": (x[~old], y[~old]),
        "replay": (md.cat([x[~old], *times * [x_kept]]), md.cat([y[~old], *times * [y_kept]])),
    }
    for name, (x_mixed, y_mixed) in track(data.items()):
        model = copy.deepcopy(first)
        fit(model, optim.Adam(model.parameters(), lr=0.003), x_mixed, y_mixed, STEPS)
        figures[f"{name}.old"] = accuracy(model, x_test[old_test], y_test[old_test])
        figures[f"{name}.new"] = accuracy(model, x_test[~old_test], y_test[~old_test])
        figures[f"{name}.old.masked"] = accuracy(OldOnly(model), x_test[old_test], y_test[old_test])
    return figures, {}


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    asked = {
        "old": "old classes,\namong ten",
        "old.masked": "old classes,\namong five",
        "new": "new classes,\namong ten",
    }
    bars(ax, list(asked.values()), {name: [figures[f"{name}.{key}"] for key in asked] for name in ("naive", "replay")})
    ax.axhline(figures["before.old"], color=GREY, linewidth=1, linestyle="--")
    ax.set(ylabel="test accuracy", ylim=(0, 1.25))


DEMO = Demo(
    name="class-incremental",
    title="Old classes after new ones are learned",
    statement="Incremental learning trains the model again on the new task only.",
    verdict="refutes",
    because="That is what makes it forget; a few replayed images keep most. Asked among the old classes only, it hides.",
    figures=(
        Figure("before.old", 0.97, 1, "test accuracy on 0 to 4 before 5 to 9 are learned"),
        Figure("naive.old", 0, 0.05, "after it, new images only, asked among ten"),
        Figure("naive.old.masked", 0.77, 1, "the same network, asked among 0 to 4"),
        Figure("naive.new", 0.93, 1, "test accuracy on 5 to 9"),
        Figure("replay.old", 0.86, 1, "20 old images of each class mixed in, asked among ten"),
        Figure("replay.old.masked", 0.96, 1, "asked among 0 to 4"),
        Figure("replay.new", 0.89, 1, "test accuracy on 5 to 9"),
    ),
    seeds=20,
    measure=measure,
    draw=draw,
    picture="Test accuracy as bars for old classes asked among ten, old classes asked among five, and new classes, each without "
    "and with replay; a dashed line marks the old classes before.",
    topics=(10, 22, 32, 42),
    sources=(
        "McCloskey & Cohen, Catastrophic interference in connectionist networks, 1989",
        "Rebuffi et al., iCaRL: incremental classifier and representation learning, 2017",
        "van de Ven, Tuytelaars & Tolias, Three types of incremental learning, 2022",
    ),
    seconds=2,
)
