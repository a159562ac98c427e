"""Images and signals at another size: interpolation, and channels taken for space.

Every interpolation is linear in the input and separable: along each spatial dimension a table says how much of which old values
is in each new one. One operation serves them all, and its gradient is the same one with the transposed tables.

Letters: B batch, C channels, S spatial sizes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.op import Op
from ..autograd.precision import under_autocast
from ..devices import move, of_array
from ..kernels.common import at_least_float32
from ..kernels.resample import Table
from ..kernels.resample import resample as kernel
from ..tensor import Tensor
from ..testing.samples import Sample, samples

MODES = {1: ("nearest", "nearest-exact", "linear", "area"), 2: ("nearest", "nearest-exact", "bilinear", "bicubic", "area"),
         3: ("nearest", "nearest-exact", "trilinear", "area")}  # fmt: skip


class Resample(Op):
    """x (..., *S) with each of its last dimensions made anew by a table; see kernels/resample.py."""

    def forward(self, x: Any, *, tables: tuple[Table, ...]) -> Any:
        self.tables = tables
        if x.__class__ is not np.ndarray:
            tables = tuple(table.placed(lambda a: move(a, of_array(x))) for table in tables)
        wide = at_least_float32(x) if x.dtype.kind == "f" else x
        return kernel(wide, tables).astype(x.dtype, copy=False)

    def backward(self, g: Any) -> Any:
        return Resample.apply(g, tables=tuple([table.T for table in self.tables]))


@samples(Resample)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, 4), tables=(Table.of(make(5, 3)), Table.of(make(2, 4))))
    yield Sample(make(2, 4), tables=(Table.of(make(3, 4)),))
    yield Sample(make(0, 1, 4), tables=(Table.of(make(3, 4)),), note="no batch")
    zeros = np.array([[0.5, 0, 0.5, 0], [0, 0, 0, 0], [0, 0, 0, 2]])
    yield Sample(make(2, 4), tables=(Table.of(zeros),), note="zeros")


# ---------------------------------------------------------------------------------------------------------------------
# Where new positions lie among the old ones


def _sources(old: int, new: int, scale: float | None, align_corners: bool) -> Any:
    """The place of each new position, counted in old ones; scale: old positions per new one."""
    if align_corners:
        return np.arange(new) * ((old - 1) / (new - 1) if new > 1 else 0.0)
    return (np.arange(new) + 0.5) * (old / new if scale is None else scale) - 0.5


@lru_cache(256)
def _linear(old: int, new: int, scale: float | None, align_corners: bool) -> Table:
    """Each new position divides 1 between the two nearest old ones."""
    place = np.maximum(_sources(old, new, scale, align_corners), 0)
    lower = np.minimum(np.floor(place).astype(np.int64), old - 1)
    share = place - lower
    return Table(np.stack([lower, np.minimum(lower + 1, old - 1)]), np.stack([1 - share, share]), old)


@lru_cache(256)
def _cubic(old: int, new: int, scale: float | None, align_corners: bool) -> Table:
    """Each new position spreads over four old ones (Keys, "Cubic convolution interpolation", 1981, a = -0.75)."""
    place = _sources(old, new, scale, align_corners)
    taps = np.floor(place).astype(np.int64) + np.arange(-1, 3)[:, None]
    d, a = np.abs(place - taps), -0.75
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return Table(np.clip(taps, 0, old - 1), np.where(d <= 1, near, far), old)


@lru_cache(256)
def _antialiased(old: int, new: int, scale: float | None, align_corners: bool, cubic: bool) -> Table:
    """Each new position spreads over as many old ones as it covers, by a triangle or a cubic (a = -0.5)."""
    ratio = old / new if scale is None else scale
    if align_corners:
        ratio = (old - 1) / (new - 1) if new > 1 else 0.0
    d = np.abs(np.arange(old) + 0.5 - ratio * (np.arange(new)[:, None] + 0.5)) / max(ratio, 1.0)
    if cubic:
        matrix = np.where(d < 1, (1.5 * d - 2.5) * d * d + 1, np.where(d < 2, ((d - 5) * d + 8) * d - 4, 0) * -0.5)
    else:
        matrix = np.maximum(1 - d, 0)
    return Table.of(matrix / matrix.sum(1, keepdims=True))


@lru_cache(256)
def _nearest(old: int, new: int, scale: float | None, offset: float) -> Table:
    """Each new position is one old one."""
    step = np.float32(old / new if scale is None else scale)  # float32, as PyTorch: it decides ties
    index = np.floor((np.arange(new, dtype=np.float32) + np.float32(offset)) * step).astype(np.int64)
    return Table(np.minimum(index, old - 1)[None], np.ones((1, new)), old)


def _new_sizes(
    input: Tensor, size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[list[int], list[float | None]]:
    """The spatial sizes asked for, and old positions per new one where `scale_factor` says so."""
    n, old = input.ndim - 2, input.shape[2:]
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"interpolate: {'either' if size is None else 'only one of'} size or scale_factor should be defined"
        )
    given = scale_factor if size is None else size
    values = list(given) if isinstance(given, Sequence) else [given] * n
    if len(values) != n:
        raise ValueError(
            f"interpolate: Input and output must have the same number of spatial dimensions, but got input with spatial "
            f"dimensions of {list(old)} and {'scale_factor' if size is None else 'output size'} of {given}"
        )
    if size is not None:
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        sizes = [int(v) for v in values]
        scales: list[float | None] = [None] * n
    else:
        sizes = [int(np.floor(float(o) * float(v))) for o, v in zip(old, values, strict=True)]
        scales = [None if recompute else 1.0 / float(v) for v in values]
    if min(sizes) <= 0 or min(old) <= 0:
        raise RuntimeError(
            f"interpolate: Input and output sizes should be greater than 0, but got input {list(old)} and output {sizes}"
        )
    return sizes, scales


@under_autocast("full on cuda")
def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """input (B, C, *S) resized to `size`, or by `scale_factor` (one number or one per spatial dimension).

    mode: "nearest", "nearest-exact", "area" for any number of dimensions; "linear" (1), "bilinear", "bicubic" (2),
        "trilinear" (3). align_corners: the corners keep their values, instead of the pixels their extent.
    antialias: smaller images are made of all old pixels, not of the nearest few; for "bilinear" and "bicubic".
    Raises ValueError for arguments that contradict each other.

    Example:
        >>> F.interpolate(minidl.tensor([[[0.0, 1.0]]]), size=4, mode="linear")
        tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
    """
    n = input.ndim - 2
    if n not in MODES:
        raise NotImplementedError(f"interpolate: expected 3D, 4D or 5D input (B, C, ...), got {input.ndim}D")
    if mode not in MODES[n]:
        raise NotImplementedError(
            f"interpolate: mode {mode!r} is not for {input.ndim}D input; there: {', '.join(MODES[n])}"
        )
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"interpolate: antialias is for the modes bilinear and bicubic on 4D input, got mode {mode!r}")
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    sizes, scales = _new_sizes(input, size, scale_factor, recompute_scale_factor)
    if mode == "area":
        from .pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[n - 1](input, sizes)
    each = list(zip(input.shape[2:], sizes, scales, strict=True))
    if mode.startswith("nearest"):  # any dtype will do
        offset = 0.5 if mode == "nearest-exact" else 0.0
        return Resample.apply(input, tables=tuple([_nearest(*lengths, offset) for lengths in each]))
    if input.array.dtype.kind not in dtypes.FLOATING:
        raise NotImplementedError(f"interpolate: not implemented for {input.dtype}; convert the input with float()")
    corners = bool(align_corners)
    if antialias:
        tables = [_antialiased(*lengths, corners, mode == "bicubic") for lengths in each]
    else:
        tables = [(_cubic if mode == "bicubic" else _linear)(*lengths, corners) for lengths in each]
    return Resample.apply(input, tables=tuple(tables))


def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """interpolate() under its old name."""
    warnings.warn("upsample is deprecated; use interpolate", UserWarning, stacklevel=2)
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """interpolate(mode="nearest") under its old name."""
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """interpolate(mode="bilinear", align_corners=True) under its old name."""
    return interpolate(input, size, scale_factor, "bilinear", True)


# ---------------------------------------------------------------------------------------------------------------------
# Channels and space


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., C r^2, H, W) as (..., C, H r, W r), for r = upscale_factor (Shi et al., 2016)."""
    r = upscale_factor
    if input.ndim < 3 or r <= 0 or input.shape[-3] % (r * r):
        raise RuntimeError(
            f"pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but "
            f"got an input of shape {list(input.shape)} and upscale_factor={r}"
        )
    *B, C, H, W = input.shape
    split = input.reshape(*B, C // (r * r), r, r, H, W)
    n = len(B)
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return split.permute(*order).reshape(*B, C // (r * r), H * r, W * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(..., C, H r, W r) as (..., C r^2, H, W), for r = downscale_factor: the inverse of pixel_shuffle."""
    r = downscale_factor
    if input.ndim < 3 or r <= 0 or input.shape[-2] % r or input.shape[-1] % r:
        raise RuntimeError(
            f"pixel_unshuffle expects height and width to be divisible by downscale_factor, but got an input of shape "
            f"{list(input.shape)} and downscale_factor={r}"
        )
    *B, C, H, W = input.shape
    split = input.reshape(*B, C, H // r, r, W // r, r)
    n = len(B)
    order = (*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return split.permute(*order).reshape(*B, C * r * r, H // r, W // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels of input (B, C, ...), seen as groups x C / groups, transposed (Zhang et al., 2018)."""
    if input.ndim < 3 or groups <= 0 or input.shape[1] % groups:
        raise RuntimeError(
            f"channel_shuffle: Number of channels must be divisible by groups. Got input of shape {list(input.shape)} and "
            f"groups={groups}"
        )
    B, C, *rest = input.shape
    return input.reshape(B, groups, C // groups, *rest).transpose(1, 2).reshape(B, C, *rest)
