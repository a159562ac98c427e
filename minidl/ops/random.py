"""Random tensors, drawn from a Generator's Philox stream."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..autograd.inplace import check_writable
from ..autograd.op import wrap
from ..kernels import random as kernels
from ..random import Generator, default_generator
from ..tensor import Size, Tensor, method


def _size(size: tuple[Any, ...]) -> tuple[int, ...]:
    if len(size) == 1 and isinstance(size[0], (tuple, list, Size)):
        size = tuple(size[0])
    return tuple(int(n) for n in size)


def _draw(kind: str, shape: tuple[int, ...], dtype: Any, generator: Generator | None) -> Any:
    """An array of uniform or normal numbers, in float32 or float64 (others are converted from float32)."""
    wanted = dtypes.as_array_dtype(dtype or dtypes.get_default_dtype())
    if wanted.kind != "f":
        raise RuntimeError(f'"{kind}" not implemented for {wanted}: random floats need a float dtype')
    out = np.empty(math.prod(shape), np.float64 if wanted == np.float64 else np.float32)
    words = 2 if out.dtype == np.float64 else 1
    key, counter = (generator or default_generator).take(kernels.blocks(out.size, words))
    getattr(kernels, kind)(out, key, counter)
    return out.reshape(shape).astype(wanted, copy=False)


def _finish(array: Any, device: Any, requires_grad: bool) -> Tensor:
    t = wrap(devices.move(array, devices.device(device or "cpu")))
    return t.requires_grad_() if requires_grad else t


def rand(*size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any) -> Tensor:  # fmt: skip
    """Numbers evenly distributed over [0, 1)."""
    return _finish(_draw("uniform", _size(ignored.get("size", size)), dtype, generator), device, requires_grad)


def randn(*size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any) -> Tensor:  # fmt: skip
    """Numbers from the normal distribution of mean 0 and variance 1."""
    return _finish(_draw("normal", _size(ignored.get("size", size)), dtype, generator), device, requires_grad)


def _integers(low: int, high: int, shape: tuple[int, ...], generator: Generator | None) -> Any:
    """int64 numbers in [low, high): 64 random bits each, scaled by their high product, so that no value is favoured visibly."""
    words = np.empty(2 * math.prod(shape), np.uint32)
    key, counter = (generator or default_generator).take(kernels.blocks(words.size, 1))
    kernels.philox(words, key, counter)
    span = high - low
    if span <= 2**32:
        scaled = (words[::2].astype(np.uint64) * np.uint64(span)) >> np.uint64(32)
    else:
        scaled = words.view(np.uint64) % np.uint64(span)
    return (scaled.astype(np.int64) + low).reshape(shape)


def randint(*args: Any, low: int | None = None, high: int | None = None, size: Any = None, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Integers in [low, high): randint(high, size) or randint(low, high, size); int64 by default."""
    values = list(args)
    if size is None:
        size = values.pop()
    if values:
        high = values.pop() if high is None else high
    if values:
        low = values.pop()
    low = low or 0
    if high is None or high <= low:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    array = _integers(low, high, _size((size,)), generator)
    return _finish(array.astype(dtypes.as_array_dtype(dtype or dtypes.int64)), device, requires_grad)


def randperm(
    n: int, *, generator: Generator | None = None, dtype: Any = None, device: Any = None, **ignored: Any
) -> Tensor:
    """The numbers 0 to n - 1 in random order."""
    words = np.empty(2 * n, np.uint32)
    key, counter = (generator or default_generator).take(kernels.blocks(words.size, 1))
    kernels.philox(words, key, counter)
    order = np.argsort(words.view(np.uint64), kind="stable")
    return _finish(order.astype(dtypes.as_array_dtype(dtype or dtypes.int64)), device, False)


def rand_like(
    input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any
) -> Tensor:
    """rand() of another tensor's shape, dtype and device."""
    return rand(
        tuple(input.shape), dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad
    )


def randn_like(
    input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any
) -> Tensor:
    """randn() of another tensor's shape, dtype and device."""
    return randn(
        tuple(input.shape), dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad
    )


def randint_like(input: Tensor, low: int, high: int | None = None, *, dtype: Any = None, **ignored: Any) -> Tensor:
    """randint() of another tensor's shape and dtype."""
    bounds = (low,) if high is None else (low, high)
    return randint(*bounds, tuple(input.shape), dtype=dtype or input.dtype)


