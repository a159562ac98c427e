"""How many threads an operation may use. They are minidl's own (parallel.py): the BLAS works in the thread that calls it.

An OpenBLAS with threads of its own keeps them awake for a while after a product, in case another one follows. Until then
they take the cores from the kernels, which with two threads on two cores may be slower than with one.
"""

from __future__ import annotations

import os

_asked: int | None = None  # by set_num_threads
_blas_is_held = False


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
    _asked = threads
    hold_blas()


def hold_blas() -> None:
    """Let the BLAS work in the thread that calls it, from now on. That goes for all of the process, NumPy's products too."""
    global _blas_is_held
    if _blas_is_held:
        return
    from . import blas

    library = blas.library()
    if library is not None and library.set_threads is not None:
        library.set_threads(1)
    _blas_is_held = True
