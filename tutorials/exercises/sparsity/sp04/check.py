"""Pruned weights after every step; trajectories beside means over the gradients that count; and digits, pruned and trained on."""

import numpy as np
from scipy.special import softmax
from sklearn.datasets import load_digits

from minidl.learn.checks import at_least, check, equal, forbid

LR, BETAS, EPS = 0.1, (0.9, 0.99), 1e-8


def drawn(rng, params):
    return [rng.normal(size=p.shape) * 10.0 ** rng.integers(-2, 3) for p in params]


@check("property")
def stays_pruned(subject, rng):
    params = [rng.normal(size=shape) for shape in [(5,), (3, 4)]]
    optimizer = subject.PrunedAdam(params, LR, BETAS, EPS)
    masks = [rng.random(p.shape) < 0.5 for p in params]
    masks[0][:] = [True, False, True, False, False]
    for _ in range(3):
        optimizer.step(drawn(rng, params))
    kept = [p[mask].copy() for p, mask in zip(params, masks, strict=True)]
    optimizer.prune([mask.copy() for mask in masks])
    for i, (p, mask) in enumerate(zip(params, masks, strict=True)):
        yield equal(f"parameter {i}, pruned weights", p[~mask], np.zeros((~mask).sum()), atol=0)
        yield equal(f"parameter {i}, other weights after prune", p[mask], kept[i], rtol=0, atol=0)
    for t in range(1, 6):
        optimizer.step(drawn(rng, params))
        for i, (p, mask) in enumerate(zip(params, masks, strict=True)):
            yield equal(f"parameter {i}, pruned weights, {t} step(s) later", p[~mask], np.zeros((~mask).sum()), atol=0)


class Remembered:
    """Adam of one parameter from the list of all its gradients, 0 where they do not count."""

    def __init__(self, start):
        self.p, self.mask, self.history = start.copy(), np.ones(start.shape, bool), []

    def prune(self, mask):
        self.mask, self.p = mask, self.p * mask
        self.history = [g * mask for g in self.history]

    def step(self, g):
        self.history.append(g * self.mask)
        mean, square = self.weighted(self.history, BETAS[0]), self.weighted([g * g for g in self.history], BETAS[1])
        self.p = self.p - LR * mean / (square**0.5 + EPS)

    @staticmethod
    def weighted(history, beta):
        """The mean of a history, its latest entry with weight 1, the one before with beta, ...: what bias correction makes of it."""
        weights = beta ** np.arange(len(history))[::-1]
        return np.tensordot(weights / weights.sum(), np.array(history), 1)


@check("values")
def trajectories(subject, rng):
    params = [rng.normal(size=shape) for shape in [(6,), (2, 3), (1,)]]
    wanted = [Remembered(p) for p in params]
    optimizer = subject.PrunedAdam(params, LR, BETAS, EPS)
    first = [np.array([True, True, True, False, False, False]), np.tri(2, 3, dtype=bool), np.array([True])]
    second = [np.array([True, True, False, True, True, False]), np.ones((2, 3), bool), np.array([False])]
    steps = 0
    for phase, masks in [("not pruned yet", None), ("pruned", first), ("pruned again, some of them freed", second)]:
        if masks:
            optimizer.prune([mask.copy() for mask in masks])
            for one, mask in zip(wanted, masks, strict=True):
                one.prune(mask)
        for _ in range(3):
            steps += 1
            grads = drawn(rng, params)
            given = [g.copy() for g in grads]
            optimizer.step(given)
            for i, (p, one, g) in enumerate(zip(params, wanted, grads, strict=True)):
                one.step(g)
                yield equal(f"parameter {i}, {phase}, after step {steps}", p, one.p)
                yield equal(f"gradient {i} after step {steps}, the caller's array", given[i], g, rtol=0, atol=0)


@check("training", costly=True)
def digits(subject, rng):
    x, y = load_digits(return_X_y=True)
    order = rng.permutation(len(x))
    x, y = x[order] / 16, y[order]
    weight, bias = np.zeros((64, 10)), np.zeros(10)
    optimizer = subject.PrunedAdam([weight, bias], lr=0.05)

    def train(steps):
        for _ in range(steps):
            error = softmax(x[:1200] @ weight + bias, axis=1) - np.eye(10)[y[:1200]]
            optimizer.step([x[:1200].T @ error / 1200, error.mean(0)])

    train(100)
    mask = np.ones(640, bool)
    mask[np.abs(weight).ravel().argsort()[:384]] = False
    optimizer.prune([mask.reshape(64, 10), np.ones(10, bool)])
    train(100)
    yield equal("digits: weights that are 0, of 640", int((weight == 0).sum()), 384)
    accuracy = float(((x[1200:] @ weight + bias).argmax(1) == y[1200:]).mean())
    yield at_least("digits: test accuracy, 60 % pruned, 100 more steps", accuracy, 0.9)


checks = [forbid("minidl", "torch"), stays_pruned, trajectories, digits]
