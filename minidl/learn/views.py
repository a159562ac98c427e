"""What the commands beside `run` show, as lines: the list, the graph, a hint, a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .bank import TOPICS, Exercise, bank
from .language import Language, text
from .layout import Style, cut, pad, wide, wrap
from .words import say
from .workspace import Workspace, WorkspaceError

SYMBOLS = {"passed": "✓", "wrong": "✗", "error": "✗", "pending": "!", "skipped": "-", "not started": " "}
COLOURS = {"passed": "green", "wrong": "red", "error": "red", "pending": "yellow", "skipped": "dim"}


def chosen(topic: str | None, core: bool, lang: Language) -> list[Exercise]:
    """The exercises of a topic, or of the short way, or all."""
    topics = [name for name in TOPICS if any(one.topic == name for one in bank().values())]
    if topic is not None and topic not in topics:
        raise WorkspaceError(say("no topic", lang, topic=topic, topics=", ".join(topics)))
    return [one for one in bank().values() if topic in (None, one.topic) and (one.core or not core)]


def rows(workspace: Workspace, exercises: list[Exercise], style: Style) -> list[dict[str, Any]]:
    """Exercise and progress in plain values."""
    plain = []
    for one in exercises:
        record = workspace.data["exercises"].get(one.id, {})
        plain.append(
            {"id": one.id, "topic": one.topic, "title": text(one.title, style.lang), "difficulty": one.difficulty,
             "minutes": one.minutes, "core": one.core, "needs": list(one.needs), "state": workspace.state(one),
             "current": one.id == workspace.current.id, "file": workspace.shown(workspace.path(one)), **record}
        )  # fmt: skip
    return plain


def table(workspace: Workspace, exercises: list[Exercise], style: Style) -> list[str]:
    """A line for each, under the name of its topic: mark, id, title, difficulty, minutes, state, tries, deepest hint."""
    lang = style.lang
    ids = max((wide(one.id) for one in exercises), default=5)
    states = max(wide(say(word, lang)) for word in (*SYMBOLS, "not started"))
    titles = style.width - ids - states - (22 if style.plain else 24)
    lines: list[str] = []
    topic = ""
    for one in exercises:
        if one.topic != topic:
            topic = one.topic
            lines += [*([""] if lines else []), style.paint(topic, "bold")]
        record, state = workspace.data["exercises"].get(one.id, {}), workspace.state(one)
        mark = ">" if one.id == workspace.current.id else "*" if one.core else " "
        symbol = "" if style.plain else SYMBOLS[state] + " "
        name = pad(cut(text(one.title, lang), titles), titles)
        shown = style.paint(pad(say(state, lang), states), *([COLOURS[state]] if state in COLOURS else []))
        tries, hint = record.get("attempts") or "", 4 if record.get("assisted") else record.get("hint") or ""
        line = f"{mark} {symbol}{pad(one.id, ids)}  {name}  {pad(style.dots(one.difficulty), 5)} {one.minutes:2d}'  "
        lines.append(f"{line}{shown} {tries:>2} {hint:>1}".rstrip())
    return [*lines, "", say("solved", lang, done=workspace.done, all=workspace.total), *wrap(say("marks", lang))]


def graph(exercises: list[Exercise], style: Style) -> list[str]:
    """What each builds on."""
    return [
        line
        for one in exercises
        for line in wrap(", ".join(one.needs) or "-", f"{pad(one.id, 8)} <- ", " " * 12, style.width)
    ]


def hint(exercise: Exercise, level: int, style: Style) -> list[str]:
    """One of the three hints; after the last one, what is left to do."""
    lines = wrap(text(exercise.hints[level - 1], style.lang), say("hint", style.lang, level=level), "  ")
    return lines + (wrap(say("hint last", style.lang)) if level == 3 else [])


def arrived(workspace: Workspace, exercise: Exercise | None, style: Style) -> list[str]:
    """Which exercise is the current one now, and where its file is."""
    if exercise is None:
        return [say("all solved", style.lang)]
    lines = wrap(say("current", style.lang, id=exercise.id, title=text(exercise.title, style.lang)))
    lines.append(f"  {style.dots(exercise.difficulty)}  {say('minutes', style.lang, minutes=exercise.minutes)}  "
                 f"{workspace.shown(workspace.path(exercise))}")  # fmt: skip
    before = workspace.missing_needs(exercise)
    if before:
        lines += wrap(say("before", style.lang, id=exercise.id, needs=", ".join(before)), "  ")
    return lines


def put_back(workspace: Workspace, exercise: Exercise, backup: Path | None, style: Style) -> str:
    """What `reset` did."""
    path = workspace.shown(workspace.path(exercise))
    if backup is None:
        return say("stub", style.lang, path=path)
    return say("reset", style.lang, path=path, backup=workspace.shown(backup))


def diff(workspace: Workspace, exercise: Exercise, style: Style) -> list[str]:
    """The learner's answer beside the reference."""
    colours = {"+": "green", "-": "red", "@": "cyan"}
    lines = workspace.diff(exercise)
    if not lines:
        return [say("no diff", style.lang)]
    return [style.paint(line, colours[line[0]]) if line and line[0] in colours else line for line in lines]
