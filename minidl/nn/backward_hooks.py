"""How a module's backward hooks see gradients: two identities in the graph, one around its inputs, one its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..autograd.hooks import hooks_of
from ..autograd.op import Op, OutputOf
from ..autograd.storage import storage_of
from ..tensor import Tensor
from ..testing.samples import Sample, samples


class Boundary(Op):
    """Several tensors passed through unchanged, so that hooks on one node see all their gradients at once."""

    several = True

    def forward(self, *xs: Any) -> tuple[Any, ...]:
        return xs

    def backward(self, g: Any) -> Any:
        return tuple(g)


@samples(Boundary)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), make(4))
    yield Sample(np.zeros((0, 2)))


class BackwardHooks:
    """The backward hooks of one call of a module."""

    def __init__(self, module: Any, pre: Iterable[Callable[..., Any]], post: Iterable[Callable[..., Any]]) -> None:
        self.module, self.pre, self.post = module, list(pre), list(post)
        self.grad_output: tuple[Any, ...] = ()
        self.inputs = 0  # how many inputs are tensors
        self.input_node: Op | None = None

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, seen from behind the input boundary."""
        args, self.input_node = _pass(args)
        self.inputs = len(args)
        if self.input_node is not None:
            hooks_of(self.input_node).post[id(self)] = self._at_input
        return args

    def leave(self, output: Any) -> Any:
        """The output, seen from before the output boundary."""
        outputs, node = _pass(output if isinstance(output, (tuple, list)) else (output,))
        if node is not None:
            hooks_of(node).post[id(self)] = self._at_output
        return type(output)(outputs) if type(output) in (tuple, list) else outputs[0] if node is not None else output

    def _at_output(self, grad_inputs: Any, grad_outputs: Any) -> Any:
        grads = grad_inputs
        for hook in self.pre:
            result = hook(self.module, grads)
            if result is not None:
                grads = result if isinstance(result, tuple) else (result,)
        self.grad_output = tuple(grads)
        if self.input_node is None:  # nothing below wants a gradient: the hooks have all they can get
            for hook in self.post:
                hook(self.module, (None,) * self.inputs, self.grad_output)
        return grads

    def _at_input(self, grad_inputs: Any, grad_outputs: Any) -> Any:
        grads = grad_inputs
        for hook in self.post:
            result = hook(self.module, grads, self.grad_output)
            if result is not None:
                grads = result if isinstance(result, tuple) else (result,)
        return grads


def _pass(values: Iterable[Any]) -> tuple[tuple[Any, ...], Op | None]:
    """The values with their tensors passed through a Boundary, and its node if it is in a graph."""
    values = tuple(values)
    tensors = [v for v in values if isinstance(v, Tensor)]
    if not any(t.requires_grad for t in tensors):
        return values, None
    passed = Boundary.apply(*tensors)
    node = next((t.node.edges[0] for t in passed if isinstance(t.node, OutputOf)), None)
    for before, after in zip(tensors, passed, strict=True):
        after.storage = storage_of(before)  # one memory: a write to either is noticed by whatever kept it
    rest = iter(passed)
    return tuple(next(rest) if isinstance(v, Tensor) else v for v in values), node
