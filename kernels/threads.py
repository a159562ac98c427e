"""How many threads a kernel may use: one number for the BLAS and for Numba's parallel loops.

They do not work at the same time: a parallel loop that calls the BLAS holds it to one thread (`blas.one_thread`).
"""

from __future__ import annotations

import os
import sys

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
