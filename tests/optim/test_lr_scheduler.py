"""Schedulers against real PyTorch: the rates and momenta of 50 epochs, in two groups."""

import numpy as np
import pytest

import minidl
from minidl import optim

torch = pytest.importorskip("torch")

CASES = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda epoch: 0.9**epoch),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda epoch: 0.9),
    "StepLR": lambda s, o: s.StepLR(o, 7, 0.3),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [5, 9, 9, 30], 0.5),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.8),
    "ConstantLR": lambda s, o: s.ConstantLR(o, 0.25, 8),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.1, 0.9, 12),
    "LinearLR to 0": lambda s, o: s.LinearLR(o, 1.0, 0.0, 12),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, 20, 2.0),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 11, 0.01),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 4, 2, 0.01),
    "CosineAnnealingWarmRestarts of one length": lambda s, o: s.CosineAnnealingWarmRestarts(o, 4, 1, 0.01),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 1.0, total_steps=60),
    "OneCycleLR in three phases": lambda s, o: s.OneCycleLR(
        o, [1.0, 2.0], epochs=5, steps_per_epoch=11, three_phase=True, anneal_strategy="linear"
    ),
    "ReduceLROnPlateau": lambda s, o: s.ReduceLROnPlateau(o, patience=3, cooldown=2, factor=0.5),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, 1.0, 5), s.CosineAnnealingLR(o, 20), s.ExponentialLR(o, 0.9)], [5, 25]
    ),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler(
        [s.ConstantLR(o, 0.1, 4), s.ExponentialLR(o, 0.9), s.CosineAnnealingLR(o, 9)]
    ),
}


def make(lib, build):
    first, second = lib.nn.Parameter(lib.zeros(2)), lib.nn.Parameter(lib.zeros(2))
    optimizer = lib.optim.SGD([{"params": [first]}, {"params": [second], "lr": 0.5}], lr=0.1, momentum=0.9)
    return optimizer, build(lib.optim.lr_scheduler, optimizer)


def run(optimizer, scheduler, epochs):
    rows = []
    for epoch in epochs:
        optimizer.step()
        if type(scheduler).__name__ == "ReduceLROnPlateau":
            scheduler.step(abs(epoch - 13))
        else:
            scheduler.step()
        groups = optimizer.param_groups
        rows.append([*scheduler.get_last_lr(), *(g["lr"] for g in groups), *(g["momentum"] for g in groups)])
    return np.array(rows)


@pytest.mark.parametrize("name", CASES)
def test_fifty_epochs_as_torch(name):
    ours, theirs = (make(lib, CASES[name]) for lib in (minidl, torch))
    assert ours[1].get_last_lr() == pytest.approx(theirs[1].get_last_lr(), rel=1e-12)
    np.testing.assert_allclose(run(*ours, range(50)), run(*theirs, range(50)), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_state_round_trip(name):
    optimizer, scheduler = make(minidl, CASES[name])
    run(optimizer, scheduler, range(20))
    state = scheduler.state_dict(), optimizer.state_dict()
    resumed_optimizer, resumed = make(minidl, CASES[name])
    resumed.load_state_dict(state[0])
    resumed_optimizer.load_state_dict(state[1])
    expected = run(optimizer, scheduler, range(20, 40))
    assert np.array_equal(run(resumed_optimizer, resumed, range(20, 40)), expected)


def test_stepping_before_the_optimizer_warns():
    _, scheduler = make(minidl, CASES["StepLR"])
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()


def test_resuming_needs_the_initial_rate():
    w = minidl.ones(2, requires_grad=True)
    with pytest.raises(KeyError, match="initial_lr"):
        optim.lr_scheduler.StepLR(optim.SGD([w], lr=0.1), 3, last_epoch=4)
