"""Between float32 and the two-byte floats: `astype`, which knows bfloat16 on a GPU too.

NumPy's bfloat16 is the package ml_dtypes', whose conversions NumPy calls. CuPy moves such numbers but hardly computes with them,
so there the references take the bits apart, and the fast variants are in cast.cu.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import Kernel, array_module
from .common import FLOAT32, Array, at_least_float32
from .cuda import HALVES, Entry, Source, aligned, blocks, launchable


@Kernel
def widen(x: Array) -> Array:
    """float16 or bfloat16 in float32, exactly; other floats as they are."""
    if x.dtype.kind == "V" and x.__class__ is not np.ndarray:  # a float32 whose lower half is zero
        return (x.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(FLOAT32)
    return at_least_float32(x)


widen.takes_bfloat16 = True


@Kernel
def narrow(x: Array, like: Array) -> Array:
    """x in the dtype of another array, rounded to the nearest, ties to even."""
    if like.dtype.kind == "V" and x.__class__ is not np.ndarray:
        bits = x.view(np.uint32)
        # half of the last place that stays, or a little less before an even one: what carries over rounds up
        rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
        return array_module(x).where(x == x, rounded, np.uint32(0x7FC0)).astype(np.uint16).view(like.dtype)
    return x.astype(like.dtype)


def astype(x: Array, dtype: np.dtype[Any]) -> Array:
    """x.astype(dtype), with bfloat16 on either side and on either device."""
    if x.__class__ is np.ndarray or (x.dtype.kind != "V" and dtype.kind != "V"):
        return x.astype(dtype)
    if x.dtype == dtype:
        return x.copy()
    if x.dtype.kind == "V":
        wide = widen(in_rows(x))
        return wide if dtype == FLOAT32 else wide.astype(dtype)
    wide = x.astype(FLOAT32, copy=False)
    return narrow(wide if wide.flags.c_contiguous else wide.copy(), empty((1,), dtype, x))


def empty(shape: tuple[int, ...], dtype: np.dtype[Any], like: Array) -> Array:
    """New memory beside an array, for numbers of bfloat16 too."""
    xp = array_module(like)
    return xp.empty(shape, np.uint16).view(dtype) if dtype.kind == "V" else xp.empty(shape, dtype)


def in_rows(x: Array) -> Array:
    """x itself or a copy of it, contiguous. As two bytes, of which CuPy makes copies in any layout."""
    return x if x.flags.c_contiguous else x.view(np.uint16).copy().view(x.dtype)


# ---------------------------------------------------------------------------------------------------------------------
# CUDA: see cast.cu

CU = Source(
    "cast.cu",
    Entry("widen_naive", "widen", registers=16, rtol=0, types=HALVES),
    Entry("widen_packed", "widen", registers=40, rtol=0, types=HALVES),
    Entry("narrow_naive", "narrow", registers=16, rtol=0, types=HALVES),
    Entry("narrow_packed", "narrow", registers=48, rtol=0, types=HALVES),
)
PACK = 8  # numbers in 16 bytes


def supports_widen(x: Array) -> bool:
    return x.size > 0 and launchable(x, types=HALVES)


def supports_narrow(x: Array, like: Array) -> bool:
    return x.size > 0 and launchable(x) and launchable(like, types=HALVES)


def launch(name: str, x: Array, out: Array, packed: bool) -> Array:
    """Launch a version for all numbers of x."""
    version, each = ("packed", PACK) if packed and aligned(x, out) else ("naive", 1)
    CU.launch(f"{name}_{version}", blocks(x.size, 256 * each), 256, x, out, x.size)
    return out


@widen.variant("cuda", device="cuda", supports=supports_widen)
def widen_cuda(x: Array) -> Array:
    return launch("widen", x, empty(x.shape, FLOAT32, x), True)


@narrow.variant("cuda", device="cuda", supports=supports_narrow)
def narrow_cuda(x: Array, like: Array) -> Array:
    return launch("narrow", x, empty(x.shape, like.dtype, x), True)


@widen.variant("cuda_naive", device="cuda", supports=supports_widen)
def widen_naive(x: Array) -> Array:
    return launch("widen", x, empty(x.shape, FLOAT32, x), False)


@narrow.variant("cuda_naive", device="cuda", supports=supports_narrow)
def narrow_naive(x: Array, like: Array) -> Array:
    return launch("narrow", x, empty(x.shape, like.dtype, x), False)
