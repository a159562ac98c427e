"""Beside NumPy's own rule: sizes 0 and 1, missing dimensions, any number of shapes, and shapes that must be refused."""

from functools import partial
from itertools import permutations

import numpy as np

from minidl.learn.checks import case, check, equal, forbid, raises, values


def cases(rng):
    yield case((3, 4), (4,))
    yield case((3, 1), (1, 4))
    yield case((5, 3), (5, 3))
    yield case((2, 1, 7), (5, 1))
    yield case((), (2, 3))
    yield case((1,), (0,))
    yield case((0, 1), (1, 7))
    for _ in range(5):
        shape = tuple(int(n) for n in rng.integers(1, 8, size=rng.integers(1, 5)))
        ones = tuple(n if rng.random() < 0.5 else 1 for n in shape)
        yield case(ones[rng.integers(len(shape)) :], shape)


def several(rng):
    yield case((2, 1, 1), (3, 1), (4,))
    yield case((7, 1), (1, 1), (1,), (1, 5))
    yield case((3, 2))
    yield case()


@check("values")
def refused(subject, rng):
    for shapes in [((2, 3), (2,)), ((4,), (2,)), ((0,), (3,)), ((5, 2, 3), (2, 2, 3)), ((2, 1), (1, 3), (4, 3))]:
        yield raises(f"{', '.join(map(str, shapes))} do not fit", ValueError, partial(subject.main, *shapes))


@check("property")
def any_order(subject, rng):
    for shapes in permutations([(7, 1, 1), (1, 3), (1,)]):
        yield equal(", ".join(map(str, shapes)), subject.main(*shapes), (7, 1, 3))


checks = [
    forbid("numpy", "broadcast", "broadcast_shapes", "broadcast_arrays", "minidl", "torch"),
    values(np.broadcast_shapes, cases),
    values(np.broadcast_shapes, several),
    refused,
    any_order,
]
