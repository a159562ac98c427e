"""Activation functions: ReLU, sigmoid, erf, GELU, and bias + activation in one pass over memory.

    relu(x)        max(x, 0)
    sigmoid(x)     1 / (1 + e^-x)
    gelu(x)        x * Phi(x), Phi the distribution function of the normal distribution: (1 + erf(x / sqrt 2)) / 2
    gelu, "tanh"   x / 2 * (1 + tanh(u)), u = sqrt(2 / pi) (x + 0.044715 x^3)   (Hendrycks and Gimpel, 2016)
All are element by element, in whatever order the elements lie in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import Kernel, array_module
from .common import FLOAT32, Array, at_least_float32, float32_in_order, float32_side_by_side, in_memory_order, rows
from .cuda import ELEMENTS, Entry, Source, blocks, launchable
from .elementary import erf32, exp32, sigmoid32, tanh32
from .jit import jit
from .layout import numbers_like
from .parallel import ELEMENTARY, FEW, MEMORY, share_rows
from .reduce import add_columns, sum_axes

ROOT_2_OVER_PI = math.sqrt(2 / math.pi)
CUBIC = 0.044715
APPROXIMATIONS = ("none", "tanh")
FROM_RESULT = ("relu", "sigmoid", "tanh")  # activations whose slope follows from their result
ACTIVATIONS = (*FROM_RESULT, "gelu", "gelu_tanh")


@Kernel
def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x), elementwise.

    Example:
        >>> sigmoid(np.array([0.0, -1000.0]))
        array([0.5, 0. ])
    """
    xp = array_module(x)
    if x.dtype.kind == "c":
        return 1 / (1 + xp.exp(-x))
    e = xp.exp(-abs(x))  # at most 1: no overflow on either side
    return xp.where(x >= 0, 1, e) / (1 + e)


@Kernel
def relu(x: Array) -> Array:
    """max(x, 0), elementwise; NaN stays NaN.

    Example:
        >>> relu(np.array([-1.0, 2.0]))
        array([0., 2.])
    """
    return array_module(x).maximum(x, 0)


@Kernel
def relu_backward(g: Array, out: Array) -> Array:
    """Gradient of relu's input, from the gradient g of its result `out`. At NaN it passes, as in PyTorch."""
    return array_module(g).where(out <= 0, g.dtype.type(0), g)


@Kernel
def erf(x: Array) -> Array:
    """The error function, 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x; elementwise.

    Example:
        >>> erf(np.array([0.0, 10.0]))
        array([0., 1.])
    """
    if array_module(x) is np:
        from scipy import special
    else:
        from cupyx.scipy import special
    return special.erf(x).astype(x.dtype, copy=False)


@Kernel
def gelu(x: Array, approximate: str) -> Array:
    """Gaussian error linear unit; approximate is "none" (with erf) or "tanh".

    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016.

    Example:
        >>> gelu(np.array([0.0, 1.0]), "none")
        array([0.        , 0.84134475])
    """
    check("gelu", "approximate", approximate, APPROXIMATIONS)
    z = at_least_float32(x)
    t = tanh_u(z) if approximate == "tanh" else erf.reference(z / math.sqrt(2))
    return (z / 2 * (1 + t)).astype(x.dtype, copy=False)


@Kernel
def gelu_backward(g: Array, x: Array, approximate: str) -> Array:
    """Gradient of gelu's input x, from the gradient g of its result."""
    check("gelu_backward", "approximate", approximate, APPROXIMATIONS)
    xp = array_module(x)
    z = at_least_float32(x)
    if approximate == "tanh":
        t = tanh_u(z)
        du = ROOT_2_OVER_PI * (1 + 3 * CUBIC * z * z)
        slope = (1 + t) / 2 + z / 2 * (1 - t * t) * du
    else:
        phi = (1 + erf.reference(z / math.sqrt(2))) / 2
        slope = phi + z * xp.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return (g * slope).astype(x.dtype, copy=False)


@Kernel
def bias_activation(x: Array, bias: Array, activation: str) -> Array:
    """activation(x + bias) for x (..., D) and bias (D,); activation is one of ACTIVATIONS.

    Example:
        >>> bias_activation(np.array([[1.0, -3.0]]), np.array([1.0, 1.0]), "relu")
        array([[2., 0.]])
    """
    check("bias_activation", "activation", activation, ACTIVATIONS)
    xp = array_module(x)
    z = x + bias
    if activation == "relu":
        return xp.maximum(z, 0)
    if activation == "sigmoid":
        return sigmoid.reference(z)
    return xp.tanh(z) if activation == "tanh" else gelu.reference(z, "none" if activation == "gelu" else "tanh")


