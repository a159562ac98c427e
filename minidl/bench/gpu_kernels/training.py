"""Losses and optimizers."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...kernels.loss import cross_entropy, cross_entropy_backward
from ...kernels.optimizer import adam, adam_many, sgd
from .registry import Call, Machine, Work, versions, workload


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
