"""What `minidl learn doctor` finds: what the exercises need, and whether it is here."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from .bank import bank
from .language import Language
from .layout import Style, pad, wide, wrap
from .progress import ProgressError
from .sandbox import BYTES, lacking, run
from .words import say
from .workspace import Workspace, WorkspaceError

Finding = tuple[str, str, str]  # what, what was found, what it means


def findings(folder: Path | None, style: Style) -> list[Finding]:
    """Everything, in the order in which it matters."""
    lang = style.lang
    engine = (say("d engine", lang), "minidl doctor", say("d rest", lang))
    pool = (say("d bank", lang), say("d count", lang, count=len(bank())), say("d bank means", lang))
    return [_workspace(folder, lang), pool, _sandbox(lang), _watching(lang), _terminal(style), engine]


def _workspace(folder: Path | None, lang: Language) -> Finding:
    what = say("d exercises", lang)
    try:
        workspace = Workspace.find(folder)
    except (WorkspaceError, ProgressError) as error:
        return what, say("d none", lang), str(error)
    gone = [id for id, one in bank().items() if not workspace.path(one).exists()]
    if gone:
        return what, str(workspace.folder), say("d gone", lang, ids=", ".join(gone))
    return what, str(workspace.folder), say("solved", lang, done=workspace.done, all=workspace.total)


def _sandbox(lang: Language) -> Finding:
    what = say("d sandbox", lang)
    if lacking():
        return what, say("d missing", lang), lacking()
    exercise = next(iter(bank().values()))
    found = run(exercise, exercise.source("solution"), "doctor.py")
    if found["verdict"] != "passed":
        return what, say("d broken", lang), f"{exercise.id}: {found}"
    key = "d system" if sys.platform == "linux" else "d watched"
    return what, say("d works", lang), say(key, lang, id=exercise.id, seconds=found["seconds"], gib=BYTES >> 30)


def _watching(lang: Language) -> Finding:
    what = say("d watching", lang)
    if importlib.util.find_spec("watchfiles") is None:
        return what, say("d polls", lang), say("d install", lang)
    contained = os.environ.get("WSL_DISTRO_NAME") or Path("/.dockerenv").exists()
    return what, "watchfiles", say("d container" if contained else "d at once", lang)


def _terminal(style: Style) -> Finding:
    def word(value: bool) -> str:
        return say("d yes" if value else "d none", style.lang)

    here = sys.stdin.isatty() and sys.stdout.isatty()
    looks = say("d looks", style.lang, colour=word(style.colour), symbols=word(not style.plain), language=style.lang)
    return say("d terminal", style.lang), word(here), looks


def lines(found: list[Finding], style: Style) -> list[str]:
    """The findings below each other."""
    column = max(wide(what) for what, _, _ in found) + 2
    shown = []
    for what, state, means in found:
        shown += [f"{pad(what, column)}{state}".rstrip(), *wrap(means, " " * column)]
    return shown
