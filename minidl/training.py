"""Runs: what `minidl train` does with a recipe and a folder.

A run is a folder: config.json (what was asked for), metrics.jsonl (a line per epoch), last.ckpt and best.ckpt (the trainer's
state: model, optimizer, callbacks, random state, epoch, history), and at the end result.json and report.png. Each file is
replaced in one step and the last complete epoch is always there, so a run can be stopped at any time, and goes on to the same
weights. The recipes are in minidl/recipes/, the loop in minidl/trainer.py.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import minidl as md

from .callbacks import Checkpoint
from .recipes import RECIPES, Recipe
from .recipes.recipe import Data
from .serialization import write_whole
from .trainer import Callback, DivergedError, Trainer
from .utils.data import DataLoader

__all__ = ["RECIPES", "Config", "DivergedError", "Run", "finish", "fit", "new_folder", "resume", "start"]


@dataclass
class Config:
    """What a run was asked for; None takes the recipe's own. Raises ValueError for an unknown recipe and senseless numbers."""

    recipe: str = "mlp"
    epochs: int = None  # type: ignore[assignment]  # a number from __post_init__ on, and so are lr and batch_size
    seed: int = 0
    device: str = "cpu"
    lr: float = None  # type: ignore[assignment]
    batch_size: int = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise ValueError(f"unknown recipe {self.recipe!r}; there are: {', '.join(RECIPES)}")
        for name in ("epochs", "lr", "batch_size"):
            if getattr(self, name) is None:
                setattr(self, name, getattr(RECIPES[self.recipe], name))
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs and batch_size must be at least 1, got {self.epochs} and {self.batch_size}")
        if not 0 <= self.lr < math.inf:
            raise ValueError(f"lr must be a number from 0, got {self.lr}")


@dataclass
class Run:
    """A run in progress: where it lives and what it is made of."""

    config: Config
    recipe: Recipe
    folder: Path
    data: Data
    trainer: Trainer
    checkpoint: Checkpoint


def new_folder(recipe: str, root: Path = Path("runs")) -> Path:
    """The first runs/NAME-N that does not exist yet; NAME is the recipe's, digits-mlp for mlp."""
    name, n = RECIPES[recipe].folder or recipe, 1
    while (root / f"{name}-{n}").exists():
        n += 1
    return root / f"{name}-{n}"


def start(config: Config, folder: Path) -> Run:
    """A new run in a folder, which must be new or empty. Raises OSError where it is not, or cannot be made, and ImportError
    where the recipe's data are in a package that is missing."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not empty; choose another --out, or continue it with --resume")
    run = _build(config, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot make the folder {folder} for the run: {error.strerror}") from None
    _write_config(config, folder)
    run.checkpoint.save(run.trainer, "last.ckpt")
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
    if not isinstance(state, dict) or not state.keys() >= {"history", "callbacks"}:
        raise ValueError(f"{folder / 'last.ckpt'} is no checkpoint of a run")
    if epochs is not None and epochs < state["epoch"]:
        raise ValueError(f"{folder} has {state['epoch']} epochs already; epochs is their number in all, got {epochs}")
    run = _build(config, folder)
    run.trainer.load_state_dict(state)
    if epochs is not None:
        config.epochs = epochs
        _write_config(config, folder)
    return run


def _write_config(config: Config, folder: Path) -> None:
    write_whole(folder / "config.json", (json.dumps(asdict(config), indent=2) + "\n").encode())


def _build(config: Config, folder: Path) -> Run:
    recipe = RECIPES[config.recipe]
    data = recipe.data(config.seed)
    md.manual_seed(config.seed)
    model = recipe.model(data).to(config.device)
    optimizer = recipe.optimizer(model, config.lr)
    checkpoint = Checkpoint(folder, *recipe.best)
    callbacks = [*recipe.callbacks(optimizer), checkpoint]
    trainer = Trainer(model, optimizer, recipe.loss, recipe.metrics, callbacks)
    return Run(config, recipe, folder, data, trainer, checkpoint)


def fit(run: Run, *callbacks: Callback) -> None:
    """Train until `config.epochs`, with more callbacks. Raises DivergedError when the loss is no longer a number."""
    run.trainer.callbacks += callbacks
    train = run.recipe.batches(run.data, run.config.batch_size)
    run.trainer.fit(train, run.config.epochs, DataLoader(run.data["val"], 256))


def finish(run: Run) -> dict[str, Any]:
    """Test the best checkpoint; write result.json and report.png. Returns the recipe's result."""
    run.checkpoint.write_history(run.trainer)  # a run stopped just after its last checkpoint lacks a line
    model, config = run.trainer.model, run.config
    model.load_state_dict(md.load(run.folder / "best.ckpt")["model"])
    result = run.recipe.test(model, run.data, config.seed)
    write_whole(run.folder / "result.json", (json.dumps(result) + "\n").encode())
    draw_report(run, result)
    return result


def draw_report(run: Run, result: dict[str, Any]) -> None:
    """Write report.png, the recipe's picture."""
    title = f"{run.config.recipe}, seed {run.config.seed}"
    figure = run.recipe.picture(run.trainer.model, run.data, result, run.trainer.history, title)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110)
    write_whole(run.folder / "report.png", picture.getvalue())
