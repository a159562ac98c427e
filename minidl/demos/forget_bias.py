"""Does an LSTM remember by itself?

Its cell goes from step to step as c = f * c + i * g, so the gradient that goes back along it is multiplied by the forget gate f
in each step. With small weights and a bias of 0 the gate is near sigmoid(0) = 1/2, and 50 halvings leave 1e-15 along the cell; the
way through the hidden state adds to that, and still far less is left than in a plain tanh network. A bias of 1 makes the gate
0.73, one of 3 makes it 0.95, and then, with the way through the hidden state, gradients even grow. LSTM eases long dependencies
where its forget gate is open, which is a matter of first weights and of training, not of the formula alone.

The pixels of digits, one in each step, go through 50 steps; the gradient at the last cell goes back to the first. The plain
network has recurrent weights that are orthogonal.
"""

from __future__ import annotations

from typing import Any

import minidl as md
from minidl import nn

from .common import digit_rows
from .demo import Demo, Figure, Measured, Track
from .plots import lines

STEPS, WIDTH = 50, 32
LAGS = (0, 10, 20, 30, 40, 50)
BIASES = (0, 1, 3)


def lstm(bias: float) -> Any:
    """One step of an LSTM whose forget gate has this bias."""
    cell = nn.LSTMCell(1, WIDTH).double()
    for name, p in cell.named_parameters():
        if name.startswith("bias"):
            nn.init.zeros_(p)
    with md.no_grad():
        cell.bias_ih[WIDTH : 2 * WIDTH] = bias  # the gates are in the order i, f, g, o
    return cell


def plain() -> Any:
    """One step of a tanh network with orthogonal recurrent weights; its state stands in the place of the cell."""
    cell = nn.RNNCell(1, WIDTH).double()
    nn.init.orthogonal_(cell.weight_hh)

    def step(x: Any, state: Any) -> Any:
        h = cell(x, state[1])
        return h, h

    return step


def kept(step: Any, x: Any, lag: int) -> float:
    """How much of a gradient at the last step is left `lag` steps before it."""
    first = md.zeros(len(x), WIDTH, dtype=md.float64, requires_grad=True)
    state = (md.zeros_like(first), first)
    for t in range(lag):
        state = step(x[:, t : t + 1], state)
    end = md.randn(len(x), WIDTH, dtype=md.float64)
    (g,) = md.autograd.grad((state[1] * end).sum(), first)
    return float(g.norm() / end.norm())


def measure(seed: int, track: Track) -> Measured:
    x = digit_rows(seed).x[:32].double()
    steps = {"tanh": plain(), **{f"lstm.{bias}": lstm(bias) for bias in BIASES}}
    curves = {name: [kept(step, x, lag) for lag in LAGS] for name, step in track(steps.items())}
    return {name: curve[-1] for name, curve in curves.items()}, curves


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    names = {"tanh": "tanh", **{f"lstm.{bias}": f"LSTM, forget bias {bias}" for bias in BIASES}}
    lines(ax, {names[name]: (LAGS, curve) for name, curve in shown.items()})
    ax.set(yscale="log", xlabel="steps back", ylabel="share of the gradient that is left")


DEMO = Demo(
    name="forget-bias",
    title="What is left of a gradient 50 steps back",
    statement="LSTM solves the problem of long dependencies.",
    verdict="refutes",
    because="The forget gate decides: with a bias of 0 far less is left than in a plain tanh network, with 3 nothing is lost.",
    figures=(
        Figure("tanh", 7.4e-05, 0.62, "share of the gradient left after 50 steps: tanh, orthogonal weights"),
        Figure("lstm.0", 4.5e-12, 3.6e-10, "LSTM, forget bias 0"),
        Figure("lstm.1", 2.3e-05, 0.011, "LSTM, forget bias 1"),
        Figure("lstm.3", 0.68, 49, "LSTM, forget bias 3"),
    ),
    seeds=12,
    measure=measure,
    draw=draw,
    picture="The share of the gradient that is left over the steps back, on a logarithmic scale: lines that fall for "
    "tanh and forget biases of 0, steepest, and 1; for 3 it rises.",
    topics=(17, 27, 37, 47),
    sources=(
        "Gers, Schmidhuber & Cummins, Learning to forget: continual prediction with LSTM, 2000",
        "Jozefowicz, Zaremba & Sutskever, An empirical exploration of recurrent network architectures, 2015",
    ),
    seconds=1,
)
