"""The style of minidl's pictures, and how they are written: whole or not at all, the same bytes for the same numbers.

matplotlib is imported at the first call.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from .serialization import write_whole

# Okabe and Ito's colours (2008), told apart by people who see fewer of them; and each has a line, a marker and a hatch too
BLUE, ORANGE, BLACK, GREY = "#0072B2", "#D55E00", "#000000", "#777777"
COLORS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#E69F00", BLACK)
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "x")
HATCHES = ("", "///", "...", "xx", "\\\\\\", "++", "oo")
DPI = 120


def figure(width: float = 7.0, height: float = 3.2, panels: int = 1, **subplots: Any) -> tuple[Any, Any]:
    """A matplotlib figure, inches wide and high, and its axes: one, or an array of `panels` beside each other.

    Lines drawn into it take the colours, markers and dashes of the house in turn. Further arguments go to `Figure.subplots`.
    """
    from cycler import cycler
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {
        "axes.prop_cycle": cycler(color=COLORS) + cycler(marker=MARKERS) + cycler(linestyle=LINES),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.labelsize": 9,
        "font.size": 9,
        "lines.markersize": 4,
    }
    with rc_context(style):
        drawn = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(drawn)
        axes = drawn.subplots(1, panels, **subplots)
    return drawn, axes


def grid(axes: Any) -> None:
    """Thin lines behind what is drawn, at the ticks that have numbers."""
    axes.grid(True, which="major", linewidth=0.4, alpha=0.5)
    axes.set_axisbelow(True)


def save(drawn: Any, path: str | os.PathLike[str], alt: str = "") -> None:
    """Write a figure as .png, .svg or .pdf, with what it shows in words inside. Raises ValueError for another kind of file."""
    from matplotlib import rc_context

    path = Path(path)
    kind = path.suffix.lower().lstrip(".")
    keys: dict[str, dict[str, Any]] = {
        "png": {"Description": alt, "Software": None},
        "svg": {"Description": alt, "Date": None},
        "pdf": {"Subject": alt, "CreationDate": None},
    }
    if kind not in keys:
        raise ValueError(f"a picture is a .png, .svg or .pdf file, got {path.name}")
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "minidl", "svg.fonttype": "none"}):
        drawn.savefig(buffer, format=kind, dpi=DPI, metadata=keys[kind])
    write_whole(path, buffer.getvalue())
