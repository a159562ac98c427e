"""What a call costs where there is next to nothing to compute, and views of large leaves: rows of `minidl bench --sizes`.

Each small call is made a hundred times in a row on tensors of 64 elements: alone, and followed by the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .pieces import Piece, Rows, of
from .workloads import Step, _random

TIMES = 100


class Calls(Piece):
    """The same call many times: a single one is hardly longer than looking at the clock."""

    def __call__(self) -> float:
        for _ in range(TIMES):
            for x in self.leaves:
                x.grad = None
            out = self.function(*self.inputs)
            if self.grad:
                out.backward(self.weights)
        self.out = out.detach()
        return 0.0

    def values(self) -> list[Any]:
        return [np.asarray(x, np.float64) for x in super().values()]


def calls(function: Callable[..., Any], *inputs: Any, grad: bool) -> Callable[[Any], Step]:
    """function(m, *tensors), of tensors of the shapes that are given, or of these arrays."""
    arrays = [_random(*x) + 0.01 * i if isinstance(x, tuple) else x for i, x in enumerate(inputs)]
    return lambda m: Calls(m, partial(function, m), *arrays, grad=grad)


def _updated(m: Any, p: Any, g: Any) -> Any:
    with m.no_grad():
        p -= 0.01 * g
    return p


SQUARE = (8, 8)
CLASSES, PICKED = np.arange(8), np.array([3, 1, 6])
ONE = np.array([3])

# name: what is called, and the shapes of its inputs
DIFFERENTIABLE: dict[str, tuple[Any, ...]] = {
    "x + y": (lambda m, x, y: x + y, SQUARE, SQUARE),
    "x - row": (lambda m, x, y: x - y, SQUARE, (8,)),
    "x * 2": (lambda m, x: x * 2, SQUARE),
    "1 - x": (lambda m, x: 1 - x, SQUARE),
    "x / y": (lambda m, x, y: x / (y + 1), SQUARE, SQUARE),
    "x ** 2": (lambda m, x: x**2, SQUARE),
    "-x": (lambda m, x: -x, SQUARE),
    "exp": (lambda m, x: x.exp(), SQUARE),
    "tanh": (lambda m, x: m.tanh(x), SQUARE),
    "sigmoid": (lambda m, x: m.sigmoid(x), SQUARE),
    "relu": (lambda m, x: m.relu(x), SQUARE),
    "abs": (lambda m, x: x.abs(), SQUARE),
    "clamp": (lambda m, x: x.clamp(-0.1, 0.1), SQUARE),
    "where": (lambda m, x, y: m.where(x > 0, x, y), SQUARE, SQUARE),
    "softmax": (lambda m, x: m.softmax(x, -1), SQUARE),
    "sum": (lambda m, x: x.sum(), SQUARE),
    "sum of rows": (lambda m, x: x.sum(1), SQUARE),
    "mean": (lambda m, x: x.mean(), SQUARE),
    "mean of columns, kept": (lambda m, x: x.mean(0, keepdim=True), SQUARE),
    "max": (lambda m, x: x.max(), SQUARE),
    "x @ y": (lambda m, x, y: x @ y, SQUARE, SQUARE),
    "x @ vector": (lambda m, x, y: x @ y, SQUARE, (8,)),
    "x[3]": (lambda m, x: x[3], SQUARE),
    "x[3, 4]": (lambda m, x: x[3, 4], SQUARE),
    "x[:, 2:5]": (lambda m, x: x[:, 2:5], SQUARE),
    "x[index]": (lambda m, x, i: x[i], SQUARE, PICKED),
    "x.T": (lambda m, x: x.T, SQUARE),
    "view": (lambda m, x: x.view(4, 16), SQUARE),
    "unsqueeze": (lambda m, x: x.unsqueeze(1), SQUARE),
    "cat": (lambda m, x, y: m.cat([x, y]), SQUARE, SQUARE),
    "stack": (lambda m, x, y: m.stack([x, y]), SQUARE, SQUARE),
    "clone": (lambda m, x: x.clone(), SQUARE),
    "linear": (lambda m, x, w, b: m.nn.functional.linear(x, w, b), (1, 8), SQUARE, (8,)),
    "cross-entropy": (lambda m, x, y: m.nn.functional.cross_entropy(x, y), (1, 8), ONE),
    "mean squared error": (lambda m, x, y: m.nn.functional.mse_loss(x, y), SQUARE, SQUARE),
}
OTHERS: dict[str, tuple[Any, ...]] = {
    "x > y": (lambda m, x, y: x > y, SQUARE, SQUARE),
    "x == 3": (lambda m, x: x == 3, CLASSES),
    "argmax": (lambda m, x: x.argmax(1), SQUARE),
    "predicted == y, mean": (lambda m, x, y: (x.argmax(1) == y).float().mean(), SQUARE, CLASSES),
    "item": (lambda m, x: (x[3, 4].item(), x)[1], SQUARE),
    "x > 0, all": (lambda m, x: (x > 0).all(), SQUARE),
    "x[mask]": (lambda m, x: x[x > 0], SQUARE),
    "x[3] = row": (lambda m, x, y: (x.__setitem__(3, y), x)[1], SQUARE, (8,)),
    "x[3, 4] = number": (lambda m, x: (x.__setitem__((3, 4), 0.5), x)[1], SQUARE),
    "x += y": (lambda m, x, y: x.add_(y), SQUARE, SQUARE),
    "update under no_grad": (_updated, SQUARE, SQUARE),
    "zeros": (lambda m, x: m.zeros(8, 8), SQUARE),
    "tensor of a list": (lambda m, x: m.tensor([1.0, 2.0, 3.0]), SQUARE),
    "float of integers": (lambda m, x: x.float(), CLASSES),
    "detach": (lambda m, x: x.detach(), SQUARE),
}

CALLS: Rows = {f"call, {name}": calls(*row, grad=False) for name, row in (DIFFERENTIABLE | OTHERS).items()}
CALLS |= {f"call and backward, {name}": calls(*row, grad=True) for name, row in DIFFERENTIABLE.items()}

LARGE, LINE = (1000, 1000), (1000000,)
VIEWS_OF_LEAVES: Rows = {
    f"leaf of 1000000, {name}": of(call, shape)
    for name, call, shape in (
        ("x[:10]", lambda m, x: x[:10].sum(), LINE),
        ("x[7]", lambda m, x: x[7], LARGE),
        ("x[3, 4]", lambda m, x: x[3, 4], LARGE),
        ("x[:, 7]", lambda m, x: x[:, 7], LARGE),
        ("narrow", lambda m, x: x.narrow(0, 100, 50), LARGE),
        ("select", lambda m, x: x.select(1, 5), LARGE),
        ("x[10:]", lambda m, x: x[10:], LARGE),
        # twice: as the gradient of a view alone PyTorch's leaf keeps the caller's memory, which costs nothing and is a trap
        ("view, twice", lambda m, x: x.view(10, -1) * 2, LARGE),
        ("flatten, twice", lambda m, x: x.flatten() * 2, LARGE),
        ("t", lambda m, x: x.t(), LARGE),
        ("unsqueeze, twice", lambda m, x: x.unsqueeze(0) * 2, LARGE),
        ("expand", lambda m, x: x.expand(2, 1000, 1000), LARGE),
        ("x + x", lambda m, x: x + x, LARGE),
        ("clone", lambda m, x: x.clone(), LARGE),
        ("sum", lambda m, x: x.sum(), LARGE),
        ("chunk", lambda m, x: x.chunk(2)[1], LARGE),
        ("first rows and last rows", lambda m, x: x[:500] * x[500:], LARGE),
    )
}
SMALL: Rows = CALLS | VIEWS_OF_LEAVES
