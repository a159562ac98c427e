"""A mock interview: which questions, what is asked next, and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

from . import quiz, schedule
from .language import Language, text
from .questions import LEVELS, Bank, FollowUp, Question


@dataclass
class Answer:
    """One question as it went: what was said, the points that were made, and each follow-up with what was said to it."""

    question: Question
    said: str
    ticked: set[int]
    followups: list[tuple[FollowUp, str]] = field(default_factory=list)


def plan(
    bank: Bank, records: Mapping[str, schedule.Record], level: str, minutes: int, at: datetime, random: Random
) -> list[Question]:
    """Questions that fill the time, at least one: the nearest level first, then the topics that are known least."""
    rank = LEVELS.index(level)
    mixed = random.sample(list(bank.questions.values()), len(bank.questions))
    known = {question.id: _known(records.get(f"recall:{question.id}", {}), at) for question in mixed}
    mixed.sort(key=lambda question: (abs(LEVELS.index(question.level) - rank), known[question.id]))
    chosen, left = mixed[:1], minutes - mixed[0].minutes
    for question in mixed[1:]:
        if question.minutes <= left and question.topic not in {other.topic for other in chosen}:
            chosen.append(question)
            left -= question.minutes
    return chosen


def _known(record: schedule.Record, at: datetime) -> float:
    """What is remembered of an answer, from 0; nothing of one that was never asked or was missed last."""
    if record.get("rating", "again") == "again":
        return 0.0
    return schedule.retention(record, at) or 0.5


def report(answers: Sequence[Answer], level: str, minutes: float, lang: Language) -> str:
    """The interview in Markdown: a score a question, the points that were missed, what was said, what to do next."""
    words = _WORDS[lang]
    made = sum(quiz.share(answer.question, answer.ticked) for answer in answers) / max(len(answers), 1)
    lines = [f"# {words['title']}", "", words["head"].format(level=level, minutes=minutes, score=made), ""]
    lines += [words["columns"], "|---|---|---|---|"]
    for answer in answers:
        rating = quiz.recalled(answer.question, answer.ticked)
        score = f"{quiz.share(answer.question, answer.ticked):.0%}"
        lines.append(f"| {text(answer.question.prompt, lang)} | {answer.question.topic} | {score} | {words[rating]} |")
    for answer in answers:
        lines += ["", f"## {text(answer.question.prompt, lang)}", ""]
        lines += [*(f"> {line}" for line in answer.said.splitlines()), ""]
        missed = quiz.missed(answer.question, answer.ticked)
        for point in sorted(missed, key=lambda point: not point.must):
            lines.append(f"- {words['must'] if point.must else words['missed']}{text(point.text, lang)}")
        for followup, said in answer.followups:
            lines += ["", f"**{text(followup.prompt, lang)}**", ""]
            lines += [*(f"> {line}" for line in said.splitlines()), "", text(followup.answer, lang)]
        places = [f"`minidl demo {evidence.demo}`" for evidence in answer.question.evidence]
        places += [f"`minidl learn run {id}`" for id in answer.question.exercises]
        if missed and places:
            lines += ["", words["then"] + ", ".join(places)]
    return "\n".join(lines) + "\n"


_WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "title": "Mock interview",
        "head": "Level {level}, {minutes:.0f} minutes, {score:.0%} of the weight of all points.",
        "columns": "| question | topic | points made | |",
        "must": "missed, must be there: ",
        "missed": "missed: ",
        "then": "Next: ",
        **{"again": "again", "hard": "hard", "good": "good", "easy": "easy"},
    },
    "zh": {
        "title": "模拟面试",
        "head": "级别 {level}，用时 {minutes:.0f} 分钟，要点得分 {score:.0%}。",
        "columns": "| 题目 | 主题 | 要点得分 | |",
        "must": "漏答（必答）：",
        "missed": "漏答：",
        "then": "接下来：",
        **{"again": "重来", "hard": "勉强", "good": "良好", "easy": "轻松"},
    },
}
