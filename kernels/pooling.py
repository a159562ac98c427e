"""Pooling: what a window of a few neighbours is summed up to, its sum or its largest value.

Windows lie as those of a convolution do (see convolution.py), channel by channel. A window may reach over the padding at the
end, where `positions` asks for more windows than fit: there sums take zeros, and maxima look at what is there. Adaptive windows
cover the input evenly, however many there are. The Numba variants of maxima are in pooling_direct.py; sums are resample.py's,
since a sum over a window is one of sums along each dimension.

Letters: B batch, C channels, S spatial sizes of x, K of the window, P of the result.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from . import Kernel, array_module, pooling_direct
from .accumulate import add_at
from .common import FLOAT32, Array
from .cuda import ELEMENTS, Entry, Source, blocks, launchable
from .resample import Table, resample_numba

Sizes = tuple[int, ...]


@Kernel
def max_pool(
    x: Array, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, positions: Sizes
) -> tuple[Array, Array]:
    """The largest value of each window of x (B, C, *S), and where it is as max_pool_index says; int32 on the CPU.

    Example:
        >>> import numpy as np
        >>> max_pool(np.array([[[1.0, 3.0, 2.0, 5.0]]]), (2,), (2,), (0,), (1,), (2,))[0]
        array([[[3., 5.]]])
    """
    return _picked(x, max_pool_index(x, kernel, stride, padding, dilation, positions))


@Kernel
def max_pool_backward(
    g: Array, index: Array, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> Array:
    """Gradient (B, C, *size) of max_pool's input from that of the largest values, g (B, C, *P), and where they were."""
    return spill(g, index, size)


@Kernel
def max_pool_index(x: Array, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, positions: Sizes) -> Array:
    """Where in x (B, C, *S) the largest value of each window is: int64 (B, C, *P), counted over S in row-major order.

    The first of equal values wins; NaN is larger than all, and the last NaN wins. -1 for a window of padding alone.

    Example:
        >>> import numpy as np
        >>> max_pool_index(np.array([[[1.0, 3.0, 2.0, 5.0]]]), (2,), (2,), (0,), (1,), (2,))
        array([[[1, 3]]])
    """
    xp, size = array_module(x), x.shape[2:]
    lowest = -xp.inf if x.dtype.kind == "f" else xp.iinfo(x.dtype).min
    padded = _padded(x, kernel, stride, padding, dilation, positions, lowest)
    candidates = (
        (padded[:, :, *there], _source(xp, tap, size, stride, padding, dilation, positions))
        for tap, there in _taps(kernel, stride, dilation, positions)
    )
    return _largest(xp, candidates)[1]


@Kernel
def sum_pool(x: Array, kernel: Sizes, stride: Sizes, padding: Sizes, positions: Sizes) -> Array:
    """The sum of each window of x (B, C, *S): (B, C, *P).

    Example:
        >>> import numpy as np
        >>> sum_pool(np.array([[[1.0, 3.0, 2.0, 5.0]]]), (2,), (2,), (0,), (2,))
        array([[[4., 7.]]])
    """
    ones = (1,) * len(kernel)
    padded = _padded(x, kernel, stride, padding, ones, positions, 0)
    out = array_module(x).zeros((*x.shape[:2], *positions), x.dtype)
    for _, there in _taps(kernel, stride, ones, positions):
        out += padded[:, :, *there]
    return out


@Kernel
def sum_pool_backward(g: Array, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes) -> Array:
    """The transpose of sum_pool: every g (B, C, *P) added to each value of its window, to (B, C, *size)."""
    ones, positions = (1,) * len(kernel), g.shape[2:]
    out = _padded(array_module(g).zeros((*g.shape[:2], *size), g.dtype), kernel, stride, padding, ones, positions, 0)
    for _, there in _taps(kernel, stride, ones, positions):
        out[:, :, *there] += g
    return out[:, :, *(slice(p, p + n) for n, p in zip(size, padding, strict=True))]


@Kernel
def pick(x: Array, index: Array) -> Array:
    """The values of x (B, C, *S) at flat indices (B, C, *P) over S."""
    flat = index.reshape(*index.shape[:2], prod(index.shape[2:]))
    return array_module(x).take_along_axis(x.reshape(*x.shape[:2], prod(x.shape[2:])), flat, 2).reshape(index.shape)


