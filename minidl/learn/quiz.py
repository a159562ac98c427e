"""What a quiz asks and how it judges; the dialogue is in dialogue.py, the schedule in schedule.py.

A question gives two cards: recall (say the answer, then tick the points of the rubric) and choice (one right sentence among wrong
answers). A claim and a prediction give one each. Nothing that is typed is judged by keywords: the learner ticks.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

from . import schedule
from .questions import Bank, Claim, Point, Prediction, Question, WrongAnswer

MODES = ("recall", "choice", "claim", "predict")


@dataclass(frozen=True)
class Card:
    """One thing to be asked: `id` is its key in the progress file."""

    id: str
    mode: str
    topic: str
    item: Question | Claim | Prediction


def cards(bank: Bank, topic: str | None = None, mode: str | None = None) -> list[Card]:
    """All cards, of one topic or one mode if asked for."""
    questions, claims, predictions = bank.questions.values(), bank.claims.values(), bank.predictions.values()
    items: list[tuple[str, Question | Claim | Prediction]] = [
        *(("recall", question) for question in questions),
        *(("choice", question) for question in questions),
        *(("claim", claim) for claim in claims),
        *(("predict", prediction) for prediction in predictions),
    ]
    found = [Card(f"{mode}:{item.id}", mode, item.topic, item) for mode, item in items]
    return [card for card in found if topic in (None, card.topic) and mode in (None, card.mode)]


def session(
    found: Sequence[Card], records: Mapping[str, schedule.Record], at: datetime, random: Random, count: int
) -> list[Card]:
    """The cards to ask now: those that are due, the longest overdue first, then new ones in an order of chance.

    Without a schedule, those that were never asked, then the ones asked longest ago.
    """
    mixed = random.sample(found, len(found))
    new = [card for card in mixed if card.id not in records]
    old = [card for card in mixed if card.id in records]
    if schedule.installed():
        waiting = sorted(
            (card for card in old if schedule.due(records[card.id], at)), key=lambda card: str(records[card.id]["due"])
        )
        return [*waiting, *new][:count]
    return [*new, *sorted(old, key=lambda card: str(records[card.id].get("last_review", "")))][:count]


def missed(question: Question, ticked: Collection[int]) -> list[Point]:
    """The points of the rubric that were not made; `ticked` counts from 1."""
    return [point for number, point in enumerate(question.rubric, 1) if number not in ticked]


def share(question: Question, ticked: Collection[int]) -> float:
    """The weight of the points that were made, of all."""
    lost = sum(point.weight for point in missed(question, ticked))
    return 1 - lost / sum(point.weight for point in question.rubric)


def recalled(question: Question, ticked: Collection[int]) -> str:
    """The rating of a recalled answer: "again" if a point is missing that must be there."""
    if any(point.must for point in missed(question, ticked)):
        return "again"
    made = share(question, ticked)
    return "easy" if made == 1 else "good" if made >= 0.7 else "hard"


def choices(question: Question, random: Random, most: int = 4) -> list[WrongAnswer | None]:
    """What is offered in a choice: the right sentence (None) among wrong answers, in an order of chance."""
    wrong = random.sample(question.wrong, min(most - 1, len(question.wrong)))
    return random.sample([None, *wrong], len(wrong) + 1)


def judged(claim: Claim, verdict: str, right: bool) -> str:
    """The rating of a judged claim: the verdict, and whether the right reason was chosen."""
    if verdict != claim.verdict:
        return "again"
    return "good" if right else "hard"


def off(guess: float, low: float, high: float) -> float:
    """By which factor a guess misses a band: 1 within it, 10 for ten times too much or a tenth of what is right.

    A band that is not positive has no such factor: there, 1 within it and infinity outside.
    """
    if low <= guess <= high:
        return 1.0
    if low <= 0 or guess <= 0 or not math.isfinite(guess):
        return math.inf
    return max(low / guess, guess / high)


def guessed(factor: float) -> str:
    """The rating of a guess that misses by a factor."""
    return "easy" if factor <= 1.2 else "good" if factor <= 2 else "hard" if factor <= 10 else "again"


def summary(bank: Bank, records: Mapping[str, schedule.Record], at: datetime) -> list[dict[str, Any]]:
    """A row a topic: how many cards there are, were asked and are due, how often one was missed, and what is remembered."""
    rows = []
    for topic in bank.topics:
        found = cards(bank, topic)
        asked = [records[card.id] for card in found if card.id in records]
        kept = [
            0.0 if record.get("rating") == "again" else value  # missed a minute ago is not remembered
            for record in asked
            if (value := schedule.retention(record, at)) is not None
        ]
        rows.append(
            {
                "topic": topic,
                "cards": len(found),
                "asked": len(asked),
                "due": sum(schedule.due(record, at) for record in asked),
                "reviews": sum(record.get("asked", 0) for record in asked),
                "missed": sum(record.get("missed", 0) for record in asked),
                "retention": sum(kept) / len(kept) if kept else None,
            }
        )
    return rows
