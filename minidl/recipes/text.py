"""Recipes that write: names letter by letter, and text character by character."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import nn, optim
from ..autograd.grad_mode import no_grad
from ..callbacks import ClipGradNorm, Schedule
from ..datasets import ArrayDataset, Characters, Words, names, python_help
from ..ops.creation import from_numpy
from ..ops.random import multinomial, randperm
from ..random import Generator
from ..tensor import Tensor
from ..trainer import Callback, Means, accuracy
from ..utils.data import DataLoader, RandomSampler, Subset
from .recipe import Data, History, Recipe, draw_curves, figure_of

BITS = 1 / math.log(2)  # in a nat


class Writer(Recipe):
    """Predicts the next character: tested in bits per character, beside what the characters' frequencies alone would need."""

    metrics = {"accuracy": accuracy}

    def measure(self, model: nn.Module, data: Data) -> dict[str, Any]:
        """Loss and bits per character on the test data."""
        device = next(model.parameters()).device
        model.eval()
        means, seen = Means(), np.zeros(0, np.int64)
        with no_grad():
            for x, y in DataLoader(data["test"], 128):
                output = model(x.to(device))
                figures = {
                    "loss": self.loss(output, y.to(device)).item(),
                    "accuracy": float(accuracy(output, y.to(device))),
                }
                means.add(figures, y)
                seen = np.concatenate([seen, y.numpy()[y.numpy() >= 0]])
        found = means.values()
        share = np.bincount(seen) / len(seen)
        return {
            "test_loss": found["loss"],
            "test_accuracy": found["accuracy"],
            "bits_per_character": found["loss"] * BITS,
            "bits_of_frequencies": float(-(share[share > 0] * np.log2(share[share > 0])).sum()),
        }

    def show(self, result: dict[str, Any], console: Any) -> None:
        console.print(
            f"test: {result['bits_per_character']:.3f} bits per character; from the frequencies alone "
            f"{result['bits_of_frequencies']:.3f}\nnext character right: {result['test_accuracy']:.3f}"
        )
        console.print(result["sample"])


