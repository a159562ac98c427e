"""Trajectories beside the closed form: the velocity is the sum of all gradients so far, each weighted by momentum^age."""

import numpy as np

from minidl.learn.checks import check, equal, forbid

STEPS = 6


def closed_form(start, grads, lr, momentum, nesterov):
    """Where it stands after all gradients, without a velocity that is carried along."""
    p = np.array(start)
    for t in range(len(grads)):
        v = sum(momentum ** (t - s) * grads[s] for s in range(t + 1))
        p = p - lr * (grads[t] + momentum * v if nesterov else v)
    return p


@check("values")
def trajectories(subject, rng):
    for nesterov in (False, True):
        for momentum in (0.9, 0.0, 0.5):
            params = [rng.normal(size=shape) for shape in [(4,), (4,), (2, 3)]]
            starts = [p.copy() for p in params]
            optimizer = subject.Momentum(params, 0.1, momentum, nesterov)
            seen = [[] for _ in params]
            for t in range(1, STEPS + 1):
                grads = [rng.normal(size=p.shape) for p in params]
                for history, g in zip(seen, grads, strict=True):
                    history.append(g.copy())
                optimizer.step(grads)
                for i, p in enumerate(params):
                    wanted = closed_form(starts[i], seen[i], 0.1, momentum, nesterov)
                    yield equal(f"parameter {i} after {t} step(s), momentum={momentum}, nesterov={nesterov}", p, wanted)
                for i, g in enumerate(grads):
                    yield equal(f"gradient {i} after step {t}", g, seen[i][-1], rtol=0, atol=0)


@check("property")
def two_optimizers(subject, rng):
    a, b = np.zeros(3), np.zeros(3)
    first, second = subject.Momentum([a], 0.1, 0.9), subject.Momentum([b], 0.1, 0.9)
    first.step([np.ones(3)])
    second.step([np.ones(3)])
    yield equal("a second optimizer starts at rest", b, a)


checks = [forbid("minidl", "torch"), trajectories, two_optimizers]
