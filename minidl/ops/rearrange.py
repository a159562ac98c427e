"""Operations that copy, mirror, shift and repeat elements, and sliding windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import devices
from ..autograd.op import Op, wrap
from ..kernels import array_module
from ..kernels.common import row_major
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .shape import Transpose, normalize_dim, normalize_dims, reshape, sizes_of

# ---------------------------------------------------------------------------------------------------------------------
# Copies


class Clone(Op):
    """The same values in new memory, in row-major order ("C") or in the order of the input ("K")."""

    complex_rule = True

    def forward(self, x: Any, *, order: str) -> Any:
        return x.copy(order)

    def backward(self, g: Any) -> Any:
        return g


@samples(Clone)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), order="K")


@method()
def clone(input: Any, *, memory_format: Any = None) -> Any:
    """A copy; gradients flow through it to the input."""
    return Clone.apply(input, order="C" if str(memory_format).endswith("contiguous_format") else "K")


@method()
def contiguous(input: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself if its elements lie in memory in row-major order without gaps, else a copy that does."""
    return input if input.is_contiguous() else Clone.apply(input, order="C")


# ---------------------------------------------------------------------------------------------------------------------
# Mirror and shift


class Flip(Op):
    """The order of the entries reversed in the dimensions `dims`."""

    complex_rule = True

    def forward(self, x: Any, *, dims: Any) -> Any:
        self.dims = dims
        return x[tuple(slice(None, None, -1) if d in dims else slice(None) for d in range(x.ndim))].copy()

    def backward(self, g: Any) -> Any:
        return Flip.apply(g, dims=self.dims)


@samples(Flip)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), dims=(0, 1))
    yield Sample(make(3), dims=())


class Roll(Op):
    """Entries shifted along dimensions; what leaves at one end comes in at the other."""

    complex_rule = True

    def forward(self, x: Any, *, shifts: Any, dims: Any) -> Any:
        self.shifts, self.dims = shifts, dims
        return array_module(x).roll(row_major(x), shifts, dims)

    def backward(self, g: Any) -> Any:
        return Roll.apply(g, shifts=tuple(-n for n in self.shifts), dims=self.dims)


@samples(Roll)
def _(make: Any) -> Any:
    yield Sample(make(3, 4), shifts=(1, -2), dims=(0, 1))


@method()
def flip(input: Any, *dims: Any, **named: Any) -> Any:
    """A copy with the order of the entries reversed in the given dimensions."""
    return Flip.apply(input, dims=normalize_dims(sizes_of(dims, named, "dims"), input.ndim, "flip"))


@method()
def fliplr(input: Any) -> Any:
    """A copy with dimension 1 reversed: left becomes right."""
    if input.ndim < 2:
        raise RuntimeError(f"fliplr: Input must be >= 2-d, got shape {list(input.shape)}")
    return Flip.apply(input, dims=(1,))


@method()
def flipud(input: Any) -> Any:
    """A copy with dimension 0 reversed: up becomes down."""
    if input.ndim < 1:
        raise RuntimeError("flipud: Input must be >= 1-d, got a tensor without dimensions")
    return Flip.apply(input, dims=(0,))


@method()
def roll(input: Any, shifts: Any, dims: Any = None) -> Any:
    """A copy with the entries shifted along `dims`; what leaves at one end comes in at the other.

    Without dims the tensor is shifted as if it were flat.
    """
    shifts = tuple(shifts) if isinstance(shifts, (tuple, list)) else (shifts,)
    if dims is None or dims == () or dims == []:
        if len(shifts) != 1:
            raise RuntimeError(f"roll: {len(shifts)} shifts without dims; name a dimension for each")
        return reshape(Roll.apply(reshape(input, -1), shifts=shifts, dims=(0,)), tuple(input.shape))
    dims = tuple(dims) if isinstance(dims, (tuple, list)) else (dims,)
    if len(dims) != len(shifts):
        raise RuntimeError(f"roll: shifts and dimensions must align. shifts: {len(shifts)}, dims: {len(dims)}")
    return Roll.apply(input, shifts=shifts, dims=tuple(normalize_dim(d, input.ndim, "roll") for d in dims))


