"""The training loop and its callbacks."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import minidl as md
from minidl import nn, optim
from minidl.callbacks import Checkpoint, ClipGradNorm, EarlyStopping, Progress, Schedule
from minidl.nn import functional as F
from minidl.trainer import Callback, DivergedError, Trainer, accuracy
from minidl.utils.data import DataLoader, TensorDataset


def problem(n=60):
    """Points in the plane, and on which side of a line they are."""
    md.manual_seed(5)
    x = md.randn(n, 2)
    return TensorDataset(x, (x.sum(1) > 0.2).long())


def network():
    md.manual_seed(6)
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 2))


def trainer_of(*callbacks, model=None, lr=0.05, schedule=True):
    """A trainer whose learning rate falls, with an early stop that keeps weights in its state."""
    model = network() if model is None else model
    optimizer = optim.Adam(model.parameters(), lr=lr)
    falling = [Schedule(optim.lr_scheduler.ExponentialLR(optimizer, 0.9))] if schedule else []
    return Trainer(model, optimizer, F.cross_entropy, {"accuracy": accuracy}, [*falling, *callbacks])


def batches():
    return DataLoader(problem(), 16, shuffle=True), DataLoader(problem(), 25)


def weights(trainer):
    return [p.tolist() for p in trainer.model.parameters()]


def test_a_fit_is_the_loop_that_one_would_write():
    train, val = batches()
    trainer = trainer_of()
    val = list(val)
    md.manual_seed(1)
    history = trainer.fit(train, 3, val)  # a list, since a pass of a DataLoader draws a random number
    model = network()
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    md.manual_seed(1)
    losses = []
    for _ in range(3):
        model.train()
        total = 0.0
        for x, y in train:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        losses.append(total / 60)
        optimizer.param_groups[0]["lr"] *= 0.9
    assert weights(trainer) == [p.tolist() for p in model.parameters()]
    assert [row["loss"] for row in history] == pytest.approx(losses, rel=1e-12)
    assert [row["lr"] for row in history] == pytest.approx([0.05, 0.045, 0.0405])
    model.eval()
    x, y = problem().tensors
    assert history[-1]["val_loss"] == pytest.approx(F.cross_entropy(model(x), y).item(), rel=1e-6)
    assert history[-1]["val_accuracy"] == pytest.approx((model(x).argmax(1) == y).double().mean().item())
    assert list(history[0]) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr"]


def test_going_on_from_a_checkpoint_is_exact(tmp_path):
    train, val = batches()

    def fresh(folder):
        return trainer_of(ClipGradNorm(0.5), EarlyStopping(patience=9, restore=False), Checkpoint(tmp_path / folder))

    whole = fresh("a")
    md.manual_seed(2)
    whole.fit(train, 5, val)
    first = fresh("b")
    md.manual_seed(2)
    first.fit(train, 2, val)
    second = fresh("b")
    md.manual_seed(77)
    second.load_state_dict(md.load(tmp_path / "b" / "last.ckpt"))
    second.fit(train, 5, val)
    assert weights(second) == weights(whole) and second.history == whole.history
    for name in ("best.ckpt", "last.ckpt"):
        states = [md.load(tmp_path / folder / name) for folder in "ab"]
        assert repr(states[0]) == repr(states[1]) and states[0]["random"].tolist() == states[1]["random"].tolist()
    rows = [json.loads(line) for line in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()]
    assert rows == whole.history


class Script(Callback):
    """Puts given values into the history as a validation loss."""

    def __init__(self, values):
        self.values = values

    def on_epoch(self, trainer):
        trainer.history[-1]["val_loss"] = self.values[trainer.epoch - 1]


class Snapshots(Callback):
    """The weights after every epoch."""

    def __init__(self):
        self.seen = []

    def on_epoch(self, trainer):
        self.seen.append(weights(trainer))


@pytest.mark.parametrize("restore", [True, False])
def test_early_stopping_waits_and_brings_back_the_best(restore):
    train, _ = batches()
    snapshots = Snapshots()
    stopping = EarlyStopping(patience=2, restore=restore, min_delta=0.1)
    trainer = trainer_of(Script([3, 2, 1.95, 2.5, 0, 0]), snapshots, stopping)
    trainer.fit(train, 6)
    assert trainer.epoch == 4, "1.95 is no improvement of more than 0.1"
    assert weights(trainer) == snapshots.seen[1 if restore else 3]
    trainer.fit(train, 6)
    assert trainer.epoch == 4, "it is over"


def test_early_stopping_ends_a_resumed_run_where_it_would_have():
    train, _ = batches()
    values = [1, 2, 2, 2]
    first = trainer_of(Script(values), EarlyStopping(patience=3))
    first.fit(train, 2)
    second = trainer_of(Script(values), EarlyStopping(patience=3))
    second.load_state_dict(first.state_dict())
    second.fit(train, 9)
    assert second.epoch == 4


def test_an_error_leaves_the_last_epoch_and_ends_the_callbacks():
    class Break(Callback):
        def on_batch(self, trainer):
            if trainer.epoch == 1:
                raise KeyboardInterrupt

        def on_end(self, trainer):
            self.error = trainer.error

    stop = Break()
    trainer = trainer_of(EarlyStopping("loss"), stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(batches()[0], 3)
    assert trainer.epoch == 1 and len(trainer.history) == 1 and isinstance(stop.error, KeyboardInterrupt)
    trainer.callbacks.remove(stop)
    trainer.fit(batches()[0], 3)
    assert trainer.epoch == 3 and trainer.error is None


def test_gradients_are_clipped_before_the_step():
    norms = []

    class Look(Callback):
        def on_gradients(self, trainer):
            norms.append(math.sqrt(sum((p.grad.double() ** 2).sum().item() for p in trainer.model.parameters())))

    trainer = trainer_of(Look(), ClipGradNorm(1e-3), Look())
    trainer.fit(batches()[0], 1)
    assert min(norms[::2]) > 1e-2 and norms[1::2] == pytest.approx([1e-3] * 4, rel=1e-2)


def test_a_schedule_may_step_after_every_batch():
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    trainer = Trainer(model, optimizer, F.cross_entropy, callbacks=[
        Schedule(optim.lr_scheduler.ExponentialLR(optimizer, 0.5), each="batch")])  # fmt: skip
    trainer.fit(batches()[0], 1)
    assert optimizer.param_groups[0]["lr"] == 0.5**4


def test_means_leave_out_ignored_targets():
    logits = md.tensor([[[2.0, 0.0], [0.0, 1.0]], [[0.0, 3.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    y = md.tensor([[0, 0], [1, -100], [-100, -100]])
    assert accuracy(logits, y).item() == pytest.approx(2 / 3)
    model = nn.Linear(1, 1)
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=0), lambda out, y: y[y != -100].double().mean())
    data = [(md.zeros(1, 1), md.tensor([[1, 2]])), (md.zeros(1, 1), md.tensor([[9, -100]]))]
    assert trainer.evaluate(data) == {"loss": pytest.approx((1 + 2 + 9) / 3)}


def test_evaluating_changes_nothing():
    trainer = trainer_of()
    before, val = weights(trainer), list(batches()[1])
    md.manual_seed(8)
    state = md.get_rng_state().tolist()
    assert trainer.evaluate(val) == trainer.evaluate(val), "without dropout"
    assert md.get_rng_state().tolist() == state and weights(trainer) == before and trainer.model.training
    assert all(p.grad is None for p in trainer.model.parameters())


def test_progress_is_a_line_per_epoch_where_there_is_no_terminal(capsys):
    trainer = trainer_of(Progress(2))
    trainer.fit(*batches()[:1], 2, batches()[1])
    lines = capsys.readouterr().out.splitlines()
    row = trainer.history[-1]
    assert len(lines) == 2 and lines[1].startswith("epoch   2  loss ")
    assert f"val_accuracy {row['val_accuracy']:.4f}" in lines[1] and "lr" not in lines[1]


def test_mistakes_are_named(tmp_path):
    train, val = batches()
    model = network()
    optimizer = optim.Adam(model.parameters())
    early = EarlyStopping()
    cases = (
        (lambda: Trainer(model, optimizer, F.cross_entropy).fit([], 1), ValueError, "no batch to train on"),
        (lambda: trainer_of(lr=1e300, schedule=False).fit(train, 9, val), DivergedError, r"became nan .* below 1e\+300"),
        (lambda: trainer_of(Checkpoint(tmp_path / "x"), early).fit(train, 1), ValueError, "put it behind EarlyStopping"),
        (lambda: trainer_of(EarlyStopping("val_f1")).fit(train, 1), KeyError, "no 'val_f1', but epoch, loss"),
        (lambda: trainer_of().load_state_dict(trainer_of(early).state_dict()), ValueError,
         "callbacks Schedule, EarlyStopping; this one has Schedule"),
        (lambda: EarlyStopping(mode="best"), ValueError, "EarlyStopping: mode is 'min' or 'max', got 'best'"),
        (lambda: EarlyStopping(patience=0), ValueError, "patience is at least 1"),
        (lambda: Schedule(None, each="step"), ValueError, "each is 'epoch' or 'batch', got 'step'"),
    )  # fmt: skip
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()


def test_it_trains():
    train, val = batches()
    trainer = trainer_of()
    trainer.fit(train, 15, val)
    assert trainer.history[-1]["val_accuracy"] > 0.95
    assert np.isfinite([row["val_loss"] for row in trainer.history]).all()
