"""Inputs for every CUDA kernel, the same for the run on a CPU and on a GPU: odd sizes, and values that are hard.

CASES[name](rng) yields the arguments of the kernel of that name, floating-point arrays in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Arguments = tuple[Any, ...]
Cases = Callable[[np.random.Generator], Iterator[Arguments]]
CASES: dict[str, Cases] = {}


def cases(*names: str) -> Callable[[Cases], Cases]:
    """Register a generator of argument tuples for the kernels of these names."""

    def register(function: Cases) -> Cases:
        CASES.update(dict.fromkeys(names, function))
        return function

    return register


def normal(rng: np.random.Generator, *shape: int) -> Any:
    return rng.standard_normal(shape).astype(np.float32)


WIDTHS = [(1, 1), (7, 1), (1, 7), (5, 33), (2, 3, 130), (3, 512), (2, 600), (3, 2052), (2, 4099)]


@cases("softmax", "log_softmax")
def softmax_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for shape in WIDTHS:
        yield 3 * normal(rng, *shape), -1
    inf, nan = np.inf, np.nan
    hard = [[-inf, -inf, -inf], [inf, 0, 1], [inf, inf, 0], [nan, 0, 1], [-inf, 0, 1], [1e30, -1e30, 1e30]]
    yield np.array(hard, np.float32), 1
    yield np.repeat(np.array(hard, np.float32), 200, axis=1), 1
    yield np.repeat(np.array(hard, np.float32), 400, axis=1), 1


@cases("softmax_backward", "log_softmax_backward")
def softmax_backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for shape in WIDTHS:
        x = normal(rng, *shape)
        yield normal(rng, *shape), x - x.max(-1, keepdims=True), -1
