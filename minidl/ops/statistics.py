"""Quantiles, the most frequent value, histograms."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import devices
from ..autograd.op import Op, wrap
from ..autograd.precision import under_autocast
from ..kernels import array_module, determinism
from ..kernels.accumulate import accumulate
from ..tensor import Tensor, method
from .axes import axes_of, check_not_empty
from .define import result_type
from .gather import gather
from .selection import where
from .shape import normalize_dim
from .sorting import argsort, median

INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


@method()
@under_autocast("full on cpu")
def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The value below which the share q of the elements lies, of all or along `dim`; NaN if there is a NaN.

    q: a number in [0, 1] or a 1-d tensor of them, whose dimension comes first in the result.
    interpolation: what to return between two elements: "linear", "lower", "higher", "midpoint" or "nearest".

    Example:
        >>> minidl.quantile(minidl.tensor([0.0, 1.0, 4.0]), 0.75)
        tensor(2.5000)
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation)


@method()
def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """quantile() of the elements that are not NaN."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation)


def _quantile(name: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str) -> Tensor:
    q = _check_quantile(name, input, q, interpolation)
    along = 0 if dim is None else normalize_dim(dim, input.array.ndim, name)
    check_not_empty(input, axes_of(input, dim, name), name)
    x = input.reshape(-1) if dim is None or not input.array.ndim else input.movedim(along, -1)
    order = argsort(x, -1)  # NaN last
    n = x.array.shape[-1]
    xp = array_module(x.array)
    numbers = n - xp.isnan(x.array).sum(-1, keepdims=True)
    if name == "nanquantile":
        rank = q.reshape(-1) * xp.maximum(numbers - 1, 0).astype(x.array.dtype)  # (..., Q)
    else:
        rank = where(numbers < n, n - 1.0, q.reshape(-1) * float(n - 1))
    result = _between(x, order, rank, interpolation)
    if keepdim:
        shape = [1] * input.array.ndim if dim is None else [1 if d == along else m for d, m in enumerate(input.shape)]
    else:
        shape = list(x.array.shape[:-1])
    return result.movedim(-1, 0).reshape(*q.array.shape, *shape)


