"""Several values on one element: writing by an index that names it several times, and running results.

NumPy's ufuncs have `at` and `accumulate` for it, CuPy's only some of them and for some data types; here is the rest. On a
GPU the order in which `at` adds is not the same at every run, so that sums of floats may differ in their last bits, unless
determinism.py says that they must not.

Source of the running results on a GPU: Hillis and Steele, "Data parallel algorithms", 1986.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import array_module, determinism
from .common import Array, at_least_float32
from .cuda import capturing

ATOMIC = {"add": "ilqILQefd", "maximum": "ilqILQ", "minimum": "ilqILQ"}  # the dtypes of CuPy's `at`, where it is exact


def add_at(out: Array, index: tuple[Array, ...], values: Any) -> None:
    """out[index] += values. float16, small integers and complex numbers on a GPU, too."""
    if out.dtype.kind == "c" and array_module(out) is not np:
        add_at(out.real, index, values.real)
        add_at(out.imag, index, values.imag)
    elif determinism.required(out):
        add_in_order(out, index, values)
    else:
        _at("add", out, index, values)


def add_in_order(out: Array, index: tuple[Array, ...], values: Any) -> None:
    """out[index] += values on a GPU, with the same bits at every run: sorted by place, then each place's in pairs of pairs."""
    xp = array_module(out)
    if capturing(out):  # sorting waits, and nothing may
        determinism.refuse("adding to elements by an index, within a CUDA graph,", "(it sorts them)")
        _at("add", out, index, values)
        return
    places = xp.arange(out.size).reshape(out.shape)[index]
    values = xp.broadcast_to(xp.asarray(values, out.dtype), places.shape).reshape(-1)
    order = xp.argsort(places.reshape(-1), kind="stable")
    places, sums, step = places.reshape(-1)[order], at_least_float32(values[order]), 1
    while step < places.size:  # each sum takes in those that end `step` before it, if they belong to the same place
        sums[step:] += xp.where(places[step:] == places[:-step], sums[:-step], 0)
        step *= 2
    numbers = xp.arange(out.size)
    first, end = (xp.searchsorted(places, numbers, side=side) for side in ("left", "right"))
    if places.size:
        total = xp.where(end > first, sums[xp.maximum(end - 1, 0)], 0)
        out += total.reshape(out.shape).astype(out.dtype)


def put_last(out: Array, index: tuple[Array, ...], values: Array) -> None:
    """out[index] = values on a GPU; of several values for one element the last stays, as on the CPU."""
    xp = array_module(out)
    places = xp.arange(out.size).reshape(out.shape)[index]
    values = xp.broadcast_to(values, places.shape).reshape(-1)
    if values.size:
        turn = xp.full(out.size, -1)
        xp.maximum.at(turn, places.reshape(-1), xp.arange(values.size))
        out[...] = xp.where(turn >= 0, values[xp.maximum(turn, 0)], out.reshape(-1)).reshape(out.shape)


def maximum_at(out: Array, index: tuple[Array, ...], values: Any) -> None:
    """out[index] = max(out[index], values); NaN if one of them is."""
    _extremum_at("maximum", out, index, values)


def minimum_at(out: Array, index: tuple[Array, ...], values: Any) -> None:
    """out[index] = min(out[index], values); NaN if one of them is."""
    _extremum_at("minimum", out, index, values)


def _extremum_at(name: str, out: Array, index: tuple[Array, ...], values: Any) -> None:
    """CuPy's maximum.at and minimum.at round float64 to float32 and drop NaN; those of integers are exact."""
    if array_module(out) is np or out.dtype.kind != "f":
        _at(name, out, index, values)
        return
    wide = out if out.itemsize > 2 else out.astype(np.float32)  # float16
    keys = in_order(wide, name)
    _at(name, keys, index, in_order(values.astype(wide.dtype), name))
    out[...] = from_order(keys, wide.dtype)


def in_order(x: Array, name: str) -> Array:
    """Floats as integers that compare as they do, because the bits of positive floats do. NaN wins the maximum or minimum."""
    xp, kind = array_module(x), np.dtype(f"i{x.itemsize}")
    bits, limits = xp.ascontiguousarray(x).view(kind), np.iinfo(kind)
    keys = xp.where(bits < 0, bits ^ limits.max, bits)  # of negative numbers all but the sign turned over
    return xp.where(xp.isnan(x), limits.max if name == "maximum" else limits.min, keys).reshape(x.shape)


def from_order(keys: Array, dtype: Any) -> Array:
    """The floats again."""
    return array_module(keys).where(keys < 0, keys ^ np.iinfo(keys.dtype).max, keys).view(dtype)


def _at(name: str, out: Array, index: tuple[Array, ...], values: Any) -> None:
    xp = array_module(out)
    function = getattr(xp, name)
    if xp is np or out.dtype.char in ATOMIC[name]:
        function.at(out, index, values)
        return
    wide = out.astype(
        np.float32 if out.dtype.kind == "f" else np.int64
    )  # int64 wraps around to the right small integer
    function.at(wide, index, values.astype(wide.dtype))
    out[...] = wide


def multiply_at(out: Array, index: tuple[Array, ...], values: Array) -> None:
    """out[index] *= values."""
    xp = array_module(out)
    if xp is np:
        np.multiply.at(out, index, values)
        return
    # CuPy has no multiply.at: in each round every element that has factors left takes one, the last of them
    places = xp.arange(out.size).reshape(out.shape)[index]
    factors = xp.broadcast_to(values, places.shape).reshape(-1)
    places, left = places.reshape(-1), xp.arange(places.size)
    result = out.reshape(-1)
    while left.size:
        turn = xp.full(out.size, -1)
        xp.maximum.at(turn, places[left], left)
        taken = turn[places[left]] == left
        result[places[left[taken]]] *= factors[left[taken]]
        left = left[~taken]
    out[...] = result.reshape(out.shape)


def accumulate(function: str, x: Array, axis: int) -> Array:
    """The running results of a ufunc that is associative: np.maximum.accumulate and the like, of "maximum"."""
    xp = array_module(x)
    if xp is np:
        return getattr(np, function).accumulate(x, axis)
    x, step = xp.moveaxis(x, axis, 0), 1
    while step < len(x):  # each result covers twice as many elements as before
        x = xp.concatenate([x[:step], getattr(xp, function)(x[step:], x[:-step])])
        step *= 2
    return xp.moveaxis(x, 0, axis)
