"""What the rows of sizes.py are made of: a function or layer forward and backward, a training step, an optimizer's step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .workloads import Step, Training, _classes, _random

Rows = dict[str, Callable[[Any], Step]]


class Piece:
    """Forward and backward of a function, for a gradient that is not all ones; with `grad=False` forward alone.

    What has parameters is given as `layer`; their values depend on nothing but their shapes. `values` are compared.
    """

    def __init__(
        self, m: Any, function: Callable[..., Any], *inputs: Any, layer: Any = None, grad: bool = True
    ) -> None:
        self.module, self.function, self.grad = m, function, grad
        self.inputs = [m.tensor(x, requires_grad=grad) if x.dtype == np.float32 else m.tensor(x) for x in inputs]
        self.leaves = [x for x in self.inputs if x.requires_grad]
        if layer is not None:
            with m.no_grad():
                for p in layer.parameters():
                    p.copy_(m.tensor(_random(*p.shape) * (1 if p.ndim < 2 else min(1.0, 10 / math.sqrt(p[0].numel())))))
            self.leaves += list(layer.parameters())
        shape = tuple(self.result().shape)
        self.weights = m.tensor(np.random.default_rng(2).standard_normal(shape).astype(np.float32))

    def result(self) -> Any:
        if self.grad:
            return self.function(*self.inputs)
        with self.module.no_grad():
            return self.function(*self.inputs)

    def __call__(self) -> float:
        for x in self.leaves:
            x.grad = None
        out = self.result()
        if self.grad:
            out.backward(self.weights)
        self.out = out.detach()
        return 0.0

    def values(self) -> list[Any]:
        """The result and the gradients, as arrays."""
        self()
        return [x.numpy() for x in (self.out, *(leaf.grad for leaf in self.leaves)) if x is not None]


class Trained(Training):
    """A training step; `values` are the losses of three steps: the last two depend on all gradients and updates."""

    def values(self) -> list[Any]:
        return [np.float32(self()) for _ in range(3)]


class Updated:
    """The step of an optimizer alone; `values` are the parameters after it."""

    def __init__(self, m: Any, make: Callable[[Any], Any], shapes: tuple[tuple[int, ...], ...]) -> None:
        self.parameters = [m.nn.Parameter(m.tensor(_random(*shape))) for shape in shapes]
        for p in self.parameters:
            p.grad = m.tensor(_random(*p.shape) + 0.01)
        self.optimizer = make(self.parameters)

    def __call__(self) -> float:
        self.optimizer.step()
        return 0.0

    def values(self) -> list[Any]:
        self()
        return [p.detach().numpy().copy() for p in self.parameters]


def of(function: Callable[..., Any], *shapes: tuple[int, ...], grad: bool = True) -> Callable[[Any], Step]:
    """function(m, *tensors) of these shapes."""
    return lambda m: Piece(
        m, lambda *x: function(m, *x), *(_random(*s) + 0.01 * i for i, s in enumerate(shapes)), grad=grad
    )


def layer(
    name: str, *arguments: Any, on: tuple[int, ...], pick: Any = None, grad: bool = True, **options: Any
) -> Callable[[Any], Step]:
    """A layer of nn on an input of a shape; pick: what of its result is meant, or how to call it."""

    def make(m: Any) -> Step:
        made = getattr(m.nn, name)(*arguments, **options)
        call = made if pick is None else lambda x: pick(made, x)
        return Piece(m, call, _random(*on), layer=made, grad=grad)

    return make


def convolution(c: int, o: int, k: int, *on: int, **options: Any) -> Callable[[Any], Step]:
    """A convolution from c to o channels, as many dimensions as the sizes in `on` after the batch."""
    kind = "ConvTranspose" if options.pop("transposed", False) else "Conv"
    return layer(f"{kind}{len(on) - 1}d", c, o, k, on=(on[0], c, *on[1:]), **options)


def recurrent(name: str, width: int, hidden: int, time: int, batch: int, **options: Any) -> Callable[[Any], Step]:
    """A recurrent layer, batch first."""
    return layer(
        name, width, hidden, on=(batch, time, width), pick=lambda net, x: net(x)[0], batch_first=True, **options
    )


def attention(
    batch: int,
    heads: int,
    queries: int,
    width: int,
    keys: int = 0,
    grad: bool = True,
    mask: str = "",
    shared: int = 1,
    **options: Any,
) -> Callable[[Any], Step]:
    """scaled_dot_product_attention; mask: "bool" hides the last keys of each sequence, "float" adds a bias to every score."""
    keys = keys or queries
    shapes = [(batch, heads, queries, width), *[(batch, heads // shared, keys, width)] * 2]

    def make(m: Any) -> Step:
        hidden = {}
        if mask == "bool":
            seen = np.arange(keys) < keys - 7 * np.arange(batch)[:, None]
            hidden["attn_mask"] = m.tensor(seen[:, None, None])
        elif mask:
            hidden["attn_mask"] = m.tensor(_random(queries, keys))
        call = m.nn.functional.scaled_dot_product_attention
        return of(lambda m, q, k, v: call(q, k, v, **hidden, **options), *shapes, grad=grad)(m)

    return make


def indexed(
    function: Callable[..., Any], count: int, shape: tuple[int, ...], *others: tuple[int, ...]
) -> Callable[[Any], Step]:
    """function(m, index, *tensors), for an index array below `count`."""
    index = np.random.default_rng(1).integers(0, count, shape)
    return lambda m: Piece(m, lambda *x: function(m, x[-1], *x[:-1]), *(_random(*s) for s in others), index)


def resized(mode: str, *on: int, size: Any = None, scale: Any = None, **options: Any) -> Callable[[Any], Step]:
    """F.interpolate of an input of a shape."""
    return of(lambda m, x: m.nn.functional.interpolate(x, size, scale, mode, **options), on)


def trained(
    build: Callable[[Any], Any],
    on: Any,
    classes: int,
    count: int,
    optimizer: str = "Adam",
    vocabulary: int = 0,
    **options: Any,
) -> Callable[[Any], Step]:
    """A training step of what build(nn) returns, on `count` classified rows, on numbers of the shape `on` or words below `vocabulary`."""

    def make(m: Any) -> Step:
        x = _classes(m, vocabulary, *on) if vocabulary else m.tensor(_random(*on))
        y = _classes(m, classes, count)
        return Trained(m, build(m), x, y, lambda p: getattr(m.optim, optimizer)(p, lr=1e-2, **options))

    return make
