"""Trainer: the training loop, with the places at which callbacks look in.

What a training step is stands in `Trainer._train_epoch`, fifteen lines. What happens beside it (schedules, clipping, checkpoints,
progress) are callbacks, in minidl/callbacks.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import length_hint
from typing import Any

from . import nn, optim
from .autograd.grad_mode import no_grad
from .random import get_rng_state, set_rng_state
from .tensor import Tensor

IGNORED = -100  # the target that cross_entropy leaves out


class DivergedError(ArithmeticError):
    """The loss is no longer a number."""


class Callback:
    """What a Trainer calls while it trains. Subclasses define what they need; all get the trainer.

    What a callback must remember for training to go on exactly is its state, which the trainer's state holds.
    """

    def on_start(self, trainer: Trainer) -> None:
        """Before the first epoch of a `fit`."""

    def on_gradients(self, trainer: Trainer) -> None:
        """In every step, between backward pass and update: the parameters' `.grad` may be changed."""

    def on_batch(self, trainer: Trainer) -> None:
        """After every step; `trainer.now` has the means of this epoch so far."""

    def on_epoch(self, trainer: Trainer) -> None:
        """After every epoch and its validation; `trainer.history[-1]` is its row. `trainer.should_stop` may be set."""

    def on_end(self, trainer: Trainer) -> None:
        """At the end of a `fit`, however it ends: `trainer.error` is what broke it off, or None."""

    def state_dict(self) -> dict[str, Any]:
        """What must be remembered: tensors, numbers, texts and containers of them."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state again."""


