"""Is the L2 penalty the norm of the weights, or its square?

Both pull towards 0, and differently. The gradient of |w|**2 / 2 is w: a step takes a share of every weight, and what is small
is left almost alone. That is weight decay. The gradient of |w| is w / |w|, of length 1 whatever the weights: a step takes the
same from the whole vector, until nothing is left.

First the penalty alone, 200 steps of 0.01 from |w| = 5. Then as part of a regression on the diabetes data, with the weight of
the penalty so high that it matters: the square makes the weights small, the norm makes all of them vanish together (which is
how the group lasso of Yuan and Lin removes whole groups).
"""

from __future__ import annotations

from typing import Any

import minidl as md
from minidl import optim
from minidl.datasets import diabetes

from .demo import Demo, Figure, Measured, Track
from .plots import lines

PENALTIES = {"norm": lambda w: w.norm(), "square": lambda w: w.square().sum() / 2}
STEPS, RATE = 200, 0.01


def alone(penalty: Any, w: Any) -> list[float]:
    """|w| over the steps of gradient descent on the penalty."""
    sizes = [float(w.norm())]
    for _ in range(STEPS):
        (g,) = md.autograd.grad(penalty(w), w)
        w = (w - RATE * g).detach().requires_grad_()
        sizes.append(float(w.norm()))
    return sizes


def regression(penalty: Any, strength: float, x: Any, y: Any) -> float:
    """|w| after 2,000 steps of gradient descent on the mean squared error and the penalty."""
    w = md.zeros(x.shape[1], 1, dtype=x.dtype, requires_grad=True)
    for _ in range(2000):
        loss = (x @ w - y).square().mean() / 2 + strength * penalty(w + 1e-12)
        (g,) = md.autograd.grad(loss, w)
        w = (w - RATE * g).detach().requires_grad_()
    return float(w.norm())


def measure(seed: int, track: Track) -> Measured:
    w = md.randn(10, dtype=md.float64)
    w = (5 * w / w.norm()).requires_grad_()
    curves = {name: alone(penalty, w) for name, penalty in PENALTIES.items()}
    decayed = md.nn.Parameter(w.detach().clone())
    decayed.grad = md.zeros_like(decayed)
    decay = optim.SGD([decayed], lr=RATE, weight_decay=1.0)
    for _ in range(STEPS):
        decay.step()
    data = diabetes("train", seed)
    x, y = ((t - t.mean(0)) / t.std(0) for t in (t.double() for t in data.tensors))
    fits = {name: regression(penalty, strength, x, y)
            for name, penalty, strength in track([("free", PENALTIES["norm"], 0.0), *((n, p, 2.0) for n, p in PENALTIES.items())])}  # fmt: skip
    figures = {
        "norm.alone": curves["norm"][-1],
        "square.alone": curves["square"][-1],
        "weight_decay.alone": float(decayed.norm()),
        "norm.diabetes": fits["norm"] / fits["free"],
        "square.diabetes": fits["square"] / fits["free"],
    }
    return figures, curves


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    lines(
        ax, {"penalty |w|": (range(STEPS + 1), shown["norm"]), "penalty |w|² / 2": (range(STEPS + 1), shown["square"])}
    )
    ax.set(xlabel="step", ylabel="|w|", ylim=(0, None))


DEMO = Demo(
    name="l2-squared",
    title="The norm of the weights as a penalty, and its square",
    statement="L2 regularization adds the L2 norm of the weights to the loss.",
    verdict="refutes",
    because="Weight decay is the gradient of half the squared norm; the norm itself pulls with constant force, down to zero.",
    figures=(
        Figure("norm.alone", 2.999, 3.001, "|w| after 200 steps of 0.01 from 5, penalty |w|: 5 - 2"),
        Figure("square.alone", 0.669, 0.671, "penalty |w|**2 / 2: 5 * 0.99**200"),
        Figure("weight_decay.alone", 0.669, 0.671, "SGD with weight_decay=1 and no loss: the same"),
        Figure("norm.diabetes", 0, 0.18, "share of |w| that is left in a regression, penalty |w|"),
        Figure("square.diabetes", 0.37, 0.49, "and with |w|**2 / 2"),
    ),
    seeds=20,
    measure=measure,
    draw=draw,
    picture="The norm of the weights over 200 steps: a straight line down from 5 to 3 for the norm as a penalty, an exponential "
    "curve down to 0.67 for half its square.",
    topics=(15, 25, 35, 45),
    sources=(
        "Hanson & Pratt, Comparing biases for minimal network construction with back-propagation, 1988",
        "Yuan & Lin, Model selection and estimation in regression with grouped variables, 2006",
        "Loshchilov & Hutter, Decoupled weight decay regularization, 2019",
    ),
    seconds=1,
)
