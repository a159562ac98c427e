"""In which precision an operation computes: bfloat16 in float32, and what autocast asks for.

No operation knows of bfloat16, and none could: NumPy's functions either do not take it or round after every step. Where an
input is bfloat16, the node that the call (op.py) makes is of the operation's twin, a class derived from the operation's:

    forward     gets float32 copies of the inputs; what it returns in float32 is rounded to bfloat16, once, as PyTorch does it
    backward    the same around the gradient rule. What the node keeps are the bfloat16 tensors, at half the memory
    composite   the same with Tensors under create_graph, by casts that are part of the graph

An operation that only moves numbers (`exact`, and every view) gets the arrays as they are, and so does on a GPU one whose kernel
is compiled for bfloat16 (`has_bfloat16_kernel`), or a gradient rule that is made of such (`has_bfloat16_rule`); where a kernel is
not made for the sizes, kernels.Kernel does the same as `forward` here. A function of several operations that PyTorch computes in one, with one rounding, is marked `@in_float32`.

Under autocast the call casts the inputs of an operation as its `precision` says, and `@under_autocast` those of a function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from types import new_class
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import devices
from ..dtypes import bfloat16
from ..kernels.cast import astype

if TYPE_CHECKING:
    from .op import Op

FLOAT32 = np.dtype(np.float32)
TWINS: dict[type[Op], type[Op]] = {}

half_of: ContextVar[dict[str, np.dtype[Any]] | None] = ContextVar("half_of", default=None)
"""The dtypes that autocast asks for, by the type of device; None where it is off."""


# ---------------------------------------------------------------------------------------------------------------------
# bfloat16


def holds_bfloat16(x: Any) -> bool:
    """Whether x is an array or a Tensor of bfloat16."""
    dtype = getattr(x, "dtype", None)
    return dtype is bfloat16 or getattr(dtype, "kind", "") == "V"


def suited(cls: type[Op], arrays: list[Any]) -> type[Op]:
    """The class of the node for these inputs: the operation itself, or its twin if one of them is bfloat16."""
    for a in arrays:
        if holds_bfloat16(a):
            return twin(cls)
    return cls


def widened(x: Any) -> Any:
    """bfloat16 arrays and Tensors in float32, also those in lists and tuples; everything else as it is."""
    if type(x) in (list, tuple):
        return type(x)(widened(y) for y in x)
    return in_dtype(x, FLOAT32) if holds_bfloat16(x) else x


def rounded(x: Any) -> Any:
    """A float32 array or Tensor in bfloat16; everything else as it is."""
    return in_dtype(x, bfloat16.dtype) if getattr(getattr(x, "array", x), "dtype", None) == FLOAT32 else x


def in_dtype(x: Any, dtype: np.dtype[Any]) -> Any:
    """An array, a Tensor or a sparse gradient in another dtype."""
    from .op import _cast, _Tensor

    if isinstance(x, _Tensor):
        return _cast(x, dtype)
    return astype(x, dtype) if hasattr(x, "flags") else x.astype(dtype)


def twin(cls: type[Op]) -> type[Op]:
    """The class of an operation's nodes with bfloat16 among the inputs, made at the first request."""
    found = TWINS.get(cls)
    if found is not None:
        return found
    members: dict[str, Any] = {"__slots__": ("low",), "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    members["forward"] = _forward
    for rule in ("backward", "composite"):
        if hasattr(cls, rule):
            members[rule] = _rule(getattr(cls, rule), rule == "backward" and cls.has_bfloat16_rule)
    made: type[Op] = new_class(cls.__name__, (cls,), {"twin_of": cls}, lambda namespace: namespace.update(members))
    return TWINS.setdefault(cls, made)


def _forward(self: Any, *arrays: Any, **params: Any) -> Any:
    cls = self.twin_of
    plain = super(type(self), self).forward
    self.low = tuple([holds_bfloat16(a) for a in arrays])
    if cls.view or cls.exact:
        return plain(*arrays, **params)
    if cls.has_bfloat16_kernel and all_bfloat16_on_gpu(arrays):
        return plain(*arrays, **params)
    if cls.promotion is None and not cls.mixes:
        _check_alike(cls, arrays)
    if not cls.keeps_numbers:
        arrays = tuple([float(bfloat16.dtype.type(a)) if type(a) is float else a for a in arrays])
    result = plain(*widened(arrays), **params)
    return tuple([rounded(r) for r in result]) if result.__class__ is tuple else rounded(result)


def all_bfloat16_on_gpu(arrays: tuple[Any, ...]) -> bool:
    """Whether the arrays, leaving out None, are a GPU's and all bfloat16. Not so for Tensors."""
    return all(
        a is None or (devices.is_array(a) and a.__class__ is not np.ndarray and holds_bfloat16(a)) for a in arrays
    )


def _rule(plain: Any, has_kernels: bool) -> Any:
    def rule(self: Any, g: Any, *kept: Any) -> Any:
        if has_kernels and all_bfloat16_on_gpu((g, *kept)):
            gradients = plain(self, g, *kept)
        else:
            gradients = plain(self, widened(g), *widened(kept))
        if type(gradients) not in (tuple, list):
            gradients = (gradients,)
        return tuple([rounded(d) if low else d for d, low in zip(gradients, self.low, strict=True)])

    return rule


def _check_alike(cls: type[Op], arrays: tuple[Any, ...]) -> None:
    """Raise where an operation that does not promote its inputs has others beside bfloat16."""
    kinds = {str(a.dtype) for a in arrays if hasattr(a, "dtype") and a.dtype.kind in "fcV"}
    if len(kinds) > 1:
        raise RuntimeError(
            f"{cls.__name__.lower()}: expected inputs of the same dtype, but got: {' != '.join(sorted(kinds))}; convert one of "
            "them with to()"
        )


def in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a function of several operations: bfloat16 tensors go through it in float32, and its result is rounded.

    If a tensor of another float dtype is among the arguments, its dtype is the result's.
    """

    @functools.wraps(function)
    def wide(*args: Any, **kwargs: Any) -> Any:
        if bfloat16._dtype is None or not any(holds_bfloat16(x) for x in (*args, *kwargs.values())):
            return function(*args, **kwargs)
        out = function(*widened(args), **{name: widened(x) for name, x in kwargs.items()})
        mixed = any(
            getattr(x, "ndim", 0) and getattr(x, "array", x).dtype == FLOAT32 for x in (*args, *kwargs.values())
        )
        if mixed:
            return out
        return tuple(map(rounded, out)) if out.__class__ is tuple else rounded(out)

    return wide


# ---------------------------------------------------------------------------------------------------------------------
# autocast


def with_precision(precision: str, x: Any) -> Any:
    """A tensor as autocast gives it to an operation: "half" in its dtype, "full" in float32; "full on cuda" only there.

    float64, and the tensors on a device for which autocast is off, are left alone.
    """
    from .op import _cast, _Tensor

    if isinstance(x, _Tensor) and x.entries is x and x.dtype.is_floating_point and x.dtype.itemsize < 8:
        device = x.device.type
        kind, _, only = precision.partition(" on ")
        half = (half_of.get() or {}).get(device)
        if half is not None and only in ("", device):
            return _cast(x, half if kind == "half" else FLOAT32)
    return x


def under_autocast(precision: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a function of several operations: under autocast its arguments get this precision, as an operation's inputs do.

    "off" and "off on cpu": autocast does not reach the operations in it.
    """
    kind, _, only = precision.partition(" on ")

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def cast(*args: Any, **kwargs: Any) -> Any:
            chosen = half_of.get()
            if chosen is not None and kind == "off":
                before = half_of.set(
                    {device: half for device, half in chosen.items() if only not in ("", device)} or None
                )
                try:
                    return function(*args, **kwargs)
                finally:
                    half_of.reset(before)
            if chosen is not None:
                args = tuple([with_precision(precision, x) for x in args])
                kwargs = {name: with_precision(precision, x) for name, x in kwargs.items()}
            return function(*args, **kwargs)

        return cast

    return mark
