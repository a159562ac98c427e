"""Numba, imported at the first call and not before.

`@jit` marks a function as a Numba kernel and costs nothing until the function is called. Then Numba is imported,
the function and every `@jit` function it calls are compiled (and cached on disk, so that the next process only
loads them), and the module's global name is rebound to the compiled function: later calls do not pass through here.
The kernels that it calls are compiled without what only a call by Python needs, and their names stay as they are.

`@instruction` marks a function that Python cannot be compiled into: `load` and `fma` of simd.py. What it means is written
in NumPy where it is named, what it compiles to in the module of the same name with an underscore before it, which imports
Numba at its top and is itself imported only when a kernel that uses the name is compiled.
"""

from __future__ import annotations

import importlib
import threading
import zlib
from collections.abc import Callable
from functools import cache, update_wrapper
from types import FunctionType
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

    Called by Python and called by other kernels it is compiled apart, since most functions are only one of the two: Python
    needs a wrapper that takes its objects apart, which for a small function is more code than the function.
    """

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self.function = function
        self.signature = options.pop("signature", "")
        self.options = options
        self.compiled: Any = None  # for Python
        self.callee: Any = None  # for kernels
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, *args: Any) -> Any:
        return self.entry()(*args)

    def entry(self) -> Callable[..., Any]:
        """The function that Python calls. Raises ImportError where Numba is not installed."""
        with compiling:
            if self.compiled is None:  # no other thread was here first
                self.compiled = made = self.made()
                scope = self.function.__globals__
                if scope.get(self.function.__name__) is self:
                    scope[self.function.__name__] = made
            return self.compiled

    def compile(self) -> Any:
        """The function that kernels call. It has no wrapper: a call by Python would end the process."""
        with compiling:
            if self.callee is None:
                self.callee = self.made("-callee", no_cpython_wrapper=True)
            return self.callee

    def made(self, suffix: str = "", **options: Any) -> Any:
        """The dispatcher of Numba's for the function, with compiled callees in the place of `@jit` functions."""
        from .simd import aim_numba

        aim_numba()
        import numba

        from ._cache import cache_of

        function = self.function
        scope: dict[str, Any] = dict(function.__globals__)
        callees = []
        constants = []
        for name in function.__code__.co_names:  # Numba must see compiled callees, not these stubs
            value: Any = scope.get(name)
            value = getattr(value, "lazy", value)  # what Python called before, too
            if isinstance(value, Lazy):
                value = scope[name] = value.compile()
            if hasattr(value, "py_func"):
                callees.append(value.py_func)
            elif isinstance(value, int | float | str | tuple | np.generic):
                constants.append((name, value))
        inner = FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)
        update_wrapper(inner, function)
        inner.__qualname__ += self.origin(callees, constants) + suffix
        # numpy's error model: with Python's, the branch that raises ZeroDivisionError prevents vectorisation.
        # A wrapper for calls from C nobody needs.
        options = {"error_model": "numpy", "no_cfunc_wrapper": True, **self.options, **options}
        made = numba.njit(**options)(inner)
        made.lazy = self
        if self.options.get("cache", True):
            made._cache = cache_of(inner)  # what njit(cache=True) does, with a cache that does not fail
        if self.signature:
            made.compile(self.signature)
            made.disable_compile()
        return made

    def origin(self, callees: list[Callable[..., Any]], constants: list[tuple[str, Any]]) -> str:
        """A suffix for the name of this function, another one when what it is compiled from outside of it has changed:
        the files from which it calls functions, and the global constants that it names.

        Numba's disk cache asks only whether the function's own file has changed, but what it keeps has the compiled
        callees and the constants inside. Under another name it finds no old entry. The suffixes of the callees pass on
        what they call.
        """
        own = self.function.__code__.co_filename
        stamps = [content(file) for file in sorted({f.__code__.co_filename for f in callees} - {own})]
        names = [f.__qualname__ for f in callees]
        return f"-{zlib.crc32(repr((names, stamps, constants)).encode()):08x}" if names or constants else ""


@cache
def content(file: str) -> int:
    """A checksum of a source file: its time would be another one in each copy of the project."""
    from pathlib import Path  # here, for the sake of the time that importing minidl takes

    return zlib.crc32(Path(file).read_bytes())


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
