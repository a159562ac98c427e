"""`minidl quiz`, `stats` and `mock`: questions of interviews, asked again when they are about to be forgotten."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import app, fail

if TYPE_CHECKING:
    from ..learn.language import Language
    from ..learn.questions import Bank

Lang = Annotated[str | None, typer.Option(help="en or zh (default: MINIDL_LANG, else the locale)")]
Plain = Annotated[bool, typer.Option("--plain", help="no colour, 80 columns")]
Seed = Annotated[int | None, typer.Option(help="seed of what is chosen, and in which order")]


def _opened(lang: str | None) -> tuple[Language, Bank, Path, dict[str, Any]]:
    """The language, everything that can be asked, and the progress; what cannot be used ends the command."""
    from ..learn import progress, questions, schedule
    from ..learn.language import language

    try:
        path = progress.default_path()
        data = progress.load(path)
        schedule.check(data["cards"], path)
        return language(lang), questions.bank(), path, data
    except (ValueError, OSError) as error:
        fail(str(error))


@app.command()
def quiz(
    topic: Annotated[str | None, typer.Option(help="ask about one topic only")] = None,
    mode: Annotated[str | None, typer.Option(help="recall, choice, claim or predict (default: all)")] = None,
    count: Annotated[int, typer.Option(min=1, help="how many cards at most")] = 10,
    run: Annotated[bool, typer.Option("--run", help="run the demo behind a prediction")] = False,
    seed: Seed = None,
    lang: Lang = None,
    plain: Plain = False,
) -> None:
    """Questions of interviews: recall an answer, choose one, judge a claim, predict a figure. q, Ctrl-D or Ctrl-C ends it.

    What was answered is kept in progress.json and asked again when it is about to be forgotten.
    Example: minidl quiz --topic initialization --mode claim
    """
    from ..learn import progress, schedule
    from ..learn.dialogue import Dialogue, Ended
    from ..learn.quiz import MODES, cards, session

    chosen_language, bank, path, data = _opened(lang)
    if topic is not None and topic not in bank.topics:
        fail(f"--topic {topic}: it is one of {', '.join(bank.topics)}")
    if mode is not None and mode not in MODES:
        fail(f"--mode {mode}: it is one of {', '.join(MODES)}")
    if not schedule.installed():
        typer.echo(f"minidl: {schedule.MISSING}", err=True)
    offered = cards(bank, topic, mode)
    if not offered:
        fail(f"--topic {topic} --mode {mode}: there is no such card; leave out one of them")
    random = Random(seed)
    found = session(offered, data["cards"], schedule.now(), random, count)
    dialogue = Dialogue(chosen_language, plain)
    answered: list[str] = []
    code = 0
    try:
        for card in found:
            rating = dialogue.put(card, random, run)
            record = schedule.reviewed(progress.load(path)["cards"].get(card.id, {}), rating, schedule.now())
            progress.update(path, "cards", card.id, record)
            answered.append(rating)
    except Ended:
        pass
    except KeyboardInterrupt:
        code = 130
    except (ValueError, OSError) as error:
        fail(str(error), code=1)
    again = answered.count("again")
    dialogue.say()
    if answered:
        dialogue.say(dialogue.word("answered", answered=len(answered), count=len(found), again=again, path=path))
    elif found:
        dialogue.say(dialogue.word("nothing answered"))
    else:
        soonest = min(data["cards"][card.id]["due"] for card in offered)
        dialogue.say(dialogue.word("nothing due", when=soonest[:16].replace("T", " ")))
    raise typer.Exit(code)


@app.command()
def mock(
    minutes: Annotated[int, typer.Option(min=1, help="how long it is to take; nothing is cut off")] = 30,
    level: Annotated[str, typer.Option(help="junior, mid or senior")] = "senior",
    report: Annotated[Path | None, typer.Option(help="write the report to this file, in Markdown")] = None,
    seed: Seed = None,
    lang: Lang = None,
    plain: Plain = False,
) -> None:
    """An interview: questions of a level, what you know least first, each with two follow-ups into what you left out.

    You tick what you said; the report shows points, what was missed and what to do next. q, Ctrl-D or Ctrl-C ends it.
    Example: minidl mock --minutes 15 --level mid --report interview.md
    """
    from time import monotonic

    from ..learn import mock as mocking
    from ..learn import progress, schedule
    from ..learn.dialogue import Dialogue, Ended
    from ..learn.questions import LEVELS
    from ..learn.quiz import recalled

    chosen, bank, path, data = _opened(lang)
    if level not in LEVELS:
        fail(f"--level {level}: it is one of {', '.join(LEVELS)}")
    if report is not None and not report.absolute().parent.is_dir():
        fail(f"--report {report}: there is no folder {report.absolute().parent}")
    dialogue = Dialogue(chosen, plain)
    asked = mocking.plan(bank, data["cards"], level, minutes, schedule.now(), Random(seed))
    begin, answers, code = monotonic(), [], 0
    try:
        for number, question in enumerate(asked, 1):
            passed = (monotonic() - begin) / 60
            dialogue.say()
            dialogue.say(
                dialogue.word("clock", number=number, count=len(asked), passed=passed, minutes=minutes), "cyan"
            )
            answers.append(dialogue.interview(question))
            rating, id = recalled(question, answers[-1].ticked), f"recall:{question.id}"
            record = schedule.reviewed(progress.load(path)["cards"].get(id, {}), rating, schedule.now())
            progress.update(path, "cards", id, record)
            dialogue.deeper(answers[-1])
    except Ended:
        pass
    except KeyboardInterrupt:
        code = 130
    except (ValueError, OSError) as error:
        fail(str(error), code=1)
    dialogue.say()
    if not answers:
        dialogue.say(dialogue.word("nothing answered"))
        raise typer.Exit(code)
    written = mocking.report(answers, level, (monotonic() - begin) / 60, chosen)
    if report is None:
        typer.echo(written, nl=False)
    else:
        from ..serialization import write_whole

        write_whole(report, written.encode())
        dialogue.say(dialogue.word("report", path=report))
    raise typer.Exit(code)


@app.command()
def stats(lang: Lang = None, plain: Plain = False) -> None:
    """What was asked, what is due and what is remembered, by topic; exercises that are solved."""
    from rich.table import Table

    from ..learn import schedule
    from ..learn.dialogue import Dialogue
    from ..learn.quiz import summary

    chosen, bank, _, data = _opened(lang)
    dialogue = Dialogue(chosen, plain)
    table = Table(box=None) if plain else Table()
    for number, heading in enumerate(dialogue.word("columns").split()):
        table.add_column(heading, justify="right" if number else "left")
    rows = summary(bank, data["cards"], schedule.now())
    for row in rows:
        kept = "" if row["retention"] is None else f"{row['retention']:.0%}"
        missed = f"{row['missed']}/{row['reviews']}" if row["reviews"] else ""
        table.add_row(row["topic"], str(row["cards"]), str(row["asked"]), str(row["due"]), missed, kept)
    dialogue.console.print(table)
    solved = sum(bool(record.get("solved")) for record in data["exercises"].values())
    dialogue.say(dialogue.word("totals", due=sum(row["due"] for row in rows), solved=solved))
    if not schedule.installed():
        typer.echo(f"minidl: {schedule.MISSING}", err=True)
