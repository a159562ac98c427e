"""Sample inputs, declared beside each operation and used by every generated test, the documentation and the exercises.

    @samples(Softplus)
    def _(make):
        yield Sample(make(2, 3))
        yield Sample(np.array([-900.0, 0.0, 900.0]), note="does not overflow")

`make(2, 3)` is a float64 array of that shape, drawn evenly from [low, high) and the same at every run.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..autograd.op import Op

REGISTRY: dict[type[Op], Callable[..., Iterator[Sample]]] = {}


class Sample:
    """One call of an operation: its array inputs, its parameters, and why it is worth testing.

    smooth: False where the gradient is not defined or not continuous at the input, so that finite differences say
        nothing; values are tested all the same.
    second_order: False where the second derivative is undefined at the input.
    unique: False where several results are right, such as eigenvectors of either sign, and another device may have another.
    """

    def __init__(
        self, *inputs: Any, note: str = "", smooth: bool = True, second_order: bool = True, unique: bool = True,
        **params: Any,
    ):  # fmt: skip
        self.inputs, self.params, self.note = inputs, params, note
        self.smooth, self.second_order, self.unique = smooth, second_order, unique

    def __repr__(self) -> str:
        inputs = ", ".join(f"{x.dtype}{list(x.shape)}" if isinstance(x, np.ndarray) else repr(x) for x in self.inputs)
        params = "".join(f", {name}={value!r}" for name, value in self.params.items())
        return f"Sample({inputs}{params})" + (f"  # {self.note}" if self.note else "")


class Make:
    """Draws arrays that are the same at every run; `ints` for indices."""

    def __init__(self, name: str) -> None:
        self.random = np.random.default_rng(zlib.crc32(name.encode()))

    def __call__(self, *shape: int, low: float = -2.0, high: float = 2.0) -> Any:
        return self.random.uniform(low, high, shape)

    def complex(self, *shape: int) -> Any:
        """complex128 array of that shape, both parts drawn evenly from [-2, 2)."""
        return np.asarray(self(*shape) + 1j * self(*shape))

    def ints(self, high: int, *shape: int) -> Any:
        """int64 array of that shape with values in [0, high)."""
        return self.random.integers(0, high, shape)

    def distinct(self, *shape: int) -> Any:
        """Values no two of which are close, in random order: for max, sort and the like."""
        n = int(np.prod(shape))
        return (self.random.permutation(n).astype(np.float64) - n / 2).reshape(shape) * 0.5


def samples(op: type[Op]) -> Callable[[Callable[..., Iterator[Sample]]], Callable[..., Iterator[Sample]]]:
    """Declare the samples of an operation: a generator function that takes `make`."""

    def declare(generator: Callable[..., Iterator[Sample]]) -> Callable[..., Iterator[Sample]]:
        REGISTRY[op] = generator
        return generator

    return declare


def samples_of(op: type[Op]) -> list[Sample]:
    """The declared samples of an operation, drawn afresh and always the same. Raises KeyError where there are none."""
    return list(REGISTRY[op](Make(op.__name__)))
