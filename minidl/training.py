"""Training a classifier on the digits: the recipes and the loop behind `minidl train`.

A run is a folder: config.json (what was asked for), metrics.jsonl (a line per epoch), last.ckpt and best.ckpt (model,
optimizer, scheduler, random state, epoch, metrics), and at the end result.json and report.png. Each file is replaced in
one step and the last complete epoch is always there, so a run can be stopped at any time, and goes on to the same weights.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import minidl as md

from . import nn, optim
from .datasets import SPLITS, ArrayDataset, digits
from .serialization import write_whole
from .utils.data import DataLoader


def linear() -> nn.Module:
    """Softmax regression: one linear layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def mlp() -> nn.Module:
    """Two hidden layers with ReLU."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))


def mlp_dropout() -> nn.Module:
    """Two hidden layers with GELU, layer normalization and dropout."""
    return nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(64, 256), nn.LayerNorm(256), nn.GELU(), nn.Dropout(0.3)),
        *(nn.Linear(256, 128), nn.LayerNorm(128), nn.GELU(), nn.Dropout(0.3)),
        nn.Linear(128, 10),
    )


def cnn() -> nn.Module:
    """Two convolutions, the second with stride 2, and a linear layer on their 32 maps of 4 x 4."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 10),
    )


RECIPES: dict[str, Callable[[], nn.Module]] = {"mlp": mlp, "mlp-dropout": mlp_dropout, "linear": linear, "cnn": cnn}


class DivergedError(ArithmeticError):
    """The loss is no longer a number."""


@dataclass
class Config:
    """What a run was asked for. Raises ValueError for an unknown recipe and for numbers that make no sense."""

    recipe: str = "mlp"
    epochs: int = 30
    seed: int = 0
    device: str = "cpu"
    lr: float = 2e-3
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise ValueError(f"unknown recipe {self.recipe!r}; there are: {', '.join(RECIPES)}")
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs and batch_size must be at least 1, got {self.epochs} and {self.batch_size}")
        if not 0 <= self.lr < math.inf:
            raise ValueError(f"lr must be a number from 0, got {self.lr}")


@dataclass
class Run:
    """A run in progress: where it lives and what it is made of."""

    config: Config
    folder: Path
    model: nn.Module
    optimizer: optim.Optimizer
    scheduler: Any
    data: dict[str, ArrayDataset]
    epoch: int = 0
    best_accuracy: float = -1.0
    history: list[dict[str, float]] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "random": md.get_rng_state(),
            "epoch": self.epoch,
            "best_accuracy": self.best_accuracy,
            "history": self.history,
        }

    def save(self, name: str) -> None:
        md.save(self.state(), self.folder / name)


def new_folder(recipe: str, root: Path = Path("runs")) -> Path:
    """The first runs/digits-RECIPE-N that does not exist yet."""
    n = 1
    while (root / f"digits-{recipe}-{n}").exists():
        n += 1
    return root / f"digits-{recipe}-{n}"


def start(config: Config, folder: Path) -> Run:
    """A new run in a folder, which must be new or empty. Raises OSError where it is not, or cannot be made."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not empty; choose another --out, or continue it with --resume")
    run = _build(config, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot make the folder {folder} for the run: {error.strerror}") from None
    _write_config(config, folder)
    run.save("last.ckpt")
    return run


def resume(folder: Path, epochs: int | None = None) -> Run:
    """A run as its last checkpoint has it; `epochs` may raise the number to reach.

    Raises FileNotFoundError for a folder without a run, ValueError or RuntimeError for damaged files.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no run folder: it has no config.json")
    try:
        config = Config(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    state = md.load(folder / "last.ckpt")
    if not isinstance(state, dict) or "history" not in state:
        raise ValueError(f"{folder / 'last.ckpt'} is no checkpoint of a run")
    if epochs is not None and epochs < state["epoch"]:
        raise ValueError(f"{folder} has {state['epoch']} epochs already; epochs is their number in all, got {epochs}")
    run = _build(config, folder)
    run.model.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.scheduler.load_state_dict(state["scheduler"])
    md.set_rng_state(state["random"])
    run.epoch, run.best_accuracy, run.history = state["epoch"], state["best_accuracy"], state["history"]
    if epochs is not None:
        config.epochs = epochs
        _write_config(config, folder)
    return run


def _write_config(config: Config, folder: Path) -> None:
    write_whole(folder / "config.json", (json.dumps(asdict(config), indent=2) + "\n").encode())


def _build(config: Config, folder: Path) -> Run:
    data = {split: digits(split, config.seed) for split in SPLITS}
    md.manual_seed(config.seed)
    model = RECIPES[config.recipe]().to(config.device)
    optimizer = optim.Adam(model.parameters(), lr=config.lr)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.5)
    return Run(config, folder, model, optimizer, scheduler, data)


