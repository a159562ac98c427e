"""Functions made of functions, as JAX has them: `torch.func`.

    grad(f)(x)                 the gradient of a function whose result is one number
    grad(grad(f))              of a function of one number, its second derivative
    vmap(f)(xs)                f for each of many inputs
    jacrev(f)(x), hessian(f)(x), vjp, jvp, linearize
    functional_call(module, parameters, x)    a module as a function of its parameters

Arguments and results may be tensors, or dicts, lists and tuples of them. What a function computes outside of these is
untouched: results have a graph only if they depend on tensors of the caller that want gradients.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from . import random
from .autograd import engine
from .autograd.grad_mode import enable_grad, is_grad_enabled
from .autograd.op import AccumulateGrad
from .nn.module import Module
from .nn.utils.stateless import functional_call
from .ops.creation import zeros_like
from .ops.joining import stack, unbind
from .tensor import Tensor

# ---------------------------------------------------------------------------------------------------------------------
# Nested containers of tensors


def _leaves(tree: Any) -> list[Any]:
    """What is in nested dicts, lists and tuples, in order."""
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in _leaves(value)]
    if isinstance(tree, (list, tuple)):
        return [leaf for value in tree for leaf in _leaves(value)]
    return [tree]


def _filled(tree: Any, leaves: Iterator[Any]) -> Any:
    """Containers of the same form with other leaves."""
    if isinstance(tree, dict):
        return type(tree)((key, _filled(value, leaves)) for key, value in tree.items())
    if isinstance(tree, (list, tuple)):
        values = [_filled(value, leaves) for value in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
    return next(leaves)


def _mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    return _filled(tree, map(function, _leaves(tree)))


# ---------------------------------------------------------------------------------------------------------------------
# Derivatives


def _taken(tree: Any) -> tuple[Any, list[Tensor]]:
    """The tree with its tensors replaced by others to differentiate by, on the same memory; and those others."""
    taken: list[Tensor] = []

    def take(x: Any) -> Tensor:
        if not isinstance(x, Tensor):
            raise RuntimeError(f"func: what is differentiated by must be tensors, got {type(x).__name__}")
        taken.append(x.view_as(x) if x.requires_grad else x.detach().requires_grad_())
        return taken[-1]

    return _mapped(take, tree), taken


def _released(tree: Any, taken: Sequence[Tensor], keep: bool) -> Any:
    """Results without a graph if all that it leads to are the `taken` tensors, which nobody else has."""
    own = {id(x.node) for x in taken}

    def release(t: Any) -> Any:
        if not isinstance(t, Tensor) or t.node is None:
            return t
        pending, seen = [t.node], set()
        while pending and keep:
            node = pending.pop()
            if isinstance(node, AccumulateGrad) and id(node) not in own:
                return t
            seen.add(node)
            pending.extend(edge for edge in node.edges if edge is not None and edge not in seen)
        return t.detach()

    return _mapped(release, tree)


def _gradients(
    outputs: Sequence[Tensor], xs: Sequence[Tensor], gs: Sequence[Tensor] | None, create_graph: bool
) -> list[Tensor]:
    """The gradients of the outputs, zeros where there is none. The graph is kept."""
    chosen = [(t, None if gs is None else gs[i]) for i, t in enumerate(outputs) if t.requires_grad]
    if not chosen:
        return [zeros_like(x) for x in xs]
    ts, given = zip(*chosen, strict=True)
    found = engine.grad(ts, xs, given, retain_graph=True, create_graph=create_graph, allow_unused=True)
    return [zeros_like(x) if g is None else g for x, g in zip(xs, found, strict=True)]


def _tensors(name: str, tree: Any) -> list[Tensor]:
    leaves = _leaves(tree)
    if not all(isinstance(t, Tensor) for t in leaves):
        raise RuntimeError(f"{name}: the function must return tensors, got {[type(t).__name__ for t in leaves]}")
    return leaves


def _argument(
    args: tuple[Any, ...], argnums: int | tuple[int, ...]
) -> tuple[list[Any], list[Tensor], Callable[..., Any]]:
    """The arguments with those of `argnums` taken; what was taken; and how new leaves are put into their form."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for i in numbers:
        if not -len(args) <= i < len(args):
            raise RuntimeError(f"func: argnums is {argnums}, but the function got {len(args)} positional arguments")
    chosen = tuple(args[i] for i in numbers)
    replaced, taken = _taken(chosen)
    new = list(args)
    for i, value in zip(numbers, replaced, strict=True):
        new[i] = value
    form = chosen[0] if isinstance(argnums, int) else chosen
    return new, taken, lambda leaves: _filled(form, iter(leaves))


