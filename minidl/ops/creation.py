"""Functions that make tensors: from data, filled, ranges, index grids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..autograd.op import wrap
from ..kernels import array_module
from ..layouts import strided
from ..tensor import Tensor, method

# `layout` and `pin_memory` are taken for PyTorch's sake: but for zeros and empty every tensor here is strided, and none is pinned


def _finish(array: Any, device: Any, requires_grad: bool) -> Tensor:
    """A leaf around an array on the wanted device, by default the default device."""
    where = devices.chosen(device)
    return _leaf(array if where is None else devices.move(array, where), requires_grad)


def _leaf(array: Any, requires_grad: bool = False) -> Tensor:
    """A leaf around an array, where that is. Raises TypeError for a dtype that tensors cannot have."""
    dtypes.of_array(array.dtype)
    result = wrap(array)
    return result.requires_grad_() if requires_grad else result


def _lent(array: Any) -> Any:
    """An array whose memory somebody else holds too: its tensor is not the owner, which storage.lay_out would lay out anew."""
    return array if array.flags.c_contiguous else array.view()


def _shape(name: str, size: tuple[Any, ...]) -> tuple[int, ...]:
    """The sizes of f(2, 3) or f((2, 3)) as integers. Raises for negative ones."""
    sizes = size[0] if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
    try:
        shape = tuple(n.__index__() for n in sizes)
    except (AttributeError, TypeError):
        raise TypeError(f"{name}: sizes must be integers, got {sizes!r}") from None
    if any(n < 0 for n in shape):
        raise RuntimeError(f"{name}: Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    return shape


def _float_or(dtype: Any) -> np.dtype[Any]:
    return dtypes.get_default_dtype().dtype if dtype is None else dtypes.as_array_dtype(dtype)


# ---------------------------------------------------------------------------------------------------------------------
# From data


PLAIN = frozenset((bool, int, float, complex))


def _find_types(data: Any, found: set[Any]) -> None:
    """Add the Python types and dtypes of all elements of nested sequences to `found`."""
    if not isinstance(data, (list, tuple)):
        found.add(data.dtype if isinstance(data, (Tensor, np.ndarray, np.generic)) else type(data))
        return
    types = set(map(type, data))
    if types <= PLAIN:
        found |= types
        return
    for x in data:
        _find_types(x, found)


def _without_tensors(data: Any) -> Any:
    if isinstance(data, (list, tuple)):
        return [_without_tensors(x) for x in data]
    return devices.move(data.array, devices.CPU) if isinstance(data, Tensor) else data


def _from_sequence(data: Any, dtype: np.dtype[Any] | None) -> Any:
    """An array of nested sequences of numbers; its dtype is the common one of the elements."""
    found: set[Any] = set()
    _find_types(data, found)
    for kind in found:
        if kind not in PLAIN and not isinstance(kind, (dtypes.dtype, np.dtype)):
            raise TypeError(
                f"tensor: invalid data type {kind.__name__!r}; expected numbers, arrays, tensors or sequences of them"
            )
    if not found <= PLAIN:
        data = _without_tensors(data)
    if dtype is None:
        dtype = dtypes.get_default_dtype().dtype if not found else None
        for kind in found:
            of_kind = dtypes.of_array(dtypes.as_array_dtype(kind))
            dtype = (of_kind if dtype is None else dtypes.promote_types(dtypes.of_array(dtype), of_kind)).dtype
    try:
        return np.array(data, dtype)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ValueError(
            "tensor: the sequences are ragged: at every level all must have the same length, as in [[1, 2], [3, 4]] "
            f"({str(error).rpartition('. ')[2]})"
        ) from None


def _copy_of(data: Any, dtype: np.dtype[Any] | None) -> Any:
    """A new array with the values of anything that can be made a tensor."""
    if isinstance(data, Tensor):
        data = data.array
    if isinstance(data, (bool, int, float, complex)) and not isinstance(data, np.generic):
        return np.array(data, dtypes.scalar_array_dtype(data) if dtype is None else dtype)
    if isinstance(data, (list, tuple)):
        return _from_sequence(data, dtype)
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _from_sequence(list(data), dtype)
    if hasattr(data, "__array__"):
        array = data if hasattr(data, "dtype") and hasattr(data, "astype") else np.asarray(data)
        array = np.asarray(array) if isinstance(array, np.generic) else array
        return array.astype(array.dtype if dtype is None else dtype)
    raise TypeError(
        f"tensor: cannot make a tensor of {type(data).__name__}; expected numbers, arrays or sequences of them"
    )


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A new tensor with a copy of `data`: a number, nested lists, an array or a tensor.

    dtype: of the result; without it ints give int64, floats the default dtype, bools bool, arrays keep theirs.
    Raises ValueError for ragged lists, TypeError for what is not numbers.

    Example:
        >>> minidl.tensor([[1, 2], [3, 4.0]])
        tensor([[1., 2.],
                [3., 4.]])
    """
    if device is None and isinstance(data, Tensor):
        device = data.device
    return _finish(_copy_of(data, None if dtype is None else dtypes.as_array_dtype(dtype)), device, requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`data` as a tensor, without a copy where that is possible: tensors stay in the graph, arrays share memory."""
    if isinstance(data, Tensor):
        return data.to(dtype=dtype, device=device)
    wanted = None if dtype is None else dtypes.as_array_dtype(dtype)
    if isinstance(data, np.ndarray) or type(data).__module__.partition(".")[0] == "cupy":
        return _finish(_lent(data if wanted is None else data.astype(wanted, copy=False)), device, False)
    return tensor(data, dtype=dtype, device=device)


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """`obj` as a tensor that shares its memory if possible (copy=None), never (True), or must (False: else raises)."""
    if copy:
        result = obj.to(dtype=dtype, device=device, copy=True) if isinstance(obj, Tensor) else None
        result = tensor(obj, dtype=dtype, device=device) if result is None else result
    else:
        result = as_tensor(obj, dtype, device)
        source = obj.array if isinstance(obj, Tensor) else obj
        shared = result.array is source or (isinstance(source, np.ndarray) and result.array.base is source)
        if copy is False and not shared:
            raise ValueError("asarray: can't alias these data with copy=False; leave copy out")
    if requires_grad:
        return result.requires_grad_()
    return result.detach() if result.requires_grad else result


def from_numpy(ndarray: Any) -> Tensor:
    """A tensor on the memory of a NumPy array: a change of one is a change of the other."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__}); tensor() takes other data")
    return _leaf(_lent(ndarray))


