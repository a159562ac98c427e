"""What the families share: how an operation becomes public without a line of Python around its call, named results."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from ..autograd import engine
from ..autograd.op import Op
from ..kernels import array_module
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


def public(op: type[Op], name: str, doc: str, *more: str, inplace: Any = True) -> Callable[..., Any]:
    """The function of an operation that takes its inputs and nothing else; also the methods `name`, `name_` and `more`."""
    return method(name, *more, inplace=inplace)(named(op, name, doc))


class result_type:
    """The class of an operation's several results: a named tuple that prints as PyTorch's do.

    It is made at the first result: making two dozen of them would be felt when minidl is imported.
    """

    def __init__(self, name: str, *fields: str) -> None:
        self.name, self.fields = name, fields

    @cached_property
    def made(self) -> Any:
        name = self.name

        def text(results: Any) -> str:
            parts = [f"{field}={value!r}" for field, value in results._asdict().items()]
            return f"torch.return_types.{name}(\n" + ",\n".join(parts) + ")"

        return type(name, (namedtuple(name, self.fields),), {"__slots__": (), "__repr__": text})

    def __call__(self, *results: Any) -> Any:
        return self.made(*results)


def differentiated(op: Op, plain: Callable[..., Any], inputs: tuple[Any, ...], g: list[Any]) -> Any:
    """For `composite`: the gradients of the inputs as Tensors in the graph, by differentiating the plain form of an operation.

    plain: takes the inputs and returns the results as a tuple. g: the gradients of these, None where nothing depends on one.
    """
    # one tensor may be two of the inputs; each place gets a node of its own, and so a gradient of its own
    inputs = tuple(x if x is None else x.view_as(x) for x in inputs)
    results = plain(*inputs)
    wanted = [i for i, edge in enumerate(op.edges) if edge is not None]
    used = [(result, d) for result, d in zip(results, g, strict=True) if d is not None]
    grads = engine.grad(
        [result for result, _ in used], [inputs[i] for i in wanted], [d for _, d in used], create_graph=True,
        allow_unused=True,
    )  # fmt: skip
    found: list[Any] = [None] * len(inputs)
    for i, grad in zip(wanted, grads, strict=True):
        found[i] = grad
    return tuple(found)


def scipy_special(x: Any) -> Any:
    """scipy.special, or CuPy's for an array on a GPU; imported at the first call."""
    if array_module(x) is np:
        import scipy.special as library
    else:
        import cupyx.scipy.special as library
    return library


def scipy_of_one(name: str) -> Any:
    """A function of scipy.special of one argument, as an operation's forward."""

    def forward(x: Any) -> Any:
        return getattr(scipy_special(x), name)(x).astype(x.dtype)  # float16 would come back as float32

    return staticmethod(forward)


def scipy_of_two(name: str) -> Any:
    """A function of scipy.special of two arguments, one of which may be a number, as an operation's forward."""

    def forward(x: Any, y: Any) -> Any:
        array = x if hasattr(x, "dtype") else y
        return getattr(scipy_special(array), name)(x, y).astype(array.dtype)

    return staticmethod(forward)
