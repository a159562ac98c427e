"""Compiled kernels on disk, and a word to the user while they are compiled. Imported when the first kernel is compiled.

Numba keeps machine code beside the source file (in __pycache__), in the folder NUMBA_CACHE_DIR, or in a folder of the
user's own, whichever can be written to first. What can go wrong there must not keep a kernel from running: a damaged file,
a full disk, no folder at all. Then the kernel is compiled in memory.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from numba.core import event
from numba.core.caching import FunctionCache, NullCache


class KernelCache(FunctionCache):
    """Numba's cache of one function, whose failures are misses."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]  # as all of Numba
        except Exception:  # a damaged index or code file: anything that unpickling can raise
            self.drop()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError as error:
            _warn_once(f"compiled kernels cannot be kept in {self.cache_path} ({error})")

    def drop(self) -> None:
        """Forget the damaged entries; the next save writes new ones."""
        try:
            self.flush()  # type: ignore[no-untyped-call]
        except OSError as error:
            _warn_once(f"a damaged file in {self.cache_path} cannot be replaced ({error})")


def cache_of(function: Callable[..., Any]) -> Any:
    """The cache for a function; one that keeps nothing where no folder can be written to."""
    try:
        cache = KernelCache(function)  # type: ignore[no-untyped-call]
        folders.add(str(cache.cache_path))
        return cache
    except (RuntimeError, OSError) as error:
        _warn_once(f"compiled kernels cannot be kept on disk ({error})")
        return NullCache()


folders: set[str] = set()  # where compiled kernels are kept
_warned = False


def _warn_once(what: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"minidl: {what}; they are compiled anew in each process. Set NUMBA_CACHE_DIR to a folder that can be written to, "
            "and run `minidl warmup`",
            stacklevel=2,
        )


class Announcer(event.Listener):
    """Counts what is compiled, and says so in a terminal while it lasts.

    Silent unless stderr is a terminal, and with MINIDL_QUIET=1.
    """

    def __init__(self) -> None:
        self.depth = self.count = 0
        self.seconds = 0.0
        self.begin = 0.0
        self.listening: Callable[[str], None] | None = None  # is told the names instead of the terminal

    def on_start(self, event: Any) -> None:
        if self.depth == 0:  # a kernel that is compiled while another is being compiled belongs to it
            self.begin = time.perf_counter()
            self.count += 1
            self.say(event.data["dispatcher"].py_func.__name__)
        self.depth += 1

    def on_end(self, event: Any) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.seconds += time.perf_counter() - self.begin
            if self.listening is None and self.heard():
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()

    def say(self, name: str) -> None:
        if self.listening is not None:
            self.listening(name)
        elif self.heard():
            sys.stderr.write(f"\r\x1b[Kminidl: compiling kernels, once: {name} ({self.count})")
            sys.stderr.flush()

    def heard(self) -> bool:
        return os.environ.get("MINIDL_QUIET", "") in ("", "0") and bool(getattr(sys.stderr, "isatty", lambda: False)())


announcer = Announcer()
event.register("numba:compile", announcer)
