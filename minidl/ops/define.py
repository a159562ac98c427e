"""How an element-wise operation becomes public without a line of Python around its call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd.op import Op
from ..tensor import method


def public(op: type[Op], name: str, doc: str, *more: str, inplace: bool = True) -> Callable[..., Any]:
    """The function of an operation that takes its inputs and nothing else; also the methods `name`, `name_` and `more`."""
    function = op.apply
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    function.__module__ = op.__module__
    method(name, *more, inplace=inplace)(function)
    return function
