"""Does attention know the order of its input?

softmax(Q K' / sqrt(D)) V is computed from pairs of rows, and no row's number occurs in it. If the rows of x change places, the
rows of the result change places in the same way, and that is all: attention(P x) = P attention(x). A sentence is a bag of words
to it until positions are added to the rows.

The rows are the 8 rows of a digit's image; attention has 2 heads with weights at random, in float64.
"""

from __future__ import annotations

import math
from typing import Any

import minidl as md
from minidl import nn

from .common import digit_rows
from .demo import Demo, Figure, Measured, Track
from .plots import bars


def positions(length: int, width: int) -> Any:
    """Sines and cosines of falling frequency, (T, D)."""
    angles = md.arange(length).double()[:, None] * md.exp(-math.log(1e4) * md.arange(0, width, 2).double() / width)
    return md.cat([angles.sin(), angles.cos()], 1)


def measure(seed: int, track: Track) -> Measured:
    x = digit_rows(seed).x[:64].double().reshape(64, 8, 8)  # (B, T, D)
    attention = nn.MultiheadAttention(8, 2, batch_first=True).double()
    order = md.randperm(8)

    def difference(encoding: Any) -> float:
        """How far attention of reordered rows is from reordered attention, relatively."""
        with md.no_grad():
            inputs, moved = x + encoding, x[:, order] + encoding
            right, got = (attention(rows, rows, rows)[0] for rows in (inputs, moved))
        return float((got - right[:, order]).norm() / right.norm())

    return {"without.positions": difference(0.0), "with.positions": difference(positions(8, 8))}, {}


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    bars(ax, ["without positions", "with positions"], {"difference": list(figures.values())})
    ax.set(yscale="log", ylim=(1e-18, 10), ylabel="relative difference when rows change places")


DEMO = Demo(
    name="permutation-attention",
    title="Attention, when its rows change places",
    statement="Attention takes the order of a sequence into account by itself.",
    verdict="refutes",
    because="Reordered rows give the same results, reordered; only positions added to the rows make the order count.",
    figures=(
        Figure("without.positions", 0, 1e-12, "difference of attention of reordered rows from reordered attention"),
        Figure("with.positions", 0.015, 0.26, "the same with positions added to the rows"),
    ),
    seeds=12,
    measure=measure,
    draw=draw,
    picture="The difference as two bars on a logarithmic scale: the size of rounding without positions, far larger with them.",
    topics=(16, 17, 26, 27, 36, 37, 46, 47),
    sources=("Vaswani et al., Attention is all you need, 2017",),
    seconds=1,
)
