"""`minidl learn`: exercises in a folder of the learner's, checked in a process of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import app, fail

if TYPE_CHECKING:
    from ..learn.bank import Exercise
    from ..learn.layout import Style
    from ..learn.workspace import Workspace

learn = typer.Typer(rich_markup_mode=None, help="Exercises: write a function, have it checked, see what you believed.")
app.add_typer(learn, name="learn")

Dir = Annotated[Path | None, typer.Option("--dir", help="the folder of exercises (default: found from here)")]
Lang = Annotated[str | None, typer.Option("--lang", help="en or zh (default: that of the exercises)")]
Plain = Annotated[bool, typer.Option("--plain", help="words instead of symbols, no colour")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON value")]
Id = Annotated[str | None, typer.Argument(help="an exercise (default: the current one)")]
Seed = Annotated[int, typer.Option(help="seed of the checks' random numbers")]


@contextmanager
def _ending() -> Iterator[None]:
    """What a learner may do wrong ends in one line."""
    from ..learn.progress import ProgressError
    from ..learn.workspace import WorkspaceError

    try:
        yield
    except (WorkspaceError, ProgressError, OSError) as error:
        fail(str(error), code=1)
    except KeyboardInterrupt:
        typer.echo("\nminidl: stopped", err=True)
        raise typer.Exit(130) from None


def _style(asked: str | None, stored: str | None, plain: bool) -> Style:
    import os

    from ..learn.language import language
    from ..learn.layout import style

    try:
        return style(language(asked or os.environ.get("MINIDL_LANG") or stored), plain)
    except ValueError as error:
        fail(str(error))


def _open(dir: Path | None, lang: str | None, plain: bool) -> tuple[Workspace, Style]:
    from ..learn.workspace import Workspace

    workspace = Workspace.find(dir)
    return workspace, _style(lang, workspace.language, plain)


def _echo(lines: list[str]) -> None:
    typer.echo("\n".join(lines))


def _json(value: Any) -> None:
    from ..learn.report import strict

    typer.echo(json.dumps(strict(value), ensure_ascii=False, indent=1))


@learn.callback(invoke_without_command=True)
def watch(
    context: typer.Context,
    dir: Dir = None,
    lang: Lang = None,
    plain: Plain = False,
    poll: Annotated[bool, typer.Option(help="look at the file now and then, where the system does not tell")] = False,
    seed: Seed = 0,
) -> None:
    """Exercises: write a function, have it checked, see what you believed.

    Without a command: watch the current exercise and check it whenever its file is saved. `minidl learn init` comes first.
    """
    import sys

    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that lacks a character is no reason to stop
    if context.invoked_subcommand is not None:
        return
    from ..learn.sandbox import lacking
    from ..learn.watch import watch as watching
    from ..learn.words import say

    with _ending():
        workspace, style = _open(dir, lang, plain)
        if lacking():
            fail(lacking(), code=1)
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            fail(say("no terminal", style.lang), code=1)
        raise typer.Exit(watching(workspace, style, poll, seed))


@learn.command()
def init(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="new folder (default: minidl-exercises)")
    ] = None,
    lang: Lang = None,
    plain: Plain = False,
    as_json: Json = False,
) -> None:
    """Write the exercises into a folder of your own; again: add those that are new. Your files are never overwritten."""
    from ..learn.words import say
    from ..learn.workspace import DEFAULT, Workspace, WorkspaceError

    with _ending():
        if folder is None:
            try:
                folder = Workspace.find().folder
            except WorkspaceError:
                folder = Path(DEFAULT)
        workspace, new = Workspace.make(folder, _style(lang, None, plain).lang, lang is not None)
        style = _style(lang, workspace.language, plain)
        if as_json:
            _json({"folder": str(folder.resolve()), "new": [one.id for one in new], "current": workspace.current.id})
            return
        typer.echo(say("made", style.lang, count=len(new), folder=folder))
        if folder.resolve() != Path.cwd():
            typer.echo(say("begin", style.lang, folder=folder))


@learn.command("list")
def list_exercises(
    topic: Annotated[str | None, typer.Option(help="one topic only")] = None,
    core: Annotated[bool, typer.Option("--core", help="the short way through the bank")] = False,
    graph: Annotated[bool, typer.Option("--graph", help="what each builds on")] = False,
    dir: Dir = None,
    lang: Lang = None,
    plain: Plain = False,
    as_json: Json = False,
) -> None:
    """The exercises, in an order in which each comes after those that it builds on, with your progress."""
    from ..learn import views

    with _ending():
        workspace, style = _open(dir, lang, plain)
        chosen = views.chosen(topic, core, style.lang)
        if as_json:
            _json(views.rows(workspace, chosen, style))
        else:
            _echo(views.graph(chosen, style) if graph else views.table(workspace, chosen, style))


@learn.command()
def run(
    id: Id = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="every problem, of every stage")] = False,
    seed: Seed = 0,
    dir: Dir = None,
    lang: Lang = None,
    plain: Plain = False,
    as_json: Json = False,
) -> None:
    """Check one exercise. The exit status is 0 if it passes."""
    from ..learn.report import plain_values, report

    with _ending():
        workspace, style = _open(dir, lang, plain)
        exercise = workspace.exercise(id)
        found, place = workspace.check(exercise, seed, thorough=verbose)
        if as_json:
            _json(plain_values(exercise, found, place, style))
        else:
            _echo(report(exercise, found, style, place, verbose, workspace.source(exercise)))
        raise typer.Exit(0 if found["verdict"] == "passed" else 1)


@learn.command("check-all")
def check_all(seed: Seed = 0, dir: Dir = None, lang: Lang = None, plain: Plain = False, as_json: Json = False) -> None:
    """Check every exercise that was begun; what was solved and fails now is pending again. The exit status is 0 if none does."""
    from ..learn.words import say

    with _ending():
        workspace, style = _open(dir, lang, plain)
        verdicts = {}
        for exercise, verdict, again in workspace.check_all(seed):
            verdicts[exercise.id] = verdict
            if not as_json:
                typer.echo(f"{exercise.id:8}  {say(verdict, style.lang)}")
                if again:
                    typer.echo(say("failed again", style.lang, id=exercise.id))
        if as_json:
            _json({"verdicts": verdicts, "solved": workspace.done})
        else:
            typer.echo(say("solved", style.lang, done=workspace.done, all=workspace.total))
        raise typer.Exit(1 if any(verdict in ("wrong", "error") for verdict in verdicts.values()) else 0)


@learn.command()
def hint(
    id: Id = None,
    level: Annotated[int | None, typer.Option("-n", min=1, max=3, help="1 idea, 2 shapes, 3 nearly all")] = None,
    dir: Dir = None,
    lang: Lang = None,
    plain: Plain = False,
    as_json: Json = False,
) -> None:
    """A hint; again: a deeper one."""
    from ..learn import views

    with _ending():
        workspace, style = _open(dir, lang, plain)
        exercise = workspace.exercise(id)
        shown = workspace.hint(exercise, level)
        if as_json:
            _json({"exercise": exercise.id, "level": shown, "hint": exercise.hints[shown - 1][style.lang]})
        else:
            _echo(views.hint(exercise, shown, style))


@learn.command()
def solution(
    id: Id = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    dir: Dir = None,
    lang: Lang = None,
    plain: Plain = False,
    as_json: Json = False,
) -> None:
    """The reference answer. Before you have solved it, it asks, and marks the exercise as assisted."""
    from ..learn.words import say

    with _ending():
        workspace, style = _open(dir, lang, plain)
        exercise = workspace.exercise(id)
        if not yes and not workspace.solved(exercise.id):
            typer.confirm(say("ask solution", style.lang, id=exercise.id), abort=True, err=True)
        source = workspace.assist(exercise)
        if as_json:
            _json({"exercise": exercise.id, "solution": source})
        else:
            typer.echo(source.rstrip())


def _arrived(workspace: Workspace, exercise: Exercise | None, style: Style, as_json: bool) -> None:
    """Say which exercise is the current one now."""
    from ..learn import views

    if exercise is not None:
        workspace.go(exercise)
    if as_json:
        _json({"current": exercise.id if exercise else None})
    else:
        _echo(views.arrived(workspace, exercise, style))


@learn.command("next")
def next_exercise(dir: Dir = None, lang: Lang = None, plain: Plain = False, as_json: Json = False) -> None:
    """Go on to the next exercise that is not solved."""
    from ..learn.words import say

    with _ending():
        workspace, style = _open(dir, lang, plain)
        if not workspace.solved(workspace.current.id):
            fail(say("unsolved", style.lang, id=workspace.current.id), code=1)
        _arrived(workspace, workspace.following(), style, as_json)


@learn.command()
def goto(
    id: Annotated[str, typer.Argument(help="an exercise")],
    dir: Dir = None,
    lang: Lang = None,
    plain: Plain = False,
    as_json: Json = False,
) -> None:
    """Go to any exercise."""
    with _ending():
        workspace, style = _open(dir, lang, plain)
        _arrived(workspace, workspace.exercise(id), style, as_json)


@learn.command()
def skip(
    reason: Annotated[str, typer.Argument(help="why, for yourself")] = "",
    dir: Dir = None,
    lang: Lang = None,
    plain: Plain = False,
    as_json: Json = False,
) -> None:
    """Go on without the current exercise; it comes again at the end."""
    with _ending():
        workspace, style = _open(dir, lang, plain)
        workspace.skip(reason)
        _arrived(workspace, workspace.following(), style, as_json)


@learn.command()
def reset(
    id: Annotated[str, typer.Argument(help="an exercise")],
    dir: Dir = None,
    lang: Lang = None,
    plain: Plain = False,
    as_json: Json = False,
) -> None:
    """Put the stub back. What you had is kept under backups/."""
    from ..learn import views

    with _ending():
        workspace, style = _open(dir, lang, plain)
        exercise = workspace.exercise(id)
        backup = workspace.reset(exercise)
        if as_json:
            _json({"exercise": exercise.id, "backup": None if backup is None else str(backup)})
        else:
            typer.echo(views.put_back(workspace, exercise, backup, style))


@learn.command()
def diff(id: Id = None, dir: Dir = None, lang: Lang = None, plain: Plain = False, as_json: Json = False) -> None:
    """Your answer beside the reference, after you have solved it."""
    from ..learn import views
    from ..learn.words import say

    with _ending():
        workspace, style = _open(dir, lang, plain)
        exercise = workspace.exercise(id)
        if not workspace.solved(exercise.id):
            fail(say("diff after", style.lang, id=exercise.id), code=1)
        if as_json:
            _json({"exercise": exercise.id, "diff": workspace.diff(exercise)})
        else:
            _echo(views.diff(workspace, exercise, style))


@learn.command()
def doctor(dir: Dir = None, lang: Lang = None, plain: Plain = False, as_json: Json = False) -> None:
    """What the exercises need, and whether it is here."""
    from ..learn.doctor import findings, lines
    from ..learn.progress import ProgressError
    from ..learn.workspace import WorkspaceError

    with _ending():
        try:
            style = _open(dir, lang, plain)[1]
        except (WorkspaceError, ProgressError):  # which is one of the findings
            style = _style(lang, None, plain)
        found = findings(dir, style)
        if as_json:
            _json([{"what": what, "found": state, "means": means} for what, state, means in found])
        else:
            _echo(lines(found, style))
