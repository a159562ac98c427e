"""Sums and maxima of a matrix: of each row, of each column, of all of it.

NumPy's own are the CPU's variants. On a GPU they are the first thing that one learns to write: see reduce.cu.
"""

from __future__ import annotations

from . import Kernel, array_module
from .common import Array, at_least_float32
from .cuda import ELEMENTS, Entry, Source, blocks, launchable


@Kernel
def reduce_sum(x: Array, axis: int | None) -> Array:
    """Sum of x (N, D) over an axis: 0 gives (D,), 1 gives (N,), None a scalar; float16 is added up in float32.

    Example:
        >>> import numpy as np
        >>> reduce_sum(np.array([[1.0, 2.0], [3.0, 4.0]]), 0)
        array([4., 6.])
    """
    return at_least_float32(x).sum(axis=axis).astype(x.dtype)


@Kernel
def reduce_max(x: Array, axis: int | None) -> Array:
    """Largest element of x (N, D) over an axis, as in reduce_sum; NaN if there is a NaN.

    Example:
        >>> import numpy as np
        >>> reduce_max(np.array([[1.0, 2.0], [3.0, 4.0]]), 1)
        array([2., 4.])
    """
    return x.max(axis=axis)


CU = Source(
    "reduce.cu",
    Entry("sum_atomic", "reduce_sum", registers=16, types=ELEMENTS),
    Entry("sum_tree", "reduce_sum", registers=16, shared=1024, types=ELEMENTS),
    *(
        Entry(f"{name}_{version}", f"reduce_{name}", registers, shared, types=ELEMENTS)
        for name in ("sum", "max")
        for version, registers, shared in (
            ("all", 64, 128), ("all_finish", 32, 128), ("rows_warp", 64, 0), ("rows_block", 64, 128),
            ("columns", 40, 1024), ("columns_finish", 40, 1024),
        )
    ),
)  # fmt: skip
ALL_BLOCKS, THREADS, WARP_WIDTH, TALL = 1024, 256, 2048, 8


def supports(x: Array, axis: int | None) -> bool:
    return x.ndim == 2 and x.size > 0 and axis in (None, 0, 1) and launchable(x, types=ELEMENTS)


def reduce(name: str, x: Array, axis: int | None) -> Array:
    """Launch the version of "sum" or "max" for an axis."""
    xp, (count, width) = array_module(x), x.shape
    if axis == 1:
        out = xp.empty(count, x.dtype)
        if width <= WARP_WIDTH:
            CU.launch(f"{name}_rows_warp", blocks(count, THREADS // 32), THREADS, x, out, count, width)
        else:
            CU.launch(f"{name}_rows_block", count, THREADS, x, out, count, width)
        return out
    if axis == 0:
        across = blocks(width, 32)
        chunk = max(4 * TALL, blocks(count, blocks(ALL_BLOCKS, across)))
        chunks = blocks(count, chunk)
        partial, out = xp.empty((chunks, width), "float32"), xp.empty(width, x.dtype)
        CU.launch(f"{name}_columns", (across, chunks), (32, TALL), x, partial, count, width, chunk)
        CU.launch(f"{name}_columns_finish", across, (32, TALL), partial, out, chunks, width)
        return out
    partial, out = xp.empty(blocks(x.size, 16 * THREADS, ALL_BLOCKS), "float32"), xp.empty((), x.dtype)
    CU.launch(f"{name}_all", partial.size, THREADS, x, partial, x.size)
    CU.launch(f"{name}_all_finish", 1, THREADS, partial, out, partial.size)
    return out


@reduce_sum.variant("cuda", device="cuda", supports=supports)
def reduce_sum_cuda(x: Array, axis: int | None) -> Array:
    return reduce("sum", x, axis)


@reduce_max.variant("cuda", device="cuda", supports=supports)
def reduce_max_cuda(x: Array, axis: int | None) -> Array:
    return reduce("max", x, axis)


def supports_all(x: Array, axis: int | None) -> bool:
    return axis is None and supports(x, axis)


@reduce_sum.variant("cuda_atomic", device="cuda", supports=supports_all)
def reduce_sum_atomic(x: Array, axis: int | None) -> Array:
    out = array_module(x).zeros((), "float32")
    CU.launch("sum_atomic", blocks(x.size, THREADS), THREADS, x, out, x.size)
    return out.astype(x.dtype)


@reduce_sum.variant("cuda_tree", device="cuda", supports=supports_all)
def reduce_sum_tree(x: Array, axis: int | None) -> Array:
    xp = array_module(x)
    partial, out = xp.empty(blocks(x.size, THREADS), "float32"), xp.empty((), x.dtype)
    CU.launch("sum_tree", partial.size, THREADS, x, partial, x.size)
    CU.launch("sum_all_finish", 1, THREADS, partial, out, partial.size)
    return out
