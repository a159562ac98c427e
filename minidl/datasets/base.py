"""What the data sets here have in common: data and targets in two tensors, and transforms on the way out."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ops.creation import from_numpy
from ..tensor import Tensor
from ..transforms import ToTensor
from ..utils.data import TensorDataset

SPLITS = ("train", "val", "test")
TO_TENSOR = ToTensor()
Transform = Callable[[Any], Any]


class ArrayDataset(TensorDataset):
    """Samples and their targets: a TensorDataset whose two tensors are `data` (N, ...) and `targets` (N, ...).

    transform, target_transform: applied to a sample and to its target when they are taken by an index.
    classes: the names of the classes, if the targets are their numbers.
    """

    def __init__(
        self,
        data: Any,
        targets: Any,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        tensors = (x if isinstance(x, Tensor) else from_numpy(np.ascontiguousarray(x)) for x in (data, targets))
        super().__init__(*tensors)
        self.transform, self.target_transform, self.classes = transform, target_transform, list(classes)

    @property
    def data(self) -> Tensor:
        return self.tensors[0]

    @property
    def targets(self) -> Tensor:
        return self.tensors[1]

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        x, y = self.tensors[0][index], self.tensors[1][index]
        return (
            x if self.transform is None else self.transform(x),
            y if self.target_transform is None else self.target_transform(y),
        )

    def __repr__(self) -> str:
        shape = ", ".join(map(str, self.data.shape))
        named = f", {len(self.classes)} classes" if self.classes else ""
        return f"{type(self).__name__}(data ({shape}) {self.data.dtype}{named})"


class ImageDataset(ArrayDataset):
    """Images of 8 bits, as their file has them, `data` (N, H, W) or (N, H, W, C) uint8, and the numbers of their classes.

    A sample is transform(image) and an int, where the image is an array (H, W) or (H, W, C). The usual transform, ToTensor,
    makes it a float tensor (C, H, W) in [0, 1]; with None it stays an array.
    """

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        x, y = self.tensors[0][index].numpy(), int(self.tensors[1][index])
        return (
            x if self.transform is None else self.transform(x),
            y if self.target_transform is None else self.target_transform(y),
        )


def rows_of(name: str, split: str, seed: int, n: int, labels: Any = None) -> Any:
    """The numbers of the rows that belong to "train" (70 %), "val" (15 %), "test" (15 %) or "all".

    Drawn once per seed, with the same share of each label. Raises ValueError for another split or seed.
    """
    if split not in (*SPLITS, "all"):
        raise ValueError(f"{name}: split is one of {', '.join(SPLITS)} or all, got {split!r}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"{name}: seed is a number from 0 to 2**32 - 1, got {seed}")
    if split == "all":
        return np.arange(n)
    from sklearn.model_selection import train_test_split

    train, rest = train_test_split(np.arange(n), test_size=0.3, random_state=seed, stratify=labels)
    val, test = train_test_split(
        rest, test_size=0.5, random_state=seed, stratify=None if labels is None else labels[rest]
    )
    return {"train": train, "val": val, "test": test}[split]


def package(data_set: str, name: str) -> Any:
    """The package of the extra `data` that ships a data set. Raises ImportError, with what to do, where it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{data_set}: the data are in the package {name}, which is not installed; pip install 'minidl[data]' "
            f"brings it ({error})"
        ) from None
