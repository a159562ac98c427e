"""What a demo is made of: figures with the bands they belong in, the statement that they decide, the experiment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

Track = Callable[[Iterable[Any]], Iterable[Any]]  # gives the items on, and may show how far it is
Measured = tuple[dict[str, float], dict[str, Any]]  # the figures, and what else the picture and the reader want to see


@dataclass(frozen=True)
class Figure:
    """A number that a demo measures: its name, the band [low, high] that it belongs in, and what it is in one line."""

    name: str
    low: float
    high: float
    what: str
    unit: str = ""

    @property
    def band(self) -> tuple[float, float]:
        return self.low, self.high

    def holds(self, value: float) -> bool:
        """Whether a value lies in the band; NaN does not."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Demo:
    """An experiment and the statement that it decides as long as every figure is in its band.

    name, title         as listed; the title says what is looked at
    statement           what was claimed
    verdict, because    "supports" or "refutes" the statement, and the reason in words
    figures, seeds      the figures with their bands, and over how many seeds the bands were measured
    measure             measure(seed, track): the figures by name, and a dictionary for `draw` (its "notes", lines of text, are
                        printed: what is worth seeing but differs between machines)
    draw                draw(axes, figures, shown): the picture
    picture             what the picture shows, in words, for those who cannot see it
    topics, sources     the interview questions it belongs to, by number; papers
    seconds             about how long it takes on one core
    """

    name: str
    title: str
    statement: str
    verdict: Literal["supports", "refutes"]
    because: str
    figures: tuple[Figure, ...]
    seeds: int
    measure: Callable[[int, Track], Measured]
    draw: Callable[[Any, dict[str, float], dict[str, Any]], None]
    picture: str
    topics: tuple[int, ...]
    sources: tuple[str, ...]
    seconds: float

    def figure(self, name: str) -> Figure:
        """The figure of that name. Raises KeyError, with the nearest name there is, for another."""
        by_name = {figure.name: figure for figure in self.figures}
        if name not in by_name:
            near = get_close_matches(name, by_name, n=1, cutoff=0.4)
            raise KeyError(f"{self.name} has no figure {name!r}{f'; did you mean {near[0]}?' if near else ''}")
        return by_name[name]

    def run(self, seed: int = 0, track: Track = iter) -> Result:
        """Measure. The same seed gives the same figures; the global generator is left as it was."""
        from .. import random

        if not 0 <= seed < 2**32:
            raise ValueError(f"{self.name}: seed is a number from 0 to 2**32 - 1, got {seed}")
        begin = time.perf_counter()
        with random.fork_rng():
            random.manual_seed(seed)
            values, shown = self.measure(seed, track)
        if set(values) != {figure.name for figure in self.figures}:
            raise RuntimeError(f"{self.name} measured {sorted(values)}, and lists {[f.name for f in self.figures]}")
        values = {figure.name: float(values[figure.name]) for figure in self.figures}
        return Result(self, seed, values, shown, time.perf_counter() - begin)

    def described(self) -> dict[str, Any]:
        """What `minidl demo --json` says of it."""
        return {
            **{"name": self.name, "title": self.title, "statement": self.statement, "verdict": self.verdict},
            **{"because": self.because, "topics": list(self.topics), "seconds": self.seconds, "seeds": self.seeds},
            "sources": list(self.sources),
            "figures": [{"name": f.name, "band": f.band, "unit": f.unit, "what": f.what} for f in self.figures],
        }


@dataclass(frozen=True)
class Result:
    """What a run measured: the figures by name, in the demo's order."""

    demo: Demo
    seed: int
    figures: dict[str, float]
    shown: dict[str, Any] = field(repr=False)
    seconds: float = 0.0

    @property
    def outside(self) -> list[str]:
        """The names of the figures that are not in their bands."""
        return [figure.name for figure in self.demo.figures if not figure.holds(self.figures[figure.name])]

    @property
    def passed(self) -> bool:
        return not self.outside

    @property
    def notes(self) -> list[str]:
        """Lines to print that no band belongs to, such as times."""
        return list(self.shown.get("notes", []))

    @property
    def sentence(self) -> str:
        """Which statement the figures support or refute."""
        demo = self.demo
        if self.passed:
            return f'This {demo.verdict} "{demo.statement}" {demo.because}'
        return f'{", ".join(self.outside)} out of band: this run decides nothing about "{demo.statement}"'

    @property
    def alt(self) -> str:
        """The picture in words: what it shows, and the figures."""
        listed = ", ".join(f"{name} {written(value)}" for name, value in self.figures.items())
        return f"{self.demo.title}. {self.demo.picture} Measured with seed {self.seed}: {listed}."

    def draw(self) -> Any:
        """The picture, a matplotlib Figure."""
        from .plots import picture

        return picture(self)

    def plot(self, path: str | Path) -> None:
        """Draw to a .png, .svg or .pdf file, which holds `alt` as its description."""
        from ..pictures import save

        save(self.draw(), path, self.alt)

    def described(self) -> dict[str, Any]:
        """What `minidl demo NAME --json` says of it."""
        demo = self.demo.described()
        figures = [
            {**figure, "value": self.figures[figure["name"]], "passed": figure["name"] not in self.outside}
            for figure in demo.pop("figures")
        ]
        return {
            **{**demo, "seed": self.seed, "seconds": round(self.seconds, 2), "figures": figures, "passed": self.passed},
            **{"sentence": self.sentence, "notes": self.notes, "alt": self.alt},
        }


def written(value: float) -> str:
    """A figure as it is printed: four significant digits."""
    return f"{value:.4g}"
