"""PyTorch's older constructors: types such as FloatTensor, Tensor.new, and the range that includes its end."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import devices, dtypes
from ..autograd.storage import lay_out
from ..tensor import Tensor, method
from .creation import _shape, arange, tensor, zeros


class LegacyType:
    """FloatTensor and the like: FloatTensor([1, 2]) holds these data, FloatTensor(2, 3) zeros of that size.

    isinstance(x, FloatTensor) and x.type(FloatTensor) ask for and convert to its dtype on its device.
    """

    def __init__(self, name: str, dtype: dtypes.dtype, device: str = "cpu") -> None:
        self.__name__ = self.__qualname__ = name
        self.dtype, self.device = dtype, device

    def __call__(self, *data: Any) -> Tensor:
        if len(data) == 1 and not isinstance(data[0], (int, np.integer)):
            return tensor(data[0], dtype=self.dtype, device=self.device)
        return zeros(_shape(self.__name__, data or (0,)), dtype=self.dtype, device=self.device)

    def __instancecheck__(self, x: Any) -> bool:
        return isinstance(x, Tensor) and x.dtype is self.dtype and x.device.type == self.device

    def __repr__(self) -> str:
        return f"torch.{'cuda.' if self.device == 'cuda' else ''}{self.__name__}"


_KINDS = {
    "FloatTensor": dtypes.float32, "DoubleTensor": dtypes.float64, "HalfTensor": dtypes.float16,
    "LongTensor": dtypes.int64, "IntTensor": dtypes.int32, "ShortTensor": dtypes.int16, "CharTensor": dtypes.int8,
    "ByteTensor": dtypes.uint8, "BoolTensor": dtypes.bool_,
}  # fmt: skip
ON_CPU = {name: LegacyType(name, dtype) for name, dtype in _KINDS.items()}
ON_GPU = {name: LegacyType(name, dtype, "cuda") for name, dtype in _KINDS.items()}  # minidl.cuda.FloatTensor
FloatTensor, DoubleTensor, HalfTensor = (ON_CPU[f"{name}Tensor"] for name in ("Float", "Double", "Half"))
LongTensor, IntTensor, ShortTensor = (ON_CPU[f"{name}Tensor"] for name in ("Long", "Int", "Short"))
CharTensor, ByteTensor, BoolTensor = (ON_CPU[f"{name}Tensor"] for name in ("Char", "Byte", "Bool"))


@method()
def new(input: Tensor, *data: Any) -> Tensor:
    """A new tensor of the dtype and device of another: x.new([1, 2]) holds these data, x.new(2, 3) zeros of that size."""
    return LegacyType("new", input.dtype, str(input.device))(*data)


def range(start: Any, end: Any = None, step: Any = 1, **options: Any) -> Tensor:
    """The numbers start, start + step, ... up to `end`, which is included, in the default dtype; arange is its newer form."""
    if end is None:
        start, end = 0, start
    if step == 0 or (end - start) * step < 0:
        raise RuntimeError(f"range: step {step} does not lead from {start} to {end}")
    options.setdefault("dtype", dtypes.get_default_dtype())
    return arange(int((end - start) / step) + 1, **options) * step + start


def to_dlpack(tensor: Tensor) -> Any:
    """The memory of a tensor as a capsule of the DLPack protocol, for another library's from_dlpack."""
    return tensor.__dlpack__()


@method()
def set_(input: Tensor, source: Tensor | None = None) -> Tensor:
    """Make the tensor one on the memory of another, with its shape and dtype; without another an empty one."""
    if input.requires_grad:
        raise RuntimeError("set_: the tensor requires grad; set its .data, or detach() it")
    input.array = input.array.reshape(-1)[:0] if source is None else lay_out(source)
    input.storage, input.base = (None, None) if source is None else (source.storage, source.base)
    return input


def typename(obj: Any) -> str:
    """The name of a tensor's type, such as torch.FloatTensor, or of another object's class with its module."""
    if isinstance(obj, Tensor):
        return str(obj.type())
    kind = type(obj)
    return kind.__qualname__ if kind.__module__ in ("", "builtins") else f"{kind.__module__}.{kind.__qualname__}"


def get_device(input: Tensor) -> int:
    """The number of the GPU that a tensor is on, -1 for one on the CPU."""
    return -1 if input.device == devices.CPU else int(input.device.index or 0)


method()(get_device)

__all__ = [
    "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor", "IntTensor", "LongTensor",
    "ShortTensor", "get_device", "range", "to_dlpack", "typename",
]  # fmt: skip
