"""Checking gradients against finite differences.

The check goes along random directions: with a random cotangent g and a random direction v, <g, J v> from finite differences
must equal <J^T g, v> from the backward pass. This costs two evaluations whatever the size, and sees every entry of the
Jacobian. A cotangent of all ones would not: the Jacobian of softmax maps it to zero, so a wrong factor would pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..devices import move, of_array
from .engine import grad
from .op import as_array, wrap


class GradcheckError(RuntimeError):
    """A gradient disagrees with finite differences; the message gives both numbers."""


def _results(function: Callable[..., Any], inputs: Sequence[Any]) -> list[Any]:
    """The differentiable results of a call, as a list."""
    out = function(*inputs)
    outs = out if isinstance(out, (tuple, list)) else (out,)
    return [t for t in outs if hasattr(t, "array") and t.array.dtype.kind in "fc"]


def _random_like(t: Any, random: np.random.Generator) -> Any:
    """Random numbers of a tensor's shape on its device, complex ones for a complex tensor."""
    drawn: Any = random.standard_normal(t.array.shape)
    if t.array.dtype.kind == "c":
        drawn = drawn + 1j * random.standard_normal(t.array.shape)
    return move(np.asarray(drawn), of_array(t.array))


def _inner(g: Any, v: Any) -> float:
    """<g, v>: what changes along v, for the gradient g; complex numbers count as pairs of real ones."""
    return float((g.conj() * v).sum().real)


def directional_check(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    order: int = 1,
    eps: float = 1e-6,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    seed: int = 0,
) -> None:
    """Raise GradcheckError unless the gradients of `function` up to `order` agree with finite differences.

    inputs: Tensors (float64 ones that require grad are checked) and anything else.
    """
    random = np.random.default_rng(seed)
    at = [i for i, x in enumerate(inputs) if hasattr(x, "node") and x.node is not None]
    directions = {i: _random_like(inputs[i], random) for i in at}

    def moved(step: float) -> list[Any]:
        shifted = [
            wrap(as_array(x.array + step * directions[i]).astype(x.array.dtype, copy=False)) if i in directions else x
            for i, x in enumerate(inputs)
        ]
        return [t.array for t in _results(function, shifted)]

    outputs = _results(function, inputs)
    if not outputs:
        return  # a gradient that is nowhere defined has nothing to check
    pairs = [(t, _random_like(t, random)) for t in outputs]
    ahead, behind = moved(eps), moved(-eps)
    wanted = sum(_inner(g, (a - b) / (2 * eps)) for a, b, (_, g) in zip(ahead, behind, pairs, strict=True))
    connected = [(t, g) for t, g in pairs if t.node is not None]
    if not connected:
        raise GradcheckError("no result of the function requires grad, though an input does: is it detached inside?")
    with_graph = order > 1
    gradients = grad(
        [t for t, _ in connected],
        [inputs[i] for i in at],
        [wrap(g) for _, g in connected],
        create_graph=with_graph,
        allow_unused=True,
    )
    got = sum(_inner(g.array, directions[i]) for i, g in zip(at, gradients, strict=True) if g is not None)
    scale = sum(float(abs(a * g).sum()) for a, (_, g) in zip(ahead, pairs, strict=True) if np.isfinite(a).all())
    rounding = 4e-16 * scale / eps  # what float64 loses in the difference
    if not abs(got - wanted) <= atol + rtol * abs(wanted) + rounding:
        raise GradcheckError(
            f"gradient along a random direction: backward says {got:.10g}, finite differences say {wanted:.10g} "
            f"(order {order} and below; inputs {[list(inputs[i].shape) for i in at]})"
        )
    for i, g in zip(at, gradients, strict=True):
        if g is not None and (g.array.shape != inputs[i].array.shape or g.array.dtype != inputs[i].array.dtype):
            raise GradcheckError(
                f"gradient of input {i} has shape {list(g.shape)} and {g.dtype}, the input {list(inputs[i].shape)} and "
                f"{inputs[i].dtype}"
            )
    if with_graph:
        _check_next_order(function, inputs, at, [g for _, g in pairs], order, eps, rtol, atol, seed)


def _check_next_order(
    function: Callable[..., Any], inputs: Any, at: list[int], cotangents: Any, order: int, eps: float, rtol: float,
    atol: float, seed: int,
) -> None:  # fmt: skip
    """The gradient as a function of inputs and cotangents, checked one order lower."""

    def gradient(*arguments: Any) -> Any:
        xs, gs = arguments[: len(inputs)], arguments[len(inputs) :]
        chosen = [x if x.node is not None else x.requires_grad_() for x in (xs[i] for i in at)]
        outs = _results(function, xs)
        used = [(t, g) for t, g in zip(outs, gs, strict=True) if t.node is not None]
        results = grad([t for t, _ in used], chosen, [g for _, g in used], create_graph=True, allow_unused=True)
        return [r for r in results if r is not None]

    gs = [wrap(g).requires_grad_() for g in cotangents]
    # differences of gradients carry the error of two differences: a looser bound, still far below a wrong factor
    directional_check(
        gradient, [*inputs, *gs], order=order - 1, eps=eps, rtol=max(rtol, 1e-4), atol=max(atol, 1e-6), seed=seed + 1
    )


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    fast_mode: bool = True,
    **ignored: Any,
) -> bool:
    """Whether the gradients of `func` at `inputs` (float64 tensors that require grad) agree with finite differences.

    Raises GradcheckError, or returns False with raise_exception=False.

    Example:
        >>> x = minidl.randn(3, dtype=minidl.float64, requires_grad=True)
        >>> minidl.autograd.gradcheck(minidl.sin, x)
        True
    """
    return _check(func, inputs, 1, eps, rtol, atol, raise_exception)


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    **ignored: Any,
) -> bool:
    """The same for first and second derivatives."""
    return _check(func, inputs, 2, eps, rtol, atol, raise_exception)


def _check(
    func: Callable[..., Any], inputs: Any, order: int, eps: float, rtol: float, atol: float, raising: bool
) -> bool:
    inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    checked = [x for x in inputs if hasattr(x, "node") and x.node is not None]
    if not checked:
        raise ValueError("gradcheck expects at least one input tensor to require gradient, but none of them have one")
    if any(x.array.dtype not in (np.float64, np.complex128) for x in checked):
        raise ValueError(
            "gradcheck: finite differences need float64 or complex128 inputs; call double() or cdouble() on them first"
        )
    try:
        for seed in range(3):
            directional_check(func, inputs, order=order, eps=eps, rtol=rtol, atol=atol, seed=seed)
    except GradcheckError:
        if raising:
            raise
        return False
    return True
