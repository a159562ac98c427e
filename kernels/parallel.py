"""Work shared out among threads, for kernels that run without holding the interpreter."""

from __future__ import annotations

from collections.abc import Callable


def share(units: int, run: Callable[[int, int], None]) -> None:
    """Call run(first, end) for parts of the units 0 ... units - 1, which together are all of them."""
    run(0, units)