def _check_quantile(name: str, input: Tensor, q: Any, interpolation: str) -> Tensor:
    """q as a tensor."""
    if input.array.dtype not in (np.float32, np.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype, got {input.dtype}")
    if interpolation not in INTERPOLATIONS:
        raise RuntimeError(f"{name}() interpolation must be one of {', '.join(INTERPOLATIONS)}, got {interpolation!r}")
    q = q if isinstance(q, Tensor) else wrap(devices.move(np.asarray(q, input.array.dtype), input.device))
    devices.check_same(name, input, q)
    if q.array.dtype != input.array.dtype or q.array.ndim > 1:
        raise RuntimeError(
            f"{name}() q must be a number or a 1D tensor of the dtype of the input, {input.dtype}; got {q.dtype} of shape "
            f"{list(q.shape)}"
        )
    if not ((q.array >= 0) & (q.array <= 1)).all():
        raise RuntimeError(f"{name}() q must be in the range [0, 1], got {q.tolist()}")
    return q


def _between(x: Tensor, order: Tensor, rank: Tensor, interpolation: str) -> Tensor:
    """The elements of these (fractional) ranks in an ordering along the last dimension."""
    xp = array_module(rank.array)
    ranks = xp.broadcast_to(rank.array, (*x.array.shape[:-1], rank.array.shape[-1]))

    def at(whole: Any) -> Tensor:
        return gather(x, -1, gather(order, -1, wrap(whole.astype(np.int64))))

    if interpolation == "nearest":
        return at(xp.round(ranks))
    below = xp.floor(ranks)
    if interpolation == "lower":
        return at(below)
    above = at(xp.ceil(ranks))
    if interpolation == "higher":
        return above
    low = at(below)
    return low + (above - low) * (0.5 if interpolation == "midpoint" else rank - below)


# ---------------------------------------------------------------------------------------------------------------------
# Values by their rank or frequency


def _along(input: Tensor, dim: int, index: Any, keepdim: bool) -> tuple[Tensor, Tensor]:
    """The elements that an index (of size 1 along `dim`) names, and the index."""
    places = wrap(index)
    values = gather(input, dim, places)
    return (values, places) if keepdim or not input.array.ndim else (values.squeeze(dim), places.squeeze(dim))


NANMEDIAN, MODE = result_type("nanmedian", "values", "indices"), result_type("mode", "values", "indices")


@method()
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """median() of the elements that are not NaN. With `dim`, (values, indices) along it."""
    if dim is None:
        flat = input.reshape(-1)
        return nanmedian(flat, 0).values if flat.array.size else median(flat)
    dim = normalize_dim(dim, input.array.ndim, "nanmedian")
    check_not_empty(input, axes_of(input, dim, "nanmedian"), "nanmedian")
    order = argsort(input, dim).array
    if input.array.ndim:  # NaN sorts last
        xp = array_module(order)
        numbers = (~xp.isnan(input.array)).sum(dim, keepdims=True)
        order = xp.take_along_axis(order, xp.maximum(numbers - 1, 0) // 2, dim)
    return NANMEDIAN(*_along(input, dim, order, keepdim))


class ModeAt(Op):
    """Where the most frequent value along a dimension stands last; the smallest one if several are."""

    def forward(self, x: Any, *, dim: int) -> Any:
        xp = array_module(x)
        order = xp.argsort(x, axis=dim, kind="stable")
        ordered = xp.moveaxis(xp.take_along_axis(x, order, dim), dim, -1)
        place = xp.arange(ordered.shape[-1])
        starts = xp.ones(ordered.shape, bool)
        starts[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
        length = place - accumulate("maximum", xp.where(starts, place, 0), -1)  # of the run that ends here
        best = xp.moveaxis(length.argmax(-1, keepdims=True), -1, dim)
        return xp.take_along_axis(order, best, dim)


@method()
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """(values, indices) of the most frequent value along `dim`, the smallest of several; the index of its last place."""
    dim = normalize_dim(dim, input.array.ndim, "mode")
    check_not_empty(input, axes_of(input, dim, "mode"), "mode")
    index = ModeAt.apply(input, dim=dim).array if input.array.ndim else array_module(input.array).zeros((), np.int64)
    return MODE(*_along(input, dim, index, keepdim))


@method()
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements fall into each of `bins` equal intervals from min to max (default: the data's)."""
    if bins < 1 or min > max:
        raise RuntimeError(f"histc: expected bins > 0 and min <= max, got bins = {bins}, min = {min}, max = {max}")
    x = input.array.reshape(-1)
    low, high = (min, max) if min != max or not x.size else (float(x.min()), float(x.max()))
    _check_finite("histc", low, high)
    if low == high:
        low, high = low - 1, high + 1
    counts, _ = array_module(x).histogram(x, bins, (low, high))
    return wrap(counts.astype(x.dtype))


def _check_finite(name: str, low: float, high: float) -> None:
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RuntimeError(f"{name}: range of [{low}, {high}] is not finite; give a range, or take NaN out first")


HISTOGRAM = result_type("histogram", "hist", "bin_edges")


@method()
def histogram(
    input: Tensor, bins: Any, *, range: Any = None, weight: Tensor | None = None, density: bool = False
) -> Any:
    """(hist, bin_edges): how many elements, or what weight of them, fall into each bin.

    bins: the number of equal bins between range's two ends (default: the data's), or the edges as a 1-d tensor. Each bin
        holds its left edge, the last one both.
    density: divide by the total and by the bins' widths, so that the integral is 1.
    """
    x = input.array.reshape(-1)
    if isinstance(bins, Tensor):
        edges = bins.array
    else:
        low, high = range or ((float(x.min()), float(x.max())) if x.size else (0, 1))
        _check_finite("histogram", low, high)
        edges = devices.move(np.histogram_bin_edges((), bins, (low, high)).astype(x.dtype), input.device)
    weights = None if weight is None else weight.array.reshape(-1)
    if weights is not None and determinism.required(x):
        determinism.refuse("histogram with weights on a GPU")
    hist, _ = array_module(x).histogram(x, edges, weights=weights, density=density)
    return HISTOGRAM(wrap(hist.astype(x.dtype)), wrap(edges))


HISTOGRAMDD = result_type("histogramdd", "hist", "bin_edges")


def histogramdd(
    input: Tensor, bins: Any, *, range: Any = None, weight: Tensor | None = None, density: bool = False
) -> Any:
    """(hist, bin_edges): how many of the points input (..., D), or what weight of them, fall into each cell of a grid.

    bins: the number of equal bins in each dimension, one for all or D of them, between the ends that `range` gives as D
    pairs in a row (default: the data's); or D tensors of edges. density: divide by the total and by the cells' volumes.
    """
    x = input.array.reshape(-1, input.shape[-1])
    counts = bins if isinstance(bins, (list, tuple)) else [bins] * x.shape[1]
    if len(counts) != x.shape[1] or (range is not None and len(range) != 2 * x.shape[1]):
        raise RuntimeError(
            f"histogramdd: expected bins for {x.shape[1]} dimensions and two ends of range for each, got {len(counts)} and "
            f"{range}"
        )
    ends = None if range is None else list(zip(range[::2], range[1::2], strict=True))
    edges = []
    for d, n in enumerate(counts):
        if isinstance(n, Tensor):
            edges.append(n.array)
        else:
            low, high = ends[d] if ends else (float(x[:, d].min()), float(x[:, d].max())) if x.size else (0, 1)
            _check_finite("histogramdd", low, high)
            edges.append(devices.move(np.histogram_bin_edges((), n, (low, high)).astype(x.dtype), input.device))
    weights = None if weight is None else weight.array.reshape(-1)
    if weights is not None and determinism.required(x):
        determinism.refuse("histogram with weights on a GPU")
    hist, _ = array_module(x).histogramdd(x, edges, weights=weights, density=density)
    return HISTOGRAMDD(wrap(hist.astype(x.dtype)), tuple(map(wrap, edges)))


__all__ = ["histc", "histogram", "histogramdd", "mode", "nanmedian", "nanquantile", "quantile"]
