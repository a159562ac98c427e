"""Memory that is freed stays with the process, for the next array.

The C library gets large blocks from the operating system one by one and gives them back when they are freed. A page that comes
from the system is filled with zeros when it is first touched, one fault per 4 KB. A training step frees its activations at its
end and asks for the same ones again, so it would fault through all of its memory in every step, which can take as long as a
quarter of its arithmetic. With the thresholds below, blocks up to KEEP bytes come from the heap, and up to KEEP bytes that are
free at its end stay there.

Only the GNU C library has these settings. Who sets them in the environment (MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_ or
GLIBC_TUNABLES) is not overruled, and MINIDL_KEEP_MEMORY=0 leaves everything as it is.
"""

from __future__ import annotations

import os

KEEP = 1 << 30
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_memory() -> bool:
    """Set the thresholds; whether that was done."""
    if os.environ.get("MINIDL_KEEP_MEMORY") == "0" or any(name in os.environ for name in SETTINGS):
        return False
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, KEEP) and mallopt(M_MMAP_THRESHOLD, KEEP))
