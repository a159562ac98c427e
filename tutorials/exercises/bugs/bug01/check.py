"""Small programs with and without add_, each beside the same formula in NumPy: values, and gradients by differences."""

import numpy as np

from minidl.learn.checks import check, equal, forbid, slope


def shifted(t, number):
    """t after t.add_(number)."""
    t.add_(number)
    return t


def moved_input(x, w):
    y = x * w
    x.add_(3.0)
    return y


def used_before_and_after(x, w):
    y = x * w
    x.add_(1.0)
    return y * x


def input_of_exp_moved(x, w):
    y = x.exp()
    x.add_(2.0)
    return y * w


PROGRAMS = {
    "y = exp(x) * w": (lambda x, w: x.exp() * w, lambda x, w: np.exp(x) * w),
    "y = tanh(x) * x * w": (lambda x, w: x.tanh() * x * w, lambda x, w: np.tanh(x) * x * w),
    "y = exp(x); y.add_(1); y * w": (lambda x, w: shifted(x.exp(), 1.0) * w, lambda x, w: (np.exp(x) + 1) * w),
    "y = tanh(x); y.add_(2); y * w": (lambda x, w: shifted(x.tanh(), 2.0) * w, lambda x, w: (np.tanh(x) + 2) * w),
    "y = x * w; x.add_(3)": (moved_input, lambda x, w: x * w),
    "y = x * w; x.add_(1); y * x": (used_before_and_after, lambda x, w: x * w * (x + 1)),
    "y = exp(x); x.add_(2); y * w": (input_of_exp_moved, lambda x, w: np.exp(x) * w),
    "y = exp(x * w); y.add_(-1); tanh(y)": (
        lambda x, w: shifted((x * w).exp(), -1.0).tanh(),
        lambda x, w: np.tanh(np.exp(x * w) - 1),
    ),
}


@check("values")
def results(subject, rng):
    for text, (program, formula) in PROGRAMS.items():
        x, w = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
        result = program(subject.Tensor(x.copy()), subject.Tensor(w.copy()))
        yield equal(f"value, {text}", result.data.copy(), formula(x, w))
    x = subject.Tensor(np.ones(2))
    same = x.add_(1.5)
    yield equal("x itself after x.add_(1.5), x = [1, 1]", x.data.copy(), np.array([2.5, 2.5]))
    yield equal("what x.add_(1.5) returns", same.data.copy(), np.array([2.5, 2.5]))


@check("gradient")
def gradients(subject, rng):
    for text, (program, formula) in PROGRAMS.items():
        x, w, g = (rng.normal(size=(2, 3)) for _ in range(3))
        tx, tw = subject.Tensor(x.copy()), subject.Tensor(w.copy())
        program(tx, tw).backward(g.copy())
        of_x = slope(lambda v, f=formula, w=w, g=g: (g * f(v, w)).sum(), x)
        of_w = slope(lambda v, f=formula, x=x, g=g: (g * f(x, v)).sum(), w)
        yield equal(f"gradient of x, {text}", tx.grad, of_x, atol=1e-7)
        yield equal(f"gradient of w, {text}", tw.grad, of_w, atol=1e-7)


checks = [forbid("minidl", "torch"), results, gradients]
