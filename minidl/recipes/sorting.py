"""A Transformer that learns to sort."""

from __future__ import annotations

from typing import Any

from .. import nn, optim
from ..autograd.grad_mode import no_grad
from ..callbacks import ClipGradNorm, Schedule
from ..datasets import sorting
from ..tensor import Tensor
from ..trainer import Callback, accuracy
from .classifiers import scores
from .recipe import Data, History, Recipe, draw_curves, figure_of


def whole_rows(output: Tensor, y: Tensor) -> Tensor:
    """The share of rows in which every digit is right: output (B, T, V), y (B, T)."""
    return (output.argmax(-1) == y).all(1).float().mean()


class Sorting(Recipe):
    """Digits into order: place t of the result is the t-th smallest, read off by attention to all places at once."""

    name = "sorting"
    summary = "12 random digits: a Transformer puts them in order"
    epochs = 10
    batch_size = 100
    best = ("val_exact", "max")
    metrics = {"accuracy": accuracy, "exact": whole_rows}
    T, width, blocks, samples = 12, 64, 2, 10_000

    def data(self, seed: int) -> Data:
        """Rows of one seed's stream; of 10^12 possible ones, those for the test were hardly seen before."""
        rows = sorting(self.samples + 2000, self.T, 10, seed)
        parts = {"train": slice(self.samples), "val": slice(self.samples, -1000), "test": slice(-1000, None)}
        return {split: type(rows)(rows.data[part], rows.targets[part]) for split, part in parts.items()}

    def model(self, data: Data) -> nn.Module:
        return SortingTransformer(10, self.T, self.width, self.blocks)

    def callbacks(self, optimizer: optim.Optimizer) -> list[Callback]:
        return [ClipGradNorm(1.0), Schedule(optim.lr_scheduler.ExponentialLR(optimizer, 0.85))]

    def test(self, model: nn.Module, data: Data, seed: int) -> dict[str, Any]:
        output, y = scores(model, data["test"]), data["test"].targets
        predicted = output.argmax(-1)
        wrong = (predicted != y).any(1).nonzero()[:5, 0].tolist()
        examples = [0, 1, 2, *wrong]
        return {
            "test_loss": self.loss(output, y).item(),
            "test_accuracy": float((predicted == y).double().mean()),
            "test_exact": float((predicted == y).all(1).double().mean()),
            "examples": [[t[i].tolist() for t in (data["test"].data, predicted, y)] for i in examples],
        }

    def show(self, result: dict[str, Any], console: Any) -> None:
        for given, made, right in result["examples"]:
            note = "" if made == right else f"  wrong, it is {_text(right)}"
            console.print(f"{_text(given)}  ->  {_text(made)}{note}")
        console.print(
            f"test: {result['test_exact']:.4f} of the rows wholly right, {result['test_accuracy']:.4f} of the digits"
        )

    def picture(self, model: nn.Module, data: Data, result: dict[str, Any], history: History, title: str) -> Any:
        """Curves, and where the last block looks for each digit of a result."""
        figure, (curves, looks) = figure_of(2)
        draw_curves(curves, history, title, "exact")
        row = data["test"].data[:1]
        predicted, weights = attention_of(model, row)
        axes = looks.subplots()
        image = axes.imshow(weights, cmap="Blues", vmin=0)
        looks.colorbar(image, ax=axes)
        places = range(self.T)
        axes.set(xticks=places, xticklabels=row[0].tolist(), yticks=places, yticklabels=predicted)
        axes.set(
            xlabel="what was given", ylabel="what was made of it", title="attention of the last block, mean over heads"
        )
        return figure


class SortingTransformer(nn.Module):
    """Digits (B, T) to scores of the digits in order (B, T, V): Transformer blocks without a mask."""

    def __init__(self, V: int, T: int, width: int, blocks: int, heads: int = 4) -> None:
        super().__init__()
        self.digits, self.places = nn.Embedding(V, width), nn.Embedding(T, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(blocks)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, V)

    def forward(self, x: Tensor) -> Tensor:
        h = self.digits(x) + self.places.weight
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h))


def attention_of(model: SortingTransformer | Any, row: Tensor) -> tuple[list[int], Any]:
    """The digits that the model makes of a row (1, T), and the last block's attention (T, T) to the places of the input."""
    attention, seen = model.blocks[-1].self_attn, []
    hook = attention.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with hook, no_grad():
        predicted = model(row.to(next(model.parameters()).device))[0].argmax(-1)
    with no_grad():
        _, weights = attention(seen[0], seen[0], seen[0])
    return predicted.tolist(), weights[0].cpu().numpy()


def _text(digits: list[int]) -> str:
    return " ".join(map(str, digits))