@Kernel
def bias_activation_backward(g: Array, out: Array, activation: str) -> tuple[Array, Array]:
    """Gradients of x (..., D) and of the bias (D,), from the gradient g of the result `out`; activation is one of FROM_RESULT.

    Example:
        >>> bias_activation_backward(np.array([[1.0, 5.0], [2.0, 5.0]]), np.array([[3.0, 0.0], [1.0, 0.0]]), "relu")
        (array([[1., 0.],
               [2., 0.]]), array([3., 0.]))
    """
    check("bias_activation_backward", "activation", activation, FROM_RESULT)
    if activation == "relu":
        dx = relu_backward.reference(g, out)
    else:
        dx = g * out * (1 - out) if activation == "sigmoid" else g * (1 - out * out)
    return dx, sum_axes.reference(rows(dx), (0,), False)


@Kernel
def bias_gelu_backward(g: Array, x: Array, bias: Array, approximate: str) -> tuple[Array, Array]:
    """Gradients of x (..., D) and of the bias (D,) of gelu(x + bias), from the gradient g of its result.

    x + bias is computed again: it need not be stored between the passes.
    """
    dx = gelu_backward.reference(g, x + bias, approximate)
    return dx, sum_axes.reference(rows(dx), (0,), False)


def tanh_u(z: Array) -> Array:
    with np.errstate(over="ignore"):  # the tanh of infinity is right
        return array_module(z).tanh(ROOT_2_OVER_PI * (z + CUBIC * z**3))


def check(kernel: str, parameter: str, came: str, known: tuple[str, ...]) -> None:
    if came not in known:
        raise ValueError(f"{kernel}: {parameter}={came!r} is unknown; it is one of {', '.join(known)}")


# Numba, elementwise: the order of the elements does not matter, so an array in channels-last order needs no copy.


def supports_gelu(x: Array, approximate: str) -> bool:
    return approximate in GELU and float32_side_by_side(x)


def supports_gelu_backward(g: Array, x: Array, approximate: str) -> bool:
    return approximate in GELU and float32_side_by_side(g, x)


def elementwise(loop: Callable[..., None], cost: int, *arrays: Array) -> Array:
    out = np.empty_like(arrays[0])
    flat = [in_memory_order(a) for a in arrays]
    if out.size < FEW:
        loop(*flat, in_memory_order(out))
    else:
        share_rows(loop, cost, (*flat, in_memory_order(out)))
    return out


@sigmoid.variant("numba", device="cpu", supports=float32_side_by_side)
def sigmoid_numba(x: Array) -> Array:
    return elementwise(sigmoid_loop, ELEMENTARY, x)


@relu.variant("numba", device="cpu", supports=float32_side_by_side)
def relu_numba(x: Array) -> Array:
    return elementwise(relu_loop, 2 * MEMORY, x)


def supports_relu_backward(g: Array, out: Array) -> bool:
    return g.dtype == FLOAT32 and g.shape == out.shape and float32_side_by_side(out)


@relu_backward.variant("numba", device="cpu", supports=supports_relu_backward)
def relu_backward_numba(g: Array, out: Array) -> Array:
    dx = np.empty_like(out)
    arrays = numbers_like(g, out), in_memory_order(out), in_memory_order(dx)
    if out.size < FEW:
        relu_backward_loop(*arrays)
    else:
        share_rows(relu_backward_loop, 3 * MEMORY, arrays)
    return dx


@erf.variant("numba", device="cpu", supports=float32_side_by_side)
def erf_numba(x: Array) -> Array:
    return elementwise(erf_loop, ELEMENTARY, x)


@gelu.variant("numba", device="cpu", supports=supports_gelu)
def gelu_numba(x: Array, approximate: str) -> Array:
    return elementwise(GELU[approximate], ELEMENTARY, x)


@gelu_backward.variant("numba", device="cpu", supports=supports_gelu_backward)
def gelu_backward_numba(g: Array, x: Array, approximate: str) -> Array:
    return elementwise(GELU_BACKWARD[approximate], ELEMENTARY, g, x)


@jit(nogil=True)
def sigmoid_loop(x: Any, out: Any) -> None:
    for i in range(x.size):
        out[i] = sigmoid32(x[i])


