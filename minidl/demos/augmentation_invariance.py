"""What does augmentation buy, and what does it cost?

Augmentation says which changes leave the label as it is. Digits moved by up to one pixel are the same digits: a network that has
seen them so, tells them apart wherever they lie, which the other network does not learn from images that are all centred. That is
what is bought. On centred images the same weights now have nine times as many pictures to fit, and accuracy falls a little:
the test set that everybody measures on is the one that does not ask for the invariance.

A half turn does not leave the label as it is: a 6 becomes a 9. With half of the images turned, the two are harder to tell apart.
"""

from __future__ import annotations

from typing import Any

import minidl as md
from minidl import nn, optim

from .common import accuracy, digit_rows
from .demo import Demo, Figure, Measured, Track
from .plots import bars

FEW, STEPS = 200, 2500


def moved(x: Any) -> Any:
    """Rows of 64 pixels (N, 64), each image moved by -1, 0 or 1 pixel both ways, zeros at the edge."""
    n = len(x)
    padded = nn.functional.pad(x.reshape(n, 8, 8), (1, 1, 1, 1))
    down, right = md.randint(0, 3, (2, n, 1, 1))
    steps = md.arange(8)
    return padded[md.arange(n).reshape(n, 1, 1), down + steps.reshape(8, 1), right + steps].reshape(n, 64)


def turned(x: Any) -> Any:
    """Half of the images, drawn at random, turned by 180 degrees: their pixels from last to first."""
    return md.where(md.rand(len(x), 1) < 0.5, x.flip(1), x)


def train(x: Any, y: Any, steps: int, augment: Any) -> Any:
    """A network that sees each batch as `augment` gives it."""
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = optim.Adam(model.parameters(), lr=0.003)
    for _ in range(steps):
        rows = md.randint(0, len(x), (64,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(augment(x[rows])), y[rows]).backward()
        optimizer.step()
    return model


def measure(seed: int, track: Track) -> Measured:
    x, y, x_test, y_test = digit_rows(seed)
    x_moved = moved(x_test)
    alike = (y_test == 6) | (y_test == 9)
    ways = {"plain": lambda rows: rows, "moved": moved, "turned": turned}
    figures = {}
    for way in track(("plain", "moved")):
        model = train(x, y, STEPS, ways[way])
        figures[f"{way}.centred"] = accuracy(model, x_test, y_test)
        figures[f"{way}.moved"] = accuracy(model, x_moved, y_test)
    for way in track(("plain", "turned")):
        model = train(x[:FEW], y[:FEW], 400, ways[way])
        figures[f"{way}.6and9"] = accuracy(model, x_test[alike], y_test[alike])
    figures["moved.cost"] = figures["plain.centred"] - figures["moved.centred"]
    figures["turned.cost"] = figures["plain.6and9"] - figures["turned.6and9"]
    return figures, {}


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    asked = {"centred": "centred", "moved": "moved by up\nto one pixel", "6and9": f"6 and 9,\n{FEW} labels"}
    bars(ax, list(asked.values()), {
        "as it is": [figures[f"plain.{key}"] for key in asked],
        "augmented: moved, moved, turned": [figures["moved.centred"], figures["moved.moved"], figures["turned.6and9"]],
    })  # fmt: skip
    ax.set(ylabel="test accuracy", ylim=(0, 1.25))


DEMO = Demo(
    name="augmentation-invariance",
    title="Augmented training: moved digits, turned digits",
    statement="Augmenting the data by random rotation and cropping improves generalization.",
    verdict="refutes",
    because="Moved images buy accuracy on moved ones and mostly cost some on centred ones; half turns make a 6 a 9.",
    figures=(
        Figure("plain.centred", 0.94, 1, "test accuracy on centred digits, trained on them as they are"),
        Figure("plain.moved", 0.27, 0.5, "the same network on digits moved by up to one pixel"),
        Figure("moved.centred", 0.9, 0.98, "trained on moved digits: on centred ones"),
        Figure("moved.moved", 0.9, 0.98, "and on moved ones"),
        Figure("moved.cost", -0.01, 0.08, "accuracy on centred digits that the moved ones cost"),
        Figure("plain.6and9", 0.74, 1, "200 labels as they are: accuracy on 6 and 9"),
        Figure("turned.6and9", 0.48, 1, "half of the images turned by 180 degrees: on 6 and 9, upright"),
        Figure("turned.cost", 0, 0.4, "accuracy on 6 and 9 that turning costs"),
    ),
    seeds=12,
    measure=measure,
    draw=draw,
    picture="Test accuracy as bars, without and with augmentation, on centred digits, moved digits, and 6 and 9.",
    topics=(4,),
    sources=("Shorten & Khoshgoftaar, A survey on image data augmentation for deep learning, 2019",),
    seconds=4,
)
