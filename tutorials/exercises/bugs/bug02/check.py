"""The mode in which the model runs at every step, what dropout does in each mode, and whether it learns."""

import numpy as np

import minidl
from minidl import nn
from minidl.learn.checks import at_least, check, equal, near


def data(rng, rows=90):
    """Three classes around three corners of a cube of 6 dimensions."""
    y = np.arange(rows) % 3
    x = 2 * np.eye(3, 6)[y] + 0.3 * rng.normal(size=(rows, 6))
    return minidl.tensor(x, dtype=minidl.float32), minidl.tensor(y)


def made(subject, rng, hidden=32):
    minidl.manual_seed(int(rng.integers(1 << 30)))
    return subject.Net(6, hidden, 3)


def said(differ):
    return "different" if differ else "the same"


@check("property")
def modes(subject, rng):
    model, (x, _) = made(subject, rng), data(rng)
    for mode, wanted in [("evaluation", "the same"), ("training", "different")]:
        model.train(mode == "training")
        once, twice = (model(x).detach().numpy() for _ in range(2))
        yield equal(f"two results for the same x in {mode}", said(np.any(once != twice)), wanted)


@check("property")
def steps(subject, rng):
    """Which calls of the model happened in which mode. Those that train are the ones that record a graph."""
    model, (x, y) = made(subject, rng), data(rng)
    calls = []
    model.register_forward_hook(lambda module, inputs, out: calls.append((out.requires_grad, module.training)))
    history = subject.train(model, x, y, 7)
    yield equal("accuracies for 7 epochs", len(history), 7)
    trained = [training for step, training in calls if step]
    judged = [training for step, training in calls if not step]
    yield equal("steps of 7 epochs in training mode", sum(trained), 7)
    yield equal("steps of 7 epochs in evaluation mode", len(trained) - sum(trained), 0)
    yield equal("evaluations during 7 epochs in training mode", sum(judged), 0)
    again = {subject.evaluate(model, x, y) for _ in range(3)}
    yield equal("different results of evaluate, called 3 times", len(again), 1)
    yield equal("last accuracy of the history = evaluate afterwards", history[-1] in again, True)


@check("statistics")
def dropped(subject, rng):
    """With every hidden unit at work, zeros before the last layer are those of dropout, and its mean is kept."""
    hidden, rows = 64, 500
    model, x = made(subject, rng, hidden), minidl.zeros(rows, 6)
    with minidl.no_grad():
        model.hidden.bias.fill_(1.0)
    seen = []
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().numpy()))
    model.train()
    model(x)
    model.eval()
    model(x)
    n = hidden * rows
    yield near("share of units dropped in training", (seen[0] == 0).mean(), 0.5, 0.5 / np.sqrt(n))
    yield near("mean of units at 1, in training", seen[0].mean(), 1.0, 1 / np.sqrt(n))
    yield equal("mean of units at 1, in evaluation", float(seen[1].mean()), 1.0)


@check("training", costly=True)
def learns(subject, rng):
    for _ in range(3):
        x, y = data(rng)
        yield at_least("accuracy after 30 epochs", subject.train(made(subject, rng), x, y, 30)[-1], 0.95)


checks = [modes, steps, dropped, learns]
