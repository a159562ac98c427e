"""Beside einsum and SciPy's softmax: other numbers of queries, keys and values, one key, no query, heads, huge scores."""

import numpy as np
from scipy.special import softmax

from minidl.learn.checks import case, check, equal, forbid, values


def reference(q, k, v):
    scores = np.einsum("...ld,...sd->...ls", q, k)
    return np.einsum("...ls,...se->...le", softmax(scores / np.sqrt(q.shape[-1]), axis=-1), v)


SHAPES = [
    ((3, 4), (5, 4), (5, 2)),
    ((4, 4), (4, 4), (4, 4)),
    ((1, 1), (1, 1), (1, 1)),
    ((3, 7), (1, 7), (1, 2)),
    ((0, 3), (2, 3), (2, 5)),
    ((2, 3, 4), (2, 5, 4), (2, 5, 6)),
    ((2, 3, 7, 16), (2, 3, 5, 16), (2, 3, 5, 8)),
    ((13, 64), (11, 64), (11, 3)),
]


def cases(rng):
    for shapes in SHAPES:
        note = ", ".join(f"{name} {shape}" for name, shape in zip("qkv", shapes, strict=True))
        yield case(*(rng.normal(size=shape) for shape in shapes), note=note)
    q, k, v = (rng.normal(size=(3, 4)) for _ in range(3))
    yield case(300 * q, 300 * k, v, note="q, k, v (3, 4), scores of some 1e5")


@check("property")
def mixture(subject, rng):
    q, k, v = rng.normal(size=(2, 6, 8)), rng.normal(size=(2, 7, 8)), rng.normal(size=(2, 7, 3))
    order = rng.permutation(7)
    out = subject.main(q, k, v)
    yield equal("keys in another order, and values with them", subject.main(q, k[:, order], v[:, order]), out)
    yield equal("queries in reverse order", subject.main(q[:, ::-1], k, v), out[:, ::-1])
    yield equal("values that are all 1", subject.main(q, k, np.ones((2, 7, 3))), np.ones((2, 6, 3)))
    same = np.repeat(k[:, :1], 7, axis=1)
    mean = np.repeat(v.mean(1, keepdims=True), 6, axis=1)
    yield equal("keys that are all the same: the mean of the values", subject.main(q, same, v), mean)


checks = [
    forbid("minidl", "torch", "scaled_dot_product_attention"),
    values(reference, cases),
    mixture,
]
