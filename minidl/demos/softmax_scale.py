"""Why attention divides by the root of the width.

The product of a query and a key adds D terms. If each is of size 1, the sum is of size sqrt(D): the wider the heads, the larger
the scores, with nothing learned yet. Softmax of large scores is nearly one-hot, and where it is, it hardly changes with the
scores: its Jacobian, diag(p) - p p', is nearly 0, so that queries and keys learn nothing. Divided by sqrt(D) scores stay at
size 1 for every width. It is this one softmax that saturates, however deep the network or long the sequence: vanishing
gradients in the usual sense are another matter.

64 digits, projected at random to D numbers of size 1, are queries; 64 others are keys. A query counts as saturated where the
Frobenius norm of its Jacobian is below 0.01.
"""

from __future__ import annotations

from typing import Any

import minidl as md

from .common import digit_rows
from .demo import Demo, Figure, Measured, Track
from .plots import lines

WIDTHS = (16, 64, 256, 1024)
SHOWN = (16, 256, 1024)


def jacobian_norm(p: Any) -> Any:
    """For each row of p (N, T), a softmax: the Frobenius norm of diag(p) - p p'."""
    squares = p.square().sum(-1)
    return (squares - 2 * (p**3).sum(-1) + squares.square()).clamp(min=0).sqrt()


def measure(seed: int, track: Track) -> Measured:
    x = digit_rows(seed).x[:128].double()
    x = x - x.mean(0)
    x = x / x.norm(dim=1, keepdim=True)  # (128, 64), each of length 1
    curves: dict[str, list[float]] = {key: [] for key in ("raw.saturated", "scaled.saturated", "raw.top", "scaled.top")}
    for width in track(WIDTHS):
        q, k = (rows @ md.randn(64, width, dtype=md.float64) for rows in (x[:64], x[64:]))  # entries of size 1
        for name, scale in (("raw", 1.0), ("scaled", width**-0.5)):
            p = (scale * q @ k.T).softmax(-1)
            curves[f"{name}.saturated"].append(float((jacobian_norm(p) < 0.01).double().mean()))
            curves[f"{name}.top"].append(float(p.amax(-1).mean()))
    figures = {f"raw.saturated.{width}": curves["raw.saturated"][WIDTHS.index(width)] for width in SHOWN}
    figures["scaled.saturated"] = max(curves["scaled.saturated"])
    figures["raw.top.1024"] = curves["raw.top"][-1]
    figures["scaled.top.1024"] = curves["scaled.top"][-1]
    return figures, curves


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    lines(ax, {
        "saturated, q k'": (WIDTHS, shown["raw.saturated"]), "saturated, q k' / sqrt(D)": (WIDTHS, shown["scaled.saturated"]),
        "largest weight, q k'": (WIDTHS, shown["raw.top"]), "largest weight, q k' / sqrt(D)": (WIDTHS, shown["scaled.top"]),
    })  # fmt: skip
    ax.set(
        xscale="log", xlabel="D, width of queries and keys", ylabel="share of queries; mean weight", ylim=(-0.03, 1.03)
    )
    ax.set_xticks(WIDTHS, [str(width) for width in WIDTHS])
    ax.minorticks_off()


DEMO = Demo(
    name="softmax-scale",
    title="Scores of attention, and the root of the width",
    statement="Dot products of queries and keys are divided by sqrt(D) to keep softmax out of regions with tiny gradients.",
    verdict="supports",
    because="Without the division the share of saturated queries grows with the width; with it none is saturated at any width.",
    figures=(
        Figure("raw.saturated.16", 0, 0.05, "share of saturated queries, not divided, D = 16"),
        Figure("raw.saturated.256", 0.14, 0.76, "D = 256"),
        Figure("raw.saturated.1024", 0.32, 0.9, "D = 1024"),
        Figure("scaled.saturated", 0, 0.02, "divided by sqrt(D): the largest share at any width"),
        Figure("raw.top.1024", 0.88, 0.99, "mean of the largest weight, not divided, D = 1024"),
        Figure("scaled.top.1024", 0.066, 0.12, "divided by sqrt(D)"),
    ),
    seeds=20,
    measure=measure,
    draw=draw,
    picture="Over the width: the share of saturated queries and the mean largest weight rise without the division, and stay low "
    "with it.",
    topics=(16, 26, 36, 46),
    sources=("Vaswani et al., Attention is all you need, 2017",),
    seconds=1,
)
