"""The engine: gradients from the end of the graph back to its leaves.

Every operation got a sequence number when it ran, so its number is larger than those of the operations that made its
inputs. Going through the nodes by falling number therefore meets each node only after everything that uses its result,
when its gradient is complete. This is the topological sort that reverse-mode differentiation needs, without recursion.

Complex numbers: what passes from node to node is g with dL = Re(sum of g dz), so a rule of a holomorphic operation is
g times its derivative, as for real ones. Users see PyTorch's gradient dL/dx + i dL/dy, which is the conjugate of that:
`conjugated` stands at every border between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from operator import attrgetter
from sys import getrefcount
from typing import TYPE_CHECKING, Any

from ..kernels import array_module
from ..kernels.reduce import add_up
from ..layouts import strided
from . import op as _op
from .grad_mode import grad_mode
from .op import FREED, AccumulateGrad, Op, OutputOf, as_array, ndarray, wrap
from .precision import holds_bfloat16, rounded, widened
from .sparse_gradient import SparseGradient
from .storage import mark_written

if TYPE_CHECKING:
    from ..tensor import Tensor

next_pass = count(1).__next__
by_sequence = attrgetter("seq")
check_rule: Callable[[Op, Any], None] | None = None  # set by detect_anomaly: sees what every rule returned


def run(
    roots: Sequence[Op],
    gradients: Sequence[Any],
    retain_graph: bool,
    create_graph: bool,
    captured: dict[Op, Any] | None = None,
    accumulate: bool = True,
) -> None:
    """One backward pass from `roots`, whose gradients are arrays, or Tensors under create_graph.

    With `captured`, only the nodes among its keys and what leads to them are computed: their gradients are put there, and
    added to leaves only if `accumulate`.
    """
    mark = next_pass()
    owned = -mark
    order, set_aside = _reach(roots, mark)
    order.sort(key=by_sequence, reverse=True)
    needed = _leading_to(captured, order) if captured is not None else set()
    for root, gradient in zip(roots, gradients, strict=True):
        root.grad = gradient if root.grad is None else root.grad + gradient
    mode_before = grad_mode.set(create_graph)
    check = check_rule
    gs: Any
    node: Any
    v: Any
    try:
        for node in order:
            g = node.grad
            if g is None:
                continue
            node.grad = None
            hooks = node.hooks
            if hooks is not None:
                g = _run_hooks(node, g, create_graph)
            if captured is not None:
                if node in captured:
                    captured[node] = g
                if node not in needed and (node.seq or not accumulate or node not in captured):
                    continue
            if node.kept is None:
                kind = node.__class__
                if kind is AccumulateGrad:
                    gs = v = so_far = None  # the last rule's results must not count as holders of g
                    may_keep = getrefcount(g) <= SOLE_HOLDER  # asked here: in the call, the argument would hold it too
                    _accumulate(node, g, create_graph, may_keep)
                    continue
                if kind is OutputOf:
                    _place(node, g)
                    continue
                gs = node.rule_on_tensors(g) if create_graph else node.backward(g)
            else:
                gs = node.rule_on_tensors(g) if create_graph else node.rule_on_arrays(g)
                if not retain_graph:
                    node.kept = FREED
            if gs.__class__ is not tuple:
                gs = tuple(gs) if isinstance(gs, list) else (gs,)
            if hooks is not None and hooks.post:
                gs = _run_post_hooks(node, gs, g, create_graph)
            if check is not None:
                check(node, gs)
            edges, shapes, i = node.edges, node.shapes, -1
            if len(gs) != len(edges):
                raise _miscounted(node, gs)
            for v in gs:  # counted by hand: zip() alone takes a tenth of a small operation's pass
                i += 1
                edge = edges[i]
                if edge is None or v is None:
                    continue
                if shapes is not None and v.shape != shapes[i]:
                    v = sum_to(v, shapes[i])
                so_far = edge.grad
                if so_far is None:
                    edge.grad = v  # by reference: it may be another node's too
                elif edge.mark == owned and not create_graph:
                    so_far += v
                    edge.grad = so_far
                else:
                    edge.grad = so_far + v
                    edge.mark = owned  # from now on the sum is this node's own
    except BaseException:
        for node in order:
            node.grad = None
        raise
    finally:
        grad_mode.reset(mode_before)
        for node, gradient in set_aside:
            node.grad = gradient


def _reach(roots: Sequence[Op], mark: int) -> tuple[list[Op], list[tuple[Op, Any]]]:
    """Every node below the roots, and the gradients that an enclosing backward pass had left on some of them."""
    order: list[Op] = []
    set_aside: list[tuple[Op, Any]] = []
    push = order.append
    for node in roots:
        if node.mark != mark:
            node.mark = mark
            push(node)
    for node in order:
        if node.grad is not None:
            set_aside.append((node, node.grad))
            node.grad = None
        for edge in node.edges:
            if edge is not None and edge.mark != mark:
                edge.mark = mark
                push(edge)
    return order, set_aside


def _leading_to(captured: dict[Op, Any], order: list[Op]) -> set[Op]:
    """The nodes whose rule must run for the captured gradients: those with a captured node below them."""
    needed: set[Op] = set()
    for node in reversed(order):
        if any(edge in captured or edge in needed for edge in node.edges if edge is not None):
            needed.add(node)
    return needed


def sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """Undo broadcasting: add up `g` over the dimensions in which an input of that shape was repeated."""
    lead = g.ndim - len(shape)
    axes = tuple([i for i, n in enumerate(g.shape) if n != 1 and (i < lead or shape[i - lead] == 1)])
    if axes:
        low = g.__class__ is ndarray and holds_bfloat16(g)  # NumPy would round after every addition
        g = rounded(sum_along(widened(g), axes, True)) if low else sum_along(g, axes, True)
    return g.reshape(shape) if lead else g


def sum_along(g: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
    """The sum of a gradient along axes: of an array, or as an operation of a Tensor."""
    return g.sum(axis=axes, keepdims=keepdim) if isinstance(g, _op._Tensor) else add_up(g, axes, keepdim)


def _place(node: OutputOf, g: Any) -> None:
    """Put the gradient of one result among those of the operation's others."""
    op = node.edges[0]
    assert op is not None
    if op.grad is None:
        op.grad = [None] * node.count
    so_far = op.grad[node.index]
    op.grad[node.index] = g if so_far is None else so_far + g


