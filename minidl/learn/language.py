"""Which of the two languages a learner reads, and the text of a record in it."""

from __future__ import annotations

import locale
import os
from collections.abc import Mapping
from typing import Any, Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")


def language(asked: str | None = None) -> Language:
    """What was asked for, else MINIDL_LANG, else that of the locale; English where none of them is Chinese.

    Raises ValueError for a language that there is no text in.
    """
    for source, name in (("--lang", asked), ("MINIDL_LANG", os.environ.get("MINIDL_LANG"))):
        if name:
            if name not in LANGUAGES:
                raise ValueError(f"{source} {name}: it is en or zh")
            return name
    settings = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    place = next(filter(None, settings), None) or locale.getlocale()[0] or ""
    return "zh" if place.lower().startswith(("zh", "chinese")) else "en"


def text(record: Mapping[str, Any], lang: Language) -> str:
    """A record's words in one language: `text({"en": "loss", "zh": "损失"}, "zh")` is "损失"."""
    return str(record[lang]).strip()
