"""A verdict as lines of text, for a learner: what failed first, what it looks like, where the engine has the same.

The verdict comes as plain values: `minidl.learn.examine.summary` or `minidl.learn.sandbox.run`.
"""

from __future__ import annotations

import importlib
import math
import re
from dataclasses import dataclass
from typing import Any

from .bank import Exercise, bank
from .language import text
from .layout import Style, cut, wide, wrap
from .words import say

PROBLEMS = 3  # that are shown of a stage without -v
LINES = 10  # of what the learner's file printed
SYMBOLS = {"passed": "✓", "wrong": "✗", "error": "✗", "not started": "·"}
COLOURS = {"passed": "green", "wrong": "red", "error": "red", "not started": "yellow"}


@dataclass
class Place:
    """Where a verdict stands in a workspace: file, progress, and what follows from it. All of it may be unknown."""

    path: str = ""
    done: int = 0
    total: int = 0
    solution: str = ""  # where the reference has been put
    unlocked: tuple[str, ...] = ()


def report(exercise: Exercise, found: dict[str, Any], style: Style, place: Place | None = None, verbose: bool = False,
           source: str = "") -> list[str]:  # fmt: skip
    """The lines about a verdict. `source` is the learner's text, to show a line of it."""
    place = place or Place()
    word = found["verdict"]
    lines = [header(exercise, style, place), verdict_line(found, style)]
    if found.get("output"):
        lines += output(found["output"], style, verbose)
    if word == "not started":
        lines += wrap(say("edit", style.lang, path=(place.path or exercise.names[0]) + _begun(found)), "  ")
    elif word == "passed":
        lines += success(exercise, style, place)
    elif "trouble" in found:
        lines += trouble(found["trouble"], style, source)
    elif found["problems"]:
        lines += failure(found, style, verbose)
    elif found.get("exception"):
        lines += exception(found["exception"], style)
    if word in ("wrong", "error"):
        lines += advice(exercise, found, style)
    return lines


def _begun(found: dict[str, Any]) -> str:
    """Where a file that has been begun raises NotImplementedError still, as ":18"; the stub itself is not even run."""
    frames = (found.get("exception") or {}).get("frames")
    return f":{frames[-1]['line']}" if frames else ""


def header(exercise: Exercise, style: Style, place: Place) -> str:
    """Id, title, difficulty, how far the learner is, the file."""
    position = ""
    if place.total:
        filled = round(10 * place.done / place.total)
        bar = "" if style.plain else "▓" * filled + "░" * (10 - filled) + " "
        position = f"  {bar}{place.done}/{place.total}"
    dots = f"  {style.dots(exercise.difficulty)}" if exercise.difficulty else ""
    ends = f"{dots}{position}"
    name = cut(f"{exercise.id}  {text(exercise.title, style.lang)}", style.width - wide(ends))
    line = style.paint(name, "bold") + ends
    if place.path and wide(name + ends) + wide(place.path) + 2 <= style.width:
        line += "  " + style.paint(place.path, "dim")
    return line


def verdict_line(found: dict[str, Any], style: Style) -> str:
    """The verdict, and how many checks held."""
    word = found["verdict"]
    shown = say(word, style.lang) if style.plain else f"{SYMBOLS[word]} {say(word, style.lang)}"
    numbers = {"held": found["held"], "all": found["observations"], "statistical": found["statistical"],
               "seed": found["seed"], "seconds": found["seconds"]}  # fmt: skip
    more = ""
    if word == "passed":
        more = say("checks with statistics" if found["statistical"] else "checks", style.lang, **numbers)
    elif word in ("wrong", "error") and found["observations"]:
        more = say("held", style.lang, stage=say(found["stage"], style.lang), **numbers)
    return f"{style.paint(shown, COLOURS[word], 'bold')}  {more}".rstrip()


