"""Does a second task help the first?

The first task is to say whether a digit is 5 or more. A second one is learned beside it, with a head of its own on the same
hidden layer and a loss that weighs five times as much. Related: which of the ten digits it is. It knows more than the first, since
five or more is a group of digits. Unrelated: a label drawn at random for each image, which can only be learned by heart.

With 30 labels of both tasks, on the same images, even the related task gains next to nothing here: the first task has no
image more to learn from. Labels of further images, where the second task has them and the first has none, do help if the task
is related, more or less from seed to seed, and random ones do not. With all labels the second task only pulls at the weights, and
the related one pulls harder, as it can be learned.
"""

from __future__ import annotations

from typing import Any

import minidl as md
from minidl import nn, optim

from .common import accuracy, digit_rows, fit
from .demo import Demo, Figure, Measured, Track
from .plots import bars

FEW, STEPS, WEIGHT = 30, 300, 5.0
DRAWS = 3  # of the few; accuracies are means over them
TASKS = ("alone", "related", "random")


class TwoHeads(nn.Module):
    """A hidden layer and a head for each task: outputs (B, 2) of the first, then (B, 10) of the second."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.first, self.second = nn.Linear(64, 2), nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        h = self.hidden(x)
        return md.cat([self.first(h), self.second(h)], 1)


class FirstOnly(nn.Module):
    """The network, asked for the first task."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Any) -> Any:
        return self.model(x)[:, :2]


def loss(weight: float) -> Any:
    """Cross-entropy of the first task plus weight times that of the second; labels (B, 2), one column for each task."""

    def of_both(outputs: Any, labels: Any) -> Any:
        first = nn.functional.cross_entropy(outputs[:, :2], labels[:, 0])
        return first + weight * nn.functional.cross_entropy(outputs[:, 2:], labels[:, 1])

    return of_both


def mixed(x: Any, labels: Any, few: Any) -> tuple[Any, Any]:
    """All images, which have labels of the second task, beside as many copies of the few that have one of the first, too."""
    copies = len(x) // len(few)
    second_only = md.stack([md.full_like(labels[:, 0], -100), labels[:, 1]], 1)  # cross_entropy leaves -100 out
    return md.cat([x, *copies * [x[few]]]), md.cat([second_only, *copies * [labels[few]]])


def measure(seed: int, track: Track) -> Measured:
    x, y, x_test, y_test = digit_rows(seed)
    second = {"alone": y, "related": y, "random": md.randint(0, 10, y.shape)}

    def score(task: str, x_run: Any, labels: Any, steps: int = STEPS) -> float:
        model = TwoHeads()
        weight = WEIGHT * (task != "alone")
        fit(model, optim.Adam(model.parameters(), lr=0.003), x_run, labels, steps, loss=loss(weight))
        return accuracy(FirstOnly(model), x_test, (y_test >= 5).long())

    scores: dict[str, list[float]] = {}
    for number in track(range(DRAWS)):
        few = md.arange(FEW * number, FEW * (number + 1))
        for task in TASKS:
            labels = md.stack([(y >= 5).long(), second[task]], 1)
            scores.setdefault(f"{task}.few", []).append(score(task, x[few], labels[few]))
            if task != "alone":
                scores.setdefault(f"{task}.more", []).append(score(task, *mixed(x, labels, few), 2 * STEPS))
            if number == 0:
                scores[f"{task}.all"] = [score(task, x, labels)]
    figures = {run: sum(values) / len(values) for run, values in scores.items()}
    for task in TASKS[1:]:
        for amount in ("few", "more", "all"):
            alone = figures["alone.all" if amount == "all" else "alone.few"]
            figures[f"{task}.gain.{amount}"] = figures[f"{task}.{amount}"] - alone
    return figures, {}


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    names = {"alone": "alone", "related": "beside which digit it is", "random": "beside random labels"}
    amounts = {"few": f"{FEW} labels\nof each task", "more": f"{FEW} labels,\nall of the second", "all": "all labels"}
    figures = {"alone.more": figures["alone.few"], **figures}
    bars(ax, list(amounts.values()),
         {name: [figures[f"{task}.{amount}"] for amount in amounts] for task, name in names.items()})  # fmt: skip
    ax.set(ylabel="test accuracy: five or more?", ylim=(0.5, 1.15))


DEMO = Demo(
    name="multitask-aux",
    title="Five or more? Alone, and beside a second task",
    statement="Multi-task learning helps generalization and reduces the need for data.",
    verdict="refutes",
    because="On the same images even a closely related task gains next to nothing, and with all labels it costs; what it brings, "
    "it brings by labels of further images.",
    figures=(
        Figure("alone.few", 0.66, 0.85, "test accuracy with 30 labels: alone"),
        Figure("related.few", 0.66, 0.83, "beside which digit it is, on the same images"),
        Figure("random.few", 0.64, 0.83, "beside random labels of the same images"),
        Figure("related.more", 0.72, 0.87, "beside which digit it is, on all images"),
        Figure("random.more", 0.63, 0.86, "beside random labels of all images"),
        Figure("alone.all", 0.94, 1, "test accuracy with all labels: alone"),
        Figure("related.all", 0.88, 0.98, "beside which digit it is"),
        Figure("random.all", 0.91, 1, "beside random labels"),
        Figure("related.gain.few", -0.06, 0.03, "accuracy gained, 30 labels: which digit it is, on the same images"),
        Figure("random.gain.few", -0.11, 0.06, "random labels of the same images"),
        Figure("related.gain.more", -0.02, 0.12, "which digit it is, on all images"),
        Figure("random.gain.more", -0.07, 0.03, "random labels of all images"),
        Figure("related.gain.all", -0.08, 0.005, "accuracy gained, all labels: which digit it is"),
        Figure("random.gain.all", -0.05, 0.02, "random labels"),
    ),
    seeds=12,
    measure=measure,
    draw=draw,
    picture="Test accuracy as bars, with 30 labels of each task, with 30 and all of the second task, and with all labels: "
    "alone, beside the related task, beside random labels.",
    topics=(2,),
    sources=(
        "Caruana, Multitask learning, 1997",
        "Standley et al., Which tasks should be learned together in multi-task learning?, 2020",
    ),
    seconds=5,
)
