"""Images read at places that a grid names, and the grid of an affine map: the two parts of a spatial transformer.

A place in the grid has one coordinate per spatial dimension, the last dimension first (x, y, z), where -1 and 1 are the two
ends of the input. They become positions, counted in old values, and a new value is made of the old ones around its position.

Letters: B batch, C channels, S spatial sizes of the input, P of the grid.

Source: Jaderberg, Simonyan, Zisserman and Kavukcuoglu, "Spatial Transformer Networks", 2015.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.op import wrap
from ..autograd.precision import under_autocast
from ..devices import check_same
from ..kernels import array_module
from ..tensor import Tensor
from .indexing import Fill
from .pooling import Pick
from .selection import where

TAPS = {"nearest": (0,), "bilinear": (0, 1), "bicubic": (-1, 0, 1, 2)}
PADDING_MODES = ("zeros", "border", "reflection")


@under_autocast("full on cpu")
def grid_sample(
    input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Tensor:
    """input (B, C, *S) read at the places of grid (B, *P, n), n = 2 or 3 spatial dimensions: (B, C, *P).

    mode: "bilinear" (trilinear in three dimensions), "nearest" or, in two dimensions, "bicubic".
    padding_mode: what stands outside of the input: "zeros", its "border", or its "reflection".
    align_corners: whether -1 and 1 are the centres of the outermost values, or their outer edges.
    Raises ValueError for unknown modes, RuntimeError for shapes and dtypes that do not fit.

    Example:
        >>> F.grid_sample(minidl.tensor([[[[1.0, 2.0]]]]), minidl.tensor([[[[0.0, 0.0]]]]))
        tensor([[[[1.5000]]]])
    """
    n = _check(input, grid, mode, padding_mode)
    S, corners = tuple(input.shape[2:]), bool(align_corners)
    axes = [
        _read_along(grid[..., n - 1 - d], size, mode, padding_mode, corners) for d, size in enumerate(S)
    ]  # the last dimension of the input is the first coordinate
    out: Any = None
    for taps in itertools.product(*axes):
        index: Any = 0
        weight: Any = 1.0
        for (place, share), size in zip(taps, S, strict=True):
            index, weight = index * size + place, share * weight
        index = array_module(index).broadcast_to(index[:, None], (*input.shape[:2], *index.shape[1:]))
        part = Pick.apply(input, index=index) * weight.unsqueeze(1)
        out = part if out is None else out + part
    return out


def _check(input: Tensor, grid: Tensor, mode: str, padding_mode: str) -> int:
    """The number of spatial dimensions."""
    check_same("grid_sample", input, grid)
    n = input.ndim - 2
    if mode not in TAPS:
        raise ValueError(f"grid_sample(): expected mode to be one of {', '.join(TAPS)}, but got: {mode!r}")
    if padding_mode not in PADDING_MODES:
        raise ValueError(
            f"grid_sample(): expected padding_mode to be one of {', '.join(PADDING_MODES)}, but got: {padding_mode!r}"
        )
    if n not in (2, 3) or grid.ndim != n + 2 or grid.shape[0] != input.shape[0] or grid.shape[-1] != n:
        raise RuntimeError(
            "grid_sample(): expected input (B, C, H, W) and grid (B, H', W', 2), or input (B, C, D, H, W) and grid "
            f"(B, D', H', W', 3), but got input {list(input.shape)} and grid {list(grid.shape)}"
        )
    if mode == "bicubic" and n != 2:
        raise RuntimeError("grid_sample(): bicubic interpolation only supports 4D input; use mode='bilinear'")
    if not all(input.shape[2:]):
        raise RuntimeError(
            f"grid_sample(): expected input to have non-empty spatial dimensions, but got {list(input.shape)}"
        )
    if input.array.dtype.kind not in dtypes.FLOATING or input.array.dtype != grid.array.dtype:
        raise RuntimeError(
            f"grid_sample(): expected input and grid of the same float dtype, but got {input.dtype} and {grid.dtype}"
        )
    return n


def _read_along(coordinate: Tensor, size: int, mode: str, padding_mode: str, corners: bool) -> list[tuple[Any, Tensor]]:
    """For one spatial dimension and each tap: the old place that it reads (B, *P), and how much it counts there."""
    position = (coordinate + 1) * ((size - 1) / 2) if corners else ((coordinate + 1) * size - 1) / 2
    if mode != "bicubic" and padding_mode != "zeros":
        position = _moved_inside(position, size, padding_mode, corners)
    xp, raw = array_module(position.array), position.array
    first = xp.rint(raw) if mode == "nearest" else xp.floor(raw)
    found = []
    for tap, share in zip(TAPS[mode], _shares(position, first, mode), strict=True):
        place = first + tap
        if mode == "bicubic" and padding_mode != "zeros":
            place = _fold(place, size, padding_mode, corners)[0]
        inside, outside = (place >= 0) & (place < size), (place < 0) | (place >= size)  # NaN is neither, and stays NaN
        found.append((xp.where(inside, place, 0).astype(np.int64), where(outside, 0.0, share)))
    return found


def _shares(position: Tensor, first: Any, mode: str) -> list[Any]:
    """How much each tap counts, by the distance of the position from the first of them."""
    if mode == "nearest":
        return [Fill.apply(position, value=1)]
    t = position - first
    if mode == "bilinear":
        return [1 - t, t]
    a = -0.75  # Keys, "Cubic convolution interpolation for digital image processing", 1981

    def near(d: Any) -> Any:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Any) -> Any:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def _moved_inside(position: Tensor, size: int, padding_mode: str, corners: bool) -> Tensor:
    """Positions outside of the input moved into it: to its border, or mirrored at it."""
    inside, slope = _fold(position.array, size, padding_mode, corners)
    # in the neighbourhood of a position, the move is this line
    return where(slope == 0, inside, position * slope + wrap(inside - position.array * slope))


def _fold(x: Any, size: int, padding_mode: str, corners: bool) -> tuple[Any, Any]:
    """Positions moved inside, and the slope of that move: 1, -1 for the mirrored, 0 for the cut off."""
    xp, slope = array_module(x), array_module(x).ones_like(x)
    if padding_mode == "reflection":
        low, span = (0.0, size - 1.0) if corners else (-0.5, float(size))
        away = xp.abs(x - low)
        turns, rest = (xp.floor(away / span), xp.fmod(away, span)) if span else (xp.zeros_like(x), xp.zeros_like(x))
        back = turns % 2 == 1
        slope = xp.where(back, -1, 1) * xp.where(x < low, -1, 1).astype(x.dtype)
        x = xp.where(back, span - rest, rest) + x.dtype.type(low)
    slope = xp.where((x > 0) & (x < size - 1), slope, 0).astype(x.dtype)
    return xp.fmin(xp.fmax(x, 0), size - 1), slope  # NaN becomes 0


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The grid (B, *P, n) for grid_sample that reads an output of `size` (B, C, *P) through affine maps theta (B, n, n + 1).

    A place p of the output is read at theta[:, :, :n] @ p + theta[:, :, n]. Raises ValueError for sizes that do not fit.

    Example:
        >>> F.affine_grid(minidl.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (1, 1, 1, 2))
        tensor([[[[-0.5000,  0.0000],
                  [ 0.5000,  0.0000]]]])
    """
    if theta.array.dtype.kind not in dtypes.FLOATING:
        raise ValueError(f"affine_grid: Expected theta to have floating point type, but got {theta.dtype}")
    n = len(size) - 2
    if n not in (2, 3) or tuple(theta.shape) != (size[0], n, n + 1) or min(size) < 1:
        raise ValueError(
            "affine_grid: Expected positive size (B, C, H, W) and theta (B, 2, 3), or size (B, C, D, H, W) and theta "
            f"(B, 3, 4), but got size {list(size)} and theta {list(theta.shape)}"
        )
    xp, P = array_module(theta.array), tuple(size[2:])
    base = xp.ones((*P, n + 1), theta.array.dtype)
    for d, m in enumerate(P):
        ends = xp.linspace(-1, 1, m) if m > 1 else xp.zeros(1)
        line = ends if align_corners else ends * ((m - 1) / m)
        base[..., n - 1 - d] = line.reshape([-1 if a == d else 1 for a in range(n)])
    return (wrap(base.reshape(-1, n + 1)) @ theta.swapaxes(1, 2)).reshape(size[0], *P, n)


__all__ = ["affine_grid", "grid_sample"]