def output(printed: str, style: Style, verbose: bool) -> list[str]:
    """What the learner's file wrote, shortened; control characters are shown, so that they cannot move the cursor."""
    safe = "".join(c if c.isprintable() or c == "\n" else " " if c == "\t" else f"\\x{ord(c):02x}" for c in printed)
    lines = safe.rstrip("\n").split("\n")
    shown = len(lines) if verbose else LINES
    kept = [f"  | {line if verbose else cut(line, style.width - 4)}" for line in lines[:shown]]
    if len(lines) > shown:
        kept.append(f"  | {say('cut', style.lang, count=len(lines) - shown)}")
    return [f"  {say('printed', style.lang)}", *kept]


def failure(found: dict[str, Any], style: Style, verbose: bool) -> list[str]:
    """The problems of the first stage that failed; with -v all of them, and those of later stages."""
    problems, stage = found["problems"], found["stage"]
    lines: list[str] = []
    shown = 0
    said: set[str] = set()
    if stage == "forbidden":
        problems = _gathered(problems)
    for one in problems:
        what, *rest = problem(one, stage, style, elements=verbose or not shown)
        # the same words about another input say nothing new, nor does the same race in another block or more often
        words = re.sub(r" of block \d+| \(\d+ times\)", "", " ".join(line.strip() for line in rest))
        if verbose or (shown < PROBLEMS and (not rest or words not in said)):
            lines += [what, *rest]
            shown += 1
            said.add(words)
    if len(problems) > shown:
        lines += wrap(say("more", style.lang, count=len(problems) - shown), "  ")
    stage = ""
    for one in found.get("later", []) if verbose else []:
        if one["stage"] != stage:
            stage = one["stage"]
            lines += wrap(say("later", style.lang, stage=say(stage, style.lang)), "  ")
        lines += problem(one, stage, style)
    return lines


