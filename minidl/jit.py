"""`torch.jit` for programs that use it to run faster: functions and modules come back as they are, and run as Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def script(obj: Any, *args: Any, **kwargs: Any) -> Any:
    """The function or module itself."""
    return obj


def trace(func: Any, example_inputs: Any = None, *args: Any, **kwargs: Any) -> Any:
    """The function or module itself; the inputs are not used."""
    return func


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """A decorator that changes nothing."""
    return drop if callable(drop) else (lambda function: function)


def export(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself."""
    return function


unused = export


def is_scripting() -> bool:
    """Always False."""
    return False


def is_tracing() -> bool:
    """Always False."""
    return False


__all__ = ["export", "ignore", "is_scripting", "is_tracing", "script", "trace", "unused"]
