"""What is measured on a GPU: every CUDA kernel, all its versions, beside the same work in PyTorch.

A workload takes the `Machine` and returns the versions of a piece of work, its twin in PyTorch, and the least number of bytes
or operations that it needs. On a machine without a GPU the same workloads run at small sizes, through
`minidl.testing.cuda_on_cpu`, as a test of this file.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..dtypes import bfloat16
from ..kernels import Kernel
from ..kernels.activation import bias_activation, bias_activation_backward, gelu, gelu_backward, relu, sigmoid
from ..kernels.attention import attention, attention_backward
from ..kernels.cast import astype, narrow, widen
from ..kernels.convolution import conv_backward_input, conv_backward_weight, conv_forward, fold, unfold
from ..kernels.embedding import adam_rows, add_to_rows, embedding_backward
from ..kernels.gemm import gemm
from ..kernels.int8 import gemm_int8
from ..kernels.layernorm import layer_norm, layer_norm_backward, rms_norm, rms_norm_backward
from ..kernels.layout import row_major
from ..kernels.loss import cross_entropy, cross_entropy_backward
from ..kernels.optimizer import adam, adam_many, sgd
from ..kernels.pooling import (
    adaptive_max_pool,
    adaptive_max_pool_backward,
    adaptive_sum_pool,
    adaptive_sum_pool_backward,
    max_pool,
    max_pool_backward,
    max_pool_index,
    pick,
    sum_pool,
    sum_pool_backward,
)
from ..kernels.random import dropout, normal, uniform
from ..kernels.recurrent import gru, gru_backward, lstm, lstm_backward
from ..kernels.reduce import max_axes, min_axes, sum_axes
from ..kernels.scan import histogram, prefix_sum
from ..kernels.softmax import log_softmax, log_softmax_backward, softmax, softmax_backward
from ..kernels.sparse import cuts_where_uneven, sddmm, spmm

Call = Callable[[], Any]


@dataclass
class Work:
    """One piece of work: its versions by name, PyTorch's, and what it needs at the least."""

    versions: Mapping[str, Call]
    twin: Call | None = None
    bytes: float = 0
    flops: float = 0
    half: bool = False  # whether `flops` count against the ceiling of half precision
    check: bool = True  # whether the first result of a version and the twin's are the same numbers
    tolerance: float = 1e-5


@dataclass
class Machine:
    """Where a workload runs: NumPy or CuPy, PyTorch or None, and the sizes that fit."""

    xp: Any
    torch: Any
    small: bool = False
    random: Any = field(init=False)

    def __post_init__(self) -> None:
        self.random = self.xp.random.default_rng(0)

    def many(self, n: int, least: int = 3) -> int:
        """n, or a few of whatever it counts."""
        return min(n, least) if self.small else n

    def normal(self, *shape: int, half: bool = False) -> Any:
        values = self.random.standard_normal(shape, dtype=self.xp.float32)
        return values.astype(self.xp.float16) if half else values

    def tensor(self, array: Any) -> Any:
        """The same memory as a tensor of PyTorch, or None without PyTorch."""
        return None if self.torch is None else self.torch.from_dlpack(array)


END = 1 << 20  # elements of each end of a large result that are compared
NUMBA_CUDA = importlib.util.find_spec("numba_cuda") is not None
WORKLOADS: dict[str, Callable[[Machine], Work]] = {}


def workload(name: str, *args: Any) -> Callable[[Callable[..., Work]], Callable[..., Work]]:
    """Register a function of the machine and `args` under a name; may be repeated."""

    def register(function: Callable[..., Work]) -> Callable[..., Work]:
        WORKLOADS[name] = lambda machine: function(machine, *args)
        return function

    return register


def versions(kernel: Kernel, *args: Any, reference: bool = True) -> dict[str, Call]:
    """The CUDA versions of a kernel that are made for these arguments, the one in force first, and CuPy's reference.

    Those in Numba-CUDA are among them on a GPU, where the package numba-cuda is installed.
    """
    found: dict[str, Call] = {}
    kinds = ("cuda", "numba_cuda") if NUMBA_CUDA and not isinstance(args[0], np.ndarray) else ("cuda",)
    for (device, name), variant in kernel.variants.items():
        if device == "cuda" and name.startswith(kinds) and (variant.supports is None or variant.supports(*args)):
            found[name] = partial(variant.run, *args)
    if reference:
        found["cupy"] = partial(kernel.reference, *args)
    return dict(sorted(found.items(), key=lambda item: item[0] != "cuda"))


