"""Parameter and Buffer: the tensors that belong to a module."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.op import wrap
from ..autograd.storage import lay_out, storage_of
from ..devices import chosen, make
from ..tensor import Tensor


class Parameter(Tensor):
    """A tensor that a Module registers as learnable when it is assigned as an attribute.

    It shares the memory of `data` and is a leaf that wants a gradient, unless requires_grad=False.

    Example:
        >>> self.scale = nn.Parameter(torch.ones(3))
    """

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        _share_memory(self, data)
        if requires_grad:
            self.requires_grad_()

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A tensor that a Module registers as part of its state, not learned, when it is assigned as an attribute.

    persistent: whether it belongs to the module's state_dict.
    """

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        _share_memory(self, data)
        self.persistent = persistent


def _share_memory(t: Tensor, data: Any) -> None:
    if data is not None and not isinstance(data, Tensor):
        raise TypeError(f"{type(t).__name__}: expected a Tensor, got {type(data).__name__}; wrap it in tensor(...)")
    if data is None:
        t.array = np.zeros(0, dtypes.get_default_dtype().dtype)
    else:
        t.array, t.storage = lay_out(data), storage_of(data)  # a write to either is noticed by whatever kept the other


def blank(*shape: int, device: Any = None, dtype: Any = None) -> Tensor:
    """A tensor for an initialiser to fill: zeros of the default dtype, or of `dtype`, on `device`."""
    array_dtype = dtypes.as_array_dtype(dtype or dtypes.get_default_dtype())
    return wrap(make("zeros", chosen(device), shape, array_dtype))