def _accumulate(node: AccumulateGrad, g: Any, create_graph: bool, may_keep: bool) -> None:
    """Add a gradient to `.grad` of a leaf: the first is kept if it is nobody else's, the next are added in place."""
    tensor = node.tensor()
    if tensor is None:
        return
    if tensor.array.dtype.kind == "c":
        g = conjugated(g)
    if tensor.grad is None:
        tensor.grad = g if create_graph else _kept(g) if may_keep else _copied(g)
    elif create_graph:
        tensor.grad = tensor.grad + g
    elif tensor.grad.is_sparse:
        tensor.grad = _copied(_raw(tensor.grad) + g)
    elif tensor.grad.node is None:
        tensor.grad.array += g
        mark_written(tensor.grad)
    else:
        tensor.grad = wrap(tensor.grad.array + g)
    if node.hooks is not None:
        for hook in tuple(node.hooks.post.values()):
            hook(tensor)


def _shown(g: Any) -> Tensor:
    """A gradient of a pass over arrays as a tensor, for hooks to look at."""
    return g.tensor() if isinstance(g, SparseGradient) else wrap(as_array(g))


def _copied(g: Any) -> Tensor:
    """A gradient of a pass over arrays as a tensor of its own."""
    return g.tensor() if isinstance(g, SparseGradient) else wrap(as_array(g).copy())


def _kept(g: Any) -> Tensor:
    """A gradient that nobody else refers to as a tensor: a copy only if the array is a view of memory that others refer to."""
    if g.__class__ is ndarray:
        owner = g.base
        if owner is None:
            return wrap(g)
        # a new array under another shape: only g, and the name here, refer to it
        if g.flags.c_contiguous and owner.__class__ is ndarray and owner.size == g.size and owner.base is None:
            del owner
            if getrefcount(g.base) <= SOLE_HOLDER:
                return wrap(g)
    return _copied(g)


def _raw(g: Tensor) -> Any:
    """A gradient that a user gave as it passes between nodes in a pass over arrays."""
    return SparseGradient(g.pattern, g.entries.array) if g.is_sparse else g.array


def conjugated(g: Any) -> Any:
    """A gradient as users see it, from one as it passes between nodes, or the other way round; of arrays and Tensors."""
    return g.conj() if (g.is_complex() if isinstance(g, _op._Tensor) else g.dtype.kind == "c") else g


