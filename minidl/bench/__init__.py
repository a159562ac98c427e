"""`minidl bench`: the engine beside PyTorch, in one process, in turn.

Both sides do the same work on the same numbers. Rounds alternate, so that a slow spell of the machine hits both; the figure
is the median over rounds of the ratio within a round, its spread the smallest and largest. Below 1, minidl takes less time.
Where PyTorch is not installed, the peer is minidl itself on the NumPy reference kernels.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from . import processes, workloads
from .decoding import DECODING
from .sizes import SIZES
from .small import SMALL

Step = Callable[[], float]


def measure(step: Step, seconds: float) -> float:
    """The median time of a step, in seconds, over about `seconds`."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def compare(ours: Step, theirs: Step, rounds: int, seconds: float = 0.15) -> dict[str, float]:
    """Median times of both, and median, smallest and largest ratio ours / theirs over alternating rounds."""
    for step in (ours, theirs):
        for _ in range(3):
            step()
    pairs = [(measure(ours, seconds), measure(theirs, seconds)) for _ in range(rounds)]
    ratios = [a / b for a, b in pairs]
    return {
        "ours": statistics.median(a for a, _ in pairs),
        "theirs": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
    }


@contextmanager
def at_threads(threads: int) -> Iterator[None]:
    """Hold minidl, and every BLAS in the process, to that many threads until the end of the block."""
    from threadpoolctl import threadpool_limits

    import minidl

    before = minidl.get_num_threads()
    with threadpool_limits(threads):
        minidl.set_num_threads(threads)
        yield
    minidl.set_num_threads(before)


def chosen(only: str, sizes: bool = False) -> tuple[dict[str, Callable[[Any], Step]], list[str]]:
    """The workloads, and the measurements that need a process of their own, whose names match a regular expression.

    sizes: those of sizes.py, small.py and decoding.py instead.

    Raises ValueError where none does, or the expression is none.
    """
    try:
        wanted = re.compile(only, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"bench: {only!r} is not a regular expression: {error}") from None
    table = SIZES | SMALL | DECODING if sizes else workloads.WORKLOADS
    steps = {name: make for name, make in table.items() if wanted.search(name)}
    alone = [name for name in processes.MEASUREMENTS if wanted.search(name) and not sizes]
    if not steps and not alone:
        raise ValueError(f"bench: no workload matches {only!r}; see minidl bench {'--sizes ' if sizes else ''}--list")
    return steps, alone


def values(step: Step) -> list[Any]:
    """What a step of both sides is compared by: all values and gradients where it tells them, else its number."""
    told = getattr(step, "values", None)
    return [np.float64(step())] if told is None else told()


def check(name: str, ours: Step, theirs: Step) -> None:
    """Raise RuntimeError unless two steps compute the same, to 1e-4 of the largest value, a single number to 1e-3."""
    found, wanted = values(ours), values(theirs)
    if len(found) != len(wanted):
        raise RuntimeError(f"bench {name}: one side has {len(found)} results and gradients, the other {len(wanted)}")
    for first, second in zip(found, wanted, strict=True):
        difference, largest = np.abs(first - second), np.abs(second).max(initial=0)
        if not difference.max(initial=0) <= (1e-3 * max(1.0, largest) if second.ndim == 0 else 1e-4 * largest):
            place = np.unravel_index(difference.argmax(), difference.shape)
            raise RuntimeError(
                f"bench {name}: the two sides disagree: {first[place]} and {second[place]}; the figures would mean nothing"
            )


def run(
    rounds: int = 5, path: Path | None = None, only: str = "", threads: int = 1, plot: Path | None = None,
    sizes: bool = False,
) -> Any:  # fmt: skip
    """Measure what matches `only`, print the tables, and write the figures as JSON to `path` and a picture to `plot`."""
    from rich.console import Console
    from rich.progress import track

    import minidl

    steps, alone = chosen(only, sizes)
    peer, peer_name = workloads.peer(threads)
    console = Console()
    results: dict[str, dict[str, float]] = {}
    with at_threads(threads):
        for name, make in track(list(steps.items()), "measuring", console=console, transient=True):
            ours, theirs = make(minidl), make(peer)
            check(name, ours, theirs)
            with workloads.reference_kernels(peer is minidl) as wrapped:
                results[name] = compare(ours, wrapped(theirs), rounds, 0.04 if sizes else 0.15)
    others = {name: processes.MEASUREMENTS[name](peer.__name__) for name in track(alone, "measuring", transient=True)}
    _print_tables(console, results, others, peer_name, rounds, threads)
    if path is not None:
        found = {"peer": peer_name, "rounds": rounds, "threads": threads, "results": results, "processes": others}
        path.write_text(json.dumps(found, indent=2) + "\n")
    if plot is not None:
        from .plots import plot_ratios

        plot_ratios(results, peer_name, threads, plot)
    return results


def _print_tables(console: Any, results: Any, others: Any, peer_name: str, rounds: int, threads: int) -> None:
    from rich.table import Table

    if results:
        work = "one thread" if threads == 1 else f"{threads} threads"
        title = f"minidl beside {peer_name}: {work}, {rounds} alternating rounds"
        table = Table("workload", "minidl", "other", "ratio", "spread", title=title)
        for name, r in results.items():
            spread = f"{r['low']:.2f}-{r['high']:.2f}"
            table.add_row(name, _duration(r["ours"]), _duration(r["theirs"]), f"{r['ratio']:.2f}", spread)
        console.print(table)
    if others:
        table = Table("in processes of their own", "minidl", "other", "ratio")
        for name, found in others.items():
            ratio = found["ours"] / found["theirs"] if found["theirs"] else float("nan")
            table.add_row(name, *(f"{found[side]:.4g} {found['unit']}" for side in ("ours", "theirs")), f"{ratio:.2f}")
        console.print(table)


def _duration(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} us" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"
