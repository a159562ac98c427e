"""What a recipe says: data, network, loss, how it is measured, and the picture of its report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from .. import nn, optim
from ..callbacks import Schedule
from ..tensor import Tensor
from ..trainer import Callback
from ..utils.data import DataLoader

Data = dict[str, Any]  # the data sets "train", "val" and "test"
History = list[dict[str, float]]


class Recipe:
    """One thing that `minidl train --recipe NAME` trains. Subclasses say what is different.

    All that it draws at random comes from the global generator, and nothing depends on how many epochs were asked for: so a
    run that is stopped and resumed, or made longer, is the same as one in one piece.
    """

    name: ClassVar[str]
    summary: ClassVar[str]  # one line for --list
    folder: ClassVar[str] = ""  # what run folders are called, if not by the name
    epochs: ClassVar[int] = 30
    lr: ClassVar[float] = 2e-3
    batch_size: ClassVar[int] = 64
    best: ClassVar[tuple[str, str]] = ("val_loss", "min")  # which epoch's weights are tested
    metrics: ClassVar[dict[str, Callable[[Any, Tensor], Any]]] = {}

    def data(self, seed: int) -> Data:
        """The data sets "train", "val" and "test". Raises ImportError where a package that ships them is missing."""
        raise NotImplementedError

    def model(self, data: Data) -> nn.Module:
        """The network, with fresh weights."""
        raise NotImplementedError

    def loss(self, output: Any, y: Tensor) -> Tensor:
        """Cross-entropy of scores (..., C) against classes (...)."""
        return nn.functional.cross_entropy(output.reshape(-1, output.shape[-1]), y.reshape(-1))

    def optimizer(self, model: nn.Module, lr: float) -> optim.Optimizer:
        """Adam, unless a recipe wants another."""
        return optim.Adam(model.parameters(), lr=lr)

    def callbacks(self, optimizer: optim.Optimizer) -> list[Callback]:
        """The learning rate is halved after every ten epochs, unless a recipe wants something else."""
        return [Schedule(optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.5))]

    def batches(self, data: Data, batch_size: int) -> Any:
        """What an epoch trains on: all samples in a new order."""
        return DataLoader(data["train"], batch_size, shuffle=True)

    def test(self, model: nn.Module, data: Data, seed: int) -> dict[str, Any]:
        """What the best model is worth on the test data, as JSON can hold it. It draws from a generator of its own."""
        raise NotImplementedError

    def show(self, result: dict[str, Any], console: Any) -> None:
        """Print the result to a rich console."""
        raise NotImplementedError

    def picture(self, model: nn.Module, data: Data, result: dict[str, Any], history: History, title: str) -> Any:
        """The report, a matplotlib Figure."""
        raise NotImplementedError


def figure_of(parts: int, height: float = 4.2) -> tuple[Any, Sequence[Any]]:
    """A figure and its parts, side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, height), layout="constrained")
    return figure, figure.subfigures(1, parts, squeeze=False)[0]


def draw_curves(part: Any, history: History, title: str, metric: str = "") -> None:
    """Loss in training and validation over epochs, and a validation metric beside them."""
    axes = part.subplots()
    epochs = [row["epoch"] for row in history]
    axes.plot(epochs, [row["loss"] for row in history], label="training loss")
    axes.plot(epochs, [row["val_loss"] for row in history], label="validation loss")
    losses = [row[which] for row in history for which in ("loss", "val_loss")]
    scale = "log" if 0 < 5 * min(losses) < max(losses) else "linear"
    axes.set(xlabel="epoch", ylabel="cross-entropy", yscale=scale, title=title)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="lower left")
    if metric:
        beside = axes.twinx()
        beside.plot(epochs, [row[f"val_{metric}"] for row in history], "k:", label=f"validation {metric}")
        beside.set_ylabel(metric)
        beside.legend(loc="center right")
