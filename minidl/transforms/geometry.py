"""Where pixels go: crops, borders, sizes, flips, rotations and other affine maps, holes.

Points are (x, y) in pixels, x to the right, y down, and the centre of the first pixel is (0, 0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..nn.functional import interpolate
from ..ops.creation import from_numpy
from ..ops.random import randn
from .image import Array, ImageTransform, between, chance, integer, like, pair, probability, uniform

PADDING_MODES = ("constant", "edge", "reflect", "symmetric")  # NumPy's names too
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
ORDER = {"nearest": 0, "bilinear": 1}
CHARACTERS, PHOTOGRAPHS = "characters", "photographs"  # kinds of data, see `label_risks`


def _mode(name: str, interpolation: str, known: Sequence[str] = INTERPOLATIONS) -> str:
    if interpolation not in known:
        raise ValueError(f"{name}: interpolation is one of {', '.join(known)}, got {interpolation!r}")
    return str(interpolation)


def _borders(name: str, padding: Any) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) from one whole number, (left and right, top and bottom), or all four."""
    given = (padding,) if isinstance(padding, int) else tuple(padding)
    if len(given) not in (1, 2, 4) or not all(isinstance(n, int) and n >= 0 for n in given):
        raise ValueError(
            f"{name}: padding is 1, 2 or 4 whole numbers from 0 on (left, top, right, bottom), got {padding!r}"
        )
    left, top, right, bottom = (given * (4 // len(given)))[:4]
    return left, top, right, bottom


def pad(x: Array, borders: tuple[int, int, int, int], fill: float = 0, mode: str = "constant") -> Array:
    """Planes (N, H, W) with borders (left, top, right, bottom) around them."""
    left, top, right, bottom = borders
    if not any(borders):
        return x
    options = {"constant_values": fill} if mode == "constant" else {}
    return np.pad(x, ((0, 0), (top, bottom), (left, right)), mode, **options)  # type: ignore[call-overload]


class Pad(ImageTransform):
    """Borders around an image. padding: one number, (left and right, top and bottom), or (left, top, right, bottom).

    padding_mode: "constant", of value `fill`; "edge"; "reflect", without repeating the edge; "symmetric", repeating it.
    """

    def __init__(self, padding: int | Sequence[int], fill: float = 0, padding_mode: str = "constant") -> None:
        self.padding, self.fill = _borders("Pad", padding), fill
        self.padding_mode = _padding_mode("Pad", padding_mode)

    def planes(self, x: Array) -> Array:
        return pad(x, self.padding, self.fill, self.padding_mode)


def _padding_mode(name: str, mode: str) -> str:
    if mode not in PADDING_MODES:
        raise ValueError(f"{name}: padding_mode is one of {', '.join(PADDING_MODES)}, got {mode!r}")
    return mode


class CenterCrop(ImageTransform):
    """The middle of an image, `size` (h, w); an image that is too small gets a border of zeros first."""

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = pair("CenterCrop", "size", size)

    def planes(self, x: Array) -> Array:
        h, w = self.size
        rows, columns = max(h - x.shape[1], 0), max(w - x.shape[2], 0)
        x = pad(x, (columns // 2, rows // 2, (columns + 1) // 2, (rows + 1) // 2))
        top, left = round((x.shape[1] - h) / 2), round((x.shape[2] - w) / 2)
        return x[:, top : top + h, left : left + w]


class RandomCrop(ImageTransform):
    """A part of `size` (h, w), drawn anywhere in the image with its padding: for small paddings, a random shift.

    padding, fill, padding_mode: as for Pad. pad_if_needed: an image that is too small gets borders; else it raises ValueError.
    """

    risk = {CHARACTERS: "a part of a character can be another one: keep the crop a few pixels smaller than the image"}

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: float = 0,
        padding_mode: str = "constant",
    ) -> None:
        self.size, self.padding = pair("RandomCrop", "size", size), _borders("RandomCrop", padding or 0)
        self.pad_if_needed, self.fill = pad_if_needed, fill
        self.padding_mode = _padding_mode("RandomCrop", padding_mode)

    def planes(self, x: Array) -> Array:
        h, w = self.size
        x = pad(x, self.padding, self.fill, self.padding_mode)
        if self.pad_if_needed:
            rows, columns = max(h - x.shape[1], 0), max(w - x.shape[2], 0)
            x = pad(x, (columns, rows, columns, rows), self.fill, self.padding_mode)
        if x.shape[1] < h or x.shape[2] < w:
            raise ValueError(
                f"RandomCrop: the image of {x.shape[1]} x {x.shape[2]}, with its padding, is smaller than the crop of {h} x {w}; "
                "pad_if_needed=True gives it borders"
            )
        top, left = integer(0, x.shape[1] - h), integer(0, x.shape[2] - w)
        return x[:, top : top + h, left : left + w]


def resize(x: Array, size: tuple[int, int], interpolation: str, antialias: bool = True) -> Array:
    """Planes (N, H, W) at another size (h, w)."""
    if x.shape[1:] == size:
        return x
    image = from_numpy(np.ascontiguousarray(x if interpolation == "nearest" else x.astype(np.float32)))[None]
    if interpolation == "nearest":
        return interpolate(image, size=size, mode="nearest")[0].numpy()
    return like(x, interpolate(image, size=size, mode=interpolation, antialias=antialias)[0].numpy())


class Resize(ImageTransform):
    """The image at another size: (h, w), or one number for its shorter side, which keeps its proportions.

    interpolation: "nearest", "bilinear" or "bicubic". antialias: a smaller image is averaged from all of the larger one.
    max_size: the most that the longer side may be, where size is one number.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        interpolation: str = "bilinear",
        max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:
        self._shorter = isinstance(size, int) or len(size) == 1
        self.size = pair("Resize", "size", size)
        self.interpolation, self.max_size = _mode("Resize", interpolation), max_size
        self.antialias = bool(antialias)
        if max_size is not None and (not self._shorter or max_size <= self.size[0]):
            raise ValueError(
                f"Resize: max_size goes with a size of one number, which it exceeds; got {size} and {max_size}"
            )

    def planes(self, x: Array) -> Array:
        h, w = x.shape[1:]
        new = self.size
        if self._shorter:
            short, long = sorted((h, w))
            size, length = self.size[0], int(self.size[0] * long / short)
            if self.max_size is not None and length > self.max_size:
                size, length = int(self.max_size * size / length), self.max_size
            new = (size, length) if h <= w else (length, size)
        return resize(x, new, self.interpolation, self.antialias)


class RandomResizedCrop(ImageTransform):
    """A part of random area and proportions, resized to `size` (h, w).

    scale: the share of the image's area, drawn evenly from a range; ratio: width over height, drawn evenly in its logarithm.
    Source: Szegedy et al., "Going deeper with convolutions" (2015), section 6.
    """

    risk = {
        CHARACTERS: "a small part of a character can be another one, and stretching can be too: raise `scale`, narrow `ratio`",
        PHOTOGRAPHS: "a small part may not show the object: raise `scale` where objects are small",
    }

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: str = "bilinear",
        antialias: bool | None = True,
    ) -> None:
        self.size = pair("RandomResizedCrop", "size", size)
        self.scale = between("RandomResizedCrop", "scale", scale, lowest=0)
        self.ratio = between("RandomResizedCrop", "ratio", ratio, lowest=0)
        self.interpolation, self.antialias = _mode("RandomResizedCrop", interpolation), bool(antialias)

    def planes(self, x: Array) -> Array:
        top, left, h, w = self._part(*x.shape[1:])
        return resize(x[:, top : top + h, left : left + w], self.size, self.interpolation, self.antialias)

    def _part(self, H: int, W: int) -> tuple[int, int, int, int]:
        """(top, left, height, width) of a part that fits; after ten misses the middle of the image."""
        for _ in range(10):
            area = H * W * uniform(*self.scale)
            ratio = math.exp(uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= W and 0 < h <= H:
                return integer(0, H - h), integer(0, W - w), h, w
        ratio = min(max(W / H, self.ratio[0]), self.ratio[1])
        w, h = min(W, round(H * ratio)), min(H, round(W / ratio))
        return (H - h) // 2, (W - w) // 2, h, w


class RandomHorizontalFlip(ImageTransform):
    """Left and right exchanged, with probability p."""

    risk = {CHARACTERS: "a mirrored character can be another one (b and d) or none (2)"}

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability("RandomHorizontalFlip", p)

    def planes(self, x: Array) -> Array:
        return x[:, :, ::-1] if chance(self.p) else x


class RandomVerticalFlip(ImageTransform):
    """Top and bottom exchanged, with probability p."""

    risk = {
        CHARACTERS: "an upturned character can be another one (6 and 9, nearly) or none",
        PHOTOGRAPHS: "things seldom stand on their heads: the test data will not show it",
    }

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability("RandomVerticalFlip", p)

    def planes(self, x: Array) -> Array:
        return x[:, ::-1] if chance(self.p) else x


def affine_matrix(angle: float, translate: Sequence[float], scale: float, shear: Sequence[float], centre: Any) -> Array:
    """The matrix (3, 3) that takes a point (x, y, 1) of the image to where it goes.

    About the centre: shear along x, shear along y, scale, turn clockwise; then move. Angles are in degrees.
    """
    turn, (shear_x, shear_y) = math.radians(angle), (math.radians(s) for s in shear)
    linear = (
        scale
        * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        @ np.array([[1, 0], [-math.tan(shear_y), 1]])
        @ np.array([[1, -math.tan(shear_x)], [0, 1]])
    )
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = np.asarray(centre) + translate - linear @ centre
    return matrix


def warp(x: Array, matrix: Array, size: tuple[int, int], interpolation: str, fill: float) -> Array:
    """Planes (N, *size) whose points are read where the matrix, from old points to new ones, took them from."""
    from scipy.ndimage import affine_transform

    inverse = np.linalg.inv(matrix)[[1, 0, 2]][:, [1, 0, 2]]  # SciPy counts (y, x)
    out = np.empty((len(x), *size), np.float64 if x.dtype == np.float64 else np.float32)
    for plane, result in zip(x.astype(out.dtype, copy=False), out, strict=True):
        affine_transform(
            plane, inverse[:2, :2], inverse[:2, 2], size, result, ORDER[interpolation], "grid-constant", fill, False
        )
    return like(x, out)


class RandomRotation(ImageTransform):
    """The image turned about its centre by an angle drawn evenly: from (low, high), or from (-degrees, degrees).

    Positive angles turn to the left. interpolation: "nearest" or "bilinear". fill: the value of what comes in from outside.
    expand: the result is as large as the turned image needs. center: another centre (x, y), in pixels.
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        interpolation: str = "nearest",
        expand: bool = False,
        center: Sequence[float] | None = None,
        fill: float = 0,
    ) -> None:
        self.degrees = between("RandomRotation", "degrees", degrees)
        self.interpolation = _mode("RandomRotation", interpolation, tuple(ORDER))
        self.expand, self.center, self.fill = expand, center, fill
        self.risk = turning_risk(self.degrees)

    def planes(self, x: Array) -> Array:
        return rotate(x, uniform(*self.degrees), self.interpolation, self.expand, self.center, self.fill)


def turning_risk(degrees: tuple[float, float]) -> dict[str, str]:
    """What a range of angles can do to labels."""
    most, risk = max(map(abs, degrees)), {}
    if most > 30:
        risk[CHARACTERS] = f"turned by up to {most:g} degrees, characters become others (6 and 9, 1 and -)"
    if most > 45:
        risk[PHOTOGRAPHS] = f"turned by up to {most:g} degrees, things stand as they never do in the test data"
    return risk


def rotate(
    x: Array,
    angle: float,
    interpolation: str = "nearest",
    expand: bool = False,
    center: Sequence[float] | None = None,
    fill: float = 0,
) -> Array:
    """Planes turned to the left by an angle in degrees."""
    H, W = x.shape[1:]
    middle = np.array([(W - 1) / 2, (H - 1) / 2])
    matrix = affine_matrix(-angle, (0, 0), 1.0, (0, 0), middle if center is None else center)
    size = (H, W)
    if expand:
        w, h = (int(n) for n in np.ceil(abs(matrix[:2, :2]) @ (W, H) - 1e-4))  # from corner to corner
        size = (h, w)
        matrix[:2, 2] = np.array([(w - 1) / 2, (h - 1) / 2]) - matrix[:2, :2] @ middle
    return warp(x, matrix, size, interpolation, fill)


class RandomAffine(ImageTransform):
    """Turned, moved, scaled and sheared about the centre, each by an amount drawn evenly.

    degrees: (low, high), or d for (-d, d), clockwise. translate: the largest shifts, as shares of width and height. scale:
    (low, high). shear: degrees along x: d for (-d, d), or (low, high); with four numbers also along y.
    interpolation, fill, center: as for RandomRotation.
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: float | Sequence[float] | None = None,
        interpolation: str = "nearest",
        fill: float = 0,
        center: Sequence[float] | None = None,
    ) -> None:
        name = "RandomAffine"
        self.degrees = between(name, "degrees", degrees)
        self.translate = (0.0, 0.0) if translate is None else tuple(translate)
        if len(self.translate) != 2 or not all(0 <= t <= 1 for t in self.translate):
            raise ValueError(f"{name}: translate is two shares from 0 to 1, of width and height, got {translate!r}")
        self.scale = (1.0, 1.0) if scale is None else between(name, "scale", scale, lowest=1e-6)
        shears = (
            [shear]
            if shear is None or isinstance(shear, (int, float))
            else [shear[:2], *([shear[2:]] if shear[2:] else [])]
        )
        self.shear = [between(name, "shear", s or 0) for s in (*shears, 0)[:2]]
        self.interpolation, self.fill, self.center = _mode(name, interpolation, tuple(ORDER)), fill, center
        self.risk = turning_risk(self.degrees)

    def planes(self, x: Array) -> Array:
        H, W = x.shape[1:]
        angle, (move_x, move_y) = uniform(*self.degrees), (t * n for t, n in zip(self.translate, (W, H), strict=True))
        shift = round(uniform(-move_x, move_x)), round(uniform(-move_y, move_y))
        scale, shear = uniform(*self.scale), [uniform(*s) for s in self.shear]
        centre = ((W - 1) / 2, (H - 1) / 2) if self.center is None else self.center
        return warp(x, affine_matrix(angle, shift, scale, shear, centre), (H, W), self.interpolation, self.fill)


class RandomErasing(ImageTransform):
    """A rectangle of the image overwritten, with probability p.

    scale: its share of the area; ratio: its height over its width, drawn evenly in the logarithm. value: a number, one per
    channel, or "random" for normal noise (of mean and deviation a half of white, in integer images).
    Source: Zhong, Zheng, Kang, Li & Yang, "Random erasing data augmentation" (2020).
    """

    risk = {CHARACTERS: "what is left of a character can be another one: keep `scale` small"}

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float | Sequence[float] | str = 0,
        inplace: bool = False,
    ) -> None:
        self.p = probability("RandomErasing", p)
        self.scale = between("RandomErasing", "scale", scale, lowest=0)
        self.ratio = between("RandomErasing", "ratio", ratio, lowest=1e-6)
        if isinstance(value, str) and value != "random":
            raise ValueError(f"RandomErasing: value is a number, one per channel, or 'random', got {value!r}")
        self.value, self.inplace = value, inplace

    def planes(self, x: Array) -> Array:
        if not chance(self.p):
            return x
        H, W = x.shape[1:]
        for _ in range(10):
            area = H * W * uniform(*self.scale)
            ratio = math.exp(uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if h < H and w < W:
                top, left = integer(0, H - h), integer(0, W - w)
                x = x if self.inplace else x.copy()
                x[:, top : top + h, left : left + w] = self._patch(x, h, w)
                break
        return x

    def _patch(self, x: Array, h: int, w: int) -> Any:
        if self.value == "random":
            noise = randn(len(x), h, w).numpy()
            return like(x, 127.5 * (1 + noise)) if x.dtype.kind in "ui" else noise
        value = np.asarray(self.value, x.dtype).reshape(-1, 1, 1)
        if len(value) not in (1, len(x)):
            raise ValueError(f"RandomErasing: {len(value)} values for an image of {len(x)} channels")
        return value
