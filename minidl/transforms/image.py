"""Images in their two forms, and what a transform of them is.

An image is an array (H, W) or (H, W, C), usually uint8, as files hold it; or a tensor (..., C, H, W), usually float in [0, 1],
as networks take it. A transform gets either and returns the same form, dtype and device. It computes on an array (N, H, W), one
plane per channel (and per image, if there are more), all planes alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ops.creation import from_numpy
from ..ops.random import rand, randint
from ..tensor import Tensor

Array = np.ndarray[Any, Any]


class ImageTransform:
    """A transform that computes on planes. Subclasses define `planes(x)`, from (N, H, W) to (M, H', W').

    `risk`, if set, says for which kinds of data a random transform can change what an image shows, its label.
    """

    risk: dict[str, str] = {}

    def __call__(self, image: Any) -> Any:
        if isinstance(image, Tensor):
            x = self._of_tensor(image)
            out = np.ascontiguousarray(self.planes(x.reshape(-1, *x.shape[-2:])), x.dtype)
            return from_numpy(out.reshape(*x.shape[:-3], -1, *out.shape[-2:]) if x.ndim > 2 else out[0])
        x = as_array(image, type(self).__name__)
        if x.ndim == 2:
            out = np.ascontiguousarray(self.planes(x[None]), x.dtype)
            return out[0] if len(out) == 1 else np.ascontiguousarray(out.transpose(1, 2, 0))
        return np.ascontiguousarray(self.planes(x.transpose(2, 0, 1)).transpose(1, 2, 0), x.dtype)

    def _of_tensor(self, image: Tensor) -> Array:
        if image.ndim < 2 or image.is_cuda or image.requires_grad:
            what = "wants a gradient" if image.requires_grad else f"is on {image.device} with shape {list(image.shape)}"
            raise ValueError(
                f"{type(self).__name__}: an image is a tensor (..., C, H, W) on the CPU without a gradient, this one {what}"
            )
        return image.numpy()

    def planes(self, x: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} must define planes")

    def __repr__(self) -> str:
        options = ", ".join(
            f"{name}={value!r}" for name, value in vars(self).items() if name[0] != "_" and name != "risk"
        )
        return f"{type(self).__name__}({options})"


def as_array(image: Any, name: str) -> Array:
    """An image, of NumPy or of Pillow, as an array (H, W) or (H, W, C). Raises TypeError for something else."""
    x = np.asarray(image) if hasattr(image, "__array_interface__") else None
    if x is None or x.ndim not in (2, 3) or x.dtype.kind not in "buif":
        what = type(image).__name__ if x is None else f"an array {x.shape} of {x.dtype}"
        raise TypeError(f"{name}: expected an image, an array (H, W) or (H, W, C) or a tensor (C, H, W); got {what}")
    return x.astype(np.uint8) * np.uint8(255) if x.dtype == np.bool_ else x


def like(x: Array, computed: Any) -> Array:
    """Values computed in floats, in the dtype of x: to the nearest integer within its limits, if those are integers."""
    if x.dtype.kind in "ui":
        limits = np.iinfo(x.dtype)
        computed = np.clip(np.round(computed), limits.min, limits.max)
    return np.asarray(computed).astype(x.dtype, copy=False)


def white(x: Array) -> float:
    """The value of a white pixel: 255 for uint8, 1 for floats."""
    return float(np.iinfo(x.dtype).max) if x.dtype.kind in "ui" else 1.0


# ---------------------------------------------------------------------------------------------------------------------
# Chance, from minidl's global generator: manual_seed repeats it, in the workers of a DataLoader too


def uniform(low: float, high: float) -> float:
    """A number evenly drawn from [low, high)."""
    return low + (high - low) * float(rand(1, dtype=np.float64).item())


def integer(low: int, high: int) -> int:
    """A whole number evenly drawn from low to high, both included."""
    return int(randint(low, high + 1, (1,)).item())


def chance(p: float) -> bool:
    """True with probability p."""
    return uniform(0.0, 1.0) < p


# ---------------------------------------------------------------------------------------------------------------------
# Arguments


def probability(name: str, p: float) -> float:
    """p, if it is a probability; else ValueError."""
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p is a probability, from 0 to 1, got {p}")
    return p


def pair(name: str, argument: str, value: Any) -> tuple[int, int]:
    """(height, width) from one whole number or two, all above 0."""
    both = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, Sequence) else ()
    if len(both) == 1:
        both *= 2
    if len(both) != 2 or not all(isinstance(n, int) and n > 0 for n in both):
        raise ValueError(f"{name}: {argument} is one whole number above 0 or two (height, width), got {value!r}")
    return both


def between(name: str, argument: str, value: Any, centre: float = 0.0, lowest: float = -np.inf) -> tuple[float, float]:
    """(low, high) from a pair, or from a number d: (centre - d, centre + d), not below `lowest`."""
    if isinstance(value, (int, float)):
        if value < 0:
            raise ValueError(f"{name}: {argument} is a range (low, high) or a number from 0 on, got {value}")
        return max(centre - value, lowest), centre + value
    low, high = value if len(value) == 2 else (1, 0)
    if not lowest <= low <= high:
        raise ValueError(f"{name}: {argument} is a range (low, high) with {lowest} <= low <= high, got {value!r}")
    return low, high