def _run_hooks(node: Op, g: Any, create_graph: bool) -> Any:
    """Let the tensor's hooks see and replace its gradient, then keep it if retain_grad() asked for that."""
    hooks = node.hooks
    assert hooks is not None
    if isinstance(g, list):
        return g  # one gradient per result: each has its own node, where its hooks ran
    for hook in tuple(hooks.pre.values()):
        changed = hook(conjugated(g if create_graph else _shown(g)))
        if changed is not None:
            if tuple(changed.shape) != g.shape:
                raise RuntimeError(
                    f"a hook on {node.name()} changed the gradient's shape from {list(g.shape)} to {list(changed.shape)}"
                )
            g = conjugated(changed if create_graph else _raw(changed))
    tensor = hooks.retain and hooks.retain()
    if tensor is not None:
        new = conjugated(g if create_graph else _copied(g))
        tensor.grad = new if tensor.grad is None else tensor.grad + new
    return g


def _run_post_hooks(node: Op, gs: tuple[Any, ...], g: Any, create_graph: bool) -> tuple[Any, ...]:
    """Let the node's hooks see and replace what its rule returned."""

    def shown(values: tuple[Any, ...]) -> tuple[Any, ...]:
        tensors = values if create_graph else tuple(None if x is None else _shown(x) for x in values)
        return tuple(None if x is None else conjugated(x) for x in tensors)

    assert node.hooks is not None
    for hook in tuple(node.hooks.post.values()):
        changed = hook(shown(gs), shown(tuple(g) if isinstance(g, list) else (g,)))
        if changed is not None:
            changed = changed if isinstance(changed, tuple) else (changed,)
            gs = tuple(None if x is None else conjugated(x if create_graph else _raw(x)) for x in changed)
    return gs


def _miscounted(node: Op, gs: tuple[Any, ...]) -> RuntimeError:
    return RuntimeError(
        f"{type(node).__name__}.backward returned {len(gs)} gradients for {len(node.edges)} inputs; it must return one for "
        "each, None where there is none"
    )


def _sole_holder() -> int:
    """What getrefcount says of an object that only one local variable refers to."""
    g = object()
    return getrefcount(g)


SOLE_HOLDER = _sole_holder()


# ---------------------------------------------------------------------------------------------------------------------
# What users call: Tensor.backward, autograd.backward, autograd.grad


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add the gradients of `tensors` to `.grad` of every leaf they depend on (or of `inputs` alone).

    grad_tensors: the gradients of `tensors`, of their shapes; None for a tensor with one element means 1.
    retain_graph: keep what the graph holds, for another pass (default: as create_graph).
    create_graph: record the pass itself, so that the gradients can be differentiated.
    Raises RuntimeError where a tensor has no graph, or a gradient is missing or of another shape.

    Example:
        >>> x = minidl.tensor([1.0, 2.0], requires_grad=True)
        >>> minidl.autograd.backward((x * x).sum()); x.grad
        tensor([2., 4.])
    """
    roots, gradients = _starting_points(_tuple(tensors), grad_tensors, create_graph)
    captured = None
    if inputs is not None:
        chosen = _tuple(inputs)
        if not chosen:
            raise RuntimeError("backward: inputs cannot be empty; leave it out to reach every leaf")
        captured = {_node_of(t): None for t in chosen}
    run(roots, gradients, create_graph if retain_graph is None else retain_graph, create_graph, captured)
    for t in () if inputs is None else _tuple(inputs):
        if not t.is_leaf and captured is not None and captured[t.node] is not None:
            g = conjugated(captured[t.node] if create_graph else _copied(captured[t.node]))
            t.grad = g if t.grad is None else t.grad + g


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of the sum of `outputs` (weighted with `grad_outputs`) with respect to `inputs`; no `.grad` changes.

    allow_unused: give None for an input that the outputs do not depend on, instead of raising; materialize_grads: zeros.
    is_grads_batched: grad_outputs have a leading dimension of several cotangents; so have the results.

    Example:
        >>> x = minidl.tensor(3.0, requires_grad=True)
        >>> minidl.autograd.grad(x**3, x)
        (tensor(27.),)
    """
    wanted = _tuple(inputs)
    chosen = tuple(t.entries for t in wanted)
    if not only_inputs:
        raise ValueError("grad: only_inputs=False is not supported; use backward() to fill .grad of all leaves")
    if is_grads_batched:
        return _batched_grad(outputs, chosen, grad_outputs, retain_graph, create_graph, allow_unused, materialize_grads)
    roots, gradients = _starting_points(_tuple(outputs), grad_outputs, create_graph)
    captured: dict[Op, Any] = {_node_of(t): None for t in chosen}
    keep = create_graph if retain_graph is None else retain_graph
    run(roots, gradients, keep, create_graph, captured, accumulate=False)
    results: list[Any] = []
    for i, t in enumerate(chosen):
        g = captured[t.node]
        if g is None:
            if materialize_grads:
                g = wrap(array_module(t.array).zeros_like(t.array))
            elif not allow_unused:
                raise RuntimeError(
                    f"grad: input {i} (shape {list(t.shape)}) appears to not have been used in the graph of the outputs. "
                    "Set allow_unused=True to get None for it."
                )
        elif not create_graph:
            g = _copied(g)  # never shared with another result
        results.append(None if g is None else conjugated(g))
    return tuple(g if g is None or t is c else t.like(g) for t, c, g in zip(wanted, chosen, results, strict=True))


