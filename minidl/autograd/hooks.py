"""Hooks: functions of the user that the backward pass calls at a node."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import ref

if TYPE_CHECKING:
    from .op import Op


class Hooks:
    """Functions of the user on one node: `pre` sees and may replace the gradient, `post` the rule's results."""

    __slots__ = ("post", "pre", "retain")

    def __init__(self) -> None:
        self.pre: dict[int, Callable[..., Any]] = {}
        self.post: dict[int, Callable[..., Any]] = {}
        self.retain: Any = None  # a weak reference to the tensor whose .grad is to be kept


def hooks_of(node: Op) -> Hooks:
    """The hooks of a node, made at the first request."""
    if node.hooks is None:
        node.hooks = Hooks()
    return node.hooks


class RemovableHandle:
    """What registering a hook returns: `remove()` takes the hook away; works as a context manager too."""

    _next_id = itertools.count().__next__

    def __init__(self, hooks: dict[int, Any], hook: Any, first: bool = False) -> None:
        self.id = RemovableHandle._next_id()
        self._hooks = ref(hooks) if hasattr(hooks, "__weakref__") else lambda: hooks
        others = dict(hooks) if first else {}
        if first:
            hooks.clear()
        hooks[self.id] = hook
        hooks.update(others)

    def remove(self) -> None:
        hooks = self._hooks()
        if hooks is not None:
            hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()