def _gathered(problems: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The forbidden names as one problem; loops apart."""
    names = [one["what"] for one in problems if one["what"] != "loops"]
    together = {**problems[0], "what": ", ".join(f"`{name}`" for name in names)}
    return [*([together] if names else []), *(one for one in problems if one["what"] == "loops")]


def problem(one: dict[str, Any], stage: str, style: Style, elements: bool = True) -> list[str]:
    """One problem: for which input, and what was different; of arrays also the first elements."""
    lang, kind = style.lang, one["kind"]
    if kind == "missing":
        return wrap(say("missing", lang, expected=one["expected"]), "  ")
    if stage == "forbidden":
        key = "loops" if one["what"] == "loops" else "uses"
        return wrap(say(key, lang, **one), "  ")
    lines = wrap(one["what"], "  ")
    factor = "1" if one["ratio"] is None else f"{one['ratio']:.4g}"
    ratio = "" if factor == "1" else f"   (\N{MULTIPLICATION SIGN}{factor})"
    if kind == "values":
        lines += wrap(
            say("elements", lang, count=one["count"], size=one["size"], ratio=ratio.replace("   ", " ")), "    "
        )
        if one["bad"]:
            lines[-1] += ", " + say("bad", lang, bad=one["bad"])
        for m in one["mismatches"] if elements else []:
            got, expected = _apart(m["got"], m["expected"])
            place = str(m["index"]) if m["index"] else ""
            lines += wrap(f"{place}  {say('value', lang, expected=expected, got=got, ratio='')}".strip(), "      ")
        return lines
    got, expected = one["got"], one["expected"]
    if kind in ("value", "bound"):
        got, expected = _apart(got, expected)
        if one["relation"] == "near":
            expected += f" ± {one['tolerance']:.2g}"
        elif one["relation"] in ("at least", "at most"):
            expected = say(one["relation"], lang, expected=expected)
        return [*lines, *wrap(say("value", lang, got=got, expected=expected, ratio=ratio), "    ")]
    if kind == "type":
        names = [say(n, lang) if n in ("number", "array") else n for n in (str(got), str(expected))]
        key = "nothing" if names[0] == "None" else "type"
        return [*lines, *wrap(say(key, lang, got=names[0], expected=names[1]), "    ")]
    return [*lines, *wrap(say(kind, lang, got=got, expected=expected), "    ")]


def _apart(got: Any, expected: Any) -> tuple[str, str]:
    """Two values as texts that differ, with as few digits as that takes, at least four."""
    for digits in range(4, 18):
        texts = _rounded(got, digits), _rounded(expected, digits)
        if texts[0] != texts[1]:
            return texts
    return str(got), str(expected)


def _rounded(value: Any, digits: int) -> str:
    """A number with so many digits; what is none, NaN among it, as it stands."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.{digits}g}"
    return str(value)


def exception(error: dict[str, Any], style: Style) -> list[str]:
    """What the learner's code raised, where in the learner's own file, and for which input."""
    lines: list[str] = []
    for frame in error["frames"]:
        where = say("raised", style.lang, **frame) if frame["function"] not in ("", "<module>") else say(
            "line", style.lang, line=frame["line"])  # fmt: skip
        lines += [f"  {where}", f"    {frame['code'].strip()}"]
    if error["caret"] is not None and error["frames"]:
        code = error["frames"][-1]["code"]
        lines.append("    " + " " * (error["caret"] - 1 - (len(code) - len(code.lstrip()))) + "^")
    lines += wrap(f"{error['type']}: {error['message']}".rstrip(": "), "  ")
    for note in error["notes"]:
        lines += wrap(note, "  ")
    if not error["frames"]:
        lines += wrap(say("outside", style.lang), "  ")
    return lines


def trouble(what: dict[str, Any], style: Style, source: str) -> list[str]:
    """Why a run ended without a verdict."""
    kind = what["kind"]
    values = {**what, "gigabytes": what.get("bytes", 0) / 2**30, "names": ", ".join(what.get("names", []))}
    lines = wrap(say("early" if what.get("early") else kind, style.lang, **values), "  ")
    texts = source.splitlines()
    for line in what.get("lines", [])[:1]:
        lines += [
            f"  {say('where', style.lang, line=line)}",
            f"    {texts[line - 1].strip()}" if line <= len(texts) else "",
        ]
    return lines


def advice(exercise: Exercise, found: dict[str, Any], style: Style) -> list[str]:
    """The misconception, the engine's own function, an experiment."""
    lines = []
    if found["misconception"]:
        belief = text(exercise.wrong[found["misconception"]], style.lang)
        lines += [style.paint(line, "yellow") for line in wrap(belief, "  " + say("looks", style.lang))]
    see = [engine(exercise), f"minidl demo {exercise.demo}" if exercise.demo else ""]
    if any(see):
        lines.append("  " + say("see", style.lang) + "   ".join(filter(None, see)))
    return lines


def success(exercise: Exercise, style: Style, place: Place) -> list[str]:
    """Why it matters, the engine's own function, the next question, what follows."""
    lang = style.lang
    lines = wrap(text(exercise.why, lang), "  " + say("why", lang), "    ") if text(exercise.why, lang) else []
    lines += [f"  {say('engine', lang)}{engine(exercise)}"] if exercise.engine else []
    if text(exercise.followup, lang):
        lines += wrap(text(exercise.followup, lang), "  " + say("followup", lang), "    ")
    lines += [f"  {say('copy', lang)}{place.solution}"] if place.solution else []
    titles = [f"{id} {text(bank()[id].title, lang)}" for id in place.unlocked]
    return lines + (wrap(", ".join(titles), "  " + say("unlocked", lang), "    ") if titles else [])


def engine(exercise: Exercise) -> str:
    """file:line of the engine's own version."""
    from ..kernels import location

    if not exercise.engine:
        return ""
    module, _, path = exercise.engine.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return location(found)


def plain_values(exercise: Exercise, found: dict[str, Any], place: Place, style: Style) -> dict[str, Any]:
    """All that `report` says, for a program."""
    name = found["misconception"]
    belief = {"name": name, "text": text(exercise.wrong[name], style.lang)} if name else None
    return {**found, "misconception": belief, "engine": engine(exercise), "demo": exercise.demo, "file": place.path,
            "solved": place.done, "exercises": place.total, "solution": place.solution, "unlocked": list(place.unlocked),
            "why": text(exercise.why, style.lang), "followup": text(exercise.followup, style.lang)}  # fmt: skip


def strict(value: Any) -> Any:
    """Plain values that are JSON, which has no NaN."""
    if isinstance(value, dict):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
