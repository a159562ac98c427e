"""Numba, imported at the first call and not before.

`@jit` marks a function as a Numba kernel and costs nothing until the function is called. Then Numba is imported,
the function and every `@jit` function it calls are compiled (and cached on disk, so that the next process only
loads them), and the module's global name is rebound to the compiled function: later calls do not pass through here.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, overload


class LazyJit:
    """A function that Numba compiles at its first call; `parallel`, `fastmath` and the like go to `numba.njit`."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self.function = function
        self.options = options
        self.compiled: Callable[..., Any] | None = None
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def compile(self) -> Callable[..., Any]:
        """The compiled function. Raises ImportError where Numba is not installed."""
        if self.compiled is None:
            import numba

            scope = self.function.__globals__
            callees = []
            for name in self.function.__code__.co_names:  # Numba must see compiled callees, not these stubs
                if isinstance(scope.get(name), LazyJit):
                    scope[name] = scope[name].compile()
                if hasattr(scope.get(name), "py_func"):
                    callees.append(scope[name].py_func)
            self.function.__qualname__ += self.origin(callees)
            # numpy's error model: with Python's, the branch that raises ZeroDivisionError prevents vectorisation
            options = {"cache": True, "error_model": "numpy", **self.options}
            self.compiled = numba.njit(**options)(self.function)
            if scope.get(self.function.__name__) is self:
                scope[self.function.__name__] = self.compiled
        return self.compiled

    def origin(self, callees: list[Callable[..., Any]]) -> str:
        """A suffix for the name of this function that changes when a file changes from which it calls a function.

        Numba's disk cache asks only whether the function's own file has changed, but what it keeps has the compiled
        callees inside. Under another name it finds no old entry. The suffixes of the callees pass on what they call.
        """
        from pathlib import Path  # here, for the sake of the time that importing minidl takes

        own = self.function.__code__.co_filename
        files = {f.__code__.co_filename for f in callees} - {own}
        stamps = [Path(file).stat().st_mtime_ns for file in sorted(files)]
        names = [f.__qualname__ for f in callees]
        return f"-{zlib.crc32(repr((names, stamps)).encode()):08x}" if names else ""

    def __call__(self, *args: Any) -> Any:
        return self.compile()(*args)


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
