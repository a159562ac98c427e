"""Interview questions, claims to judge and figures to predict: read from TOML, and refused where something is missing.

`tutorials/questions/TOPIC.toml` has `[[question]]` tables, `claims.toml` `[[claim]]` tables, `predictions.toml` `[[prediction]]`
tables. Every text is two: `prompt.en` and `prompt.zh`. An error names the file, the record and the field.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from .language import LANGUAGES

FOLDER = Path(__file__).parent / "questions"
LEVELS = ("junior", "mid", "senior")
VERDICTS = ("true", "false", "half-true")
SEEDS = range(1, 51)  # the numbers of the questions that the project began with

Text = Mapping[str, str]
"""A text in both languages: {"en": ..., "zh": ...}."""
T = TypeVar("T")


class QuestionError(ValueError):
    """A question file that cannot be used: its file, the record, the field, and what was wanted."""


@dataclass(frozen=True)
class Point:
    """What a full answer contains; without a `must` point it is not passed."""

    text: Text
    must: bool
    weight: int


@dataclass(frozen=True)
class WrongAnswer:
    """What is often said instead, why it is wrong, which seed answer said it, and the demo that shows it."""

    text: Text
    why: Text
    seed: int | None
    demo: str | None


@dataclass(frozen=True)
class FollowUp:
    """What an interviewer asks next, and the point of the rubric that it goes deeper into, counted from 1."""

    prompt: Text
    answer: Text
    about: int


@dataclass(frozen=True)
class Source:
    """A work that states what the answer says."""

    ref: str
    title: str
    year: int
    url: str | None


@dataclass(frozen=True)
class Evidence:
    """A figure of a demo, or all of them."""

    demo: str
    figure: str | None


@dataclass(frozen=True)
class Question:
    """A question of an interview with all that is needed to judge an answer.

    short and full are answers of a minute and of a page, right is one sentence to be told from the wrong ones.
    """

    id: str
    seed: tuple[int, ...]
    topic: str
    level: str
    minutes: int
    tutorial: int
    prompt: Text
    short: Text
    full: Text
    right: Text
    rubric: tuple[Point, ...]
    wrong: tuple[WrongAnswer, ...]
    followups: tuple[FollowUp, ...]
    sources: tuple[Source, ...]
    evidence: tuple[Evidence, ...]
    exercises: tuple[str, ...]


@dataclass(frozen=True)
class Reason:
    """Why a claim is what it is; one of them is right."""

    text: Text
    right: bool


@dataclass(frozen=True)
class Claim:
    """A sentence to be judged."""

    id: str
    seed: tuple[int, ...]
    topic: str
    question: str
    claim: Text
    verdict: str
    reasons: tuple[Reason, ...]
    explanation: Text
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True)
class Prediction:
    """A figure of a demo to be guessed before it is measured."""

    id: str
    topic: str
    question: str
    prompt: Text
    explanation: Text
    evidence: Evidence


@dataclass(frozen=True)
class Bank:
    """Everything that can be asked, by id, in the order of the files."""

    questions: Mapping[str, Question]
    claims: Mapping[str, Claim]
    predictions: Mapping[str, Prediction]

    @property
    def topics(self) -> list[str]:
        """The topics of the questions, sorted."""
        return sorted({question.topic for question in self.questions.values()})


class _Record:
    """A table of a file: fields are taken out by name, and what nobody took is an error."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, dict):
            raise QuestionError(f"{where}: a table was expected, got {data!r}")
        self.data = dict(data)
        self.where = where

    def error(self, field: str, problem: str) -> QuestionError:
        return QuestionError(f"{self.where}: {field}: {problem}")

    def take(self, field: str, kind: type[T]) -> T:
        value = self.optional(field, kind)
        if value is None:
            raise self.error(field, "is missing")
        return value

    def optional(self, field: str, kind: type[T]) -> T | None:
        value = self.data.pop(field, None)
        if value is not None and type(value) is not kind:
            raise self.error(field, f"is {value!r}, expected {kind.__name__}")
        if value == "":
            raise self.error(field, "is empty")
        return value

    def choice(self, field: str, choices: Collection[str]) -> str:
        value = self.take(field, str)
        if value not in choices:
            raise self.error(field, f"is {value!r}, expected one of {', '.join(choices)}")
        return value

    def text(self, field: str) -> Text:
        return self._both(self.take(field, dict), field)

    def own_text(self) -> Text:
        """The fields en and zh of the record itself."""
        return self._both({name: self.data.pop(name, None) for name in LANGUAGES}, "")

    def _both(self, found: dict[str, Any], field: str) -> Text:
        for name in LANGUAGES:
            value = found.get(name)
            if not isinstance(value, str) or not value.strip():
                raise self.error(f"{field}.{name}".strip("."), "is missing; every text is in both languages")
        if len(found) > len(LANGUAGES):
            raise self.error(field, f"has {', '.join(sorted(found.keys() - set(LANGUAGES)))} beside en and zh")
        return found

    def records(self, field: str, least: int = 0) -> list[_Record]:
        found = self.optional(field, list) or []
        if len(found) < least:
            raise self.error(field, f"has {len(found)} entries, expected at least {least}")
        return [_Record(data, f"{self.where}: {field}[{i}]") for i, data in enumerate(found)]

    def strings(self, field: str) -> tuple[str, ...]:
        found = self.optional(field, list) or []
        if not all(isinstance(name, str) for name in found):
            raise self.error(field, f"is {found!r}, expected a list of names")
        return tuple(found)

    def seed(self) -> tuple[int, ...]:
        found = self.optional("seed", list) or []
        for number in found:
            if number not in SEEDS:
                raise self.error("seed", f"{number!r} is no number of a seed question, 1 to 50")
        return tuple(found)

    def done(self) -> None:
        if self.data:
            raise self.error(next(iter(self.data)), "is not a known field")


