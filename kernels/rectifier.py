"""Activations that are, like ReLU, one thing for positive x and another for negative: leaky ReLU, ELU, softplus, SiLU.

    leaky_relu(x)  x, or slope x                              (Maas, Hannun and Ng, 2013)
    elu(x)         scale x, or scale alpha (e^(inner x) - 1)  (Clevert, Unterthiner and Hochreiter, 2015); CELU, SELU too
    softplus(x)    log(1 + e^(beta x)) / beta, which is x within rounding where beta x passes a threshold
    silu(x)        x sigmoid(x)                               (Elfwing, Uchibe and Doya, 2017)
All are element by element, in whatever order the elements lie in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import Kernel, array_module
from .activation import sigmoid
from .common import FLOAT32, Array, float32_side_by_side, in_memory_order
from .elementary import exp32, expm1_32, log32, sigmoid32
from .jit import jit
from .layout import numbers_like
from .simd import select

ZERO, ONE = np.float32(0), np.float32(1)


@Kernel
def leaky_relu(x: Array, slope: float) -> Array:
    """x where positive, slope * x elsewhere.

    Example:
        >>> leaky_relu(np.array([-2.0, 2.0]), 0.5)
        array([-1.,  2.])
    """
    return array_module(x).where(x > 0, x, x * slope)


@Kernel
def leaky_relu_backward(g: Array, x: Array, slope: float) -> Array:
    """Gradient of leaky_relu's input x, from the gradient g of its result."""
    return array_module(x).where(x > 0, g, g * slope)


@Kernel
def elu(x: Array, alpha: float, scale: float, inner: float) -> Array:
    """scale * x where positive, scale * alpha * (e^(inner x) - 1) elsewhere.

    Example:
        >>> elu(np.array([-100.0, 2.0]), 1.0, 1.0, 1.0)
        array([-1.,  2.])
    """
    xp = array_module(x)
    return xp.where(x > 0, scale * x, scale * alpha * xp.expm1(inner * xp.minimum(x, 0)))


@Kernel
def elu_backward(g: Array, x: Array, alpha: float, scale: float, inner: float) -> Array:
    """Gradient of elu's input x, from the gradient g of its result."""
    xp = array_module(x)
    below = scale * alpha * inner * xp.exp(inner * xp.minimum(x, 0))
    return g * xp.where(x > 0, x.dtype.type(scale), below)


@Kernel
def softplus(x: Array, beta: float, threshold: float) -> Array:
    """log(1 + e^(beta x)) / beta, and x where beta x is above the threshold.

    Example:
        >>> softplus(np.array([-1000.0, 1000.0]), 1.0, np.inf)
        array([   0., 1000.])
    """
    z, xp = x * beta, array_module(x)
    return xp.where(z > threshold, x, xp.logaddexp(z, x.dtype.type(0)) / beta)


@Kernel
def softplus_backward(g: Array, x: Array, beta: float, threshold: float) -> Array:
    """Gradient of softplus's input x, from the gradient g of its result."""
    z = x * beta
    return g * array_module(x).where(z > threshold, x.dtype.type(1), sigmoid.reference(z))


@Kernel
def silu_backward(g: Array, x: Array) -> Array:
    """Gradient of silu's input x, from the gradient g of its result."""
    s = sigmoid.reference(x)
    return g * (s * (1 + x * (1 - s)))


# Numba. Parameters are numbers of float64, as Python's are; each loop rounds them to float32 once.


def supports(x: Array, *parameters: float) -> bool:
    return float32_side_by_side(x)


def supports_backward(g: Array, x: Array, *parameters: float) -> bool:
    return g.dtype == FLOAT32 and g.shape == x.shape and float32_side_by_side(x)


def forward(loop: Callable[..., None], x: Array, *parameters: float) -> Array:
    out = np.empty_like(x)
    loop(in_memory_order(x), *map(float, parameters), in_memory_order(out))
    return out


def backward(loop: Callable[..., None], g: Array, x: Array, *parameters: float) -> Array:
    dx = np.empty_like(x)
    loop(numbers_like(g, x), in_memory_order(x), *map(float, parameters), in_memory_order(dx))
    return dx


