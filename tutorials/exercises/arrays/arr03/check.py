"""Beside a reference that asks for every element of g from where it was copied; then as the adjoint of broadcasting."""

import numpy as np

from minidl.learn.checks import case, check, equal, forbid, values

SHAPES = [
    ((3, 4), (4,)),
    ((3, 4), (1, 4)),
    ((3, 4), (3, 1)),
    ((3, 4), ()),
    ((5, 3, 4), (3, 1)),
    ((2, 7, 3, 4), (7, 1, 1)),
    ((3, 4), (3, 4)),
    ((1, 5), (1, 1)),
    ((1,), ()),
    ((0, 4), (1, 4)),
    ((3, 0), (1, 0)),
    ((), ()),
]


def reference(g, shape):
    size = int(np.prod(shape))
    source = np.broadcast_to(np.arange(size).reshape(shape), g.shape)
    return np.bincount(source.ravel(), g.ravel(), minlength=size).astype(g.dtype).reshape(shape)


def cases(rng):
    for big, small in SHAPES:
        yield case(rng.normal(size=big), small, note=f"g of shape {big}, shape={small}")


@check("property")
def adjoint(subject, rng):
    for big, small in SHAPES:
        g, x = rng.normal(size=big), rng.normal(size=small)
        back = subject.main(g, small)
        yield equal(f"sum of all, {big} to {small}", np.sum(back), g.sum())
        yield equal(f"<back, x> = <g, x broadcast>, {big} to {small}", np.sum(back * x), np.sum(g * x))
    for dtype in ("float32", "float64"):
        back = subject.main(np.ones((3, 2), dtype), (2,))
        yield equal(f"dtype for {dtype}", str(back.dtype), dtype)


checks = [forbid("minidl", "torch"), values(reference, cases, rtol=1e-9, atol=1e-12), adjoint]
