"""Text in the pieces of words that BERT and its descendants read.

A text becomes words: lower case, no accents, every punctuation mark and every Chinese character by itself. A word becomes the
longest pieces that are in the vocabulary, from its start on; a piece that goes on is written with ## in front.

Sources: Wu et al., "Google's neural machine translation system" (2016); Devlin et al., "BERT" (2019).
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip
LONGEST_WORD = 100


class WordPiece:
    """Pieces of words and their numbers, by the vocabulary of a model, where a piece's number is its place.

    Raises ValueError for a vocabulary without the marks [UNK], [CLS] and [SEP].

    Example:
        >>> words = WordPiece(["[UNK]", "[CLS]", "[SEP]", "token", "##s"])
        >>> words.encode("Tokens!")
        [1, 3, 4, 0, 2]
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.vocabulary = list(vocabulary)
        self.numbers = {piece: i for i, piece in enumerate(self.vocabulary)}
        missing = [mark for mark in ("[UNK]", "[CLS]", "[SEP]") if mark not in self.numbers]
        if missing:
            raise ValueError(f"WordPiece: the vocabulary of {len(self.vocabulary)} pieces has no {', '.join(missing)}")

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> WordPiece:
        """The vocabulary in a file with one piece a line."""
        return cls(Path(path).read_text("utf-8").splitlines())

    def encode(self, text: str, longest: int | None = None) -> list[int]:
        """The numbers of a text's pieces between those of [CLS] and [SEP]; at most `longest`, cut off at the end."""
        pieces = [self.numbers[piece] for word in words(text) for piece in self.pieces(word)]
        if longest is not None:
            pieces = pieces[: max(longest - 2, 0)]
        return [self.numbers["[CLS]"], *pieces, self.numbers["[SEP]"]]

    def pieces(self, word: str) -> list[str]:
        """The pieces of a word, ["[UNK]"] where it cannot be made of any."""
        found: list[str] = []
        start = 0
        while start < len(word) <= LONGEST_WORD:
            mark = "##" if start else ""
            for end in range(len(word), start, -1):
                if mark + word[start:end] in self.numbers:
                    found.append(mark + word[start:end])
                    start = end
                    break
            else:
                return ["[UNK]"]
        return found if len(word) <= LONGEST_WORD else ["[UNK]"]


def words(text: str) -> Iterator[str]:
    """The words of a text."""
    spaced = "".join(f" {c} " if _is_chinese(c) else c for c in text if not _is_control(c))
    plain = "".join(c for c in unicodedata.normalize("NFD", spaced) if unicodedata.category(c) != "Mn").lower()
    word = ""
    for c in plain:
        if c.isspace() or _is_punctuation(c):
            if word:
                yield word
            if not c.isspace():
                yield c
            word = ""
        else:
            word += c
    if word:
        yield word


def _is_chinese(c: str) -> bool:
    return any(first <= ord(c) <= last for first, last in CHINESE)


def _is_control(c: str) -> bool:
    return c == "\ufffd" or (unicodedata.category(c) in ("Cc", "Cf", "Co") and c not in "\t\n\r")


def _is_punctuation(c: str) -> bool:
    """Everything but letters, digits and spaces in ASCII; else what Unicode calls punctuation."""
    return (c.isascii() and c.isprintable() and not c.isalnum() and c != " ") or unicodedata.category(c)[0] == "P"
