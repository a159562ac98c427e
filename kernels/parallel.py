"""Work shared out among threads.

A kernel that is compiled with `@jit(nogil=True)` lets go of the interpreter while it runs, as a product of NumPy's does, so
several Python threads can each run it on a part of the work. A parallel loop of Numba's would do the same. But Numba takes
seconds to compile one besides the kernel for one thread, does not let two Python threads run such loops at a time with each of
its ways to make threads, and not all of these ways work after a fork.

How many threads there are is what minidl.set_num_threads said (threads.py). They wait between calls (workers.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import workers
from .threads import get_num_threads, hold_blas

LEAST = 1_000_000  # multiply-adds that are worth a thread of their own
MEMORY = 4  # a number that is read or written, and little done with, counts as so many: two cores share one memory
ELEMENTARY = 16  # and so many an exponential, or a square root and a division
FEW = 2 * LEAST // ELEMENTARY  # elements that are not worth to be shared, nor to be asked about where each call counts


def how_many(units: int, work: int) -> int:
    """The number of threads that share so many units and so much work."""
    parts = min(units, work // LEAST)
    return min(parts, get_num_threads()) if parts > 1 else 1


def share(units: int, run: Callable[..., None], work: int, *args: Any) -> None:
    """Call run(first, end, *args) for parts of the units 0 ... units - 1 that together are all of them.

    run computes the units from first to end - 1; work: about how many multiply-adds all of them take together.
    """
    parts = how_many(units, work)
    if parts == 1:
        run(0, units, *args)
        return
    hold_blas()
    bounds = [units * i // parts for i in range(parts + 1)]
    others = [workers.take() for _ in range(1, parts)]
    for i, other in enumerate(others, 1):
        other.start(run, bounds[i], bounds[i + 1], *args)
    try:
        run(bounds[0], bounds[1], *args)
    finally:  # what the others write to must outlive them
        errors = [other.end() for other in others]
    for error in errors:
        if error is not None:
            raise error


def share_rows(run: Callable[..., None], cost: int, arrays: tuple[Any, ...], *others: Any) -> None:
    """Call run(*arrays, *others), or the same for some rows of all the arrays in each thread.

    The arrays have equally many rows, or elements if they are vectors; cost: in multiply-adds, of an element of the first one.
    """
    work = cost * arrays[0].size
    if work < 2 * LEAST:
        run(*arrays, *others)
    else:
        share(len(arrays[0]), _run_rows, work, run, arrays, others)


def _run_rows(begin: int, end: int, run: Callable[..., None], arrays: tuple[Any, ...], others: tuple[Any, ...]) -> None:
    run(*[a[begin:end] for a in arrays], *others)