class NamesLSTM(Writer):
    """A character LSTM (Hochreiter & Schmidhuber, 1997; as a generator of text Graves, 2013) on 5,163 first names."""

    name = "names-lstm"
    summary = "first names (package names): an LSTM makes up new ones"
    epochs = 15
    lr = 5e-3
    width = 128

    def data(self, seed: int) -> Data:
        words = names("first")
        x, y = (np.stack([words[i][which].numpy() for i in range(len(words))]) for which in (0, 1))
        order = randperm(len(words), generator=Generator().manual_seed(seed)).numpy()
        cuts = (0, len(words) * 8 // 10, len(words) * 9 // 10, len(words))
        parts = {split: order[cuts[i] : cuts[i + 1]] for i, split in enumerate(("train", "val", "test"))}
        return {split: ArrayDataset(x[rows], y[rows]) for split, rows in parts.items()} | {"words": words}

    def model(self, data: Data) -> nn.Module:
        return CharacterLSTM(1 + len(data["words"].alphabet), self.width)

    def callbacks(self, optimizer: optim.Optimizer) -> list[Callback]:
        return [ClipGradNorm(1.0), Schedule(optim.lr_scheduler.ExponentialLR(optimizer, 0.85))]

    def test(self, model: nn.Module, data: Data, seed: int) -> dict[str, Any]:
        words: Words = data["words"]
        made = [words.decode(row) for row in made_up(model, 200, words.T, seed)]
        known = set(words.words)
        new = list(dict.fromkeys(name for name in made if name and name not in known))
        rows = [", ".join(new[i : i + 8]) for i in range(0, min(24, len(new)), 8)]
        return self.measure(model, data) | {
            "new": sum(name not in known for name in made) / len(made),
            "sample": "\n".join(rows),
        }

    def show(self, result: dict[str, Any], console: Any) -> None:
        super().show({**result, "sample": f"{result['new']:.0%} of 200 names are in no list; some of these:"}, console)
        console.print(result["sample"])

    def picture(self, model: nn.Module, data: Data, result: dict[str, Any], history: History, title: str) -> Any:
        """Curves, what is expected after each letter of a name, and names that were made up."""
        figure, (curves, expected, made) = figure_of(3)
        draw_curves(curves, history, title, "accuracy")
        word, alphabet = "christina", data["words"].alphabet
        with no_grad():
            logits = model(
                from_numpy(np.r_[0, alphabet.encode(word).numpy()][None]).to(next(model.parameters()).device)
            )
        axes = expected.subplots()
        axes.imshow(logits[0].softmax(-1).cpu().numpy().T, cmap="Blues", vmin=0, aspect="auto")
        letters = ["end", *alphabet.characters]
        axes.set(xticks=range(len(word) + 1), xticklabels=["start", *word], yticks=range(len(letters)))
        axes.set_yticklabels(letters, fontsize=7)
        axes.set(xlabel="read so far", title="probability of the next letter")
        write(made, "names that were made up", result["sample"].replace(", ", "\n").split("\n"))
        return figure


class CharacterLSTM(nn.Module):
    """Numbers of characters (B, T) to scores of the next one (B, T, V)."""

    def __init__(self, V: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, 32)
        self.lstm = nn.LSTM(32, width, batch_first=True)
        self.head = nn.Linear(width, V)

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return self.with_state(x, state)[0]

    def with_state(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The scores, and the state in which the LSTM is after the last character."""
        h, state = self.lstm(self.embedding(x), state)
        return self.head(h), state


def made_up(model: CharacterLSTM | Any, count: int, T: int, seed: int) -> Any:
    """Rows of character numbers (count, T), drawn one after another from what the model expects; 0 from the end on."""
    generator, device = Generator().manual_seed(seed), next(model.parameters()).device
    rows = np.zeros((count, T + 1), np.int64)
    state, over = None, np.zeros(count, bool)
    with no_grad():
        for t in range(T):
            scores, state = model.with_state(from_numpy(rows[:, t : t + 1].copy()).to(device), state)
            drawn = multinomial(scores[:, 0].softmax(-1).cpu(), 1, generator=generator).numpy()[:, 0]
            over |= drawn == 0
            rows[:, t + 1] = np.where(over, 0, drawn)
    return rows[:, 1:]


class GPT(Writer):
    """A small GPT (Radford et al., 2018): Transformer blocks that look only backwards, on the help of Python itself.

    An epoch is `steps` batches of T characters from anywhere in the text, since a sample begins at every character.
    """

    name = "gpt"
    summary = "help texts of Python: a small GPT writes more, by characters"
    epochs = 14
    lr = 3e-3
    batch_size = 32
    T, width, blocks, steps, tests = 64, 96, 3, 100, 512

    def data(self, seed: int) -> Data:
        train, held_out = python_help(self.T, "train"), python_help(self.T, "val")
        # windows side by side, the first half of them for validation, the second for the test
        starts = np.arange(0, len(held_out), self.T + 1)
        half = len(starts) // 2
        val, test = (Subset(held_out, part[: self.tests].tolist()) for part in (starts[:half], starts[half:]))
        return {"train": train, "val": val, "test": test}

    def model(self, data: Data) -> nn.Module:
        return CharacterGPT(len(data["train"].alphabet), self.T, self.width, self.blocks)

    def optimizer(self, model: nn.Module, lr: float) -> optim.Optimizer:
        return optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)

    def callbacks(self, optimizer: optim.Optimizer) -> list[Callback]:
        """The rate rises for 50 steps, then falls by 15 % an epoch."""
        rising = optim.lr_scheduler.LinearLR(optimizer, 0.02, total_iters=50)
        return [
            *(ClipGradNorm(1.0), Schedule(rising, each="batch")),
            Schedule(optim.lr_scheduler.ExponentialLR(optimizer, 0.85)),
        ]

    def batches(self, data: Data, batch_size: int) -> Any:
        drawn = RandomSampler(data["train"], replacement=True, num_samples=self.steps * batch_size)
        return DataLoader(data["train"], batch_size, sampler=drawn)

    def test(self, model: nn.Module, data: Data, seed: int) -> dict[str, Any]:
        text: Characters = data["train"]
        drawn = continued(model, text.encode("The ").numpy(), 300, seed)
        return self.measure(model, data) | {"sample": text.decode(drawn)}

    def picture(self, model: nn.Module, data: Data, result: dict[str, Any], history: History, title: str) -> Any:
        """Curves, how much the context helps, and a text that was made up."""
        figure, (curves, context, made) = figure_of(3)
        draw_curves(curves, history, title, "accuracy")
        losses = np.concatenate(list(_losses_by_place(model, data["test"])))
        axes = context.subplots()
        axes.plot(range(1, self.T + 1), losses.mean(0) * BITS)
        axes.set(xlabel="characters read", ylabel="bits for the next", title="what the context is worth")
        write(made, "text that was made up", wrapped(result["sample"], 44))
        return figure


class CharacterGPT(nn.Module):
    """Numbers of characters (B, T) to scores of the next one (B, T, V): pre-norm Transformer blocks with a causal mask."""

    def __init__(self, V: int, T: int, width: int, blocks: int, heads: int = 4) -> None:
        super().__init__()
        self.T = T
        self.characters, self.places = nn.Embedding(V, width), nn.Embedding(T, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(blocks)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, V)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(T), persistent=False)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, 0.0, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        T = x.shape[1]
        h = self.characters(x) + self.places.weight[:T]
        for block in self.blocks:
            h = block(h, self.mask[:T, :T], is_causal=True)
        return self.head(self.norm(h))


def continued(model: CharacterGPT | Any, start: Any, count: int, seed: int, temperature: float = 0.8) -> list[int]:
    """Character numbers: `start`, and `count` more drawn one after another. Below 1, temperature favours the likely ones."""
    generator, device = Generator().manual_seed(seed), next(model.parameters()).device
    numbers = list(map(int, start))
    with no_grad():
        for _ in range(count):
            x = from_numpy(np.array([numbers[-model.T :]], np.int64)).to(device)
            p = (model(x)[0, -1] / temperature).softmax(-1).cpu()
            numbers.append(int(multinomial(p, 1, generator=generator).item()))
    return numbers


def _losses_by_place(model: nn.Module, dataset: Any) -> Iterator[Any]:
    """The losses (B, T) of each batch."""
    device = next(model.parameters()).device
    with no_grad():
        for x, y in DataLoader(dataset, 128):
            logits = model(x.to(device)).transpose(1, 2)
            yield nn.functional.cross_entropy(logits, y.to(device), reduction="none").cpu().numpy()


def wrapped(text: str, width: int) -> list[str]:
    """The lines of a text, broken at `width` characters."""
    return [line[i : i + width] for line in text.split("\n") for i in range(0, max(1, len(line)), width)]


def write(part: Any, title: str, lines: list[str], most: int = 24) -> None:
    """Lines of text as a picture; characters that the font lacks, and dollars, are shown as they can be."""
    axes = part.subplots()
    axes.axis("off")
    axes.set_title(title, loc="left")
    shown = "\n".join(lines[:most]).encode("ascii", "replace").decode().replace("$", r"\$")
    axes.text(0, 1, shown, va="top", family="monospace", fontsize=8, transform=axes.transAxes)
