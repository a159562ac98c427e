"""Look at a learner's functions: the verdict, the first failing stage, and the misconception behind it.

    verdict = examine(bank()["init02"], subject, seed=0)

The checks run in their order, the costly ones last, and the first one that fails ends it. To name the misconception, every
stored wrong answer goes through the same checks with the same random numbers; the one that shows in all of them what the
learner's file shows, right or wrong, is what the learner has written.
"""

from __future__ import annotations

import linecache
import time
import traceback
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..sim.errors import KernelError
from .bank import Exercise
from .checks import Check, MissingName, Observation, Subject
from .compare import Problem, problem, same

VERDICTS = ("not started", "error", "wrong", "passed")


@dataclass
class Verdict:
    """What `examine` found.

    verdict        one of VERDICTS
    stage          the stage that failed ("" if none did)
    problems       what was wrong in it, in the order of the checks
    observations   how many were made; `held` of them were as wanted, `statistical` of them judged by a standard error
    later          what was wrong in the checks after that one, as (stage, problem), where they were asked for
    misconception  NAME of the wrong_NAME.py that shows the same, or ""
    exception      what the learner's code raised
    """

    exercise: str
    verdict: str
    seed: int
    stage: str = ""
    problems: list[Problem] = field(default_factory=list)
    observations: int = 0
    held: int = 0
    statistical: int = 0
    later: list[tuple[str, Problem]] = field(default_factory=list)
    misconception: str = ""
    exception: BaseException | None = None
    seconds: float = 0.0
    failed: int = field(default=-1, repr=False)  # place of the check that failed, among those of `in_order`
    seen: list[Observation] = field(default_factory=list, repr=False)  # what it saw

    def _ipython_display_(self) -> None:
        """Nothing: `check` has printed it."""

    @property
    def passed(self) -> bool:
        return self.verdict == "passed"


def examine(exercise: Exercise, subject: Subject, seed: int = 0, thorough: bool = False) -> Verdict:
    """The verdict on a file that has been run.

    thorough: go on with the checks after the first one that fails, too (`later`).
    """
    verdict = judge(exercise, subject, seed, thorough)
    verdict.misconception = misconception(exercise, subject, verdict)
    return verdict


def judge(exercise: Exercise, subject: Subject, seed: int = 0, thorough: bool = False) -> Verdict:
    """The same without the misconception."""
    began = time.perf_counter()
    if exercise.untouched(subject.source):
        return Verdict(exercise.id, "not started", seed)
    verdict = Verdict(exercise.id, "passed", seed)
    missing = [name for name in subject.names if name not in subject.objects]
    if missing:
        verdict.verdict, verdict.stage = "wrong", "signature"
        verdict.problems = [Problem("missing", name, None, name) for name in missing]
        return verdict
    for i, check in enumerate(in_order(exercise)):
        seen = observe(check, subject, seed)
        problems, raised = _problems(verdict, seen)
        if verdict.stage:
            verdict.later += [(check.stage, one) for one in problems]
        elif problems or raised is not None:
            verdict.failed, verdict.seen, verdict.stage, verdict.problems = i, seen, check.stage, problems
            verdict.verdict = "wrong" if problems else "error"
            if not problems:
                verdict.exception = raised
            if isinstance(verdict.exception, NotImplementedError):
                verdict.verdict = "not started"
            if not thorough or verdict.verdict != "wrong":
                break
    verdict.seconds = time.perf_counter() - began
    return verdict


def in_order(exercise: Exercise) -> list[Check]:
    """The checks of an exercise, the costly ones last."""
    return sorted(exercise.checks(), key=lambda check: check.costly)


def _problems(verdict: Verdict, seen: list[Observation]) -> tuple[list[Problem], BaseException | None]:
    """What is wrong in what a check saw, which is counted, and the exception that ended it."""
    problems: list[Problem] = []
    raised = None
    for one in seen:
        if isinstance(one.got, MissingName):
            problems.append(Problem("missing", str(one.got), None, str(one.got)))
        elif isinstance(one.got, BaseException):
            raised = one.got
        else:
            wrong = problem(one)
            problems += [] if wrong is None else [wrong]
            verdict.held += wrong is None
    verdict.observations += len(seen)
    verdict.statistical += sum(bool(one.noise > 0) for one in seen)
    return problems, raised


