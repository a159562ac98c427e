"""Does a heat-map say what the network looks at?

A map of gradient times input lies on the strokes of a digit whatever the network does, since it is 0 where the image is: so it
looks right even for a network that has learned nothing. Deletion tests it. The pixels that a map calls most important are set
to 0, and if the network's answer stands in most images, they were not what it rested on.

Beside pixels drawn at random there are two harder controls that delete strokes as well: the map of an untrained network of the
same make, and the brightest pixels. A map is worth something as far as it does more than these.
"""

from __future__ import annotations

from typing import Any

import minidl as md
from minidl import nn, optim

from .common import accuracy, digit_rows, fit
from .demo import Demo, Figure, Measured, Track
from .plots import lines

DELETED = (0, 5, 10, 15, 20)


def network() -> Any:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def gradient_times_input(model: Any, x: Any, answers: Any) -> Any:
    """How much each pixel (N, 64) speaks for the output `answers` (N,), to first order."""
    x = x.detach().clone().requires_grad_()
    (g,) = md.autograd.grad(model(x).gather(1, answers.unsqueeze(1)).sum(), x)
    return (g * x).detach()


def without(x: Any, scores: Any, count: int) -> Any:
    """The images with the `count` pixels of the highest scores set to 0."""
    return x.scatter(1, scores.argsort(1, descending=True)[:, :count], 0.0)


def measure(seed: int, track: Track) -> Measured:
    x, y, x_test, _ = digit_rows(seed)
    model = network()
    fit(model, optim.Adam(model.parameters(), lr=0.003), x, y, 600)
    model.eval()
    with md.no_grad():
        answers = model(x_test).argmax(1)
    scores = {
        "random": md.rand_like(x_test),
        "untrained": gradient_times_input(network(), x_test, answers),
        "brightest": x_test + 1e-3 * md.rand_like(x_test),  # many are equally bright
        "trained": gradient_times_input(model, x_test, answers),
    }
    curves = {
        name: [accuracy(model, without(x_test, of_pixels, count), answers) for count in DELETED]
        for name, of_pixels in track(scores.items())
    }
    figures = {f"{name}.{count}": curve[DELETED.index(count)] for name, curve in curves.items() for count in (10, 20)}
    for name in ("untrained", "trained"):
        top = scores[name].argsort(1, descending=True)[:, :10]
        figures[f"{name}.stroke"] = float((x_test.gather(1, top) > 0).float().mean())
    return figures, curves


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    names = {"random": "at random", "untrained": "map of an untrained network", "brightest": "the brightest",
             "trained": "map of the network"}  # fmt: skip
    lines(ax, {names[name]: (DELETED, curve) for name, curve in shown.items()}, markers=len(DELETED))
    ax.set(xlabel="pixels of 64 that are deleted", ylabel="share of answers that stand", ylim=(0, 1.05))


DEMO = Demo(
    name="deletion-test",
    title="Answers that stand when pixels are deleted",
    statement="A heat-map that lies on the object shows that the model looks at the right thing.",
    verdict="refutes",
    because="The map of an untrained network lies on the strokes as well, and most answers stand without those pixels.",
    figures=(
        Figure("random.10", 0.84, 0.95, "share of answers that stand without 10 of 64 pixels: drawn at random"),
        Figure("untrained.10", 0.6, 0.86, "top of the map of an untrained network"),
        Figure("brightest.10", 0.36, 0.56, "the brightest"),
        Figure("trained.10", 0, 0.04, "top of the map of the network"),
        Figure("random.20", 0.71, 0.86, "without 20 pixels: drawn at random"),
        Figure("untrained.20", 0.48, 0.79, "top of the map of an untrained network"),
        Figure("brightest.20", 0.08, 0.19, "the brightest"),
        Figure("trained.20", 0, 0.01, "top of the map of the network"),
        Figure("untrained.stroke", 0.98, 1, "share of the top 10 that lie on a stroke: map of an untrained network"),
        Figure("trained.stroke", 0.98, 1, "map of the network"),
    ),
    seeds=12,
    measure=measure,
    draw=draw,
    picture="The share of answers that stand over the number of deleted pixels, as falling lines: slowest for pixels at "
    "random, then the map of an untrained network, the brightest pixels, and the map of the network, which is at 0 from 10 on.",
    topics=(5,),
    sources=(
        "Samek et al., Evaluating the visualization of what a deep neural network has learned, 2017",
        "Adebayo et al., Sanity checks for saliency maps, 2018",
    ),
    seconds=1,
)