def _batched_grad(
    outputs: Any, inputs: tuple[Tensor, ...], cotangents: Any, retain: bool | None, create: bool, *options: Any
) -> tuple[Any, ...]:
    """One pass per cotangent; the gradients are stacked along a new first dimension."""
    from ..ops.joining import stack

    batches = _tuple(cotangents)
    rows = [
        grad(outputs, inputs, tuple(c[i] for c in batches), True, create, True, options[0], False, options[1])
        for i in range(len(batches[0]))
    ]
    if not retain and not create:
        for t in _tuple(outputs):
            _free(t.node)
    return tuple(None if column[0] is None else stack(column) for column in zip(*rows, strict=True))


def _free(node: Op | None) -> None:
    """Drop what the graph below a node keeps, as a pass without retain_graph does."""
    for below in _reach([node] if node else [], next_pass())[0]:
        if below.kept is not None:
            below.kept = FREED


def _tuple(x: Any) -> tuple[Any, ...]:
    if isinstance(x, _op._Tensor):
        return (x,)
    return tuple(x) if isinstance(x, (list, tuple)) else (x,) if hasattr(x, "node") or x is None else tuple(x)


def _node_of(t: Tensor) -> Op:
    if t.node is None:
        raise RuntimeError(
            f"grad: one of the differentiated tensors (shape {list(t.shape)}) does not require grad; "
            "call requires_grad_() on it before it is used"
        )
    return t.node


def _starting_points(tensors: tuple[Tensor, ...], grad_tensors: Any, create_graph: bool) -> tuple[list[Op], list[Any]]:
    """The nodes that a pass starts from and their gradients, checked."""
    given = (None,) * len(tensors) if grad_tensors is None else _tuple(grad_tensors)
    if len(given) != len(tensors):
        raise RuntimeError(f"backward: got {len(tensors)} tensors and {len(given)} gradients")
    roots, gradients = [], []
    for i, (t, g) in enumerate(zip(tensors, given, strict=True)):
        if t.layout is not strided:
            t, g = t.entries, None if g is None else t.sampled(g)
        if t.node is None:
            raise RuntimeError(
                f"element {i} of tensors does not require grad and does not have a grad_fn: nothing it was computed "
                "from requires a gradient, or it was computed under no_grad()"
            )
        if g is None:
            if t.array.size != 1:
                raise RuntimeError(
                    "grad can be implicitly created only for scalar outputs: this one has shape "
                    f"{list(t.shape)}; pass gradient=, or reduce it with sum() or mean()"
                )
            if t.array.dtype.kind == "c":
                raise RuntimeError(
                    f"grad can be implicitly created only for real scalar outputs but got {t.dtype}; pass gradient=, or "
                    "take abs() or real"
                )
            g = wrap(array_module(t.array).empty_like(t.array))
            g.array.fill(1)  # on a GPU a kernel, which a graph can record; ones_like takes twice as long
        elif g.array.shape != t.array.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{i}] has a shape of {list(g.shape)} and output[{i}] has a shape of "
                f"{list(t.shape)}."
            )
        elif g.array.dtype != t.array.dtype:
            g = g.to(t.dtype)
        roots.append(t.node)
        g = g if create_graph else g.array
        gradients.append(g if t.array.dtype.kind == "f" else conjugated(g))
    return roots, gradients