def normal(
    mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None, **options: Any
) -> Tensor:
    """Numbers from normal distributions: mean and std are tensors, or numbers with a `size`."""
    if isinstance(mean, Tensor) or isinstance(std, Tensor):
        shape = np.broadcast_shapes(getattr(mean, "shape", ()), getattr(std, "shape", ()))
        like = mean if isinstance(mean, Tensor) else std
        return randn(tuple(shape), dtype=like.dtype, generator=generator) * std + mean
    if size is None:
        raise TypeError("normal: with numbers as mean and std, give a size")
    return randn(_size((size,)), generator=generator, **options) * std + mean


@method()
def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that input (or `p`) gives, else 0."""
    chance = input.array if p is None else p
    if p is None and input.array.size and not ((input.array >= 0) & (input.array <= 1)).all():
        raise RuntimeError("bernoulli: expected p_in >= 0 && p_in <= 1 in every element")
    dtype = np.dtype(np.float32) if input.array.dtype.kind != "f" else input.array.dtype
    draws = _draw("uniform", tuple(input.shape), dtype, generator)
    return wrap((draws < chance).astype(input.array.dtype))


@method()
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Indices drawn with probabilities proportional to each row of input (N,) or (B, N): (num_samples,) or (B, num_samples)."""
    weights = np.atleast_2d(input.array).astype(np.float64)
    if (weights < 0).any() or not np.isfinite(weights).all():
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if (weights.sum(1) <= 0).any():
        raise RuntimeError("multinomial: invalid multinomial distribution (sum of probabilities <= 0)")
    B, N = weights.shape
    if replacement:
        edges = np.cumsum(weights, 1)
        draws = _draw("uniform", (B, num_samples), dtypes.float64, generator) * edges[:, -1:]
        index = np.stack([np.searchsorted(e, d, side="right") for e, d in zip(edges, draws, strict=True)])
    else:
        if num_samples > N or ((weights > 0).sum(1) < num_samples).any():
            raise RuntimeError("multinomial: cannot sample n_sample > prob_dist.size(-1) samples without replacement")
        # the smallest of exponential waiting times (Efraimidis & Spirakis, 2006)
        waits = -np.log1p(-_draw("uniform", (B, N), dtypes.float64, generator)) / np.where(weights > 0, weights, 1)
        index = np.argsort(np.where(weights > 0, waits, np.inf), 1, kind="stable")[:, :num_samples]
    index = np.minimum(index, N - 1).astype(np.int64)
    return wrap(index if input.array.ndim == 2 else index[0])


def _fill_with(x: Tensor, name: str, array: Any) -> Tensor:
    """Overwrite x with drawn numbers: an in-place operation without a gradient."""
    from ..autograd.inplace import write
    from ..autograd.op import next_seq
    from .gather import CopyFrom

    check_writable(x, name)
    before = next_seq()
    return write(x, CopyFrom.apply(x, wrap(np.asarray(array).astype(x.array.dtype))), name, before)


@method()
def uniform_(self: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers evenly distributed over [a, b)."""
    if a > b:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}")
    return _fill_with(self, "uniform", _draw("uniform", tuple(self.shape), self.dtype, generator) * (b - a) + a)


@method()
def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers from a normal distribution."""
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    return _fill_with(self, "normal", _draw("normal", tuple(self.shape), self.dtype, generator) * std + mean)


@method()
def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with 1 (with probability p, a number or a tensor) and 0."""
    chance = p.array if isinstance(p, Tensor) else p
    return _fill_with(self, "bernoulli", _draw("uniform", tuple(self.shape), dtypes.float32, generator) < chance)


@method()
def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers from the exponential distribution of rate `lambd`."""
    draws = _draw("uniform", tuple(self.shape), dtypes.float64, generator)
    return _fill_with(self, "exponential", -np.log1p(-draws) / lambd)


@method()
def random_(self: Tensor, low: int = 0, high: int | None = None, *, generator: Generator | None = None) -> Tensor:
    """Fill with integers in [low, high); random_(high) starts at 0; without bounds, all that the dtype holds exactly."""
    if high is None:
        bits = {"f": np.finfo(self.array.dtype).nmant + 1 if self.array.dtype.kind == "f" else 0, "b": 1}
        low, high = 0, low or 2 ** bits.get(self.array.dtype.kind, min(8 * self.array.itemsize - 1, 63))
    return _fill_with(self, "random", _integers(low, high, tuple(self.shape), generator))


__all__ = [
    "bernoulli", "multinomial", "normal", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm",
]  # fmt: skip
