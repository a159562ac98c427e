"""The demos' pictures: of one size, with the numbers beside them, and curves that can be told apart without colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..pictures import COLORS, HATCHES, LINES, MARKERS, figure, grid
from .demo import Result, written

SIZE = (9.0, 4.5)


def lines(ax: Any, curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], markers: int = 8) -> None:
    """A line for each name: its x and y, in the style of its place, with about `markers` markers on it; a legend."""
    for number, (label, (x, y)) in enumerate(curves.items()):
        style = number % len(COLORS)
        every = max(1, len(x) // markers)
        ax.plot(x, y, color=COLORS[style], linestyle=LINES[style], marker=MARKERS[style], markersize=5,
                markevery=(number % every, every), linewidth=1.6, label=label)  # fmt: skip
    ax.legend(fontsize=8, frameon=False)


def bars(ax: Any, groups: Sequence[str], series: Mapping[str, Sequence[float]]) -> None:
    """A bar for each group and series, hatched by series, its value written on it; a legend where there are several."""
    width = 0.8 / len(series)
    for number, (label, values) in enumerate(series.items()):
        style = number % len(COLORS)
        places = [group + (number - (len(series) - 1) / 2) * width for group in range(len(groups))]
        drawn = ax.bar(places, values, 0.92 * width, color=COLORS[style], alpha=0.75, hatch=HATCHES[style],
                       edgecolor="white", label=label)  # fmt: skip
        ax.bar_label(drawn, [f"{v:.3g}" for v in values], fontsize=7, padding=2)
    ax.set_xticks(range(len(groups)), groups, fontsize=8)
    ax.margins(y=0.12)
    if len(series) > 1:
        ax.legend(fontsize=8, frameon=False)


def picture(result: Result) -> Any:
    """The picture of a run, a matplotlib Figure: the demo's own axes, and the numbers beside them."""
    drawn, (ax, numbers) = figure(*SIZE, panels=2, width_ratios=(5, 2))
    result.demo.draw(ax, result.figures, result.shown)
    ax.set_title(result.demo.title, loc="left", fontsize=10)
    grid(ax)
    width = max(map(len, result.figures))
    rows = [f"{name:{width}} {written(value):>9}" for name, value in result.figures.items()]
    numbers.axis("off")
    numbers.text(0, 1, "\n".join([f"seed {result.seed}", "", *rows]), family="monospace", fontsize=7.5, va="top")
    return drawn
