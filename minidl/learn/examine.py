"""Look at a learner's functions: the verdict, the first failing stage, and the misconception behind it.

    verdict = examine(bank()["init02"], subject, seed=0)

The checks run in their order, the costly ones last, and the first one that fails ends it. To name the misconception, every
stored wrong answer goes through the same checks with the same random numbers; the one that shows in all of them what the
learner's file shows, right or wrong, is what the learner has written.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

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
    observations   how many were made; `held` of them were as wanted
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
    misconception: str = ""
    exception: BaseException | None = None
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return self.verdict == "passed"


def examine(exercise: Exercise, subject: Subject, seed: int = 0) -> Verdict:
    """The verdict on a file that has been run."""
    began = time.perf_counter()
    if exercise.untouched(subject.source):
        return Verdict(exercise.id, "not started", seed)
    verdict = Verdict(exercise.id, "passed", seed)
    missing = [name for name in subject.names if name not in subject.objects]
    if missing:
        verdict.verdict, verdict.stage = "wrong", "signature"
        verdict.problems = [Problem("missing", name, None, name) for name in missing]
        return verdict
    checks = sorted(exercise.checks(), key=lambda check: check.costly)
    for i, check in enumerate(checks):
        seen = observe(check, subject, seed)
        found = [problem(one) for one in seen if not isinstance(one.got, BaseException)]
        verdict.observations += len(seen)
        verdict.held += sum(one is None for one in found)
        verdict.problems = [one for one in found if one is not None]
        raised = next((one for one in seen if isinstance(one.got, BaseException)), None)
        if raised is not None and not verdict.problems:
            verdict.exception = raised.got
            if isinstance(raised.got, NotImplementedError):
                verdict.verdict = "not started"
            elif isinstance(raised.got, MissingName):
                verdict.problems = [Problem("missing", str(raised.got), None, str(raised.got))]
        if raised is None and not verdict.problems:
            continue
        if verdict.verdict == "passed":
            verdict.verdict = "wrong" if verdict.problems else "error"
        verdict.stage = check.stage
        if verdict.verdict != "not started":
            verdict.misconception = diagnose(exercise, subject, checks, i, seen, seed)
        break
    verdict.seconds = time.perf_counter() - began
    return verdict


def observe(check: Check, subject: Subject, seed: int) -> list[Observation]:
    """What a check sees with the random numbers of a seed. An exception is the last thing seen.

    NumPy's warnings of overflow and the like are silent: the NaN is what a check sees and reports.
    """
    seen: list[Observation] = []
    try:
        with np.errstate(all="ignore"):
            for one in check.observe(subject, np.random.default_rng(seed)):
                seen.append(one)
    except Exception as error:  # the learner's code may raise anything
        seen.append(Observation("raised", error, None))
    return seen


def diagnose(
    exercise: Exercise, subject: Subject, checks: list[Check], failed: int, seen: list[Observation], seed: int
) -> str:
    """The wrong answer that shows what this file shows: in the check that failed, and in most of the others. Or ""."""
    agreeing = {}
    for name in exercise.wrong:
        variant = exercise.subject(f"wrong_{name}")
        if agree(seen, observe(checks[failed], variant, seed)):
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


def summary(verdict: Verdict) -> dict[str, Any]:
    """A verdict as plain JSON values."""
    plain: dict[str, Any] = {k: v for k, v in vars(verdict).items() if k not in ("problems", "exception")}
    plain["problems"] = [one.json() for one in verdict.problems]
    if verdict.exception is not None:
        plain["exception"] = f"{type(verdict.exception).__name__}: {verdict.exception}"
    return plain
