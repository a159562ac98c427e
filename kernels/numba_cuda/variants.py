"""How the kernels of this folder are launched: grids, blocks and results, as variants of the kernels of kernels/*.py.

What a variant does not support, the reference computes. Grids are small here: a block for some hundred elements, so that a
simulated run ends soon; a GPU would be given more per block.
"""

from __future__ import annotations

from typing import Any

from .. import array_module, determinism
from ..activation import bias_activation, relu
from ..attention import attention
from ..common import Array, rows
from ..cuda import blocks, launchable
from ..gemm import gemm
from ..int8 import gemm_int8
from ..layernorm import layer_norm
from ..layout import row_major
from ..reduce import sum_axes
from ..scan import histogram, prefix_sum
from ..softmax import softmax
from ..sparse import spmm
from . import launch

MOST_BLOCKS = 1024  # of kernels that stride over the rest
WIDEST, MOST_VALUES = 128, 1024  # as in attention.py and histogram.py


def supports_flat(x: Array) -> bool:
    return x.size > 0 and launchable(x)


@relu.variant("numba_cuda_naive", device="cuda", supports=supports_flat)
def relu_naive(x: Array) -> Array:
    out = array_module(x).empty_like(x)
    launch("elementwise.relu", blocks(x.size, 128), 128, x.reshape(-1), out.reshape(-1))
    return out


@relu.variant("numba_cuda", device="cuda", supports=supports_flat)
def relu_stride(x: Array) -> Array:
    out = array_module(x).empty_like(x)
    launch("elementwise.relu_stride", blocks(x.size, 4 * 128, MOST_BLOCKS), 128, x.reshape(-1), out.reshape(-1))
    return out


def supports_bias_relu(x: Array, bias: Array, activation: str) -> bool:
    return activation == "relu" and x.size > 0 and x.shape[-1:] == bias.shape and launchable(x, bias)


@bias_activation.variant("numba_cuda", device="cuda", supports=supports_bias_relu)
def bias_relu(x: Array, bias: Array, activation: str) -> Array:
    out, table = array_module(x).empty_like(x), rows(x)
    grid = (blocks(table.shape[1], 32), blocks(table.shape[0], 4))
    launch("elementwise.bias_relu", grid, (32, 4), table, bias, rows(out))
    return out


def supports_sum(x: Array, axes: tuple[int, ...], keepdim: bool) -> bool:
    return len(axes) == x.ndim and supports_flat(x)


def total(version: str, grid: int, x: Array, keepdim: bool) -> Array:
    """A sum of all elements, by a version of reduce.py, which adds to the 0 that is there."""
    determinism.refuse(f"sum_axes by the Numba kernel {version}")
    out = array_module(x).zeros(1, x.dtype)
    launch(f"reduce.{version}", grid, 128, x.reshape(-1), out)
    return out.reshape((1,) * x.ndim if keepdim else ())


