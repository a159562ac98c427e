"""Readers for files that a user has: MNIST and CIFAR in the form in which they are given away, folders of images, CSV.

Nothing is downloaded. A file that is not what it should be raises ValueError, which names the file, what is in it and what was
wanted; one that is missing raises FileNotFoundError, which says where it was looked for.
"""

from __future__ import annotations

import csv
import gzip
import math
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..pickles import Reader
from ..utils.data import Dataset
from .base import TO_TENSOR, ArrayDataset, ImageDataset, Transform, package

Folder = str | os.PathLike[str]
IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".tif", ".tiff")


def read_idx(path: Folder) -> np.ndarray[Any, Any]:
    """The array in an IDX file, gzipped or not: the format of MNIST.

    Two zero bytes, one for the type, one for the number of dimensions, their sizes as big-endian int32, the values.
    Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits" (1998).
    """
    data = Path(path).read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"read_idx: {path} is a damaged gzip file: {error}") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_TYPES:
        raise ValueError(
            f"read_idx: {path} begins with the bytes {data[:4].hex(' ')}; an IDX file with 00 00, a type from "
            f"{', '.join(f'{t:02x}' for t in IDX_TYPES)} and the number of dimensions"
        )
    start = 4 + 4 * data[3]
    shape = [int(n) for n in np.frombuffer(data[4:start], ">u4")] if len(data) >= start else []
    dtype = np.dtype(IDX_TYPES[data[2]])
    wanted = start + math.prod(shape) * dtype.itemsize
    if len(data) != wanted or len(shape) != data[3]:
        raise ValueError(f"read_idx: {path} has {len(data)} bytes, expected {wanted} for an array {shape} of {dtype}")
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _find(wanted_by: str, folders: Iterable[Path], names: Iterable[str]) -> Path:
    """The first of some files that is there."""
    places = [folder / name for folder in folders for name in names]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"{wanted_by}: there is none of {', '.join(map(str, places))}; nothing is downloaded: get the files from their "
        "authors and put them there"
    )


class MNIST(ImageDataset):
    """Handwritten digits from the four IDX files, gzipped or not, in `root`, root/raw or root/MNIST/raw.

    60,000 images for training or, with train=False, 10,000 others, grey, of 28 x 28.
    download: accepted for PyTorch's sake; the files must be there.
    Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits" (1998).
    """

    CLASSES: tuple[str, ...] = tuple(str(d) for d in range(10))

    def __init__(
        self,
        root: Folder,
        train: bool = True,
        transform: Transform | None = TO_TENSOR,
        target_transform: Transform | None = None,
        download: bool = False,
    ) -> None:
        name = type(self).__name__
        part = "train" if train else "t10k"
        folders = [Path(root), Path(root) / "raw", Path(root) / name / "raw"]
        paths = [
            _find(name, folders, [f"{part}-{what}{dot}idx{n}-ubyte{gz}" for dot in "-." for gz in ("", ".gz")])
            for what, n in (("images", 3), ("labels", 1))
        ]
        images, labels = (read_idx(path) for path in paths)
        if images.dtype != np.uint8 or images.ndim != 3:
            raise ValueError(f"{name}: {paths[0]} holds {images.dtype} of {images.shape}, expected uint8 (N, H, W)")
        if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"{name}: {paths[1]} holds {labels.dtype} of {labels.shape}, expected uint8 ({len(images)},), a label for "
                f"each image of {paths[0]}"
            )
        _check_labels(name, paths[1], labels, len(self.CLASSES))
        super().__init__(images, labels.astype(np.int64), transform, target_transform, self.CLASSES)


class FashionMNIST(MNIST):
    """Pieces of clothing in the form of MNIST: 60,000 and 10,000 grey images of 28 x 28, in 10 classes.

    The files have MNIST's names, so keep the two apart, in different folders.
    Source: Xiao, Rasul & Vollgraf, "Fashion-MNIST: a novel image dataset" (2017).
    """

    CLASSES = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip


def _check_labels(name: str, path: Path, labels: np.ndarray[Any, Any], classes: int) -> None:
    if labels.size and labels.max() >= classes:
        raise ValueError(f"{name}: {path} has the label {labels.max()}, expected labels from 0 to {classes - 1}")


