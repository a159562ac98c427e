"""A pruned linear layer that stores and multiplies only the weights that are left."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import no_grad
from ..nn.linear import Linear
from ..nn.module import Module
from ..nn.parameter import Parameter, blank
from ..ops.sparse import SparseMM
from ..sparse.creation import sparse_csr_tensor
from ..sparse.pattern import Pattern
from ..sparse.tensor import SparseTensor
from ..tensor import Tensor
from .pruning import copy_of, is_masked, make_permanent, refresh

SHORT = np.iinfo(np.int16).max + 1  # so many columns can be numbered in 16 bits


class SparseLinear(Module):
    """x Wᵀ + b on inputs (*, in_features), with W (out_features, in_features) stored row by row without its zeros.

    State: values (nnz), learned like any parameter; col_indices (nnz), the column of each, in 16 bits where these suffice;
    crow_indices (out_features + 1), where each row begins; bias (out_features). A state with another nnz can be loaded, too.
    The kernels are those of minidl.sparse; gradients reach values, bias and input. Raises RuntimeError for an input of another
    width or dtype.

    Example:
        >>> layer = prune.l1_unstructured(nn.Linear(4, 3), "weight", 0.5)
        >>> SparseLinear.from_linear(layer)
        SparseLinear(in_features=4, out_features=3, nnz=6, bias=True)
    """

    values: Parameter
    crow_indices: Tensor
    col_indices: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        nnz: int = 0,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        index = dtypes.int16 if in_features <= SHORT else dtypes.int32
        self.values = Parameter(blank(nnz, device=device, dtype=dtype))
        self.register_buffer("crow_indices", blank(out_features + 1, device=device, dtype=dtypes.int32))
        self.register_buffer("col_indices", blank(nnz, device=device, dtype=index))
        self.register_parameter("bias", Parameter(blank(out_features, device=device, dtype=dtype)) if bias else None)
        self._pattern: Pattern | None = None  # of the indices, found at the first call

    @classmethod
    @no_grad()
    def from_linear(cls, linear: Linear) -> Self:
        """The layer that computes what a linear layer does, pruned by nn.utils.prune or with zeros in its weight."""
        if is_masked(linear, "weight"):
            refresh(linear, "weight")
        weight, bias = linear.weight.detach(), linear.bias
        stored = weight.to_sparse_csr()
        values = stored.values()
        layer = cls(linear.in_features, linear.out_features, len(values), bias is not None, weight.device, weight.dtype)
        layer.values.copy_(values)
        layer.crow_indices.copy_(stored.crow_indices())
        layer.col_indices.copy_(stored.col_indices())
        if bias is not None:
            layer.bias.copy_(bias.detach())
        return layer

    @property
    def pattern(self) -> Pattern:
        """Which weights are stored. Raises RuntimeError where the indices, for instance of a damaged file, are none."""
        if self._pattern is None:
            size = (self.out_features, self.in_features)
            self._pattern = sparse_csr_tensor(self.crow_indices, self.col_indices, self.values.detach(), size).pattern
        return self._pattern

    @property
    def weight(self) -> SparseTensor:
        """W as a sparse_csr tensor on `values`."""
        return SparseTensor(self.pattern, self.values)

    def forward(self, input: Tensor) -> Tensor:
        if not input.ndim or input.shape[-1] != self.in_features or input.dtype is not self.values.dtype:
            raise RuntimeError(
                f"SparseLinear: expected a {self.values.dtype} input (*, {self.in_features}), got {input.dtype} of shape "
                f"{list(input.shape)}"
            )
        lead = tuple(input.shape[:-1])
        B = math.prod(lead)
        if B == 1:  # the kernel for vectors
            y = SparseMM.apply(self.values, input.reshape(self.in_features), pattern=self.pattern)
        else:  # the kernel multiplies W with columns
            rows = input if len(lead) == 1 else input.reshape(B, self.in_features)
            y = SparseMM.apply(self.values, rows.t(), pattern=self.pattern).t()
        y = y if len(lead) == 1 and B != 1 else y.reshape(*lead, self.out_features)
        return y if self.bias is None else y + self.bias

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        stored = state_dict.get(f"{prefix}values")
        if isinstance(stored, Tensor) and stored.shape != self.values.shape and stored.ndim == 1:
            self.values.data = self.values.new_zeros(stored.shape)
            self.col_indices = self.col_indices.new_zeros(stored.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self._pattern = None

    def _apply(self, fn: Callable[[Tensor], Tensor]) -> Self:
        self._pattern = None
        return super()._apply(fn)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, nnz={len(self.values)}, "
            f"bias={self.bias is not None}"
        )


def to_csr(model: Module, least: float = 0.5) -> Module:
    """A copy of a pruned model whose linear layers are SparseLinear where at least the share `least` of the weight is 0.

    Masks are gone in the copy. Whether a layer got faster depends on its size, the batch and the machine: see break_even.
    """
    result = make_permanent(copy_of(model))
    for path, module in list(result.named_modules()):
        if type(module) is Linear and module.weight.numel() and float((module.weight == 0).float().mean()) >= least:
            if not path:
                return SparseLinear.from_linear(module)
            result.set_submodule(path, SparseLinear.from_linear(module))
    return result