def frombuffer(buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A vector on the memory of an object with the buffer protocol: bytes (read-only), bytearray, array.array."""
    return _leaf(np.frombuffer(buffer, dtypes.as_array_dtype(dtype), count, offset), requires_grad)


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor on the memory of another library's tensor, through the DLPack protocol."""
    if ext_tensor.__dlpack_device__()[0] == 2:  # kDLCUDA
        import cupy

        return _leaf(cupy.from_dlpack(ext_tensor))
    return _leaf(np.from_dlpack(ext_tensor))


def scalar_tensor(
    s: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A number as a tensor without dimensions, in the default dtype unless another is given."""
    return _finish(np.array(s, _float_or(dtype)), device, requires_grad)


# ---------------------------------------------------------------------------------------------------------------------
# Filled with one value


def _sized(name: str, what: str) -> Any:
    """The function `name(*size)` and the method `new_name(*size)`."""

    on_cpu = getattr(np, name)

    def create(
        *size: Any, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
        pin_memory: bool = False, **named: Any,
    ) -> Tensor:  # fmt: skip
        shape = _shape(name, _named_size(name, size, named))
        if layout not in (None, strided):
            if name == "ones":
                raise RuntimeError(f"ones: not implemented for {layout}, of which nothing would be left out")
            from ..sparse.creation import zeros

            return zeros(shape, layout, dtype, device, requires_grad)
        where = devices.chosen(device)
        if where is None:
            return _leaf(on_cpu(shape, _float_or(dtype)), requires_grad)
        return _leaf(devices.make(name, where, shape, _float_or(dtype)), requires_grad)

    @method(f"new_{name}")
    def create_new(
        self: Tensor, *size: Any, dtype: Any = None, layout: Any = None, device: Any = None,
        requires_grad: bool = False, pin_memory: bool = False, **named: Any,
    ) -> Tensor:  # fmt: skip
        shape = _shape(f"new_{name}", _named_size(f"new_{name}", size, named))
        wanted = self.array.dtype if dtype is None else dtypes.as_array_dtype(dtype)
        return _leaf(devices.make(name, devices.chosen(device or self.device), shape, wanted), requires_grad)

    create.__name__ = create.__qualname__ = name
    create_new.__name__ = create_new.__qualname__ = f"new_{name}"
    create.__doc__ = (
        f"A tensor of the given size {what}: {name}(2, 3) or {name}((2, 3)). The default dtype unless given."
    )
    create_new.__doc__ = f"A tensor of the given size {what}, with the dtype and device of this one unless given."
    return create


def _named_size(name: str, size: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    """The sizes, however they were given: f(2, 3) or f(size=(2, 3))."""
    unknown = set(named) - {"size", "memory_format"}
    if unknown or ("size" in named and size):
        raise TypeError(f"{name}() got an unexpected keyword argument {', '.join(unknown) or 'size'}")
    return (tuple(named["size"]),) if "size" in named else size


zeros = _sized("zeros", "filled with 0")
ones = _sized("ones", "filled with 1")
empty = _sized("empty", "whose values are whatever the memory held")


def full(
    size: Any, fill_value: Any, *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """A tensor of the given size filled with a number, whose type decides the dtype: bool, int64 or the default."""
    value = fill_value.item() if isinstance(fill_value, (Tensor, np.generic)) else fill_value
    wanted = dtypes.scalar_array_dtype(value) if dtype is None else dtypes.as_array_dtype(dtype)
    shape = _shape("full", (size,))
    return _leaf(devices.make("full", devices.chosen(device), shape, value, wanted), requires_grad)


@method()
def new_full(
    self: Tensor, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
    layout: Any = None, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """A tensor of the given size filled with a number, with the dtype and device of this one unless given."""
    return full(size, fill_value, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


@method()
def new_tensor(
    self: Tensor, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor with a copy of `data`, with the dtype and device of this one unless given."""
    return tensor(data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


def _like(name: str, what: str) -> Any:
    def create(
        input: Tensor, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
        memory_format: Any = None, pin_memory: bool = False,
    ) -> Tensor:  # fmt: skip
        x = input.array
        wanted = x.dtype if dtype is None else dtypes.as_array_dtype(dtype)
        made = getattr(array_module(x), name)(x, wanted)
        return _leaf(made, requires_grad) if device is None else _finish(made, device, requires_grad)

    create.__name__ = create.__qualname__ = name
    create.__doc__ = f"A tensor of the input's shape {what}, with its dtype and device unless given."
    return create


zeros_like = _like("zeros_like", "filled with 0")
ones_like = _like("ones_like", "filled with 1")
empty_like = _like("empty_like", "whose values are whatever the memory held")


def full_like(
    input: Tensor, fill_value: Any, *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, memory_format: Any = None, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """A tensor of the input's shape filled with a number, with its dtype and device unless given."""
    x = input.array
    value = fill_value.item() if isinstance(fill_value, (Tensor, np.generic)) else fill_value
    wanted = x.dtype if dtype is None else dtypes.as_array_dtype(dtype)
    made = array_module(x).full_like(x, value, wanted)
    return _leaf(made, requires_grad) if device is None else _finish(made, device, requires_grad)


# ---------------------------------------------------------------------------------------------------------------------
# Ranges and index grids


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, (Tensor, np.generic, np.ndarray)) else value


def arange(
    *bounds: Any, start: Any = 0, end: Any = None, step: Any = 1, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """The numbers start, start + step, ... below `end`: arange(end), arange(start, end), arange(start, end, step).

    int64 if all three are integers, else the default dtype. Raises RuntimeError where `step` does not lead to `end`.

    Example:
        >>> minidl.arange(1, 2, 0.5)
        tensor([1.0000, 1.5000])
    """
    if len(bounds) == 1 and end is None:
        end = bounds[0]
    elif bounds:
        given = dict(zip(("start", "end", "step"), bounds, strict=False))
        start, end, step = given["start"], given.get("end", end), given.get("step", step)
    if end is None or len(bounds) > 3:
        raise TypeError(f"arange: expected end, or start and end, or start, end and step; got {bounds}")
    start, end, step = _number(start), _number(end), _number(step)
    if step == 0:
        raise RuntimeError("arange: step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"arange: unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError(
            f"arange: upper bound and lower bound inconsistent with step sign: {start} -> {end}, step {step}"
        )
    integers = not any(isinstance(x, float) for x in (start, end, step))
    wanted = (dtypes.int64.dtype if integers else _float_or(None)) if dtype is None else dtypes.as_array_dtype(dtype)
    if integers:
        count = devices.make("arange", devices.chosen(device), start, end, step, np.int64)
        return _leaf(count.astype(wanted, copy=False), requires_grad)
    n = math.ceil((end - start) / step)
    if wanted.kind in "iu":
        start, step = int(start), int(step)
    return _finish((start + step * np.arange(n)).astype(wanted), device, requires_grad)


def _evenly(start: Any, end: Any, steps: int, name: str) -> Any:
    """`steps` float64 numbers from start to end, counted from the nearer of the two so that both are met exactly."""
    start, end, steps = _number(start), _number(end), _number(steps)
    if isinstance(steps, bool) or not isinstance(steps, int):
        raise TypeError(f"{name}: steps must be an integer, got {steps!r}")
    if steps < 0:
        raise RuntimeError(f"{name}: number of steps must be non-negative, got {steps}")
    i = np.arange(steps)
    step = (end - start) / max(steps - 1, 1)
    return np.where(i < max(steps // 2, 1), start + step * i, end - step * (steps - 1 - i))


def linspace(
    start: Any, end: Any, steps: int, *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """`steps` evenly spaced numbers from start to end, both included."""
    return _finish(_evenly(start, end, steps, "linspace").astype(_float_or(dtype)), device, requires_grad)


def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """base to the power of `steps` evenly spaced numbers from start to end, both included."""
    values = np.power(float(base), _evenly(start, end, steps, "logspace"))
    return _finish(values.astype(_float_or(dtype)), device, requires_grad)


def eye(
    n: int, m: int | None = None, *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """The n x m matrix (default n x n) with ones on the diagonal and zeros elsewhere."""
    rows, columns = _shape("eye", (n, n if m is None else m))
    return _finish(np.eye(rows, columns, dtype=_float_or(dtype)), device, requires_grad)


def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = dtypes.int64, device: Any = None, layout: Any = None
) -> Tensor:
    """Rows and columns, (2, N), of the elements on and below diagonal `offset` of a row x col matrix."""
    rows, columns = _shape("tril_indices", (row, col))
    return _finish(np.stack(np.tril_indices(rows, offset, columns)).astype(dtypes.as_array_dtype(dtype)), device, False)


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = dtypes.int64, device: Any = None, layout: Any = None
) -> Tensor:
    """Rows and columns, (2, N), of the elements on and above diagonal `offset` of a row x col matrix."""
    rows, columns = _shape("triu_indices", (row, col))
    return _finish(np.stack(np.triu_indices(rows, offset, columns)).astype(dtypes.as_array_dtype(dtype)), device, False)


# ---------------------------------------------------------------------------------------------------------------------
# Questions about tensors


def is_tensor(obj: Any) -> bool:
    """Whether obj is a Tensor."""
    return isinstance(obj, Tensor)


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.numel()


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a floating-point type."""
    return input.is_floating_point()


def is_complex(input: Tensor) -> bool:
    """Whether the dtype is a complex type."""
    return input.is_complex()


__all__ = [
    "arange", "as_tensor", "asarray", "empty", "empty_like", "eye", "from_dlpack", "from_numpy", "frombuffer", "full",
    "full_like", "is_complex", "is_floating_point", "is_tensor", "linspace", "logspace", "numel", "ones", "ones_like",
    "scalar_tensor", "tensor", "tril_indices", "triu_indices", "zeros", "zeros_like",
]  # fmt: skip
