"""A pruned linear layer that stores and multiplies only the weights that are left, one by one or in blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import no_grad
from ..layouts import layout as Layout
from ..layouts import sparse_bsr, sparse_csr
from ..nn.linear import Linear
from ..nn.module import Module
from ..nn.parameter import Parameter, blank
from ..ops.sparse import sparse_mm
from ..sparse.creation import sparse_compressed_tensor
from ..sparse.pattern import Pattern
from ..sparse.tensor import SparseTensor
from ..tensor import Tensor
from .pruning import copy_of, is_masked, make_permanent, refresh

SHORT = np.iinfo(np.int16).max + 1  # so many columns can be numbered in 16 bits


class SparseLinear(Module):
    """x Wᵀ + b on inputs (*, in_features), with W (out_features, in_features) stored row by row without its zeros.

    State: values (nnz), learned like any parameter; col_indices (nnz), the column of each, in 16 bits where these suffice;
    crow_indices (out_features + 1), where each row begins; bias (out_features). A state with another nnz can be loaded, too.
    With block=(R, C) blocks of weights are stored, whether all of a block or one weight is left: values (nnz, R, C), and the
    indices count blocks. Where the zeros come in blocks (`blocks`) that takes less memory and time.
    The kernels are those of minidl.sparse; gradients reach values, bias and input. Raises RuntimeError for an input of another
    width or dtype, and ValueError for blocks that the weight does not consist of.

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
        block: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        R, C = block or (1, 1)
        if min(R, C) < 1 or out_features % R or in_features % C:
            raise ValueError(
                f"SparseLinear: a weight ({out_features}, {in_features}) does not consist of blocks {block}"
            )
        self.in_features, self.out_features, self.block = in_features, out_features, block
        index = dtypes.int16 if in_features // C <= SHORT else dtypes.int32
        self.values = Parameter(blank(nnz, *(block or ()), device=device, dtype=dtype))
        self.register_buffer("crow_indices", blank(out_features // R + 1, device=device, dtype=dtypes.int32))
        self.register_buffer("col_indices", blank(nnz, device=device, dtype=index))
        self.register_parameter("bias", Parameter(blank(out_features, device=device, dtype=dtype)) if bias else None)
        self._pattern: Pattern | None = None  # of the indices, found at the first call

    @classmethod
    @no_grad()
    def from_linear(cls, linear: Linear, block: tuple[int, int] | None = None) -> Self:
        """The layer that computes what a linear layer does, pruned by nn.utils.prune or with zeros in its weight."""
        if is_masked(linear, "weight"):
            refresh(linear, "weight")
        weight, bias = linear.weight.detach(), linear.bias
        layer = cls(linear.in_features, linear.out_features, 0, bias is not None, weight.device, weight.dtype, block)
        stored = weight.to_sparse(layout=layer.layout, blocksize=block)
        layer._make_room(len(stored.values()))
        layer.values.copy_(stored.values())
        layer.crow_indices.copy_(stored.crow_indices())
        layer.col_indices.copy_(stored.col_indices())
        if bias is not None:
            layer.bias.copy_(bias.detach())
        return layer

    @property
    def layout(self) -> Layout:
        """sparse_csr, or sparse_bsr with blocks."""
        return sparse_csr if self.block is None else sparse_bsr

    @property
    def pattern(self) -> Pattern:
        """Which weights are stored. Raises RuntimeError where the indices, for instance of a damaged file, are none."""
        if self._pattern is None:
            size = (self.out_features, self.in_features)
            places = self.crow_indices, self.col_indices
            self._pattern = sparse_compressed_tensor(*places, self.values.detach(), size, layout=self.layout).pattern
        return self._pattern

    @property
    def weight(self) -> SparseTensor:
        """W as a sparse tensor on `values`."""
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
            y = sparse_mm(self.values, input.reshape(self.in_features), self.pattern)
        else:  # the kernel multiplies W with columns
            rows = input if len(lead) == 1 else input.reshape(B, self.in_features)
            y = sparse_mm(self.values, rows.t(), self.pattern).t()
        y = y if len(lead) == 1 and B != 1 else y.reshape(*lead, self.out_features)
        return y if self.bias is None else y + self.bias

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        stored = state_dict.get(f"{prefix}values")
        if isinstance(stored, Tensor) and stored.ndim and stored.shape[1:] == self.values.shape[1:]:
            self._make_room(len(stored))
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self._pattern = None

    def _make_room(self, nnz: int) -> None:
        if nnz != len(self.values):
            self.values.data = self.values.new_zeros(nnz, *self.values.shape[1:])
            self.col_indices = self.col_indices.new_zeros(nnz)

    def _apply(self, fn: Callable[[Tensor], Tensor]) -> Self:
        self._pattern = None
        return super()._apply(fn)

    def extra_repr(self) -> str:
        block = "" if self.block is None else f"block={self.block}, "
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, nnz={len(self.values)}, {block}"
            f"bias={self.bias is not None}"
        )


def to_csr(model: Module, least: float = 0.5) -> Module:
    """A copy of a pruned model whose linear layers are SparseLinear where at least the share `least` of the weight is 0.

    Masks are gone in the copy. Whether a layer got faster depends on its size, the batch and the machine: see break_even.
    """
    return _converted(model, least, None)


def to_bsr(model: Module, block: tuple[int, int] = (16, 16), least: float = 0.5) -> Module:
    """As to_csr, in blocks: where at least the share `least` of the blocks is 0. A weight of another size stays dense.

    Example:
        >>> model = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        >>> _ = blocks(model[0], "weight", 0.75)
        >>> to_bsr(model)[0]
        SparseLinear(in_features=64, out_features=64, nnz=4, block=(16, 16), bias=True)
    """
    return _converted(model, least, block)


def _converted(model: Module, least: float, block: tuple[int, int] | None) -> Module:
    result = make_permanent(copy_of(model))
    R, C = block or (1, 1)
    for path, module in list(result.named_modules()):
        if type(module) is not Linear or not module.weight.numel() or module.out_features % R or module.in_features % C:
            continue
        layer = SparseLinear.from_linear(module, block)
        if 1 - layer.values.numel() / module.weight.numel() >= least:
            if not path:
                return layer
            result.set_submodule(path, layer)
    return result
