"""Numba, imported at the first call and not before.

`@jit` marks a function as a Numba kernel and costs nothing until the function is called. Then Numba is imported,
the function and every `@jit` function it calls are compiled (and cached on disk, so that the next process only
loads them), and the module's global name is rebound to the compiled function: later calls do not pass through here.

`@instruction` marks a function that Python cannot be compiled into: `load` and `fma` of simd.py. What it means is written
in NumPy where it is named, what it compiles to in the module of the same name with an underscore before it, which imports
Numba at its top and is itself imported only when a kernel that uses the name is compiled.
"""

from __future__ import annotations

import importlib
import threading
import zlib
from collections.abc import Callable
from typing import Any, overload

import numpy as np

compiling = threading.RLock()  # threads may call a kernel for the first time at the same time


class Lazy:
    """A name that stands in a module before Numba is imported; kernels are compiled with `compile()` in its place."""

    def compile(self) -> Any:
        raise NotImplementedError


class LazyJit(Lazy):
    """A function that Numba compiles at its first call; `nogil`, `fastmath` and the like go to `numba.njit`.

    With a `signature` it is compiled for these types and no others, instead of for those of each call: a memory order "A" takes
    arrays of any order, which would be one compilation each.
    """

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self.function = function
        self.signature = options.pop("signature", "")
        self.options = options
        self.compiled: Any = None
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def compile(self) -> Callable[..., Any]:
        """The compiled function. Raises ImportError where Numba is not installed."""
        with compiling:
            if self.compiled is None:  # no other thread was here first
                self.compile_now()
            return self.compiled

    def compile_now(self) -> None:
        from .simd import aim_numba

        aim_numba()
        import numba

        from ._cache import cache_of

        scope: dict[str, Any] = self.function.__globals__
        callees = []
        constants = []
        for name in self.function.__code__.co_names:  # Numba must see compiled callees, not these stubs
            if isinstance(scope.get(name), Lazy):
                scope[name] = scope[name].compile()
            value: Any = scope.get(name)
            if hasattr(value, "py_func"):
                callees.append(value.py_func)
            elif isinstance(value, int | float | str | tuple | np.generic):
                constants.append((name, value))
        self.function.__qualname__ += self.origin(callees, constants)
        # numpy's error model: with Python's, the branch that raises ZeroDivisionError prevents vectorisation
        made = numba.njit(**{"error_model": "numpy", **self.options})(self.function)
        if self.options.get("cache", True):
            made._cache = cache_of(self.function)  # what njit(cache=True) does, with a cache that does not fail
        if self.signature:
            made.compile(self.signature)
            made.disable_compile()
        if scope.get(self.function.__name__) is self:
            scope[self.function.__name__] = made
        self.compiled = made

    def origin(self, callees: list[Callable[..., Any]], constants: list[tuple[str, Any]]) -> str:
        """A suffix for the name of this function, another one when what it is compiled from outside of it has changed:
        the files from which it calls functions, and the global constants that it names.

        Numba's disk cache asks only whether the function's own file has changed, but what it keeps has the compiled
        callees and the constants inside. Under another name it finds no old entry. The suffixes of the callees pass on
        what they call.
        """
        from pathlib import Path  # here, for the sake of the time that importing minidl takes

        own = self.function.__code__.co_filename
        files = {f.__code__.co_filename for f in callees} - {own}
        stamps = [Path(file).stat().st_mtime_ns for file in sorted(files)]
        names = [f.__qualname__ for f in callees]
        return f"-{zlib.crc32(repr((names, stamps, constants)).encode()):08x}" if names or constants else ""

    def __call__(self, *args: Any) -> Any:
        return self.compile()(*args)


class Instruction(Lazy):
    """A function that `@jit` functions see as machine instructions, and Python as its meaning in NumPy."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def compile(self) -> Any:
        """The function of the same name that Numba knows. Raises ImportError where Numba is not installed."""
        package, _, module = self.function.__module__.rpartition(".")
        return getattr(importlib.import_module(f"{package}._{module}"), self.__name__)

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


def instruction(function: Callable[..., Any]) -> Any:
    """Mark a function as the meaning of one that is written for the compiler, in the module `_<this module>`."""
    return Instruction(function)


@overload
def jit(function: Callable[..., Any]) -> Any: ...
@overload
def jit(**options: Any) -> Callable[[Callable[..., Any]], Any]: ...
def jit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Mark a function as a Numba kernel: `@jit`, or `@jit(fastmath=True)`.

    Example:
        >>> @jit
        ... def total(x):
        ...     return x.sum()
    """
    if function is None:
        return lambda f: LazyJit(f, options)
    return LazyJit(function, options)