def grad_and_value(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """The function that gives (gradient, value) where `func` gives the value, a number; see grad."""

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        outer = is_grad_enabled()
        with enable_grad():
            new, taken, formed = _argument(args, argnums)
            result = func(*new, **kwargs)
            value, aux = result if has_aux else (result, None)
            if not isinstance(value, Tensor) or value.ndim:
                shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise RuntimeError(f"grad: the function must return a tensor without dimensions, got {shape}")
            found = formed(_gradients([value], taken, None, outer))
        found, value, aux = _released((found, value, aux), taken, outer)
        return (found, (value, aux)) if has_aux else (found, value)

    return wrapped


def grad(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that gives the gradient of `func`, whose result is a number, by its argument number `argnums`.

    For several argnums a tuple of gradients. has_aux: func returns (number, anything), and so does the result
    (gradient, anything).

    Example:
        >>> grad(grad(minidl.sin))(minidl.tensor(1.0)), -minidl.sin(minidl.tensor(1.0))
        (tensor(-0.8415), tensor(-0.8415))
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        found, value = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return wrapped


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """(func(*primals), pull): pull(v), for v of the result's form, is the tuple of gradients of v times the result."""
    outer = is_grad_enabled()
    with enable_grad():
        new, taken = _taken(primals)
        result = func(*new)
    out, *aux = result if has_aux else (result,)
    outputs = _tensors("vjp", out)

    def pull(v: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        again = is_grad_enabled() if create_graph is None else create_graph
        with enable_grad():
            found = _gradients(outputs, taken, _tensors("vjp", v), again)
        return _released(_filled(primals, iter(found)), taken, again)

    return (_released(out, taken, outer), pull, *_released(aux, taken, outer))


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """(func(*primals), push): push(*v), for v of the form of primals, is how the result changes along v.

    The gradient of v^T J is linear in v, and its own gradient by v is J: two backward passes make a forward derivative.
    """
    outer = is_grad_enabled()
    with enable_grad():
        new, taken = _taken(primals)
        out = func(*new)
        outputs = _tensors("jvp", out)
        along = [zeros_like(t).requires_grad_() for t in outputs]
        linear = _gradients(outputs, taken, along, create_graph=True)

    def push(*tangents: Any) -> Any:
        vs, again = _tensors("jvp", tangents), is_grad_enabled()
        if [v.shape for v in vs] != [x.shape for x in taken]:
            raise RuntimeError(
                f"jvp: tangents must have the form and shapes of primals, {[list(x.shape) for x in taken]}, got "
                f"{[list(v.shape) for v in vs]}"
            )
        with enable_grad():
            found = _gradients(linear, along, vs, again)
        return _released(_filled(out, iter(found)), [*taken, *along], again)

    return _released(out, taken, outer), push


def jvp(
    func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False
) -> tuple[Any, ...]:
    """(func(*primals), how the result changes when primals move along tangents). strict is taken for PyTorch's sake."""
    aux: list[Any] = []

    def without_aux(*args: Any) -> Any:
        out, more = func(*args)
        aux[:] = [more]
        return out

    out, push = linearize(without_aux if has_aux else func, *primals)
    return (out, push(*tangents), *aux)


def jacrev(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The function that gives the derivatives of each element of func's result by its argument number `argnums`.

    Of shape result.shape + argument.shape, in containers of the result's form that hold containers of the argument's form.
    There is one backward pass for each element of the result; chunk_size is taken for PyTorch's sake.
    """

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        outer = is_grad_enabled()
        with enable_grad():
            new, taken, formed = _argument(args, argnums)
            result = func(*new, **kwargs)
            out, *aux = result if has_aux else (result,)
            rows = []
            for t in _tensors("jacrev", out):
                each = [_gradients([element], taken, None, outer) for element in t.reshape(-1)]
                columns = [stack([g[i] for g in each]) if each else x.new_zeros(0) for i, x in enumerate(taken)]
                rows.append(formed([c.reshape(*t.shape, *x.shape) for c, x in zip(columns, taken, strict=True)]))
            found = _filled(out, iter(rows))
        found, aux = _released((found, aux), taken, outer)
        return (found, *aux) if has_aux else found

    return wrapped


def jacfwd(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Callable[..., Any]:
    """jacrev under the name of what PyTorch computes column by column; here too it is computed row by row."""
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The function that gives the second derivatives of `func`: jacrev of jacrev."""
    return jacrev(jacrev(func, argnums), argnums)


# ---------------------------------------------------------------------------------------------------------------------
# Many inputs, many models


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The function that applies `func` to each slice of its arguments along `in_dims`, and stacks the results along `out_dims`.

    in_dims: one number for all arguments or a tuple with one for each, None for an argument that is the same for all; it may
    be nested as the arguments are. randomness: whether func may draw random numbers: "error", or "different" or the "same" for
    each slice. The slices are computed one after the other: this saves writing the loop, not the time it takes.

    Example:
        >>> vmap(minidl.dot)(minidl.eye(2), minidl.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([1., 4.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"vmap: randomness is 'error', 'different' or 'same', got {randomness!r}")

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        dims = _dims_like(args, in_dims if isinstance(in_dims, (tuple, list)) else (in_dims,) * len(args))
        leaves = _leaves(args)
        sizes = {_size("vmap", x, d) for x, d in zip(leaves, dims, strict=True) if d is not None}
        if len(sizes) != 1 or 0 in sizes:
            raise ValueError(
                f"vmap: expected at least one argument to map over, all of the same size and not empty, got sizes {sorted(sizes)}"
            )
        slices = [[x] * max(sizes) if d is None else unbind(x, d) for x, d in zip(leaves, dims, strict=True)]
        generator, results = random.default_generator, []
        before = generator.key, generator.offset
        for each in zip(*slices, strict=True):
            if randomness == "same":
                generator.key, generator.offset = before
            results.append(func(*_filled(args, iter(each)), **kwargs))
            if randomness == "error" and (generator.key, generator.offset) != before:
                raise RuntimeError(
                    "vmap: the function drew random numbers; say randomness='different', or 'same' for the same in each slice"
                )
        return _stacked(results, out_dims)

    return wrapped


def _dims_like(tree: Any, dims: Any) -> list[Any]:
    """The dimension of each leaf of the tree; a number counts for all leaves below it."""
    if not isinstance(dims, (tuple, list, dict)):
        return [dims] * len(_leaves(tree))
    if not isinstance(tree, (tuple, list, dict)) or len(tree) != len(dims):
        raise ValueError(f"vmap: in_dims must be nested as the arguments are, got {dims} for {type(tree).__name__}")
    keys = tree if isinstance(tree, dict) else range(len(tree))
    return [d for key in keys for d in _dims_like(tree[key], dims[key])]


def _size(name: str, x: Any, dim: int) -> int:
    if not isinstance(x, Tensor) or not -x.ndim <= dim < x.ndim:
        what = f"a tensor of shape {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"{name}: there is no dimension {dim} to map over in {what}; in_dims=None leaves it out")
    return int(x.shape[dim])


def _stacked(results: list[Any], out_dims: Any) -> Any:
    leaves = [_tensors("vmap", result) for result in results]
    several = isinstance(out_dims, (tuple, list)) and isinstance(results[0], (tuple, list))
    dims = _dims_like(results[0], out_dims) if several else [out_dims] * len(leaves[0])
    return _filled(results[0], (stack(list(t), d) for t, d in zip(zip(*leaves, strict=True), dims, strict=True)))


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of models of one kind, each stacked, for vmap over functional_call.

    Raises RuntimeError for models of different classes, or some of which are in training and some not.
    """
    if not models or len({(type(m), m.training) for m in models}) > 1:
        raise RuntimeError("stack_module_state: expected one or more models of the same class, all in training or none")

    def stacked(tensors: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        result = {name: stack([each[name] for each in tensors]).detach() for name in tensors[0]}
        return {name: t.requires_grad_(tensors[0][name].requires_grad) for name, t in result.items()}

    return stacked([dict(m.named_parameters()) for m in models]), stacked([dict(m.named_buffers()) for m in models])


__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "stack_module_state",
    "vjp", "vmap",
]  # fmt: skip
