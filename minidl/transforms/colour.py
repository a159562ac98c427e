"""What values pixels have: brightness, contrast, colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ops.random import randperm
from .image import Array, ImageTransform, between, like, uniform, white

LUMA = (0.2989, 0.587, 0.114)  # the shares of red, green and blue in what looks grey (ITU-R BT.601)


def grey(x: Array) -> Array:
    """Planes (3 or 1, H, W) as one plane (1, H, W)."""
    if len(x) == 1:
        return x
    if len(x) != 3:
        raise ValueError(f"expected an image of 3 channels, red, green and blue, or of 1, got {len(x)}")
    return np.tensordot(np.asarray(LUMA, np.float32), x, 1)[None]


def blend(x: Array, other: Any, factor: float) -> Array:
    """x where factor is 1, `other` where it is 0, and beyond; within black and white."""
    return like(x, np.clip(factor * x.astype(np.float32) + (1 - factor) * np.float32(other), 0, white(x)))


def brightness(x: Array, factor: float) -> Array:
    """Mixed with black."""
    return blend(x, 0, factor)


def contrast(x: Array, factor: float) -> Array:
    """Mixed with its mean grey."""
    return blend(x, np.mean(grey(x), dtype=np.float64), factor)


def saturation(x: Array, factor: float) -> Array:
    """Mixed with its grey."""
    return x if len(x) == 1 else blend(x, grey(x), factor)


def hue(x: Array, turn: float) -> Array:
    """All colours moved around the circle of colours by a share of it, from -0.5 to 0.5."""
    if len(x) == 1:
        return x
    from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

    hsv = rgb_to_hsv(np.clip(x.transpose(1, 2, 0) / white(x), 0, 1))
    hsv[..., 0] = (hsv[..., 0] + turn) % 1
    return like(x, hsv_to_rgb(hsv).transpose(2, 0, 1) * white(x))


class Grayscale(ImageTransform):
    """A colour image in grey, in one channel or, with num_output_channels=3, in three equal ones."""

    risk = {"colours": "classes that differ in colour alone become one"}

    def __init__(self, num_output_channels: int = 1) -> None:
        if num_output_channels not in (1, 3):
            raise ValueError(f"Grayscale: num_output_channels is 1 or 3, got {num_output_channels}")
        self.num_output_channels = num_output_channels

    def planes(self, x: Array) -> Array:
        return np.repeat(like(x, grey(x)), self.num_output_channels, 0)


class ColorJitter(ImageTransform):
    """Brightness, contrast, saturation and hue changed by random amounts, in random order.

    brightness, contrast, saturation: the factor is drawn evenly from (low, high), or from (1 - d, 1 + d) for a number d.
    hue: the turn of the circle of colours is drawn from (low, high) within [-0.5, 0.5], or from (-d, d).
    Images have 1 or 3 channels; floats are in [0, 1].
    """

    risk = {"colours": "with a large hue or saturation, classes that differ in colour alone become others"}

    def __init__(
        self,
        brightness: float | Sequence[float] = 0,
        contrast: float | Sequence[float] = 0,
        saturation: float | Sequence[float] = 0,
        hue: float | Sequence[float] = 0,
    ) -> None:
        name = "ColorJitter"
        self.brightness = between(name, "brightness", brightness, 1.0, 0.0)
        self.contrast = between(name, "contrast", contrast, 1.0, 0.0)
        self.saturation = between(name, "saturation", saturation, 1.0, 0.0)
        self.hue = between(name, "hue", hue)
        if not -0.5 <= self.hue[0] <= self.hue[1] <= 0.5:
            raise ValueError(f"{name}: hue is within -0.5 and 0.5, half a turn of the circle of colours, got {hue}")

    def planes(self, x: Array) -> Array:
        steps = [
            (brightness, self.brightness, 1.0), (contrast, self.contrast, 1.0), (saturation, self.saturation, 1.0),
            (hue, self.hue, 0.0),
        ]  # fmt: skip
        for i in randperm(len(steps)).tolist():
            change, limits, neutral = steps[i]
            if limits != (neutral, neutral):
                x = change(x, uniform(*limits))
        return x
