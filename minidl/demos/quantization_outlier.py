"""How few bits do weights need, and what does one outlier cost?

Symmetric quantization rounds w / s to one of 2**bits - 1 integers around 0, with the scale s = max |w| / (2**(bits - 1) - 1).
One scale can serve the whole matrix (per tensor) or each row, which belongs to one output, its own (per channel). With 8 bits
this loses nothing that can be seen here, and a table that ends there shows nothing. With 2 bits, -s, 0 and s, it decides.

The scale follows the largest weight. One weight, 20 times as large as the largest, makes the scale of its matrix 20 times as
coarse: per tensor for all weights, per channel for those of one row.
"""

from __future__ import annotations

import copy
from typing import Any

import minidl as md
from minidl import nn, optim

from ..pictures import GREY
from .common import accuracy, digit_rows, fit
from .demo import Demo, Figure, Measured, Track
from .plots import lines

BITS = (8, 6, 4, 3, 2)


def quantized(w: Any, bits: int, per_channel: bool) -> Any:
    """A matrix (D_out, D_in), rounded to the integers of so many bits and scaled back."""
    largest = 2 ** (bits - 1) - 1
    scale = (w.abs().amax(1, keepdim=True) if per_channel else w.abs().max()) / largest
    return (w / scale).round().clamp(-largest, largest) * scale


def error(w: Any, kept: Any, per_channel: bool) -> float:
    """The relative error of 8 bits on the weights that `kept` selects."""
    return float(((quantized(w, 8, per_channel) - w)[kept]).norm() / w[kept].norm())


def measure(seed: int, track: Track) -> Measured:
    x, y, x_test, y_test = digit_rows(seed)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    fit(model, optim.Adam(model.parameters(), lr=0.003), x, y, 1000)
    ways = {"tensor": False, "channel": True}
    curves: dict[str, list[float]] = {name: [] for name in ways}
    with md.no_grad():
        for bits in track(BITS):
            for name, per_channel in ways.items():
                small = copy.deepcopy(model)
                for layer in small:
                    if isinstance(layer, nn.Linear):
                        layer.weight.copy_(quantized(layer.weight, bits, per_channel))
                curves[name].append(accuracy(small, x_test, y_test))
        w = model[0].weight.clone()
        w[0, 0] = 20 * w.abs().max()
    others = md.ones_like(w, dtype=md.bool)
    others[0, 0] = False
    figures = {
        "float32": accuracy(model, x_test, y_test),
        "gain.2bit": curves["channel"][-1] - curves["tensor"][-1],
    }
    for name, per_channel in ways.items():
        figures |= {f"{name}.{bits}bit": curves[name][BITS.index(bits)] for bits in (8, 4, 3, 2)}
        figures[f"{name}.outlier"] = error(w, others, per_channel)
    return figures, curves


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    lines(ax, {f"one scale per {name}": (BITS, shown[name]) for name in ("tensor", "channel")}, markers=len(BITS))
    ax.axhline(figures["float32"], color=GREY, linewidth=1)
    ax.annotate("float32", (5, figures["float32"]), (0, 4), textcoords="offset points", fontsize=8, color=GREY)
    ax.set(xlabel="bits of a weight", ylabel="test accuracy", ylim=(0, 1.08))
    ax.invert_xaxis()


DEMO = Demo(
    name="quantization-outlier",
    title="Weights in few bits: one scale per tensor or per channel",
    statement="Quantization scales the range from the least to the greatest weight to integers.",
    verdict="refutes",
    because="One such scale fails at 2 bits and beside an outlier; one per channel loses far less, and confines the outlier to "
    "its row.",
    figures=(
        Figure("float32", 0.94, 0.99, "test accuracy of a network on digits in float32"),
        Figure("tensor.8bit", 0.94, 0.99, "weights of 8 bits, a scale per tensor"),
        Figure("tensor.4bit", 0.94, 0.99, "4 bits"),
        Figure("tensor.3bit", 0.85, 0.99, "3 bits"),
        Figure("tensor.2bit", 0.05, 0.6, "2 bits"),
        Figure("channel.8bit", 0.94, 0.99, "weights of 8 bits, a scale per channel"),
        Figure("channel.4bit", 0.94, 1, "4 bits"),
        Figure("channel.3bit", 0.91, 0.99, "3 bits"),
        Figure("channel.2bit", 0.26, 1, "2 bits"),
        Figure("gain.2bit", 0.05, 1, "accuracy that scales per channel save at 2 bits"),
        Figure("tensor.outlier", 0.099, 0.31, "relative error of the others beside an outlier, 8 bits, per tensor"),
        Figure("channel.outlier", 0.013, 0.039, "and per channel"),
    ),
    seeds=20,
    measure=measure,
    draw=draw,
    picture="Test accuracy over the bits of a weight, from 8 to 2: level down to 4 bits, then falling, further with one scale per "
    "tensor than with one per channel.",
    topics=(7, 13),
    sources=(
        "Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference, 2018",
        "Krishnamoorthi, Quantizing deep convolutional networks for efficient inference, 2018",
        "Dettmers et al., LLM.int8(): 8-bit matrix multiplication for transformers at scale, 2022",
    ),
    seconds=2,
)