@Kernel
def spill(g: Array, index: Array, size: Sizes) -> Array:
    """The transpose of pick: g (B, C, *P) added up at flat indices of (B, C, *size)."""
    xp, rows, n = array_module(g), prod(g.shape[:2]), prod(size)
    out = xp.zeros(rows * n, g.dtype)
    first = (xp.arange(rows) * n).reshape(*g.shape[:2], *(1,) * (index.ndim - 2))
    add_at(out, ((index + first).reshape(-1),), g.reshape(-1))
    return out.reshape(*g.shape[:2], *size)


@Kernel
def adaptive_max_pool(x: Array, positions: Sizes) -> tuple[Array, Array]:
    """The largest value of each of `positions` windows that cover x (B, C, *S) evenly, and where it is, as max_pool.

    Example:
        >>> import numpy as np
        >>> adaptive_max_pool(np.array([[[1.0, 3.0, 2.0]]]), (2,))[0]
        array([[[3., 3.]]])
    """
    xp = array_module(x)
    values, index = x, xp.broadcast_to(xp.arange(prod(x.shape[2:])).reshape(x.shape[2:]), x.shape)
    for axis in reversed(range(2, x.ndim)):  # the first of equal values along the last dimension, then along the others
        places = _adaptive_places(xp, x.shape[axis], positions[axis - 2])
        values, index = _largest(xp, ((values.take(p, axis), index.take(p, axis)) for p, _ in places))
    return _picked(x, index)


@Kernel
def adaptive_max_pool_backward(g: Array, index: Array, size: Sizes) -> Array:
    """Gradient (B, C, *size) of adaptive_max_pool's input from that of the largest values, and where they were."""
    return spill(g, index, size)


@Kernel
def adaptive_sum_pool(x: Array, positions: Sizes) -> Array:
    """The sum of each of `positions` windows that cover x (B, C, *S) evenly: (B, C, *positions).

    Example:
        >>> import numpy as np
        >>> adaptive_sum_pool(np.array([[[1.0, 3.0, 2.0]]]), (2,))
        array([[[4., 5.]]])
    """
    xp = array_module(x)
    for axis, count in enumerate(positions, 2):
        shape = [-1 if a == axis else 1 for a in range(x.ndim)]
        places = _adaptive_places(xp, x.shape[axis], count)
        x = sum(xp.where(new.reshape(shape), x.take(p, axis), x.dtype.type(0)) for p, new in places)
    return x


@Kernel
def adaptive_sum_pool_backward(g: Array, size: Sizes) -> Array:
    """The transpose of adaptive_sum_pool: every g (B, C, *P) added to each value of its window, to (B, C, *size)."""
    xp = array_module(g)
    for axis, n in enumerate(size, 2):
        out = xp.zeros((*g.shape[:axis], n, *g.shape[axis + 1 :]), g.dtype)
        before = (slice(None),) * axis
        shape = [-1 if a == axis else 1 for a in range(g.ndim)]
        for p, new in _adaptive_places(xp, n, g.shape[axis]):  # several windows may begin at one position
            add_at(out, (*before, p), xp.where(new.reshape(shape), g, g.dtype.type(0)))
        g = out
    return g


@Kernel
def fractional_max_index(x: Array, starts: Sequence[Array], kernel: Sizes) -> Array:
    """Where the largest value is of each window of x (B, C, *S): int64 (B, C, *P).

    starts[d] (B, C, P_d) is where the windows begin along spatial dimension d, for each channel its own.

    Example:
        >>> import numpy as np
        >>> fractional_max_index(np.array([[[1.0, 3.0, 2.0, 5.0]]]), [np.array([[[0, 2]]])], (2,))
        array([[[1, 3]]])
    """

    def candidates() -> Iterator[tuple[Array, Array]]:
        for tap in itertools.product(*map(range, kernel)):
            here: Any = 0
            for axis, (start, i, n) in enumerate(zip(starts, tap, x.shape[2:], strict=True)):
                shape = [start.shape[2] if a == axis else 1 for a in range(len(kernel))]
                here = here * n + (start + i).reshape(*x.shape[:2], *shape)
            yield pick(x, here), here

    return _largest(array_module(x), candidates())[1]


def _picked(x: Array, index: Array) -> tuple[Array, Array]:
    """The values at an index, and the index in the type that is kept: CUDA kernels take int64."""
    return pick(x, index), index.astype(np.int32) if array_module(x) is np else index


