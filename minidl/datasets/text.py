"""Text, one character at a time: a corpus as one long row of numbers, and lists of words."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

import numpy as np

from ..ops.creation import from_numpy
from ..tensor import Tensor
from ..utils.data import Dataset
from .base import package

IGNORED = -100  # the target that cross_entropy leaves out


class Alphabet:
    """Characters and their numbers: `first`, `first` + 1, ... in the order of the code points.

    Example:
        >>> Alphabet("banana").encode("nab")
        tensor([2, 0, 1])
    """

    def __init__(self, text: Iterable[str], first: int = 0) -> None:
        self.characters = "".join(sorted(set(text)))
        self.first = first
        self.numbers = {c: i for i, c in enumerate(self.characters, first)}

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> Tensor:
        """The numbers of the characters (T,), int64. Raises ValueError for a character that there is none of."""
        try:
            return from_numpy(np.array([self.numbers[c] for c in text], np.int64))
        except KeyError as error:
            raise ValueError(f"encode: the alphabet of {len(self)} characters has no {error.args[0]!r}") from None

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of these numbers; those below `first` stand for no character. Raises ValueError for one beyond."""
        places = [int(n) - self.first for n in numbers]
        beyond = [p + self.first for p in places if p >= len(self)]
        if beyond:
            raise ValueError(
                f"decode: {beyond[0]} is not the number of a character; they end at {self.first + len(self) - 1}"
            )
        return "".join(self.characters[p] for p in places if p >= 0)


class Characters(Dataset[tuple[Tensor, Tensor]]):
    """A text for predicting the next character: sample i is T characters from i on, and the same T shifted by one.

    data (N,) int64: the whole text as numbers. split: "train", the first 90 %, "val", the last 10 %, or "all".
    alphabet: that of the whole text, the same for all splits; `encode` and `decode` are its.
    Raises ValueError for another split, and for a text that is too short for one sample.

    Example:
        >>> Characters("hello", T=2, split="all")[0]
        (tensor([1, 0]), tensor([0, 2]))
    """

    def __init__(self, text: str, T: int = 64, split: str = "train") -> None:
        if split not in ("train", "val", "all"):
            raise ValueError(f"Characters: split is one of train, val or all, got {split!r}")
        self.alphabet = Alphabet(text)
        self.encode, self.decode = self.alphabet.encode, self.alphabet.decode
        cut = len(text) * 9 // 10
        self.text = {"train": text[:cut], "val": text[cut:], "all": text}[split]
        if T < 1 or len(self.text) <= T:
            raise ValueError(f"Characters: T is from 1 to {len(self.text) - 1} for this text, got {T}")
        self.data, self.T = self.encode(self.text), T

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        index = range(len(self))[index]  # raises IndexError beyond the end
        return self.data[index : index + self.T], self.data[index + 1 : index + self.T + 1]

    def __len__(self) -> int:
        return len(self.text) - self.T


class Words(Dataset[tuple[Tensor, Tensor]]):
    """Words for predicting the next character: sample i is a word with its start, and the word with its end.

    0 is the start and the end, characters count from 1. Both rows (T,) int64 are as long as the longest word and one; behind
    the word the first holds 0 and the second -100, which cross_entropy leaves out.

    Example:
        >>> Words(["ab", "a"])[1]
        (tensor([0, 1, 0]), tensor([   1,    0, -100]))
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.words = list(words)
        self.alphabet = Alphabet("".join(self.words), first=1)
        self.encode, self.decode = self.alphabet.encode, self.alphabet.decode
        self.T = 1 + max(map(len, self.words), default=0)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        numbers = self.encode(self.words[index]).numpy()
        x, y = np.zeros(self.T, np.int64), np.full(self.T, IGNORED)
        x[1 : len(numbers) + 1] = y[: len(numbers)] = numbers
        y[len(numbers)] = 0
        return from_numpy(x), from_numpy(y)

    def __len__(self) -> int:
        return len(self.words)


def python_help(T: int = 64, split: str = "train") -> Characters:
    """The help topics of Python itself: technical English, about half a million characters.

    The text depends on the version of Python, since each ships its own.
    Source: the Python language reference, by the Python Software Foundation.
    """
    from pydoc_data.topics import topics

    return Characters("\n".join(topics[name] for name in sorted(topics)), T, split)


def text_file(path: str | os.PathLike[str], T: int = 64, split: str = "train", encoding: str = "utf-8") -> Characters:
    """A text file of the user's, as Characters. Raises ValueError, with the place, where it is not in that encoding."""
    try:
        return Characters(Path(path).read_text(encoding), T, split)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"text_file: {path} is not {encoding} at byte {error.start}: {error.reason}; name its encoding"
        ) from None


def names(kind: str = "first") -> Words:
    """Names of the United States in lower case, the most frequent first, from the package names (extra `data`).

    kind: "first" (5,163), of "female" (4,275) or "male" (1,219) persons, or "last" (88,799).
    Source: United States Census Bureau, 1990.
    """
    files = {
        "female": ["female.first"],
        "male": ["male.first"],
        "first": ["female.first", "male.first"],
        "last": ["all.last"],
    }
    if kind not in files:
        raise ValueError(f"names: kind is one of {', '.join(files)}, got {kind!r}")
    package("names", "names")
    shares: dict[str, float] = {}
    for file in files[kind]:
        for line in (resources.files("names") / f"dist.{file}").read_text("ascii").splitlines():
            name, share = line.split()[:2]
            shares[name.lower()] = max(shares.get(name.lower(), 0.0), float(share))
    return Words(sorted(shares, key=lambda name: -shares[name]))  # of equal shares, the first stays first
