"""Element by element: activations, conversions, random numbers."""

from __future__ import annotations

from ...dtypes import bfloat16
from ...kernels import Kernel
from ...kernels.activation import (
    bias_activation,
    bias_activation_backward,
    bias_gelu_backward,
    gelu,
    gelu_backward,
    relu,
    relu_backward,
    sigmoid,
)
from ...kernels.cast import astype, narrow, widen
from ...kernels.random import dropout, normal, uniform
from .registry import Machine, Work, versions, workload


@workload("gelu 2^27 float32", False)
@workload("gelu 2^27 float16", True)
def _gelu(m: Machine, half: bool) -> Work:
    x = m.normal(m.many(2**27, 5000), half=half)
    t = m.tensor(x)
    twin = m.torch and (lambda: m.torch.nn.functional.gelu(t))
    return Work(versions(gelu, x, "none"), twin, 2 * x.nbytes, tolerance=1e-3 if half else 1e-5)


@workload("float32 to bfloat16, 2^27")
def _narrow(m: Machine) -> Work:
    x = m.normal(m.many(2**27, 5000))
    t, like = m.tensor(x), astype(x[:1], bfloat16.dtype)
    twin = m.torch and (lambda: t.bfloat16())
    return Work(versions(narrow, x, like), twin, 1.5 * x.nbytes, check=False)


@workload("bfloat16 to float32, 2^27")
def _widen(m: Machine) -> Work:
    x = m.normal(m.many(2**27, 5000))
    low, t = astype(x, bfloat16.dtype), m.torch and m.tensor(x).bfloat16()
    twin = m.torch and (lambda: t.float())
    return Work(versions(widen, low), twin, 1.5 * x.nbytes)


@workload("gelu backward, tanh, 2^26")
def _gelu_backward(m: Machine) -> Work:
    x, g = m.normal(m.many(2**26, 5000)), m.normal(m.many(2**26, 5000))
    t, u = m.tensor(x), m.tensor(g)
    twin = m.torch and (lambda: m.torch.ops.aten.gelu_backward(u, t, approximate="tanh"))
    return Work(versions(gelu_backward, g, x, "tanh"), twin, 3 * x.nbytes)


@workload("sigmoid 2^27")
def _sigmoid(m: Machine) -> Work:
    x = m.normal(m.many(2**27, 5000))
    t = m.tensor(x)
    return Work(versions(sigmoid, x), m.torch and (lambda: m.torch.sigmoid(t)), 2 * x.nbytes)


@workload("bias + gelu 32768 x 4096")
def _bias_gelu(m: Machine) -> Work:
    x, b = m.normal(m.many(32768), m.many(4096, 512)), m.normal(m.many(4096, 512))
    t, c = m.tensor(x), m.tensor(b)
    twin = m.torch and (lambda: m.torch.nn.functional.gelu(t + c, approximate="tanh"))
    return Work(versions(bias_activation, x, b, "gelu_tanh"), twin, 2 * x.nbytes)


@workload("bias + gelu backward 16384 x 4096")
def _bias_gelu_backward(m: Machine) -> Work:
    shape = m.many(16384), m.many(4096, 512)
    g, x, b = m.normal(*shape), m.normal(*shape), m.normal(shape[1])
    u, t, c = (m.tensor(a) for a in (g, x, b))

    def twin() -> object:
        d = m.torch.ops.aten.gelu_backward(u, t + c, approximate="tanh")
        return d, d.sum(0)

    return Work(versions(bias_gelu_backward, g, x, b, "tanh"), m.torch and twin, 3 * x.nbytes)


@workload("bias + relu backward 16384 x 4096")
def _bias_relu_backward(m: Machine) -> Work:
    shape = m.many(16384), m.many(4096, 512)
    g, y = m.normal(*shape), relu(m.normal(*shape))
    u, t = m.tensor(g), m.tensor(y)

    def twin() -> object:
        d = m.torch.ops.aten.threshold_backward(u, t, 0)
        return d, d.sum(0)

    return Work(versions(bias_activation_backward, g, y, "relu"), m.torch and twin, 3 * g.nbytes)


@workload("relu backward 2^26")
def _relu_backward(m: Machine) -> Work:
    g, y = m.normal(m.many(2**26, 5000)), relu(m.normal(m.many(2**26, 5000)))
    u, t = m.tensor(g), m.tensor(y)
    twin = m.torch and (lambda: m.torch.ops.aten.threshold_backward(u, t, 0))
    return Work(versions(relu_backward, g, y), twin, 3 * g.nbytes)


@workload("dropout 2^27")
def _dropout(m: Machine) -> Work:
    x = m.normal(m.many(2**27, 5000))
    t = m.tensor(x)
    twin = m.torch and (lambda: m.torch.nn.functional.dropout(t, 0.5, True))
    return Work(versions(dropout, x, 0.5, 1, 0, reference=False), twin, 2 * x.nbytes, check=False)


@workload("uniform 2^27", uniform, "rand")
@workload("normal 2^27", normal, "randn")
def _fill(m: Machine, kernel: Kernel, name: str) -> Work:
    x = m.xp.empty(m.many(2**27, 5000), "float32")
    device = None if m.torch is None else m.tensor(x).device
    twin = m.torch and (lambda: getattr(m.torch, name)(x.size, device=device))
    return Work(versions(kernel, x, 1, 0, reference=False), twin, x.nbytes, check=False)
