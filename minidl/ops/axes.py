"""The dimensions that a reduction runs over: reading the argument `dim`, and putting reduced dimensions back."""

from __future__ import annotations

from typing import Any


def axes_of(x: Any, dim: Any, name: str) -> tuple[int, ...]:
    """Dimensions of x as non-negative numbers; all of them for None or (). Raises for unknown and repeated ones."""
    ndim = x.ndim
    if dim.__class__ is int and -ndim <= dim < ndim:
        return (dim % ndim,)
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return tuple(range(ndim))
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    bound = max(ndim, 1)  # a tensor without dimensions counts as having one
    result = []
    for d in map(int, dims):
        if not -bound <= d < bound:
            raise IndexError(
                f"{name}: Dimension out of range (expected to be in range of [{-bound}, {bound - 1}], but got {d})"
            )
        result.append(d % bound)
    if len(set(result)) < len(result):
        raise RuntimeError(f"{name}: dim {dims} appears multiple times in the list of dims")
    return tuple(result) if ndim else ()


def restored(g: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
    """g with the reduced dimensions back, of size 1."""
    if keepdim or not axes:
        return g
    shape = list(g.shape)
    for axis in sorted(axes):
        shape.insert(axis, 1)
    return g.reshape(tuple(shape))


def either(dim: Any, keepdim: bool, axis: Any, keepdims: Any) -> tuple[Any, bool]:
    """dim and keepdim, given by these names or by NumPy's."""
    return (dim if axis is None else axis), (keepdim if keepdims is None else keepdims)


def check_not_empty(x: Any, axes: Any, name: str) -> None:
    """Raise if x has no elements along one of the axes, where a reduction without a neutral element has no result."""
    if 0 in x.shape and any(x.shape[a] == 0 for a in axes):
        raise RuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0, or of non-zero size; "
            f"the input has shape {list(x.shape)}"
        )
