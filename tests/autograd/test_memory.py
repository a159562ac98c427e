"""Training loops of different kinds leave nothing behind, and need no garbage collector to get rid of a step's graph."""

from __future__ import annotations

import gc

import pytest

import minidl as md
from minidl import nn
from minidl.nn import functional as F
from minidl.utils.checkpoint import checkpoint


def adversarial():
    maker = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    judge = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(), nn.Linear(8, 1))
    first, second = md.optim.Adam(maker.parameters()), md.optim.RMSprop(judge.parameters())
    loss, real = F.binary_cross_entropy_with_logits, md.ones(8, 1)

    def step():
        fake = maker(md.randn(8, 4))
        second.zero_grad()
        (loss(judge(md.randn(8, 2)), real) + loss(judge(fake.detach()), 1 - real)).backward()
        second.step()
        first.zero_grad()
        loss(judge(fake), real).backward()
        first.step()

    return step


def truncated():
    net, state = nn.LSTM(4, 8), None
    optimizer = md.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    def step():
        nonlocal state
        out, after = net(md.randn(5, 2, 4), state)
        state = tuple(t.detach() for t in after)
        optimizer.zero_grad()
        out.square().mean().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    return step


def twice_through_one_graph():
    w = nn.Parameter(md.randn(8, 8))

    def step():
        h = md.tanh(w @ w)
        h.sum().backward(retain_graph=True)
        h.square().sum().backward()
        (slope,) = md.autograd.grad((w**3).sum(), w, create_graph=True)
        slope.square().sum().backward()
        w.grad = None

    return step


def sparse_rows():
    table = nn.Embedding(100, 8, sparse=True)
    optimizer = md.optim.SparseAdam(list(table.parameters()))

    def step():
        optimizer.zero_grad()
        table(md.randint(0, 100, (4, 6))).square().sum().backward()
        optimizer.step()

    return step


def moving_average():
    net, average = (nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.1)) for _ in range(2))
    optimizer = md.optim.AdamW(net.parameters())

    def step():
        optimizer.zero_grad()
        net(md.randn(8, 4)).square().sum().backward()
        optimizer.step()
        with md.no_grad():
            for old, new in zip(average.parameters(), net.parameters(), strict=True):
                old.mul_(0.99).add_(new, alpha=0.01)

    return step


def checkpointed():
    body = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.2))

    def step():
        for reentrant in (False, True):
            x = md.randn(8, 4, requires_grad=True)
            checkpoint(body, x, use_reentrant=reentrant).sum().backward()
        body.zero_grad()

    return step


def written_in_place():
    w = nn.Parameter(md.randn(8))

    def step():
        y = (w * 2).clone()
        y[1:3] = w[:2]
        y[4:].mul_(3).add_(1)
        y.sum().backward()
        w.grad = None

    return step


class Fails(md.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 1

    @staticmethod
    def backward(ctx, g):
        raise ValueError("in backward")


def failing():
    w = nn.Parameter(md.randn(8, 8))

    def fail(x):
        raise ValueError("in forward")

    def step():
        h = (w @ w).tanh()
        with pytest.raises(RuntimeError):
            h @ md.ones(3)
        with pytest.raises(ValueError):
            Fails.apply(h).exp().sum().backward()
        with pytest.raises(ValueError):
            checkpoint(fail, h, use_reentrant=False)

    return step


@pytest.mark.parametrize(
    "loop",
    [adversarial, truncated, twice_through_one_graph, sparse_rows, moving_average, checkpointed, written_in_place],
)
def test_no_object_is_left_by_a_step(loop):
    """Not even for the collector: a cycle keeps the memory of a whole graph until it comes by."""
    step = loop()
    for _ in range(70):  # what grows to a fixed size does: histories of writes hold 64
        step()
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(100):
            step()
        assert len(gc.get_objects()) - before < 10
    finally:
        gc.enable()


def test_no_object_is_left_by_a_step_that_fails():
    step = failing()
    for _ in range(3):
        step()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(50):
        step()
    gc.collect()  # an exception and the frames in its traceback are a cycle of Python's
    assert len(gc.get_objects()) - before < 10
