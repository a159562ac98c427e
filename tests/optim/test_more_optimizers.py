"""Optimizers over longer runs against PyTorch's, resumed in the middle, and averages of models."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md
from minidl import nn, optim
from minidl.optim import swa_utils

MADE = {
    "Adagrad": {"lr": 0.1, "lr_decay": 0.01, "weight_decay": 0.1},
    "Adadelta": {"lr": 1.0, "weight_decay": 0.1},
    "Adamax": {"lr": 0.05, "maximize": True},
    "NAdam": {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True},
    "RAdam": {"lr": 0.05, "weight_decay": 0.1},
    "Rprop": {"lr": 0.01},
    "ASGD": {"lr": 0.05, "t0": 3.0},
    "Adafactor": {"lr": 0.1, "weight_decay": 0.01},
    "LBFGS": {"lr": 0.5, "max_iter": 4, "history_size": 3},
    "LBFGS, line search": {"max_iter": 5, "line_search_fn": "strong_wolfe"},
}


def rosenbrock(m, w):
    """A narrow curved valley, (1 - x)^2 + 100 (y - x^2)^2, for each column of w (2, N)."""
    return ((1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2).sum()


def run(m, name, steps, resume_at=None):
    """The path of parameters; with resume_at, optimizer and parameters pass through a state_dict there."""
    make = getattr(m.optim, name.split(",")[0])
    w = m.tensor(np.array([[-1.2, 0.5, 1.5], [1.0, -0.5, 1.0]]), requires_grad=True)
    optimizer = make([w], **MADE[name])
    path = []
    for step in range(steps):
        if step == resume_at:
            state = optimizer.state_dict()
            w = m.tensor(w.detach().numpy(), requires_grad=True)
            optimizer = make([w], **MADE[name])
            optimizer.load_state_dict(state)

        def closure(w=w, optimizer=optimizer):
            optimizer.zero_grad()
            loss = rosenbrock(m, w)
            loss.backward()
            return loss

        optimizer.step(closure)
        path.append(w.detach().numpy().copy())
    return np.array(path)


@pytest.mark.parametrize("name", MADE)
def test_the_path_is_pytorchs(name):
    torch = pytest.importorskip("torch")
    steps = (
        8 if name.startswith("LBFGS") else 20
    )  # each of several iterations; rounding errors double from one to the next
    np.testing.assert_allclose(run(md, name, steps), run(torch, name, steps), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", MADE)
def test_resuming_changes_nothing(name):
    np.testing.assert_array_equal(run(md, name, 10), run(md, name, 10, resume_at=5))


def test_line_search_reaches_the_bottom_of_the_valley():
    w = md.tensor([[-1.2], [1.0]], dtype=md.float64, requires_grad=True)
    optimizer = optim.LBFGS([w], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = rosenbrock(md, w)
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(w.detach().numpy(), 1.0, atol=1e-4)


def test_muon_steps_are_orthogonal():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start, g = rng.standard_normal((2, 6, 4)).astype(np.float32)
    results = []
    for m in (torch, md):
        w = m.tensor(start, requires_grad=True)
        optimizer = m.optim.Muon([w], lr=0.1, weight_decay=0.0)
        w.grad = m.tensor(g)
        optimizer.step()
        results.append((start - w.detach().numpy()) / (0.1 * (6 / 4) ** 0.5))
    # PyTorch iterates in bfloat16, whose steps are 1 / 256 apart
    np.testing.assert_allclose(results[1], results[0], atol=0.03)
    singular = np.linalg.svd(results[1])[1]
    assert (singular > 0.6).all() and (singular < 1.3).all()
    with pytest.raises(ValueError, match="2D"):
        optim.Muon([md.zeros(3, requires_grad=True)])


def test_averages_of_models_against_pytorch():
    torch = pytest.importorskip("torch")
    for name, arguments in (("get_swa_avg_fn", ()), ("get_ema_avg_fn", (0.9,))):
        results = []
        for m, utils in ((torch, torch.optim.swa_utils), (md, swa_utils)):
            model = m.nn.Linear(2, 1, bias=False)
            averaged = utils.AveragedModel(model, avg_fn=getattr(utils, name)(*arguments))
            for value in (1.0, 2.0, 4.0):
                with m.no_grad():
                    model.weight.fill_(value)
                averaged.update_parameters(model)
            results.append((averaged.module.weight.tolist(), int(averaged.n_averaged)))
        assert results[0][1] == results[1][1] == 3
        np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-6)


def test_batch_normalization_of_an_averaged_model():
    md.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    batches = [(md.randn(8, 3),) for _ in range(3)]
    swa_utils.update_bn(batches, model)
    outputs = [model[0](x).detach() for (x,) in batches]
    expected = sum(o.mean(0) for o in outputs) / 3
    np.testing.assert_allclose(model[1].running_mean.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    assert model[1].momentum == 0.1 and model.training


@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_annealing_to_a_constant_rate(strategy):
    torch = pytest.importorskip("torch")
    rates = []
    for m, utils in ((torch, torch.optim.swa_utils), (md, swa_utils)):
        optimizer = m.optim.SGD([m.zeros(1, requires_grad=True)], lr=0.5)
        scheduler = utils.SWALR(optimizer, 0.05, 4, strategy)
        rates.append([])
        for _ in range(7):
            optimizer.step()
            scheduler.step()
            rates[-1].append(optimizer.param_groups[0]["lr"])
    np.testing.assert_allclose(rates[1], rates[0], rtol=1e-9)


def test_there_is_nothing_to_step_without_a_closure():
    with pytest.raises(RuntimeError, match="closure"):
        optim.LBFGS([md.zeros(1, requires_grad=True)]).step()
