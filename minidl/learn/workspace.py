"""The folder that a learner works in: a file for each exercise, the answers of those that are solved, and the progress.

    <topic>/<id>.py              the exercise, written once and from then on the learner's
    solutions/<topic>/<id>.py    the reference, put there when the learner's passes
    backups/<topic>/             what `reset` took away
    progress.json                see minidl/learn/progress.py; "learn" in it makes the folder a workspace

A record of progress: verdict (the last one), solved, attempts, hint (the deepest level shown), assisted, skipped (the reason),
first, last and passed (when).
"""

from __future__ import annotations

import difflib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from ..serialization import write_whole
from . import progress
from .bank import Exercise, bank
from .language import Language, language, text
from .layout import Style, wrap
from .report import Place
from .sandbox import run
from .words import say

DEFAULT = "minidl-exercises"


class WorkspaceError(ValueError):
    """There is no workspace, or not what was asked for in it; the message says what to do."""


class Workspace:
    """A learner's folder, and the progress in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = progress.load(folder / progress.NAME)

    # ---- finding and making

    @classmethod
    def find(cls, asked: Path | None = None) -> Workspace:
        """The one that was asked for, else that of the current folder or the nearest one above, else ./minidl-exercises."""
        here = Path.cwd()
        places = [asked] if asked is not None else [here, *here.parents, here / DEFAULT]
        for folder in places:
            if is_workspace(folder):
                return cls(folder)
        raise WorkspaceError(say("no workspace", language(), folder=asked or here))

    @classmethod
    def make(cls, folder: Path, lang: Language, asked: bool = False) -> tuple[Workspace, list[Exercise]]:
        """Write the exercises that are not there yet; what is there stays as it is. The workspace, and what is new.

        asked: whether `lang` was asked for; it is then that of the folder from now on.
        """
        if folder.exists() and not folder.is_dir():
            raise WorkspaceError(say("no folder", lang, folder=folder))
        if folder.is_dir() and any(folder.iterdir()) and not is_workspace(folder):
            raise WorkspaceError(say("not empty", lang, folder=folder))
        folder.mkdir(parents=True, exist_ok=True)
        workspace = cls(folder)
        learn = workspace.data.setdefault("learn", {"current": next(iter(bank())), "language": lang})
        if asked:
            learn["language"] = lang
        new = [one for one in bank().values() if not workspace.path(one).exists()]
        for exercise in new:
            workspace.write_stub(exercise, learn["language"])
        workspace.save()
        return workspace, new

    def write_stub(self, exercise: Exercise, lang: Language | None = None) -> None:
        path = self.path(exercise)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = f"{head(exercise, lang or self.language)}\n{exercise.source('stub')}"
        write_whole(path, content.encode())

    # ---- what is in it

    @property
    def language(self) -> Language:
        """That of the files."""
        lang: Language = self.data["learn"].get("language", "en")
        return lang

    def path(self, exercise: Exercise, under: str = "") -> Path:
        return self.folder / under / exercise.topic / f"{exercise.id}.py"

    def shown(self, path: Path) -> str:
        """A path as it is reached from the current folder."""
        try:
            return str(path.resolve().relative_to(Path.cwd()))
        except ValueError:
            return str(path)

    @property
    def current(self) -> Exercise:
        id = self.data["learn"].get("current")
        return bank()[id] if id in bank() else next(iter(bank().values()))

    def exercise(self, id: str | None) -> Exercise:
        """The one of that id, by default the current one."""
        if id is None:
            return self.current
        if id not in bank():
            near = difflib.get_close_matches(id, bank(), 3)
            key = "no exercise, near" if near else "no exercise"
            raise WorkspaceError(say(key, self.language, id=id, near=", ".join(near)))
        return bank()[id]

    def source(self, exercise: Exercise) -> str:
        path = self.path(exercise)
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise WorkspaceError(say("gone", self.language, path=self.shown(path), id=exercise.id)) from None
        except UnicodeDecodeError as error:
            raise WorkspaceError(say("no text", self.language, path=self.shown(path), error=error)) from None

    def record(self, exercise: Exercise) -> dict[str, Any]:
        """The progress of an exercise; what is changed in it is kept by `save`."""
        record: dict[str, Any] = self.data["exercises"].setdefault(exercise.id, {})
        return record

    def solved(self, id: str) -> bool:
        return bool(self.data["exercises"].get(id, {}).get("solved"))

    @property
    def total(self) -> int:
        return len(bank())

    @property
    def done(self) -> int:
        return sum(self.solved(id) for id in bank())

    def state(self, exercise: Exercise) -> str:
        """A key of `words.WORDS`."""
        record = self.data["exercises"].get(exercise.id, {})
        if record.get("solved"):
            return "passed"
        if record.get("skipped") is not None:
            return "skipped"
        if record.get("passed"):
            return "pending"
        return str(record.get("verdict", "not started"))

    def missing_needs(self, exercise: Exercise) -> list[str]:
        return [id for id in exercise.needs if not self.solved(id)]

    def save(self) -> None:
        """Write the progress; cards that a quiz has written meanwhile stay."""
        path = self.folder / progress.NAME
        self.data["cards"] = progress.load(path)["cards"]
        progress.save(path, self.data)

    def refresh(self) -> None:
        """Read the progress again, after another program has changed it."""
        self.data = progress.load(self.folder / progress.NAME)

    # ---- what is done to it

    def check(
        self, exercise: Exercise, seed: int = 0, thorough: bool = False, source: str | None = None
    ) -> tuple[dict[str, Any], Place]:
        """Run the learner's file, or the text of it that was read before, and record what came of it."""
        found = grade(exercise, self.source(exercise) if source is None else source, seed, thorough)
        return found, self.note(exercise, found)

    def note(self, exercise: Exercise, found: dict[str, Any], attempt: bool = True) -> Place:
        """Record a verdict, as one more attempt or not; where it stands, and what it has unlocked."""
        record, now = self.record(exercise), _now()
        before, verdict = self.solved(exercise.id), found["verdict"]
        record["verdict"], record["solved"] = verdict, verdict == "passed"
        if attempt and verdict != "not started":
            record["attempts"] = record.get("attempts", 0) + 1
            record.setdefault("first", now)
            record["last"] = now
        unlocked: tuple[str, ...] = ()
        solution = ""
        if verdict == "passed":
            record.setdefault("passed", now)
            record.pop("skipped", None)
            copy = self.path(exercise, "solutions")
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_whole(copy, exercise.source("solution").encode())
            solution = self.shown(copy)
            if not before:
                unlocked = tuple(
                    one.id for one in bank().values() if exercise.id in one.needs and not self.missing_needs(one)
                )
        self.save()
        return Place(self.shown(self.path(exercise)), self.done, self.total, solution, unlocked)

    def check_all(self, seed: int = 0) -> Iterator[tuple[Exercise, str, bool]]:
        """Check every file that was begun, several at a time: exercise, verdict, whether it was solved and fails now."""
        begun = [one for one in bank().values() if self.path(one).exists() and not one.untouched(self.source(one))]
        gone = [one for one in bank().values() if self.solved(one.id) and one not in begun]
        stop = threading.Event()
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            waiting = {one.id: pool.submit(grade, one, self.source(one), seed, stop=stop) for one in begun}
            try:
                for one in bank().values():
                    if one.id in waiting:
                        before, found = self.solved(one.id), waiting[one.id].result()
                        self.note(one, found, attempt=False)
                        yield one, found["verdict"], before and found["verdict"] != "passed"
                    elif one in gone:
                        self.record(one).update(verdict="not started", solved=False)
                        self.save()
                        yield one, "not started", True
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)

    def go(self, exercise: Exercise) -> None:
        """Make an exercise the current one."""
        self.data["learn"]["current"] = exercise.id
        self.record(exercise).pop("skipped", None)
        self.save()

    def following(self) -> Exercise | None:
        """What comes after the current one: the next that is not solved, those that were skipped at the end; or None."""
        ids = list(bank())
        at = ids.index(self.current.id)
        left = [id for id in ids[at + 1 :] + ids[:at] if not self.solved(id)]
        left.sort(key=lambda id: self.data["exercises"].get(id, {}).get("skipped") is not None)
        if not left and not self.solved(self.current.id):
            return self.current
        return bank()[left[0]] if left else None

    def skip(self, reason: str) -> None:
        self.record(self.current)["skipped"] = reason
        self.save()

    def hint(self, exercise: Exercise, level: int | None = None) -> int:
        """The level to show: the one asked for, else one deeper than before. It is recorded."""
        record = self.record(exercise)
        shown: int = level if level is not None else min(record.get("hint", 0) + 1, 3)
        record["hint"] = max(record.get("hint", 0), shown)
        self.save()
        return shown

    def assist(self, exercise: Exercise) -> str:
        """The reference, and a note that it was looked at."""
        if not self.solved(exercise.id):
            self.record(exercise)["assisted"] = True
            self.save()
        return exercise.source("solution")

    def reset(self, exercise: Exercise) -> Path | None:
        """Put the stub back; where what was there is kept."""
        path = self.path(exercise)
        backup = None
        if path.exists():
            name = f"{exercise.id}-{datetime.now():%Y%m%d-%H%M%S-%f}.py"
            backup = self.folder / "backups" / exercise.topic / name
            backup.parent.mkdir(parents=True, exist_ok=True)
            path.replace(backup)
        self.write_stub(exercise)
        record = self.record(exercise)
        record["verdict"], record["solved"] = "not started", False
        self.save()
        return backup

    def diff(self, exercise: Exercise) -> list[str]:
        """The learner's file beside the reference, without comments at its head: the lines of a unified diff."""
        mine, reference = body(self.source(exercise)), exercise.source("solution")
        names = self.shown(self.path(exercise)), "reference"
        return list(difflib.unified_diff(mine.splitlines(), reference.splitlines(), *names, lineterm=""))


