"""Work shared out among threads, for kernels that run without holding the interpreter."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from .threads import get_num_threads

LEAST_WORK = 4_000_000  # multiplications that are worth a thread: some 50 us, while handing them over takes 20


def share(units: int, run: Callable[..., None], work: int = 0, *args: Any) -> None:
    """Call run(first, end, *args) for parts of the units 0 ... units - 1, which together are all of them.

    work: how many multiplications one unit takes, if `run` is or calls compiled code that lets go of the interpreter,
    `@jit(nogil=True)`. The parts are then as many as there are threads, if there is enough to do; else there is one.

    A parallel loop of Numba's would do the same. But Numba takes 5 s to compile one, does not let two Python threads run
    loops at a time with each of its ways to make threads, and not all of these ways work after a fork.
    """
    parts = max(1, min(get_num_threads(), units, units * work // LEAST_WORK))
    bounds = [units * i // parts for i in range(parts + 1)]
    others = [_pool(os.getpid()).submit(run, bounds[i], bounds[i + 1], *args) for i in range(1, parts)]
    try:
        run(bounds[0], bounds[1], *args)
    finally:  # what the others write to must outlive them
        for other in others:
            other.result()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads that wait for work. A forked process does not have those of its parent: hence the argument."""
    return ThreadPoolExecutor(thread_name_prefix="minidl")
