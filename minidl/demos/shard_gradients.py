"""What do workers do with their gradients?

Data parallel training gives each worker a shard of the batch and the whole network. Each computes the gradient of the mean loss
of its shard; before the step these are joined. For the workers to do what one machine with the whole batch would do, the
result must be the gradient of the mean over all rows: the mean of the gradients where shards are equal, the mean weighted by
the number of rows where they are not. The sum is right in neither case: it is as many times too large as there are workers,
as if the learning rate were.

One batch of 96 digits, in float64: so all that differs beyond 1e-12 is wrong, not rounded.
"""

from __future__ import annotations

from typing import Any

import minidl as md
from minidl import nn

from .common import digit_rows
from .demo import Demo, Figure, Measured, Track
from .plots import bars

EQUAL, UNEQUAL = (24, 24, 24, 24), (10, 20, 66)


def gradient(model: nn.Sequential, x: Any, y: Any) -> Any:
    """The gradient of the mean loss of some rows, all parameters in one vector."""
    loss = nn.functional.cross_entropy(model(x), y)
    return md.cat([g.flatten() for g in md.autograd.grad(loss, list(model.parameters()))])


def measure(seed: int, track: Track) -> Measured:
    rows = digit_rows(seed)
    x, y = rows.x[:96].double(), rows.y[:96]
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).double()
    whole = gradient(model, x, y)

    def error(joined: Any) -> float:
        return float((joined - whole).norm() / whole.norm())

    figures = {}
    for name, sizes in track([("equal", EQUAL), ("unequal", UNEQUAL)]):
        shards = [gradient(model, *shard) for shard in zip(x.split(list(sizes)), y.split(list(sizes)), strict=True)]
        stacked, weights = md.stack(shards), x.new_tensor(sizes) / sum(sizes)
        figures[f"{name}.mean"] = error(stacked.mean(0))
        figures[f"{name}.weighted"] = error(weights @ stacked)
        figures[f"{name}.sum"] = float(stacked.sum(0).norm() / whole.norm())
    return figures, {}


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    ways = ("mean", "weighted")
    bars(ax, ["4 equal shards", "shards of 10, 20, 66"],
         {way: [figures[f"{name}.{way}"] for name in ("equal", "unequal")] for way in ways})  # fmt: skip
    ax.set(yscale="log", ylabel="relative error of the joined gradient", ylim=(1e-18, 10))


DEMO = Demo(
    name="shard-gradients",
    title="Gradients of shards, joined",
    statement="Data parallel workers train on their shards and add up the results.",
    verdict="refutes",
    because="What equals the whole batch is the mean of the gradients, weighted by rows; a sum is too large by the number of "
    "workers.",
    figures=(
        Figure("equal.mean", 0, 1e-14, "relative error against the whole batch: 4 equal shards, mean"),
        Figure("equal.weighted", 0, 1e-14, "mean weighted by rows"),
        Figure("equal.sum", 3.999, 4.001, "length of the sum, of the whole batch's gradient"),
        Figure("unequal.mean", 0.34, 0.89, "relative error: shards of 10, 20 and 66, mean"),
        Figure("unequal.weighted", 0, 1e-14, "mean weighted by rows"),
        Figure("unequal.sum", 2, 4.8, "length of the sum, of the whole batch's gradient"),
    ),
    seeds=20,
    measure=measure,
    draw=draw,
    picture="Relative error of the joined gradient on a logarithmic scale: the size of rounding for equal shards and for the "
    "weighted mean, far larger for the plain mean of unequal shards.",
    topics=(8, 18, 28, 38, 48),
    sources=(
        "Patarasuk & Yuan, Bandwidth optimal all-reduce algorithms for clusters of workstations, 2009",
        "Goyal et al., Accurate, large minibatch SGD: training ImageNet in 1 hour, 2017",
    ),
    seconds=1,
)
