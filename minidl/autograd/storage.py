"""Tensors on one memory: how often it was written to and when, and which tensors are views of which."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any
from weakref import ref

from numpy import ndarray

from .. import devices
from ..kernels import layout

if TYPE_CHECKING:
    from ..tensor import Tensor
    from .op import Op

next_seq = itertools.count(1).__next__  # numbers operations and in-place writes in the order in which they happen


class Storage:
    """What the tensors on one memory have in common: when it was written in place, and its views.

    A tensor gets one when it first shares its memory or is written to. Writes carry a number from the same count as the
    operations, so an operation's kept value is intact if the last write came before the operation.
    """

    last: int = 0  # the number of the last write
    version: int = 0  # how many writes there were
    views: list[Any] | None = None  # weak references to the tensors that are views of this memory
    _writes: deque[int] | None = None  # the numbers of the last few writes

    def write(self, number: int) -> None:
        """Count one write."""
        if self._writes is None:
            self._writes = deque(maxlen=64)
        self._writes.append(number)
        self.version += 1
        self.last = number

    def version_at(self, number: int) -> int:
        """The version that an operation of that number saw (at most, if it was many writes ago)."""
        return self.version - sum(write > number for write in self._writes or ())


def storage_of(t: Tensor) -> Storage:
    """The storage of a tensor, made at the first request."""
    if t.storage is None:
        t.storage = Storage()
    return t.storage


def mark_written(t: Tensor, number: int | None = None) -> None:
    """Say that the memory of a tensor has been written to, so that whatever kept its value notices."""
    storage_of(t).write(next_seq() if number is None else number)


class View:
    """How a tensor lies in another's memory: the tensor that owns it, and the view operations that lead from there.

    `steps` is None where the view cannot be taken again by itself (one of several results of one operation).
    """

    __slots__ = ("root", "steps")

    def __init__(self, root: Tensor, steps: tuple[tuple[type[Op], dict[str, Any]], ...] | None) -> None:
        self.root, self.steps = root, steps

    def of(self, x: Any) -> Any:
        """The same view of another tensor or array."""
        return take_again(self.steps, x)


def take_again(steps: tuple[tuple[type[Op], dict[str, Any]], ...] | None, x: Any) -> Any:
    """The view of x to which the steps lead."""
    for op, params in steps or ():
        x = op.apply(x, **params)
    return x


def mark_view(x: Tensor, t: Tensor, op: type[Op], params: dict[str, Any] | None) -> None:
    """Tie t = op(x) to the tensor that owns the memory of x, if t shares it. params: None if t is one of several results."""
    base = t.array.base
    if (base is None or (base is not x.array and base is not x.array.base)) and not devices.same_block(
        t.array, x.array
    ):
        return  # the operation had to copy
    view = x.base
    root, steps = (x, ()) if view is None else (view.root, view.steps)
    t.base = View(root, None if params is None or steps is None else (*steps, (op, params)))
    t.storage = storage = root.storage or storage_of(root)
    views = storage.views
    if views is None:
        views = storage.views = []
    elif len(views) >= 32 and len(views).bit_count() == 1:  # at 32, 64, ...: drop the dead ones
        views[:] = [r for r in views if r() is not None]
    views.append(ref(t))


def mark_views(x: Tensor, outputs: Any, op: type[Op], params: dict[str, Any]) -> None:
    """`mark_view` for one result or several of one operation."""
    if outputs.__class__ is not tuple:
        mark_view(x, outputs, op, params)
    else:
        for t in outputs:
            mark_view(x, t, op, None)


def chose_layout(t: Tensor) -> bool:
    """Whether a kernel chose the order of a tensor's memory: it owns that memory, which is channels-last.

    To its user such a tensor is contiguous. The order is an affair of the kernels until somebody wants to see it.
    """
    array = t.array
    return t.base is None and type(array) is ndarray and array.flags.owndata and layout.is_channels_last(array)


def lay_out(t: Tensor) -> Any:
    """The array of a tensor, in row-major order if a kernel had chosen another.

    Called wherever the memory becomes visible, or another tensor is put on it: for views, detach(), data, numpy() and the
    like. So a tensor in another order is the only one on its memory, but for what operations keep of their results for
    their gradients, which have this value as well and take no notice of its place.
    """
    if chose_layout(t):
        t.array = layout.row_major(t.array)
    return t.array


def live_views(root: Tensor) -> list[Tensor]:
    """The views of a tensor's memory that were taken from it and are still in use."""
    views = [reference() for reference in (root.storage and root.storage.views) or ()]
    return [view for view in views if view is not None and view.base.root is root]
