"""The words that texts are written in: one Chinese word never stands for two English terms, accuracy and precision least of all."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

Text = Mapping[str, str]
FILE = Path(__file__).parent / "glossary.toml"


@dataclass(frozen=True)
class Term:
    """A term, its Chinese words (the preferred one first), and what is checked of it.

    strict      "zh": where one of its words stands, the English twin has the term; "both": and the other way round
    avoid       words that are not used for it
    exempt      phrases in which the English term means something else
    """

    en: str
    zh: tuple[str, ...]
    strict: str = ""
    avoid: tuple[str, ...] = ()
    exempt: tuple[str, ...] = ()


@cache
def glossary() -> tuple[Term, ...]:
    """All terms. Raises ValueError for a term that is there twice, and for a Chinese word that two terms share."""
    terms = tuple(
        Term(
            term["en"], tuple(term["zh"]), term.get("strict", ""),
            tuple(term.get("avoid", ())), tuple(phrase.lower() for phrase in term.get("except", ())),
        )
        for term in tomllib.loads(FILE.read_text(encoding="utf-8"))["terms"]
    )  # fmt: skip
    owners: dict[str, str] = {}
    for term in terms:
        for word in {term.en, *term.zh}:
            if owners.setdefault(word, term.en) != term.en:
                raise ValueError(f"{FILE.name}: {word} stands for both {owners[word]!r} and {term.en!r}")
    return terms


def problems(texts: Iterable[tuple[str, Text]]) -> Iterator[str]:
    """What is wrong with the words of texts, each given as (where it is, {"en": ..., "zh": ...}); one line each."""
    for where, text in texts:
        for term in glossary():
            yield from (f"{where}: {word} is not the word for {term.en}, which is {term.zh[0]}"
                        for word in term.avoid if word in text["zh"])  # fmt: skip
            yield from _twins(where, text, term)


def _twins(where: str, text: Text, term: Term) -> Iterator[str]:
    if not term.strict:
        return
    english = " ".join(text["en"].lower().split())
    for phrase in term.exempt:
        english = english.replace(phrase, "")
    chinese = [word for word in term.zh if word in text["zh"]]
    if chinese and term.en not in english:
        yield f"{where}: zh has {chinese[0]}, and en does not have {term.en}"
    if term.strict == "both" and term.en in english and not chinese:
        yield f"{where}: en has {term.en}, and zh has none of {', '.join(term.zh)}"
