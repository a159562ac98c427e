"""Does momentum make up for bad first weights?

A network of 20 hidden ReLU layers is trained on the digits with the same steps, once by plain SGD and once with momentum, from
three kinds of first weights. Momentum adds up past gradients: where the first gradient is 1e-27, a sum of a hundred such is as
good as none. Where a gradient is merely weak, as in the middle case, it helps somewhat.
"""

from __future__ import annotations

from typing import Any

import minidl as md
from minidl import nn, optim

from .common import accuracy, digit_rows, fit
from .demo import Demo, Figure, Measured, Track
from .plots import bars

HIDDEN, WIDTH, STEPS = 20, 64, 400
WEIGHTS = {
    "small": lambda w: nn.init.normal_(w, std=0.01),
    "xavier": nn.init.xavier_normal_,
    "he": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
}
MOMENTUM = {"plain": 0.0, "momentum": 0.9}


def network(fill: Any) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(HIDDEN):
        layers += [nn.Linear(64, WIDTH), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    for layer in model:
        if isinstance(layer, nn.Linear):
            fill(layer.weight)
            nn.init.zeros_(layer.bias)
    return model


def measure(seed: int, track: Track) -> Measured:
    x, y, x_test, y_test = digit_rows(seed)
    x, x_test = 2 * x - 0.6, 2 * x_test - 0.6  # mean about 0
    figures = {}
    for name, momentum in track([(name, momentum) for name in WEIGHTS for momentum in MOMENTUM]):
        md.manual_seed(seed)  # both begin with the same weights, and see the same batches
        model = network(WEIGHTS[name])
        if momentum == "plain":
            nn.functional.cross_entropy(model.double()(x.double()), y).backward()
            figures[f"{name}.gradient"] = float(model[0].weight.grad.norm())
            model.float()
        fit(model, optim.SGD(model.parameters(), lr=0.005, momentum=MOMENTUM[momentum]), x, y, STEPS)
        figures[f"{name}.{momentum}"] = accuracy(model, x_test, y_test)
    return figures, {}


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    bars(ax, ["std 0.01", "Xavier", "He"],
         {f"SGD, {m}": [figures[f"{name}.{m}"] for name in WEIGHTS] for m in MOMENTUM})  # fmt: skip
    ax.set(ylabel="test accuracy", ylim=(0, 1.15))


DEMO = Demo(
    name="momentum-vs-init",
    title="Momentum and first weights, 20 hidden layers",
    statement="A momentum term in the initialization keeps gradients from vanishing or exploding.",
    verdict="refutes",
    because="Momentum belongs to the optimizer: where the first gradient has vanished it changes nothing; the weights do.",
    figures=(
        Figure("small.gradient", 1.3e-26, 2.5e-25, "norm of the first layer's gradient at the start: std 0.01"),
        Figure("xavier.gradient", 1.5e-4, 2.8e-3, "Xavier"),
        Figure("he.gradient", 0.081, 17, "He"),
        Figure("small.plain", 0.08, 0.13, "test accuracy: std 0.01, plain SGD"),
        Figure("small.momentum", 0.08, 0.13, "std 0.01, momentum 0.9"),
        Figure("xavier.plain", 0.043, 0.27, "Xavier, plain SGD"),
        Figure("xavier.momentum", 0.054, 0.57, "Xavier, momentum 0.9"),
        Figure("he.plain", 0.58, 1, "He, plain SGD"),
        Figure("he.momentum", 0.86, 1, "He, momentum 0.9"),
    ),
    seeds=12,
    measure=measure,
    draw=draw,
    picture="Test accuracy as bars for three kinds of first weights, each with plain SGD and with momentum.",
    topics=(14, 24, 34, 44),
    sources=(
        "Sutskever et al., On the importance of initialization and momentum in deep learning, 2013",
        "He et al., Delving deep into rectifiers, 2015",
    ),
    seconds=5,
)