@jit(nogil=True)
def relu_loop(x: Any, out: Any) -> None:
    for i in range(x.size):
        out[i] = np.float32(0) if x[i] <= np.float32(0) else x[i]  # NaN stays NaN


@jit(nogil=True)
def relu_backward_loop(g: Any, out: Any, dx: Any) -> None:
    for i in range(g.size):
        dx[i] = np.float32(0) if out[i] <= np.float32(0) else g[i]


@jit(nogil=True)
def erf_loop(x: Any, out: Any) -> None:
    for i in range(x.size):
        out[i] = erf32(x[i])


@jit(nogil=True)
def gelu_loop(x: Any, out: Any) -> None:
    for i in range(x.size):
        out[i] = x[i] * (F_HALF + F_HALF * erf32(x[i] * F_ROOT_HALF))


@jit(nogil=True)
def gelu_tanh_loop(x: Any, out: Any) -> None:
    for i in range(x.size):
        out[i] = gelu_tanh32(x[i])


@jit(nogil=True)
def gelu_backward_loop(g: Any, x: Any, dx: Any) -> None:
    for i in range(x.size):
        phi = F_HALF + F_HALF * erf32(x[i] * F_ROOT_HALF)
        dx[i] = g[i] * (phi + x[i] * F_DENSITY * exp32(-F_HALF * x[i] * x[i]))


@jit(nogil=True)
def gelu_tanh_backward_loop(g: Any, x: Any, dx: Any) -> None:
    for i in range(x.size):
        dx[i] = g[i] * gelu_tanh_derivative32(x[i])


F_ONE, F_HALF, F_ROOT_HALF = (np.float32(n) for n in (1, 0.5, math.sqrt(0.5)))
F_DENSITY = np.float32(1 / math.sqrt(2 * math.pi))  # the normal density at 0
U1, U3 = np.float32(2 * ROOT_2_OVER_PI), np.float32(2 * ROOT_2_OVER_PI * CUBIC)  # 2u = U1 x + U3 x^3
DU3 = np.float32(3 * U3)


@jit(fastmath={"contract"}, forceinline=True)
def gelu_tanh32(x: Any) -> Any:
    """x * sigmoid(2u), since (1 + tanh(u)) / 2 = sigmoid(2u): one exponential, and no 1 - 1 for negative x."""
    return x * sigmoid32(x * (U1 + U3 * x * x))


@jit(fastmath={"contract"}, forceinline=True)
def gelu_tanh_derivative32(x: Any) -> Any:
    s = sigmoid32(x * (U1 + U3 * x * x))
    return s + x * s * (F_ONE - s) * (U1 + DU3 * x * x)


# Numba, bias and activation: x + bias stays in a register instead of passing through memory.


def supports_bias(x: Array, bias: Array, activation: str) -> bool:
    return float32_in_order(x, bias) and activation in BIAS and x.shape[-1:] == bias.shape


def supports_bias_backward(g: Array, out: Array, activation: str) -> bool:
    return activation in BIAS_BACKWARD and float32_in_order(g, out) and g.shape == out.shape


def supports_bias_gelu_backward(g: Array, x: Array, bias: Array, approximate: str) -> bool:
    return approximate in BIAS_GELU_BACKWARD and float32_in_order(g, x, bias) and x.shape[-1:] == bias.shape


@bias_activation.variant("numba", device="cpu", supports=supports_bias)
def bias_activation_numba(x: Array, bias: Array, activation: str) -> Array:
    out = np.empty_like(x)
    share_rows(BIAS[activation], ELEMENTARY, (rows(x), rows(out)), bias)
    return out


@bias_activation_backward.variant("numba", device="cpu", supports=supports_bias_backward)
def bias_activation_backward_numba(g: Array, out: Array, activation: str) -> tuple[Array, Array]:
    dx = np.empty_like(out)
    share_rows(BIAS_BACKWARD[activation], 3 * MEMORY, (rows(g), rows(out), rows(dx)))
    return dx, sum_axes(rows(dx), (0,), False)


@bias_gelu_backward.variant("numba", device="cpu", supports=supports_bias_gelu_backward)
def bias_gelu_backward_numba(g: Array, x: Array, bias: Array, approximate: str) -> tuple[Array, Array]:
    dx = np.empty_like(x)
    share_rows(BIAS_GELU_BACKWARD[approximate], ELEMENTARY, (rows(g), rows(x), rows(dx)), bias)
    return dx, sum_axes(rows(dx), (0,), False)


