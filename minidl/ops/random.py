"""Random tensors, drawn from a Generator's Philox stream. The numbers of a seed differ from PyTorch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.inplace import check_writable, write
from ..autograd.op import as_array
from ..autograd.storage import next_seq
from ..devices import CPU, check_same, chosen, device, make, move
from ..kernels import array_module
from ..kernels import random as kernels
from ..random import Generator, default_generator
from ..tensor import Tensor, method
from .creation import _finish, _leaf, _shape
from .indexing import CopyFrom


def _draw(kind: str, shape: tuple[int, ...], dtype: Any, generator: Generator | None, where: device | None) -> Any:
    """An array on a device of "uniform" or "normal" numbers; those of float16 and bfloat16 are rounded from float32.

    The parts of complex numbers are such numbers; of normal ones over the root of 2, so that their variance is 1.
    """
    wanted = dtypes.get_default_dtype().dtype if dtype is None else dtypes.as_array_dtype(dtype)
    if wanted.kind == "c":
        part = dtypes.float64 if wanted == np.complex128 else dtypes.float32
        pairs = _draw(kind, (*shape, 2), part, generator, where)
        return (pairs / pairs.dtype.type(math.sqrt(2)) if kind == "normal" else pairs).view(wanted)[..., 0]
    if wanted.kind not in dtypes.FLOATING:
        raise RuntimeError(f'"{kind}" not implemented for {wanted}: random floats need a float dtype')
    out = make("empty", where, math.prod(shape), np.float64 if wanted == np.float64 else np.float32)
    key, counter = (generator or default_generator).take(kernels.blocks(out.size, kernels.WORDS[out.dtype]))
    getattr(kernels, kind)(out, key, counter)
    if kind == "uniform" and wanted.itemsize == 2:
        steps = 2048 if wanted.kind == "f" else 256  # of float16 and bfloat16
        out = array_module(out).floor(out * steps) / steps  # rounding to the nearest could give 1
    return out.reshape(shape).astype(wanted, copy=False)


def _words(n: int, generator: Generator | None, where: device | None = None) -> Any:
    """n random uint64, by default in host memory."""
    out = make("empty", where, 2 * n, np.uint32)
    key, counter = (generator or default_generator).take(kernels.blocks(out.size, 1))
    kernels.philox(out, key, counter)
    return out.view(np.uint64)


def _integers(
    low: int, high: int, shape: tuple[int, ...], generator: Generator | None, where: device | None
) -> Any:  # fmt: skip
    """int64 numbers in [low, high). The remainder of 64 random bits favours no value by more than 1 in 2^64 / span."""
    if not high > low:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    draws = _words(math.prod(shape), generator, where) % np.uint64(high - low)
    return (draws.astype(np.int64) + low).reshape(shape)


def _uniform64(shape: tuple[int, ...], generator: Generator | None, where: device | None = None) -> Any:
    return _draw("uniform", shape, np.float64, generator, where)


# ---------------------------------------------------------------------------------------------------------------------
# New tensors. `layout`, `memory_format` and `pin_memory` are taken for PyTorch's sake and mean nothing here


def _sizes(name: str, size: tuple[Any, ...], named: Any) -> tuple[int, ...]:
    if size and named is not None:
        raise TypeError(f"{name}: give the sizes one by one or as size=, not both")
    return _shape(name, size if named is None else (tuple(named),))


def rand(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Numbers evenly distributed over [0, 1).

    Example:
        >>> minidl.rand(2, 3).shape
        torch.Size([2, 3])
    """
    draws = _draw("uniform", _sizes("rand", sizes, size), dtype, generator, chosen(device))
    return _leaf(draws, requires_grad)