def fit(run: Run, on_batch: Callable[[Run, dict[str, float]], None], on_epoch: Callable[[Run], None]) -> None:
    """Train until `config.epochs`. Raises DivergedError when the loss is no longer a number."""
    loader = DataLoader(run.data["train"], batch_size=run.config.batch_size, shuffle=True)
    while run.epoch < run.config.epochs:
        loss = _train_epoch(run, loader, on_batch)
        val_loss, accuracy, _ = evaluate(run.model, run.data["val"], run.config.device)
        lr = run.optimizer.param_groups[0]["lr"]
        if not math.isfinite(loss + val_loss):
            raise DivergedError(
                f"in epoch {run.epoch + 1} the loss became {loss} ({val_loss} in validation); try a learning rate below "
                f"{lr:g}"
            )
        run.scheduler.step()
        run.epoch += 1
        run.history.append({"epoch": run.epoch, "loss": loss, "val_loss": val_loss, "val_accuracy": accuracy, "lr": lr})
        if accuracy > run.best_accuracy:
            run.best_accuracy = accuracy
            run.save("best.ckpt")
        run.save("last.ckpt")
        _write_metrics(run)
        on_epoch(run)


def _write_metrics(run: Run) -> None:
    write_whole(run.folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in run.history).encode())


def _train_epoch(run: Run, loader: DataLoader, on_batch: Callable[[Run, dict[str, float]], None]) -> float:
    """One pass over the training data; the mean loss."""
    run.model.train()
    total, seen, right, began = 0.0, 0, 0, time.perf_counter()
    for x, y in loader:
        x, y = x.to(run.config.device), y.to(run.config.device)
        logits = run.model(x)
        loss = nn.functional.cross_entropy(logits, y)
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()
        total += loss.item() * len(y)
        seen += len(y)
        right += int((logits.detach().argmax(1) == y).sum().item())
        speed = seen / (time.perf_counter() - began)
        on_batch(run, {"loss": total / seen, "accuracy": right / seen, "samples_per_second": speed, "seen": seen})
    return total / seen


def evaluate(model: nn.Module, dataset: Any, device: str = "cpu") -> tuple[float, float, np.ndarray[Any, Any]]:
    """Mean loss, accuracy and predicted labels (N,) on a data set."""
    model.eval()
    x, y = (t.to(device) for t in dataset.tensors)
    with md.no_grad():
        logits = model(x)
        loss = nn.functional.cross_entropy(logits, y).item()
    predicted = logits.argmax(1).cpu().numpy()
    return loss, float((predicted == y.cpu().numpy()).mean()), predicted


def finish(run: Run) -> dict[str, Any]:
    """Test the best checkpoint; write result.json and report.png. Returns accuracy and confusion matrix [true, predicted]."""
    _write_metrics(run)  # a run stopped just after its last checkpoint lacks a line
    run.model.load_state_dict(md.load(run.folder / "best.ckpt")["model"])
    test = run.data["test"]
    loss, accuracy, predicted = evaluate(run.model, test, run.config.device)
    truth = test.tensors[1].numpy()
    confusion = np.zeros((10, 10), np.int64)
    np.add.at(confusion, (truth, predicted), 1)
    result = {"test_loss": loss, "test_accuracy": accuracy, "confusion": confusion.tolist()}
    write_whole(run.folder / "result.json", (json.dumps(result) + "\n").encode())
    plot_report(run, test, predicted, confusion, run.folder / "report.png")
    return result


def plot_report(run: Run, test: Any, predicted: Any, confusion: Any, path: Path) -> None:
    """Curves, confusion matrix and the misclassified digits as one picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    curves, matrix, gallery = figure.subfigures(1, 3, squeeze=False)[0]
    axes = curves.subplots()
    epochs = [row["epoch"] for row in run.history]
    axes.plot(epochs, [row["loss"] for row in run.history], label="training loss")
    axes.plot(epochs, [row["val_loss"] for row in run.history], label="validation loss")
    axes.set(xlabel="epoch", ylabel="cross-entropy", yscale="log", title=f"{run.config.recipe}, seed {run.config.seed}")
    accuracy = axes.twinx()
    accuracy.plot(epochs, [row["val_accuracy"] for row in run.history], "k:", label="validation accuracy")
    accuracy.set_ylabel("accuracy")
    axes.legend(loc="lower left")
    accuracy.legend(loc="center right")
    axes = matrix.subplots()
    axes.imshow(np.log1p(confusion), cmap="Blues")
    for i, j in zip(*np.nonzero(confusion), strict=True):
        axes.text(
            j, i, str(confusion[i, j]), ha="center", va="center", color="white" if i == j else "black", fontsize=8
        )
    axes.set(xlabel="predicted", ylabel="true", title="test set", xticks=range(10), yticks=range(10))
    images, truth = (t.numpy() for t in test.tensors)
    wrong = np.nonzero(predicted != truth)[0][:12]
    gallery.suptitle(f"misclassified: {int((predicted != truth).sum())} of {len(truth)}")
    grid = gallery.subplots(3, 4).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, i in zip(grid, wrong, strict=False):
        axes.imshow(images[i, 0], cmap="gray_r")
        axes.set_title(f"{truth[i]} as {predicted[i]}", fontsize=8)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110)
    write_whole(path, picture.getvalue())
