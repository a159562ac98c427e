"""Which matters more: the optimizer or its learning rate?

A network is trained until 95 % of the held-out digits are right, by SGD, with momentum, and by Adam, each with learning rates
over a wide range. A run that needs more than 1,000 steps counts as 1,000. "Adam is faster" compares one learning rate of Adam with
one of SGD, often the defaults; the table compares each at its best, and each with itself.
"""

from __future__ import annotations

from typing import Any

import minidl as md
from minidl import nn, optim

from .common import accuracy, digit_rows, fit
from .demo import Demo, Figure, Measured, Track
from .plots import lines

LIMIT, TARGET, EVERY = 1000, 0.95, 10
OPTIMIZERS: dict[str, Any] = {
    "sgd": (optim.SGD, {}, (0.03, 0.1, 0.3, 1.0, 3.0)),
    "momentum": (optim.SGD, {"momentum": 0.9}, (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)),
    "adam": (optim.Adam, {}, (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)),
}


def steps_to_target(make: Any, options: dict[str, Any], lr: float, rows: Any) -> int:
    """Steps until the accuracy on held-out digits, looked at every 10 steps, is 95 %."""
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    reached = LIMIT

    def look(step: int) -> bool:
        nonlocal reached
        if step % EVERY == 0 and accuracy(model, rows.x_test, rows.y_test) >= TARGET:
            reached = step
        return reached < LIMIT

    fit(model, make(model.parameters(), lr=lr, **options), rows.x, rows.y, LIMIT, after_step=look)
    return reached


def measure(seed: int, track: Track) -> Measured:
    rows = digit_rows(seed)
    steps: dict[str, dict[float, int]] = {name: {} for name in OPTIMIZERS}
    for name, lr in track([(name, lr) for name, (_, _, rates) in OPTIMIZERS.items() for lr in rates]):
        md.manual_seed(seed)  # the same weights and batches for all
        make, options, _ = OPTIMIZERS[name]
        steps[name][lr] = steps_to_target(make, options, lr, rows)
    best = {name: min(of.values()) for name, of in steps.items()}
    figures: dict[str, float] = {}
    for name, of in steps.items():
        figures |= {f"{name}.best": best[name], f"{name}.worst": max(of.values())}
    figures["optimizer.factor"] = max(best.values()) / min(best.values())
    figures["lr.factor"] = min(max(of.values()) / best[name] for name, of in steps.items())
    figures["lr.by.optimizer"] = figures["lr.factor"] / figures["optimizer.factor"]
    return figures, {"steps": steps}


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    names = {"sgd": "SGD", "momentum": "SGD, momentum 0.9", "adam": "Adam"}
    lines(ax, {names[name]: (list(of), list(of.values())) for name, of in shown["steps"].items()})
    ax.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="steps to 95 % test accuracy")


DEMO = Demo(
    name="lr-vs-optimizer",
    title="Steps to 95 %: learning rates and optimizers",
    statement="A more efficient optimizer such as Adam speeds up training.",
    verdict="refutes",
    because="Each at its best learning rate, they differ by less than what a poor rate costs the one that minds it least.",
    figures=(
        Figure("sgd.best", 47, 220, "steps of SGD at its best learning rate"),
        Figure("sgd.worst", 1000, 1000, "and at its worst of those tried; 1,000 is not reached"),
        Figure("momentum.best", 36, 270, "steps of SGD with momentum at its best"),
        Figure("momentum.worst", 900, 1000, "and at its worst"),
        Figure("adam.best", 15, 240, "steps of Adam at its best"),
        Figure("adam.worst", 600, 1000, "and at its worst"),
        Figure("optimizer.factor", 1, 4.9, "slowest by quickest optimizer, each at its best"),
        Figure("lr.factor", 4.1, 22, "worst by best learning rate, for the optimizer where it matters least"),
        Figure("lr.by.optimizer", 1.2, 27, "the second factor by the first; above 1 the learning rate matters more"),
    ),
    seeds=20,
    measure=measure,
    draw=draw,
    picture="Steps to 95 % over the learning rate, both on logarithmic scales: each optimizer has a valley, at different learning "
    "rates and of about the same depth.",
    topics=(6, 17, 19, 29, 39, 49),
    sources=(
        "Kingma & Ba, Adam: a method for stochastic optimization, 2015",
        "Wilson et al., The marginal value of adaptive gradient methods in machine learning, 2017",
        "Choi et al., On empirical comparisons of optimizers for deep learning, 2019",
    ),
    seconds=5,
)
