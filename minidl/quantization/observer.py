"""Observers: layers that pass their input on and remember how large it was, to choose a scale and a zero point from it.

Running a few batches of data through a model that has them is *calibration*. They differ in what they remember (the smallest and
the largest value, a moving average of these, or, in histogram.py, how often each value came) and in what they do with a few very
large values, *outliers*: each of them widens the range, and all other values share the integers that are left.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..autograd.op import wrap
from ..dtypes import QUANTIZED, dtype, quantized_dtype, quint8
from ..kernels.quantize import not_finite
from ..nn.module import Module
from ..tensor import Tensor
from .tensor import (
    limits,
    per_channel_affine,
    per_channel_affine_float_qparams,
    per_channel_symmetric,
    per_tensor_affine,
    per_tensor_symmetric,
    qscheme,
)

EPS = float(np.finfo(np.float32).eps)
SYMMETRIC = (per_tensor_symmetric, per_channel_symmetric)
PER_CHANNEL = (per_channel_affine, per_channel_symmetric, per_channel_affine_float_qparams)


def width(low: Any, high: Any, steps: int) -> Any:
    """(high - low) / steps, also where the difference is beyond float32."""
    with np.errstate(over="ignore"):
        found = (high - low) / steps
    return np.where(np.isfinite(found), found, high / steps - low / steps)


class ObserverBase(Module):
    """What all observers have: `forward`, which returns its input, and `calculate_qparams`, scale and zero point so far.

    dtype: qint8, quint8 or qint32. quant_min, quant_max: the integers that may be used (default: all of the dtype).
    reduce_range: half of them, for kernels whose sums would not fit; those of minidl do not need it. eps: the smallest scale.
    """

    default_scheme: qscheme = per_tensor_affine

    def __init__(
        self,
        dtype: dtype = quint8,
        qscheme: qscheme | None = None,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        eps: float = EPS,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if not isinstance(dtype, quantized_dtype):
            raise ValueError(f"{name}: dtype is one of {', '.join(map(repr, QUANTIZED.values()))}, got {dtype!r}")
        if (quant_min is None) != (quant_max is None):
            raise ValueError(f"{name}: quant_min and quant_max are given together, got {quant_min} and {quant_max}")
        self.dtype, self.qscheme = dtype, self.default_scheme if qscheme is None else qscheme
        self.reduce_range, self.eps = reduce_range, eps
        first, last = limits(dtype)
        if quant_min is None or quant_max is None:
            self.quant_min, self.quant_max = limits(dtype, reduce_range)
        elif not first <= quant_min < quant_max <= last:
            raise ValueError(
                f"{name}: expected {first} <= quant_min < quant_max <= {last}, got {quant_min} and {quant_max}"
            )
        else:
            self.quant_min, self.quant_max = quant_min, quant_max

    @classmethod
    def with_args(cls, **kwargs: Any) -> Any:
        """The class with some arguments given, for a QConfig: MinMaxObserver.with_args(dtype=minidl.qint8)."""
        return partial(cls, **kwargs)

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Scale, float32, and zero point, int32, one of each or (C,). Raises RuntimeError before anything was observed."""
        raise NotImplementedError(f"{type(self).__name__} does not define calculate_qparams()")

    def choose(self, low: Any, high: Any) -> tuple[Tensor, Tensor]:
        """Scale and zero point for values from low to high, arrays of one shape; a symmetric range is as wide on both sides."""
        low, high = np.minimum(low, 0), np.maximum(high, 0)
        first, last = self.quant_min, self.quant_max
        if self.qscheme in SYMMETRIC:
            scale = np.maximum(-low, high) / ((last - first) / 2)
            zero = np.full(np.shape(scale), (first + last + 1) // 2 if first >= 0 else 0)
        elif self.qscheme is per_channel_affine_float_qparams:
            scale = width(low, high, last - first)
            scale = np.where(scale > self.eps, scale, 1.0)
            return wrap(scale.astype(np.float32)), wrap((-low / scale).astype(np.float32))
        else:
            scale = width(low, high, last - first)
            zero = first - np.rint(low / np.maximum(scale, self.eps))
        scale = np.asarray(np.maximum(scale, self.eps), np.float32)
        return wrap(scale), wrap(np.asarray(np.clip(zero, first, last), np.int32))

    def extra_repr(self) -> str:
        return f"dtype={self.dtype}, qscheme={self.qscheme}, quant_min={self.quant_min}, quant_max={self.quant_max}"


class MinMaxObserver(ObserverBase):
    """The smallest and the largest value that ever came. One outlier decides.

    Example:
        >>> observer = MinMaxObserver(dtype=minidl.quint8)
        >>> _ = observer(minidl.tensor([-1.0, 0.0, 4.1]))
        >>> observer.calculate_qparams()
        (tensor(0.0200), tensor(50, dtype=torch.int32))
    """

    allowed: tuple[qscheme, ...] = (per_tensor_affine, per_tensor_symmetric)
    min_val: Tensor
    max_val: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.qscheme not in self.allowed:
            raise NotImplementedError(
                f"{type(self).__name__}: qscheme is one of {', '.join(map(repr, self.allowed))}, got {self.qscheme}"
            )
        self.reset_min_max_vals()

    def reset_min_max_vals(self) -> None:
        """Forget what was observed."""
        self.register_buffer("min_val", wrap(np.array(np.inf, np.float32)))
        self.register_buffer("max_val", wrap(np.array(-np.inf, np.float32)))

    def forward(self, input: Tensor) -> Tensor:
        """Note the range of the input, which is returned. Raises ValueError where it is not finite."""
        if input.numel():
            low, high = self.range_of(np.asarray(input.detach().array, np.float32))
            if not (np.isfinite(low).all() and np.isfinite(high).all()):
                raise not_finite()
            self.note(low, high)
        return input

    def range_of(self, x: Any) -> tuple[Any, Any]:
        """The smallest and the largest value, or (C,) of each."""
        return x.min(), x.max()

    def note(self, low: Any, high: Any) -> None:
        """Join a range with what is known."""
        self.min_val = wrap(np.asarray(np.minimum(self.min_val.array, low), np.float32))
        self.max_val = wrap(np.asarray(np.maximum(self.max_val.array, high), np.float32))

    @property
    def observed(self) -> bool:
        """Whether anything came yet."""
        return bool((self.min_val.array <= self.max_val.array).all())

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point for the range so far. Raises RuntimeError before anything was observed."""
        if not self.observed:
            raise RuntimeError(
                f"{type(self).__name__}: nothing was observed yet, so there is no scale; run some batches of data through the "
                "prepared model before convert()"
            )
        return self.choose(self.min_val.array, self.max_val.array)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        for name in ("min_val", "max_val"):  # they get their shape from the first batch
            if isinstance(state_dict.get(prefix + name), Tensor):
                setattr(self, name, state_dict[prefix + name].clone())
        super()._load_from_state_dict(state_dict, prefix, *rest)


class MovingAverageMinMaxObserver(MinMaxObserver):
    """A moving average of the smallest and the largest value of each batch: a lone outlier counts little."""

    def __init__(self, averaging_constant: float = 0.01, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.averaging_constant = averaging_constant

    def note(self, low: Any, high: Any) -> None:
        if not self.observed:
            super().note(low, high)
            return
        share = np.float32(self.averaging_constant)
        for name, new in (("min_val", low), ("max_val", high)):
            old = getattr(self, name).array
            setattr(self, name, wrap(np.asarray(old + share * (np.float32(new) - old), np.float32)))


class PerChannelMinMaxObserver(MinMaxObserver):
    """The smallest and the largest value of each slice along `ch_axis`: for weights, whose rows differ in size."""

    default_scheme = per_channel_affine
    allowed = PER_CHANNEL

    def __init__(self, ch_axis: int = 0, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ch_axis = ch_axis

    def range_of(self, x: Any) -> tuple[Any, Any]:
        if not -x.ndim <= self.ch_axis < x.ndim:
            raise ValueError(f"{type(self).__name__}: an input of shape {list(x.shape)} has no axis {self.ch_axis}")
        rows = np.moveaxis(x, self.ch_axis, 0).reshape(x.shape[self.ch_axis], -1)
        if self.min_val.ndim and len(rows) != len(self.min_val):
            raise ValueError(
                f"{type(self).__name__}: axis {self.ch_axis} had {len(self.min_val)} channels before, and has {len(rows)} now, of "
                f"shape {list(x.shape)}; use an observer for each"
            )
        return rows.min(1), rows.max(1)


class MovingAveragePerChannelMinMaxObserver(PerChannelMinMaxObserver, MovingAverageMinMaxObserver):
    """A moving average of the smallest and the largest value of each slice along `ch_axis`."""

    def __init__(self, averaging_constant: float = 0.01, ch_axis: int = 0, **kwargs: Any) -> None:
        MovingAverageMinMaxObserver.__init__(self, averaging_constant, **kwargs)
        self.ch_axis = ch_axis


class FixedQParamsObserver(ObserverBase):
    """A scale and a zero point that are known beforehand: of a sigmoid's results, which lie between 0 and 1."""

    def __init__(self, scale: float, zero_point: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not (0 < scale < float("inf") and self.quant_min <= zero_point <= self.quant_max):
            raise ValueError(
                f"FixedQParamsObserver: expected a positive scale and a zero point from {self.quant_min} to {self.quant_max}, got "
                f"{scale} and {zero_point}"
            )
        self.register_buffer("scale", wrap(np.array(scale, np.float32)))
        self.register_buffer("zero_point", wrap(np.array(zero_point, np.int32)))

    def forward(self, input: Tensor) -> Tensor:
        return input

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Those that were given."""
        return self.scale, self.zero_point


class PlaceholderObserver(ObserverBase):
    """Observes nothing: for inputs that are quantized with the range that each of them has, dynamically."""

    def __init__(self, *args: Any, is_dynamic: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_dynamic = is_dynamic

    def forward(self, input: Tensor) -> Tensor:
        return input


class NoopObserver(PlaceholderObserver):
    """Observes nothing, for layers that are to stay float."""
