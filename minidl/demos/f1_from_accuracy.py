"""F1 joins precision and recall. What if one takes accuracy for precision?

The task is to find the eights among the digits: one in ten. Accuracy counts the many others that are rightly left alone, so it
is high for a classifier that finds nothing, and for one that finds everything and much besides. Precision asks how many of
those found are eights. 2 P R / (P + R) is small when either is; with accuracy in the place of precision it is not. The names
are near enough to be taken for each other, in Chinese above all: precision is 精确率 or 查准率, accuracy 准确率.

A linear classifier is looked at twice: as it calls an eight what is likeliest an eight, and as it calls an eight what may be
one with a probability of 1 %.
"""

from __future__ import annotations

from typing import Any

import minidl as md
from minidl import metrics, nn, optim

from .common import digit_rows, fit
from .demo import Demo, Figure, Measured, Track
from .plots import bars

DIGIT = 8


def mean(a: float, b: float) -> float:
    """The harmonic mean, 0 if either is."""
    return 2 * a * b / (a + b) if a and b else 0.0


def scores(found: Any, truth: Any) -> dict[str, float]:
    """Of two boolean tensors (N,): accuracy, precision, recall, F1, and what comes out with accuracy instead of precision."""
    table = {
        "accuracy": metrics.accuracy_score(truth, found),
        "precision": metrics.precision_score(truth, found, zero_division=0),
        "recall": metrics.recall_score(truth, found),
        "f1": metrics.f1_score(truth, found),
    }
    return {**table, "mistaken": mean(table["accuracy"], table["recall"])}


def measure(seed: int, track: Track) -> Measured:
    x, y, x_test, y_test = digit_rows(seed)
    model = nn.Linear(64, 10)
    fit(model, optim.Adam(model.parameters(), lr=0.01), x, y, 300)
    with md.no_grad():
        outputs = model(x_test)
    truth, share = y_test == DIGIT, outputs.softmax(1)[:, DIGIT]
    found = {
        "never": truth & False,
        "likeliest": outputs.argmax(1) == DIGIT,
        "lenient": share >= 0.01,
    }
    table = {name: scores(which, truth) for name, which in found.items()}
    figures = {f"{name}.{score}": value for name, row in table.items() for score, value in row.items()}
    del figures["never.precision"], figures["never.mistaken"]  # nothing is found, so there is no precision
    return figures, {}


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    names = ["accuracy", "precision", "recall", "f1", "mistaken"]
    bars(ax, ["accuracy", "precision", "recall", "F1", "accuracy\nand recall"],
         {who: [figures.get(f"{who}.{name}", 0.0) for name in names] for who in ("never", "likeliest", "lenient")})  # fmt: skip
    ax.set(ylim=(0, 1.3))


DEMO = Demo(
    name="f1-from-accuracy",
    title="Finding the eights: F1, and accuracy taken for precision",
    statement="F1 combines accuracy and recall.",
    verdict="refutes",
    because="F1 is made of precision and recall: with accuracy instead, finding every eight and much besides looks good.",
    figures=(
        Figure("never.accuracy", 0.9, 0.91, "finds nothing: accuracy"),
        Figure("never.recall", 0, 0, "finds nothing: recall"),
        Figure("never.f1", 0, 0, "finds nothing: F1"),
        Figure("likeliest.accuracy", 0.95, 1, "likeliest class: accuracy"),
        Figure("likeliest.precision", 0.7, 1, "likeliest class: precision"),
        Figure("likeliest.recall", 0.73, 1, "likeliest class: recall"),
        Figure("likeliest.f1", 0.76, 1, "likeliest class: F1"),
        Figure("likeliest.mistaken", 0.83, 1, "likeliest class: accuracy and recall"),
        Figure("lenient.accuracy", 0.5, 0.7, "a share of 1 %: accuracy"),
        Figure("lenient.precision", 0.15, 0.24, "a share of 1 %: precision"),
        Figure("lenient.recall", 0.96, 1, "a share of 1 %: recall"),
        Figure("lenient.f1", 0.27, 0.39, "a share of 1 %: F1"),
        Figure("lenient.mistaken", 0.67, 0.83, "a share of 1 %: accuracy and recall"),
    ),
    seeds=20,
    measure=measure,
    draw=draw,
    picture="Accuracy, precision, recall, F1 and the harmonic mean of accuracy and recall as bars, for a classifier that finds "
    "nothing, one that takes the likeliest class, and one that takes an eight for likely from 1 % on.",
    topics=(9, 20, 30, 40, 50),
    sources=("van Rijsbergen, Information retrieval, 1979", "Saito & Rehmsmeier, The precision-recall plot is more informative "
             "than the ROC plot when evaluating binary classifiers on imbalanced datasets, 2015"),
    seconds=1,
)  # fmt: skip