class CIFAR10(ImageDataset):
    """Small colour photographs in 10 classes, from the Python or the binary version of the files, in `root` or its usual folder.

    50,000 images for training or, with train=False, 10,000 others: data (N, 32, 32, 3) uint8. The Python version is a pickle;
    it is read without executing anything in it.
    download: accepted for PyTorch's sake; the files must be there.
    Source: Krizhevsky, "Learning multiple layers of features from tiny images" (2009).
    """

    FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin")
    BATCHES: dict[bool, tuple[str, ...]] = {
        True: tuple(f"data_batch_{i}" for i in range(1, 6)),
        False: ("test_batch",),
    }
    LABELS: tuple[str, ...] = (
        "labels",
    )  # their names in the Python version; the last is what is to be learned, in both versions
    NAMES = ("batches.meta", "batches.meta.txt", "label_names")  # where the names of the classes are
    NUMBER_OF_CLASSES = 10

    def __init__(
        self,
        root: Folder,
        train: bool = True,
        transform: Transform | None = TO_TENSOR,
        target_transform: Transform | None = None,
        download: bool = False,
    ) -> None:
        name = type(self).__name__
        folders = [Path(root), *(Path(root) / folder for folder in self.FOLDERS)]
        parts = []
        for batch in self.BATCHES[train]:
            path = _find(name, folders, [batch, f"{batch}.bin"])
            parts.append(self._read_binary(path) if path.suffix == ".bin" else self._read_pickle(path))
            _check_labels(name, path, parts[-1][1], self.NUMBER_OF_CLASSES)
        pixels, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
        images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        super().__init__(images, labels, transform, target_transform, self._class_names(path.parent))

    def _read_binary(self, path: Path) -> tuple[Any, Any]:
        """Pixels (N, 3072) and labels (N,): each image is its labels, a byte each, and its pixels, channel by channel."""
        data, width = np.frombuffer(path.read_bytes(), np.uint8), len(self.LABELS) + 3072
        if not data.size or data.size % width:
            raise ValueError(
                f"{type(self).__name__}: {path} has {data.size} bytes, expected a multiple of {width}: for each image "
                f"{len(self.LABELS)} of labels and 3 x 32 x 32 of pixels"
            )
        rows = data.reshape(-1, width)
        return rows[:, len(self.LABELS) :], rows[:, len(self.LABELS) - 1].astype(np.int64)

    def _read_pickle(self, path: Path) -> tuple[Any, Any]:
        batch = _read_pickled_dict(type(self).__name__, path)
        key = self.LABELS[-1]
        pixels, labels = batch.get("data"), batch.get(key)
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (3072,):
            what = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
            raise ValueError(f"{type(self).__name__}: {path} has {what} as data, expected uint8 (N, 3072)")
        if (
            not isinstance(labels, list)
            or len(labels) != len(pixels)
            or not all(type(n) is int and n >= 0 for n in labels)
        ):
            raise ValueError(f"{type(self).__name__}: {path} has no list of {len(pixels)} labels under {key!r}")
        return np.asarray(pixels), np.array(labels, np.int64)

    def _class_names(self, folder: Path) -> list[str]:
        """The names of the classes, if the file of them is there."""
        pickled, text, key = self.NAMES
        if (folder / text).is_file():
            names = (folder / text).read_text("utf-8").split()
        elif (folder / pickled).is_file():
            names = list(_read_pickled_dict(type(self).__name__, folder / pickled).get(key, ()))
        else:
            return []
        if len(names) != self.NUMBER_OF_CLASSES:
            raise ValueError(
                f"{type(self).__name__}: {folder} names {len(names)} classes, expected {self.NUMBER_OF_CLASSES}"
            )
        return names


class CIFAR100(CIFAR10):
    """Small colour photographs in 100 classes, in the form of CIFAR10: 500 of each for training, 100 for testing."""

    FOLDERS = ("cifar-100-python", "cifar-100-binary")
    BATCHES = {True: ("train",), False: ("test",)}
    LABELS = ("coarse_labels", "fine_labels")
    NAMES = ("meta", "fine_label_names.txt", "fine_label_names")
    NUMBER_OF_CLASSES = 100


