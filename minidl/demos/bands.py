"""Where the bands come from: a demo over many seeds, and bands somewhat wider than what was seen.

    minidl demo NAME --seeds 20

A band is the range over the seeds, widened on both sides by half of it, in logarithms where the figure spreads over more than
a factor of two, and rounded outwards. For 20 normally distributed values that is about 3.7 standard deviations to either side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import median
from typing import NamedTuple

from .demo import Demo, Track


class Spread(NamedTuple):
    """A figure over several seeds, and the band proposed for it."""

    name: str
    low: float
    middle: float
    high: float
    band: tuple[float, float]


def spreads(demo: Demo, seeds: Iterable[int], track: Track = iter) -> list[Spread]:
    """Run a demo with each seed; what each figure did."""
    runs = [demo.run(seed).figures for seed in track(list(seeds))]
    return [spread(figure.name, [values[figure.name] for values in runs]) for figure in demo.figures]


def spread(name: str, values: list[float]) -> Spread:
    """The least, middle and greatest value, and the band around them."""
    low, high = min(values), max(values)
    if low == high and low == int(low):
        band = (low, high)  # a count that every seed agrees on
    elif low > 0 and high > 2 * low:
        factor = math.sqrt(high / low)
        high_edge = min(high * factor, 1.0) if high <= 1 else high * factor  # shares end at 1
        band = (rounded(low / factor, math.floor), rounded(high_edge, math.ceil))
    else:
        margin = (high - low) / 2 or 1e-3 * abs(low)
        low_edge = low - margin if low < 0 or low > margin else 0.0  # what is never negative stays so
        high_edge = min(high + margin, 1.0) if 0 <= low and high <= 1 else high + margin
        band = (rounded(low_edge, math.floor), rounded(high_edge, math.ceil))
    return Spread(name, low, median(values), high, band)


def rounded(value: float, direction: Callable[[float], int], digits: int = 2) -> float:
    """To so many significant digits, down (math.floor) or up (math.ceil)."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) + 1 - digits)
    return float(f"{direction(value / step) * step:.{digits}g}")
