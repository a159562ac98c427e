"""Beside a product with one-hot rows, which adds duplicates by itself; with repeated, negative and no indices."""

import numpy as np

from minidl.learn.checks import case, check, equal, forbid, forbid_loops, values


def reference(x, index, rows):
    return x + np.tensordot(np.eye(len(x))[index], rows, axes=(0, 0))


def cases(rng):
    def one(shape, index):
        index = np.array(index, np.int64)
        note = f"x of shape {shape}, index={index.tolist()}"
        return case(rng.normal(size=shape), index, rng.normal(size=(len(index), *shape[1:])), note=note)

    yield one((5,), [0, 2, 4])
    yield one((5,), [1, 1, 3, 1])
    yield one((4, 3), [2, 0, 2])
    yield one((7, 2, 3), [6, 6, 6, 0, 1])
    yield one((4, 2), [-1, 3, -4, 0])
    yield one((1, 5), [0, 0, 0])
    yield one((3, 2), [])
    yield one((3, 0), [1, 1])
    yield one((11, 2), rng.integers(-11, 11, size=40).tolist())


@check("property")
def sums(subject, rng):
    x, index, rows = rng.normal(size=(6, 4)), rng.integers(0, 6, size=500), rng.normal(size=(500, 4))
    yield equal("nothing is lost", subject.main(x, index, rows).sum(0), x.sum(0) + rows.sum(0))
    for dtype in ("float32", "float64"):
        result = subject.main(np.zeros((3, 2), dtype), np.array([1, 1]), np.ones((2, 2), dtype))
        yield equal(f"dtype for {dtype}", str(result.dtype), dtype)


checks = [forbid("minidl", "torch"), forbid_loops(), values(reference, cases, rtol=1e-9, atol=1e-12), sums]
