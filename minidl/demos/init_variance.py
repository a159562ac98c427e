"""How large should first weights be? The activation decides, not the depth.

A layer of n inputs adds n products, so a signal of mean square q comes out of it with mean square n Var(w) q. Glorot and Bengio
("Xavier") take Var(w) = 2 / (fan_in + fan_out), which is 1/n in a square layer: right where the activation passes the signal
on. ReLU sets half of it to zero and halves the mean square, so He and others take 2/n. A factor of two is a small matter in
one layer. Through 50 layers it is 2**50 in the mean square, 3e7 in the root.

tanh is no clear case for either: its slope is below 1 away from 0, so Xavier's signal shrinks slowly, and it cannot exceed 1,
so He's settles at a size where the slope makes up for the factor of two.

Digits, projected once to 256 numbers, go through 50 layers of 256 units with weights of each kind. In float64, since float32
would round what is left to 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minidl as md
from minidl import nn

from .common import digit_rows
from .demo import Demo, Figure, Measured, Track
from .plots import lines

DEPTH, WIDTH = 50, 256
ACTIVATIONS: dict[str, nn.Module] = {"relu": nn.ReLU(), "tanh": nn.Tanh(), "linear": nn.Identity()}
WEIGHTS: dict[str, Callable[[Any], Any]] = {
    "he": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
    "xavier": nn.init.xavier_normal_,
    "small": lambda w: nn.init.normal_(w, std=0.01),
}
CASES = ("relu.he", "relu.xavier", "relu.small", "tanh.he", "tanh.xavier", "linear.he", "linear.xavier")


def rms(h: Any) -> float:
    return float(h.square().mean().sqrt())


def measure(seed: int, track: Track) -> Measured:
    x = digit_rows(seed).x[:128].double()
    x = (x - x.mean()) / x.std()
    signal = x @ md.randn(64, WIDTH, dtype=md.float64) / 8  # (B, D), of size 1
    curves = {}
    for case in track(CASES):
        activation, weights = case.split(".")
        h, curves[case] = signal, [rms(signal)]
        for _ in range(DEPTH):
            weight = WEIGHTS[weights](md.empty(WIDTH, WIDTH, dtype=md.float64))
            h = ACTIVATIONS[activation](nn.functional.linear(h, weight))
            curves[case].append(rms(h))
    return {case: curve[-1] for case, curve in curves.items()}, curves


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    lines(ax, {case: (range(DEPTH + 1), curve) for case, curve in shown.items() if case != "relu.small"})
    ax.set(yscale="log", xlabel="layer", ylabel="rms of the activations")


DEMO = Demo(
    name="init-variance",
    title="The size of a signal through 50 layers",
    statement="He initialization is for deep networks, Xavier for shallow ones.",
    verdict="refutes",
    because="All these networks are deep: with ReLU only He's weights keep the signal, without an activation only Xavier's.",
    figures=(
        Figure("relu.he", 0.28, 3.6, "rms after 50 layers: ReLU, He"),
        Figure("relu.xavier", 3.7e-9, 1.7e-7, "ReLU, Xavier: dies out"),
        Figure("relu.small", 5e-49, 5.6e-47, "ReLU, standard deviation 0.01"),
        Figure("tanh.he", 0.53, 0.57, "tanh, He"),
        Figure("tanh.xavier", 0.052, 0.16, "tanh, Xavier"),
        Figure("linear.he", 1.4e7, 5.4e7, "no activation, He: explodes"),
        Figure("linear.xavier", 0.4, 1.7, "no activation, Xavier: keeps its size"),
    ),
    seeds=20,
    measure=measure,
    draw=draw,
    picture="Root mean square of the activations over the layers, on a logarithmic scale: ReLU with He and linear with Xavier "
    "stay level, ReLU with Xavier falls and linear with He rises in straight lines, tanh settles.",
    topics=(14, 24, 34, 44),
    sources=(
        "Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010",
        "He et al., Delving deep into rectifiers, 2015",
    ),
    seconds=2,
)