# ---- element by element -----------------------------------------------------------------------------------------------


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
    twin = m.torch and (lambda: m.torch.ops.aten.gelu_backward(u, t + c, approximate="tanh"))
    return Work(versions(bias_activation_backward, g, x, b, "gelu_tanh"), twin, 3 * x.nbytes)


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


# ---- reductions -------------------------------------------------------------------------------------------------------


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


# ---- normalization ----------------------------------------------------------------------------------------------------


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


# ---- loss and optimizers ----------------------------------------------------------------------------------------------


@workload("cross-entropy 8192 x 50304", 8192, 50304)
@workload("cross-entropy 2^17 x 1000", 2**17, 1000)
def _cross_entropy(m: Machine, count: int, classes: int) -> Work:
    count, classes = m.many(count), m.many(classes, 1000)
    x, y = m.normal(count, classes), m.random.integers(0, classes, count)
    t, target = m.tensor(x), m.tensor(y)
    twin = m.torch and (lambda: m.torch.nn.functional.cross_entropy(t, target, reduction="none"))
    return Work(versions(cross_entropy, x, y, None, -100, 0.0), twin, x.nbytes)


@workload("cross-entropy forward and backward 8192 x 50304")
def _cross_entropy_backward(m: Machine) -> Work:
    count, classes = m.many(8192), m.many(50304, 1000)
    x, y = m.normal(count, classes), m.random.integers(0, classes, count)
    g = m.xp.full(count, 1 / count, "float32")

    def both(forward: Any, backward: Any) -> Any:
        _, lse = forward(x, y, None, -100, 0.0)
        return backward(g, x, y, None, -100, 0.0, lse)

    def twin() -> Any:
        t = m.tensor(x).requires_grad_()
        loss = m.torch.nn.functional.cross_entropy(t, m.tensor(y))
        return m.torch.autograd.grad(loss, t)

    pair = (cross_entropy.variants["cuda", "cuda"].run, cross_entropy_backward.variants["cuda", "cuda"].run)
    plain = (cross_entropy.reference, cross_entropy_backward.reference)
    named = {"cuda": partial(both, *pair), "cupy": partial(both, *plain)}
    return Work(named, m.torch and twin, 3 * x.nbytes)


def _torch_optimizer(m: Machine, name: str, arrays: list[Any], grads: list[Any], **options: Any) -> Call:
    params = [m.tensor(a.copy()).requires_grad_() for a in arrays]
    for p, g in zip(params, grads, strict=True):
        p.grad = m.tensor(g)
    return getattr(m.torch.optim, name)(params, fused=True, **options).step


@workload("Adam, one array of 10^8")
def _adam(m: Machine) -> Work:
    p, g, a = (m.normal(m.many(10**8, 20000)) for _ in range(3))
    b, options = a * a, (3, 1e-3, 0.9, 0.999, 1e-8, 0.0, False, False)
    twin = m.torch and _torch_optimizer(m, "Adam", [p], [g])
    return Work(versions(adam, p, g, a, b, None, *options), twin, 7 * p.nbytes, check=False)


@workload("Adam, 292 arrays of GPT-2 small")
def _adam_many(m: Machine) -> Work:
    width = m.many(768, 64)
    block = [
        3 * width * width,
        width * width,
        8 * width * width,
        3 * width,
        4 * width,
        width,
        width,
        width,
        width,
        width,
    ]
    sizes = [m.many(50257, 50) * width, 1024 * width, *(block * m.many(29, 2))]
    p, g, a = ([m.normal(n) for n in sizes] for _ in range(3))
    b, options = [x * x for x in a], (3, 1e-3, 0.9, 0.999, 1e-8, 0.0, False, False)
    twin = m.torch and _torch_optimizer(m, "Adam", p, g)
    return Work(versions(adam_many, p, g, a, b, None, *options), twin, 28 * sum(sizes), check=False)


@workload("SGD with momentum, one array of 10^8")
def _sgd(m: Machine) -> Work:
    p, g, b = (m.normal(m.many(10**8, 20000)) for _ in range(3))
    twin = m.torch and _torch_optimizer(m, "SGD", [p], [g], lr=1e-3, momentum=0.9)
    return Work(versions(sgd, p, g, b, 1e-3, 0.9, 0.0, 0.0, False, False, False), twin, 5 * p.nbytes, check=False)


# ---- products ---------------------------------------------------------------------------------------------------------


