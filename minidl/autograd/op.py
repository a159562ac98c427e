"""Op: one differentiable operation, and what a call of it does.

An operation is a class. `forward` computes on arrays; `backward` is the gradient rule, and the names in its signature
say what the call must keep for it: inputs by their names, the result as `out`.

    class Tanh(Op):
        forward = np.tanh
        def backward(self, g, out):
            return g * (1 - out * out)

    tanh = Tanh.apply

The instance of the class is the node in the graph and the context of the rule, all in one; a `forward` that must
remember something writes it to `self`. A rule is ordinary mathematics. In a first-order backward pass it runs on arrays;
with `create_graph=True` the same rule runs on Tensors, and the second derivative comes for free. That is why every
`apply` takes arrays as well as Tensors: arrays in, array out.

Everything that operations have in common is settled here, once: dtype promotion, scalars, devices, whether a graph is
recorded, what is kept and in which version, views.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import ref

import numpy as np

from .. import devices, dtypes
from ..dtypes import INEXACT, bfloat16
from .grad_mode import is_grad_enabled
from .hooks import Hooks, RemovableHandle, hooks_of
from .precision import half_of, holds_bfloat16, suited, with_precision
from .storage import lay_out, mark_view, mark_views, next_seq, storage_of

if TYPE_CHECKING:
    from ..tensor import Tensor

_Tensor: Any = None  # the class Tensor, set by minidl.tensor, which needs this module first
_cast: Any = None  # set by minidl.ops.conversion: a cast is itself an operation
ndarray = np.ndarray
new = object.__new__
NUMBERS = frozenset((int, float))
SCALARS = (np.generic, int, float, complex)
FREED: tuple[Any, ...] = ("freed",)  # stands in `kept` after the backward pass has used it
observers: list[Callable[[Op, tuple[Any, ...], Any], None]] = []  # called as (op, inputs, outputs) when one is recorded


class Op:
    """One differentiable operation. Subclasses define `forward` and, if they have a gradient, `backward`.

    forward(self, x, y, *, dim): positional parameters are arrays, keyword-only ones are parameters. It returns an array
        or a tuple of arrays. A NumPy ufunc or a staticmethod will do where nothing need be remembered.
    backward(self, g, x, out): returns the gradient for each positional input, in order (a lone one without a tuple);
        None where there is none. `g` is the gradient of the result; for several results a list, with None for those
        that nothing depends on. `self.edges[i]` is None where input i wants no gradient: an expensive term can be left out.
    composite: the rule again in terms of differentiable operations, where `backward` calls a kernel. It takes
        what backward takes and runs in its place under create_graph.
    """

    __slots__ = ("edges", "grad", "hooks", "kept", "mark", "seq", "shapes")

    promotion: ClassVar[str | None] = None  # "common": inputs are cast to their common dtype; "float": to a float one
    view: ClassVar[bool] = False  # the result may share memory with the first input
    complex_rule: ClassVar[bool] = False  # the rule holds for complex numbers too: see engine.py
    precision: ClassVar[str | None] = None  # under autocast: "half" computes in its dtype, "full" in float32 at least;
    #                                         "full on cuda" or "full on cpu" only there
    exact: ClassVar[bool] = False  # it moves numbers and computes none, so that bfloat16 need not become float32 for it
    has_bfloat16_kernel: ClassVar[bool] = False  # on a GPU forward is a kernel that takes bfloat16
    has_bfloat16_rule: ClassVar[bool] = False  # and backward is made of such kernels
    mixes: ClassVar[bool] = False  # it takes bfloat16 beside inputs of other float dtypes
    keeps_numbers: ClassVar[bool] = False  # a number, or 0-d array, beside bfloat16 is not rounded first
    twin_of: ClassVar[type[Op] | None] = None  # of the class for bfloat16, see precision.py: the operation
    kept_for: ClassVar[dict[str, str]] = {}  # {"x": "y"}: x is kept only if y wants a gradient
    differentiable: ClassVar[bool] = False
    several: ClassVar[bool] = False  # forward returns a tuple
    on_sparse: ClassVar[Callable[..., Any] | None] = None  # the operation on sparse tensors, set by minidl.sparse
    on_quantized: ClassVar[Callable[..., Any] | None] = None  # and on quantized ones, set by minidl.quantization

    forward: ClassVar[Callable[..., Any]]
    backward: ClassVar[Callable[..., Any]]
    composite: ClassVar[Callable[..., Any]]
    apply: ClassVar[Callable[..., Any]]

    # read off the signatures when the class is made
    _names: ClassVar[list[str]] = []
    _stateless: ClassVar[bool] = False
    _variadic: ClassVar[bool] = False
    _keeps: ClassVar[tuple[tuple[int, int | None], ...]] = ()  # (input to keep, the input whose gradient needs it)
    _keeps_out: ClassVar[bool] = False

    edges: tuple[Op | None, ...]  # the node of each input
    grad: Any  # the gradient that has arrived so far in the running backward pass
    hooks: Hooks | None
    kept: tuple[Any, ...] | None
    mark: int  # the last backward pass that reached this node; negative once it may add to `grad` in place
    seq: int  # creation order: every node comes after its inputs
    shapes: tuple[Any, ...] | None  # the shapes of the inputs, None where no gradient can need summing

    def __init_subclass__(cls, twin_of: type[Op] | None = None) -> None:
        super().__init_subclass__()
        if twin_of is not None:
            cls.twin_of = twin_of
        if not hasattr(cls, "forward") or twin_of is not None:
            return
        raw = inspect.getattr_static(cls, "forward")
        cls._stateless = not inspect.isfunction(raw)
        cls._names, variadic = _input_names(cls.forward, cls._stateless)
        cls.differentiable = hasattr(cls, "backward")
        if cls.differentiable:
            wanted = _positional(cls.backward)[2:]
            unknown = [name for name in wanted if name != "out" and name not in cls._names]
            if unknown or "out" in wanted[:-1]:
                raise TypeError(
                    f"{cls.__name__}.backward asks for {unknown or 'out before the last place'}; it may name the "
                    f"inputs of forward, {cls._names}, and last `out`"
                )
            cls._keeps_out = "out" in wanted
            place = cls._names.index
            cls._keeps = tuple(
                (place(name), place(cls.kept_for[name]) if name in cls.kept_for else None)
                for name in wanted
                if name != "out"
            )
            cls._variadic = variadic
        if cls._stateless and not cls.view and len(cls._names) == 1:
            cls.apply = staticmethod(_unary_call(cls))
        elif cls._stateless and not cls.view and len(cls._names) == 2:
            cls.apply = staticmethod(_binary_call(cls))
        elif len(cls._names) == 1 and not (cls._stateless or variadic or (cls.precision or "").startswith("half")):
            cls.apply = staticmethod(_single_call(cls))
        else:
            cls.apply = staticmethod(_general_call(cls))

    def name(self) -> str:
        """PyTorch's kind of name: MulBackward0."""
        return f"{type(self).__name__}Backward0"

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"

    @property
    def next_functions(self) -> tuple[tuple[Op | None, int], ...]:
        """The nodes of the inputs, as (node, index of the output that was used)."""
        return tuple((edge.edges[0], edge.index) if isinstance(edge, OutputOf) else (edge, 0) for edge in self.edges)

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call hook(grad_inputs, grad_outputs) after this node's rule; a tuple that it returns replaces grad_inputs."""
        return RemovableHandle(hooks_of(self).post, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call hook(grad_outputs) before this node's rule; a tuple that it returns replaces grad_outputs."""
        return RemovableHandle(hooks_of(self).pre, lambda g: (hook((g,)) or (None,))[0])

    def rule_on_arrays(self, g: Any) -> Any:
        """The gradient rule in a first-order pass, for a node that has kept something."""
        kept = self.kept
        if kept is FREED or self._variadic:
            return self.backward(g, *self.unpack())
        if len(kept) == 1:  # type: ignore[arg-type]
            return self.backward(g, _intact_array(self, kept[0]))  # type: ignore[index]
        if len(kept) == 2:  # type: ignore[arg-type]
            x, y = kept  # type: ignore[misc]
            a = x.array if isinstance(x, _Tensor) and x.storage is None else _intact_array(self, x)
            b = y.array if isinstance(y, _Tensor) and y.storage is None else _intact_array(self, y)
            return self.backward(g, a, b)
        return self.backward(g, *self.unpack())

    def rule_on_tensors(self, g: Any) -> Any:
        """The gradient rule where the pass itself is recorded."""
        rule = self.composite if hasattr(self, "composite") else self.backward
        return rule(g) if self.kept is None else rule(g, *self.unpack_tensors())

    def unpack(self) -> list[Any]:
        """What was kept, as arrays. Raises if it was written to since, or freed."""
        if self.kept is FREED:
            raise _freed(self)
        values: list[Any] = [_intact_array(self, kept) for kept in self.kept]  # type: ignore[union-attr]
        return self._grouped(values) if self._variadic else values

    def unpack_tensors(self) -> list[Any]:
        """What was kept, as Tensors with their history. Raises as `unpack` does."""
        if self.kept is FREED:
            raise _freed(self)
        values: list[Any] = [_intact(self, kept) for kept in self.kept]  # type: ignore[union-attr]
        if self._keeps_out:
            values[-1] = _as_outputs(self, values[-1])
        return self._grouped(values) if self._variadic else values

    def _grouped(self, values: list[Any]) -> list[Any]:
        """The inputs of an operation with an open number of them (*xs) as one argument."""
        if not self._keeps:
            return values
        inputs = len(values) - self._keeps_out
        return [values[:inputs], *values[inputs:]]


class AccumulateGrad(Op):
    """The node of a leaf: where gradients end and are added to `tensor.grad`. It does not keep its tensor alive."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = ref(tensor)
        self.edges, self.kept, self.shapes, self.hooks = (), None, None, None
        self.grad, self.mark, self.seq = None, 0, 0

    def name(self) -> str:
        return "AccumulateGrad"

    @property
    def variable(self) -> Tensor | None:
        return self.tensor()


class OutputOf(Op):
    """The node of one of several results: puts its gradient into its place among the operation's."""

    __slots__ = ("count", "index")

    def __init__(self, op: Op, index: int, count: int) -> None:
        self.edges, self.index, self.count, self.seq = (op,), index, count, next_seq()
        self.kept = self.shapes = self.grad = self.hooks = None
        self.mark = 0

    def name(self) -> str:
        return self.edges[0].name()  # type: ignore[union-attr]  # its one edge is never None


class Packed:
    """A kept tensor that a saved-tensors hook has put away: `unpack` brings it back."""

    __slots__ = ("handle", "restore")

    def __init__(self, handle: Any, restore: Callable[[Any], Any]) -> None:
        self.handle, self.restore = handle, restore

    def unpack(self) -> Any:
        return self.restore(self.handle)


class SparseOperand(TypeError):
    """Raised where code asks for the array of a sparse or quantized tensor. Operations that have a form for those catch it."""


def wrap(array: Any, node: Op | None = None) -> Tensor:
    """A Tensor around an array, without any check."""
    t: Tensor = new(_Tensor)
    t.array, t.node, t.grad, t.storage, t.base = array, node, None, None, None
    return t


def record(op: Op, inputs: tuple[Any, ...], outputs: Any) -> None:
    """Make `op` the node of its outputs: edges to the inputs, and what the rule wants kept."""
    edges, shapes = [], []
    for x in inputs:
        if isinstance(x, _Tensor):
            edges.append(x.node)
            shapes.append(x.array.shape)
        else:
            edges.append(None)
            shapes.append(None)
    op.edges, op.shapes = tuple(edges), tuple(shapes)
    op.grad = op.hooks = None
    op.mark, op.seq = 0, next_seq()
    kept: list[Any] = []
    if op._variadic:
        if op._keeps:
            kept.extend(inputs)
    else:
        for i, needed_by in op._keeps:
            kept.append(inputs[i] if needed_by is None or edges[needed_by] is not None else None)
    several = isinstance(outputs, tuple)
    if op._keeps_out:
        # tensors without a node: the node must not keep its own results, or neither would ever be freed
        kept.append(tuple(same_memory(t) for t in outputs) if several else same_memory(outputs))
    op.kept = tuple(kept) or None
    if several:
        for i, t in enumerate(outputs):
            if t.array.dtype.kind in INEXACT:
                t.node = OutputOf(op, i, len(outputs))
    else:
        outputs.node = op
    for observe in observers:
        observe(op, inputs, outputs)


def same_memory(t: Tensor) -> Tensor:
    """Another tensor on the memory of t, without its history."""
    other = wrap(t.array)
    other.storage = storage_of(t)
    return other


def _as_outputs(op: Op, aliases: Any) -> Any:
    """The results of `op` as Tensors in the graph, for a rule that runs on Tensors."""
    if not isinstance(aliases, tuple):
        return wrap(aliases.array, op)
    return tuple(
        wrap(t.array, OutputOf(op, i, len(aliases)) if t.array.dtype.kind in INEXACT else None)
        for i, t in enumerate(aliases)
    )


def _intact(op: Op, kept: Any) -> Any:
    """What an operation kept, after a check that its memory was not written to since."""
    if isinstance(kept, _Tensor):
        storage = kept.storage
        if storage is not None and storage.last > op.seq:
            raise _modified(op, kept)
        return kept
    if kept.__class__ is Packed:
        return kept.unpack()
    if kept.__class__ is tuple:  # several results
        return tuple([_intact(op, t) for t in kept])
    return kept  # a number, or an input that need not be kept this time


def _intact_array(op: Op, kept: Any) -> Any:
    """`_intact`, as an array, or a tuple of them."""
    if isinstance(kept, _Tensor):
        storage = kept.storage
        if storage is not None and storage.last > op.seq:
            raise _modified(op, kept)
        return kept.array
    kept = _intact(op, kept)
    if kept.__class__ is tuple:
        return tuple([t.array for t in kept])
    return kept.array if isinstance(kept, _Tensor) else kept


def _modified(op: Op, kept: Tensor) -> RuntimeError:
    storage = storage_of(kept)
    return RuntimeError(
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"{op.name()} kept a tensor of shape {list(kept.array.shape)}, which is at version {storage.version}; expected "
        f"version {storage.version_at(op.seq)} instead. Use the out-of-place form of that operation, or give it a clone()."
    )


def _freed(op: Op) -> RuntimeError:
    return RuntimeError(
        f"{op.name()}: trying to backward through the graph a second time, but the values it kept were freed "
        "by the first pass. Say retain_graph=True the first time if you need two."
    )


def _input_names(forward: Any, stateless: bool) -> tuple[list[str], bool]:
    """The names of forward's array inputs, and whether their number is open (*xs)."""
    if isinstance(forward, np.ufunc):
        return ["x", "y", "z"][: forward.nin], False
    forward = inspect.unwrap(forward)
    return _positional(forward)[0 if stateless else 1 :], bool(forward.__code__.co_flags & inspect.CO_VARARGS)


def _positional(function: Any) -> list[str]:
    """The names of a function's positional parameters, that of *xs last."""
    code = function.__code__  # inspect.signature says the same in fifty times the time, for hundreds of functions
    names = list(code.co_varnames[: code.co_argcount])
    if code.co_flags & inspect.CO_VARARGS:
        names.append(code.co_varnames[code.co_argcount + code.co_kwonlyargcount])
    return names


# ---------------------------------------------------------------------------------------------------------------------
# The call. `_general_call` is the whole of it; the other two are the same for element-wise operations on one and two
# inputs, written out because their cost is the cost of every small operation.


def _general_call(cls: type[Op]) -> Callable[..., Any]:
    promotes, differentiable, view = cls.promotion is not None, cls.differentiable, cls.view
    complex_rule = cls.complex_rule
    precision = cls.precision

    def apply(*inputs: Any, **params: Any) -> Any:
        if precision is not None and half_of.get() is not None:
            inputs = tuple([with_precision(precision, x) for x in inputs])
        arrays, tracked, dtype, mixed, unknown = [], False, None, False, False
        try:
            for x in inputs:
                if isinstance(x, _Tensor):
                    a = x.array
                    arrays.append(a)
                    if x.node is not None:
                        tracked = True
                    if a.dtype is not dtype:
                        mixed, dtype = dtype is not None, a.dtype
                else:
                    arrays.append(x)
                    if x is not None and x.__class__ not in NUMBERS:
                        unknown = unknown or promotes or hasattr(x, "dtype")
            if dtype is None:
                return new(cls).forward(*inputs, **params)  # a gradient rule at work on arrays
            if unknown or (
                promotes and (mixed or dtype.kind != "f")
            ):  # not just tensors of one float dtype, and numbers
                inputs = settle(cls, inputs)
                arrays = [x.array if isinstance(x, _Tensor) else x for x in inputs]
        except SparseOperand:
            return _apply_sparse(cls, inputs, params)
        if view and arrays[0].ndim > 2 and not arrays[0].flags.c_contiguous:
            lay_out(inputs[0])
            arrays[0] = inputs[0].array
        op = new(cls if bfloat16._dtype is None else suited(cls, arrays))
        try:
            result = op.forward(*arrays, **params)
        except Exception as error:
            raise _explained(cls, inputs, error) from None
        outputs = wrap(result) if result.__class__ is ndarray else _wrapped(result)
        if view:
            mark_views(inputs[0], outputs, cls, params)
        if tracked and differentiable and is_grad_enabled():
            if not complex_rule:
                _refuse_complex(cls, arrays, outputs)
            record(op, inputs, outputs)
        return outputs

    return apply


def _plain_types(cls: type[Op]) -> str:
    """The dtypes, by NumPy's letters, that need neither promotion nor a refusal; "" for all of them.

    bfloat16 (E) needs its twin, unless the operation is a function of NumPy: those are defined for bfloat16, computed in
    float32 and rounded once. float16 (e) needs a look where autocast may want float32.
    """
    refuses = cls.differentiable and not cls.complex_rule
    half = "" if cls.precision else "e"
    if refuses or cls.promotion == "float":
        return half + ("fd" if refuses else "fdFD")
    return "" if isinstance(cls.forward, np.ufunc) else half + "fdFD?bBhHiIlLqQ"


def _single_call(cls: type[Op]) -> Callable[..., Any]:
    """One input and parameters: views, reductions."""
    forward, general = cls.forward, _general_call(cls)
    differentiable, view = cls.differentiable, cls.view
    plain = _plain_types(cls)

    def apply(x: Any, **params: Any) -> Any:
        if not isinstance(x, _Tensor):
            return forward(cls(), x, **params)  # a gradient rule at work on arrays
        try:
            a = x.array
        except SparseOperand:
            return _apply_sparse(cls, (x,), params)
        if a.dtype.char not in plain:
            return general(x, **params)
        if view and a.ndim > 2 and not a.flags.c_contiguous:
            a = lay_out(x)
        op = cls()
        try:
            result = forward(op, a, **params)
        except Exception as error:
            raise _explained(cls, (x,), error) from None
        if result.__class__ is tuple:
            outputs = _wrapped(result)
            if view:
                mark_views(x, outputs, cls, params)
        else:
            outputs = new(_Tensor)
            outputs.array = result if result.__class__ is ndarray else as_array(result)
            outputs.node = outputs.grad = outputs.storage = outputs.base = None
            if view:
                mark_view(x, outputs, cls, params)
        if x.node is not None and differentiable and is_grad_enabled():
            record(op, (x,), outputs)
        return outputs

    return apply


def _unary_call(cls: type[Op]) -> Callable[[Any], Any]:
    forward, general = cls.forward, _general_call(cls)
    differentiable = cls.differentiable
    keeps_x, keeps_out = bool(cls._keeps), cls._keeps_out
    plain = _plain_types(cls)

    def apply(x: Any) -> Any:
        if not isinstance(x, _Tensor):
            return forward(x)
        try:
            a = x.array
        except SparseOperand:
            return _apply_sparse(cls, (x,), {})
        if plain and a.dtype.char not in plain:
            return general(x)
        try:
            r = forward(a)
        except TypeError:
            if a.dtype.kind == "V":  # CuPy's functions know little of bfloat16
                return general(x)
            raise
        if r.__class__ is not ndarray:
            r = as_array(r)
        t = new(_Tensor)
        t.array = r
        t.node = t.grad = t.storage = t.base = None
        node = x.node
        if node is None or not differentiable or not is_grad_enabled():
            return t
        t.node = op = cls()
        op.edges = (node,)
        op.shapes = op.grad = op.hooks = None
        op.mark = 0
        op.seq = next_seq()
        if keeps_out:
            op.kept = (x, same_memory(t)) if keeps_x else (same_memory(t),)
        else:
            op.kept = (x,) if keeps_x else None
        if observers:
            for observe in observers:
                observe(op, (x,), t)
        return t

    return apply


def _binary_call(cls: type[Op]) -> Callable[[Any, Any], Any]:
    forward, general = cls.forward, _general_call(cls)
    differentiable = cls.differentiable
    plain, reals = _plain_types(cls), "fd" if cls.precision else "efd"
    # the dtypes of a tensor that stay as they are beside a number
    beside = {float: reals, int: reals + "ilq" if cls.promotion == "common" else reals}.get
    product = cls._keeps == ((0, 1), (1, 0)) and not cls._keeps_out  # keeps x for y and y for x
    nothing = not cls._keeps and not cls._keeps_out

    def apply(x: Any, y: Any) -> Any:
        # the two inputs' arrays and nodes, or `general` for whatever is not plain tensors and numbers of one dtype
        try:
            if isinstance(x, _Tensor):
                a, nx = x.array, x.node
                if isinstance(y, _Tensor):
                    b, ny = y.array, y.node
                    if a.dtype is not b.dtype or (plain and a.dtype.char not in plain):
                        return general(x, y)
                elif a.dtype.char in beside(y.__class__, ""):
                    b, ny = y, None
                else:
                    return general(x, y)
            elif isinstance(y, _Tensor) and y.array.dtype.char in beside(x.__class__, ""):
                a, nx, b, ny = x, None, y.array, y.node
            else:
                return general(x, y)
        except SparseOperand:
            return _apply_sparse(cls, (x, y), {})
        try:
            r = forward(a, b)
        except Exception as error:
            if isinstance(error, TypeError) and holds_bfloat16(a):  # as above
                return general(x, y)
            raise _explained(cls, (x, y), error) from None
        if r.__class__ is not ndarray:
            r = as_array(r)
        t = new(_Tensor)
        t.array = r
        t.node = t.grad = t.storage = t.base = None
        if (nx is None and ny is None) or not differentiable or not is_grad_enabled():
            return t
        if not product and not nothing:
            record(new(cls), (x, y), t)
            return t
        t.node = op = cls()
        op.edges = (nx, ny)
        op.grad = op.hooks = None
        op.mark = 0
        op.seq = next_seq()
        op.kept = None if nothing else (x if ny is not None else None, y if nx is not None else None)
        # a number never wants its gradient summed
        op.shapes = None if a is x or b is y or a.shape == b.shape else (a.shape, b.shape)
        if observers:
            for observe in observers:
                observe(op, (x, y), t)
        return t

    return apply


def settle(cls: type[Op], inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Inputs as an operation wants them: arrays as Tensors, NumPy scalars as numbers, dtypes by `promotion`."""
    if any(hasattr(x, "dtype") and not isinstance(x, _Tensor) for x in inputs):
        inputs = tuple([_as_input(x) for x in inputs])
    if cls.promotion is None:
        return inputs
    operands = []
    for x in inputs:
        if isinstance(x, _Tensor):
            operands.append(x.array)
        elif isinstance(x, (bool, int, float, complex)):
            operands.append(x)
        elif x is not None:
            raise TypeError(f"{cls.__name__}: expected tensors or numbers, got {type(x).__name__}; wrap it in tensor()")
    common = dtypes.result_dtype(operands)
    if cls.promotion == "float" and common.kind not in INEXACT:
        common = dtypes.get_default_dtype().dtype
    wide = np.dtype(np.float32) if cls.keeps_numbers and common.kind == "V" else None
    return tuple(
        _cast(x, common if wide is None or x.array.ndim else wide)
        if isinstance(x, _Tensor) and x.array.dtype != common
        else x
        for x in inputs
    )


def _as_input(x: Any) -> Any:
    """An array as a Tensor, a NumPy scalar as a number; anything else as it is."""
    if isinstance(x, np.generic):
        return x.item()
    return wrap(x) if devices.is_array(x) else x


def _apply_sparse(cls: type[Op], inputs: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """The operation on inputs with sparse or quantized tensors among them."""
    quantized = any(isinstance(x, _Tensor) and x.is_quantized for x in inputs)
    form = cls.on_quantized if quantized else cls.on_sparse
    if form is None:
        got = " and ".join(f"{x.layout} of shape {list(x.shape)}" for x in inputs if isinstance(x, _Tensor))
        if quantized:
            got = " and ".join(f"{x.dtype} of shape {list(x.shape)}" for x in inputs if isinstance(x, _Tensor))
        what, cure = ("quantized", "dequantize()") if quantized else ("sparse", "to_dense()")
        raise TypeError(f"{cls.__name__}: not defined for {what} tensors, got {got}; use {cure} first") from None
    try:
        return form(*(_as_input(x) for x in inputs), **params)
    except Exception as error:
        error.__suppress_context__ = True  # the SparseOperand that led here is not its cause
        raise


def _explained(cls: type[Op], inputs: tuple[Any, ...], error: Exception) -> Exception:
    """The error of a forward, naming the operation and its inputs; tensors on two devices are the likely cause."""
    tensors = [x for x in inputs if isinstance(x, _Tensor)]
    if len({str(x.device) for x in tensors}) > 1:
        return devices.mixed(cls.__name__, tensors)
    if not isinstance(error, (TypeError, ValueError)):
        return error
    shapes = [list(x.array.shape) for x in tensors]
    if "broadcast" in str(error) and len(shapes) > 1:
        return RuntimeError(
            f"{cls.__name__}: the shapes {' and '.join(map(str, shapes))} cannot be broadcast together: from the last "
            "dimension backwards, sizes must be equal or 1"
        )
    kind = TypeError if isinstance(error, TypeError) else ValueError  # NumPy's own subclasses take other arguments
    return kind(f"{cls.__name__}: {error} (inputs of shape {', '.join(map(str, shapes))})")


def _wrapped(result: Any) -> Any:
    """What a forward returned, one array or number or several, as Tensors."""
    if result.__class__ is tuple:
        return tuple([wrap(as_array(r)) for r in result])
    return wrap(as_array(result))


def as_array(r: Any) -> Any:
    """The array that is meant where NumPy gives a scalar."""
    return np.asarray(r) if isinstance(r, SCALARS) else r


def _refuse_complex(cls: type[Op], arrays: list[Any], outputs: Any) -> None:
    """Raise where complex numbers would enter the graph through an operation whose rule is for real ones."""
    results = [t.array for t in outputs] if outputs.__class__ is tuple else [outputs.array]
    for a in arrays + results:
        if getattr(getattr(a, "dtype", None), "kind", "") == "c":
            raise RuntimeError(
                f"{cls.__name__}: its gradient is not defined for complex numbers in this engine; work on the real and "
                "imaginary parts, or call it under no_grad()"
            )
