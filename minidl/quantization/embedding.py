"""Tables of quantized rows: Embedding and EmbeddingBag, in 8 bits or in 4, with a scale and a float zero point for each row.

Only the rows that are looked up become floats. PyTorch's names are in torch.ao.nn.quantized.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from ..autograd.op import wrap
from ..dtypes import qint8, quint4x2, quint8
from ..nn import functional as F
from ..nn.module import Module
from ..tensor import Tensor
from .dynamic import float_array, qconfig_of, quantized_weight
from .qconfig import float_qparams_weight_only_qconfig
from .tensor import QTensor, pack_pairs, unpack_pairs


class Embedding(Module):
    """Rows of a quantized table (num_embeddings, embedding_dim), as floats.

    A table of quint4x2 is held, and written to files, as bytes of two integers each.
    """

    name: ClassVar[str] = "quantized.Embedding"

    def __init__(self, weight: QTensor) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = weight.shape
        self.dtype = weight.dtype
        if self.dtype is quint4x2:
            self.register_buffer("_packed", wrap(pack_pairs(weight.integers)))
            self.register_buffer("_scale", wrap(weight.scale))
            self.register_buffer("_zero_point", wrap(weight.zero_point))
        else:
            self.register_buffer("_weight", weight)

    @classmethod
    def from_float(cls, mod: Any) -> Self:
        """The layer of a float one: uint8 with a scale and a float zero point for each row, unless mod.qconfig says other.

        Raises NotImplementedError for a table whose rows are scaled when they are looked up (max_norm), RuntimeError for a
        qconfig that is not for tables, as that of the layers around it may be.
        """
        if mod.max_norm is not None:
            raise NotImplementedError(f"{cls.name}: max_norm changes rows as they are looked up; apply it before")
        observer = qconfig_of(mod, float_qparams_weight_only_qconfig).weight()
        if observer.dtype not in (qint8, quint8, quint4x2) or getattr(observer, "ch_axis", None) != 0:
            raise RuntimeError(
                f"{cls.name}: tables are quint8, qint8 or quint4x2 with a scale for each row, got {observer.dtype}, "
                f"{observer.qscheme}; set the layer's qconfig to float_qparams_weight_only_qconfig, or to None to keep it float"
            )
        return cls(quantized_weight(mod.weight, observer))

    def weight(self) -> QTensor:
        """The quantized table."""
        if self.dtype is not quint4x2:
            return self._weight
        integers = unpack_pairs(self._packed.array, self.embedding_dim)
        return QTensor(integers, self._scale.array, self._zero_point.array, quint4x2, 0)

    def rows(self, index: Any) -> Any:
        """The rows at index (*), an array, as floats (*, D)."""
        if self.dtype is quint4x2:
            integers = unpack_pairs(self._packed.array[index], self.embedding_dim)
            zero, scale = self._zero_point.array, self._scale.array
        else:
            integers, zero, scale = self._weight.integers[index], self._weight.zero_point, self._weight.scale
        zero, scale = (v[index][..., None].astype(np.float32) if v.ndim else np.float32(v) for v in (zero, scale))
        return (integers.astype(np.float32) - zero) * scale

    def _index(self, indices: Any) -> Any:
        index = float_array(self.name.removeprefix("quantized."), indices)
        if index.dtype not in (np.int64, np.int32):
            raise RuntimeError(f"{self.name}: expected indices of dtype int32 or int64, got {indices.dtype}")
        if index.size and not 0 <= index.min() <= index.max() < self.num_embeddings:
            raise IndexError(
                f"{self.name}: indices from {index.min()} to {index.max()}, the table has {self.num_embeddings} rows"
            )
        return index

    def forward(self, indices: Tensor) -> Tensor:
        return wrap(self.rows(self._index(indices)))

    def _get_name(self) -> str:
        return f"Quantized{type(self).__name__}"

    def extra_repr(self) -> str:
        scheme = "per_channel_affine_float_qparams" if self.dtype is quint4x2 else self._weight.qscheme().name
        return (
            f"num_embeddings={self.num_embeddings}, embedding_dim={self.embedding_dim}, dtype={self.dtype}, "
            f"qscheme=torch.{scheme}"
        )


class EmbeddingBag(Embedding):
    """Rows of a quantized table, reduced bag by bag: sum, mean or max, as the float layer does.

    PyTorch's adds up whatever the float layer's mode was.
    """

    name = "quantized.EmbeddingBag"

    mode = "sum"
    include_last_offset = False
    padding_idx: int | None = None

    @classmethod
    def from_float(cls, mod: Any) -> Self:
        layer = super().from_float(mod)
        layer.mode, layer.include_last_offset, layer.padding_idx = mod.mode, mod.include_last_offset, mod.padding_idx
        return layer

    def forward(
        self, indices: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
    ) -> Tensor:
        used, places = np.unique(self._index(indices), return_inverse=True)
        padding = None
        if self.padding_idx is not None and self.padding_idx in used:
            padding = int(np.searchsorted(used, self.padding_idx))
        return F.embedding_bag(
            wrap(places.reshape(indices.shape)), wrap(self.rows(used)), offsets, mode=self.mode, padding_idx=padding,
            per_sample_weights=per_sample_weights, include_last_offset=self.include_last_offset,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, mode={self.mode!r}"
