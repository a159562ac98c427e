"""Activations and losses that are one formula in each element, with the gradient beside the value.

    silu         x sigmoid(x)                                       softplus   log(1 + e^(beta x)) / beta
    mish         x tanh(log(1 + e^x))                               leaky_relu x, or slope x below 0
    hard_swish   x (x + 3) / 6, 0 below -3 and x from 3 on          hard_tanh  x held within [low, high]
    elu          scale x, or scale alpha (e^(inner x) - 1) below 0
    logit_loss   -y log s - (1 - y) log(1 - s), s = sigmoid(x)      huber      d^2 / (2 beta), d - beta / 2 from d = |x - y| = beta on

As NumPy expressions they take several passes over memory and as many temporary arrays; here each is one loop, which the compiler
vectorises: arithmetic in float32 only, functions of elementary.py, choices between values that are both computed.

Sources: Elfwing, Uchibe and Doya, 2017 (SiLU); Dugas and others, 2001 (softplus); Misra, 2019 (Mish); Maas and others, 2013 (leaky
ReLU); Howard and others, 2019 (hard swish); Clevert and others, 2015 (ELU); Huber, 1964.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import Kernel, array_module
from .activation import sigmoid
from .common import FLOAT32, Array, at_least_float32, float32_side_by_side, in_memory_order
from .elementary import exp32, expm1_32, log1p32, sigmoid32
from .jit import jit
from .layout import numbers_like
from .parallel import ELEMENTARY, share_rows
from .simd import minimum


@Kernel
def silu(x: Array) -> Array:
    """x sigmoid(x).

    Example:
        >>> silu(np.array([0.0, -1000.0]))
        array([ 0., -0.])
    """
    return x * sigmoid(x)


@Kernel
def silu_backward(g: Array, x: Array) -> Array:
    s = sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


@Kernel
def softplus(x: Array, beta: float, threshold: float) -> Array:
    """log(1 + e^(beta x)) / beta, and x where beta x passes the threshold."""
    xp, z = array_module(x), x * beta
    return xp.where(z > threshold, x, xp.logaddexp(z, x.dtype.type(0)) / beta)


@Kernel
def softplus_backward(g: Array, x: Array, beta: float, threshold: float) -> Array:
    z = x * beta
    return array_module(x).where(z > threshold, g, g * sigmoid(z))


@Kernel
def mish(x: Array) -> Array:
    """x tanh(log(1 + e^x)): with n = (1 + e^x)^2 - 1 the tanh is n / (n + 2), which is 1 long before n overflows."""
    z = at_least_float32(x)
    e = array_module(x).exp(array_module(x).minimum(z, 20))
    n = e * (e + 2)
    return (z * (n / (n + 2))).astype(x.dtype, copy=False)


@Kernel
def mish_backward(g: Array, x: Array) -> Array:
    z = at_least_float32(x)
    e = array_module(x).exp(array_module(x).minimum(z, 20))
    n = e * (e + 2)
    return (g * (n / (n + 2) + z * (4 * e * (e + 1)) / (n + 2) / (n + 2))).astype(x.dtype, copy=False)


@Kernel
def leaky_relu(x: Array, slope: float) -> Array:
    return array_module(x).where(x > 0, x, x * slope)


@Kernel
def leaky_relu_backward(g: Array, x: Array, slope: float) -> Array:
    return array_module(x).where(x > 0, g, g * slope)


@Kernel
def hard_swish(x: Array) -> Array:
    where = array_module(x).where
    return where(x <= -3, x.dtype.type(0), where(x < 3, x * (x + 3) / 6, x))


@Kernel
def hard_swish_backward(g: Array, x: Array) -> Array:
    where = array_module(x).where
    return where(x <= -3, g.dtype.type(0), where(x < 3, g * (2 * x + 3) / 6, g))


@Kernel
def hard_tanh(x: Array, low: float, high: float) -> Array:
    xp, number = array_module(x), x.dtype.type
    return xp.minimum(xp.maximum(x, number(low)), number(high))


@Kernel
def hard_tanh_backward(g: Array, x: Array, low: float, high: float) -> Array:
    """No gradient at the ends; at NaN it passes, as in PyTorch."""
    return array_module(x).where((x <= low) | (x >= high), g.dtype.type(0), g)


@Kernel
def elu(x: Array, alpha: float, scale: float, inner: float) -> Array:
    xp = array_module(x)
    return xp.where(x > 0, scale * x, scale * alpha * xp.expm1(inner * xp.minimum(x, 0)))


@Kernel
def elu_backward(g: Array, x: Array, alpha: float, scale: float, inner: float) -> Array:
    xp = array_module(x)
    return g * xp.where(x > 0, scale, scale * alpha * inner * xp.exp(inner * xp.minimum(x, 0)))


@Kernel
def logit_loss(x: Array, y: Array) -> Array:
    """The cross-entropy of the probability sigmoid(x) with the target y: (1 - y) x + log(1 + e^-x).

    Example:
        >>> logit_loss(np.array([0.0, -900.0]), np.array([1.0, 0.0]))
        array([0.69314718, 0.        ])
    """
    xp = array_module(x)
    return xp.maximum(x, 0) - x * y + xp.log1p(xp.exp(-abs(x)))


@Kernel
def logit_loss_backward(g: Array, x: Array, y: Array) -> Array:
    """Gradient of x; that of y is -g x."""
    return g * (sigmoid(x) - y)


@Kernel
def huber(x: Array, y: Array, beta: float) -> Array:
    """d^2 / (2 beta) where d = |x - y| is below beta > 0, d - beta / 2 elsewhere."""
    d = abs(x - y)
    return array_module(x).where(d < beta, d * d * (0.5 / beta), d - 0.5 * beta)


@Kernel
def huber_backward(g: Array, x: Array, y: Array, beta: float) -> Array:
    """Gradient of x; that of y is its negative."""
    xp, d = array_module(x), x - y
    return g * xp.minimum(xp.maximum(d / beta, -1), 1)


# Numba. Parameters come as float64, and are float32 in the loops.

ZERO, ONE, TWO, THREE, FOUR = (np.float32(n) for n in (0, 1, 2, 3, 4))
SIXTH, TWENTY = np.float32(1 / 6), np.float32(20)


def values_of(loop: Callable[..., None], *arguments: Any) -> Array:
    """The result of a loop over arrays that lie alike; what is no array is a parameter, and follows `out`."""
    arrays = [a for a in arguments if not isinstance(a, float)]
    out = np.empty_like(arrays[0])
    share_rows(loop, ELEMENTARY, (*map(in_memory_order, arrays), in_memory_order(out)), *arguments[len(arrays) :])
    return out


def slopes_of(loop: Callable[..., None], g: Array, *arguments: Any) -> Array:
    """The same with a gradient g first, which may lie in another order."""
    arrays = [a for a in arguments if not isinstance(a, float)]
    dx = np.empty_like(arrays[0])
    elements = numbers_like(g, dx), *map(in_memory_order, arrays), in_memory_order(dx)
    share_rows(loop, ELEMENTARY, elements, *arguments[len(arrays) :])
    return dx


def supports(x: Array, *parameters: float) -> bool:
    return float32_side_by_side(x)


def supports_slope(g: Array, x: Array, *parameters: float) -> bool:
    return g.dtype == FLOAT32 and g.shape == x.shape and float32_side_by_side(x)


def supports_paired(x: Array, y: Array, *parameters: float) -> bool:
    return float32_side_by_side(x, y)


def supports_paired_slope(g: Array, x: Array, y: Array, *parameters: float) -> bool:
    return g.dtype == FLOAT32 and g.shape == x.shape and float32_side_by_side(x, y)


@silu.variant("numba", device="cpu", supports=supports)
def silu_numba(x: Array) -> Array:
    return values_of(silu_loop, x)


@jit(nogil=True)
def silu_loop(x: Any, out: Any) -> None:
    for i in range(x.size):
        out[i] = x[i] * sigmoid32(x[i])


@silu_backward.variant("numba", device="cpu", supports=supports_slope)
def silu_backward_numba(g: Array, x: Array) -> Array:
    return slopes_of(silu_slopes, g, x)


@jit(nogil=True)
def silu_slopes(g: Any, x: Any, dx: Any) -> None:
    for i in range(x.size):
        s = sigmoid32(x[i])
        dx[i] = g[i] * (s * (ONE + x[i] * (ONE - s)))


@softplus.variant("numba", device="cpu", supports=supports)
def softplus_numba(x: Array, beta: float, threshold: float) -> Array:
    return values_of(softplus_loop, x, float(beta), float(threshold))


@jit(nogil=True)
def softplus_loop(x: Any, out: Any, beta: float, threshold: float) -> None:
    b, over, most = np.float32(beta), np.float32(1 / beta), np.float32(threshold)
    for i in range(x.size):
        z = x[i] * b
        soft = (z if z > ZERO else ZERO) + log1p32(exp32(-abs(z)))
        out[i] = x[i] if z > most else soft * over


@softplus_backward.variant("numba", device="cpu", supports=supports_slope)
def softplus_backward_numba(g: Array, x: Array, beta: float, threshold: float) -> Array:
    return slopes_of(softplus_slopes, g, x, float(beta), float(threshold))


@jit(nogil=True)
def softplus_slopes(g: Any, x: Any, dx: Any, beta: float, threshold: float) -> None:
    b, most = np.float32(beta), np.float32(threshold)
    for i in range(x.size):
        z = x[i] * b
        dx[i] = g[i] * (ONE if z > most else sigmoid32(z))


@mish.variant("numba", device="cpu", supports=supports)
def mish_numba(x: Array) -> Array:
    return values_of(mish_loop, x)


@jit(nogil=True)
def mish_loop(x: Any, out: Any) -> None:
    for i in range(x.size):
        e = exp32(minimum(TWENTY, x[i]))
        n = e * (e + TWO)
        out[i] = x[i] * (n / (n + TWO))


@mish_backward.variant("numba", device="cpu", supports=supports_slope)
def mish_backward_numba(g: Array, x: Array) -> Array:
    return slopes_of(mish_slopes, g, x)


@jit(nogil=True)
def mish_slopes(g: Any, x: Any, dx: Any) -> None:
    for i in range(x.size):
        e = exp32(minimum(TWENTY, x[i]))
        n = e * (e + TWO)
        over = ONE / (n + TWO)
        dx[i] = g[i] * (n * over + x[i] * (FOUR * e * (e + ONE) * over * over))


@leaky_relu.variant("numba", device="cpu", supports=supports)
def leaky_relu_numba(x: Array, slope: float) -> Array:
    return values_of(leaky_relu_loop, x, float(slope))


@jit(nogil=True)
def leaky_relu_loop(x: Any, out: Any, slope: float) -> None:
    factor = np.float32(slope)
    for i in range(x.size):
        out[i] = x[i] if x[i] > ZERO else x[i] * factor


@leaky_relu_backward.variant("numba", device="cpu", supports=supports_slope)
def leaky_relu_backward_numba(g: Array, x: Array, slope: float) -> Array:
    return slopes_of(leaky_relu_slopes, g, x, float(slope))


@jit(nogil=True)
def leaky_relu_slopes(g: Any, x: Any, dx: Any, slope: float) -> None:
    factor = np.float32(slope)
    for i in range(x.size):
        dx[i] = g[i] if x[i] > ZERO else g[i] * factor


@hard_swish.variant("numba", device="cpu", supports=supports)
def hard_swish_numba(x: Array) -> Array:
    return values_of(hard_swish_loop, x)


@jit(nogil=True)
def hard_swish_loop(x: Any, out: Any) -> None:
    for i in range(x.size):
        inner = x[i] * (x[i] + THREE) * SIXTH if x[i] < THREE else x[i]
        out[i] = ZERO if x[i] <= -THREE else inner


@hard_swish_backward.variant("numba", device="cpu", supports=supports_slope)
def hard_swish_backward_numba(g: Array, x: Array) -> Array:
    return slopes_of(hard_swish_slopes, g, x)


@jit(nogil=True)
def hard_swish_slopes(g: Any, x: Any, dx: Any) -> None:
    for i in range(x.size):
        inner = g[i] * (TWO * x[i] + THREE) * SIXTH if x[i] < THREE else g[i]
        dx[i] = ZERO if x[i] <= -THREE else inner


@hard_tanh.variant("numba", device="cpu", supports=supports)
def hard_tanh_numba(x: Array, low: float, high: float) -> Array:
    return values_of(hard_tanh_loop, x, float(low), float(high))


@jit(nogil=True)
def hard_tanh_loop(x: Any, out: Any, low: float, high: float) -> None:
    least, most = np.float32(low), np.float32(high)
    for i in range(x.size):
        held = least if x[i] < least else x[i]  # NaN stays NaN
        out[i] = most if held > most else held


@hard_tanh_backward.variant("numba", device="cpu", supports=supports_slope)
def hard_tanh_backward_numba(g: Array, x: Array, low: float, high: float) -> Array:
    return slopes_of(hard_tanh_slopes, g, x, float(low), float(high))


@jit(nogil=True)
def hard_tanh_slopes(g: Any, x: Any, dx: Any, low: float, high: float) -> None:
    least, most = np.float32(low), np.float32(high)
    for i in range(x.size):
        dx[i] = ZERO if (x[i] <= least) | (x[i] >= most) else g[i]


@elu.variant("numba", device="cpu", supports=supports)
def elu_numba(x: Array, alpha: float, scale: float, inner: float) -> Array:
    return values_of(elu_loop, x, float(alpha), float(scale), float(inner))


@jit(nogil=True)
def elu_loop(x: Any, out: Any, alpha: float, scale: float, inner: float) -> None:
    above, below, rate = np.float32(scale), np.float32(scale * alpha), np.float32(inner)
    for i in range(x.size):
        low = below * expm1_32(rate * minimum(ZERO, x[i]))
        out[i] = above * x[i] if x[i] > ZERO else low


@elu_backward.variant("numba", device="cpu", supports=supports_slope)
def elu_backward_numba(g: Array, x: Array, alpha: float, scale: float, inner: float) -> Array:
    return slopes_of(elu_slopes, g, x, float(alpha), float(scale), float(inner))


@jit(nogil=True)
def elu_slopes(g: Any, x: Any, dx: Any, alpha: float, scale: float, inner: float) -> None:
    above, below, rate = np.float32(scale), np.float32(scale * alpha * inner), np.float32(inner)
    for i in range(x.size):
        low = below * exp32(rate * minimum(ZERO, x[i]))
        dx[i] = g[i] * (above if x[i] > ZERO else low)


@logit_loss.variant("numba", device="cpu", supports=supports_paired)
def logit_loss_numba(x: Array, y: Array) -> Array:
    return values_of(logit_losses, x, y)


@jit(nogil=True)
def logit_losses(x: Any, y: Any, out: Any) -> None:
    for i in range(x.size):
        out[i] = (x[i] if x[i] > ZERO else ZERO) - x[i] * y[i] + log1p32(exp32(-abs(x[i])))


@logit_loss_backward.variant("numba", device="cpu", supports=supports_paired_slope)
def logit_loss_backward_numba(g: Array, x: Array, y: Array) -> Array:
    return slopes_of(logit_slopes, g, x, y)


@jit(nogil=True)
def logit_slopes(g: Any, x: Any, y: Any, dx: Any) -> None:
    for i in range(x.size):
        dx[i] = g[i] * (sigmoid32(x[i]) - y[i])


@huber.variant("numba", device="cpu", supports=supports_paired)
def huber_numba(x: Array, y: Array, beta: float) -> Array:
    return values_of(huber_losses, x, y, float(beta))


@jit(nogil=True)
def huber_losses(x: Any, y: Any, out: Any, beta: float) -> None:
    b, factor, half = np.float32(beta), np.float32(0.5 / beta), np.float32(0.5 * beta)
    for i in range(x.size):
        d = abs(x[i] - y[i])
        out[i] = d * d * factor if d < b else d - half


@huber_backward.variant("numba", device="cpu", supports=supports_paired_slope)
def huber_backward_numba(g: Array, x: Array, y: Array, beta: float) -> Array:
    return slopes_of(huber_slopes, g, x, y, float(beta))


@jit(nogil=True)
def huber_slopes(g: Any, x: Any, y: Any, dx: Any, beta: float) -> None:
    over = np.float32(1 / beta)
    for i in range(x.size):
        d = (x[i] - y[i]) * over
        held = -ONE if d < -ONE else d
        dx[i] = g[i] * (ONE if held > ONE else held)
