"""Many transforms behind one number, and which transforms a kind of data can bear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import colour
from .compose import Compose
from .geometry import CHARACTERS, ORDER, affine_matrix, rotate, warp
from .image import Array, ImageTransform, chance, integer, like, white


def sharpness(x: Array, factor: float) -> Array:
    """Mixed with itself smoothed, but for the outermost pixels."""
    if min(x.shape[1:]) < 3:
        return x
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))
    smooth = x.astype(np.float32)
    smooth[:, 1:-1, 1:-1] = np.einsum("nhwij,ij->nhw", windows, kernel)
    return colour.blend(x, smooth, factor)


def posterize(x: Array, bits: int) -> Array:
    """Only the highest of the 8 bits of each value."""
    levels = np.round(x * (255 / white(x))).astype(np.uint8) & np.uint8(256 - 2 ** (8 - bits))
    return like(x, levels * (white(x) / 255))


def solarize(x: Array, threshold: float) -> Array:
    """Values from a threshold on, which counts from 0 to 1, turned over."""
    return np.where(x >= threshold * white(x), like(x, white(x) - x), x)


def autocontrast(x: Array) -> Array:
    """Each plane stretched from black to white."""
    low, high = (f(x, axis=(1, 2), keepdims=True).astype(np.float32) for f in (np.min, np.max))
    flat = high == low
    return np.where(flat, x, like(x, (x - low) * (white(x) / np.where(flat, 1, high - low))))


def equalize(x: Array) -> Array:
    """Each plane with its 256 levels spread so that all are about as frequent."""
    levels = np.round(x * (255 / white(x))).astype(np.uint8)
    out = np.empty_like(levels)
    for plane, result in zip(levels, out, strict=True):
        counts = np.bincount(plane.reshape(-1), minlength=256)
        step = (plane.size - counts[np.nonzero(counts)[0][-1]]) // 255
        before = np.cumsum(counts) - counts
        table = np.arange(256) if step == 0 else np.clip((before + step // 2) // step, 0, 255)
        result[...] = table[plane]
    return like(x, out * (white(x) / 255))


# name -> (what it does with a strength from 0 to 1, whether the strength has a sign), for planes and a `warp`
OPERATIONS: dict[str, tuple[Callable[[RandAugment, Array, float], Array], bool]] = {
    "Identity": (lambda a, x, s: x, False),
    "ShearX": (lambda a, x, s: a.warp(x, shear=(np.degrees(np.arctan(0.3 * s)), 0)), True),
    "ShearY": (lambda a, x, s: a.warp(x, shear=(0, np.degrees(np.arctan(0.3 * s)))), True),
    "TranslateX": (lambda a, x, s: a.warp(x, move=(int(150 / 331 * x.shape[2] * s), 0)), True),
    "TranslateY": (lambda a, x, s: a.warp(x, move=(0, int(150 / 331 * x.shape[1] * s))), True),
    "Rotate": (lambda a, x, s: rotate(x, 30 * s, a.interpolation, fill=a.fill), True),
    "Brightness": (lambda a, x, s: colour.brightness(x, 1 + 0.9 * s), True),
    "Color": (lambda a, x, s: colour.saturation(x, 1 + 0.9 * s), True),
    "Contrast": (lambda a, x, s: colour.contrast(x, 1 + 0.9 * s), True),
    "Sharpness": (lambda a, x, s: sharpness(x, 1 + 0.9 * s), True),
    "Posterize": (lambda a, x, s: posterize(x, 8 - round(4 * s)), False),
    "Solarize": (lambda a, x, s: solarize(x, 1 - s), False),
    "AutoContrast": (lambda a, x, s: autocontrast(x), False),
    "Equalize": (lambda a, x, s: equalize(x), False),
}


class RandAugment(ImageTransform):
    """A few operations out of fourteen, drawn evenly, all of one strength.

    num_ops: how many, one after another. magnitude: their strength, below num_magnitude_bins, which stands for the strongest:
    shears of 0.3, shifts of 45 % of the size, turns of 30 degrees, factors of 1.9 or 0.1, 4 of 8 bits, all values turned over.
    Images have 1 or 3 channels; floats are in [0, 1].
    Source: Cubuk, Zoph, Shlens & Le, "RandAugment: practical automated data augmentation" (2020).
    """

    risk = {
        CHARACTERS: "shifts of a large magnitude push characters out of the image, and Solarize inverts them",
        "colours": "classes that differ in colour alone become others",
    }

    def __init__(
        self,
        num_ops: int = 2,
        magnitude: int = 9,
        num_magnitude_bins: int = 31,
        interpolation: str = "nearest",
        fill: float = 0,
    ) -> None:
        if num_ops < 0 or num_magnitude_bins < 2 or not 0 <= magnitude < num_magnitude_bins:
            raise ValueError(
                f"RandAugment: num_ops is 0 or more and magnitude from 0 to {num_magnitude_bins - 1}; got {num_ops} and {magnitude}"
            )
        if interpolation not in ORDER:
            raise ValueError(f"RandAugment: interpolation is one of {', '.join(ORDER)}, got {interpolation!r}")
        self.num_ops, self.magnitude, self.num_magnitude_bins = num_ops, magnitude, num_magnitude_bins
        self.interpolation: str = interpolation
        self.fill: float = fill

    def planes(self, x: Array) -> Array:
        for _ in range(self.num_ops):
            name = list(OPERATIONS)[integer(0, len(OPERATIONS) - 1)]
            operation, signed = OPERATIONS[name]
            strength = self.magnitude / (self.num_magnitude_bins - 1)
            x = operation(self, x, -strength if signed and chance(0.5) else strength)
        return x

    def warp(self, x: Array, move: Any = (0, 0), shear: Any = (0, 0)) -> Array:
        H, W = x.shape[1:]
        matrix = affine_matrix(0, move, 1.0, shear, ((W - 1) / 2, (H - 1) / 2))
        return warp(x, matrix, (H, W), self.interpolation, self.fill)


def label_risks(transform: Any, kind: str) -> list[str]:
    """Why a transform, or one in a Compose, can change the label of a sample of this kind; empty where nothing is known of it.

    kind: "characters" (digits, letters, signs), "photographs" (of things that stand upright), "colours" (where colour is what
    tells classes apart) or "aerial" (seen from above or through a microscope: no way is up). These are rules of thumb:
    whether a label is kept, the data decide. Look at a few samples, or train with and without.
    Raises ValueError for another kind.

    Example:
        >>> label_risks(RandomRotation(180), "characters")
        ['RandomRotation: turned by up to 180 degrees, characters become others (6 and 9, 1 and -)']
    """
    kinds = ("characters", "photographs", "colours", "aerial")
    if kind not in kinds:
        raise ValueError(f"label_risks: kind is one of {', '.join(kinds)}, got {kind!r}")
    if isinstance(transform, Compose):
        return [risk for part in transform.transforms for risk in label_risks(part, kind)]
    risks: dict[str, str] = getattr(transform, "risk", {})
    return [f"{type(transform).__name__}: {risks[kind]}"] if kind in risks else []