class Trainer:
    """Trains a model on batches of inputs and targets.

    loss(output, y): a tensor, the mean over the targets. metrics: more such functions by name, whose values need no gradient.
    callbacks are called in their order; a Checkpoint comes last of those that have a state.
    Batches go to the device that the model's parameters are on.

    epoch: how many are complete. history: a dict per epoch with epoch, loss and metrics in training, the same in validation
        with val_ before their names, and lr. now: of the running epoch loss, metrics, batch, batches (None for a stream of
        unknown length), samples_per_second.
    Means are over targets: those of integers that are -100, which cross_entropy leaves out, do not count.
    `state_dict` holds all that training depends on, the global random state included: a new trainer that loads it goes on to
    the same weights, bit for bit.

    Example:
        >>> trainer = Trainer(model, optim.Adam(model.parameters()), nn.functional.cross_entropy, {"accuracy": accuracy})
        >>> history = trainer.fit(DataLoader(train, 64, shuffle=True), 10, DataLoader(val, 256))
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: optim.Optimizer,
        loss: Callable[[Any, Tensor], Tensor],
        metrics: Mapping[str, Callable[[Any, Tensor], Any]] | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.model, self.optimizer, self.loss = model, optimizer, loss
        self.metrics, self.callbacks = dict(metrics or {}), list(callbacks)
        self.epoch = 0
        self.history: list[dict[str, float]] = []
        self.now: dict[str, Any] = {}
        self.should_stop = False
        self.error: BaseException | None = None

    @property
    def device(self) -> Any:
        """Where the model is."""
        return next(self.model.parameters()).device

    def fit(self, train: Iterable[Any], epochs: int, val: Iterable[Any] | None = None) -> list[dict[str, float]]:
        """Train until there are `epochs` epochs in all; the history.

        Raises DivergedError when a loss is no longer a number; then and after any other error the epoch does not count.
        """
        self.should_stop, self.error = False, None
        try:
            self._call("on_start")
            while self.epoch < epochs and not self.should_stop:
                row = self._train_epoch(train)
                if val is not None:
                    row |= {f"val_{name}": value for name, value in self.evaluate(val).items()}
                row["lr"] = float(self.optimizer.param_groups[0]["lr"])
                self._must_be_finite(row)
                self.epoch += 1
                self.history.append({"epoch": self.epoch, **row})
                self._call("on_epoch")
        except BaseException as error:
            self.error = error
            raise
        finally:
            self._call("on_end")
        return self.history

    def _train_epoch(self, batches: Iterable[Any]) -> dict[str, float]:
        """One pass over the training data; the means of loss and metrics."""
        self.model.train()
        means, began, seen = Means(), time.perf_counter(), 0
        count = length_hint(batches) or None
        for i, (x, y) in enumerate(batches):
            x, y = x.to(self.device), y.to(self.device)
            output = self.model(x)
            loss = self.loss(output, y)
            self.optimizer.zero_grad()
            loss.backward()
            self._call("on_gradients")
            self.optimizer.step()
            means.add(self._figures(output, y, loss), y)
            seen += len(x)
            speed = seen / (time.perf_counter() - began)
            self.now = {**means.values(), "batch": i + 1, "batches": count, "samples_per_second": speed}
            self._call("on_batch")
        if not seen:
            raise ValueError("Trainer.fit: there was no batch to train on; is it an iterator that was used up?")
        return means.values()

    def evaluate(self, batches: Iterable[Any]) -> dict[str, float]:
        """The means of loss and metrics in evaluation mode, without gradients; the model's mode is as before afterwards."""
        before, means = self.model.training, Means()
        self.model.eval()
        try:
            with no_grad():
                for x, y in batches:
                    x, y = x.to(self.device), y.to(self.device)
                    output = self.model(x)
                    means.add(self._figures(output, y, self.loss(output, y)), y)
        finally:
            self.model.train(before)
        return means.values()

    def _figures(self, output: Any, y: Tensor, loss: Tensor) -> dict[str, float]:
        with no_grad():
            return {"loss": loss.item()} | {name: float(metric(output, y)) for name, metric in self.metrics.items()}

    def _must_be_finite(self, row: dict[str, float]) -> None:
        if not math.isfinite(row["loss"] + row.get("val_loss", 0.0)):
            val = f" ({row['val_loss']} in validation)" if "val_loss" in row else ""
            raise DivergedError(
                f"in epoch {self.epoch + 1} the loss became {row['loss']}{val}; try a learning rate below {row['lr']:g}"
            )

    def _call(self, moment: str) -> None:
        for callback in self.callbacks:
            getattr(callback, moment)(self)

    def state_dict(self) -> dict[str, Any]:
        """All that training depends on, as of the last complete epoch: what `minidl.save` can write."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "callbacks": [[type(c).__name__, c.state_dict()] for c in self.callbacks if c.state_dict()],
            "random": get_rng_state(),
            "epoch": self.epoch,
            "history": [dict(row) for row in self.history],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another trainer was. Raises ValueError if its callbacks with a state were others than this one's."""
        with_state = [c for c in self.callbacks if c.state_dict()]
        found, wanted = ([n for n, _ in state["callbacks"]], [type(c).__name__ for c in with_state])
        if found != wanted:
            raise ValueError(
                f"Trainer.load_state_dict: the state is of a trainer with the callbacks {', '.join(found) or 'none'}; this "
                f"one has {', '.join(wanted) or 'none'}: give it the same, in the same order"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for callback, (_, own) in zip(with_state, state["callbacks"], strict=True):
            callback.load_state_dict(own)
        set_rng_state(state["random"])
        self.epoch, self.history = state["epoch"], [dict(row) for row in state["history"]]


class Means:
    """Means of several figures over targets."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.targets = 0

    def add(self, figures: dict[str, float], y: Tensor) -> None:
        """Add the means over the targets of a batch."""
        count = y.numel() if y.is_floating_point() else int((y != IGNORED).sum().item())
        self.targets += count
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * count

    def values(self) -> dict[str, float]:
        """The means so far, by name."""
        return {name: total / max(1, self.targets) for name, total in self.sums.items()}


def accuracy(output: Tensor, y: Tensor) -> Tensor:
    """The share of targets whose class has the highest score: output (..., C), y (...) with -100 where none counts."""
    counts = y != IGNORED
    return ((output.argmax(-1) == y) & counts).sum() / counts.sum().clamp(min=1)