def _point(record: _Record) -> Point:
    return Point(record.own_text(), bool(record.optional("must", bool)), record.take("weight", int))


def _wrong(record: _Record) -> WrongAnswer:
    seed = record.optional("from", int)
    if seed is not None and seed not in SEEDS:
        raise record.error("from", f"{seed} is no number of a seed question, 1 to 50")
    return WrongAnswer(record.own_text(), record.text("why"), seed, record.optional("demo", str))


def _followup(record: _Record) -> FollowUp:
    return FollowUp(record.own_text(), record.text("answer"), record.take("about", int))


def _source(record: _Record) -> Source:
    return Source(
        record.take("ref", str), record.take("title", str), record.take("year", int), record.optional("url", str)
    )


def _evidence(record: _Record) -> Evidence:
    return Evidence(record.take("demo", str), record.optional("figure", str))


def _reason(record: _Record) -> Reason:
    return Reason(record.own_text(), bool(record.optional("right", bool)))


def _all(records: Iterable[_Record], make: Any) -> tuple[Any, ...]:
    made = []
    for record in records:
        made.append(make(record))
        record.done()
    return tuple(made)


def _question(record: _Record, id: str) -> Question:
    question = Question(
        id=id,
        seed=record.seed(),
        topic=record.take("topic", str),
        level=record.choice("level", LEVELS),
        minutes=record.take("minutes", int),
        tutorial=record.take("tutorial", int),
        prompt=record.text("prompt"),
        short=record.text("short"),
        full=record.text("full"),
        right=record.text("right"),
        rubric=_all(record.records("rubric", least=3), _point),
        wrong=_all(record.records("wrong", least=3), _wrong),
        followups=_all(record.records("followups", least=2), _followup),
        sources=_all(record.records("sources", least=1), _source),
        evidence=_all(record.records("evidence"), _evidence),
        exercises=record.strings("exercises"),
    )
    if not any(point.must for point in question.rubric):
        raise record.error("rubric", "no point has must = true, so that no answer could fail")
    for followup in question.followups:
        if not 1 <= followup.about <= len(question.rubric):
            raise record.error(
                "followups", f"about = {followup.about}, and the rubric has {len(question.rubric)} points"
            )
    return question


def _claim(record: _Record, id: str) -> Claim:
    claim = Claim(
        id=id,
        seed=record.seed(),
        topic=record.take("topic", str),
        question=record.take("question", str),
        claim=record.text("claim"),
        verdict=record.choice("verdict", VERDICTS),
        reasons=_all(record.records("reasons", least=3), _reason),
        explanation=record.text("explanation"),
        evidence=_all(record.records("evidence"), _evidence),
    )
    if sum(reason.right for reason in claim.reasons) != 1:
        raise record.error("reasons", "exactly one has right = true")
    return claim


