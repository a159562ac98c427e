"""Pooling and its gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...kernels.pooling import (
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
from .registry import Machine, Work, versions, workload


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
