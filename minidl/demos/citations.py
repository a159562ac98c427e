"""Numbers in prose that name the demo behind them; the docstring of minidl.demos says how they are written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .registry import find

_COMMENT = r"<!--\s*demo:\s*(\S+)\s+(\S+)\s*-->"
_NUMBER = r"(-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?)(\s?%)?"


class Citation(NamedTuple):
    """A number that cites a figure of a demo, and the line that it stands on."""

    demo: str
    figure: str
    value: float | None  # None where no number follows the comment
    line: int


def citations(text: str) -> list[Citation]:
    """The numbers in a text that cite a demo."""
    found = []
    for match in re.finditer(rf"{_COMMENT}\s*(?:{_NUMBER})?", text):
        demo, figure, number, percent = match.groups()
        value = None
        if number is not None:
            value = float(number.replace(",", "")) / (100 if percent else 1)
        found.append(Citation(demo, figure, value, text.count("\n", 0, match.start()) + 1))
    return found


def plain(text: str) -> str:
    """The text without the comments."""
    return re.sub(_COMMENT, "", text)


def misquoted(text: str) -> list[str]:
    """A line for each citation in a text that does not hold; none where all do."""
    comments = len(re.findall(r"<!--\s*demo\b", text))
    found = citations(text)
    wrong = [f"line {c.line}: {why}" for c in found if (why := _wrong(*c[:3], needs_number=True))]
    if comments != len(found):
        wrong.append(f"{comments - len(found)} comments begin with demo and are not <!-- demo: NAME FIGURE -->")
    return wrong


def misquoted_evidence(table: Mapping[str, Any]) -> str | None:
    """What is wrong with a table that has the keys `demo`, `figure` and perhaps `value`; None where it holds.

    Without `figure` only the demo must be there.
    """
    if "demo" not in table:
        return "evidence names no demo"
    return _wrong(table["demo"], table.get("figure"), table.get("value"))


def _wrong(demo: str, figure: str | None, value: float | None, needs_number: bool = False) -> str | None:
    try:
        found = find(demo)
        cited = found.figure(figure) if figure is not None else None
    except KeyError as error:
        return str(error.args[0])
    if value is None:
        return f"{demo} {figure} is cited without a number behind it" if needs_number else None
    if cited is None:
        return f"{demo} is cited with the number {value:g} and no figure"
    if not cited.holds(value):
        return f"{demo} {figure} is {value:g} in the text; its band is {cited.low:g} to {cited.high:g}"
    return None