@workload("matrix product 4096, float32", 4096, False)
@workload("matrix product 8192, float16", 8192, True)
def _gemm(m: Machine, size: int, half: bool) -> Work:
    size = m.many(size, 64)
    a, b = m.normal(size, size, half=half), m.normal(size, size, half=half)
    t, u = m.tensor(a), m.tensor(b)
    twin = m.torch and (lambda: t @ u)
    named = versions(gemm, a, b, None, reference=not half)  # float16: the reference goes through float32
    return Work(named, twin, flops=2 * size**3, half=half, tolerance=1e-3 if half else 1e-5)


@workload("matrix product 8192, bfloat16", 8192)
def _gemm_bfloat16(m: Machine, size: int) -> Work:
    size = m.many(size, 64)
    x, y = m.normal(size, size), m.normal(size, size)
    a, b = astype(x, bfloat16.dtype), astype(y, bfloat16.dtype)
    t, u = (m.torch and m.tensor(z).bfloat16() for z in (x, y))
    # not compared: whether CuPy and PyTorch hand bfloat16 to each other depends on their versions
    twin = m.torch and (lambda: t @ u)
    return Work(versions(gemm, a, b, None, reference=False), twin, flops=2 * size**3, half=True, check=False)


def _qkv(m: Machine, n: int, time: int, width: int, half: bool) -> list[Any]:
    return [m.normal(1, m.many(n, 2), m.many(time, 96), width, half=half) for _ in range(4)]


@workload("attention 64 x 4096 x 64, float16", 64, 4096, 64, True, False)
@workload("attention 64 x 4096 x 64, float16, causal", 64, 4096, 64, True, True)
@workload("attention 32 x 4096 x 128, float16, causal", 32, 4096, 128, True, True)
@workload("attention 32 x 2048 x 64, float32, causal", 32, 2048, 64, False, True)
def _attention(m: Machine, n: int, time: int, width: int, half: bool, causal: bool) -> Work:
    q, k, v, _ = _qkv(m, n, time, width, half)
    t = [m.tensor(a) for a in (q, k, v)] if m.torch else []
    twin = m.torch and (lambda: m.torch.nn.functional.scaled_dot_product_attention(*t, is_causal=causal))
    flops = 4 * q.size * q.shape[2] / (2 if causal else 1)
    named = versions(attention, q, k, v, 1 / math.sqrt(width), causal, None, 0.0, 0, 0)
    return Work(named, twin, flops=flops, half=half, tolerance=2e-3 if half else 1e-4)


@workload("attention forward and backward 64 x 4096 x 64, float16, causal", 64, 4096, 64, True)
@workload("attention forward and backward 32 x 4096 x 128, float16, causal", 32, 4096, 128, True)
@workload("attention forward and backward 32 x 2048 x 64, float32, causal", 32, 2048, 64, False)
def _attention_backward(m: Machine, n: int, time: int, width: int, half: bool) -> Work:
    q, k, v, g = _qkv(m, n, time, width, half)
    options = 1 / math.sqrt(width), True, None, 0.0, 0, 0

    def both(forward: Any, backward: Any) -> Any:
        out, lse = forward(q, k, v, *options)
        return backward(g, q, k, v, out, lse, *options)

    def twin() -> Any:
        t = [m.tensor(a).requires_grad_() for a in (q, k, v)]
        out = m.torch.nn.functional.scaled_dot_product_attention(*t, is_causal=True)
        return m.torch.autograd.grad(out, t, m.tensor(g))

    pair = (attention.variants["cuda", "cuda"].run, attention_backward.variants["cuda", "cuda"].run)
    named = {"cuda": partial(both, *pair), "cupy": partial(both, attention.reference, attention_backward.reference)}
    flops = 3.5 * 4 * q.size * q.shape[2] / 2
    return Work(named, m.torch and twin, flops=flops, half=half, tolerance=5e-3 if half else 1e-4)


@workload("int8 matrix product 4096")
def _gemm_int8(m: Machine) -> Work:
    size = m.many(4096, 64)
    x, w = (m.random.integers(-128, 128, (size, size)).astype(m.xp.int8) for _ in range(2))
    scales = m.xp.full(size, 0.01, "float32")
    t, u = m.tensor(x), m.tensor(w).T if m.torch else None

    def twin() -> Any:  # PyTorch's has no scales: they are a pass of their own
        return m.torch._int_mm(t, u) * (m.tensor(scales)[:, None] * m.tensor(scales))

    named = versions(gemm_int8, x, w, scales, scales, None)
    return Work(named, m.torch and twin, flops=2 * size**3, half=True, tolerance=1e-5)


# ---- products with a sparse matrix ------------------------------------------------------------------------------------


