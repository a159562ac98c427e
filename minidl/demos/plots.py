"""The one style of the demos' pictures: same size, the numbers beside the picture, curves told apart without colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .demo import Result, written

# Okabe and Ito (2008): told apart by colour-blind readers. A style has its own line and marker as well.
BLACK, GREY = "#000000", "#777777"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", BLACK)
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "///", "...", "xx", "\\\\\\", "++", "oo")
SIZE, DPI = (9.0, 4.5), 120


def lines(ax: Any, curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], markers: int = 8) -> None:
    """A line for each name: its x and y, in the style of its place, with about `markers` markers on it; a legend."""
    for number, (label, (x, y)) in enumerate(curves.items()):
        style = number % len(COLOURS)
        every = max(1, len(x) // markers)
        ax.plot(x, y, color=COLOURS[style], linestyle=LINES[style], marker=MARKERS[style], markersize=5,
                markevery=(number % every, every), linewidth=1.6, label=label)  # fmt: skip
    ax.legend(fontsize=8, frameon=False)


def bars(ax: Any, groups: Sequence[str], series: Mapping[str, Sequence[float]]) -> None:
    """A bar for each group and series, hatched by series, its value written on it; a legend where there are several."""
    width = 0.8 / len(series)
    for number, (label, values) in enumerate(series.items()):
        style = number % len(COLOURS)
        places = [group + (number - (len(series) - 1) / 2) * width for group in range(len(groups))]
        drawn = ax.bar(places, values, 0.92 * width, color=COLOURS[style], alpha=0.75, hatch=HATCHES[style],
                       edgecolor="white", label=label)  # fmt: skip
        ax.bar_label(drawn, [f"{v:.3g}" for v in values], fontsize=7, padding=2)
    ax.set_xticks(range(len(groups)), groups, fontsize=8)
    ax.margins(y=0.12)
    if len(series) > 1:
        ax.legend(fontsize=8, frameon=False)


def picture(result: Result) -> Any:
    """The picture of a run, a matplotlib Figure: the demo's own axes, and the numbers beside them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    ax, numbers = figure.subplots(1, 2, width_ratios=(5, 2))
    result.demo.draw(ax, result.figures, result.shown)
    ax.set_title(result.demo.title, loc="left", fontsize=10)
    ax.grid(True, which="major", linewidth=0.4, alpha=0.5)
    ax.set_axisbelow(True)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    width = max(map(len, result.figures))
    rows = [f"{name:{width}} {written(value):>9}" for name, value in result.figures.items()]
    numbers.axis("off")
    numbers.text(0, 1, "\n".join([f"seed {result.seed}", "", *rows]), family="monospace", fontsize=7.5, va="top")
    return figure


def save(result: Result, path: Path) -> None:
    """Write the picture as .png, .svg or .pdf, whole or not at all, with its description inside. Same run, same bytes."""
    import io

    from matplotlib import rc_context

    from ..serialization import write_whole

    kind = path.suffix.lower().lstrip(".")
    keys: dict[str, dict[str, Any]] = {
        "png": {"Description": result.alt, "Software": None},
        "svg": {"Description": result.alt, "Date": None},
        "pdf": {"Subject": result.alt, "CreationDate": None},
    }
    if kind not in keys:
        raise ValueError(f"a picture is a .png, .svg or .pdf file, got {path.name}")
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "minidl", "svg.fonttype": "none"}):
        result.draw().savefig(buffer, format=kind, metadata=keys[kind])
    write_whole(path, buffer.getvalue())
