"""Text in columns where Chinese characters are two wide: measured, padded and broken into lines, with or without colour."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from dataclasses import dataclass
from typing import TextIO

from .language import Language

WIDTH = 80
_COLOURS = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "cyan": 36, "bold": 1, "dim": 2}


@dataclass(frozen=True)
class Style:
    """How a report looks. plain: words instead of symbols, no colour."""

    lang: Language = "en"
    plain: bool = False
    colour: bool = False
    width: int = WIDTH

    def paint(self, text: str, *colours: str) -> str:
        if not self.colour or not colours or not text:
            return text
        return f"\033[{';'.join(str(_COLOURS[name]) for name in colours)}m{text}\033[0m"

    def dots(self, difficulty: int) -> str:
        return f"{difficulty}/5" if self.plain else "●" * difficulty + "○" * (5 - difficulty)


def style(lang: Language, plain: bool, stream: TextIO | None = None) -> Style:
    """The style for a stream: colour in a terminal, unless --plain or NO_COLOR is against it."""
    stream = stream or sys.stdout
    colour = not plain and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "")
    return Style(lang, plain or not (encoding.startswith("utf") or encoding.startswith("gb")), colour)


def wide(text: str) -> int:
    """Columns that a text takes in a terminal."""
    return sum(_columns(letter) for letter in text)


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def pad(text: str, columns: int) -> str:
    """A text filled up with spaces on the right."""
    return text + " " * (columns - wide(text))


def cut(text: str, columns: int) -> str:
    """A text that takes at most so many columns; what was cut ends with dots."""
    if wide(text) <= columns:
        return text
    kept = ""
    for letter in text:
        if wide(kept + letter) > columns - 3:
            break
        kept += letter
    return kept.rstrip() + "..."


# line ends between Chinese characters, or beside Chinese punctuation, where no space is written
_JOINED = re.compile(
    r"(?<=[\u3000-\u9fff\uff00-\uffef])\s*\n\s*(?=[\u3000-\u9fff\uff00-\uffef])"
    r"|(?<=[\u3000-\u303f\uff00-\uff1f])\s*\n\s*|\s*\n\s*(?=[\u3000-\u303f\uff00-\uff1f])"
)


def wrap(text: str, first: str = "", rest: str | None = None, width: int = WIDTH) -> list[str]:
    """Lines of at most `width` columns, the first after `first`, the others after `rest` (default: as many spaces).

    Line ends within the text are spaces to it, as in a paragraph, and nothing between Chinese characters. A line breaks at a space or beside a wide character, not
    before punctuation; what has no such place is broken anywhere.
    """
    rest = " " * wide(first) if rest is None else rest
    lines, line, used = [], first, wide(first)
    empty = True
    for piece in _pieces(re.sub(r"\s*\n\s*", " ", _JOINED.sub("", text.strip()))):
        size = wide(piece.rstrip())
        if not empty and used + size > width:
            lines.append(line.rstrip())
            line, used, empty = rest, wide(rest), True
        while used + wide(piece.rstrip()) > width:
            head = _head(piece, max(width - used, 2))
            lines.append(line + head)
            piece, line, used = piece[len(head) :], rest, wide(rest)
        line, used, empty = line + piece, used + wide(piece), False
    lines.append(line.rstrip())
    return lines


def _pieces(text: str) -> list[str]:
    """What must stay on one line: words with the space after them, wide characters with the punctuation beside them."""
    pieces: list[str] = []
    for letter in text:
        before = pieces[-1][-1] if pieces else ""
        joins = before and (
            letter == " "
            or unicodedata.category(letter) in ("Po", "Pe", "Pf")  # comma, closing bracket
            or unicodedata.category(before) in ("Ps", "Pi")  # opening bracket
            or (before != " " and _columns(letter) < 2 and _columns(before) < 2)
        )
        if joins:
            pieces[-1] += letter
        else:
            pieces.append(letter)
    return pieces


def _head(text: str, columns: int) -> str:
    taken = ""
    for letter in text:
        if wide(taken + letter) > columns:
            break
        taken += letter
    return taken