@method()
def rot90(input: Any, k: int = 1, dims: Any = (0, 1)) -> Any:
    """A copy turned k times by 90 degrees in the plane of two dimensions, from the first towards the second."""
    if len(dims) != 2:
        raise RuntimeError(f"rot90: expected total rotation dims == 2, but got dims = {len(dims)}")
    a, b = normalize_dims(tuple(dims), input.ndim, "rot90")
    if k % 4 == 0:
        return clone(input)
    if k % 4 == 2:
        return Flip.apply(input, dims=(a, b))
    return Transpose.apply(Flip.apply(input, dims=(b,) if k % 4 == 1 else (a,)), dim0=a, dim1=b)


# ---------------------------------------------------------------------------------------------------------------------
# Repeat


class Repeat(Op):
    """x, laid side by side repeats[i] times along dimension i."""

    complex_rule = True

    def forward(self, x: Any, *, repeats: Any) -> Any:
        self.shape, self.repeats = x.shape, repeats
        return array_module(x).tile(x, repeats)

    def backward(self, g: Any) -> Any:
        lead = len(self.repeats) - len(self.shape)
        sizes = (1,) * lead + self.shape
        g = g.reshape(tuple(n for pair in zip(self.repeats, sizes, strict=True) for n in pair))
        return g.sum(axis=tuple(range(0, 2 * len(sizes), 2))).reshape(self.shape) if sizes else g


@samples(Repeat)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), repeats=(2, 1, 3))
    yield Sample(make(2), repeats=(0,))
    yield Sample(make(), repeats=())


class RepeatInterleave(Op):
    """Every entry of dimension `dim` n times in succession."""

    complex_rule = True

    def forward(self, x: Any, *, n: int, dim: int) -> Any:
        self.shape, self.n, self.dim = x.shape, n, dim
        return array_module(x).repeat(x, n, dim)

    def backward(self, g: Any) -> Any:
        before, after = self.shape[: self.dim + 1], self.shape[self.dim + 1 :]
        return g.reshape((*before, self.n, *after)).sum(axis=self.dim + 1)


@samples(RepeatInterleave)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), n=2, dim=1)


@method()
def repeat(input: Any, *repeats: Any, **named: Any) -> Any:
    """A copy in which the tensor is laid side by side: x.repeat(2, 3) twice along dimension 0, three times along 1."""
    times = tuple(int(n) for n in sizes_of(repeats, named, "repeats"))
    if len(times) < input.ndim or any(n < 0 for n in times):
        raise RuntimeError(
            f"repeat: number of dimensions of repeat dims, {list(times)}, can not be smaller than number of dimensions "
            f"of tensor, {input.ndim}, and none may be negative"
        )
    return Repeat.apply(input, repeats=times)


@method()
def tile(input: Any, *dims: Any, **named: Any) -> Any:
    """repeat(), where missing numbers for leading dimensions count as 1."""
    times = sizes_of(dims, named, "dims")
    return repeat(input, (1,) * (input.ndim - len(times)) + times)


