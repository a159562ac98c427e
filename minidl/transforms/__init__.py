"""Changes of images on their way into a network, with torchvision's names.

An image is an array (H, W) or (H, W, C), usually uint8, or a tensor (C, H, W), usually float in [0, 1]; what goes in comes out.
Chance comes from minidl's global generator. A random transform makes more data only as far as the label stays true:
`label_risks` names the transforms that a kind of data may not bear.

    train = Compose([RandomCrop(28, padding=2), ToTensor(), Normalize(0.1307, 0.3081)])
"""

from enum import StrEnum

from .colour import ColorJitter, Grayscale
from .compose import Compose, Lambda, Normalize, RandomApply, RandomChoice, ToTensor
from .geometry import (
    CenterCrop,
    Pad,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
    Resize,
)
from .policy import RandAugment, label_risks


class InterpolationMode(StrEnum):
    """The names of interpolations."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"


__all__ = [
    "CenterCrop", "ColorJitter", "Compose", "Grayscale", "InterpolationMode", "Lambda", "Normalize", "Pad", "RandAugment",
    "RandomAffine", "RandomApply", "RandomChoice", "RandomCrop", "RandomErasing", "RandomHorizontalFlip", "RandomResizedCrop",
    "RandomRotation", "RandomVerticalFlip", "Resize", "ToTensor", "label_risks",
]  # fmt: skip
