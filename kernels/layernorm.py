"""Layer normalization over the last axis, and its backward pass.

For each row x of D numbers, with mean m and variance v (divided by D):
    xhat = (x - m) r,  r = 1 / sqrt(v + eps)         out = xhat * weight + bias
    h    = g * weight                                dx = r (h - mean(h) - xhat * mean(h * xhat))
    dweight = sum over the rows of g * xhat          dbias = sum over the rows of g

Source: Ba, Kiros and Hinton, "Layer Normalization", 2016.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import Kernel, array_module
from .common import Array, at_least_float32, float32_in_order
from .jit import jit


@Kernel
def layer_norm(x: Array, weight: Array | None, bias: Array | None, eps: float) -> tuple[Array, Array, Array]:
    """Normalize the rows of x (N, D); returns out (N, D), mean (N,) and rstd (N,), the r above.

    weight and bias are (D,) or None. For a float16 x, mean and rstd are float32.

    Example:
        >>> layer_norm(np.array([[1.0, 3.0]]), None, None, 0.0)
        (array([[-1.,  1.]]), array([2.]), array([1.]))
    """
    xp = array_module(x)
    wide = at_least_float32(x)
    mean = wide.sum(axis=1, keepdims=True) / max(x.shape[1], 1)
    centred = wide - mean
    rstd = 1 / xp.sqrt((centred * centred).sum(axis=1, keepdims=True) / max(x.shape[1], 1) + eps)
    out = centred * rstd
    if weight is not None:
        out = out * weight
    if bias is not None:
        out = out + bias
    return out.astype(x.dtype, copy=False), mean[:, 0], rstd[:, 0]


@Kernel
def layer_norm_backward(
    g: Array, x: Array, mean: Array, rstd: Array, weight: Array | None
) -> tuple[Array, Array, Array]:
    """Gradients (dx, dweight, dbias) from the gradient g (N, D) of the result; without a weight, as if it were ones."""
    wide_g, rstd = at_least_float32(g), rstd[:, None]
    xhat = (at_least_float32(x) - mean[:, None]) * rstd
    h = wide_g if weight is None else wide_g * weight
    width = max(x.shape[1], 1)
    mean_h = h.sum(axis=1, keepdims=True) / width
    mean_h_xhat = (h * xhat).sum(axis=1, keepdims=True) / width
    dx = rstd * (h - mean_h - xhat * mean_h_xhat)
    dweight, dbias = (wide_g * xhat).sum(axis=0), wide_g.sum(axis=0)
    return dx.astype(x.dtype, copy=False), dweight.astype(g.dtype, copy=False), dbias.astype(g.dtype, copy=False)


# Numba: one pass over memory. A row is read once; the loops after the first find it in the first-level cache.


def supports(x: Array, weight: Array | None, bias: Array | None, eps: float) -> bool:
    return float32_in_order(x) and x.size > 0 and all(p is None or float32_in_order(p) for p in (weight, bias))


def supports_backward(g: Array, x: Array, mean: Array, rstd: Array, weight: Array | None) -> bool:
    return float32_in_order(g, mean, rstd) and supports(x, weight, None, 0.0)


@layer_norm.variant("numba", device="cpu", supports=supports)
def layer_norm_numba(x: Array, weight: Array | None, bias: Array | None, eps: float) -> tuple[Array, Array, Array]:
    count, width = x.shape
    weight = np.ones(width, np.float32) if weight is None else weight
    bias = np.zeros(width, np.float32) if bias is None else bias
    out, mean, rstd = np.empty_like(x), np.empty(count, np.float32), np.empty(count, np.float32)
    normalize_rows(x, weight, bias, float(eps), out, mean, rstd)
    return out, mean, rstd


@jit(fastmath={"reassoc", "contract"})  # reassoc: several partial sums side by side
def normalize_rows(x: Any, weight: Any, bias: Any, eps: float, out: Any, mean: Any, rstd: Any) -> None:
    width = x.shape[1]
    for i in range(x.shape[0]):
        total = np.float32(0)
        for j in range(width):
            total += x[i, j]
        m = np.float32(total / width)
        squares = np.float32(0)  # of x - m: the mean square minus the squared mean would cancel
        for j in range(width):
            squares += (x[i, j] - m) * (x[i, j] - m)
        r = np.float32(1 / math.sqrt(squares / width + eps))
        for j in range(width):
            out[i, j] = (x[i, j] - m) * r * weight[j] + bias[j]
        mean[i] = m
        rstd[i] = r


@layer_norm_backward.variant("numba", device="cpu", supports=supports_backward)
def layer_norm_backward_numba(
    g: Array, x: Array, mean: Array, rstd: Array, weight: Array | None
) -> tuple[Array, Array, Array]:
    width = x.shape[1]
    weight = np.ones(width, np.float32) if weight is None else weight
    dx, dweight, dbias = np.empty_like(x), np.zeros(width, np.float32), np.zeros(width, np.float32)
    gradient_rows(g, x, mean, rstd, weight, dx, dweight, dbias)
    return dx, dweight, dbias


@jit(fastmath={"reassoc", "contract"})
def gradient_rows(g: Any, x: Any, mean: Any, rstd: Any, weight: Any, dx: Any, dweight: Any, dbias: Any) -> None:
    width = x.shape[1]
    for i in range(x.shape[0]):
        m, r = mean[i], rstd[i]
        sum_h, sum_h_xhat = np.float32(0), np.float32(0)
        for j in range(width):
            h = g[i, j] * weight[j]
            sum_h += h
            sum_h_xhat += h * ((x[i, j] - m) * r)
        mean_h, mean_h_xhat = np.float32(sum_h / width), np.float32(sum_h_xhat / width)
        for j in range(width):
            xhat = (x[i, j] - m) * r
            dx[i, j] = r * (g[i, j] * weight[j] - mean_h - xhat * mean_h_xhat)
            dweight[j] += g[i, j] * xhat
            dbias[j] += g[i, j]
