"""Whether operations record a graph: no_grad, enable_grad, inference_mode, set_grad_enabled.

Each is a context manager and a decorator. The mode belongs to the running thread or asynchronous task.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Self

grad_mode: ContextVar[bool] = ContextVar("grad_mode", default=True)
is_grad_enabled = grad_mode.get


class _Mode:
    """Sets the mode on entry and restores it on exit; wraps functions, methods and generators."""

    enabled = True
    _before: list[bool]

    def __new__(cls, *args: Any) -> Self:
        mode = object.__new__(cls)
        mode._before = []
        return mode

    def __enter__(self) -> Self:
        self._before.append(grad_mode.get())
        grad_mode.set(self.enabled)
        return self

    def __exit__(self, *exception: object) -> None:
        grad_mode.set(self._before.pop())

    def _fresh(self) -> _Mode:
        return type(self)()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(function):
            return self._wrap_generator(function)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._fresh():
                return function(*args, **kwargs)

        return wrapped

    def _wrap_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The mode holds while the generator runs, and the consumer's own mode between its steps."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            with self._fresh():
                try:
                    item = next(generator)
                except StopIteration as stop:
                    return stop.value
            while True:
                try:
                    sent = yield item
                except GeneratorExit:
                    with self._fresh():
                        generator.close()
                    raise
                except BaseException as error:
                    advance, argument = generator.throw, error
                else:
                    advance, argument = generator.send, sent
                with self._fresh():
                    try:
                        item = advance(argument)
                    except StopIteration as stop:
                        return stop.value

        return wrapped


class _Switchable(_Mode):
    """A mode that may also be written as a bare decorator: @no_grad as well as @no_grad()."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Self:
        mode = _Mode.__new__(cls)
        return mode if function is None else mode(function)  # type: ignore[return-value]


class no_grad(_Switchable):
    """No graph is recorded inside: results do not require gradients.

    Example:
        >>> with minidl.no_grad():
        ...     w -= 0.1 * w.grad
    """

    enabled = False


class enable_grad(_Switchable):
    """The graph is recorded inside, also within no_grad."""

    enabled = True


class set_grad_enabled(_Mode):
    """Set the mode to `mode`: at once when called, and until the end of the block in a `with`."""

    def __init__(self, mode: bool) -> None:
        self.enabled = bool(mode)
        self._at_call = grad_mode.get()
        grad_mode.set(self.enabled)

    def __enter__(self) -> Self:
        self._before.append(self._at_call)
        grad_mode.set(self.enabled)
        return self

    def _fresh(self) -> _Mode:
        return set_grad_enabled(self.enabled)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        grad_mode.set(self._at_call)  # as a decorator it changes nothing where it is written
        return super().__call__(function)


_inference: ContextVar[bool] = ContextVar("inference_mode", default=False)
is_inference_mode_enabled = _inference.get


class inference_mode(_Mode):
    """no_grad for inference. Here results are ordinary tensors, so nothing more is gained over no_grad."""

    def __new__(cls, mode: Any = True) -> Any:
        if callable(mode):
            return cls()(mode)
        return super().__new__(cls)

    def __init__(self, mode: Any = True) -> None:
        self.enabled = not mode
        self._mode = bool(mode)
        self._inference_before: list[bool] = []

    def __enter__(self) -> Self:
        self._inference_before.append(_inference.get())
        _inference.set(self._mode)
        super().__enter__()
        if not self._mode:
            grad_mode.set(self._before[-1])  # inference_mode(False) leaves the grad mode as it is
        return self

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        _inference.set(self._inference_before.pop())

    def _fresh(self) -> _Mode:
        return inference_mode(self._mode)