def is_workspace(folder: Path) -> bool:
    return (folder / progress.NAME).is_file() and "learn" in progress.load(folder / progress.NAME)


def grade(
    exercise: Exercise, source: str, seed: int = 0, thorough: bool = False, stop: threading.Event | None = None
) -> dict[str, Any]:
    """The verdict on a text, in plain values."""
    if exercise.untouched(source):
        return {"exercise": exercise.id, "verdict": "not started", "stage": "", "seed": seed, "problems": [], "later": [],
                "misconception": "", "observations": 0, "held": 0, "statistical": 0, "seconds": 0.0, "output": ""}  # fmt: skip
    return run(exercise, source, f"{exercise.topic}/{exercise.id}.py", seed=seed, thorough=thorough, stop=stop)


def head(exercise: Exercise, lang: Language) -> str:
    """The comment above a stub: what the exercise is, and what it asks for."""
    facts = [Style(lang).dots(exercise.difficulty), say("minutes", lang, minutes=exercise.minutes)]
    if exercise.needs:
        facts.append(say("needs", lang, ids=", ".join(exercise.needs)))
    lines = [*_comment(f"{exercise.id}  {text(exercise.title, lang)}"), "# " + "  ".join(facts), "#"]
    for block in text(exercise.task, lang).split("\n\n"):
        # what is indented is a formula or a table, and stays as it is
        lines += [f"# {line}" for line in block.split("\n")] if block.startswith(" ") else _comment(block)
        lines.append("#")
    lines += _comment(say("task head", lang, id=exercise.id))
    return "\n".join(lines) + "\n"


def _comment(paragraph: str) -> list[str]:
    return wrap(paragraph, "# ", "# ")


def body(source: str) -> str:
    """A text without the comment and the empty lines at its head."""
    lines = source.splitlines(keepends=True)
    while lines and (lines[0].startswith("#") or not lines[0].strip()):
        lines.pop(0)
    return "".join(lines)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
