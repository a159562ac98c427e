"""One step, several steps, arrays of any shape, parameters without a gradient, and the gradients left as they were."""

import numpy as np

from minidl.learn.checks import at_most, check, equal, forbid

SHAPES = [(), (1,), (0,), (3, 4), (2, 3, 5)]


@check("values")
def steps(subject, rng):
    for lr in (0.1, 1.0, 0.0):
        params = [rng.normal(size=shape) for shape in SHAPES]
        wanted = [p.copy() for p in params]
        optimizer = subject.SGD(params, lr)
        for t in range(1, 4):
            grads = [rng.normal(size=shape) for shape in SHAPES]
            before = [g.copy() for g in grads]
            optimizer.step(grads)
            wanted = [w + -lr * g for w, g in zip(wanted, grads, strict=True)]
            for i, (p, w) in enumerate(zip(params, wanted, strict=True)):
                yield equal(f"parameter {i} of shape {SHAPES[i]} after {t} step(s), lr={lr}", p, w)
            yield equal(f"gradients after the step, lr={lr}", grads, before, rtol=0, atol=0)


@check("values")
def without_gradient(subject, rng):
    params = [rng.normal(size=3), rng.normal(size=3)]
    frozen = params[0].copy()
    subject.SGD(params, 0.5).step([None, np.ones(3)])
    yield equal("a parameter whose gradient is None", params[0], frozen, rtol=0, atol=0)


@check("property")
def descends(subject, rng):
    # x² / 2 from 1: after n steps of lr 0.1 it is at 0.9^n
    x = np.ones(1)
    optimizer = subject.SGD([x], 0.1)
    for _ in range(50):
        optimizer.step([x.copy()])
    yield equal("x after 50 steps on x²/2, lr 0.1", x, np.full(1, 0.9**50))
    yield at_most("the loss then", float(x[0] ** 2 / 2), 1e-4)


checks = [forbid("minidl", "torch"), steps, without_gradient, descends]