def randn(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Numbers from the normal distribution of mean 0 and variance 1.

    Example:
        >>> minidl.randn(2, 3).shape
        torch.Size([2, 3])
    """
    draws = _draw("normal", _sizes("randn", sizes, size), dtype, generator, chosen(device))
    return _leaf(draws, requires_grad)


def randint(
    *args: Any,
    low: int | None = None,
    high: int | None = None,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Integers in [low, high): randint(high, size) or randint(low, high, size); int64 unless `dtype` says otherwise.

    Example:
        >>> minidl.randint(0, 10, (4,)).dtype
        torch.int64
    """
    given = list(args)
    if size is None and given:
        size = given.pop()
    if high is None and given:
        high = given.pop()
    if low is None and given:
        low = given.pop()
    if size is None or high is None or given:
        raise TypeError(f"randint: expected (high, size) or (low, high, size), got {args}")
    array = _integers(int(low or 0), int(high), _shape("randint", (tuple(size),)), generator, chosen(device))
    return _leaf(array.astype(dtypes.as_array_dtype(dtype or dtypes.int64)), requires_grad)


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """The numbers 0 to n - 1 in random order, int64."""
    if n < 0:
        raise RuntimeError(f"randperm: n must be at least 0, got {n}")
    order = _words(n, generator, chosen(device)).argsort(kind="stable")
    return _leaf(order.astype(dtypes.as_array_dtype(dtype or dtypes.int64)), requires_grad)


def rand_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """rand() of another tensor's shape, dtype and device."""
    values = _draw("uniform", input.array.shape, dtype or input.dtype, generator, chosen(device or input.device))
    return _leaf(values, requires_grad)


def randn_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """randn() of another tensor's shape, dtype and device."""
    values = _draw("normal", input.array.shape, dtype or input.dtype, generator, chosen(device or input.device))
    return _leaf(values, requires_grad)


def randint_like(
    input: Tensor,
    low: int,
    high: int | None = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """randint() of another tensor's shape, dtype and device: randint_like(x, high) or randint_like(x, low, high)."""
    low, high = (0, low) if high is None else (low, high)
    values = _integers(int(low), int(high), input.array.shape, generator, chosen(device or input.device))
    return _leaf(values.astype(dtypes.as_array_dtype(dtype or input.dtype)), requires_grad)


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    **ignored: Any,
) -> Tensor:
    """Numbers from normal distributions: mean and std are tensors (broadcast), or numbers with a `size`.

    Example:
        >>> minidl.normal(5.0, 0.1, (2, 3)).shape
        torch.Size([2, 3])
    """
    mean_array, std_array = (x.array if isinstance(x, Tensor) else x for x in (mean, std))
    if (std_array < 0).any() if isinstance(std, Tensor) else std < 0:
        raise RuntimeError("normal expects all elements of std >= 0.0")
    check_same("normal", *(x for x in (mean, std) if isinstance(x, Tensor)))
    given = next((x for x in (mean, std) if isinstance(x, Tensor)), None)
    if (size is None) == (given is None):
        raise TypeError("normal: expected tensors as mean or std, or two numbers and a size")
    if given is not None:
        shape = np.broadcast_shapes(*(x.array.shape for x in (mean, std) if isinstance(x, Tensor)))
        dtype, device = given.dtype, given.device
    else:
        shape = _shape("normal", (tuple(size),))
    draws = _draw("normal", shape, dtype, generator, chosen(device))
    return _leaf(as_array(draws * std_array + mean_array).astype(draws.dtype), requires_grad)


def _on_host(x: Tensor) -> Any:
    """The values in host memory, where the numbers are drawn."""
    return move(x.array, CPU)


def _check_probability(name: str, p: Any) -> None:
    if not ((p >= 0) & (p <= 1)).all():
        raise RuntimeError(f"{name} expects 0 <= p <= 1 in every element, but found p from {p.min()} to {p.max()}")


@method()
def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that input (float) gives, else 0; with `p` that probability everywhere."""
    if p is None and input.array.dtype.kind not in dtypes.FLOATING:
        raise RuntimeError(f"bernoulli: expected float probabilities, got {input.dtype}; convert them with float()")
    chance = input.array if p is None else array_module(input.array).asarray(p)
    _check_probability("bernoulli", chance)
    draws = _uniform64(input.array.shape, generator, input.device) < chance
    return _leaf(as_array(draws).astype(input.array.dtype))


@method()
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Indices drawn with probabilities proportional to each row of input: (N,) gives (num_samples,), (B, N) gives
    (B, num_samples). Without replacement no index is drawn twice.

    Source: Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006 (without replacement).

    Example:
        >>> minidl.multinomial(minidl.tensor([0.0, 1.0]), 3, replacement=True)
        tensor([1, 1, 1])
    """
    if input.array.ndim not in (1, 2) or input.array.dtype.kind not in dtypes.FLOATING:
        raise RuntimeError(
            "multinomial: prob_dist must be a float tensor with 1 or 2 dimensions, got "
            f"{input.dtype} of shape {list(input.shape)}"
        )
    weights = np.atleast_2d(_on_host(input)).astype(np.float64)
    B, N = weights.shape
    if num_samples <= 0:
        raise RuntimeError(f"cannot sample n_sample <= 0 samples, got {num_samples}")
    edges = weights.cumsum(1)
    total = edges[:, -1:]
    if not (weights.min(initial=0) >= 0 and np.isfinite(total).all()):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if not N or (total <= 0).any():
        raise RuntimeError("multinomial: invalid multinomial distribution (sum of probabilities <= 0)")
    if replacement or num_samples == 1:  # a single one is drawn the same way, and takes one random number instead of N
        draws = _uniform64((B, num_samples), generator) * total
        rows = [e.searchsorted(d, side="right") for e, d in zip(edges, draws, strict=True)]
        index = np.stack(rows) if rows else np.zeros((0, num_samples), np.int64)
    else:
        if ((weights > 0).sum(1) < num_samples).any():
            raise RuntimeError(
                f"multinomial: cannot sample {num_samples} without replacement from rows with fewer positive weights"
            )
        # the first of exponential waiting times, whose rates are the weights
        waits = -np.log1p(-_uniform64((B, N), generator)) / np.where(weights > 0, weights, 1)
        index = np.argsort(np.where(weights > 0, waits, np.inf), 1, kind="stable")[:, :num_samples]
    index = index.astype(np.int64)
    return _finish(index if input.array.ndim == 2 else index[0], input.device, False)


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Counts from Poisson distributions with the rates in input, in input's dtype."""
    rates = _on_host(input)
    if not np.all(rates >= 0):
        raise RuntimeError(f"poisson: invalid Poisson rate, expected all rates to be >= 0, got {rates.min()}")
    counts = np.random.default_rng(_words(2, generator)).poisson(rates)
    return _finish(np.asarray(counts).astype(input.array.dtype), input.device, False)


def standard_gamma(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Numbers from gamma distributions of rate 1 with the shapes in input, in input's dtype; no gradient."""
    draws = np.random.default_rng(_words(2, generator)).standard_gamma(_on_host(input))
    return _finish(np.asarray(draws).astype(input.array.dtype), input.device, False)


def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """How many of `count` tries succeed, each with probability `prob`; both broadcast, the result has prob's dtype."""
    chances, tries = _on_host(prob), _on_host(count)
    _check_probability("binomial", chances)
    draws = np.random.default_rng(_words(2, generator)).binomial(tries.astype(np.int64), chances)
    return _finish(np.asarray(draws).astype(prob.array.dtype), prob.device, False)


# ---------------------------------------------------------------------------------------------------------------------
# In place: the old values are gone, and so no gradient reaches them


def _overwrite(x: Tensor, name: str, values: Any) -> Tensor:
    check_writable(x, name)
    before = next_seq()
    drawn = _leaf(as_array(values).astype(x.array.dtype))
    return write(x, CopyFrom.apply(x, drawn), name, before)


def _check_float(name: str, x: Tensor) -> None:
    if x.array.dtype.kind not in dtypes.FLOATING:
        raise RuntimeError(f'"{name}" not implemented for {x.dtype}: it fills float tensors')


@method()
def uniform_(self: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers evenly distributed between a and b."""
    if not a <= b:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}")
    return _overwrite(
        self, "uniform", _draw("uniform", self.array.shape, self.dtype, generator, self.device) * (b - a) + a
    )


@method()
def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers from a normal distribution."""
    if not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    return _overwrite(
        self, "normal", _draw("normal", self.array.shape, self.dtype, generator, self.device) * std + mean
    )


@method()
def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with exp of numbers from a normal distribution of that mean and standard deviation."""
    _check_float("log_normal_", self)
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    draws = _draw("normal", self.array.shape, np.float64, generator, self.device)
    return _overwrite(self, "log_normal", np.exp(draws * std + mean))


@method()
def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with 1 (with probability p, a number or a tensor) and 0."""
    chance = p.array if isinstance(p, Tensor) else array_module(self.array).asarray(p)
    _check_probability("bernoulli_", chance)
    return _overwrite(self, "bernoulli", _uniform64(self.array.shape, generator, self.device) < chance)


@method()
def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers from the exponential distribution of rate `lambd`."""
    _check_float("exponential_", self)
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    return _overwrite(self, "exponential", -np.log1p(-_uniform64(self.array.shape, generator, self.device)) / lambd)


@method()
def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Fill with the number of trials (1, 2, ...) up to the first success, each of probability p."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    trials = np.ceil(np.log1p(-_uniform64(self.array.shape, generator, self.device)) / math.log1p(-p))
    return _overwrite(self, "geometric", array_module(trials).maximum(trials, 1))


@method()
def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers from the Cauchy distribution around `median` of half-width `sigma`."""
    _check_float("cauchy_", self)
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    draws = np.tan(math.pi * (_uniform64(self.array.shape, generator, self.device) - 0.5))
    return _overwrite(self, "cauchy", draws * sigma + median)


@method()
def random_(
    self: Tensor, low: int | None = None, high: int | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Fill with integers in [low, high); random_(high) starts at 0; without bounds, all that the dtype holds."""
    if low is None:
        dtype = self.array.dtype
        bits = {"b": 1, "V": 8, "i": 8 * dtype.itemsize - 1, "u": min(8 * dtype.itemsize, 63)}.get(dtype.kind)
        low, high = 0, 2 ** (np.finfo(dtype).nmant + 1 if bits is None else bits)
    elif high is None:
        low, high = 0, low
    return _overwrite(self, "random", _integers(int(low), int(high), self.array.shape, generator, self.device))


__all__ = [
    "bernoulli", "binomial", "multinomial", "normal", "poisson", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like",
    "randperm",
]  # fmt: skip
