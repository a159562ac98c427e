"""What happens beside training steps: schedules, clipping, stopping early, checkpoints, progress."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

from . import nn
from .serialization import save, write_whole
from .trainer import Callback, Trainer


class Schedule(Callback):
    """Steps a learning-rate scheduler of minidl.optim.lr_scheduler after every "epoch" or every "batch"."""

    def __init__(self, scheduler: Any, each: str = "epoch") -> None:
        if each not in ("epoch", "batch"):
            raise ValueError(f"Schedule: each is 'epoch' or 'batch', got {each!r}")
        self.scheduler, self.each = scheduler, each

    def on_batch(self, trainer: Trainer) -> None:
        if self.each == "batch":
            self.scheduler.step()

    def on_epoch(self, trainer: Trainer) -> None:
        if self.each == "epoch":
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        return dict(self.scheduler.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state)


class ClipGradNorm(Callback):
    """Scales all gradients down together where their norm is above max_norm.

    Source: Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks" (2013).
    """

    def __init__(self, max_norm: float) -> None:
        self.max_norm = max_norm

    def on_gradients(self, trainer: Trainer) -> None:
        nn.utils.clip_grad_norm_(trainer.model.parameters(), self.max_norm)


class _Best(Callback):
    """Keeps an eye on one figure of the history. mode: whether the "min" or the "max" is the best."""

    def __init__(self, metric: str, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"{type(self).__name__}: mode is 'min' or 'max', got {mode!r}")
        self.metric, self.mode, self.min_delta = metric, mode, min_delta
        self.best = math.inf if mode == "min" else -math.inf

    def improved(self, trainer: Trainer) -> bool:
        """Whether the last epoch is the best so far; it is remembered then. Raises KeyError for a figure that there is not."""
        row = trainer.history[-1]
        if self.metric not in row:
            raise KeyError(f"{type(self).__name__}: the history has no {self.metric!r}, but {', '.join(row)}")
        value = row[self.metric]
        better = value < self.best - self.min_delta if self.mode == "min" else value > self.best + self.min_delta
        self.best = value if better else self.best
        return better


class EarlyStopping(_Best):
    """Ends training once a figure has not improved for `patience` epochs, and brings back the weights of the best epoch.

    min_delta: what counts as an improvement is more than this. restore=False leaves the last weights.
    The weights come back at the end of any `fit` that is not broken off.
    """

    def __init__(
        self,
        metric: str = "val_loss",
        mode: str = "min",
        *,
        patience: int = 5,
        min_delta: float = 0.0,
        restore: bool = True,
    ) -> None:
        super().__init__(metric, mode, min_delta)
        if patience < 1 or min_delta < 0:
            raise ValueError(
                f"EarlyStopping: patience is at least 1 and min_delta at least 0, got {patience} and {min_delta}"
            )
        self.patience, self.restore = patience, restore
        self.waited = 0
        self.weights: Any = None

    def on_start(self, trainer: Trainer) -> None:
        trainer.should_stop = self.waited >= self.patience

    def on_epoch(self, trainer: Trainer) -> None:
        if self.improved(trainer):
            self.waited = 0
            if self.restore:
                self.weights = copy.deepcopy(trainer.model.state_dict())
        else:
            self.waited += 1
            trainer.should_stop = trainer.should_stop or self.waited >= self.patience

    def on_end(self, trainer: Trainer) -> None:
        if trainer.error is None and self.weights is not None:
            trainer.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.waited, self.weights = state["best"], state["waited"], state["weights"]


class Checkpoint(_Best):
    """Writes the trainer's state into a folder after every epoch, so that training can be stopped at any time.

    last.ckpt: the last complete epoch; best.ckpt: the best by `metric`; metrics.jsonl: the history, a line per epoch. Each
    file is replaced in one step. It comes last among the callbacks that have a state.
    """

    def __init__(self, folder: str | Path, metric: str = "val_loss", mode: str = "min") -> None:
        super().__init__(metric, mode)
        self.folder = Path(folder)

    def on_start(self, trainer: Trainer) -> None:
        later = trainer.callbacks[trainer.callbacks.index(self) + 1 :]
        late = next((type(c).__name__ for c in later if c.state_dict()), None)
        if late:
            raise ValueError(f"Checkpoint: it would save {late} as it was an epoch ago; put it behind {late}")
        if not trainer.epoch:
            self.save(trainer, "last.ckpt")

    def on_epoch(self, trainer: Trainer) -> None:
        if self.improved(trainer):
            self.save(trainer, "best.ckpt")
        self.save(trainer, "last.ckpt")
        self.write_history(trainer)

    def save(self, trainer: Trainer, name: str) -> None:
        """Write the state as it is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        save(trainer.state_dict(), self.folder / name)

    def write_history(self, trainer: Trainer) -> None:
        """Write metrics.jsonl."""
        lines = (json.dumps(row) + "\n" for row in trainer.history)
        write_whole(self.folder / "metrics.jsonl", "".join(lines).encode())

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]


class Progress(Callback):
    """A progress bar in a terminal, a line per epoch elsewhere, as in a notebook.

    title: what is being trained. epochs: how many are wanted, for the bar.
    """

    def __init__(self, epochs: int, title: str = "training") -> None:
        self.epochs, self.title = epochs, title
        self.bar: Any = None

    def on_start(self, trainer: Trainer) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        console = Console()
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self.terminal = console.is_terminal
        self.bar = Progress(*columns, TextColumn("{task.fields[status]}"), console=console, disable=not self.terminal)
        self.bar.start()
        self.task = self.bar.add_task(self.title, total=self.epochs, completed=trainer.epoch, status="")

    def on_batch(self, trainer: Trainer) -> None:
        now = trainer.now
        figures = "  ".join(f"{name} {now[name]:.4f}" for name in ("loss", *trainer.metrics))
        part = now["batch"] / now["batches"] if now["batches"] else 0
        status = f"epoch {trainer.epoch + 1}  {figures}  {now['samples_per_second']:,.0f} samples/s"
        self.bar.update(self.task, completed=trainer.epoch + part, status=status)

    def on_epoch(self, trainer: Trainer) -> None:
        if not self.terminal:
            row = trainer.history[-1]
            figures = "  ".join(f"{name} {value:.4f}" for name, value in row.items() if name not in ("epoch", "lr"))
            print(f"epoch {row['epoch']:3d}  {figures}", flush=True)

    def on_end(self, trainer: Trainer) -> None:
        if self.bar is not None:
            self.bar.stop()
