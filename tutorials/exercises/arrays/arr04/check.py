"""Beside SciPy's, along every axis, with numbers whose exponential overflows, and that do not change if all are shifted."""

import numpy as np
from scipy.special import softmax as reference

from minidl.learn.checks import case, check, equal, forbid, values


def cases(rng):
    for shape, axis in [((5,), 0), ((1,), 0), ((3, 4), -1), ((3, 4), 0), ((2, 3, 7), 1)]:
        yield case(rng.normal(size=shape), axis, note=f"shape {shape}, axis={axis}")
    yield case(np.array([1e4, 0.0, -1e4]), note="[1e4, 0, -1e4]")
    yield case(np.array([[-1e4, -1e4 + 1]]), note="[[-1e4, -1e4 + 1]]")


@check("property")
def distribution(subject, rng):
    x = rng.normal(size=(4, 6)) * 50
    yield equal("sums of rows", subject.main(x, 1).sum(1), np.ones(4))
    yield equal("unchanged when 300 is added", subject.main(x + 300, 1), subject.main(x, 1))


checks = [forbid("scipy", "special", "minidl", "torch"), values(reference, cases), distribution]
