"""Pattern: which elements of a sparse tensor are stored."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .. import devices
from ..kernels import array_module
from ..kernels.sparse import cuts_where_uneven, group, rows_of
from ..layouts import layout as Layout
from ..layouts import sparse_coo, sparse_csc, sparse_csr

LARGEST = 2**31  # the kernels number rows, columns and entries in 32 bits


class Pattern:
    """Which elements of a sparse tensor are stored, and in what order. It is never changed.

    layout: sparse_coo, sparse_csr or sparse_csc. shape: of the tensor. nnz: how many entries are stored.
    indices: for sparse_coo the coordinates (S, nnz), where S is the number of leading dimensions that are sparse; in the others,
    which every entry has as a block, nothing is left out. For sparse_csr the column of each entry, for sparse_csc its row.
    pointers: for sparse_csr where each row begins among the entries (N + 1,), for sparse_csc each column (M + 1,); else None.
    coalesced: whether the entries are known to be in row-major order without any twice (for sparse_csc in column-major order).
    """

    __slots__ = ("_coalesced", "_flipped", "_groups", "indices", "layout", "pointers", "shape")

    block: tuple[int, int] | None = None  # the size of the entries of a BlockPattern

    def __init__(
        self,
        layout: Layout,
        shape: tuple[int, ...],
        indices: Any,
        pointers: Any = None,
        coalesced: bool | None = None,
    ) -> None:
        self.layout, self.shape, self.indices, self.pointers = layout, tuple(shape), indices, pointers
        self._coalesced = (coalesced or self.nnz < 2) if layout is sparse_coo else coalesced
        self._groups: list[Any] = [None, None]  # what compressed() has found, shared with the transpose
        self._flipped = 0

    @property
    def nnz(self) -> int:
        return int(self.indices.shape[-1])

    @property
    def sparse_dim(self) -> int:
        return int(self.indices.shape[0]) if self.layout is sparse_coo else 2

    @property
    def sparse_shape(self) -> tuple[int, ...]:
        return self.shape[: self.sparse_dim]

    @property
    def dense_shape(self) -> tuple[int, ...]:
        """The shape of one entry: () but in hybrid tensors."""
        return self.shape[self.sparse_dim :]

    @property
    def coalesced(self) -> bool:
        if self._coalesced is None:  # of a compressed layout, where it is looked up at the first question
            major, minor = self.coordinates() if self.layout is sparse_csr else self.coordinates()[::-1]
            ahead = (major[1:] > major[:-1]) | (minor[1:] > minor[:-1])
            self._coalesced = bool(ahead.all())
        return self._coalesced

    def coordinates(self) -> Any:
        """The coordinates of the entries, (S, nnz), in their order."""
        if self.pointers is None:
            return self.indices
        major, stack = rows_of(self.pointers, self.nnz), array_module(self.indices).stack
        return stack([major, self.indices] if self.layout is sparse_csr else [self.indices, major])

    def index(self) -> tuple[Any, ...]:
        """The index of the entries in a dense tensor of the shape: one array per sparse dimension."""
        return tuple(self.coordinates())

    def keys(self) -> Any:
        """The entries' places in row-major order over the sparse dimensions, (nnz,)."""
        xp, coordinates = array_module(self.indices), self.coordinates()
        if prod(self.sparse_shape) >= 2**63:
            raise RuntimeError(
                f"the elements of a sparse tensor of shape {list(self.shape)} cannot be numbered in 64 bits"
            )
        if not len(coordinates):
            return xp.zeros(self.nnz, np.int64)
        return xp.ravel_multi_index(tuple(coordinates), self.sparse_shape)

    def same_as(self, other: Pattern) -> bool:
        """Whether both store the same elements in the same order and layout."""
        if self is other:
            return True
        if (self.layout, self.shape, self.indices.shape) != (other.layout, other.shape, other.indices.shape):
            return False
        same = bool((self.indices == other.indices).all())
        return same and (self.pointers is None or bool((self.pointers == other.pointers).all()))

    # -- the kernels' form ---------------------------------------------------------------------------------------------

    def compressed(self, dim: int) -> tuple[Any, Any, Any, Any]:
        """The entries of a matrix grouped by row (dim 0) or column (dim 1), as kernels/sparse.py takes them; found once.

        Pointers, the other coordinate of the entries in 32 bits, of which the kernels read less; the order of the entries:
        their numbers in this pattern, or None where it is this pattern's own; and how a GPU should share out the groups.
        """
        place = dim ^ self._flipped
        if self._groups[place] is None:
            pointers, indices, order = self._compress(dim)
            self._groups[place] = pointers, indices, order, cuts_where_uneven(pointers, self.nnz)
        return self._groups[place]

    def _compress(self, dim: int) -> tuple[Any, Any, Any]:
        if max(self.nnz, *self.shape) >= LARGEST:
            raise RuntimeError(f"products with sparse matrices have below 2**31 rows, columns and entries: {self!r}")
        if self.pointers is not None and dim == (self.layout is sparse_csc):
            return self.pointers.astype(np.int64, copy=False), self.indices.astype(np.int32), None
        coordinates = self.coordinates().astype(np.int64, copy=False)
        pointers, order = group(coordinates[dim], self.shape[dim])
        if bool((coordinates[dim][1:] >= coordinates[dim][:-1]).all()):
            return pointers, coordinates[1 - dim].astype(np.int32), None
        return pointers, coordinates[1 - dim][order].astype(np.int32), order

    # -- other patterns ------------------------------------------------------------------------------------------------

    def transposed(self) -> Pattern:
        """The transpose of a matrix, with the entries in the same order."""
        if self.layout is sparse_coo:
            result = Pattern(sparse_coo, self.shape[::-1], self.indices[::-1])
        else:
            other = sparse_csc if self.layout is sparse_csr else sparse_csr
            result = Pattern(other, self.shape[::-1], self.indices, self.pointers, self._coalesced)
        result._groups, result._flipped = self._groups, 1 - self._flipped
        return result

    def followed_by(self, other: Pattern) -> Pattern:
        """The entries of this in coordinates, then those of another pattern of the same shape."""
        xp = array_module(self.indices)
        return Pattern(sparse_coo, self.shape, xp.concatenate([self.coordinates(), other.coordinates()], axis=1))

    def coalesce(self) -> tuple[Pattern, Any]:
        """The same elements in coordinates, in row-major order and each once; and for each entry which of these it is."""
        xp, keys = array_module(self.indices), self.keys()
        order = xp.argsort(keys)
        ordered = keys[order]
        first = xp.ones(keys.size, bool)
        first[1:] = ordered[1:] != ordered[:-1]
        places = xp.empty(keys.size, np.int64)
        places[order] = xp.cumsum(first) - 1
        return Pattern(sparse_coo, self.shape, self.coordinates()[:, order[first]], coalesced=True), places

    def in_layout(self, wanted: Layout) -> tuple[Pattern, Any]:
        """The same entries in another layout, and their order there: numbers of entries here, or None for the same order.

        A compressed layout has entries in order and none twice, so it is made of a coalesced pattern.
        """
        if wanted is self.layout:
            return self, None
        if wanted is sparse_coo:
            in_order = self.layout is sparse_csr and self.coalesced
            return Pattern(sparse_coo, self.shape, self.coordinates(), coalesced=in_order), None
        pointers, indices, order, cuts = self.compressed(int(wanted is sparse_csc))
        result = Pattern(wanted, self.shape, indices.astype(np.int64), pointers, True)
        result._groups[int(wanted is sparse_csc)] = pointers, indices, None, cuts
        return result, order

    def moved(self, device: Any) -> Pattern:
        """The same on another device."""
        if devices.of_array(self.indices) == device:
            return self
        pointers = None if self.pointers is None else devices.move(self.pointers, device)
        return Pattern(self.layout, self.shape, devices.move(self.indices, device), pointers, self._coalesced)

    def __reduce__(self) -> tuple[Any, ...]:
        return Pattern, (self.layout, self.shape, self.indices, self.pointers, self._coalesced)

    def __repr__(self) -> str:
        return f"Pattern({self.layout}, shape={list(self.shape)}, nnz={self.nnz})"
