"""What does a teacher tell that labels do not?

A teacher has learned from all images. A student with six hidden units sees 100 of them. On these the teacher's labels are the
true ones: who trains on the labels that the teacher predicts, trains on labels. Its softened answers say more, softmax(logits / T):
how much a 3 looks like an 8. With T = 1 they are nearly labels again, as the teacher is sure of images that it has learned;
T = 4 brings the others out.

Softened, the gradient shrinks, and the factor T² makes up for that, which matters where the loss stands beside another: Adam alone
would not notice. It shrinks as 1 / T² once T is above the logits, so to a quarter from T = 20 to 40. From 1 to 4 it shrinks less
than to a sixteenth with a teacher that is sure: the factor is right for high temperatures, and no more than near for these.

With all images labelled there is no such gain to be had: labels then say enough.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minidl as md
from minidl import nn, optim
from minidl.compression import soft_target_loss

from ..pictures import GREY
from .common import accuracy, digit_rows, fit
from .demo import Demo, Figure, Measured, Track
from .plots import bars

FEW, HIDDEN = 100, 6
STUDENTS, STEPS = 2, 800  # accuracies are means over so many students


def student() -> Any:
    return nn.Sequential(nn.Linear(64, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 10))


def softened(temperature: float) -> Callable[[Any, Any], Any]:
    return lambda logits, answers: soft_target_loss(logits, answers, temperature)


def slope(x: Any, answers: Any, temperature: float) -> float:
    """The size of the gradient of the soft loss, without its factor T², at the logits of a student that says nothing yet."""
    logits = md.zeros(len(x), 10, requires_grad=True)
    (g,) = md.autograd.grad(soft_target_loss(logits, answers, temperature), logits)
    return float(g.norm()) / temperature**2


def measure(seed: int, track: Track) -> Measured:
    x, y, x_test, y_test = digit_rows(seed)
    teacher = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    fit(teacher, optim.Adam(teacher.parameters(), lr=0.003), x, y, 600)
    with md.no_grad():
        answers = teacher(x)
    slopes = {temperature: slope(x[:FEW], answers[:FEW], temperature) for temperature in (1, 4, 20, 40)}
    figures = {
        "teacher": accuracy(teacher, x_test, y_test),
        "teacher.labels": accuracy(teacher, x[:FEW], y[:FEW]),
        "slope.4": slopes[4] / slopes[1],
        "slope.40": slopes[40] / slopes[20],
    }
    ways = {"hard": (y, nn.functional.cross_entropy), "soft1": (answers, softened(1)), "soft4": (answers, softened(4))}
    sizes = {"hard.few": FEW, "soft1.few": FEW, "soft4.few": FEW, "hard.all": len(x), "soft4.all": len(x)}
    for run, n in track(sizes.items()):
        wanted, loss = ways[run.split(".")[0]]
        scores = []
        for _ in range(STUDENTS):
            model = student()
            fit(model, optim.Adam(model.parameters(), lr=0.01), x[:n], wanted[:n], STEPS, 50, loss)
            scores.append(accuracy(model, x_test, y_test))
        figures[run] = sum(scores) / STUDENTS
    figures |= {f"gain.{amount}": figures[f"soft4.{amount}"] - figures[f"hard.{amount}"] for amount in ("few", "all")}
    return figures, {}


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    names = {"hard.few": "labels", "soft1.few": "soft, T = 1", "soft4.few": "soft, T = 4", "hard.all": "labels",
             "soft4.all": "soft, T = 4"}  # fmt: skip
    bars(ax, [f"{name}\n{f'{FEW} images' if key.endswith('few') else 'all images'}" for key, name in names.items()],
         {"student": [figures[key] for key in names]})  # fmt: skip
    ax.axhline(figures["teacher"], color=GREY, linewidth=1, linestyle="--")
    ax.set(ylabel="test accuracy", ylim=(0.5, 1.05))


DEMO = Demo(
    name="distill-100",
    title="A student with six hidden units and a teacher",
    statement="Distillation trains the student on the labels that the teacher predicts.",
    verdict="refutes",
    because="On images that the teacher has learned these are the labels themselves; its softened answers teach more, as long "
    "as labels are few.",
    figures=(
        Figure("teacher", 0.93, 1, "test accuracy of the teacher"),
        Figure("teacher.labels", 0.96, 1, "share of the 100 images whose label the teacher gives"),
        Figure("hard.few", 0.74, 0.89, "student, 100 images: labels"),
        Figure("soft1.few", 0.75, 0.92, "the teacher's answers, T = 1"),
        Figure("soft4.few", 0.78, 0.94, "and T = 4"),
        Figure("gain.few", 0, 0.15, "accuracy that T = 4 gains over labels"),
        Figure("hard.all", 0.92, 0.97, "student, all images: labels"),
        Figure("soft4.all", 0.88, 0.97, "the teacher's answers, T = 4"),
        Figure("gain.all", -0.06, 0.02, "accuracy that T = 4 gains over labels"),
        Figure("slope.4", 0.16, 0.22, "gradient without the factor T²: at T = 4 against T = 1"),
        Figure("slope.40", 0.22, 0.25, "at T = 40 against T = 20"),
    ),
    seeds=12,
    measure=measure,
    draw=draw,
    picture="Test accuracy of students as bars: 100 images with labels, with answers at T = 1 and at T = 4, then all images with "
    "labels and at T = 4; a dashed line marks the teacher.",
    topics=(7,),
    sources=("Hinton, Vinyals & Dean, Distilling the knowledge in a neural network, 2015",),
    seconds=3,
)