def _prediction(record: _Record, id: str) -> Prediction:
    return Prediction(
        id=id,
        topic=record.take("topic", str),
        question=record.take("question", str),
        prompt=record.text("prompt"),
        explanation=record.text("explanation"),
        evidence=Evidence(record.take("demo", str), record.take("figure", str)),
    )


_MAKERS = {"question": _question, "claim": _claim, "prediction": _prediction}


def load(folder: Path = FOLDER) -> Bank:
    """All question files of a folder. Raises QuestionError at the first thing that is missing, unknown or said twice."""
    found: dict[str, dict[str, Any]] = {kind: {} for kind in _MAKERS}
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise QuestionError(f"{folder}: there are no question files here")
    for file in files:
        try:
            tables = tomllib.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise QuestionError(f"{file.name}: not TOML: {error}") from None
        for kind, records in tables.items():
            if kind not in _MAKERS:
                raise QuestionError(f"{file.name}: {kind}: expected one of {', '.join(_MAKERS)}")
            for number, data in enumerate(records):
                record = _Record(data, f"{file.name}: {kind} {number + 1}")
                id = record.take("id", str)
                record.where = f"{file.name}: {id}"
                if any(id in others for others in found.values()):
                    raise record.error("id", "is there twice")
                found[kind][id] = _MAKERS[kind](record, id)
                record.done()
    bank = Bank(found["question"], found["claim"], found["prediction"])
    items: list[Claim | Prediction] = [*bank.claims.values(), *bank.predictions.values()]
    for item in items:
        if item.question not in bank.questions:
            raise QuestionError(f"{item.id}: question: there is no question {item.question!r}")
    return bank


@cache
def bank() -> Bank:
    """What the package has, read once."""
    return load()


def unknown_references(bank: Bank, demos: Mapping[str, Collection[str]], exercises: Collection[str]) -> list[str]:
    """What the bank refers to and is not there: demos (name to names of figures) and exercises; one line each."""
    problems = []
    items: list[Question | Claim | Prediction] = [
        *bank.questions.values(),
        *bank.claims.values(),
        *bank.predictions.values(),
    ]
    for item in items:
        evidence = item.evidence if isinstance(item.evidence, tuple) else (item.evidence,)
        wrong = item.wrong if isinstance(item, Question) else ()
        for found in (*evidence, *(Evidence(answer.demo, None) for answer in wrong if answer.demo)):
            if found.demo not in demos:
                problems.append(f"{item.id}: evidence: there is no demo {found.demo!r}")
            elif found.figure is not None and found.figure not in demos[found.demo]:
                problems.append(f"{item.id}: evidence: demo {found.demo!r} has no figure {found.figure!r}")
        if isinstance(item, Question):
            problems += [f"{item.id}: exercises: there is no {id!r}" for id in item.exercises if id not in exercises]
    return problems


def texts(bank: Bank) -> Iterator[tuple[str, Text]]:
    """Every text of a bank with where it is: what a check of words goes through."""
    for question in bank.questions.values():
        for name in ("prompt", "short", "full", "right"):
            yield f"{question.id}: {name}", getattr(question, name)
        for number, point in enumerate(question.rubric):
            yield f"{question.id}: rubric[{number}]", point.text
        for number, wrong in enumerate(question.wrong):
            yield f"{question.id}: wrong[{number}]", wrong.text
            yield f"{question.id}: wrong[{number}].why", wrong.why
        for number, followup in enumerate(question.followups):
            yield f"{question.id}: followups[{number}]", followup.prompt
            yield f"{question.id}: followups[{number}].answer", followup.answer
    for claim in bank.claims.values():
        yield f"{claim.id}: claim", claim.claim
        yield f"{claim.id}: explanation", claim.explanation
        for number, reason in enumerate(claim.reasons):
            yield f"{claim.id}: reasons[{number}]", reason.text
    for prediction in bank.predictions.values():
        yield f"{prediction.id}: prompt", prediction.prompt
        yield f"{prediction.id}: explanation", prediction.explanation