@sum_axes.variant("numba_cuda_atomic", device="cuda", supports=supports_sum)
def sum_atomic(x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
    return total("sum_atomic", blocks(x.size, 128), x, keepdim)


@sum_axes.variant("numba_cuda_tree", device="cuda", supports=supports_sum)
def sum_tree(x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
    return total("sum_tree", blocks(x.size, 128), x, keepdim)


@sum_axes.variant("numba_cuda", device="cuda", supports=supports_sum)
def sum_warps(x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
    return total("sum_warps", blocks(x.size, 4 * 128, MOST_BLOCKS), x, keepdim)


def supports_transposed(x: Array) -> bool:
    return x.ndim == 2 and x.size > 0 and not x.flags.c_contiguous and launchable(x.T)


def transposed(version: str, tile: tuple[int, int], x: Array) -> Array:
    """x, whose transpose lies in row-major order, in row-major order."""
    a, out = x.T, array_module(x).empty(x.shape, x.dtype)
    launch(f"transpose.{version}", (blocks(a.shape[1], tile[0]), blocks(a.shape[0], tile[1])), (32, 8), a, out)
    return out


@row_major.variant("numba_cuda_naive", device="cuda", supports=supports_transposed)
def transpose_naive(x: Array) -> Array:
    return transposed("transpose", (32, 8), x)


@row_major.variant("numba_cuda", device="cuda", supports=supports_transposed)
def transpose_tiled(x: Array) -> Array:
    return transposed("transpose_tiled", (32, 32), x)


def supports_gemm(a: Array, b: Array, bias: Array | None) -> bool:
    return bias is None and a.ndim == b.ndim == 2 and a.size > 0 and b.size > 0 and launchable(a, b)


def product(version: str, a: Array, b: Array) -> Array:
    if a.shape[1] != b.shape[0]:
        raise ValueError(f"gemm: the matrices {list(a.shape)} and {list(b.shape)} do not fit")
    out = array_module(a).empty((a.shape[0], b.shape[1]), a.dtype)
    launch(f"gemm.{version}", (blocks(b.shape[1], 16), blocks(a.shape[0], 16)), (16, 16), a, b, out)
    return out


@gemm.variant("numba_cuda_naive", device="cuda", supports=supports_gemm)
def gemm_naive(a: Array, b: Array, bias: Array | None) -> Array:
    return product("gemm", a, b)


@gemm.variant("numba_cuda", device="cuda", supports=supports_gemm)
def gemm_tiled(a: Array, b: Array, bias: Array | None) -> Array:
    return product("gemm_tiled", a, b)


def supports_rows(x: Array, axis: int) -> bool:
    return x.ndim > 0 and axis in (-1, x.ndim - 1) and supports_flat(x)


@softmax.variant("numba_cuda_naive", device="cuda", supports=supports_rows)
def softmax_naive(x: Array, axis: int) -> Array:
    out = array_module(x).empty_like(x)
    launch("softmax.softmax", blocks(rows(x).shape[0], 64), 64, rows(x), rows(out))
    return out


@softmax.variant("numba_cuda", device="cuda", supports=supports_rows)
def softmax_block(x: Array, axis: int) -> Array:
    out = array_module(x).empty_like(x)
    launch("softmax.softmax_block", rows(x).shape[0], 64, rows(x), rows(out))
    return out


def supports_norm(x: Array, weight: Array | None, bias: Array | None, eps: float) -> bool:
    return x.ndim == 2 and x.size > 0 and launchable(x, weight, bias)


@layer_norm.variant("numba_cuda", device="cuda", supports=supports_norm)
def layer_norm_block(x: Array, weight: Array | None, bias: Array | None, eps: float) -> tuple[Array, Array, Array]:
    xp, (count, width) = array_module(x), x.shape
    weight = xp.ones(width, x.dtype) if weight is None else weight
    bias = xp.zeros(width, x.dtype) if bias is None else bias
    out, mean, rstd = xp.empty_like(x), xp.empty(count, x.dtype), xp.empty(count, x.dtype)
    launch("layernorm.layer_norm", count, 64, x, weight, bias, float(eps), out, mean, rstd)
    return out, mean, rstd


@prefix_sum.variant("numba_cuda", device="cuda", supports=lambda x: x.ndim == 1 and supports_flat(x))
def prefix_sum_blocks(x: Array) -> Array:
    """Scan the blocks, scan their totals by the same routine, and add what stands before each block."""
    xp, count = array_module(x), blocks(x.size, 64)
    out, totals = xp.empty_like(x), xp.empty(count, x.dtype)
    launch("scan.scan_block", count, 64, x, out, totals)
    if count > 1:
        launch("scan.add_totals", count, 64, out, prefix_sum_blocks(totals))
    return out


def supports_histogram(keys: Array, count: int) -> bool:
    return keys.ndim == 1 and keys.size > 0 and keys.dtype.kind in "iu"


@histogram.variant("numba_cuda_naive", device="cuda", supports=supports_histogram)
def histogram_naive(keys: Array, count: int) -> Array:
    counts = array_module(keys).zeros(count, "int64")
    launch("histogram.histogram", blocks(keys.size, 4 * 64, MOST_BLOCKS), 64, keys, counts)
    return counts


def supports_private(keys: Array, count: int) -> bool:
    return count <= MOST_VALUES and supports_histogram(keys, count)


@histogram.variant("numba_cuda", device="cuda", supports=supports_private)
def histogram_private(keys: Array, count: int) -> Array:
    counts = array_module(keys).zeros(count, "int64")
    launch("histogram.histogram_private", blocks(keys.size, 4 * 64, MOST_BLOCKS), 64, keys, counts)
    return counts


def supports_sparse(values: Array, dense: Array, pointers: Array, indices: Array, cuts: Array | None = None) -> bool:
    full = pointers.size > 1 and (dense.ndim == 1 or dense.shape[1] > 0)
    return dense.ndim <= 2 and full and launchable(values, dense)


def times_sparse(version: str, grid: Any, values: Array, dense: Array, pointers: Array, indices: Array) -> Array:
    out = array_module(dense).empty((pointers.size - 1, *dense.shape[1:]), dense.dtype)
    launch(f"sparse.{version}", grid, 64, values, pointers, indices, dense, out)
    return out


@spmm.variant("numba_cuda_naive", device="cuda", supports=supports_sparse)
def spmm_naive(values: Array, dense: Array, pointers: Array, indices: Array, cuts: Array | None = None) -> Array:
    count = pointers.size - 1
    if dense.ndim == 1:
        return times_sparse("spmv", blocks(count, 64), values, dense, pointers, indices)
    return times_sparse("spmm", blocks(count * dense.shape[1], 64), values, dense, pointers, indices)


@spmm.variant("numba_cuda", device="cuda", supports=supports_sparse)
def spmm_warps(values: Array, dense: Array, pointers: Array, indices: Array, cuts: Array | None = None) -> Array:
    rows = blocks(pointers.size - 1, 2)
    if dense.ndim == 1:
        return times_sparse("spmv_warps", rows, values, dense, pointers, indices)
    return times_sparse("spmm_warps", (rows, blocks(dense.shape[1], 32)), values, dense, pointers, indices)


def supports_int8(x: Array, w: Array, scale_x: Array, scale_w: Array, bias: Array | None) -> bool:
    full = x.size > 0 and w.size > 0
    return full and launchable(x, w, types=("int8",)) and launchable(scale_x, scale_w, bias)


@gemm_int8.variant("numba_cuda", device="cuda", supports=supports_int8)
def gemm_int8_tiled(x: Array, w: Array, scale_x: Array, scale_w: Array, bias: Array | None) -> Array:
    xp, shape = array_module(x), (len(x), len(w))
    bias = xp.zeros(shape[1], "float32") if bias is None else bias
    out = xp.empty(shape, "float32")
    launch("int8.gemm_int8", (blocks(shape[1], 16), blocks(shape[0], 16)), (16, 16), x, w, scale_x, scale_w, bias, out)
    return out


def supports_attention(
    q: Array, k: Array, v: Array, scale: float, causal: bool, mask: Array | None, p: float, key: int, counter: int
) -> bool:
    plain = mask is None and p == 0 and q.shape[:2] == k.shape[:2] and q.size > 0 and k.size > 0 and v.size > 0
    return plain and launchable(q, k, v) and q.shape[3] <= WIDEST and v.shape[3] <= WIDEST


@attention.variant("numba_cuda", device="cuda", supports=supports_attention)
def attention_row(
    q: Array, k: Array, v: Array, scale: float, causal: bool, mask: Array | None, p: float, key: int, counter: int
) -> tuple[Array, Array]:
    B, H, L, _ = q.shape
    out, lse = array_module(q).empty((B, H, L, v.shape[3]), q.dtype), array_module(q).empty((B, H, L), "float64")
    flat: list[Any] = [a.reshape(B * H, *a.shape[2:]) for a in (q, k, v, out, lse)]
    launch("attention.attention_row", (L, B * H), 64, *flat[:3], float(scale), bool(causal), *flat[3:])
    return out, lse
