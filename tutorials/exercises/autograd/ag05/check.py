"""Central differences of np.matmul: square, thin, batched, batches that broadcast from either side, empty ones."""

import numpy as np

from minidl.learn.checks import case, check, equal, forbid, gradient

SHAPES = [
    ((3, 3), (3, 3)),
    ((2, 3), (3, 4)),
    ((1, 5), (5, 1)),
    ((5, 2, 3), (5, 3, 2)),
    ((2, 2, 3, 1), (2, 2, 1, 2)),
    ((4, 2, 3), (3, 2)),
    ((2, 3), (4, 3, 2)),
    ((1, 2, 3), (4, 3, 2)),
    ((2, 1, 2, 3), (3, 3, 1)),
    ((1, 1, 2), (2, 3)),
    ((0, 3), (3, 2)),
    ((2, 0), (0, 3)),
    ((0, 2, 3), (3, 2)),
]


def cases(rng):
    for a, b in SHAPES:
        yield case(rng.normal(size=a), rng.normal(size=b), note=f"a of shape {a}, b of shape {b}")


@check("property")
def as_given(subject, rng):
    a, b, g = rng.normal(size=(2, 3)), rng.normal(size=(4, 3, 5)), rng.normal(size=(4, 2, 5))
    before = [x.copy() for x in (g, a, b)]
    ga, gb = subject.main(g, a, b)
    # <g, a @ b> is linear in a and in b, so each gradient gives it back
    yield equal("<a, gradient of a> = <g, a @ b>", np.sum(a * ga), np.sum(g * (a @ b)))
    yield equal("<b, gradient of b> = <g, a @ b>", np.sum(b * gb), np.sum(g * (a @ b)))
    for name, x, old in zip("gab", (g, a, b), before, strict=True):
        yield equal(f"{name} must not be changed", x, old, rtol=0, atol=0)
    for dtype in ("float32", "float64"):
        for name, x in zip("ab", subject.main(*(x.astype(dtype) for x in (g, a, b))), strict=True):
            yield equal(f"dtype of the gradient of {name} for {dtype}", str(x.dtype), dtype)


checks = [
    forbid("minidl", "torch"),
    gradient("matmul_backward", np.matmul, cases, wrt=(0, 1)),
    as_given,
]
