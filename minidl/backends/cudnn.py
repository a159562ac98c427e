"""The switches of cuDNN, which is not used: they can be set and change nothing.

Whether results on a GPU repeat themselves bit for bit: minidl.use_deterministic_algorithms.
"""

from __future__ import annotations

enabled = True
benchmark = False
deterministic = False
allow_tf32 = False


def is_available() -> bool:
    """Always False."""
    return False


def version() -> None:
    """Always None."""
    return None
