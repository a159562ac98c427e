"""Optimizers over longer runs against PyTorch's, resumed in the middle, and averages of models."""

from __future__ import annotations

import functools
import inspect
import pickle

import numpy as np
import pytest

import minidl as md
from minidl import nn, optim
from minidl.optim import swa_utils
from minidl.optim.factored import nearest

MADE = [
    ("SGD", {"lr": 1e-3, "momentum": 0.9, "nesterov": True}),
    ("Adam", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.01, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "weight_decay": 0.1, "rho": 0.8, "eps": 1e-4, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.05, "maximize": True, "weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-3}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "momentum_decay": 0.1, "maximize": True}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.05, "weight_decay": 0.1, "betas": (0.8, 0.9)}),
    ("RAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": (0.4, 1.5), "step_sizes": (1e-3, 0.3), "maximize": True}),
    ("ASGD", {"lr": 1e-3}),
    ("ASGD", {"lr": 1e-3, "t0": 3.0, "lambd": 0.1, "alpha": 0.5, "weight_decay": 0.1, "maximize": True}),
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.1, "weight_decay": 0.01, "beta2_decay": -0.5, "eps": (1e-6, 1e-2), "d": 2.0}),
    ("Adafactor", {"lr": 0.1, "maximize": True}),
    ("LBFGS", {"lr": 0.5, "max_iter": 4, "history_size": 3}),
    ("LBFGS", {"max_iter": 5, "line_search_fn": "strong_wolfe"}),
    ("Muon", {"lr": 0.1}),
    ("Muon", {"lr": 0.1, "nesterov": False, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3, "weight_decay": 0.0}),
]
NAMES = sorted({name for name, _ in MADE})


def rosenbrock(m, w):
    """A narrow curved valley, (1 - x)^2 + 100 (y - x^2)^2, for each column of w (2, N)."""
    return ((1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2).sum()


def start(m, name, options, w):
    """(parameter, optimizer, step): step() goes one step down the valley."""
    w = m.tensor(w, requires_grad=True)
    optimizer = getattr(m.optim, name)([w], **options)
    sign = -1 if options.get("maximize") else 1

    def closure():
        optimizer.zero_grad()
        loss = sign * rosenbrock(m, w)
        loss.backward()
        return loss

    return w, optimizer, lambda: optimizer.step(closure)


def path(w, step, steps):
    """The places after each of the steps."""
    places = []
    for _ in range(steps):
        step()
        places.append(w.detach().numpy().copy())
    return np.array(places)


ORIGIN = np.array([[-1.2, 0.5, 1.5], [1.0, -0.5, 1.0]])


def length(name):
    """A step of LBFGS is several iterations, and rounding errors double from one to the next."""
    return 8 if name == "LBFGS" else 20


def assert_same_path(ours, theirs):
    # PyTorch keeps ASGD's and NAdam's numbers in float32: after 20 steps about 1e-8 of the distance from the origin
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("name", "options"), MADE)
def test_the_path_is_pytorchs(name, options):
    torch = pytest.importorskip("torch")
    (w, _, step), (v, _, their_step) = (start(m, name, options, ORIGIN) for m in (md, torch))
    assert_same_path(path(w, step, length(name)), path(v, their_step, length(name)))


@pytest.mark.parametrize(("name", "options"), MADE)
def test_resuming_changes_nothing(name, options):
    w, optimizer, step = start(md, name, options, ORIGIN)
    path(w, step, 5)
    resumed_w, resumed, resumed_step = start(md, name, options, w.detach().numpy())
    resumed.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
    np.testing.assert_array_equal(path(resumed_w, resumed_step, 5), path(w, step, 5))


def converted(value):
    """A state of PyTorch's with its tensors as minidl's."""
    if isinstance(value, dict):
        return {k: converted(v) for k, v in value.items()}
    if isinstance(value, list):
        return [converted(v) for v in value]
    return md.tensor(value.detach().numpy().copy()) if hasattr(value, "detach") else value


@pytest.mark.parametrize(("name", "options"), MADE)
def test_a_run_that_pytorch_began_goes_on_here(name, options):
    torch = pytest.importorskip("torch")
    v, theirs, their_step = start(torch, name, options, ORIGIN)
    path(v, their_step, 5)
    w, optimizer, step = start(md, name, options, v.detach().numpy().copy())
    optimizer.load_state_dict(converted(theirs.state_dict()))
    assert_same_path(path(w, step, length(name) - 5), path(v, their_step, length(name) - 5))


@pytest.mark.parametrize("name", NAMES)
def test_arguments_and_state_are_named_as_pytorchs(name):
    torch = pytest.importorskip("torch")
    described, states = [], []
    for m in (md, torch):
        make = getattr(m.optim, name)
        arguments = list(inspect.signature(make).parameters.values())
        w = m.ones(2, 2, requires_grad=True)
        optimizer = make([w])

        def closure(optimizer=optimizer, w=w):
            optimizer.zero_grad()
            loss = (w * w).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        optimizer.step(closure)
        described.append(([(p.name, p.default, p.kind) for p in arguments], repr(optimizer)))
        states.append(optimizer.state_dict())
    assert described[0] == described[1]
    assert states[0]["param_groups"] == states[1]["param_groups"]
    ours, theirs = ({k for k, v in s["state"].get(0, {}).items() if v is not None} for s in states)
    assert ours == theirs - {"al"}  # scratch memory of LBFGS


