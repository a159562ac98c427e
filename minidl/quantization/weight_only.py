"""Linear layers with weights of four bits and float inputs, for models whose weights are most of what is read at every step."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ..autograd.op import wrap
from ..kernels.int4 import GROUPS, linear_int4, pack4, unpacked
from ..nn import linear
from ..nn.module import Module
from ..tensor import Tensor
from .dynamic import float_array
from .quantize import _replaced


class WeightOnlyLinear(Module):
    """x Wᵀ + b with weights of four bits: integers from 0 to 15, with a scale and a zero point for each group of a row.

    Inputs and results are float32. A weight takes 4.75 bits with groups of 32, 4.19 with groups of 128. The last group of a row is
    filled up with zeros.
    """

    def __init__(self, packed: Tensor, scale: Tensor, zero: Tensor, bias: Tensor | None, in_features: int) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, len(packed)
        for name, value in (("packed", packed), ("scale", scale), ("zero", zero), ("bias", bias)):
            self.register_buffer(name, value)

    @classmethod
    def from_float(cls, mod: Any, group_size: int = 32) -> WeightOnlyLinear:
        """The layer of a float Linear. Raises ValueError for another size of group than 32, 64 or 128."""
        if group_size not in GROUPS:
            raise ValueError(f"WeightOnlyLinear: groups are of {', '.join(map(str, GROUPS))} weights, got {group_size}")
        weight = np.asarray(mod.weight.detach().array, np.float32)
        if not np.isfinite(weight).all():
            raise ValueError("WeightOnlyLinear: the weight has NaN or infinite elements")
        N, K = weight.shape
        weight = np.pad(weight, ((0, 0), (0, -K % group_size)))
        groups = weight.reshape(N, -1, group_size)
        low, high = np.minimum(groups.min(2), 0), np.maximum(groups.max(2), 0)
        scale = np.maximum((high - low) / 15, np.float32(2e-7))  # above 2^-23, so that float16 holds it
        if scale.max(initial=0) > np.finfo(np.float16).max:
            raise ValueError(
                f"WeightOnlyLinear: weights up to {np.abs(weight).max():.3g} need a scale beyond float16; keep this layer float"
            )
        scale = scale.astype(np.float16).astype(np.float32)
        zero = np.clip(np.rint(-low / scale), 0, 15)
        q = np.clip(np.rint(groups / scale[:, :, None]) + zero[:, :, None], 0, 15).reshape(N, -1)
        packed, stored, zeros = map(wrap, (pack4(q, group_size), scale.astype(np.float16), zero.astype(np.uint8)))
        return cls(packed, stored, zeros, None if mod.bias is None else mod.bias.detach().clone(), K)

    def weight(self) -> Tensor:
        """The weights (out_features, in_features) as floats."""
        return wrap(unpacked(self.packed.array, *self._floats())[:, : self.in_features])

    def _floats(self) -> tuple[Any, Any]:
        """Scale and zero point in float32, made once from those that a file holds."""
        stored = self.scale.array, self.zero.array
        made = self.__dict__.get("_made")
        if made is None or made[0] is not stored[0] or made[1] is not stored[1]:
            made = self.__dict__["_made"] = *stored, *(v.astype(np.float32) for v in stored)
        return made[2], made[3]

    def _load_from_state_dict(self, *args: Any) -> None:
        self.__dict__.pop("_made", None)
        super()._load_from_state_dict(*args)

    def forward(self, input: Tensor) -> Tensor:
        x = float_array("WeightOnlyLinear", input)
        if x.dtype != np.float32 or not x.ndim or x.shape[-1] != self.in_features:
            raise RuntimeError(
                f"WeightOnlyLinear: expected float32 inputs of {self.in_features} features, got {input.dtype} of {list(x.shape)}"
            )
        rows = np.ascontiguousarray(x).reshape(x.size // max(self.in_features, 1), self.in_features)
        more = 2 * self.packed.shape[1] - self.in_features
        rows = np.pad(rows, ((0, 0), (0, more))) if more else rows
        bias = None if self.bias is None else self.bias.array
        out = linear_int4(rows, self.packed.array, *self._floats(), bias)
        return wrap(out.reshape(*x.shape[:-1], self.out_features))

    def extra_repr(self) -> str:
        group = 2 * self.packed.shape[1] // max(self.scale.shape[1], 1)
        return f"in_features={self.in_features}, out_features={self.out_features}, bits=4, group_size={group}"


def quantize_weight_only(model: Module, group_size: int = 32, inplace: bool = False) -> Module:
    """A copy of a float model in which every nn.Linear has weights of four bits; see WeightOnlyLinear.

    Raises ValueError where there is none.
    """
    model = model if inplace else copy.deepcopy(model)
    if not any(type(layer) is linear.Linear for layer in model.modules()):
        raise ValueError("quantize_weight_only: the model has no nn.Linear")

    def new(layer: Any) -> Module | None:
        return WeightOnlyLinear.from_float(layer, group_size) if type(layer) is linear.Linear else None

    return _replaced(model, new)