@method()
def repeat_interleave(
    input: Any, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Any:
    """Every entry of dimension `dim` several times in succession: all equally often, or entry i repeats[i] times.

    Without dim the input is flattened. repeat_interleave(repeats) gives index i repeats[i] times.

    Example:
        >>> minidl.tensor([1, 2]).repeat_interleave(2)
        tensor([1, 1, 2, 2])
    """
    from .gather import index_select  # which needs this family first

    if repeats is None:
        index = np.repeat(np.arange(input.array.size), devices.move(input.array, devices.CPU))
        return wrap(devices.move(index, input.device))
    if dim is None:
        input, dim = reshape(input, -1), 0
    dim = normalize_dim(dim, input.ndim, "repeat_interleave")
    times = np.asarray(devices.move(repeats.array, devices.CPU) if isinstance(repeats, Tensor) else repeats).reshape(-1)
    if (times < 0).any():
        raise RuntimeError(f"repeat_interleave: repeats can not be negative, got {int(times.min())}")
    if times.size == 1:
        return RepeatInterleave.apply(input, n=int(times[0]), dim=dim)
    if times.size != input.shape[dim]:
        raise RuntimeError(
            f"repeat_interleave: repeats must have the same size as input along dim: {times.size} for size "
            f"{input.shape[dim]}"
        )
    where = devices.of_array(getattr(input, "array", input))
    return index_select(input, dim, devices.move(np.repeat(np.arange(times.size), times), where))


# ---------------------------------------------------------------------------------------------------------------------
# Sliding windows


def strided(x: Any, shape: Any, strides: Any) -> Any:
    """A view that begins where x does, with other steps (in bytes) between its elements.

    Made from the owner of the memory: as_strided would put an object of its own between the view and its base, by which
    the engine knows views.
    """
    if array_module(x) is not np:
        # CuPy's as_strided says that it owns the memory; a view of it does not
        return array_module(x).lib.stride_tricks.as_strided(x, shape, strides)[...]
    owner = x.base if isinstance(x.base, np.ndarray) else x
    memory = owner.ravel("K")
    if memory.base is None:
        return np.lib.stride_tricks.as_strided(x, shape, strides)
    offset = x.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
    return np.ndarray(shape, x.dtype, memory, offset, strides) if x.size else np.empty(shape, x.dtype)


class Unfold(Op):
    """The windows of `size` entries, `step` apart, along dimension `dim`: (..., windows, ..., size), a view."""

    complex_rule = True
    view = True

    def forward(self, x: Any, *, dim: int, size: int, step: int) -> Any:
        self.shape, self.dim, self.size, self.step = x.shape, dim, size, step
        if x.ndim == 0:
            return x.reshape(1)[:size]
        count = (x.shape[dim] - size) // step + 1
        shape = (*x.shape[:dim], count, *x.shape[dim + 1 :], size)
        steps = (*x.strides[:dim], step * x.strides[dim], *x.strides[dim + 1 :], x.strides[dim])
        return strided(x, shape, steps)

    def backward(self, g: Any) -> Any:
        return Fold.apply(g, shape=self.shape, dim=self.dim, size=self.size, step=self.step)


@samples(Unfold)
def _(make: Any) -> Any:
    yield Sample(make(2, 7), dim=1, size=3, step=2)
    yield Sample(make(4, 2), dim=0, size=2, step=1)
    yield Sample(make(), dim=0, size=1, step=1)


class Fold(Op):
    """Windows added up where they came from: the adjoint of Unfold."""

    complex_rule = True

    def forward(self, g: Any, *, shape: Any, dim: int, size: int, step: int) -> Any:
        self.dim, self.size, self.step = dim, size, step
        if not shape:
            return g.sum()
        out = array_module(g).zeros(shape, g.dtype)
        count = g.shape[dim]
        for k in range(size):
            out[(*(slice(None),) * dim, slice(k, k + (count - 1) * step + 1, step))] += g[..., k]
        return out

    def backward(self, g: Any) -> Any:
        return Unfold.apply(g, dim=self.dim, size=self.size, step=self.step)


@samples(Fold)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, 3), shape=(2, 7), dim=1, size=3, step=2)


@method()
def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """A view of the windows of `size` entries, `step` apart, along a dimension; a last dimension holds each window.

    Example:
        >>> minidl.arange(5).unfold(0, 3, 2)
        tensor([[0, 1, 2],
                [2, 3, 4]])
    """
    dim = normalize_dim(dimension, input.ndim, "unfold")
    n = input.shape[dim] if input.ndim else 1
    if not 0 <= size <= n:
        raise RuntimeError(f"unfold: maximum size for tensor at dimension {dimension} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"unfold: step is {step} but must be > 0")
    return Unfold.apply(input, dim=dim, size=size, step=step)


__all__ = ["clone", "flip", "fliplr", "flipud", "repeat_interleave", "roll", "rot90", "tile"]
