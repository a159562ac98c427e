"""Operations that change a tensor's shape and move its elements: views of the same memory wherever that is possible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import grad_mode
from ..autograd.op import Op
from ..autograd.storage import live_views, mark_written
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples

# ---------------------------------------------------------------------------------------------------------------------
# Arguments


def normalize_dim(dim: int, ndim: int, name: str) -> int:
    """dim counted from the front; a 0-d tensor counts as having one. Raises IndexError if there is none."""
    n = max(ndim, 1)
    if not -n <= dim < n:
        raise IndexError(f"{name}: Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})")
    return int(dim) % n


def normalize_dims(dims: Any, ndim: int, name: str) -> tuple[int, ...]:
    """One dimension or several, counted from the front. Raises RuntimeError if one is named twice."""
    found = tuple(normalize_dim(d, ndim, name) for d in (dims if isinstance(dims, Sequence) else (dims,)))
    if len(set(found)) != len(found):
        raise RuntimeError(f"{name}: a dimension appears multiple times in dims {dims}; name each once")
    return found


def sizes_of(sizes: tuple[Any, ...], named: dict[str, Any] | None = None, key: str = "") -> tuple[Any, ...]:
    """The sizes of f(2, 3), f((2, 3)) or f(key=(2, 3)), which mean the same."""
    if named:
        if sizes or set(named) != {key}:
            raise TypeError(f"got unexpected arguments {sorted(named)}: expected the sizes one by one, or {key}=(...)")
        return tuple(named[key])
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes


def shares_memory(part: Any, x: Any) -> bool:
    """Whether `part`, which NumPy made from x, is a view of x and not a copy."""
    return part.base is not None and (part.base is x or part.base is x.base)


# ---------------------------------------------------------------------------------------------------------------------
# Reshape


class Reshape(Op):
    """The same elements in row-major order under another shape: a view if the strides allow it, else a copy."""

    complex_rule = True
    view = True

    def forward(self, x: Any, *, shape: Any) -> Any:
        self.shape = x.shape
        try:
            return x.reshape(shape)
        except ValueError:
            raise RuntimeError(
                f"reshape: shape '{list(shape)}' is invalid for input of size {x.size} (shape {list(x.shape)}); "
                "the sizes must multiply to it, and at most one of them may be -1"
            ) from None

    def backward(self, g: Any) -> Any:
        return g.reshape(self.shape)


@samples(Reshape)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, 4), shape=(6, 4))
    yield Sample(make(2, 3), shape=(-1,))
    yield Sample(make(1, 1), shape=())
    yield Sample(make(0, 3), shape=(3, 0))


@method()
def reshape(input: Any, *shape: Any, **named: Any) -> Any:
    """The same elements, in row-major order, under another shape; one size may be -1.

    The result shares memory with the input if the strides allow it, and is a copy otherwise.

    Example:
        >>> minidl.arange(6).reshape(2, -1).shape
        torch.Size([2, 3])
    """
    return Reshape.apply(input, shape=sizes_of(shape, named, "shape"))


@method()
def view(input: Tensor, *shape: Any, dtype: Any = None) -> Tensor:
    """The same memory under another shape, or read as another dtype. Raises RuntimeError where that needs a copy.

    Example:
        >>> minidl.arange(6).view(2, 3).shape
        torch.Size([2, 3])
    """
    if dtype is None and len(shape) == 1 and isinstance(shape[0], dtypes.dtype):
        dtype = shape[0]
    if dtype is not None:
        return ViewDtype.apply(input, dtype=dtypes.as_array_dtype(dtype))
    result = Reshape.apply(input, shape=sizes_of(shape))
    if result.array.size and not shares_memory(result.array, input.array):
        raise RuntimeError(
            f"view size is not compatible with input tensor's size and stride: shape {list(input.shape)} with strides "
            f"{list(input.stride())} does not lie in memory as {list(result.shape)} would (at least one dimension "
            "spans across two contiguous subspaces). Use .reshape(...) instead."
        )
    return result


class ViewDtype(Op):
    """The same bytes read as another dtype."""

    view = True

    def forward(self, x: Any, *, dtype: Any) -> Any:
        try:
            return x.view(dtype)
        except (TypeError, ValueError) as error:
            raise RuntimeError(
                f"view: {x.dtype} of shape {list(x.shape)} cannot be read as {dtype}: {error}; "
                "the last dimension must be contiguous and hold a whole number of elements"
            ) from None


@samples(ViewDtype)
def _(make: Any) -> Any:
    yield Sample(make.ints(5, 2, 3), dtype=np.dtype(np.uint64))


@method()
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """view(other.shape)."""
    return view(input, other.shape)


@method()
def reshape_as(input: Any, other: Any) -> Any:
    """reshape(other.shape)."""
    return Reshape.apply(input, shape=tuple(other.shape))


@method()
def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """The dimensions from start_dim to end_dim as one. Example: (B, C, H, W) with start_dim=1 -> (B, C * H * W)."""
    start, end = normalize_dim(start_dim, input.ndim, "flatten"), normalize_dim(end_dim, input.ndim, "flatten")
    if start > end:
        raise RuntimeError(f"flatten() has invalid args: start_dim {start_dim} cannot come after end_dim {end_dim}")
    if input.ndim and start == end:
        return input
    shape = tuple(input.shape)
    return Reshape.apply(input, shape=(*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :]))


@method()
def unflatten(input: Any, dim: int, sizes: Any) -> Any:
    """Dimension `dim` as several, of the given sizes; one may be -1. The inverse of flatten."""
    shape, sizes = tuple(input.shape), tuple(sizes) if isinstance(sizes, Sequence) else (sizes,)
    dim = normalize_dim(dim, input.ndim, "unflatten")
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    known = prod(n for n in sizes if n != -1)
    if sizes.count(-1) > 1 or (known != shape[dim] if -1 not in sizes else known == 0 or shape[dim] % known):
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {dim}, {shape[dim]}"
        )
    sizes = tuple(shape[dim] // known if n == -1 else n for n in sizes)
    return Reshape.apply(input, shape=(*shape[:dim], *sizes, *shape[dim + 1 :]))


@method()
def ravel(input: Any) -> Any:
    """All elements in one dimension, in row-major order; a copy only if the input is not contiguous."""
    return input if input.ndim == 1 and input.shape[0] and input.stride(0) == 1 else Reshape.apply(input, shape=(-1,))


# ---------------------------------------------------------------------------------------------------------------------
# The order of dimensions


class Permute(Op):
    """Dimension i of the result is dimension dims[i] of x."""

    complex_rule = True
    view = True

    def forward(self, x: Any, *, dims: Any) -> Any:
        self.dims = dims
        return x.transpose(dims)

    def backward(self, g: Any) -> Any:
        inverse = tuple(sorted(range(len(self.dims)), key=self.dims.__getitem__))
        return Permute.apply(g, dims=inverse)


@samples(Permute)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, 4), dims=(2, 0, 1))
    yield Sample(make(), dims=())


class Transpose(Op):
    """Two dimensions exchanged."""

    complex_rule = True
    view = True

    def forward(self, x: Any, *, dim0: int, dim1: int) -> Any:
        self.dims = dim0, dim1
        return x.swapaxes(dim0, dim1) if x.ndim else x.reshape(())

    def backward(self, g: Any) -> Any:
        return g.swapaxes(*self.dims) if g.ndim else g


@samples(Transpose)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, 4), dim0=0, dim1=2)


@method()
def permute(input: Any, *dims: Any, **named: Any) -> Any:
    """A view with the dimensions in another order: dimension i of the result is dims[i] of the input.

    Example:
        >>> minidl.zeros(2, 3, 4).permute(2, 0, 1).shape
        torch.Size([4, 2, 3])
    """
    order = sizes_of(dims, named, "dims")
    if len(order) != input.ndim:
        raise RuntimeError(
            f"permute: number of dimensions in the tensor input ({input.ndim}) does not match the length of the "
            f"desired ordering of dimensions {list(order)}; name each once"
        )
    return Permute.apply(input, dims=normalize_dims(order, input.ndim, "permute"))


@method("transpose", "swapaxes", "swapdims")
def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """A view with the dimensions dim0 and dim1 exchanged."""
    dim0, dim1 = normalize_dim(dim0, input.ndim, "transpose"), normalize_dim(dim1, input.ndim, "transpose")
    return Transpose.apply(input, dim0=dim0, dim1=dim1)


swapaxes = swapdims = transpose


@method()
def t(input: Any) -> Any:
    """The transpose of a matrix; a tensor of fewer dimensions as it is."""
    if input.ndim > 2:
        raise RuntimeError(
            f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D; use .mT or transpose"
        )
    return Transpose.apply(input, dim0=0, dim1=1) if input.ndim == 2 else input


def _transposed(input: Tensor) -> Tensor:
    """The dimensions in reverse order: the transpose of a matrix."""
    return Permute.apply(input, dims=tuple(range(input.ndim))[::-1])


def _matrix_transposed(input: Tensor) -> Tensor:
    """The last two dimensions exchanged: every matrix of a batch transposed."""
    if input.ndim < 2:
        raise RuntimeError(
            f"tensor.mT is only supported on matrices or batches of matrices. Got {input.ndim}-D tensor."
        )
    return Transpose.apply(input, dim0=input.ndim - 2, dim1=input.ndim - 1)


Tensor.T = property(_transposed)  # type: ignore[attr-defined]
Tensor.mT = property(_matrix_transposed)  # type: ignore[attr-defined]


@method("movedim", "moveaxis")
def movedim(input: Any, source: Any, destination: Any) -> Any:
    """A view with the dimensions `source` moved to the places `destination`, the others in their order."""
    source = normalize_dims(source, input.ndim, "movedim")
    destination = normalize_dims(destination, input.ndim, "movedim")
    if len(source) != len(destination):
        raise RuntimeError(
            f"movedim: {len(source)} source dims, {source}, do not match {len(destination)}, {destination}"
        )
    if not input.ndim:
        return Permute.apply(input, dims=())
    rest = iter(d for d in range(input.ndim) if d not in source)
    moved = dict(zip(destination, source, strict=True))
    return Permute.apply(input, dims=tuple(moved[d] if d in moved else next(rest) for d in range(input.ndim)))


moveaxis = movedim


# ---------------------------------------------------------------------------------------------------------------------
# Dimensions of size 1


class Squeeze(Op):
    """x without the dimensions `dims`, all of size 1."""

    complex_rule = True
    view = True

    def forward(self, x: Any, *, dims: Any) -> Any:
        self.shape = x.shape
        return x.reshape(tuple(n for i, n in enumerate(x.shape) if i not in dims))

    def backward(self, g: Any) -> Any:
        return g.reshape(self.shape)


@samples(Squeeze)
def _(make: Any) -> Any:
    yield Sample(make(1, 3, 1), dims=(0, 2))
    yield Sample(make(2, 3), dims=())


class Unsqueeze(Op):
    """x with a dimension of size 1 put in at `dim`."""

    complex_rule = True
    view = True

    def forward(self, x: Any, *, dim: int) -> Any:
        self.shape = x.shape
        return x.reshape((*x.shape[:dim], 1, *x.shape[dim:]))

    def backward(self, g: Any) -> Any:
        return g.reshape(self.shape)


@samples(Unsqueeze)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), dim=1)
    yield Sample(make(), dim=0)


@method()
def squeeze(input: Any, dim: Any = None) -> Any:
    """A view without the dimensions of size 1, or without those of `dim` (one or several) that have size 1."""
    dims = range(input.ndim) if dim is None else normalize_dims(dim, input.ndim, "squeeze")
    return Squeeze.apply(input, dims=tuple(d for d in dims if input.ndim and input.shape[d] == 1))


@method()
def unsqueeze(input: Any, dim: int) -> Any:
    """A view with a dimension of size 1 put in at `dim`. Example: (B, D) with dim=1 -> (B, 1, D)."""
    return Unsqueeze.apply(input, dim=normalize_dim(dim, input.ndim + 1, "unsqueeze"))


def _in_place(function: Callable[..., Any], name: str) -> None:
    """Put `name_` on Tensor, for a `function` that makes a view: the tensor itself becomes that view."""

    @method(f"{name}_")
    def become(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if grad_mode.get() and input.requires_grad and input.is_leaf:
            raise RuntimeError(
                f"a leaf Variable that requires grad is being used in an in-place operation ({name}_); use {name}()"
            )
        if live_views(input):
            raise RuntimeError(
                f"{name}_: this tensor has views, which are described by its present shape; use {name}() instead"
            )
        if input.base is not None and input.base.steps is None:
            raise RuntimeError(f"{name}_: this tensor is one of several views of one operation; use {name}() instead")
        result = function(input, *args, **kwargs)
        if result is not input:
            input.array, input.node = result.array, result.node
            input.base = input.base and result.base
            mark_written(input)
        return input

    become.__name__ = become.__qualname__ = f"{name}_"
    become.__doc__ = f"In-place form of {name}(): the tensor itself gets the new shape. Raises if it has views."


for _name, _function in {
    "squeeze": squeeze, "unsqueeze": unsqueeze, "t": t, "transpose": transpose, "swapaxes": transpose,
    "swapdims": transpose,
}.items():  # fmt: skip
    _in_place(_function, _name)


# ---------------------------------------------------------------------------------------------------------------------
# Expand


class Expand(Op):
    """x repeated along dimensions of size 1 and new leading ones, without copying. The engine sums gradients."""

    complex_rule = True
    view = True

    def forward(self, x: Any, *, shape: Any) -> Any:
        if x.size == prod(shape):  # nothing is repeated, so the result may be written to
            return x.reshape(shape)
        return array_module(x).broadcast_to(x, shape)

    def backward(self, g: Any) -> Any:
        return g


@samples(Expand)
def _(make: Any) -> Any:
    yield Sample(make(3, 1), shape=(2, 3, 4))
    yield Sample(make(), shape=(2, 2))
    yield Sample(make(1, 3), shape=(0, 3))


@method()
def expand(input: Any, *sizes: Any, **named: Any) -> Any:
    """A view with dimensions of size 1 repeated, and new ones in front; -1 keeps a size. Nothing is copied.

    Example:
        >>> minidl.tensor([[1.0], [2.0]]).expand(-1, 3).stride()
        (1, 0)
    """
    shape, wanted = tuple(input.shape), sizes_of(sizes, named, "size")
    new = len(wanted) - len(shape)
    fits = new >= 0 and all(n >= 0 for n in wanted[:new])
    if not fits or any(m not in (n, -1) and (n != 1 or m < 0) for n, m in zip(shape, wanted[new:], strict=True)):
        raise RuntimeError(
            f"expand: a tensor of shape {list(shape)} cannot be expanded to {list(wanted)}: from the last dimension "
            "backwards, each size must stay as it is (-1 says the same), or be 1"
        )
    kept = (n if m == -1 else m for n, m in zip(shape, wanted[new:], strict=True))
    return Expand.apply(input, shape=(*wanted[:new], *kept))


@method()
def expand_as(input: Any, other: Any) -> Any:
    """expand(other.shape)."""
    return expand(input, tuple(other.shape))


@method()
def broadcast_to(input: Any, *shape: Any, **named: Any) -> Any:
    """expand(shape)."""
    return expand(input, *shape, **named)


def broadcast_shapes(*shapes: Any) -> Any:
    """The shape that tensors of these shapes have together. Raises RuntimeError if they have none."""
    from ..tensor import Size

    shapes = tuple((s,) if isinstance(s, int) else tuple(s) for s in shapes)
    try:
        return Size(np.broadcast_shapes(*shapes))
    except ValueError:
        raise RuntimeError(
            f"broadcast_shapes: the shapes {' and '.join(str(list(s)) for s in shapes)} cannot be broadcast together: "
            "from the last dimension backwards, sizes must be equal or 1"
        ) from None


def broadcast_tensors(*tensors: Any) -> list[Any]:
    """Views of the tensors, expanded to the one shape that they have together."""
    tensors = sizes_of(tensors)
    shape = broadcast_shapes(*(x.shape for x in tensors))
    return [expand(x, shape) for x in tensors]


__all__ = [
    "broadcast_shapes", "broadcast_tensors", "broadcast_to", "flatten", "moveaxis", "movedim", "permute", "ravel",
    "reshape", "squeeze", "swapaxes", "swapdims", "t", "transpose", "unflatten", "unsqueeze",
]  # fmt: skip
