"""What does a falling learning rate do?

Gradients of batches are noisy. With a constant learning rate SGD comes near the minimum, then goes around it at a distance: each
step moves by the rate times the noise. The distance falls with the rate, but so does the speed. A schedule begins fast and ends
near. It is thus what lets SGD converge, and no protection against converging "too early"; a rate that falls too fast is what
would stop it early.

The quadratic w**2 / 2 in 10 dimensions from w = 10, 2,000 steps, gradients with noise of size 1, 100 runs at once.
"""

from __future__ import annotations

from typing import Any

import minidl as md
from minidl import optim

from .demo import Demo, Figure, Measured, Track
from .plots import lines

STEPS, RATE, EVERY = 2000, 0.3, 20
SCHEDULES: dict[str, Any] = {
    "high": (RATE, lambda o: optim.lr_scheduler.ConstantLR(o, factor=1.0)),
    "low": (RATE / 10, lambda o: optim.lr_scheduler.ConstantLR(o, factor=1.0)),
    "cosine": (RATE, lambda o: optim.lr_scheduler.CosineAnnealingLR(o, STEPS)),
    "fast": (RATE, lambda o: optim.lr_scheduler.ExponentialLR(o, 0.8)),
}


def measure(seed: int, track: Track) -> Measured:
    curves: dict[str, list[float]] = {}
    for name, (rate, schedule) in track(SCHEDULES.items()):
        w = md.full((100, 10), 10.0, requires_grad=True)
        optimizer = optim.SGD([w], lr=rate)
        scheduler = schedule(optimizer)
        curves[name] = []
        for step in range(STEPS):
            w.grad = w.detach() + md.randn_like(w)  # the gradient of w**2 / 2, and noise
            optimizer.step()
            scheduler.step()
            if (step + 1) % EVERY == 0:
                curves[name].append(float(w.detach().square().mean().sqrt()))
    return {f"{name}.end": curve[-1] for name, curve in curves.items()}, curves


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    names = {"high": "constant 0.3", "low": "constant 0.03", "cosine": "cosine from 0.3", "fast": "0.3 * 0.8**step"}
    steps = range(EVERY, STEPS + 1, EVERY)
    lines(ax, {names[name]: (steps, curve) for name, curve in shown.items()})
    ax.set(yscale="log", xlabel="step", ylabel="rms distance from the minimum")


DEMO = Demo(
    name="lr-decay-noise",
    title="Noisy gradients and the learning rate's decay",
    statement="Learning rate decay keeps the model from converging too early.",
    verdict="refutes",
    because="Decay is what lets noisy steps converge: the constant rate ends far from the minimum, and decay that is too fast "
    "stops on the way.",
    figures=(
        Figure("high.end", 0.4, 0.44, "rms distance from the minimum after 2,000 steps, constant 0.3"),
        Figure("low.end", 0.11, 0.14, "constant 0.03"),
        Figure("cosine.end", 0.052, 0.063, "from 0.3 to 0 along a cosine"),
        Figure("fast.end", 1.9, 2, "0.3, times 0.8 in each step: stops on the way"),
    ),
    seeds=12,
    measure=measure,
    draw=draw,
    picture="Distance from the minimum over the steps on a logarithmic scale: constant rates level off, the higher one farther away; "
    "cosine decay ends lowest; decay that is too fast stays where it began.",
    topics=(19, 29, 39, 49),
    sources=(
        "Robbins & Monro, A stochastic approximation method, 1951",
        "Loshchilov & Hutter, SGDR: stochastic gradient descent with warm restarts, 2017",
    ),
    seconds=2,
)
