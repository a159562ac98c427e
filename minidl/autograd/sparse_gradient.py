"""Gradients that are zero but for a few rows, in a backward pass over arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ..kernels import array_module
from ..kernels.accumulate import add_at
from ..kernels.embedding import add_to_rows

if TYPE_CHECKING:
    from ..sparse.pattern import Pattern
    from ..sparse.tensor import SparseTensor


class SparseGradient:
    """What passes between nodes in the place of an array where most of a gradient is zero; leaves get it as a SparseTensor.

    It knows the arithmetic that adds up and scales gradients. A gradient rule that needs more of it raises.
    """

    __slots__ = ("dtype", "pattern", "shape", "values")

    def __init__(self, pattern: Pattern, values: Any) -> None:
        self.pattern, self.values = pattern, values
        self.shape, self.dtype = pattern.shape, values.dtype

    def tensor(self) -> SparseTensor:
        """The gradient as a tensor, with memory of its own."""
        from ..sparse.tensor import SparseTensor
        from .op import wrap

        return SparseTensor(self.pattern, wrap(self.values.copy()))

    def __add__(self, other: Any) -> Any:
        if isinstance(other, SparseGradient):
            values = array_module(self.values).concatenate([self.values, other.values])
            return SparseGradient(self.pattern.followed_by(other.pattern), values)
        total = other.copy()
        scatter_add(total, self.pattern, self.values)
        return total

    __radd__ = __add__

    def __mul__(self, other: Any) -> SparseGradient:
        if getattr(other, "ndim", 0):
            other = array_module(other).broadcast_to(other, self.shape)[self.pattern.index()]
        return SparseGradient(self.pattern, self.values * other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> SparseGradient:
        return self * (1 / other)

    def __neg__(self) -> SparseGradient:
        return SparseGradient(self.pattern, -self.values)

    def astype(self, dtype: Any) -> SparseGradient:
        """The gradient in another dtype."""
        return SparseGradient(self.pattern, self.values.astype(dtype))

    def conj(self) -> SparseGradient:
        """The conjugate of a complex gradient."""
        return SparseGradient(self.pattern, self.values.conj())

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None) -> Any:
        """array + gradient, array += gradient and array * gradient, where NumPy asks before it refuses."""
        (other,) = (x for x in inputs if x is not self)
        if ufunc is np.add and out is not None:
            scatter_add(out[0], self.pattern, self.values)
            return out[0]
        if ufunc is np.add:
            return self + other
        if ufunc is np.multiply and out is None:
            return self * other
        raise TypeError(self._refusal(ufunc.__name__))

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(self._refusal("an array"))

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(self._refusal(name))

    def _refusal(self, wanted: str) -> str:
        return (
            f"a sparse gradient of shape {list(self.shape)} arrived at a gradient rule that needs a dense one, for {wanted!r}: "
            "what is looked up with sparse=True must be a leaf, or a leaf times something"
        )


def scatter_add(dense: Any, pattern: Pattern, values: Any, scale: float = 1.0) -> None:
    """Add `scale` times the values at the places of a sparse_coo pattern to a dense array of its shape, in place."""
    if pattern.sparse_dim == 1 and dense.ndim == 2:
        add_to_rows(dense, pattern.indices[0], values, scale, pattern.coalesced)
    else:
        add_at(dense, pattern.index(), values * scale)
