from collections.abc import Callable
from itertools import count

import numpy as np

Rule = Callable[[np.ndarray], tuple[np.ndarray, ...]]
numbers = count()


class Tensor:
    """An array that remembers how it was computed. `grad` is there after backward()."""

    def __init__(self, data: np.ndarray, inputs: tuple["Tensor", ...] = (), rule: Rule = lambda g: ()) -> None:
        self.data = data
        self.grad = np.zeros_like(data)
        self.inputs, self.rule = inputs, rule
        self.number = next(numbers)  # every result has a larger one than its inputs

    def __mul__(self, other: "Tensor") -> "Tensor":
        a, b = self.data, other.data
        return Tensor(a * b, (self, other), lambda g: (g * b, g * a))

    def exp(self) -> "Tensor":
        out = np.exp(self.data)
        return Tensor(out, (self,), lambda g: (g * out,))

    def tanh(self) -> "Tensor":
        out = np.tanh(self.data)
        return Tensor(out, (self,), lambda g: (g * (1 - out * out),))

    def add_(self, number: float) -> "Tensor":
        """Add a constant to this tensor itself; its gradient passes through unchanged."""
        self.data += number
        return self

    def backward(self, g: np.ndarray) -> None:
        """Put the gradient of sum(g * self) into every tensor that this one was computed from."""
        reached, waiting = {self}, [self]
        while waiting:
            new = set(waiting.pop().inputs) - reached
            reached |= new
            waiting += new
        self.grad = g
        for tensor in sorted(reached, key=lambda t: -t.number):
            for one, part in zip(tensor.inputs, tensor.rule(tensor.grad), strict=True):
                one.grad = one.grad + part
