"""When a card is asked again: FSRS, a model of memory, from the package fsrs (pip install "minidl[learn]").

A card's record in the progress file holds what FSRS knows of it (state, step, stability, difficulty, due, last_review), how often
it was asked and missed, and the last rating. Without the package cards are still asked and counted, in no schedule.

Source: Ye, Su & Cao, "A Stochastic Shortest Path Algorithm for Optimizing Spaced Repetition Scheduling" (2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

RATINGS = ("again", "hard", "good", "easy")
MISSING = 'fsrs is not installed, so cards come in no schedule; pip install "minidl[learn]" adds it'

Record = Mapping[str, Any]


def installed() -> bool:
    """Whether there is a schedule."""
    return find_spec("fsrs") is not None


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def check(records: Mapping[str, Record], path: Path) -> None:
    """Raises ValueError for a record that is no card's: a damaged file."""
    for id, record in records.items():
        try:
            if "due" in record:
                due(record, now()), retention(record, now())
            int(record.get("asked", 0)), int(record.get("missed", 0))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise ValueError(f"{path}: the card {id} cannot be read ({error!r}); mend or remove its record") from None


def due(record: Record, at: datetime) -> bool:
    """Whether a card that was asked before is to be asked again."""
    return "due" in record and datetime.fromisoformat(record["due"]) <= at


def reviewed(record: Record, rating: str, at: datetime) -> dict[str, Any]:
    """A card's record after a review, with the next due date; {} for a card that is new."""
    if rating not in RATINGS:
        raise ValueError(f"reviewed: rating {rating!r}: it is one of {', '.join(RATINGS)}")
    after = dict(record)
    if installed():
        import fsrs

        scheduler = fsrs.Scheduler(enable_fuzzing=False)
        card, _ = scheduler.review_card(_card(record, at), fsrs.Rating(RATINGS.index(rating) + 1), at)
        after |= card.to_dict()
        del after["card_id"]
    else:
        after["last_review"] = at.isoformat()
    after["asked"] = record.get("asked", 0) + 1
    after["missed"] = record.get("missed", 0) + (rating == "again")
    after["rating"] = rating
    return after


def retention(record: Record, at: datetime) -> float | None:
    """The probability that a card is still remembered; None for one without a schedule."""
    if "due" not in record or not installed():
        return None
    import fsrs

    return fsrs.Scheduler().get_card_retrievability(_card(record, at), at)


def _card(record: Record, at: datetime) -> Any:
    import fsrs

    if "due" not in record:
        return fsrs.Card(card_id=0, due=at)
    names = ("state", "step", "stability", "difficulty", "due", "last_review")
    return fsrs.Card.from_dict({"card_id": 0, **{name: record[name] for name in names}})  # type: ignore[typeddict-item]
