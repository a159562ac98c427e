"""How many threads a kernel may use: one number for the BLAS, for Numba's parallel loops, and for `in_parts`.

They do not work at the same time: a parallel loop that calls the BLAS holds it to one thread (`blas.one_thread`).
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from .jit import Lazy

_asked: int | None = None  # by set_num_threads


def get_num_threads() -> int:
    """How many threads one operation may use: what set_num_threads said, else OMP_NUM_THREADS, else the usable cores."""
    if _asked is not None:
        return _asked
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_num_threads(threads: int) -> None:
    """Let one operation use that many threads, from now on. Raises RuntimeError for a number below 1."""
    global _asked
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        raise RuntimeError(f"set_num_threads expects a positive integer, got {threads!r}")
    from . import blas

    _asked = threads
    library = blas.library()
    if library is not None and library.set_threads is not None:
        library.set_threads(threads)
    if "numba" in sys.modules:
        limit_numba()


def limit_numba() -> None:
    """Hold Numba's parallel loops to the number of threads; called before the first of them is compiled."""
    import numba

    started: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # read from the environment
    numba.set_num_threads(max(1, min(get_num_threads(), started)))


LEAST_WORK = 4_000_000  # multiplications that are worth a thread: some 50 us, while handing them over takes 20


def in_parts(kernel: Any, count: int, work: int, *args: Any) -> None:
    """Call kernel(begin, end, *args) for parts of range(count), each in a thread of its own.

    kernel: `@jit(nogil=True)`, or the threads would take turns. work: how many multiplications each of the count takes.

    For a kernel of several loops that belong together, this is simpler than a parallel loop, which Numba takes 5 s to compile,
    and it may be called from any thread and after a fork.
    """
    if isinstance(kernel, Lazy):  # before its first call: it is not to be compiled in two threads at once
        kernel = kernel.compile()
    parts = max(1, min(get_num_threads(), count, count * work // LEAST_WORK))
    bounds = [count * i // parts for i in range(parts + 1)]
    others = [_pool(os.getpid(), parts).submit(kernel, bounds[i], bounds[i + 1], *args) for i in range(1, parts)]
    kernel(bounds[0], bounds[1], *args)
    for other in others:
        other.result()


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads that wait for work; a forked process does not have those of its parent."""
    return ThreadPoolExecutor(threads, "minidl")