@jit(nogil=True)
def bias_relu(x: Any, out: Any, bias: Any) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            z = x[i, j] + bias[j]
            out[i, j] = np.float32(0) if z < np.float32(0) else z  # NaN stays NaN


@jit(nogil=True)
def bias_gelu(x: Any, out: Any, bias: Any) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            z = x[i, j] + bias[j]
            out[i, j] = z * (F_HALF + F_HALF * erf32(z * F_ROOT_HALF))


@jit(nogil=True)
def bias_gelu_tanh(x: Any, out: Any, bias: Any) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = gelu_tanh32(x[i, j] + bias[j])


@jit(nogil=True)
def bias_sigmoid(x: Any, out: Any, bias: Any) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = sigmoid32(x[i, j] + bias[j])


@jit(nogil=True)
def bias_tanh(x: Any, out: Any, bias: Any) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = tanh32(x[i, j] + bias[j])


@jit(nogil=True)
def bias_relu_backward(g: Any, out: Any, dx: Any) -> None:
    for i in range(g.shape[0]):
        for j in range(g.shape[1]):
            dx[i, j] = np.float32(0) if out[i, j] <= np.float32(0) else g[i, j]


@jit(nogil=True)
def bias_sigmoid_backward(g: Any, out: Any, dx: Any) -> None:
    for i in range(g.shape[0]):
        for j in range(g.shape[1]):
            dx[i, j] = g[i, j] * out[i, j] * (F_ONE - out[i, j])


@jit(nogil=True)
def bias_tanh_backward(g: Any, out: Any, dx: Any) -> None:
    for i in range(g.shape[0]):
        for j in range(g.shape[1]):
            dx[i, j] = g[i, j] * (F_ONE - out[i, j] * out[i, j])


@jit(nogil=True)
def bias_gelu_none_backward(g: Any, x: Any, dx: Any, bias: Any) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            z = x[i, j] + bias[j]
            phi = F_HALF + F_HALF * erf32(z * F_ROOT_HALF)
            dx[i, j] = g[i, j] * (phi + z * F_DENSITY * exp32(-F_HALF * z * z))


@jit(nogil=True)
def bias_gelu_tanh_backward(g: Any, x: Any, dx: Any, bias: Any) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            dx[i, j] = g[i, j] * gelu_tanh_derivative32(x[i, j] + bias[j])


GELU = {"none": gelu_loop, "tanh": gelu_tanh_loop}
GELU_BACKWARD = {"none": gelu_backward_loop, "tanh": gelu_tanh_backward_loop}
BIAS = {
    "relu": bias_relu,
    "sigmoid": bias_sigmoid,
    "tanh": bias_tanh,
    "gelu": bias_gelu,
    "gelu_tanh": bias_gelu_tanh,
}
BIAS_BACKWARD = {"relu": bias_relu_backward, "sigmoid": bias_sigmoid_backward, "tanh": bias_tanh_backward}
BIAS_GELU_BACKWARD = {"none": bias_gelu_none_backward, "tanh": bias_gelu_tanh_backward}


# CUDA: see activation.cu. A block of THREADS takes four packs of 16 bytes a thread.

CU = Source(
    "activation.cu",
    Entry("gelu_naive", "gelu", registers=48, types=ELEMENTS),
    Entry("gelu_stride", "gelu", registers=48, types=ELEMENTS),
    Entry("gelu_none_packed", "gelu", registers=64, types=ELEMENTS),
    Entry("gelu_tanh_packed", "gelu", registers=64, types=ELEMENTS),
    Entry("gelu_backward_none_packed", "gelu_backward", registers=64, types=ELEMENTS),
    Entry("gelu_backward_tanh_packed", "gelu_backward", registers=64, types=ELEMENTS),
    Entry("sigmoid_packed", "sigmoid", registers=64, types=ELEMENTS),
    Entry("erf_packed", "erf", registers=64, types=ELEMENTS),
    Entry("relu_packed", "relu", registers=64, types=ELEMENTS),
    Entry("relu_backward_packed", "relu_backward", registers=64, types=ELEMENTS),
    *(Entry(f"bias_{name}", "bias_activation", registers=64, types=ELEMENTS) for name in ACTIVATIONS),
    *(Entry(f"bias_{name}_backward", "bias_activation_backward", registers=64, types=ELEMENTS) for name in FROM_RESULT),
    Entry("bias_gelu_none_backward", "bias_gelu_backward", registers=64, types=ELEMENTS),
    Entry("bias_gelu_tanh_backward", "bias_gelu_backward", registers=64, types=ELEMENTS),
)
THREADS, IN_FLIGHT = 256, 4


