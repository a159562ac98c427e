"""`minidl bench`: the engine beside PyTorch, in one process, in turn.

Both sides do the same work on the same numbers. Rounds alternate, so that a slow spell of the machine hits both; the figure
is the median over rounds of the ratio within a round, its spread the smallest and largest. Below 1, minidl takes less time.
Where PyTorch is not installed, the peer is minidl itself on the NumPy reference kernels.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import workloads

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


def run(rounds: int = 9, path: Path | None = None) -> dict[str, dict[str, float]]:
    """Run every workload, print the table, and write the figures to `path` as JSON if given."""
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table
    from threadpoolctl import threadpool_limits

    import minidl

    peer, peer_name = workloads.peer()
    console = Console()
    results: dict[str, dict[str, float]] = {}
    with threadpool_limits(1):  # the BLAS of both sides
        for name, make in track(workloads.WORKLOADS.items(), "measuring", console=console, transient=True):
            ours, theirs = make(minidl), make(peer)
            first, second = ours(), theirs()
            if abs(first - second) > 1e-3 * max(1.0, abs(second)):
                raise RuntimeError(
                    f"bench {name}: the two sides disagree: {first} and {second}; the figures would mean nothing"
                )
            with workloads.reference_kernels(peer is minidl) as wrapped:
                results[name] = compare(ours, wrapped(theirs), rounds)
    table = Table(
        "workload", "minidl", peer_name, "ratio", "spread", title=f"one thread of work, {rounds} alternating rounds"
    )
    for name, r in results.items():
        spread = f"{r['low']:.2f} to {r['high']:.2f}"
        table.add_row(name, _duration(r["ours"]), _duration(r["theirs"]), f"{r['ratio']:.2f}", spread)
    console.print(table)
    if path is not None:
        path.write_text(json.dumps({"peer": peer_name, "rounds": rounds, "results": results}, indent=2) + "\n")
    return results


def _duration(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} us" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"
