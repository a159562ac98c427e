"""Pictures of measurements: ratios with their spread, and the roofline of a training step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..pictures import BLUE, GREY, ORANGE, figure, grid, save


def plot_ratios(results: dict[str, dict[str, float]], peer: str, threads: int, path: Path) -> None:
    """A dot per workload at the median ratio with a line over its spread, the quickest on top, written to `path`."""
    from matplotlib.ticker import FuncFormatter

    rows = sorted(results.items(), key=lambda item: -item[1]["ratio"])
    drawn, ax = figure(8, 0.9 + 0.3 * len(rows))
    for place, (_, r) in enumerate(rows):
        colour = BLUE if r["ratio"] <= 1 else ORANGE
        ax.plot([r["low"], r["high"]], [place, place], "-", marker="", color=colour, linewidth=1.5, alpha=0.6)
        ax.plot(r["ratio"], place, "o" if r["ratio"] <= 1 else "s", color=colour, markersize=6)
        ax.annotate(
            f"{r['ratio']:.2f}", (r["high"], place), (6, 0), textcoords="offset points", va="center", fontsize=8
        )
    ax.axvline(1, color=GREY, linewidth=1, linestyle="--")
    ax.set_xscale("log", base=2)
    ax.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=9)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.set_xlabel("time of minidl / time of the other")
    work = "1 thread" if threads == 1 else f"{threads} threads"
    ax.set_title(f"minidl beside {peer}, {work}: median and spread of alternating rounds", fontsize=10, loc="right")
    grid(ax)
    ax.margins(x=0.12)
    save(drawn, path)


def plot_roofline(points: list[dict[str, Any]], bandwidth: float, peak: float, title: str, path: Path) -> None:
    """Operations by their arithmetic intensity and rate under the two limits of the machine, named beside the picture.

    points: name, flops, moved (bytes), seconds; bandwidth in bytes and peak in operations per second.
    """
    total = sum(p["seconds"] for p in points)
    points = sorted((p for p in points if p["seconds"] > 0.005 * total), key=lambda p: -p["seconds"])
    drawn, (ax, legend) = figure(10, 5.5, panels=2, width_ratios=(3, 1))
    intensities = [p["flops"] / p["moved"] for p in points]
    low, high = min([*intensities, 0.05]) / 2, max([*intensities, 4 * peak / bandwidth]) * 2
    ridge = peak / bandwidth
    ax.plot(
        [low, ridge, high], [low * bandwidth / 1e9, peak / 1e9, peak / 1e9], "-", marker="", color=GREY, linewidth=1.5
    )
    legend.axis("off")
    lines = [f"{'':3}{'share':>6} {'GFLOP/s':>8}  operation"]
    for number, (p, x) in enumerate(zip(points, intensities, strict=True), 1):
        y, share = p["flops"] / p["seconds"] / 1e9, p["seconds"] / total
        backward = p["name"].endswith("Backward")
        marker, colour = ("s", ORANGE) if backward else ("o", BLUE)
        ax.plot(x, y, marker, color=colour, markersize=4 + 40 * share**0.5, alpha=0.5, markeredgewidth=0)
        ax.annotate(str(number), (x, y), ha="center", va="center", fontsize=8)
        lines.append(f"{number:2d} {share:6.1%} {y:8.1f}  {p['name']}")
    legend.text(0, 1, "\n".join(lines), family="monospace", fontsize=8, va="top", transform=legend.transAxes)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("operations per byte of the arrays read and made")
    ax.set_ylabel("GFLOP/s")
    ax.set_title(
        f"{title}\ncircles forward, squares backward, area = share of the time\n"
        f"grey: copying at {bandwidth / 1e9:.0f} GB/s, matrix products at {peak / 1e9:.0f} GFLOP/s", fontsize=10, loc="left",
    )  # fmt: skip
    grid(ax)
    save(drawn, path)