def _read_pickled_dict(name: str, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        try:
            content = Reader(file, encoding="latin-1").load()
        except Exception as error:  # a pickle can go wrong in any way
            raise ValueError(f"{name}: {path} is not one of its files, which are pickles of a dict: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{name}: {path} holds a {type(content).__name__}, expected a dict")
    return content


class ImageFolder(Dataset[tuple[Any, int]]):
    """Images in one folder per class, below `root`: root/cat/1.png, root/cat/more/2.jpg, root/dog/1.png.

    classes: the names of the folders in alphabetical order. samples: (path, class) of each image; targets: their classes.
    An image is read when it is taken: an array (H, W, 3) uint8, or (H, W) with grey=True, and then transformed.
    Raises FileNotFoundError where there is no class or a class without images; ValueError, while reading, for what is no image.
    """

    def __init__(
        self,
        root: Folder,
        transform: Transform | None = TO_TENSOR,
        target_transform: Transform | None = None,
        grey: bool = False,
    ) -> None:
        package("ImageFolder", "PIL")
        self.root, self.transform, self.target_transform, self.grey = Path(root), transform, target_transform, grey
        if not self.root.is_dir():
            raise FileNotFoundError(f"ImageFolder: there is no folder {root}")
        self.classes = sorted(folder.name for folder in self.root.iterdir() if folder.is_dir())
        if not self.classes:
            raise FileNotFoundError(
                f"ImageFolder: {root} has no folders in it, expected one per class, with its images"
            )
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
        self.samples: list[tuple[str, int]] = []
        for i, name in enumerate(self.classes):
            found = sorted(p for p in (self.root / name).rglob("*") if p.suffix.lower() in IMAGE_ENDINGS)
            if not found:
                raise FileNotFoundError(
                    f"ImageFolder: {self.root / name} has no images in it; their names end in {', '.join(IMAGE_ENDINGS)}"
                )
            self.samples += [(str(path), i) for path in found]
        self.targets = [target for _, target in self.samples]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, y = self.samples[index]
        x = self.read(path)
        return (
            x if self.transform is None else self.transform(x),
            y if self.target_transform is None else self.target_transform(y),
        )

    def read(self, path: str) -> np.ndarray[Any, Any]:
        """The image in a file."""
        from PIL import Image

        try:
            with Image.open(path) as image:
                return np.array(image.convert("L" if self.grey else "RGB"))
        except (OSError, SyntaxError) as error:  # what Pillow raises for files that are damaged or something else
            raise ValueError(f"ImageFolder: {path} cannot be read as an image: {error}") from None

    def __len__(self) -> int:
        return len(self.samples)


def csv_file(
    path: Folder,
    target: str | int = -1,
    classes: bool = True,
    header: bool = True,
    delimiter: str = ",",
    encoding: str = "utf-8-sig",
) -> ArrayDataset:
    """A table of numbers, one column of which is the target, by its name or its number (-1: the last).

    classes: the target is a class, any text, and becomes the place of that text in order (2 before 10): targets (N,) int64.
    With classes=False it is a number: targets (N, 1) float32. data (N, D) float32. header: the first line has the names.
    Raises ValueError for a line of another length or a field that is not a number, with the line; for an unknown target.
    """
    with Path(path).open(newline="", encoding=encoding) as file:
        reader = csv.reader(file, delimiter=delimiter)
        lines = [(reader.line_num, row) for row in reader if row]
    names = lines.pop(0)[1] if header and lines else []
    if not lines:
        raise ValueError(f"csv_file: {path} has no line of data")
    width = len(names) or len(lines[0][1])
    for line, row in lines:
        if len(row) != width:
            raise ValueError(f"csv_file: {path} has {len(row)} fields in line {line}, expected {width}: {row}")
    if isinstance(target, str):
        if target not in names:
            raise ValueError(
                f"csv_file: {path} has no column {target!r}; its columns are {', '.join(names) or 'unnamed'}"
            )
        column = names.index(target)
    elif -width <= target < width:
        column = target % width
    else:
        raise ValueError(f"csv_file: {path} has {width} columns, there is no column {target}")

    def number(line: int, i: int, field: str) -> float:
        try:
            return float(field)
        except ValueError:
            where = repr(names[i]) if names else i
            raise ValueError(f"csv_file: {path}, line {line}: {field!r} in column {where} is not a number") from None

    data = [[number(line, i, f) for i, f in enumerate(row) if i != column] for line, row in lines]
    x = np.array(data, np.float32).reshape(len(lines), width - 1)
    if not classes:
        return ArrayDataset(x, np.array([[number(line, column, row[column])] for line, row in lines], np.float32))
    labels = [row[column].strip() for _, row in lines]
    known = sorted(set(labels), key=lambda label: (int(label) if label.isdecimal() else math.inf, label))
    numbers = {label: i for i, label in enumerate(known)}
    return ArrayDataset(x, np.array([numbers[label] for label in labels], np.int64), classes=known)