@leaky_relu.variant("numba", device="cpu", supports=supports)
def leaky_relu_numba(x: Array, slope: float) -> Array:
    return forward(leaky_relu_loop, x, slope)


@leaky_relu_backward.variant("numba", device="cpu", supports=supports_backward)
def leaky_relu_backward_numba(g: Array, x: Array, slope: float) -> Array:
    return backward(leaky_relu_backward_loop, g, x, slope)


@elu.variant("numba", device="cpu", supports=supports)
def elu_numba(x: Array, alpha: float, scale: float, inner: float) -> Array:
    return forward(elu_loop, x, alpha, scale, inner)


@elu_backward.variant("numba", device="cpu", supports=supports_backward)
def elu_backward_numba(g: Array, x: Array, alpha: float, scale: float, inner: float) -> Array:
    return backward(elu_backward_loop, g, x, alpha, scale, inner)


@softplus.variant("numba", device="cpu", supports=supports)
def softplus_numba(x: Array, beta: float, threshold: float) -> Array:
    return forward(softplus_loop, x, beta, threshold)


@softplus_backward.variant("numba", device="cpu", supports=supports_backward)
def softplus_backward_numba(g: Array, x: Array, beta: float, threshold: float) -> Array:
    return backward(softplus_backward_loop, g, x, beta, threshold)


@silu_backward.variant("numba", device="cpu", supports=supports_backward)
def silu_backward_numba(g: Array, x: Array) -> Array:
    return backward(silu_backward_loop, g, x)


@jit
def leaky_relu_loop(x: Any, slope: Any, out: Any) -> None:
    slope = np.float32(slope)
    for i in range(x.size):
        out[i] = x[i] if x[i] > ZERO else x[i] * slope


@jit
def leaky_relu_backward_loop(g: Any, x: Any, slope: Any, dx: Any) -> None:
    slope = np.float32(slope)
    for i in range(x.size):
        dx[i] = g[i] if x[i] > ZERO else g[i] * slope


@jit
def elu_loop(x: Any, alpha: Any, scale: Any, inner: Any, out: Any) -> None:
    above, below, inner = np.float32(scale), np.float32(scale * alpha), np.float32(inner)
    for i in range(x.size):
        out[i] = above * x[i] if x[i] > ZERO else below * expm1_32(ZERO if x[i] > ZERO else inner * x[i])


@jit
def elu_backward_loop(g: Any, x: Any, alpha: Any, scale: Any, inner: Any, dx: Any) -> None:
    above, below, inner = np.float32(scale), np.float32(scale * alpha * inner), np.float32(inner)
    for i in range(x.size):
        dx[i] = g[i] * (above if x[i] > ZERO else below * exp32(ZERO if x[i] > ZERO else inner * x[i]))


@jit(forceinline=True)
def log1p_32(e: Any) -> Any:
    """log(1 + e) for 0 <= e <= 1: what 1 + e loses of e by rounding is made good by a factor (Kahan)."""
    u = ONE + e
    return select(u == ONE, e, log32(u) * (e / (u - ONE)))


@jit
def softplus_loop(x: Any, beta: Any, threshold: Any, out: Any) -> None:
    beta, threshold, share = np.float32(beta), np.float32(threshold), np.float32(1 / beta)
    for i in range(x.size):
        z = x[i] * beta
        soft = (z if z > ZERO else ZERO) + log1p_32(exp32(-abs(z)))
        out[i] = x[i] if z > threshold else soft * share


@jit
def softplus_backward_loop(g: Any, x: Any, beta: Any, threshold: Any, dx: Any) -> None:
    beta, threshold = np.float32(beta), np.float32(threshold)
    for i in range(x.size):
        z = x[i] * beta
        dx[i] = g[i] * (ONE if z > threshold else sigmoid32(z))


@jit
def silu_backward_loop(g: Any, x: Any, dx: Any) -> None:
    for i in range(x.size):
        s = sigmoid32(x[i])
        dx[i] = g[i] * (s * (ONE + x[i] * (ONE - s)))
