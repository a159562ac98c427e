"""Problems made up to show one thing each, the same for the same seed.

Classes in the plane give data (N, 2) float32 and targets (N,) int64; sequences are described each by its own. All numbers
come from minidl's own generator.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..ops.random import rand, randint, randn, randperm
from ..random import Generator
from ..utils.data import TensorDataset
from .base import ArrayDataset

Array = np.ndarray[Any, Any]


class _Draws:
    """Random arrays of one seed."""

    def __init__(self, seed: int) -> None:
        self.generator = Generator().manual_seed(seed)

    def uniform(self, *shape: int) -> Array:
        return rand(*shape, generator=self.generator).numpy()

    def normal(self, *shape: int) -> Array:
        return randn(*shape, generator=self.generator).numpy()

    def integers(self, low: int, high: int, *shape: int) -> Array:
        return randint(low, high, shape, generator=self.generator).numpy()

    def order(self, n: int) -> Array:
        return randperm(n, generator=self.generator).numpy()


def _check(name: str, **least: tuple[int, int]) -> None:
    """Each argument, given as (value, the least that it may be), is an int and large enough."""
    for argument, (value, bound) in least.items():
        if not isinstance(value, int) or value < bound:
            raise ValueError(f"{name}: {argument} is a whole number from {bound} on, got {value!r}")


def _shuffled(draws: _Draws, x: Array, y: Array) -> ArrayDataset:
    order = draws.order(len(y))
    classes = [str(c) for c in range(int(y.max()) + 1)]
    return ArrayDataset(x[order].astype(np.float32), y[order].astype(np.int64), classes=classes)


def two_moons(n: int = 200, noise: float = 0.1, seed: int = 0) -> ArrayDataset:
    """Two half circles of radius 1 that reach into each other: two classes that no line divides.

    noise: the standard deviation of what is added to each coordinate.
    Source: as in scikit-learn's make_moons.
    """
    _check("two_moons", n=(n, 2))
    draws = _Draws(seed)
    label = np.arange(n) % 2
    angle = math.pi * draws.uniform(n)
    upper = np.stack([np.cos(angle), np.sin(angle)], 1)
    x = np.where(label[:, None] == 0, upper, np.array([1.0, 0.5]) - upper)
    return _shuffled(draws, x + noise * draws.normal(n, 2), label)


def spirals(n: int = 300, classes: int = 3, turns: float = 0.75, noise: float = 0.02, seed: int = 0) -> ArrayDataset:
    """The arms of a spiral around 0, one a class, with radius up to 1.

    turns: how often an arm goes around. Two arms of three turns are a benchmark of old.
    Source: Lang & Witbrock, "Learning to tell two spirals apart" (1988).
    """
    _check("spirals", n=(n, 1), classes=(classes, 1))
    draws = _Draws(seed)
    label = np.arange(n) % classes
    radius = draws.uniform(n)
    angle = 2 * math.pi * (turns * radius + label / classes)
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return _shuffled(draws, x + noise * draws.normal(n, 2), label)


def circles(n: int = 200, factor: float = 0.5, noise: float = 0.05, seed: int = 0) -> ArrayDataset:
    """A circle of radius 1 (class 0) and one of radius `factor` within it (class 1).

    Source: as in scikit-learn's make_circles.
    """
    _check("circles", n=(n, 2))
    draws = _Draws(seed)
    label = np.arange(n) % 2
    angle = 2 * math.pi * draws.uniform(n)
    x = np.where(label == 0, 1.0, factor)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return _shuffled(draws, x + noise * draws.normal(n, 2), label)


def blobs(n: int = 300, classes: int = 3, features: int = 2, spread: float = 1.0, seed: int = 0) -> ArrayDataset:
    """Normal clouds of standard deviation `spread` around centres drawn from [-10, 10]: data (n, features).

    Source: as in scikit-learn's make_blobs.
    """
    _check("blobs", n=(n, 1), classes=(classes, 1), features=(features, 1))
    draws = _Draws(seed)
    label = np.arange(n) % classes
    centres = 20 * draws.uniform(classes, features) - 10
    return _shuffled(draws, centres[label] + spread * draws.normal(n, features), label)


def xor(n: int = 200, noise: float = 0.1, seed: int = 0) -> ArrayDataset:
    """The corners of a square, (±1, ±1), class 1 where the signs differ: what no single layer can tell apart.

    Source: Minsky & Papert, "Perceptrons" (1969).
    """
    _check("xor", n=(n, 4))
    draws = _Draws(seed)
    corner = np.arange(n) % 4
    x = np.stack([corner // 2, corner % 2], 1) * 2 - 1
    return _shuffled(draws, x + noise * draws.normal(n, 2), (corner == 1) | (corner == 2))


def parity(bits: int = 8, n: int | None = None, seed: int = 0) -> ArrayDataset:
    """Rows of `bits` numbers 0 or 1, and whether an odd number of them is 1. All 2^bits rows in order, or n drawn ones.

    data (N, bits) float32, targets (N,) int64.
    Source: Rumelhart, Hinton & Williams, "Learning internal representations by error propagation" (1986).
    """
    _check("parity", bits=(bits, 1))
    if n is None:
        if bits > 20:
            raise ValueError(f"parity: all rows of {bits} bits are too many; say how many to draw with n=")
        x = np.arange(2**bits)[:, None] >> np.arange(bits)[::-1] & 1
    else:
        _check("parity", n=(n, 1))
        x = _Draws(seed).integers(0, 2, n, bits)
    return ArrayDataset(x.astype(np.float32), x.sum(1) % 2, classes=["even", "odd"])


def adding_problem(n: int = 1000, T: int = 50, seed: int = 0) -> ArrayDataset:
    """T numbers from [0, 1), two of them marked, one in each half: their sum is to be found.

    data (n, T, 2) float32, a number and its mark at each time; targets (n, 1) float32. To answer 1 always has a mean squared
    error of 1/6; less must come from memory over T steps.
    Source: Hochreiter & Schmidhuber, "Long short-term memory" (1997); in this form Le, Jaitly & Hinton (2015).
    """
    _check("adding_problem", n=(n, 1), T=(T, 2))
    draws = _Draws(seed)
    numbers, marks = draws.uniform(n, T), np.zeros((n, T), np.float32)
    rows = np.arange(n)
    marks[rows, draws.integers(0, T // 2, n)] = 1
    marks[rows, draws.integers(T // 2, T, n)] = 1
    return ArrayDataset(np.stack([numbers, marks], 2), (numbers * marks).sum(1, keepdims=True))


def copy_memory(n: int = 1000, T: int = 50, symbols: int = 8, length: int = 10, seed: int = 0) -> TensorDataset:
    """`length` symbols to be repeated after T steps of silence.

    Both tensors (n, T + 2 length) int64. Data: symbols 1 to `symbols`, T - 1 blanks 0, the call `symbols` + 1, and blanks.
    Targets: blanks, and in the last `length` places the symbols. Without memory the best mean cross-entropy is
    length log(symbols) / (T + 2 length).
    Source: Hochreiter & Schmidhuber (1997); in this form Arjovsky, Shah & Bengio, "Unitary evolution RNNs" (2016).
    """
    _check("copy_memory", n=(n, 1), T=(T, 1), symbols=(symbols, 1), length=(length, 1))
    what = _Draws(seed).integers(1, symbols + 1, n, length)
    x, y = np.zeros((2, n, T + 2 * length), np.int64)
    x[:, :length], x[:, length + T - 1] = what, symbols + 1
    y[:, -length:] = what
    return ArrayDataset(x, y)


def sorting(n: int = 1000, length: int = 6, symbols: int = 10, seed: int = 0) -> ArrayDataset:
    """Rows of numbers below `symbols`, to be written again in order: data and targets (n, length) int64.

    Source: a test of attention since Vinyals, Bengio & Kudlur, "Order matters" (2016).
    """
    _check("sorting", n=(n, 1), length=(length, 1), symbols=(symbols, 1))
    x = _Draws(seed).integers(0, symbols, n, length)
    return ArrayDataset(x, np.sort(x, 1))


def sine_waves(n: int = 100, T: int = 100, noise: float = 0.0, seed: int = 0) -> ArrayDataset:
    """Sine waves of amplitude 1 with period and phase drawn at random, to be continued by one step.

    data and targets (n, T, 1) float32: the targets are the data one step later. Periods are from 10 to 50 steps.
    """
    _check("sine_waves", n=(n, 1), T=(T, 1))
    draws = _Draws(seed)
    period, phase = 10 + 40 * draws.uniform(n, 1), 2 * math.pi * draws.uniform(n, 1)
    wave = np.sin(2 * math.pi * np.arange(T + 1) / period + phase) + noise * draws.normal(n, T + 1)
    wave = wave[:, :, None].astype(np.float32)
    return ArrayDataset(wave[:, :-1], wave[:, 1:])


def permuted_pixels(data: Any, seed: int = 0) -> ArrayDataset:
    """The data of another data set, each sample with its values in the same, random order: (N, D), with its targets.

    To a fully connected network it is the same problem, to one that looks at neighbours a harder one. Several seeds make
    several tasks for learning one after the other.
    Source: Goodfellow et al., "Catastrophic forgetting in gradient-based neural networks" (2013); Le, Jaitly & Hinton (2015).
    """
    x = data.data.numpy().reshape(len(data), -1)
    if x.dtype == np.uint8:
        x = x.astype(np.float32) / 255
    return ArrayDataset(x[:, _Draws(seed).order(x.shape[1])], data.targets, classes=data.classes)
