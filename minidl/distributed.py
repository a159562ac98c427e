"""Training in several processes is not there: programs that ask are told so, and those that only import run."""

from __future__ import annotations

from typing import Any, NoReturn


def is_available() -> bool:
    """Always False."""
    return False


def is_initialized() -> bool:
    """Always False."""
    return False


def get_rank(group: Any = None) -> int:
    """0: the only process."""
    return 0


def get_world_size(group: Any = None) -> int:
    """1: the only process."""
    return 1


def init_process_group(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError."""
    raise RuntimeError("init_process_group: training in several processes is not there; run the program in one process")


def destroy_process_group(group: Any = None) -> None:
    """Does nothing: there is no group."""


def barrier(group: Any = None) -> None:
    """Does nothing: there is nobody to wait for."""
