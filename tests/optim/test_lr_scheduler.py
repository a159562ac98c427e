"""Schedulers against real PyTorch: the rates and momenta of 50 epochs, in two groups."""

import inspect

import numpy as np
import pytest

import minidl
from minidl import optim

torch = pytest.importorskip("torch")


def halving(schedulers):
    """A scheduler as users write them, with nothing but get_lr."""

    class Halving(schedulers.LRScheduler):
        def get_lr(self):
            return [group["lr"] * (1.0 if self.last_epoch % 10 else 0.5) for group in self.optimizer.param_groups]

    return Halving


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
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.1, 0.7, 6),
    "CyclicLR, halved": lambda s, o: s.CyclicLR(o, [0.1, 0.2], [0.7, 0.9], 3, 8, mode="triangular2"),
    "CyclicLR, shrinking": lambda s, o: s.CyclicLR(o, 0.1, 0.7, 5, mode="exp_range", gamma=0.97, cycle_momentum=False),
    "CyclicLR, own height": lambda s, o: s.CyclicLR(o, 0.1, 0.7, 5, 4, scale_fn=lambda x: 1 / (1 + x)),
    "CyclicLR, own height by step": lambda s, o: s.CyclicLR(
        o, 0.1, 0.7, 5, 4, scale_fn=lambda x: 0.99**x, scale_mode="iterations"
    ),
    "ReduceLROnPlateau": lambda s, o: s.ReduceLROnPlateau(o, patience=3, cooldown=2, factor=0.5),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, 1.0, 5), s.CosineAnnealingLR(o, 20), s.ExponentialLR(o, 0.9)], [5, 25]
    ),
    "SequentialLR with cycles": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, 1.0, 5), s.CyclicLR(o, 0.1, 0.7, 6), s.OneCycleLR(o, 0.5, 30)], [5, 25]
    ),
    "SequentialLR with one's own": lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 5), halving(s)(o)], [8]),
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


def test_the_list_and_the_signatures_are_pytorchs():
    theirs = torch.optim.lr_scheduler
    assert set(optim.lr_scheduler.__all__) == set(theirs.__all__)
    for name in theirs.__all__:
        ours, reference = (
            [(p.name, p.default) for p in inspect.signature(getattr(m, name)).parameters.values()]
            for m in (optim.lr_scheduler, theirs)
        )
        assert ours == reference, name


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda o: optim.lr_scheduler.CyclicLR(o, 0.1, 0.7, mode="square"), "mode must be .*'square'"),
        (lambda o: optim.lr_scheduler.CyclicLR(o, 0.1, 0.7, step_size_up=0), "positive step_size_up"),
        (
            lambda o: optim.lr_scheduler.CyclicLR(o, 0.1, [0.7, 0.8]),
            "one value for each of the 1 parameter groups, got 2",
        ),
        (lambda o: optim.lr_scheduler.CyclicLR(o, 0.1, 0.7, scale_mode="epoch"), "scale_mode"),
        (lambda o: optim.lr_scheduler.OneCycleLR(o, 0.1), "total_steps OR"),
        (lambda o: optim.lr_scheduler.ChainedScheduler([]), "at least one scheduler"),
        (lambda o: optim.lr_scheduler.ReduceLROnPlateau(o, factor=1.5), "Factor should be < 1"),
    ],
)
def test_refusals(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it(optim.SGD([minidl.ones(2, requires_grad=True)], lr=0.1, momentum=0.9))


def test_cycles_of_beta1_and_without_momentum():
    w = minidl.ones(2, requires_grad=True)
    adam = optim.Adam([w], lr=0.1)
    optim.lr_scheduler.CyclicLR(adam, 0.1, 0.7)
    assert adam.param_groups[0]["betas"] == (0.9, 0.999)
    with pytest.raises(ValueError, match="must support momentum"):
        optim.lr_scheduler.CyclicLR(optim.Adagrad([w]), 0.1, 0.7)