@dataclass
class SparseMatrix:
    """A square matrix of random values at random places, grouped by row; the same for PyTorch and for cuSPARSE."""

    m: Machine
    size: int
    stored: float | None  # the share of its elements, or None for a power law: the row of rank r gets size / r of them

    def __post_init__(self) -> None:
        m, xp = self.m, self.m.xp
        self.size = size = m.many(self.size, 300)
        if self.stored is None:
            ends = xp.cumsum(size // (1 + xp.argsort(m.random.random(size))))
            rows = xp.searchsorted(ends, xp.arange(int(ends[-1])), side="right")
            places = rows * size + m.random.integers(0, size, rows.size)
        else:
            places = m.random.integers(0, size * size, int(self.stored * size * size))
        places = xp.unique(places)
        self.pointers = xp.searchsorted(places, xp.arange(size + 1) * size)
        self.indices, self.values = (places % size).astype(xp.int32), m.normal(places.size)
        self.cuts = cuts_where_uneven(self.pointers, places.size)
        self.bytes = self.values.nbytes + self.indices.nbytes + self.pointers.nbytes

    def cusparse(self) -> Any:
        """The matrix for cuSPARSE, through CuPy; on a CPU for SciPy."""
        module = importlib.import_module("scipy.sparse" if self.m.xp is np else "cupyx.scipy.sparse")
        return module.csr_matrix((self.values, self.indices, self.pointers), (self.size, self.size))

    def torch(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is in beta
            parts = (self.m.tensor(a) for a in (self.pointers, self.indices.astype(self.m.xp.int64), self.values))
            return self.m.torch.sparse_csr_tensor(*parts, (self.size, self.size))


@workload("sparse 16384^2, 1 % stored, times 128 columns", 0.01, 128)
@workload("sparse 16384^2, 5 % stored, times 128 columns", 0.05, 128)
@workload("sparse 16384^2, 10 % stored, times 128 columns", 0.1, 128)
@workload("sparse 16384^2, 1 % stored, times a vector", 0.01, 1)
@workload("sparse 2^18 rows by a power law, times 128 columns", None, 128)
@workload("sparse 2^18 rows by a power law, times a vector", None, 1)
def _spmm(m: Machine, stored: float | None, width: int) -> Work:
    a = SparseMatrix(m, 2**18 if stored is None else 2**14, stored)
    dense = m.normal(a.size, width) if width > 1 else m.normal(a.size)
    named = versions(spmm, a.values, dense, a.pointers, a.indices, a.cuts, reference=False)
    theirs, matrix = a.torch() if m.torch else None, a.cusparse()
    t = m.tensor(dense)
    twin = m.torch and (lambda: theirs @ t)
    # the dense matrix counts once: reading its rows again is left to the caches
    return Work({**named, "cusparse": lambda: matrix @ dense}, twin, a.bytes + 2 * dense.nbytes)


@workload("sampled product at 1 % of 16384^2, width 128", 0.01)
@workload("sampled product at the power law's places, width 128", None)
def _sddmm(m: Machine, stored: float | None) -> Work:
    a = SparseMatrix(m, 2**18 if stored is None else 2**14, stored)
    x, y = m.normal(a.size, 128), m.normal(a.size, 128)
    named = versions(sddmm, x, y, a.pointers, a.indices, reference=False)
    theirs, t, u = a.torch() if m.torch else None, m.tensor(x), m.tensor(y)
    twin = m.torch and (lambda: m.torch.sparse.sampled_addmm(theirs, t, u.T, beta=0.0).values())
    return Work(named, twin, a.bytes + 2 * x.nbytes, tolerance=1e-5)


@workload("rows added to a table, 32768 of 50257 x 768", False)
@workload("rows added to a table, 32768 of 50257 x 768, all different", True)
def _add_to_rows(m: Machine, distinct: bool) -> Work:
    count, rows, width = m.many(32768, 40), m.many(50257, 50), m.many(768, 64)
    index = m.random.integers(0, rows, count)
    index = m.xp.argsort(m.random.random(rows))[:count] if distinct else index
    table, g = m.normal(rows, width), m.normal(count, width)
    t, i, u = m.tensor(table.copy()), m.tensor(index), m.tensor(g)
    twin = m.torch and (lambda: t.index_add_(0, i, u, alpha=-0.1))
    named = versions(add_to_rows, table, index, g, -0.1, distinct)
    return Work(named, twin, 3 * g.nbytes, check=False)


@workload("SparseAdam, 32768 of 50257 x 768")
def _adam_rows(m: Machine) -> Work:
    count, rows, width = m.many(32768, 40), m.many(50257, 50), m.many(768, 64)
    table, mean, g = m.normal(rows, width), m.normal(rows, width), m.normal(count, width)
    index = m.xp.argsort(m.random.random(rows))[:count]
    twin = None
    if m.torch:
        parameter = m.tensor(table.copy()).requires_grad_()
        at, u = m.tensor(index)[None], m.tensor(g)
        parameter.grad = m.torch.sparse_coo_tensor(at, u, (rows, width), check_invariants=False, is_coalesced=True)
        twin = m.torch.optim.SparseAdam([parameter]).step
    named = versions(adam_rows, table, mean, mean * mean, (index,), g, 1e-3, 0.9, 0.999, 1e-8)
    return Work(named, twin, 7 * g.nbytes, check=False)


# ---- layers -----------------------------------------------------------------------------------------------------------


@workload("embedding backward, 32768 of 50257 x 768")
def _embedding(m: Machine) -> Work:
    count, rows, width = m.many(32768, 40), m.many(50257, 20), m.many(768, 64)
    g, index = m.normal(count, width), m.random.integers(0, rows, count)
    u, i = m.tensor(g), m.tensor(index)
    twin = m.torch and (lambda: m.torch.ops.aten.embedding_dense_backward(u, i, rows, -1, False))
    return Work(versions(embedding_backward, g, index, rows), twin, g.nbytes + 4 * rows * width)


def _recurrent(m: Machine, gates: int, T: int, B: int, H: int) -> tuple[Any, ...]:
    """x, w_ih, w_hh and the first state."""
    T, B, H = m.many(T, 3), m.many(B, 9), m.many(H, 16)
    return m.normal(T, B, 1), m.normal(gates * H, 1), m.normal(gates * H, H) / H**0.5, m.normal(B, H)


def _recurrent_twin(m: Machine, name: str, x: Any, w_ih: Any, w_hh: Any, *states: Any) -> Call:
    """PyTorch's layer, cuDNN's on a GPU, with the same weights."""
    layer = getattr(m.torch.nn, name)(1, states[0].shape[1], bias=False, device=m.tensor(x).device)
    with m.torch.no_grad():
        layer.weight_ih_l0.copy_(m.tensor(w_ih))
        layer.weight_hh_l0.copy_(m.tensor(w_hh))
    layer.flatten_parameters()
    t = m.tensor(x).requires_grad_()
    first = [m.tensor(a.copy())[None] for a in states]
    return lambda: (t, layer, layer(t, tuple(first) if len(first) > 1 else first[0])[0])


def _gradients(m: Machine, twin: Call, g: Any) -> Call:
    """The backward pass of a twin, whose first results are kept."""
    t, layer, out = twin()
    u, wanted = m.tensor(g), (t, *layer.parameters())
    return lambda: m.torch.autograd.grad(out, wanted, u, retain_graph=True)


def _outputs(m: Machine, twin: Call) -> Call:
    def run() -> Any:
        with m.torch.no_grad():
            return twin()[-1]

    return run


@workload("LSTM, 128 steps, batch 64, width 1024", 128, 64, 1024)
@workload("LSTM, 128 steps, batch 8, width 512", 128, 8, 512)
@workload("LSTM, 100 steps, batch 8, width 200", 100, 8, 200)
def _lstm(m: Machine, *sizes: int) -> Work:
    x, w_ih, w_hh, h = _recurrent(m, 4, *sizes)
    (T, B, _), H = x.shape, h.shape[1]
    twin = m.torch and _outputs(m, _recurrent_twin(m, "LSTM", x, w_ih, w_hh, h, h))
    named = versions(lstm, x, w_ih, w_hh, None, h, h.copy(), None, (B,) * T, False)
    return Work(named, twin, flops=8 * T * B * H * H, tolerance=1e-2)  # PyTorch may use tf32


@workload("LSTM backward, 128 steps, batch 64, width 1024", 128, 64, 1024)
@workload("LSTM backward, 128 steps, batch 8, width 512", 128, 8, 512)
@workload("LSTM backward, 100 steps, batch 8, width 200", 100, 8, 200)
def _lstm_backward(m: Machine, *sizes: int) -> Work:
    x, w_ih, w_hh, h = _recurrent(m, 4, *sizes)
    (T, B, _), H = x.shape, h.shape[1]
    out, _, _, *kept = lstm.reference(x, w_ih, w_hh, None, h, h, None, (B,) * T, False)
    g, none = m.normal(*out.shape), m.xp.zeros_like(h)
    twin = m.torch and _gradients(m, _recurrent_twin(m, "LSTM", x, w_ih, w_hh, h, h), g)
    named = versions(lstm_backward, g, none, none, w_ih, w_hh, None, *kept, (B,) * T, False)
    return Work(named, twin, flops=16 * T * B * H * H, tolerance=1e-2)


@workload("GRU, 128 steps, batch 64, width 1024", 128, 64, 1024)
@workload("GRU, 100 steps, batch 8, width 200", 100, 8, 200)
def _gru(m: Machine, *sizes: int) -> Work:
    x, w_ih, w_hh, h = _recurrent(m, 3, *sizes)
    (T, B, _), H = x.shape, h.shape[1]
    twin = m.torch and _outputs(m, _recurrent_twin(m, "GRU", x, w_ih, w_hh, h))
    named = versions(gru, x, w_ih, w_hh, None, None, h, (B,) * T, False)
    return Work(named, twin, flops=6 * T * B * H * H, tolerance=1e-2)


@workload("GRU backward, 128 steps, batch 64, width 1024", 128, 64, 1024)
@workload("GRU backward, 100 steps, batch 8, width 200", 100, 8, 200)
def _gru_backward(m: Machine, *sizes: int) -> Work:
    x, w_ih, w_hh, h = _recurrent(m, 3, *sizes)
    (T, B, _), H = x.shape, h.shape[1]
    out, _, *kept = gru.reference(x, w_ih, w_hh, None, None, h, (B,) * T, False)
    g = m.normal(*out.shape)
    twin = m.torch and _gradients(m, _recurrent_twin(m, "GRU", x, w_ih, w_hh, h), g)
    named = versions(gru_backward, g, m.xp.zeros_like(h), x, w_ih, w_hh, *kept, (B,) * T, False)
    return Work(named, twin, flops=12 * T * B * H * H, tolerance=1e-2)


def _images(m: Machine, batch: int, channels: int, size: int, groups: int, half: bool) -> tuple[Any, Any, Any]:
    """x, a weight of 3 x 3 and the gradient of the result; padding is 1."""
    batch, channels, size = m.many(batch, 2), m.many(channels, 9), m.many(size, 9)
    x, g = (m.normal(batch, channels, size, size, half=half) for _ in range(2))
    each = channels // min(groups, channels)
    return x, (m.normal(channels, each, 3, 3) / (9 * each) ** 0.5).astype(x.dtype), g


CONVOLUTIONS = {
    "128 x 64 x 56 x 56, 64 of 3 x 3": (128, 64, 56, 1, False),
    "128 x 64 x 56 x 56, 64 of 3 x 3, float16": (128, 64, 56, 1, True),
    "32 x 512 x 14 x 14, 512 of 3 x 3": (32, 512, 14, 1, False),
    "64 x 256 x 28 x 28, 3 x 3 in 256 groups": (64, 256, 28, 256, False),
}


def _convolution(m: Machine, direction: str, batch: int, channels: int, size: int, groups: int, half: bool) -> Work:
    x, w, g = _images(m, batch, channels, size, groups, half)
    groups, around = len(w) // w.shape[1], ((1, 1), (1, 1), (1, 1))
    t, u, v = (m.tensor(a) for a in (x, w, g))
    flops, options = 2 * x.size * w[0].size, {"padding": 1, "groups": groups}
    if direction == "":
        named = versions(conv_forward, x, w, None, *around, groups)
        twin = m.torch and (lambda: m.torch.nn.functional.conv2d(t, u, **options))
    elif direction == " backward, input":
        named = versions(conv_backward_input, g, w, None, x.shape, *around, groups)
        twin = m.torch and (lambda: m.torch.nn.grad.conv2d_input(x.shape, u, v, **options))
    else:
        named = versions(conv_backward_weight, g, x, w.shape, *around, groups)
        twin = m.torch and (lambda: m.torch.nn.grad.conv2d_weight(t, w.shape, v, **options))
    return Work(named, twin, flops=flops, half=half, tolerance=1e-2)  # PyTorch may use tf32


for _direction in ("", " backward, input", " backward, weight"):
    for _sizes, _arguments in CONVOLUTIONS.items():
        workload(f"convolution{_direction} {_sizes}", _direction, *_arguments)(_convolution)


@workload("unfold 32 x 64 x 56 x 56, 3 x 3")
def _unfold(m: Machine) -> Work:
    x = m.normal(m.many(32), m.many(64, 5), m.many(56, 9), m.many(56, 9))
    t, geometry = m.tensor(x), ((3, 3), (1, 1), (1, 1), (1, 1))
    twin = m.torch and (lambda: m.torch.nn.functional.unfold(t, 3, padding=1))
    return Work(versions(unfold, x, *geometry), twin, 10 * x.nbytes)


@workload("fold 32 x 64 x 56 x 56, 3 x 3")
def _fold(m: Machine) -> Work:
    size = m.many(56, 9)
    columns = m.normal(m.many(32), m.many(64, 5) * 9, size * size)
    t, geometry = m.tensor(columns), ((size, size), (3, 3), (1, 1), (1, 1), (1, 1))
    twin = m.torch and (lambda: m.torch.nn.functional.fold(t, (size, size), 3, padding=1))
    return Work(versions(fold, columns, *geometry), twin, columns.nbytes * 10 / 9)


@workload("max pooling 128 x 64 x 112 x 112, 2 x 2")
def _max_pool(m: Machine) -> Work:
    size = m.many(112, 10)
    x, geometry = m.normal(m.many(128), m.many(64), size, size), ((2, 2), (2, 2), (0, 0))
    t = m.tensor(x)

    def both(index: Any, values: Any) -> Any:
        return values(x, index(x, *geometry, (1, 1), (size // 2, size // 2)))

    pair = (max_pool_index.variants["cuda", "cuda"].run, pick.variants["cuda", "cuda"].run)
    named = {"cuda": partial(both, *pair), "cupy": partial(both, max_pool_index.reference, pick.reference)}
    twin = m.torch and (lambda: m.torch.nn.functional.max_pool2d(t, 2, return_indices=True))
    return Work(named, twin, x.nbytes * (1 + 3 / 4))


@workload("max pooling with its values, 128 x 64 x 112 x 112, 2 x 2")
def _max_pool_values(m: Machine) -> Work:
    size = m.many(112, 10)
    x = m.normal(m.many(128), m.many(64), size, size)
    t = m.tensor(x)
    twin = m.torch and (lambda: m.torch.nn.functional.max_pool2d(t, 2, return_indices=True))
    named = versions(max_pool, x, (2, 2), (2, 2), (0, 0), (1, 1), (size // 2, size // 2))
    return Work(named, twin, x.nbytes * (1 + 3 / 4))


@workload("max pooling backward 128 x 64 x 112 x 112, 2 x 2")
def _max_pool_backward(m: Machine) -> Work:
    size, geometry = m.many(112, 10), ((2, 2), (2, 2), (0, 0), (1, 1))
    x = m.normal(m.many(128), m.many(64), size, size)
    index = max_pool_index.reference(x, *geometry, (size // 2, size // 2))
    g = m.normal(*index.shape)
    t, u, i = (m.tensor(a) for a in (x, g, index))
    twin = m.torch and (
        lambda: m.torch.ops.aten.max_pool2d_with_indices_backward(u, t, [2, 2], [2, 2], [0, 0], [1, 1], False, i)
    )
    return Work(versions(max_pool_backward, g, index, x.shape[2:], *geometry), twin, x.nbytes * (1 + 3 / 4))


@workload("average pooling 128 x 64 x 112 x 112, 2 x 2")
def _sum_pool(m: Machine) -> Work:
    size = m.many(112, 10)
    x, geometry = m.normal(m.many(128), m.many(64), size, size), ((2, 2), (2, 2), (0, 0))
    t = m.tensor(x)
    twin = m.torch and (lambda: m.torch.nn.functional.avg_pool2d(t, 2, divisor_override=1))
    return Work(versions(sum_pool, x, *geometry, (size // 2, size // 2)), twin, x.nbytes * 5 / 4)


@workload("average pooling backward 128 x 64 x 112 x 112, 2 x 2")
def _sum_pool_backward(m: Machine) -> Work:
    size = m.many(112, 10)
    g = m.normal(m.many(128), m.many(64), size // 2, size // 2)
    return Work(versions(sum_pool_backward, g, (size, size), (2, 2), (2, 2), (0, 0)), None, 5 * g.nbytes)


@workload("adaptive average pooling 128 x 512 x 14 x 14 to 1 x 1")
def _adaptive_sum(m: Machine) -> Work:
    x = m.normal(m.many(128), m.many(512), 14, 14)
    t = m.tensor(x)
    twin = m.torch and (lambda: m.torch.nn.functional.adaptive_avg_pool2d(t, 1) * 196)
    return Work(versions(adaptive_sum_pool, x, (1, 1)), twin, x.nbytes)


@workload("adaptive average pooling backward 128 x 512 x 14 x 14 to 1 x 1")
def _adaptive_sum_backward(m: Machine) -> Work:
    g = m.normal(m.many(128), m.many(512), 1, 1)
    return Work(versions(adaptive_sum_pool_backward, g, (14, 14)), None, 196 * g.nbytes)


@workload("adaptive max pooling 128 x 512 x 14 x 14 to 7 x 7")
def _adaptive_max(m: Machine) -> Work:
    x = m.normal(m.many(128), m.many(512), 14, 14)
    t = m.tensor(x)
    twin = m.torch and (lambda: m.torch.nn.functional.adaptive_max_pool2d(t, 7, return_indices=True))
    return Work(versions(adaptive_max_pool, x, (7, 7)), twin, x.nbytes * (1 + 3 / 4))


@workload("adaptive max pooling backward 128 x 512 x 14 x 14 to 7 x 7")
def _adaptive_max_backward(m: Machine) -> Work:
    x = m.normal(m.many(128), m.many(512), 14, 14)
    index = adaptive_max_pool.reference(x, (7, 7))[1].astype("int64")
    g = m.normal(*index.shape)
    t, u, i = (m.tensor(a) for a in (x, g, index))
    twin = m.torch and (lambda: m.torch.ops.aten.adaptive_max_pool2d_backward(u, t, i))
    return Work(versions(adaptive_max_pool_backward, g, index, (14, 14)), twin, x.nbytes * (1 + 3 / 4))


# ---- kernels that are in Numba-CUDA only, and the cases of others that are made for --------------------------------------


@workload("relu 2^27")
def _relu(m: Machine) -> Work:
    x = m.normal(m.many(2**27, 5000))
    t = m.tensor(x)
    return Work(versions(relu, x), m.torch and (lambda: m.torch.relu(t)), 2 * x.nbytes)


@workload("bias + relu 32768 x 4096")
def _bias_relu(m: Machine) -> Work:
    x, b = m.normal(m.many(32768), m.many(4096, 512)), m.normal(m.many(4096, 512))
    t, c = m.tensor(x), m.tensor(b)
    return Work(versions(bias_activation, x, b, "relu"), m.torch and (lambda: m.torch.relu(t + c)), 2 * x.nbytes)


@workload("transpose 8192 x 8192")
def _transpose(m: Machine) -> Work:
    x = m.normal(m.many(8192, 40), m.many(8192, 30)).T
    t = m.tensor(x)
    return Work(versions(row_major, x), m.torch and (lambda: t.contiguous()), 2 * x.nbytes)


@workload("prefix sum of 2^24")
def _prefix_sum(m: Machine) -> Work:
    x = m.normal(m.many(2**24, 5000))
    t = m.tensor(x)
    twin = m.torch and (lambda: m.torch.cumsum(t, 0))
    return Work(versions(prefix_sum, x), twin, 2 * x.nbytes, tolerance=1e-3)  # of numbers that cancel


@workload("histogram of 2^26 numbers below 256")
def _histogram(m: Machine) -> Work:
    keys = m.random.integers(0, 256, m.many(2**26, 5000))
    t = m.tensor(keys)
    return Work(versions(histogram, keys, 256), m.torch and (lambda: m.torch.bincount(t, minlength=256)), keys.nbytes)


@workload("sparse matrix 2^18 x 2^18, 32 a row, times a vector")
def _spmv(m: Machine) -> Work:
    rows = m.many(2**18, 50)
    columns = (m.random.integers(0, rows, (rows, 1)) + m.xp.arange(32) * (rows // 32)) % rows  # all over the vector
    indices = m.xp.sort(columns).reshape(-1).astype(m.xp.int32)
    pointers, values, x = m.xp.arange(rows + 1) * 32, m.normal(32 * rows), m.normal(rows)
    twin = None
    if m.torch:
        places = m.tensor(pointers), m.tensor(indices.astype(m.xp.int64))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that such tensors are in beta
            t = m.torch.sparse_csr_tensor(*places, m.tensor(values), (rows, rows), check_invariants=True)
        u = m.tensor(x)

        def twin() -> Any:
            return t @ u

    return Work(versions(spmm, values, x, pointers, indices), twin, 8 * values.size + 8 * rows)


def first(result: Any) -> Any:
    """The first array of a result in float64: all of it, or of a large one its two ends, which is enough to compare."""
    while isinstance(result, (tuple, list)):
        result = result[0]
    flat = result.reshape(-1)
    return np.concatenate([host(flat[:END]), host(flat[END:][-END:])])


def host(array: Any) -> Any:
    """An array or a tensor as NumPy in float64."""
    if hasattr(array, "detach"):
        array = array.detach().cpu().numpy()
    return np.asarray(array.get() if hasattr(array, "get") else array, np.float64)
