"""Padding: entries added around a tensor, constant or taken from the tensor itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.op import Op
from ..autograd.precision import with_precision
from ..kernels import array_module
from ..tensor import Tensor
from ..testing.samples import Sample, samples


class ConstantPad(Op):
    """`value` around x: widths[d] = (before, after) in dimension d; a negative width cuts entries off."""

    complex_rule = True

    def forward(self, x: Any, *, widths: Any, value: float) -> Any:
        self.widths = widths
        out = array_module(x).full([n + sum(width) for n, width in zip(x.shape, widths, strict=True)], value, x.dtype)
        out[_inside(out.shape, widths, 1)] = x[_inside(x.shape, widths, -1)]
        return out

    def backward(self, g: Any) -> Any:
        return ConstantPad.apply(g, widths=tuple((-before, -after) for before, after in self.widths), value=0.0)


@samples(ConstantPad)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), widths=((1, 0), (2, 1)), value=0.5)
    yield Sample(make(4, 3), widths=((-1, 2), (0, -1)), value=0.0, note="negative widths cut off")
    yield Sample(make(0, 3), widths=((1, 1), (0, 0)), value=1.0)


def _inside(shape: Any, widths: Any, sign: int) -> Any:
    """The region of an array of that shape without the widths of that sign."""
    ends = zip(shape, widths, strict=True)
    return tuple(slice(max(sign * before, 0), n - max(sign * after, 0)) for n, (before, after) in ends)


def _constant(input: Any, pad: tuple[int, ...], value: float) -> Any:
    if len(pad) > 2 * input.ndim:
        raise RuntimeError(
            f"pad: length of pad should be no more than twice the input's {input.ndim} dimensions, got {pad}"
        )
    widths = (
        tuple((0, 0) for _ in range(input.ndim - len(pad) // 2)) + tuple(zip(pad[::2], pad[1::2], strict=True))[::-1]
    )
    for d, (n, (before, after)) in enumerate(zip(input.shape, widths, strict=True)):
        if n + before + after < 0 or max(-before, 0) + max(-after, 0) > n:
            raise RuntimeError(f"pad: the widths {(before, after)} cut more off dimension {d} than its size, {n}")
    return ConstantPad.apply(input, widths=widths, value=value)


def _source(n: int, before: int, after: int, mode: str) -> Any:
    """For every entry of a padded dimension of size n, the entry of the input that stands there."""
    if n + before + after < 1:
        raise RuntimeError(f"pad: the widths {(before, after)} leave nothing of a dimension of size {n}")
    if n == 0:
        raise RuntimeError(f"pad: mode {mode!r} needs a non-empty dimension to take entries from; use mode 'constant'")
    if mode == "reflect" and max(before, after) >= n:
        raise RuntimeError(
            f"pad: Padding size should be less than the corresponding input dimension {n}, got {before, after}"
        )
    if mode == "circular" and max(before, after) > n:
        raise RuntimeError(f"pad: Padding value causes wrapping around more than once: {before, after} for size {n}")
    i = np.arange(-before, n + after)
    if mode == "replicate":
        return np.clip(i, 0, n - 1)
    if mode == "circular":
        first, size = max(-before, 0), n - max(-before, 0) - max(-after, 0)  # what is cut off does not come round
        return first + (i - first) % size
    i = np.abs(i)
    return np.where(i < n, i, 2 * (n - 1) - i)


def pad(input: Tensor, pad: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    """Entries added around a tensor; `pad` gives (before, after) for the last dimension, then for the one before, ...

    mode: "constant" (`value`, default 0), "reflect" (mirrored at the border, without repeating it), "replicate" (the
        border repeated) or "circular" (from the other side). All but the first want inputs (B, C, ...) or (C, ...) and
        widths for all dimensions after C.
    Negative widths cut entries off. Raises RuntimeError where widths do not fit, NotImplementedError for other inputs.

    Example:
        >>> minidl.nn.functional.pad(minidl.ones(1, 2), (1, 1))
        tensor([[0., 1., 1., 0.]])
    """
    from .gather import index_select

    widths = tuple(int(n) for n in pad)
    if len(widths) % 2:
        raise RuntimeError(f"pad: Padding length must be divisible by 2, got {list(widths)}")
    if mode == "constant":
        return _constant(input, widths, 0.0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"pad: mode {mode!r} is none of constant, reflect, replicate, circular")
    if value is not None and value != 0:
        raise ValueError(f'pad: Padding mode "{mode}" doesn\'t take in value argument')
    if mode != "circular":
        input = with_precision("full on cpu", input)
    dims = len(widths) // 2
    if dims not in (1, 2, 3) or input.ndim not in (dims + 1, dims + 2):
        raise NotImplementedError(
            f"pad: mode {mode!r} pads the last 1, 2 or 3 dimensions of tensors with one or two more; "
            f"got {input.ndim} dimensions and {len(widths)} widths"
        )
    result: Tensor = input
    for i in range(dims):
        before, after = widths[2 * i : 2 * i + 2]
        d = input.ndim - 1 - i
        if before or after:
            result = index_select(result, d, _source(input.shape[d], before, after, mode))
    return result if result is not input else input.clone()


_pad = pad


def constant_pad_nd(input: Tensor, pad: Any, value: float = 0) -> Tensor:
    """pad(input, pad, "constant", value) under its name in `torch`."""
    return _pad(input, pad, "constant", value)


__all__ = ["constant_pad_nd", "pad"]
