"""Compiled kernels on disk, and a word to the user while they are compiled. Imported when the first kernel is compiled.

Machine code is kept beside the source file (in __pycache__), in the folder NUMBA_CACHE_DIR, or in a folder of the user's own,
whichever can be written to first. What can go wrong there must not keep a kernel from running: a damaged file, a full disk, no
folder at all. Then the kernel is compiled in memory.
"""

from __future__ import annotations

import gc
import hashlib
import os
import pickle
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from glob import escape
from pathlib import Path
from typing import Any
from uuid import uuid4

import llvmlite
import numba
import numpy as np
from numba.core import caching, event

VERSIONS = (numba.__version__, llvmlite.__version__, np.__version__, sys.version)


class Home(caching.UserWideCacheLocator):
    """The user's own folder, where the user has one: an account without a home would get a folder named ~ wherever it is."""

    @classmethod
    def from_function(cls, py_func: Any, py_file: Any) -> Any:
        try:
            Path.home()
        except RuntimeError:
            return None
        return super().from_function(py_func, py_file)  # type: ignore[no-untyped-call]  # as all of Numba


class Places(caching.CompileResultCacheImpl):
    _locator_classes = [
        caching.UserProvidedCacheLocator, caching.InTreeCacheLocator, Home, caching.IPythonCacheLocator,
    ]  # fmt: skip


class Files:
    """One file for each compiled version of a function; its name has all that it was compiled from.

    Numba's own files are numbered, in an index. Two processes that add to it at once can take the same number, and one that
    is killed can leave an index that names the code of an older source: the wrong code would be loaded. Here nothing is found
    but by what it is, and a file appears at once and whole, or not at all.
    """

    def __init__(self, folder: str, name: str, source: Any) -> None:
        self.folder, self.name = Path(folder), name
        self.source = hashlib.sha256(repr(source).encode()).hexdigest()[:12]

    def path(self, key: Any) -> Path:
        digest = hashlib.sha256(repr((VERSIONS, key)).encode()).hexdigest()[:20]
        return self.folder / f"{self.name}.{self.source}.{digest}.nbc"

    def load(self, key: Any) -> Any:
        """What was saved; None where there is none. Raises ValueError where the file is damaged."""
        try:
            data = self.path(key).read_bytes()
        except FileNotFoundError:
            return None
        checksum, code = data[:32], data[32:]
        if hashlib.sha256(code).digest() != checksum:  # damaged machine code would end the process
            raise ValueError(f"{self.path(key)} is damaged")
        return pickle.loads(code)

    def save(self, key: Any, data: Any) -> None:
        code = caching.dumps(data)
        path = self.path(key)
        part = path.with_suffix(f".{uuid4().hex[:8]}.part")
        try:
            part.write_bytes(hashlib.sha256(code).digest() + code)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        # of another source, and what a killed process left of it
        for old in self.folder.glob(f"{escape(self.name)}.*"):
            if not old.name.startswith(f"{self.name}.{self.source}."):
                old.unlink(missing_ok=True)


class KernelCache(caching.FunctionCache):
    """Numba's cache of one function, whose failures are misses."""

    _impl_class = Places

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]  # as all of Numba
        place: Any = self._impl
        self._cache_file: Any = Files(self.cache_path, place.filename_base, place.locator.get_source_stamp())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        begin = time.perf_counter()
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]  # as all of Numba
        except Exception:  # a damaged file, or one that cannot be read: anything that unpickling can raise
            return None  # the next save writes a new one
        finally:
            if not announcer.begins:  # else it is part of compiling
                announcer.loading += time.perf_counter() - begin

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError as error:
            _warn_once(f"compiled kernels cannot be kept in {self.cache_path} ({error})")


def cache_of(function: Callable[..., Any]) -> Any:
    """The cache for a function; one that keeps nothing where no folder can be written to."""
    try:
        cache = KernelCache(function)
    except (RuntimeError, OSError):
        own = Path(function.__code__.co_filename).parent / "__pycache__"
        _warn_once(
            f"compiled kernels cannot be kept on disk (neither {own} nor a cache folder of yours can be written to)"
        )
        return caching.NullCache()
    folders.add(cache.cache_path)
    return cache


def folder() -> str:
    """Where kernels are kept; the empty string where no folder can be written to."""
    from .jit import jit

    return str(cache_of(jit).cache_path or "")


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

    Silent unless stderr is a terminal, and with MINIDL_QUIET=1. While a kernel is compiled Python does not look for reference
    cycles: the compiler makes millions of objects, and to look them over again and again is a tenth of its time.
    """

    def __init__(self) -> None:
        self.count = 0
        self.seconds = self.loading = 0.0  # of compiling, and of loading what was compiled before
        self.begins: list[list[float]] = []  # of each function in work: when it began, what its callees took
        self.table: list[tuple[float, str, str]] = []  # seconds without those of callees, name, types
        self.collects = False
        self.listening: Callable[[str], None] | None = None  # is told the names instead of the terminal

    def on_start(self, event: Any) -> None:
        if not self.begins:  # a kernel that is compiled while another is being compiled belongs to it
            self.collects = gc.isenabled()
            gc.disable()
            self.count += 1
            self.say(event.data["dispatcher"].py_func.__name__)
        self.begins.append([time.perf_counter(), 0.0])

    def on_end(self, event: Any) -> None:
        begin, callees = self.begins.pop()
        seconds = time.perf_counter() - begin
        function = event.data["dispatcher"].py_func
        self.table.append((seconds - callees, f"{function.__module__}.{function.__name__}", str(event.data["args"])))
        if self.begins:
            self.begins[-1][1] += seconds
            return
        self.seconds += seconds
        if self.collects:
            gc.enable()
        if self.listening is None and self.heard():
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def say(self, name: str) -> None:
        if self.listening is not None:
            self.listening(name)
        elif self.heard():
            line = f"minidl: compiling kernels, once: number {self.count}, {name} ({self.seconds:.0f} s so far)"
            sys.stderr.write("\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1])  # a second line would stay
            sys.stderr.flush()

    def heard(self) -> bool:
        return os.environ.get("MINIDL_QUIET", "") in ("", "0") and bool(getattr(sys.stderr, "isatty", lambda: False)())


announcer = Announcer()
event.register("numba:compile", announcer)