def observe(check: Check, subject: Subject, seed: int) -> list[Observation]:
    """What a check sees with the random numbers of a seed. An exception is the last thing seen.

    NumPy's warnings of overflow and the like are silent: the NaN is what a check sees and reports.
    """
    seen: list[Observation] = []
    try:
        with np.errstate(all="ignore"):
            for one in check.observe(subject, np.random.default_rng(seed)):
                seen.append(one)
    except (Exception, SystemExit) as error:  # the learner's code may raise anything
        seen.append(Observation("raised", error, None))
    return seen


def misconception(exercise: Exercise, subject: Subject, verdict: Verdict) -> str:
    """The wrong answer that shows what this file shows: in the check that failed, and in most of the others. Or ""."""
    if verdict.failed < 0 or verdict.verdict == "not started":
        return ""
    checks, failed, seed = in_order(exercise), verdict.failed, verdict.seed
    agreeing = {}
    for name in exercise.wrong:
        variant = exercise.subject(f"wrong_{name}")
        if agree(verdict.seen, observe(checks[failed], variant, seed)):
            agreeing[name] = variant
    if len(agreeing) <= 1:
        return next(iter(agreeing), "")
    others = [check for i, check in enumerate(checks) if i != failed and not check.costly]
    mine = [observe(check, subject, seed) for check in others]
    score = {
        name: sum(agree(a, observe(check, variant, seed)) for a, check in zip(mine, others, strict=True))
        for name, variant in agreeing.items()
    }
    return max(score, key=lambda name: score[name])


def agree(a: list[Observation], b: list[Observation]) -> bool:
    """Whether two lists of observations are the same."""
    return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))


def solves(exercise: Exercise, name: str, seed: int = 0) -> Verdict:
    """The verdict on one of the exercise's own files: "solution" or "wrong_NAME"."""
    return examine(exercise, exercise.subject(name), seed)


def summary(verdict: Verdict, *files: str) -> dict[str, Any]:
    """A verdict as plain JSON values; of an exception the places in these files, which are the learner's."""
    apart = ("problems", "later", "exception", "failed", "seen")
    plain: dict[str, Any] = {name: value for name, value in vars(verdict).items() if name not in apart}
    plain["problems"] = [one.json() for one in verdict.problems]
    plain["later"] = [{"stage": stage, **one.json()} for stage, one in verdict.later]
    if verdict.exception is not None:
        plain["exception"] = _raised(verdict.exception, files)
    return plain


def _raised(error: BaseException, files: tuple[str, ...]) -> dict[str, Any]:
    frames: list[dict[str, Any]] = []
    for frame in traceback.extract_tb(error.__traceback__):
        place = {"line": frame.lineno, "function": frame.name, "code": frame.line or ""}
        if frame.filename in files and (not frames or frames[-1] != place):  # a recursion once
            frames.append(place)
    if (
        isinstance(error, KernelError) and error.line and error.file in files
    ):  # the simulator's, about the learner's line
        code = linecache.getline(error.file, error.line).rstrip()
        frames = [{"line": error.line, "function": error.kernel, "code": code}]
    caret = None
    if isinstance(error, SyntaxError) and error.filename in files:
        frames = [{"line": error.lineno, "function": "", "code": (error.text or "").rstrip()}]
        caret = error.offset
    try:
        message = str(error.msg if isinstance(error, SyntaxError) else error)
    except Exception:  # a learner's own exception class may not even print
        message = ""
    notes = [str(note) for note in getattr(error, "__notes__", [])]
    return {
        "type": type(error).__name__,
        "message": message[:2000],
        "frames": frames[-8:],
        "caret": caret,
        "notes": notes,
    }
