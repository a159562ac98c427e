"""Trajectories beside the closed form, in which the corrected mean is a weighted mean of all gradients so far."""

import numpy as np

from minidl.learn.checks import check, equal, forbid

STEPS = 6


def weighted(history, beta):
    """The mean of a history, its latest entry with weight 1, the one before with beta, ...: what bias correction makes of it."""
    weights = beta ** np.arange(len(history))[::-1]
    return np.tensordot(weights / weights.sum(), np.array(history), 1)


def closed_form(start, grads, lr, betas, eps):
    p = np.array(start)
    for t in range(1, len(grads) + 1):
        mean, square = weighted(grads[:t], betas[0]), weighted([g * g for g in grads[:t]], betas[1])
        p = p - lr * mean / (square**0.5 + eps)
    return p


@check("values")
def trajectories(subject, rng):
    for lr, betas, eps in [(0.1, (0.9, 0.999), 1e-8), (0.01, (0.5, 0.9), 1e-3)]:
        params = [rng.normal(size=shape) for shape in [(5,), (2, 3)]]
        starts, seen = [p.copy() for p in params], [[], []]
        optimizer = subject.Adam(params, lr, betas, eps)
        for t in range(1, STEPS + 1):
            grads = [rng.normal(size=p.shape) * 10.0 ** rng.integers(-3, 3) for p in params]
            for history, g in zip(seen, grads, strict=True):
                history.append(g.copy())
            optimizer.step(grads)
            for i, p in enumerate(params):
                wanted = closed_form(starts[i], seen[i], lr, betas, eps)
                yield equal(f"parameter {i} after {t} step(s), lr={lr}, betas={betas}, eps={eps}", p, wanted)
                yield equal(f"gradient {i} after step {t}", grads[i], seen[i][-1], rtol=0, atol=0)


@check("property")
def first_step(subject, rng):
    # whatever the size of the gradient, the first step has the size lr: g / sqrt(g²)
    for size in (1e-4, 1.0, 1e6):
        x = np.zeros(2)
        subject.Adam([x], 0.1).step([np.array([size, -size])])
        yield equal(f"first step for gradients of {size:g}", x, np.array([-0.1, 0.1]), rtol=1e-3)
    x = np.zeros(2)
    subject.Adam([x]).step([np.zeros(2)])
    yield equal("a gradient of 0 moves nothing", x, np.zeros(2))


checks = [forbid("minidl", "torch"), trajectories, first_step]
