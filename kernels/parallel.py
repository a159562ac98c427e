"""Work shared out among threads.

A kernel that is compiled with `@jit(nogil=True)` lets go of the interpreter while it runs, so several Python threads can each
run it on a part of the work. A parallel loop of Numba's would do the same. But Numba takes seconds to compile one besides the
kernel for one thread, does not let two Python threads run such loops at a time with each of its ways to make threads, and not
all of these ways work after a fork.

How many threads there are is what minidl.set_num_threads said (threads.py). They wait between calls. To wake them takes as long
as some 100,000 multiply-adds, so that little work stays in the thread that has it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

from .threads import get_num_threads

LEAST = 4_000_000  # multiply-adds that are worth a thread of their own
MEMORY = 4  # a number that is read or written, and little done with, counts as so many: two cores share one memory


def share(units: int, run: Callable[..., None], work: int, *args: Any) -> None:
    """Call run(first, end, *args) for parts of the units 0 ... units - 1 that together are all of them.

    run computes the units from first to end - 1; work: about how many multiply-adds all of them take together.
    """
    parts = min(units, work // LEAST)
    if parts > 1:
        parts = min(parts, get_num_threads())
    if parts < 2:
        run(0, units, *args)
        return
    bounds = [units * i // parts for i in range(parts + 1)]
    others = [_pool(os.getpid()).submit(run, bounds[i], bounds[i + 1], *args) for i in range(1, parts)]
    try:
        run(bounds[0], bounds[1], *args)
    finally:  # what the others write to must outlive them
        for other in others:
            other.result()


@cache
def _pool(process: int) -> Any:
    """Threads that wait for work. A forked process does not have those of its parent: hence the argument."""
    from concurrent.futures import ThreadPoolExecutor  # here, for the sake of the time that importing minidl takes

    return ThreadPoolExecutor(thread_name_prefix="minidl")
