"""What `minidl learn doctor` finds: what the exercises need, and whether it is here."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from .bank import bank
from .layout import Style, pad, wide, wrap
from .progress import ProgressError
from .sandbox import BYTES, lacking, run
from .workspace import Workspace, WorkspaceError

Finding = tuple[str, str, str]  # what, what was found, what it means


def findings(folder: Path | None, style: Style) -> list[Finding]:
    """Everything, in the order in which it matters."""
    engine = ("engine", "minidl doctor", "says what else this machine has")
    return [_workspace(folder), _bank(), _sandbox(), _watching(), _terminal(style), engine]


def _workspace(folder: Path | None) -> Finding:
    try:
        workspace = Workspace.find(folder)
    except (WorkspaceError, ProgressError) as error:
        return "exercises", "none", str(error)
    gone = [id for id, one in bank().items() if not workspace.path(one).exists()]
    means = f"{workspace.done} of {len(bank())} solved"
    if gone:
        means = f"files are missing: {', '.join(gone)}; `minidl learn init` writes those that are"
    return "exercises", str(workspace.folder), means


def _bank() -> Finding:
    return "bank", f"{len(bank())} exercises", "they come with minidl"


def _sandbox() -> Finding:
    if lacking():
        return "sandbox", "missing", lacking()
    exercise = next(iter(bank().values()))
    found = run(exercise, exercise.source("solution"), "doctor.py")
    if found["verdict"] != "passed":
        return "sandbox", "does not work", f"the reference of {exercise.id}: {found}"
    memory = "by the system" if sys.platform == "linux" else "by watching"
    return "sandbox", "works", f"{found['seconds']:.1f} s for {exercise.id}; memory held to {BYTES >> 30} GiB {memory}"


def _watching() -> Finding:
    if importlib.util.find_spec("watchfiles") is None:
        return "file watching", "by polling", 'watchfiles is not installed: pip install "minidl[learn]"'
    if os.environ.get("WSL_DISTRO_NAME") or Path("/.dockerenv").exists():
        return (
            "file watching",
            "by watchfiles",
            "in WSL or a container it may hear nothing: then minidl learn --poll, or r",
        )
    return "file watching", "by watchfiles", "minidl learn sees a saved file at once"


def _terminal(style: Style) -> Finding:
    where = "a terminal" if sys.stdin.isatty() and sys.stdout.isatty() else "no terminal"
    looks = (
        f"{'colour' if style.colour else 'no colour'}, {'words' if style.plain else 'symbols'}, language {style.lang}"
    )
    return "terminal", where, looks


def lines(found: list[Finding], style: Style) -> list[str]:
    """The findings below each other."""
    column = max(wide(what) for what, _, _ in found) + 2
    shown = []
    for what, state, means in found:
        shown += [f"{pad(what, column)}{state}".rstrip(), *wrap(means, " " * column)]
    return shown
