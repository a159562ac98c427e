"""Zeros cost nothing in a file: tensors that are mostly 0 are written as a bit for each element, and the numbers that are not 0."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..autograd.op import wrap
from ..quantization.tensor import of_parts
from ..tensor import Tensor

LEAST = 0.25  # the share of zeros from which on tensors are packed: the bits take 1/32 of float32, 1/8 of int8, the header the rest


def pack(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state_dict for minidl.save in which each tensor with many zeros is {"shape", "where" bits (uint8), "values"}.

    Example:
        >>> packed = pack({"weight": minidl.tensor([0.0, 0.0, 3.0] * 100)})
        >>> packed["weight"]["where"].numel(), packed["weight"]["values"].numel()
        (38, 100)
    """
    return {name: _entry(t) if isinstance(t, Tensor) else t for name, t in state.items()}


def _entry(t: Tensor) -> Any:
    if not t.is_quantized:
        return _packed(t)
    parts = t.parts()
    integers = _packed(parts["integers"])
    return t if integers is parts["integers"] else {"quantized": {**parts, "integers": integers}}


def _packed(t: Tensor) -> Any:
    array = t.detach().cpu().numpy()
    zero = array == 0
    if (
        array.dtype.kind not in "fi" or array.size < 256 or zero.mean() < LEAST
    ):  # a short tensor would gain less than it takes
        return t
    stored = ~zero
    return {"shape": tuple(t.shape), "where": wrap(np.packbits(stored.reshape(-1))), "values": wrap(array[stored])}


def unpack(packed: Mapping[str, Any]) -> dict[str, Any]:
    """The state_dict that was packed; zeros that were negative are positive. Raises ValueError where the parts do not agree."""
    return {name: _unpacked(name, x) for name, x in packed.items()}


def _unpacked(name: str, parts: Any) -> Any:
    if isinstance(parts, dict) and "quantized" in parts:
        quantized = parts["quantized"]
        return of_parts(**{**quantized, "integers": _unpacked(name, quantized["integers"])})
    if not isinstance(parts, dict) or "where" not in parts:
        return parts
    shape, where, values = tuple(parts["shape"]), parts["where"].numpy(), parts["values"].numpy()
    n = math.prod(shape)
    stored = np.unpackbits(where, count=n).astype(bool) if where.size == -(-n // 8) else np.zeros(0, bool)
    if stored.size != n or int(stored.sum()) != values.size:
        raise ValueError(f"unpack: {name} says {values.size} values for {list(shape)}, and its bits say otherwise")
    array = np.zeros(n, values.dtype)
    array[stored] = values
    return wrap(array.reshape(shape))
