"""Jacobians, Hessians and their products with vectors, of functions of tensors: `torch.autograd.functional`.

Every function here takes `inputs`, a tensor or a tuple of them, and calls func(*inputs), which returns a tensor or a tuple.
Results come without a graph, unless create_graph: then they can be differentiated again. strict: raise RuntimeError where a
result does not depend on an input at all; otherwise its derivative is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ops.creation import ones_like, zeros_like
from ..ops.joining import stack
from ..tensor import Tensor
from .engine import grad
from .grad_mode import enable_grad


def _as_tuple(name: str, what: str, values: Any) -> tuple[bool, tuple[Tensor, ...]]:
    """Whether the values are several, and the values as a tuple."""
    several = isinstance(values, (tuple, list))
    result = tuple(values) if several else (values,)
    for i, t in enumerate(result):
        if not isinstance(t, Tensor):
            raise TypeError(f"{name}: the {what} must be a Tensor or a tuple of Tensors, but number {i} is {type(t)}")
    return several, result


def _taken(inputs: tuple[Tensor, ...], create_graph: bool) -> tuple[Tensor, ...]:
    """Tensors on the same memory to differentiate by, tied to the inputs' history only if results are to be differentiated."""
    return tuple(x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_() for x in inputs)


def _called(name: str, func: Any, inputs: tuple[Tensor, ...], strict: bool) -> tuple[bool, tuple[Tensor, ...]]:
    several, outputs = _as_tuple(name, "result of the function", func(*inputs))
    for i, t in enumerate(outputs):
        if strict and not t.requires_grad:
            raise RuntimeError(
                f"{name}: result {i} of the function does not depend on the inputs, which strict=True forbids"
            )
    return several, outputs


def _gradients(
    name: str,
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    gradients: Sequence[Tensor] | None,
    strict: bool,
    create_graph: bool,
) -> tuple[Tensor, ...]:
    """The gradients of the outputs that have any, zeros where there is none. The graph is kept."""
    chosen = [(t, None if gradients is None else gradients[i]) for i, t in enumerate(outputs) if t.requires_grad]
    found: Sequence[Tensor | None] = [None] * len(inputs)
    if chosen:
        ts, gs = zip(*chosen, strict=True)
        found = grad(ts, inputs, gs, retain_graph=True, create_graph=create_graph, allow_unused=True)
    for i, g in enumerate(found):
        if g is None and strict:
            raise RuntimeError(f"{name}: the result does not depend on input {i}, which strict=True forbids")
    return tuple(zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True))


def _vectors(name: str, v: Any, like: tuple[Tensor, ...], several: bool) -> tuple[Tensor, ...]:
    """v as a tuple of tensors of given shapes; for a single number it may be left out."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(f"{name}: the vector v can only be None if there is a single number that it multiplies")
        return (ones_like(like[0]),)
    given, vs = _as_tuple(name, "vector v", v)
    if given != several or [x.shape for x in vs] != [x.shape for x in like]:
        raise RuntimeError(
            f"{name}: v must have the form and shapes of what it multiplies, {[list(x.shape) for x in like]}, got "
            f"{[list(x.shape) for x in vs]}"
        )
    return vs


def _given_back(ts: Sequence[Tensor], several: bool, create_graph: bool) -> Any:
    result = tuple(t if create_graph else t.detach() for t in ts)
    return result if several else result[0]


def vjp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), v^T J): the gradient of the result in the direction v, which has the result's form.

    Example:
        >>> vjp(lambda x: x**2, minidl.tensor([1.0, 3.0]), minidl.tensor([1.0, 1.0]))[1]
        tensor([2., 6.])
    """
    many_in, inputs = _as_tuple("vjp", "inputs", inputs)
    with enable_grad():
        xs = _taken(inputs, create_graph)
        many_out, outputs = _called("vjp", func, xs, strict)
        vs = _vectors("vjp", v, outputs, many_out)
        found = _gradients("vjp", outputs, xs, vs, strict, create_graph)
    return _given_back(outputs, many_out, create_graph), _given_back(found, many_in, create_graph)


def jvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), J v): how the result changes when the inputs move along v, which has the inputs' form.

    v^T J is linear in v, and its gradient by v is J: two backward passes make one forward derivative.
    """
    many_in, inputs = _as_tuple("jvp", "inputs", inputs)
    with enable_grad():
        xs = _taken(inputs, create_graph)
        vs = _vectors("jvp", v, xs, many_in)
        many_out, outputs = _called("jvp", func, xs, strict)
        along = tuple(zeros_like(t).requires_grad_() for t in outputs)
        linear = _gradients("jvp", outputs, xs, along, strict, create_graph=True)
        found = _gradients("jvp", linear, along, vs, strict, create_graph)
    return _given_back(outputs, many_out, create_graph), _given_back(found, many_out, create_graph)


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The derivatives of each element of the result by each of the inputs: of shape result.shape + input.shape.

    For several inputs a tuple of them, for several results a tuple of those. vectorize and strategy are taken for PyTorch's
    sake: there is one backward pass for each element of the result.

    Example:
        >>> jacobian(lambda x: x**2, minidl.tensor([1.0, 3.0]))
        tensor([[2., 0.],
                [0., 6.]])
    """
    many_in, inputs = _as_tuple("jacobian", "inputs", inputs)
    with enable_grad():
        xs = _taken(inputs, create_graph)
        many_out, outputs = _called("jacobian", func, xs, strict)
        rows = []
        for t in outputs:
            each = [_gradients("jacobian", [e], xs, None, strict, create_graph) for e in t.reshape(-1)]
            columns = [stack([g[i] for g in each]) if each else x.new_zeros(0) for i, x in enumerate(xs)]
            rows.append([c.reshape(*t.shape, *x.shape) for c, x in zip(columns, xs, strict=True)])
    result = tuple(_given_back(row, many_in, create_graph) for row in rows)
    return result if many_out else result[0]


def _one_number(name: str, func: Callable[..., Any]) -> Callable[..., Any]:
    """func with a check that its result is a single number."""

    def checked(*inputs: Any) -> Any:
        out = func(*inputs)
        if not isinstance(out, Tensor) or out.numel() != 1:
            shape = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise RuntimeError(f"{name}: the function must return a Tensor with a single element, got {shape}")
        return out.reshape(())

    return checked


def _slope(name: str, func: Callable[..., Any], strict: bool) -> Callable[..., tuple[Tensor, ...]]:
    """The gradient of a function with a single number as result, as a function of its own."""
    checked = _one_number(name, func)
    return lambda *xs: _gradients(name, [checked(*xs)], xs, None, strict, create_graph=True)


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of a function whose result is a single number: of shape input.shape + input.shape.

    For several inputs a tuple of tuples of them.

    Example:
        >>> hessian(lambda x: (x**3).sum(), minidl.tensor([1.0, 2.0]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])
    """
    many_in, inputs = _as_tuple("hessian", "inputs", inputs)
    found = jacobian(_slope("hessian", func, strict), inputs, create_graph, strict)
    return found if many_in else found[0][0]


def hvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), H v), the Hessian times a vector of the inputs' form, without the Hessian."""
    return _hessian_product("hvp", jvp, func, inputs, v, create_graph, strict)


def vhp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), v^T H): as hvp, with one backward pass less."""
    return _hessian_product("vhp", vjp, func, inputs, v, create_graph, strict)


def _hessian_product(
    name: str, product: Any, func: Any, inputs: Any, v: Any, create_graph: bool, strict: bool
) -> tuple[Any, Any]:
    many_in, inputs = _as_tuple(name, "inputs", inputs)
    vs = _vectors(name, v, inputs, many_in)
    _, found = product(_slope(name, func, strict), inputs, vs, create_graph, strict)
    with enable_grad():
        value = func(*(inputs if create_graph else [x.detach() for x in inputs]))
    return _given_back([value], False, create_graph), _given_back(found, many_in, create_graph)


__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]
