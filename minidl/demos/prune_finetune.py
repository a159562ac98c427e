"""What do 90 % of the weights matter?

The smallest weights of a trained network are set to 0, counted over all layers. Nine of ten can go, it is said, since small
weights do not matter. One by one they do not; together they carry much of the answer, and accuracy falls by about half. What is
left has to learn to do without them: some hundred steps of fine-tuning bring nearly all of it back.

Fine-tuning needs the mask. The gradient of a weight that is zero is not zero, so an optimizer that is not told moves it at its first
step. Without a mask only those weights stay at zero that get no gradient: of pixels that are always blank, and between units that
are cut off on both sides.
"""

from __future__ import annotations

from typing import Any

from minidl import nn, optim
from minidl.compression import copy_of, make_permanent, prune_to, sparsity, weights

from ..pictures import GREY
from .common import accuracy, digit_rows, fit
from .demo import Demo, Figure, Measured, Track
from .plots import lines

AMOUNTS = (0.0, 0.5, 0.8, 0.9, 0.95)


def pruned(model: Any, amount: float) -> Any:
    small = copy_of(model)
    prune_to(weights(small), amount, scope="global")
    return small


def measure(seed: int, track: Track) -> Measured:
    x, y, x_test, y_test = digit_rows(seed)
    dense = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    fit(dense, optim.Adam(dense.parameters(), lr=0.003), x, y, 600)

    def tuned(model: Any) -> Any:
        fit(model, optim.Adam(model.parameters(), lr=0.003), x, y, 300)
        return model

    at_once, after = [], []
    for amount in track(AMOUNTS):
        small = pruned(dense, amount)
        at_once.append(accuracy(small, x_test, y_test))
        after.append(accuracy(tuned(small), x_test, y_test))
        if amount == 0.9:
            zeros = sparsity(weights(make_permanent(small)))
    unmasked = tuned(make_permanent(pruned(dense, 0.9)))
    figures = {"dense": accuracy(dense, x_test, y_test), "zeros": zeros, "zeros.unmasked": sparsity(weights(unmasked))}
    for amount in (0.5, 0.9, 0.95):
        figures[f"pruned.{amount:.0%}".rstrip("%")] = at_once[AMOUNTS.index(amount)]
        figures[f"tuned.{amount:.0%}".rstrip("%")] = after[AMOUNTS.index(amount)]
    figures["gain.90"] = figures["tuned.90"] - figures["pruned.90"]
    return figures, {"at once": at_once, "after 300 steps with the mask": after}


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    lines(ax, {name: (AMOUNTS, curve) for name, curve in shown.items()}, markers=len(AMOUNTS))
    ax.axhline(figures["dense"], color=GREY, linewidth=1)
    ax.set(xlabel="share of the weights that are pruned", ylabel="test accuracy", ylim=(0, 1.08))


DEMO = Demo(
    name="prune-finetune",
    title="The smallest weights pruned, before and after fine-tuning",
    statement="Pruning removes the weights that do not matter.",
    verdict="refutes",
    because="Without the smallest nine of ten accuracy falls far: they matter together, until what is left has learned "
    "to do without them.",
    figures=(
        Figure("dense", 0.93, 1, "test accuracy before"),
        Figure("pruned.50", 0.91, 1, "half of the weights pruned"),
        Figure("tuned.50", 0.93, 1, "after 300 steps with the mask"),
        Figure("pruned.90", 0.1, 0.85, "90 % pruned"),
        Figure("tuned.90", 0.89, 1, "after 300 steps with the mask"),
        Figure("gain.90", 0.08, 1, "accuracy that these bring back"),
        Figure("pruned.95", 0.04, 0.59, "95 % pruned"),
        Figure("tuned.95", 0.6, 1, "after 300 steps with the mask"),
        Figure("zeros", 0.899, 0.901, "share of zeros after 300 steps with the mask of 90 %"),
        Figure("zeros.unmasked", 0.08, 0.4, "and without it"),
    ),
    seeds=12,
    measure=measure,
    draw=draw,
    picture="Test accuracy over the share of the weights that are pruned: at once it falls steeply from 80 % on, after fine-tuning "
    "it stays nearly level.",
    topics=(7, 12, 23, 33, 43),
    sources=(
        "Han et al., Learning both weights and connections for efficient neural networks, 2015",
        "Blalock et al., What is the state of neural network pruning?, 2020",
    ),
    seconds=3,
)
