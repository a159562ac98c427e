"""Work shared out among threads.

A kernel that is compiled with `@jit(nogil=True)` lets go of the interpreter while it runs, so several Python threads can each
run it on a part of the work. Numba's own parallel loops would have to be compiled besides the kernel for one thread; here it is
the same machine code.

How many threads there are is what minidl.set_num_threads said (threads.py). They wait between calls. To wake them takes as long
as some 100,000 multiply-adds, so that little work stays in the thread that has it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from .threads import get_num_threads

LEAST = 4_000_000  # multiply-adds that are worth a thread of their own
MEMORY = 16  # a number that is read or written, and little done with, takes as long as so many multiply-adds
_pool: Any = None  # a ThreadPoolExecutor
_size = 0


def share(units: int, run: Callable[[int, int], None], work: int) -> None:
    """Call run(begin, end) for parts of the units 0 ... units - 1 that together are all of them.

    run computes the units from begin to end - 1; work: about how many multiply-adds all of them take.
    """
    threads = min(units, work // LEAST)
    if threads > 1:
        threads = min(threads, get_num_threads())
    if threads < 2:
        run(0, units)
        return
    bounds = [units * i // threads for i in range(threads + 1)]
    others = [pool(threads - 1).submit(run, *bounds[i : i + 2]) for i in range(1, threads)]
    run(*bounds[:2])
    for other in others:
        other.result()


def pool(threads: int) -> Any:
    """A pool of so many threads, or more."""
    global _pool, _size
    if _pool is None or _size < threads:
        from concurrent.futures import ThreadPoolExecutor

        if _pool is not None:
            _pool.shutdown(wait=False)
        _pool, _size = ThreadPoolExecutor(threads, "minidl"), threads
    return _pool


def forget() -> None:
    """Start anew in a child process, to which threads are not copied."""
    global _pool, _size
    _pool, _size = None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)