def supports_cuda(*arguments: Array | str) -> bool:
    arrays = [a for a in arguments if not isinstance(a, str)]
    return arrays[0].size > 0 and launchable(*arrays, types=ELEMENTS)


def launch_elementwise(entry: str, *arrays: Array) -> Array:
    out = array_module(arrays[0]).empty_like(arrays[0])
    per_block = THREADS * 16 // out.itemsize * IN_FLIGHT // len(arrays)
    CU.launch(entry, blocks(out.size, per_block), THREADS, *arrays, out, out.size)
    return out


def launch_bias(entry: str, bias: Array, x: Array) -> Array:
    out, width = array_module(bias).empty_like(x), bias.size
    count = out.size // width
    across = blocks(width, THREADS * 16 // out.itemsize)
    down = min(count, blocks(4096, across))  # some thousand blocks: all multiprocessors, several times over
    CU.launch(entry, (across, down), THREADS, x, bias, out, count, width)
    return out


def launch_bias_backward(entry: str, *arrays: Array) -> tuple[Array, Array]:
    """dx and dbias. The sums of each block's rows are added by a second kernel; fewer blocks, fewer of these: not measured."""
    g = arrays[0]
    dx, width = array_module(g).empty_like(g), g.shape[-1]
    count = g.size // width
    across = blocks(width, THREADS * 16 // g.itemsize)
    partial = array_module(g).empty((min(count, blocks(1024, across)), width), "float32")
    CU.launch(entry, (across, len(partial)), THREADS, *arrays, dx, partial, count, width)
    return dx, add_columns(partial, g)


@sigmoid.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def sigmoid_cuda(x: Array) -> Array:
    return launch_elementwise("sigmoid_packed", x)


@relu.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def relu_cuda(x: Array) -> Array:
    return launch_elementwise("relu_packed", x)


@relu_backward.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def relu_backward_cuda(g: Array, out: Array) -> Array:
    return launch_elementwise("relu_backward_packed", g, out)


@erf.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def erf_cuda(x: Array) -> Array:
    return launch_elementwise("erf_packed", x)


@gelu.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def gelu_cuda(x: Array, approximate: str) -> Array:
    check("gelu", "approximate", approximate, APPROXIMATIONS)
    return launch_elementwise(f"gelu_{approximate}_packed", x)


@gelu_backward.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def gelu_backward_cuda(g: Array, x: Array, approximate: str) -> Array:
    check("gelu_backward", "approximate", approximate, APPROXIMATIONS)
    return launch_elementwise(f"gelu_backward_{approximate}_packed", g, x)


@bias_activation.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def bias_activation_cuda(x: Array, bias: Array, activation: str) -> Array:
    check("bias_activation", "activation", activation, ACTIVATIONS)
    return launch_bias(f"bias_{activation}", bias, x)


@bias_activation_backward.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def bias_activation_backward_cuda(g: Array, out: Array, activation: str) -> tuple[Array, Array]:
    check("bias_activation_backward", "activation", activation, FROM_RESULT)
    return launch_bias_backward(f"bias_{activation}_backward", g, out)


@bias_gelu_backward.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def bias_gelu_backward_cuda(g: Array, x: Array, bias: Array, approximate: str) -> tuple[Array, Array]:
    check("bias_gelu_backward", "approximate", approximate, APPROXIMATIONS)
    return launch_bias_backward(f"bias_gelu_{approximate}_backward", g, x, bias)


def supports_gelu_none(x: Array, approximate: str) -> bool:
    return approximate == "none" and supports_cuda(x)


@gelu.variant("cuda_naive", device="cuda", supports=supports_gelu_none)
def gelu_naive(x: Array, approximate: str) -> Array:
    out = array_module(x).empty_like(x)
    CU.launch("gelu_naive", blocks(x.size, THREADS), THREADS, x, out, x.size)
    return out


@gelu.variant("cuda_stride", device="cuda", supports=supports_gelu_none)
def gelu_stride(x: Array, approximate: str) -> Array:
    out = array_module(x).empty_like(x)
    CU.launch("gelu_stride", min(1024, blocks(x.size, THREADS)), THREADS, x, out, x.size)
    return out
