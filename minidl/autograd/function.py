"""PyTorch's way of writing an operation: a class with static `forward(ctx, ...)` and `backward(ctx, ...)`.

It is a thin layer over Op: the context is the node.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..kernels import array_module
from . import op as _op
from .engine import conjugated
from .grad_mode import grad_mode, no_grad
from .op import Op, as_array, new, record, same_memory, wrap
from .storage import mark_written


class FunctionNode(Op):
    """The node of one call of a Function, and the `ctx` that its forward and backward get."""

    def __init__(self, function: type[Function]) -> None:
        self.function = function
        self.needs_input_grad: tuple[bool, ...] = ()
        self._saved: tuple[Any, ...] = ()
        self._nondifferentiable: tuple[Any, ...] = ()
        self._dirty: tuple[Any, ...] = ()
        self._materialize = True
        self._once = False

    def name(self) -> str:
        return f"{self.function.__name__}Backward"

    # -- what forward may call

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors (or None) for backward, where `ctx.saved_tensors` gives them back, checked for later writes."""
        self._saved = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Say of results that they have no gradient."""
        self._nondifferentiable = tensors

    def mark_dirty(self, *tensors: Any) -> None:
        """Say of inputs that forward has changed them in place."""
        self._dirty = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (default) or None for results that nothing depends on."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        if self.kept is None:
            return self._saved  # still in forward
        return tuple(self.unpack_tensors())

    # -- what the engine calls

    def rule_on_arrays(self, g: Any) -> Any:
        """`backward`, which asks for the saved tensors when it wants them; some may be sparse."""
        if self.kept is _op.FREED:
            raise _op._freed(self)
        return self.backward(g)

    def unpack_tensors(self) -> list[Any]:
        """The kept tensors; results among them come back with this node as their history."""
        values = super().unpack_tensors()
        return [wrap(v.array, self._node_of_result(i)) if i in self._results else v for i, v in enumerate(values)]

    def _node_of_result(self, i: int) -> Op:
        index, count = self._results[i]
        return self if count == 1 else _op.OutputOf(self, index, count)

    def finish(self, inputs: tuple[Any, ...], outputs: Any) -> None:
        """Enter the call into the graph."""
        record(self, inputs, outputs)
        results = outputs if isinstance(outputs, tuple) else (outputs,)
        kept: list[Any] = []
        self._results: dict[int, tuple[int, int]] = {}
        for i, t in enumerate(self._saved):
            place = next((j for j, r in enumerate(results) if r is t), None)
            if place is not None:  # a node must not hold its own result
                self._results[i] = (place, len(results))
                t = same_memory(t)
            kept.append(t)
        self.kept = tuple(kept) or None
        self._saved = ()
        self._shapes_of_results = [(r.array.shape, r.array.dtype) for r in results]

    def backward(self, g: Any, *kept: Any) -> Any:
        gs = g if isinstance(g, list) else (g,)
        on_tensors = grad_mode.get()
        tensors: list[Any] = []
        given = next(x for x in gs if x is not None)
        xp = array_module(getattr(given, "array", given))
        for x, (shape, dtype) in zip(gs, self._shapes_of_results, strict=True):
            if x is None and self._materialize:
                tensors.append(wrap(xp.zeros(shape, dtype)))
            else:
                tensors.append(None if x is None else conjugated(x if on_tensors else wrap(as_array(x))))
        result = self.function.backward(self, *tensors)
        results = result if isinstance(result, tuple) else (result,)
        if len(results) > len(self.edges) and all(r is None for r in results[len(self.edges) :]):
            results = results[: len(self.edges)]
        if len(results) != len(self.edges):
            raise RuntimeError(
                f"{self.name()} returned an incorrect number of gradients (expected {len(self.edges)}, got {len(results)}): "
                "one for each argument of forward, None for those without"
            )
        for i, (r, edge) in enumerate(zip(results, self.edges, strict=True)):
            if r is not None and edge is not None and not isinstance(r, _op._Tensor):
                raise TypeError(f"{self.name()}: gradient {i} must be a Tensor or None, got {type(r).__name__}")
        return tuple(None if r is None else conjugated(r if on_tensors else r.array) for r in results)


class Function:
    """An operation with its own gradient, as in PyTorch.

    Example:
        >>> class Square(Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x * x
        ...     @staticmethod
        ...     def backward(ctx, g):
        ...         (x,) = ctx.saved_tensors
        ...         return 2 * x * g
        >>> y = Square.apply(x)
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    setup_context: Callable[..., Any] | None = None

    @classmethod
    def apply(cls, *inputs: Any) -> Any:
        """Call the function. Tensors among the positional arguments get gradients; other arguments pass through."""
        ctx = new(FunctionNode)
        ctx.__init__(cls)  # type: ignore[misc]
        ctx.kept = None
        tensors = [x for x in inputs if isinstance(x, _op._Tensor)]
        ctx.needs_input_grad = tuple(isinstance(x, _op._Tensor) and x.node is not None for x in inputs)
        recording = grad_mode.get() and any(ctx.needs_input_grad)
        with no_grad():
            if cls.setup_context is None:
                result = cls.forward(ctx, *inputs)
            else:
                result = cls.forward(*inputs)
                cls.setup_context(ctx, inputs, result)
        outputs = result if isinstance(result, tuple) else (result,)
        fresh = tuple(_fresh(t, tensors, ctx) for t in outputs)
        if recording:
            ctx._saved = tuple(fresh[outputs.index(t)] if any(t is o for o in outputs) else t for t in ctx._saved)
            ctx.finish(inputs, fresh if isinstance(result, tuple) else fresh[0])
            for t, original in zip(fresh, outputs, strict=True):
                if any(original is m for m in ctx._nondifferentiable):
                    t.node = None
        return fresh if isinstance(result, tuple) else fresh[0]


def _fresh(t: Any, inputs: list[Any], ctx: FunctionNode) -> Any:
    """A result as a tensor of its own: a forward may return its input, or one that it changed in place."""
    if not isinstance(t, _op._Tensor):
        raise TypeError(f"{ctx.name()}: forward must return Tensors, got {type(t).__name__}")
    if any(t is d for d in ctx._dirty):
        mark_written(t)
        return t
    if any(t is x for x in inputs):
        return same_memory(t)
    return t


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a Function's backward that cannot itself be differentiated: doing so raises."""

    @functools.wraps(backward)
    def wrapped(ctx: FunctionNode, *grads: Any) -> Any:
        recording = grad_mode.get()
        with no_grad():
            result = backward(ctx, *grads)
        if not recording or not any(isinstance(g, _op._Tensor) and g.node is not None for g in grads):
            return result
        results = result if isinstance(result, tuple) else (result,)
        blocked = tuple(r if r is None else wrap(r.array, _NotTwice(ctx, grads)) for r in results)
        return blocked if isinstance(result, tuple) else blocked[0]

    return wrapped


class _NotTwice(Op):
    """The node of a gradient that must not be differentiated again."""

    def __init__(self, ctx: FunctionNode, grads: tuple[Any, ...]) -> None:
        self.of = ctx.name()
        self.edges = tuple(g.node for g in grads if isinstance(g, _op._Tensor))
        self.kept, self.shapes, self.hooks = None, None, None
        self.grad, self.mark, self.seq = None, 0, _op.next_seq()

    def backward(self, g: Any) -> Any:
        raise RuntimeError(
            f"trying to differentiate twice a function that was marked with @once_differentiable: {self.of}"
        )
