"""Backward functions that are right and must be accepted, and backward functions with an error that must be found."""

import numpy as np

from minidl.learn.checks import check, equal, forbid


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def softmax_backward(g, x):
    y = softmax(x)
    return y * (g - (g * y).sum())


MATRIX = np.random.default_rng(0).normal(size=(3, 4))

RIGHT = {
    "x²": (np.square, lambda g, x: 2 * g * x, (5,)),
    "x³, a matrix": (lambda x: x**3, lambda g, x: 3 * g * x**2, (2, 3)),
    "tanh(x)": (np.tanh, lambda g, x: g * (1 - np.tanh(x) ** 2), (7,)),
    "softmax(x)": (softmax, softmax_backward, (5,)),
    "A @ x": (lambda x: MATRIX @ x, lambda g, x: MATRIX.T @ g, (4,)),
    "sum(x²)": (lambda x: np.sum(x**2), lambda g, x: 2 * g * x, (3,)),
    "1e6·x²": (lambda x: 1e6 * x**2, lambda g, x: 2e6 * g * x, (5,)),
    "1e-6·x²": (lambda x: 1e-6 * x**2, lambda g, x: 2e-6 * g * x, (5,)),
    "the constant 3": (lambda x: np.full(x.shape, 3.0), lambda g, x: np.zeros_like(x), (4,)),
    "no elements": (np.square, lambda g, x: 2 * g * x, (0,)),
}

WRONG = {
    "x², with x for 2x": (np.square, lambda g, x: g * x, (5,)),
    "x², with the sign turned": (np.square, lambda g, x: -2 * g * x, (5,)),
    "x², g left out": (np.square, lambda g, x: 2 * x, (5,)),
    "tanh(x), 1 % too large": (np.tanh, lambda g, x: 1.01 * g * (1 - np.tanh(x) ** 2), (7,)),
    "softmax(x), five times too large": (softmax, lambda g, x: 5 * softmax_backward(g, x), (5,)),
    "A @ x, the last element wrong": (lambda x: MATRIX @ x, lambda g, x: MATRIX.T @ g + [0, 0, 0, 1], (4,)),
    "1e-6·x², zeros": (lambda x: 1e-6 * x**2, lambda g, x: np.zeros_like(x), (5,)),
    "x², NaN": (np.square, lambda g, x: np.full_like(x, np.nan), (5,)),
    "x², one NaN": (np.square, lambda g, x: np.where(np.arange(5) == 3, np.nan, 2 * g * x), (5,)),
    "sum(x), of shape (1,)": (np.sum, lambda g, x: np.ones(1) * g, (4,)),
}


@check("values")
def accepted(subject, rng):
    for what, (f, backward, shape) in RIGHT.items():
        yield equal(f"right: {what}", subject.main(f, backward, rng.uniform(0.5, 2.0, size=shape), rng), True)


@check("values")
def rejected(subject, rng):
    for what, (f, backward, shape) in WRONG.items():
        yield equal(f"wrong: {what}", subject.main(f, backward, rng.uniform(0.5, 2.0, size=shape), rng), False)


@check("property")
def kinks(subject, rng):
    rng = np.random.default_rng(16)  # its first numbers, normal or uniform, are not near 0: every kink can be seen
    x = np.array([-1.5, 0.0, 2.0, 0.0, 0.7])
    given = x.copy()
    relu, magnitude = lambda x: np.maximum(x, 0), np.abs
    yield equal("right: relu with 0 at 0", subject.main(relu, lambda g, x: g * (x > 0), x, rng), True)
    yield equal("right: relu with 1 at 0", subject.main(relu, lambda g, x: g * (x >= 0), x, rng), True)
    yield equal("right: |x|", subject.main(magnitude, lambda g, x: g * np.sign(x), x, rng), True)
    yield equal("wrong: relu, passed on everywhere", subject.main(relu, lambda g, x: g * 1, x, rng), False)
    yield equal("wrong: |x|, the sign forgotten", subject.main(magnitude, lambda g, x: g * 1, x, rng), False)
    yield equal("right: x² with zeros", subject.main(np.square, lambda g, x: 2 * g * x, x, rng), True)
    yield equal("x must not be changed", x, given, rtol=0, atol=0)


checks = [forbid("minidl", "torch", "autograd", "scipy"), accepted, rejected, kinks]