@pytest.mark.parametrize("name", sorted({*NAMES} - {"LBFGS", "Muon", "Adafactor"}))
def test_differentiable_steps_are_refused(name):
    w = md.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="differentiable=True is not supported"):
        getattr(optim, name)([w], differentiable=True)
    getattr(optim, name)([w], foreach=True)  # changes nothing


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda w: optim.Adagrad([w], lr_decay=-1.0), ValueError, "Invalid lr_decay value: -1.0"),
        (lambda w: optim.Adadelta([w], rho=1.5), ValueError, "Invalid rho value: 1.5"),
        (lambda w: optim.Adamax([w], betas=(0.9, 1.0)), ValueError, "Invalid beta parameter at index 1: 1.0"),
        (lambda w: optim.NAdam([w], momentum_decay=-1.0), ValueError, "Invalid momentum_decay value: -1.0"),
        (lambda w: optim.RAdam([w], eps=-1.0), ValueError, "Invalid epsilon value: -1.0"),
        (lambda w: optim.Rprop([w], etas=(0.5, 0.9)), ValueError, "Invalid eta values: 0.5, 0.9"),
        (lambda w: optim.ASGD([w], weight_decay=-1.0), ValueError, "Invalid weight_decay value: -1.0"),
        (lambda w: optim.Adafactor([w], d=0.5), ValueError, "d should be >= 1 but is: 0.5"),
        (lambda w: optim.Adafactor([w], beta2_decay=0.5), ValueError, "beta2_decay should be <= 0 but is: 0.5"),
        (lambda w: optim.Muon([w]), ValueError, "2D"),
        (lambda w: optim.Muon([w.reshape(1, 2).detach()], adjust_lr_fn="x"), ValueError, "x is not supported"),
        (lambda w: optim.LBFGS([w], line_search_fn="armijo"), RuntimeError, "only 'strong_wolfe' is supported"),
        (lambda w: optim.LBFGS([{"params": [w]}, {"params": [w * 1]}]), ValueError, "non-leaf"),
        (lambda w: optim.LBFGS([{"params": [w]}, {"params": [md.ones(1)]}]), ValueError, "parameter groups"),
        (lambda w: optim.LBFGS([w]).step(), RuntimeError, "closure"),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make(md.ones(2, requires_grad=True))


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


def test_lbfgs_that_stopped_on_flat_ground_goes_on():
    paths = []
    for m in (md, pytest.importorskip("torch")):
        w = m.tensor([1e-6, -2e-6], dtype=m.float64, requires_grad=True)
        optimizer = m.optim.LBFGS([w])

        def closure(scale, w=w, optimizer=optimizer):
            optimizer.zero_grad()
            loss = scale * (w * w).sum()
            loss.backward()
            return loss

        paths.append([])
        for scale in (1.0, 1.0, 1e4):  # too flat to step, twice; then steeper
            optimizer.step(functools.partial(closure, scale))
            paths[-1].append(w.tolist())
    assert paths[0][0] == paths[0][1] == [1e-6, -2e-6] != paths[0][2]
    np.testing.assert_allclose(paths[0], paths[1], rtol=1e-9, atol=1e-20)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_muon_steps_are_nearly_orthogonal(shape):
    w = md.zeros(*shape, requires_grad=True)
    optimizer = optim.Muon([w], lr=0.1, weight_decay=0.0)
    w.grad = md.randn(*shape)
    optimizer.step()
    singular = np.linalg.svd(-w.detach().numpy() / (0.1 * max(1.0, shape[0] / shape[1]) ** 0.5))[1]
    assert (singular > 0.6).all() and (singular < 1.3).all()


def test_rounding_to_bfloat16_is_pytorchs():
    torch = pytest.importorskip("torch")
    x = np.concatenate([np.random.default_rng(0).standard_normal(1000), 1 + np.arange(64) / 512, [0.0, -0.0, 3e38]])
    x = x.astype(np.float32)
    np.testing.assert_array_equal(nearest(x), torch.tensor(x).bfloat16().float().numpy())


def test_averages_of_models_against_pytorch():
    torch = pytest.importorskip("torch")
    for name, arguments in (
        ("get_swa_avg_fn", ()), ("get_ema_avg_fn", (0.9,)), ("get_swa_multi_avg_fn", ()), ("get_ema_multi_avg_fn", (0.9,)),
    ):  # fmt: skip
        keyword = name.removeprefix("get_swa_").removeprefix("get_ema_")
        results = []
        for m, utils in ((torch, torch.optim.swa_utils), (md, swa_utils)):
            model = m.nn.Linear(2, 1, bias=False)
            averaged = utils.AveragedModel(model, **{keyword: getattr(utils, name)(*arguments)})
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


def test_buffers_are_averaged_or_copied():
    for use_buffers, expected in ((True, 2.0), (False, 3.0)):
        model = nn.BatchNorm1d(1)
        averaged = swa_utils.AveragedModel(model, use_buffers=use_buffers)
        for value in (1.0, 3.0):
            model.running_mean.fill_(value)
            averaged.update_parameters(model)
        assert averaged.module.running_mean.item() == expected


def test_averages_refuse_bad_arguments():
    with pytest.raises(ValueError, match=r"Invalid decay value 1\.5"):
        swa_utils.get_ema_avg_fn(1.5)
    with pytest.raises(AssertionError, match="Only one of"):
        swa_utils.AveragedModel(
            nn.Linear(1, 1), avg_fn=swa_utils.get_swa_avg_fn(), multi_avg_fn=swa_utils.get_swa_multi_avg_fn()
        )
    optimizer = optim.SGD([md.zeros(1, requires_grad=True)], lr=0.5)
    with pytest.raises(ValueError, match="anneal_strategy must be one of"):
        swa_utils.SWALR(optimizer, 0.1, anneal_strategy="step")
    with pytest.raises(ValueError, match="anneal_epochs"):
        swa_utils.SWALR(optimizer, 0.1, anneal_epochs=-1)
