"""What the methods of this package do to networks for handwritten digits, seed by seed.

`python -m minidl.compression.effects` prints all of it with means and spreads; a few minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import minidl as md

from .. import nn, optim
from ..datasets import digits
from ..tensor import Tensor
from .distillation import distillation_loss, soft_target_loss
from .gradual import GradualPruning
from .measure import accuracy
from .pipeline import network
from .proximal import proximal_l1
from .pruning import copy_of, prune_to, sparsity, weights

Effect = dict[str, float]


def pruning(seed: int, recipe: str = "mlp", amount: float = 0.9, steps: int = 2400) -> Effect:
    """Test accuracy of a recipe of minidl train dense, pruned at once, and pruned little by little in further training.

    The dense network is trained for 600 steps; the schedule takes the first half of the further `steps`.
    """
    (x, y), test = _digits(seed)
    dense = network(recipe)
    train(dense, x, lambda logits, i: nn.functional.cross_entropy(logits, y[i]), 600, seed)
    at_once, slowly = copy_of(dense), copy_of(dense)
    prune_to(weights(at_once), amount, scope="global")
    schedule = GradualPruning(weights(slowly), amount, 0, steps // 2, max(steps // 80, 1), scope="global")
    train(slowly, x, lambda logits, i: nn.functional.cross_entropy(logits, y[i]), steps, seed + 1, after=schedule.step)
    return {name: accuracy(model, *test) for name, model in
            (("dense", dense), ("pruned", at_once), ("pruned and fine-tuned", slowly))}  # fmt: skip


def distillation(seed: int, labels: int = 100, hidden: int = 16) -> Effect:
    """Test accuracy of a student with one small hidden layer that has seen `labels` labelled images.

    With the labels alone; with the labels and what a teacher, trained on all, says of the same images (temperature 4); and with
    what the teacher says of all images, without any label.
    """
    (x, y), test = _digits(seed)
    teacher = network("mlp")
    train(teacher, x, lambda logits, i: nn.functional.cross_entropy(logits, y[i]), 600, seed)
    with md.no_grad():
        answers = teacher.eval()(x)
    few, few_labels = x[:labels], y[:labels]
    losses: dict[str, tuple[Tensor, Callable[[Tensor, Tensor], Tensor]]] = {
        "hard labels": (few, lambda logits, i: nn.functional.cross_entropy(logits, few_labels[i])),
        "distilled": (few, lambda logits, i: distillation_loss(logits, answers[i], few_labels[i])),
        "distilled, all images": (x, lambda logits, i: soft_target_loss(logits, answers[i])),
    }
    found = {"teacher": accuracy(teacher, *test)}
    for name, (images, loss) in losses.items():
        md.manual_seed(seed)  # all students begin with the same weights
        student = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))
        train(student, images, loss, 800, seed, lr=1e-2, batch_size=50)
        found[name] = accuracy(student, *test)
    return found


def l1(seed: int, weight: float = 2e-3) -> Effect:
    """Zeros among the 640 weights of softmax regression, and its accuracy, with an L1 penalty by gradient and by proximal step."""
    (x, y), test = _digits(seed)
    found = {}
    for name in ("gradient", "proximal step"):
        md.manual_seed(seed)
        model = network("linear")
        (matrix, _), *_ = weights(model)

        def loss(logits: Tensor, i: Tensor, name: str = name, matrix: Any = matrix) -> Tensor:
            fit = nn.functional.cross_entropy(logits, y[i])
            return fit + weight * matrix.weight.abs().sum() if name == "gradient" else fit

        optimizer = optim.SGD(model.parameters(), lr=0.2)
        if name == "proximal step":
            proximal_l1(optimizer, weight)
        train(model, x, loss, 800, seed, optimizer=optimizer)
        found[f"zeros, {name}"] = sparsity(weights(model)) * 640
        found[f"accuracy, {name}"] = accuracy(model, *test)
    return found


def _digits(seed: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Images and labels to train on and to test with; the seed of the split is that of the weights, too."""
    md.manual_seed(seed)
    (x, y), (x_test, y_test) = (digits(split, seed).tensors for split in ("train", "test"))
    return (x, y), (x_test, y_test)


def train(
    model: nn.Module,
    x: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    steps: int,
    seed: int,
    lr: float = 2e-3,
    batch_size: int = 64,
    after: Callable[[], None] | None = None,
    optimizer: optim.Optimizer | None = None,
) -> None:
    """Train on inputs x (N, ...) by loss(model(x[i]), i), with Adam and a learning rate that falls to 0 along a cosine.

    after: called after each step. optimizer: another than Adam, with its own learning rate at the beginning.
    """
    model.train()
    optimizer = optim.Adam(model.parameters(), lr=lr) if optimizer is None else optimizer
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for i in _batches(len(x), batch_size, steps, seed):
        optimizer.zero_grad()
        loss(model(x[i]), i).backward()
        optimizer.step()
        schedule.step()
        if after is not None:
            after()


def _batches(n: int, batch_size: int, steps: int, seed: int) -> Iterator[Tensor]:
    """`steps` batches of numbers below n, each number once before any comes again."""
    random, left = np.random.default_rng(seed), np.zeros(0, np.int64)
    for _ in range(steps):
        if len(left) < batch_size:
            left = random.permutation(n)
        yield md.from_numpy(left[:batch_size])
        left = left[batch_size:]


def summary(effect: Callable[[int], Effect], seeds: int) -> str:
    """Mean and standard deviation over seeds 0 ... seeds - 1, a line each."""
    found = [effect(seed) for seed in range(seeds)]
    columns = {name: np.array([row[name] for row in found]) for name in found[0]}
    return "\n".join(f"  {name:26} {v.mean():8.3f} ± {v.std(ddof=1):.3f}" for name, v in columns.items())


if __name__ == "__main__":
    SEEDS = 5
    print(f"means ± standard deviations over {SEEDS} seeds")
    for recipe in ("mlp", "cnn"):
        print(f"90 % pruned, {recipe}\n" + summary(lambda seed, r=recipe: pruning(seed, r), SEEDS), flush=True)  # type: ignore[misc]
    for count in (100, 1200):
        print(f"{count} labels\n" + summary(lambda seed, n=count: distillation(seed, n), SEEDS), flush=True)  # type: ignore[misc]
    print("L1 penalty\n" + summary(l1, SEEDS))
