"""Products of matrices, and attention."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from ...dtypes import bfloat16
from ...kernels.attention import attention, attention_backward
from ...kernels.cast import astype
from ...kernels.gemm import gemm
from ...kernels.int8 import gemm_int8
from .registry import Machine, Work, versions, workload


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
