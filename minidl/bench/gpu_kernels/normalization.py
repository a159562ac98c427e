"""Layer and RMS normalization."""

from __future__ import annotations

from ...kernels.layernorm import layer_norm, layer_norm_backward, rms_norm, rms_norm_backward
from .registry import Machine, Work, versions, workload


@workload("layer norm 2^17 x 1024", 2**17, 1024)
@workload("layer norm 32768 x 4096", 32768, 4096)
@workload("layer norm 32768 x 4096 float16", 32768, 4096, True)
def _layer_norm(m: Machine, count: int, width: int, half: bool = False) -> Work:
    count, width = m.many(count), m.many(width, 1000)
    x, w, b = m.normal(count, width, half=half), m.normal(width, half=half), m.normal(width, half=half)
    t, v, c = (m.tensor(a) for a in (x, w, b))
    twin = m.torch and (lambda: m.torch.nn.functional.layer_norm(t, (width,), v, c, 1e-5))
    return Work(versions(layer_norm, x, w, b, 1e-5), twin, 2 * x.nbytes, tolerance=2e-3 if half else 1e-5)


@workload("layer norm backward 2^17 x 1024", 2**17, 1024)
@workload("layer norm backward 32768 x 4096", 32768, 4096)
def _layer_norm_backward(m: Machine, count: int, width: int) -> Work:
    count, width = m.many(count), m.many(width, 1000)
    g, x, w = m.normal(count, width), m.normal(count, width), m.normal(width)
    _, mean, rstd = layer_norm.reference(x, w, None, 1e-5)
    u, t, v, mu, r = (m.tensor(a) for a in (g, x, w, mean, rstd))
    twin = m.torch and (
        lambda: m.torch.ops.aten.native_layer_norm_backward(
            u, t, [width], mu[:, None], r[:, None], v, v, [True, True, True]
        )
    )
    return Work(versions(layer_norm_backward, g, x, mean, rstd, w), twin, 3 * x.nbytes, tolerance=1e-4)


@workload("RMS norm 32768 x 4096")
def _rms_norm(m: Machine) -> Work:
    count, width = m.many(32768), m.many(4096, 1000)
    x, w = m.normal(count, width), m.normal(width)
    t, v = m.tensor(x), m.tensor(w)
    twin = m.torch and (lambda: m.torch.nn.functional.rms_norm(t, (width,), v, 1e-5))
    return Work(versions(rms_norm, x, w, 1e-5), twin, 2 * x.nbytes)


@workload("RMS norm backward 32768 x 4096")
def _rms_norm_backward(m: Machine) -> Work:
    count, width = m.many(32768), m.many(4096, 1000)
    g, x, w = m.normal(count, width), m.normal(count, width), m.normal(width)
    _, rstd = rms_norm.reference(x, w, 1e-5)
    return Work(versions(rms_norm_backward, g, x, rstd, w), None, 3 * x.nbytes)