def _largest(xp: Any, candidates: Iterator[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Of pairs of values (B, C, *P) and places that broadcast to them, the largest and its place; -1 is no place."""
    values, here = next(candidates)
    largest, index = values.copy(), xp.broadcast_to(here, values.shape).copy()
    for values, here in candidates:
        better = (here >= 0) & ((values > largest) | (values != values) | (index < 0))
        largest, index = xp.where(better, values, largest), xp.where(better, here, index)
    return largest, index


def span(i: Any, count: int, size: int) -> tuple[Any, Any]:
    """Start and end of window i of `count` that cover `size` values: as even as whole numbers can be, and overlapping."""
    return i * size // count, -(-(i + 1) * size // count)


def _adaptive_places(xp: Any, size: int, count: int) -> Iterator[tuple[Array, Array]]:
    """The first, second ... position of every window, and whether it is in the window; else it is the window's last."""
    start, end = span(xp.arange(count), count, size)
    for tap in range(-(-size // max(count, 1)) + 1):  # no window is longer
        yield xp.minimum(start + tap, end - 1), start + tap < end


def _taps(kernel: Sizes, stride: Sizes, dilation: Sizes, positions: Sizes) -> Iterator[tuple[Sizes, tuple[slice, ...]]]:
    """Each place within a window, and the slice of the padded input that all windows see there."""
    for tap in itertools.product(*map(range, kernel)):
        each = zip(tap, positions, stride, dilation, strict=True)
        yield tap, tuple(slice(i * d, i * d + (n - 1) * s + 1, s) for i, n, s, d in each)


def _padded(
    x: Array, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, positions: Sizes, value: Any
) -> Array:
    """x with `padding` before it, and behind it as much as the last window needs."""
    each = zip(x.shape[2:], kernel, stride, padding, dilation, positions, strict=True)
    size = [max((m - 1) * s + d * (k - 1) + 1, n + p) for n, k, s, p, d, m in each]
    out = array_module(x).full((*x.shape[:2], *size), value, x.dtype)
    out[:, :, *(slice(p, p + n) for n, p in zip(x.shape[2:], padding, strict=True))] = x
    return out


def _source(
    xp: Any, tap: Sizes, size: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, positions: Sizes
) -> Array:
    """The flat index that each window sees at a tap (*P), or -1 beyond the border."""
    flat, valid = xp.zeros(positions, "int64"), xp.ones(positions, bool)
    for axis, (i, n, s, p, d, m) in enumerate(zip(tap, size, stride, padding, dilation, positions, strict=True)):
        place = (xp.arange(m) * s + i * d - p).reshape([-1 if a == axis else 1 for a in range(len(size))])
        flat, valid = flat * n + place, valid & (place >= 0) & (place < n)
    return xp.where(valid, flat, -1)


# CUDA, for one and two spatial dimensions: see pooling.cu.

CU = Source(
    "pooling.cu",
    Entry("max_pool_index_2d", "max_pool_index", registers=64, types=ELEMENTS),
    Entry("max_pool_2d", "max_pool", registers=64, types=ELEMENTS),
    Entry("max_pool_backward_2d", "max_pool_backward", registers=64, types=ELEMENTS),
    Entry("sum_pool_2d", "sum_pool", registers=64, types=ELEMENTS),
    Entry("sum_pool_backward_2d", "sum_pool_backward", registers=64, types=ELEMENTS),
    Entry("pick_2d", "pick", registers=48, types=ELEMENTS),
    Entry("adaptive_sum_2d", "adaptive_sum_pool", registers=64, types=ELEMENTS),
    Entry("adaptive_sum_backward_2d", "adaptive_sum_pool_backward", registers=64, types=ELEMENTS),
    Entry("adaptive_max_2d", "adaptive_max_pool", registers=64, types=ELEMENTS),
    Entry("adaptive_max_backward_2d", "adaptive_max_pool_backward", registers=64, types=ELEMENTS),
)
THREADS, MOST = 256, 1 << 16


def supports_cuda(x: Array, *rest: Any) -> bool:
    return x.ndim in (3, 4) and x.size > 0 and launchable(x, types=ELEMENTS)


def supports_pick_cuda(x: Array, index: Array) -> bool:
    return supports_cuda(x) and launchable(index, types=("int64",)) and prod(x.shape[2:]) > 0


def planar(*sizes: Sizes) -> list[int]:
    """Sizes of one or two dimensions, one after another, as those of two: a line is a plane of height 1."""
    one = (1,)
    return [n for size in sizes for n in ((*one, *size) if len(size) == 1 else size)]


def geometry(size: Sizes, positions: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> list[int]:
    """H, W, P, Q, kh, kw, sh, sw, ph, pw, dh, dw."""
    pads = padding if len(padding) == 2 else (0, *padding)
    return [*planar(size, positions, kernel, stride), *pads, *planar(dilation)]


def launch(entry: str, out: Array, *arguments: Any, threads: int = 1) -> Array:
    """Launch with a thread, or `threads` of them, for each element of out, which is among the arguments."""
    if out.size:
        CU.launch(entry, blocks(out.size * threads, THREADS, MOST), THREADS, *arguments)
    return out


@max_pool_index.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def max_pool_index_cuda(
    x: Array, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, positions: Sizes
) -> Array:
    index = array_module(x).empty((*x.shape[:2], *positions), "int64")
    numbers = geometry(x.shape[2:], positions, kernel, stride, padding, dilation)
    return launch("max_pool_index_2d", index, x, index, index.size, *numbers)


@max_pool.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def max_pool_cuda(
    x: Array, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, positions: Sizes
) -> tuple[Array, Array]:
    xp, shape = array_module(x), (*x.shape[:2], *positions)
    out, index = xp.empty(shape, x.dtype), xp.empty(shape, "int64")
    numbers = geometry(x.shape[2:], positions, kernel, stride, padding, dilation)
    return launch("max_pool_2d", out, x, out, index, out.size, *numbers), index


def supports_max_backward_cuda(g: Array, index: Array, size: Sizes, *rest: Any) -> bool:
    return supports_cuda(g) and launchable(index, types=("int64",)) and prod(size) > 0


@max_pool_backward.variant("cuda", device="cuda", supports=supports_max_backward_cuda, copies=True)
def max_pool_backward_cuda(
    g: Array, index: Array, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> Array:
    dx = array_module(g).empty((*g.shape[:2], *size), g.dtype)
    numbers = geometry(size, g.shape[2:], kernel, stride, padding, dilation)
    return launch("max_pool_backward_2d", dx, g, index, dx, dx.size, *numbers)


@sum_pool.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def sum_pool_cuda(x: Array, kernel: Sizes, stride: Sizes, padding: Sizes, positions: Sizes) -> Array:
    out = array_module(x).empty((*x.shape[:2], *positions), x.dtype)
    pads = padding if len(padding) == 2 else (0, *padding)
    return launch("sum_pool_2d", out, x, out, out.size, *planar(x.shape[2:], positions, kernel, stride), *pads)


@sum_pool_backward.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def sum_pool_backward_cuda(g: Array, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes) -> Array:
    dx = array_module(g).empty((*g.shape[:2], *size), g.dtype)
    pads = padding if len(padding) == 2 else (0, *padding)
    return launch("sum_pool_backward_2d", dx, g, dx, dx.size, *planar(size, g.shape[2:], kernel, stride), *pads)


@pick.variant("cuda", device="cuda", supports=supports_pick_cuda, copies=True)
def pick_cuda(x: Array, index: Array) -> Array:
    out = array_module(x).empty(index.shape, x.dtype)
    return launch("pick_2d", out, x, index, out, out.size, prod(x.shape[2:]), prod(index.shape[2:]))


def supports_adaptive_cuda(x: Array, positions: Sizes) -> bool:
    return supports_cuda(x) and prod(positions) > 0


@adaptive_sum_pool.variant("cuda", device="cuda", supports=supports_adaptive_cuda, copies=True)
def adaptive_sum_pool_cuda(x: Array, positions: Sizes) -> Array:
    out = array_module(x).empty((*x.shape[:2], *positions), x.dtype)
    return launch("adaptive_sum_2d", out, x, out, out.size, *planar(x.shape[2:], positions), threads=32)


@adaptive_sum_pool_backward.variant("cuda", device="cuda", supports=supports_adaptive_cuda, copies=True)
def adaptive_sum_pool_backward_cuda(g: Array, size: Sizes) -> Array:
    dx = array_module(g).empty((*g.shape[:2], *size), g.dtype)
    return launch("adaptive_sum_backward_2d", dx, g, dx, dx.size, *planar(size, g.shape[2:]))


@adaptive_max_pool.variant("cuda", device="cuda", supports=supports_adaptive_cuda, copies=True)
def adaptive_max_pool_cuda(x: Array, positions: Sizes) -> tuple[Array, Array]:
    xp, shape = array_module(x), (*x.shape[:2], *positions)
    out, index = xp.empty(shape, x.dtype), xp.empty(shape, "int64")
    numbers = planar(x.shape[2:], positions)
    return launch("adaptive_max_2d", out, x, out, index, out.size, *numbers, threads=32), index


@adaptive_max_pool_backward.variant("cuda", device="cuda", supports=supports_max_backward_cuda, copies=True)
def adaptive_max_pool_backward_cuda(g: Array, index: Array, size: Sizes) -> Array:
    dx = array_module(g).empty((*g.shape[:2], *size), g.dtype)
    return launch("adaptive_max_backward_2d", dx, g, index, dx, dx.size, *planar(size, g.shape[2:]))


# Numba


def supports(x: Array, *rest: Any) -> bool:
    return x.dtype == FLOAT32 and 3 <= x.ndim <= 5 and x.size > 0


def supports_windows(x: Array, *rest: Any) -> bool:
    return supports(x) and prod(rest[-1]) > 0


def supports_index(g: Array, index: Array, *rest: Any) -> bool:
    return supports(g) and index.dtype == np.int32


@lru_cache(256)
def windows(size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, positions: Sizes) -> tuple[Table, ...]:
    """Windows of one size: the sum over one is made of sums along each dimension."""
    each = zip(size, kernel, stride, padding, positions, strict=True)
    return tuple(_ones(np.arange(m) * s - p + np.arange(k)[:, None], n) for n, k, s, p, m in each)


@lru_cache(256)
def even_windows(size: Sizes, positions: Sizes) -> tuple[Table, ...]:
    """Windows that cover the input evenly."""
    found = []
    for n, m in zip(size, positions, strict=True):
        start, end = span(np.arange(m), m, n)
        taps = start + np.arange((end - start).max())[:, None]
        found.append(_ones(np.where(taps < end, taps, n), n))
    return tuple(found)


def _ones(places: Array, size: int) -> Table:
    """The table of places (K, new), of which those outside of 0 ... size - 1 do not count."""
    inside = (places >= 0) & (places < size)
    return Table(np.where(inside, places, 0), inside.astype(float), size)


def transposed(tables: tuple[Table, ...]) -> tuple[Table, ...]:
    return tuple([table.T for table in tables])


@max_pool.variant("numba", device="cpu", supports=supports_windows)
def max_pool_numba(
    x: Array, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, positions: Sizes
) -> tuple[Array, Array]:
    seen, _ = pooling_direct.fixed(x.shape[2:], kernel, stride, padding, dilation, positions)
    return pooling_direct.largest(x, seen, positions)


@max_pool_backward.variant("numba", device="cpu", supports=supports_index)
def max_pool_backward_numba(
    g: Array, index: Array, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> Array:
    _, seen_by = pooling_direct.fixed(size, kernel, stride, padding, dilation, g.shape[2:])
    return pooling_direct.chosen(g, index, seen_by, size)


@sum_pool.variant("numba", device="cpu", supports=supports_windows)
def sum_pool_numba(x: Array, kernel: Sizes, stride: Sizes, padding: Sizes, positions: Sizes) -> Array:
    return resample_numba(x, windows(x.shape[2:], kernel, stride, padding, positions))


@sum_pool_backward.variant("numba", device="cpu", supports=supports)
def sum_pool_backward_numba(g: Array, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes) -> Array:
    return resample_numba(g, transposed(windows(size, kernel, stride, padding, g.shape[2:])))


@adaptive_max_pool.variant("numba", device="cpu", supports=supports_windows)
def adaptive_max_pool_numba(x: Array, positions: Sizes) -> tuple[Array, Array]:
    return pooling_direct.largest(x, pooling_direct.adaptive(x.shape[2:], positions)[0], positions)


@adaptive_max_pool_backward.variant("numba", device="cpu", supports=supports_index)
def adaptive_max_pool_backward_numba(g: Array, index: Array, size: Sizes) -> Array:
    return pooling_direct.chosen(g, index, pooling_direct.adaptive(size, g.shape[2:])[1], size)


@adaptive_sum_pool.variant("numba", device="cpu", supports=supports_windows)
def adaptive_sum_pool_numba(x: Array, positions: Sizes) -> Array:
    return resample_numba(x, even_windows(x.shape[2:], positions))


@adaptive_sum_pool_backward.variant("numba", device="cpu", supports=supports_windows)
def adaptive_sum_pool_backward_numba(g: Array, size: Sizes) -> Array:
    return resample_numba(g, transposed(even_windows(size, g.shape[2:])))
