"""Where the operations of a training step stand between the two limits of a machine (Williams et al., "Roofline", 2009).

An operation can go no faster than its arithmetic allows, nor faster than its arrays come from memory. The limits are
measured here, as the rate of a large matrix product and of a large copy; an operation's arrays may be in the cache, and
then it can stand above the memory line.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from . import at_threads, measure, workloads


def limits(seconds: float = 0.4) -> tuple[float, float]:
    """Bytes per second of a copy (read and written), and operations per second of a float32 matrix product."""
    a, b = np.ones(2**24, np.float32), np.empty(2**24, np.float32)
    x = np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32)
    y = np.empty_like(x)

    def copying() -> float:
        np.copyto(b, a)
        return 0.0

    copy = measure(copying, seconds)
    product = measure(lambda: float(np.matmul(x, x, out=y)[0, 0]), seconds)
    return 2 * a.nbytes / copy, 2 * 1024**3 / product


def roofline(name: str, path: Path, steps: int = 20) -> list[dict[str, Any]]:
    """Profile steps of a workload, draw its operations under the limits of this machine, and return the points.

    Raises ValueError for a name that is no workload.
    """

    import minidl

    from ..profiler import profile
    from .plots import plot_roofline

    if name not in workloads.WORKLOADS:
        raise ValueError(f"bench: {name!r} is no workload; see minidl bench --list")
    step = workloads.WORKLOADS[name](minidl)
    with at_threads(1):
        for _ in range(3):
            step()
        begin = time.perf_counter()
        step()
        steps = max(3, min(steps, int(5 / max(time.perf_counter() - begin, 1e-6))))
        with profile(with_flops=True) as prof:
            for _ in range(steps):
                step()
        bandwidth, peak = limits()
    rows = [row for row in prof.key_averages().of("op", "backward") if row.flops and row.moved and row.self_time > 0]
    points = [
        {"name": row.name, "flops": row.flops / steps, "moved": row.moved / steps, "seconds": row.self_time / steps}
        for row in rows
    ]
    if not points:
        raise ValueError(f"bench: {name!r} has no operation to draw")
    plot_roofline(points, bandwidth, peak, name, path)
    return points
