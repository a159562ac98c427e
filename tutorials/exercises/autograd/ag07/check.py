"""x·w^k in closed form, with k by logarithms: values, both gradients and the number of nodes, for many k."""

import math

import numpy as np

import minidl
from minidl.learn.checks import check, equal, forbid


def steps(x, w, limit):
    """The smallest k with |w|^k · ‖x‖ >= limit."""
    return max(0, math.ceil(math.log(limit / np.linalg.norm(x)) / math.log(abs(w))))


def cases(rng):
    for limit in (0.5, 3.0, 10.0, 100.0, 1e4, 10.0 ** rng.uniform(0, 5)):
        x = rng.normal(size=rng.choice([1, 3, 7]))
        x *= rng.uniform(1.0, 2.0) / np.linalg.norm(x)
        yield x, float(rng.uniform(1.3, 2.5) * rng.choice([-1, 1])), limit


def leaf(value):
    return minidl.tensor(value, dtype=minidl.float64, requires_grad=True)


@check("values")
def grown(subject, rng):
    for x, w, limit in cases(rng):
        k = steps(x, w, limit)
        what = f"‖x‖={np.linalg.norm(x):.2f}, w={w:.2f}, limit={limit:.4g}: {k} products"
        tx = leaf(x)
        yield equal(what, subject.grow(tx, leaf(w), limit), x * w**k)
        yield equal(f"x must not be changed, {what}", tx, x, rtol=0, atol=0)


@check("gradient")
def both(subject, rng):
    for x, w, limit in cases(rng):
        k = steps(x, w, limit)
        what = f"‖x‖={np.linalg.norm(x):.2f}, w={w:.2f}, limit={limit:.4g}: {k} products"
        if k == 0:
            continue
        tx, tw, g = leaf(x), leaf(w), rng.normal(size=x.shape)
        (subject.grow(tx, tw, limit) * minidl.tensor(g)).sum().backward()
        for name, t, wanted in [("x", tx, g * w**k), ("w", tw, np.sum(g * x) * k * w ** (k - 1))]:
            yield equal(f"gradient of {name}, {what}", None if t.grad is None else t.grad, wanted)


@check("property")
def nodes(subject, rng):
    x, w = leaf([1.0, 0.0]), leaf(2.0)
    yield equal("nodes of a leaf", subject.count_nodes(x), 0)
    yield equal("nodes of x * 3 (a product and x)", subject.count_nodes(x * 3), 2)
    yield equal("nodes of x * x", subject.count_nodes(x * x), 2)
    yield equal("nodes of (x * w) * (x * w), written once", subject.count_nodes((lambda p: p * p)(x * w)), 4)
    doubled = x
    for _ in range(12):
        doubled = doubled + doubled
    yield equal("nodes of 12 times x = x + x", subject.count_nodes(doubled), 13)
    for limit, k in [(1.5, 1), (6.0, 3), (500.0, 9)]:
        yield equal(f"nodes of grow(x, w, {limit}), w=2", subject.count_nodes(subject.grow(x, w, limit)), k + 2)


checks = [forbid("torch", "graph"), grown, both, nodes]
