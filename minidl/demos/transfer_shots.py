"""Does transfer help? By the number of labels, from a near source and from a far one.

The target is to tell digits apart with 1, 5 or 20 labelled images ("shots") of each. What is transferred is a hidden layer that
has learned from other images of digits: near, with noise added, or far, with all pixels moved by one permutation, so that the
layer has learned where things are in a world that is not ours. It is frozen, and only a new head learns, or it is tuned with the
head. The same number of steps goes into a network from scratch, and, as a control, into a head on random features, frozen:
whoever does no better than that has transferred nothing.

Near features help where labels are few, and the lead is gone at 20 of each: by then the target's own images say as much. Far
features, frozen, are much worse than what the network learns from scratch, and mostly worse than random ones: negative transfer.
Tuning repairs it, as far features then are no more than first weights.
"""

from __future__ import annotations

import copy
from typing import Any

import minidl as md
from minidl import nn, optim

from .common import accuracy, digit_rows, fit
from .demo import Demo, Figure, Measured, Track
from .plots import lines

SHOTS = (1, 5, 20)
WAYS = ("near.frozen", "near.tuned", "scratch", "far.tuned", "random.frozen", "far.frozen")


def first_of_each(x: Any, y: Any, shots: int) -> tuple[Any, Any]:
    """So many images of each digit."""
    rows = md.cat([(y == c).nonzero()[:shots, 0] for c in range(10)])
    return x[rows], y[rows]


def network(hidden: nn.Module) -> Any:
    return nn.Sequential(hidden, nn.ReLU(), nn.Linear(64, 10))


def measure(seed: int, track: Track) -> Measured:
    x, y, x_test, y_test = digit_rows(seed)
    half = len(x) // 2  # the source has images of its own
    images = {"near": x[:half] + 0.5 * md.randn_like(x[:half]), "far": x[:half, md.randperm(64)]}
    learned = {}
    for source, x_source in images.items():
        model = network(nn.Linear(64, 64))
        fit(model, optim.Adam(model.parameters(), lr=0.003), x_source, y[:half], 400)
        learned[source] = model[0]
    scores = {}
    for shots in track(SHOTS):
        x_few, y_few = first_of_each(x[half:], y[half:], shots)
        for way in WAYS:
            source, frozen = way.split(".")[0], way.endswith("frozen")
            model = network(copy.deepcopy(learned[source]) if source in learned else nn.Linear(64, 64))
            model[0].requires_grad_(not frozen)
            fit(
                model,
                optim.Adam(model[2].parameters() if frozen else model.parameters(), lr=0.003),
                x_few,
                y_few,
                200,
                32,
            )
            scores[way, shots] = accuracy(model, x_test, y_test)
    figures = {f"{way}.{shots}": scores[way, shots] for shots in (1, 20) for way in WAYS}
    figures |= {f"near.gain.{shots}": scores["near.frozen", shots] - scores["scratch", shots] for shots in (1, 20)}
    figures["far.loss.20"] = scores["scratch", 20] - scores["far.frozen", 20]
    figures["random.lead.20"] = scores["random.frozen", 20] - scores["far.frozen", 20]
    return figures, {way: [scores[way, shots] for shots in SHOTS] for way in WAYS}


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    names = {way: ", ".join(way.split(".")) if "." in way else "from scratch" for way in WAYS}
    lines(ax, {names[way]: (SHOTS, shown[way]) for way in WAYS}, markers=len(SHOTS))
    ax.set(xscale="log", xlabel="labelled images of each digit", ylabel="test accuracy", ylim=(0, 1))
    ax.set_xticks(SHOTS, SHOTS, minor=False)
    ax.minorticks_off()


DEMO = Demo(
    name="transfer-shots",
    title="Digits from few labels, with features from elsewhere",
    statement="Transfer learning improves the generalization of the model on the target task.",
    verdict="refutes",
    because="A near source helps while labels are few; frozen features of a far one lose against training from scratch.",
    figures=(
        Figure("near.frozen.1", 0.6, 0.92, "test accuracy with 1 shot: near features, frozen"),
        Figure("near.tuned.1", 0.56, 0.89, "near features, tuned"),
        Figure("scratch.1", 0.5, 0.79, "from scratch"),
        Figure("far.tuned.1", 0.42, 0.8, "far features, tuned"),
        Figure("random.frozen.1", 0.4, 0.75, "random features, frozen"),
        Figure("far.frozen.1", 0.22, 0.69, "far features, frozen"),
        Figure("near.frozen.20", 0.86, 0.96, "test accuracy with 20 shots: near features, frozen"),
        Figure("near.tuned.20", 0.88, 0.97, "near features, tuned"),
        Figure("scratch.20", 0.85, 0.97, "from scratch"),
        Figure("far.tuned.20", 0.86, 0.97, "far features, tuned"),
        Figure("random.frozen.20", 0.66, 0.91, "random features, frozen"),
        Figure("far.frozen.20", 0.58, 0.84, "far features, frozen"),
        Figure("near.gain.1", 0, 0.3, "accuracy that near features, frozen, gain over from scratch, 1 shot"),
        Figure("near.gain.20", -0.05, 0.05, "and 20 shots"),
        Figure("far.loss.20", 0.09, 0.3, "accuracy that far features, frozen, lose against from scratch, 20 shots"),
        Figure("random.lead.20", -0.12, 0.3, "and against random ones"),
    ),
    seeds=12,
    measure=measure,
    draw=draw,
    picture="Test accuracy over the labelled images of each digit, 1, 5 and 20, as rising lines: near features lead at 1 and "
    "meet the network from scratch at 20; far features, frozen, stay far below.",
    topics=(1, 11, 21, 31, 41),
    sources=(
        "Yosinski et al., How transferable are features in deep neural networks?, 2014",
        "Raghu et al., Transfusion: understanding transfer learning for medical imaging, 2019",
    ),
    seconds=3,
)
