"""Along axes: sums, maxima, softmax."""

from __future__ import annotations

from ...kernels import Kernel
from ...kernels.reduce import max_axes, min_axes, sum_axes
from ...kernels.softmax import log_softmax, log_softmax_backward, softmax, softmax_backward
from .registry import Machine, Work, versions, workload


@workload("sum of 2^27", sum_axes, "sum", (2**15, 4096), (0, 1))
@workload("sum of rows 8192 x 16384", sum_axes, "sum", (8192, 16384), (1,))
@workload("sum of rows 2^20 x 128", sum_axes, "sum", (2**20, 128), (1,))
@workload("sum of columns 32768 x 4096", sum_axes, "sum", (32768, 4096), (0,))
@workload("sum of channels 128 x 256 x 56 x 56", sum_axes, "sum", (128, 256, 56 * 56), (0, 2))
@workload("max of columns 2^20 x 128", max_axes, "amax", (2**20, 128), (0,))
@workload("min of the middle 256 x 512 x 1024", min_axes, "amin", (256, 512, 1024), (1,))
def _reduce(m: Machine, kernel: Kernel, name: str, shape: tuple[int, ...], axes: tuple[int, ...]) -> Work:
    x = m.normal(*(m.many(n, 20) for n in shape[:-1]), m.many(shape[-1], 1024))
    t = m.tensor(x)
    twin = m.torch and (lambda: getattr(m.torch, name)(t, axes))
    return Work(versions(kernel, x, axes, False), twin, x.nbytes, tolerance=1e-3)  # a sum of numbers that cancel


@workload("softmax 2^20 x 128", 2**20, 128)
@workload("softmax 2^17 x 1024", 2**17, 1024)
@workload("softmax 32768 x 4096", 32768, 4096)
@workload("softmax 8192 x 16384", 8192, 16384)
@workload("softmax 2048 x 65536", 2048, 65536)
@workload("softmax 32768 x 4096 float16", 32768, 4096, True)
def _softmax(m: Machine, count: int, width: int, half: bool = False) -> Work:
    x = m.normal(m.many(count), m.many(width, 3000), half=half)
    t = m.tensor(x)
    twin = m.torch and (lambda: m.torch.softmax(t, -1))
    return Work(versions(softmax, x, -1), twin, 2 * x.nbytes, tolerance=1e-3 if half else 1e-5)


@workload("log-softmax 32768 x 4096")
def _log_softmax(m: Machine) -> Work:
    x = m.normal(m.many(32768), m.many(4096, 1000))
    t = m.tensor(x)
    return Work(versions(log_softmax, x, -1), m.torch and (lambda: m.torch.log_softmax(t, -1)), 2 * x.nbytes)


@workload("softmax backward 2^18 x 512", softmax, softmax_backward, "_softmax_backward_data", 2**18, 512)
@workload("softmax backward 32768 x 4096", softmax, softmax_backward, "_softmax_backward_data", 32768, 4096)
@workload(
    "log-softmax backward 32768 x 4096", log_softmax, log_softmax_backward, "_log_softmax_backward_data", 32768, 4096
)
def _softmax_backward(m: Machine, forward: Kernel, backward: Kernel, name: str, count: int, width: int) -> Work:
    g, x = m.normal(m.many(count), m.many(width, 1000)), m.normal(m.many(count), m.many(width, 1000))
    y = forward.reference(x, -1)
    u, t = m.tensor(g), m.tensor(y)
    twin = m.torch and (lambda: getattr(m.torch, name)(u, t, -1, m.torch.float32))
    return Work(versions(backward, g, y, -1), twin, 3 * x.nbytes)
