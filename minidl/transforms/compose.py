"""Transforms made of transforms, and the steps from an image to the tensor that a network takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..ops.creation import from_numpy
from ..tensor import Tensor
from .image import as_array, chance, probability, uniform


class Compose:
    """One transform after another.

    Example:
        >>> Compose([RandomCrop(28, padding=2), ToTensor(), Normalize(0.1307, 0.3081)])
    """

    def __init__(self, transforms: Iterable[Callable[[Any], Any]]) -> None:
        self.transforms = list(transforms)

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image

    def __repr__(self) -> str:
        return f"{type(self).__name__}([{', '.join(map(repr, self.transforms))}])"


class ToTensor:
    """An image, an array (H, W) or (H, W, C), or one of Pillow, as a tensor (C, H, W); uint8 becomes float32 in [0, 1].

    Other dtypes keep their values, float64 becomes float32. Raises TypeError for what is no such image, such as a tensor.
    """

    def __call__(self, image: Any) -> Tensor:
        if isinstance(image, Tensor):
            raise TypeError("ToTensor: the image is a tensor already; leave ToTensor out")
        x = as_array(image, "ToTensor")
        x = np.ascontiguousarray(x[None] if x.ndim == 2 else x.transpose(2, 0, 1))
        if x.dtype == np.uint8:
            return from_numpy(x.astype(np.float32) / 255)
        return from_numpy(x.astype(np.float32) if x.dtype == np.float64 else x.copy())

    def __repr__(self) -> str:
        return "ToTensor()"


class Normalize:
    """(x - mean) / std of a float tensor (..., C, H, W), channel by channel.

    mean, std: one number, or one per channel. Raises TypeError for an image that is not yet a float tensor, ValueError for a
    standard deviation of 0 or another number of channels.
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float], inplace: bool = False) -> None:
        self.mean, self.std, self.inplace = mean, std, inplace
        if np.any(np.asarray(std) == 0):
            raise ValueError("Normalize: a standard deviation is 0, which would divide by 0")

    def __call__(self, image: Tensor) -> Tensor:
        if not isinstance(image, Tensor) or not image.is_floating_point():
            what = image.dtype if isinstance(image, Tensor) else type(image).__name__
            raise TypeError(f"Normalize: expected a float tensor (C, H, W), got {what}; put ToTensor() before it")
        mean, std = (np.asarray(v, np.float32).reshape(-1, 1, 1) for v in (self.mean, self.std))
        if any(len(v) not in (1, image.shape[-3]) for v in (mean, std)):
            raise ValueError(
                f"Normalize: {len(mean)} means and {len(std)} standard deviations for an image of {image.shape[-3]} channels"
            )
        if self.inplace:
            return image.sub_(from_numpy(mean)).div_(from_numpy(std))
        return (image - from_numpy(mean)) / from_numpy(std)

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"


class Lambda:
    """A function as a transform."""

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        if not callable(lambd):
            raise TypeError(f"Lambda: expected a function, got {type(lambd).__name__}")
        self.lambd = lambd

    def __call__(self, image: Any) -> Any:
        return self.lambd(image)

    def __repr__(self) -> str:
        return f"Lambda({getattr(self.lambd, '__name__', self.lambd)})"


class RandomApply(Compose):
    """All of the transforms, with probability p; else none."""

    def __init__(self, transforms: Iterable[Callable[[Any], Any]], p: float = 0.5) -> None:
        super().__init__(transforms)
        self.p = probability("RandomApply", p)

    def __call__(self, image: Any) -> Any:
        return super().__call__(image) if chance(self.p) else image


class RandomChoice(Compose):
    """One of the transforms, drawn evenly or with the probabilities proportional to p."""

    def __init__(self, transforms: Iterable[Callable[[Any], Any]], p: Sequence[float] | None = None) -> None:
        super().__init__(transforms)
        self.p = [1.0] * len(self.transforms) if p is None else list(p)
        if not self.transforms or len(self.p) != len(self.transforms) or min(self.p) < 0 or sum(self.p) == 0:
            raise ValueError(
                f"RandomChoice: expected one share from 0 on, not all 0, for each transform; got {self.p} for "
                f"{len(self.transforms)}"
            )

    def __call__(self, image: Any) -> Any:
        drawn = uniform(0, sum(self.p))
        chosen = int(np.searchsorted(np.cumsum(self.p), drawn, side="right"))
        return self.transforms[min(chosen, len(self.p) - 1)](image)
