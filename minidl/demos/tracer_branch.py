"""What a traced function keeps of a branch.

The function below makes an image larger until its norm reaches a limit: how often, depends on the image. Where the graph is
made anew by each call, as here, that is no question: the loop runs, and what it did is the graph. A tracer runs the function
once, with an example, and keeps the operations. The `while` is no operation: it looked at the example, and its outcome is
baked into the recording, which gives wrong results for other images without a word. What a function does besides computing,
such as counting or printing, happens while it is traced and never again.

A guard repairs it: the recording holds the outcome of each comparison as well, and where a comparison comes out differently
the function is traced once more. So do tf.function, torch.compile and jax.jit, each in its way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minidl as md

from .common import digit_rows
from .demo import Demo, Figure, Measured, Track
from .plots import bars

FACTOR, LIMIT = 1.25, 10.0
calls = 0


def grow(x: Any) -> Any:
    """An image, made larger until its norm is at least LIMIT."""
    global calls
    calls += 1  # Python's own doing, as a print would be
    while x.norm() < LIMIT:
        x = x * FACTOR
    return x


class Retrace(Exception):
    """A comparison came out differently from the recorded one."""


class Tracer:
    """Stands for the example while a function is traced: computes with it, and writes down what is done."""

    def __init__(self, value: Any, steps: list[Any], guard: bool) -> None:
        self.value, self.steps, self.guard = value, steps, guard

    def __mul__(self, factor: float) -> Tracer:
        self.steps.append(lambda x: x * factor)
        return Tracer(self.value * factor, self.steps, self.guard)

    def norm(self) -> Tracer:
        return self

    def __lt__(self, limit: float) -> bool:
        outcome = bool(self.value.norm() < limit)

        def check(x: Any) -> Any:
            if bool(x.norm() < limit) is not outcome:
                raise Retrace
            return x

        if self.guard:
            self.steps.append(check)
        return outcome  # a plain bool: the recording cannot know that it depended on x


def trace(function: Callable[[Any], Any], example: Any, guard: bool = False) -> Callable[[Any], Any]:
    """The operations that `function` did on `example`, to be done on others."""
    steps: list[Any] = []
    function(Tracer(example, steps, guard))

    def replay(x: Any) -> Any:
        for step in steps:
            x = step(x)
        return x

    return replay


def retracing(function: Callable[[Any], Any], recordings: list[Any]) -> Callable[[Any], Any]:
    """Replays the recording whose guards hold, and makes one where none does."""

    def call(x: Any) -> Any:
        for replay in recordings:
            try:
                return replay(x)
            except Retrace:
                pass
        recordings.append(trace(function, x, guard=True))
        return recordings[-1](x)

    return call


def nodes(y: Any) -> int:
    """How many operations are in the graph above y, the leaf's own node aside."""
    count, node = 0, y.grad_fn
    while node is not None and node.next_functions:
        count, node = count + 1, node.next_functions[0][0]
    return count


def measure(seed: int, track: Track) -> Measured:
    global calls
    images = digit_rows(seed).x_test
    traced = trace(grow, images[0])
    recordings: list[Any] = []
    guarded = retracing(grow, recordings)
    calls, sizes, wrong, wrong_guarded, errors = 0, [], 0, 0, []
    for image in track(images):
        right = grow(image.clone().requires_grad_())
        sizes.append(nodes(right))
        with md.no_grad():
            errors.append(float((traced(image) - right).norm() / right.norm()))
            wrong += errors[-1] > 1e-6
            wrong_guarded += float((guarded(image) - right).norm()) > 1e-6
    figures = {
        "eager.nodes.least": min(sizes),
        "eager.nodes.most": max(sizes),
        "eager.calls": calls - len(recordings),
        "traced.wrong": wrong / len(images),
        "traced.error": max(errors),
        "guarded.wrong": wrong_guarded,
        "guarded.traces": len(recordings),
    }
    return figures, {"sizes": sizes, "traced": nodes(traced(images[0].clone().requires_grad_()))}


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    sizes = range(min(shown["sizes"]), max(shown["sizes"]) + 1)
    count = [shown["sizes"].count(n) for n in sizes]
    same = [c if n == shown["traced"] else 0 for n, c in zip(sizes, count, strict=True)]
    bars(ax, [str(n) for n in sizes], {"the graph of the call": count, "the recording is right": same})
    ax.set(xlabel="operations in the graph", ylabel="images")


DEMO = Demo(
    name="tracer-branch",
    title="A graph made by each call, and a recording of one call",
    statement="tf.function turns a function into a dynamic graph.",
    verdict="refutes",
    because="Tracing keeps one run as a fixed graph: its branch is baked in, and only guards that trace again make up for that.",
    figures=(
        Figure("eager.nodes.least", 4, 4, "operations in the graph of the image that needs least"),
        Figure("eager.nodes.most", 5, 6, "and of the one that needs most"),
        Figure("eager.calls", 540, 540, "calls of the function for 540 images; a recording makes none"),
        Figure("traced.wrong", 0.099, 1, "share of images for which the recording of one is wrong"),
        Figure("traced.error", 0.16, 0.85, "its largest relative error"),
        Figure("guarded.wrong", 0, 0, "wrong results with guards"),
        Figure("guarded.traces", 2, 3, "recordings that guards led to"),
    ),
    seeds=20,
    measure=measure,
    draw=draw,
    picture="How many images lead to a graph of how many operations; the recording of one image has one of these sizes, and is "
    "right for the images of that size alone.",
    topics=(3,),
    sources=(
        "Neubig et al., DyNet: the dynamic neural network toolkit, 2017",
        "Agrawal et al., TensorFlow Eager: a multi-stage, Python-embedded DSL for machine learning, 2019",
        "Paszke et al., PyTorch: an imperative style, high-performance deep learning library, 2019",
    ),
    seconds=1,
)
