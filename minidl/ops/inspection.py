"""Methods of Tensor that ask about it, and those that call a Python function number by number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.inplace import check_writable
from ..autograd.op import same_memory
from ..autograd.storage import mark_written
from ..tensor import Tensor, method


@method()
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape."""
    return input.shape == other.shape


@method()
def is_set_to(input: Tensor, tensor: Tensor) -> bool:
    """Whether two tensors are the same elements of the same memory, in the same order."""
    same = input.shape == tensor.shape and input.stride() == tensor.stride()
    return bool(same and input.data_ptr() == tensor.data_ptr())


@method()
def is_nonzero(input: Tensor) -> bool:
    """Whether the one element is not 0. Raises RuntimeError for any other number of elements."""
    return bool(input)


@method()
def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    return input.dtype.is_signed


def _never(name: str, why: str) -> Callable[..., bool]:
    def never(input: Tensor, *ignored: Any) -> bool:
        return False

    never.__name__ = never.__qualname__ = name
    never.__doc__ = f"Always False: {why}."
    return method()(never)


is_conj = _never("is_conj", "conj() computes at once")
is_neg = _never("is_neg", "negation computes at once")
is_inference = _never("is_inference", "tensors of inference mode are ordinary ones")
is_distributed = _never("is_distributed", "a tensor is in one process")
_never("is_pinned", "memory is not pinned")
_never("is_shared", "processes get copies")


@method()
def dim_order(input: Tensor) -> tuple[int, ...]:
    """The dimensions from the one with the longest steps in memory to the one with the shortest."""
    steps = input.array.strides
    return tuple(sorted(range(input.array.ndim), key=lambda d: -steps[d]))


@method()
def record_stream(input: Tensor, stream: Any) -> None:
    """Does nothing: memory is given back when no array refers to it."""


class UntypedStorage:
    """The memory that a tensor, or the tensor that it is a view of, lies in: its address and its bytes."""

    def __init__(self, array: Any) -> None:
        owner = array
        while isinstance(owner.base, type(array)):
            owner = owner.base
        self._owner = owner

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return int(self._owner.__array_interface__["data"][0])

    def nbytes(self) -> int:
        """The number of bytes."""
        return int(self._owner.nbytes)

    size = __len__ = nbytes

    def tolist(self) -> list[int]:
        """The bytes."""
        return np.frombuffer(self._owner.tobytes("A"), np.uint8).tolist()

    def __repr__(self) -> str:
        return f"<UntypedStorage of {self.nbytes()} bytes at {self.data_ptr():#x}>"


@method()
def untyped_storage(input: Tensor) -> UntypedStorage:
    """The memory that the tensor lies in: two tensors on the same memory say the same address.

    Example:
        >>> x = minidl.zeros(2, 3)
        >>> x[1].untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
        True
    """
    return UntypedStorage(input.array)


@method()
def as_subclass(input: Tensor, cls: type[Tensor]) -> Tensor:
    """A tensor of a subclass on the same memory, with the same history."""
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise TypeError(f"as_subclass: expected a subclass of Tensor, got {cls!r}")
    shared = same_memory(input)
    result = Tensor.__new__(cls)
    result.array, result.node, result.storage, result.base = shared.array, input.node, shared.storage, input.base
    return result


def _write_each(name: str, input: Tensor, values: Any) -> Tensor:
    """Fill a tensor in place with numbers that Python computed, outside of any graph."""
    if input.requires_grad:
        raise RuntimeError(f"{name}: it has no gradient; detach() the tensor that requires grad")
    check_writable(input, name.removesuffix("_"))
    input.array[...] = np.array(values, input.array.dtype).reshape(input.array.shape)
    mark_written(input)
    return input


@method()
def apply_(input: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replace each number by callable(number), in Python, one after the other: slow, and without a gradient."""
    return _write_each("apply_", input, [callable(v) for v in input.array.reshape(-1).tolist()])


def _pairs(name: str, input: Tensor, *others: Tensor) -> Any:
    arrays = np.broadcast_arrays(input.array, *(t.array for t in others))
    if arrays[0].shape != input.array.shape:
        raise RuntimeError(f"{name}: the shapes do not broadcast to that of the tensor written to, {list(input.shape)}")
    return zip(*(a.reshape(-1).tolist() for a in arrays), strict=True)


@method()
def map_(input: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replace each number by callable(number, the other tensor's number): slow, and without a gradient."""
    return _write_each("map_", input, [callable(*pair) for pair in _pairs("map_", input, tensor)])


@method()
def map2_(input: Tensor, x: Tensor, y: Tensor, callable: Callable[[Any, Any, Any], Any]) -> Tensor:
    """Replace each number by callable(number, number of x, number of y): slow, and without a gradient."""
    return _write_each("map2_", input, [callable(*triple) for triple in _pairs("map2_", input, x, y)])


def is_storage(obj: Any) -> bool:
    """Whether obj is what untyped_storage() returns."""
    return isinstance(obj, UntypedStorage)


__all__ = [
    "is_conj", "is_distributed", "is_inference", "is_neg", "is_nonzero", "is_same_size", "is_signed", "is_storage",
]  # fmt: skip
