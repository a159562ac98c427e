"""How an element-wise operation becomes public without a line of Python around its call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd.op import Op
from ..tensor import method


class FloatOp(Op):
    """An operation on float numbers: integers and bools are cast to the default float dtype."""

    promotion = "float"


def named(op: type[Op], name: str, doc: str) -> Callable[..., Any]:
    """The function of an operation that takes its inputs and nothing else."""
    function = op.apply
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    function.__module__ = op.__module__
    return function


def public(op: type[Op], name: str, doc: str, *more: str, inplace: bool = True) -> Callable[..., Any]:
    """The function of an operation that takes its inputs and nothing else; also the methods `name`, `name_` and `more`."""
    return method(name, *more, inplace=inplace)(named(op, name, doc))
