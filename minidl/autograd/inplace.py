"""In-place operations: the value is written into the tensor's memory, and its history becomes that of the result.

`y = f(x)` followed by `write(x, y)` is what every in-place operation does. For a tensor that owns its memory the new history
is that of y. For a view, the owner's history changes: its new value is the old one with a region replaced (PyTorch's
CopySlices). Then every other live view of that memory is taken again, so that none keeps a history that is no longer true.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import dtypes
from ..kernels import array_module
from . import op as _op
from .grad_mode import enable_grad, grad_mode
from .op import NUMBERS, Op, SparseOperand, new, record, same_memory, wrap
from .storage import View, live_views, mark_written, next_seq, take_again

if TYPE_CHECKING:
    from ..tensor import Tensor


def in_place(function: Callable[..., Any], name: str, ufunc: Any = None) -> Callable[..., Any]:
    """The in-place method `name_` of an out-of-place function; `ufunc` computes the same, and can write where it reads."""

    @functools.wraps(function)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_writable(self, name)
        if ufunc is not None and len(args) == 1 and not kwargs and _done_at_once(ufunc, self, args[0]):
            return self
        before = next_seq()
        return write(self, function(self, *args, **kwargs), name, before)

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"In-place form of {name}()."
    return method


def _done_at_once(ufunc: Any, x: Tensor, y: Any) -> bool:
    """Compute x = ufunc(x, y) in x's memory, where no graph is recorded and y is of x's dtype and shape, or a number."""
    a, b, node = x.array, y, None
    if isinstance(y, _op._Tensor):
        try:
            b, node = y.array, y.node
        except SparseOperand:
            return False
        if b.dtype is not a.dtype or b.shape != a.shape or b.__class__ is not a.__class__:
            return False
    elif y.__class__ not in NUMBERS:
        return False
    if a.dtype.kind != "f" or (grad_mode.get() and (node or x.node or (x.base and x.base.root.node))):
        return False
    ufunc(a, b, out=a)
    mark_written(x)
    return True


def check_writable(x: Tensor, name: str) -> None:
    """Raise where an in-place operation cannot be right: on leaves that want gradients, on expanded memory."""
    root = x if x.base is None else x.base.root
    if grad_mode.get() and not (x.node is root.node is None):
        for t, what in ((x, "a leaf Variable"), (root, "a view of a leaf Variable")):
            if t.node is not None and t.is_leaf:
                raise RuntimeError(
                    f"{what} that requires grad is being used in an in-place operation ({name}_). "
                    "Do it under no_grad(), as optimizers do, or on a clone()."
                )
    a = x.array
    # CuPy's arrays always are writeable; an array without elements may have any strides
    repeated = 0 in a.strides and a.size and any(n > 1 and s == 0 for n, s in zip(a.shape, a.strides, strict=True))
    if repeated or not getattr(a.flags, "writeable", True):
        raise RuntimeError(
            f"unsupported operation ({name}_): more than one element of the written-to tensor refers to a single memory "
            "location, or the memory is read-only. Please clone() the tensor before performing the operation."
        )


def write(x: Tensor, result: Tensor, name: str, before: int) -> Tensor:
    """Give x the value and the history of `result`, which was computed after sequence number `before`; return x."""
    if result.array.shape != x.array.shape:
        raise RuntimeError(
            f"{name}_: output with shape {list(x.shape)} doesn't match the broadcast shape {list(result.shape)}; "
            f"use the out-of-place {name}()"
        )
    if result.array.dtype != x.array.dtype:
        if not dtypes.can_cast(result.dtype, x.dtype):
            raise RuntimeError(
                f"{name}_: result type {result.dtype} can't be cast to the desired output type {x.dtype}; "
                f"use the out-of-place {name}()"
            )
        result = result.to(x.dtype)
    root = x if x.base is None else x.base.root
    rebase = grad_mode.get() and (result.node is not None or x.node is not None or root.node is not None)
    if rebase and x.base is not None and x.base.steps is None:
        raise RuntimeError(
            f"{name}_: this tensor is one of several views that one operation returned, and such views cannot be modified "
            "in place within a graph. Index the owner of the memory instead, or clone() first."
        )
    if rebase:
        _save_old_value(x, result.node, before)
    x.array[...] = result.array
    mark_written(x, before)  # as if before the operation that computed it, which may keep its result
    if rebase:
        _keep_new_value(x, result)
        _rebase(x, result)
    return x


def _save_old_value(x: Tensor, node: Op | None, before: int) -> None:
    """Operations that just ran on x, made after `before`, and that keep x, get a copy of its value before it changes."""
    snapshot = None
    pending = [node]
    while pending:
        op = pending.pop()
        if op is None or op.seq <= before:
            continue
        pending.extend(op.edges)
        if op.kept and any(k is x for k in op.kept):
            if snapshot is None:
                snapshot = wrap(x.array.copy(), x.node)
            op.kept = tuple(snapshot if k is x else k for k in op.kept)


def _keep_new_value(x: Tensor, result: Tensor) -> None:
    """A rule that keeps its result keeps x instead: no second copy of the value, and later writes are noticed."""
    op = result.node
    if (
        op is not None
        and op.kept
        and op._keeps_out
        and not op.several
        and getattr(op.kept[-1], "array", None) is result.array
    ):
        op.kept = (*op.kept[:-1], same_memory(x))


def _rebase(x: Tensor, result: Tensor) -> None:
    """Make the history of x that of `result`; through a view, that of its owner."""
    root = x
    if x.base is None:
        x.node = result.node
    else:
        root = x.base.root
        op = new(_ReplaceRegion)
        op.locate(root, x.base)
        region = wrap(root.array)
        record(op, (root, result), region)
        root.node = region.node
    for view in live_views(root):
        assert view.base is not None
        if view.base.steps is None:
            view.node = _StaleView(root.node)
        else:
            with enable_grad():
                view.node = view.base.of(root).node


class _ReplaceRegion(Op):
    """The owner of some memory after a view of it was overwritten: the old value outside the view, the new one inside."""

    def forward(self, old: Any, new: Any) -> Any:
        raise AssertionError("recorded when a view is written to, never called")

    def locate(self, root: Tensor, base: View) -> None:
        # not `base.of`: the base has the owner, whose history this is, and its memory would wait for the garbage collector
        self.region_of = functools.partial(take_again, base.steps)
        self.outside = array_module(root.array).ones_like(root.array, dtype=bool)  # in the owner's own memory layout
        self.region_of(self.outside)[...] = False

    def backward(self, g: Any) -> Any:
        from ..ops.selection import where

        return where(self.outside, g, 0.0), self.region_of(g)


class _StaleView(Op):
    """The node of a view that one operation returned among others, after its memory was overwritten in a graph."""

    def __init__(self, owner: Op | None) -> None:
        self.edges, self.kept, self.shapes, self.hooks = (owner,), None, None, None
        self.grad, self.mark, self.seq = None, 0, next_seq()

    def backward(self, g: Any) -> Any:
        raise RuntimeError(
            "a view that split(), chunk() or unbind() returned was used after its owner was modified in place; "
            "take the view again after the in-place operation"
        )
