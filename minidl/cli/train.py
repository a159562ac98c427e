"""`minidl train`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from .. import training
from ..callbacks import Progress
from ..trainer import Callback, Trainer
from .app import app, fail

WIDTH = max(map(len, training.RECIPES))
LIST = "\n".join(f"  {recipe.name:{WIDTH}}  {recipe.summary}" for recipe in training.RECIPES.values())


@app.command(
    help="Train a recipe; the run folder holds config, metrics, checkpoints and a report.\n\n"
    "Ctrl-C stops it; --resume goes on from the last complete epoch, to the same weights.\n\n"
    f"\b\nRecipes:\n{LIST}"
)
def train(
    recipe: Annotated[str | None, typer.Option(help="what to train, see below (default mlp)")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="epochs to train in all (default: the recipe's)")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of weights, data split and shuffling (default 0)")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda (default cpu)")] = None,
    lr: Annotated[float | None, typer.Option(help="learning rate (default: the recipe's)")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="samples per step (default: the recipe's)")] = None,
    out: Annotated[Path | None, typer.Option(help="new folder for the run (default runs/NAME-N)")] = None,
    resume: Annotated[Path | None, typer.Option(help="folder of a run to continue, with the options it has")] = None,
    list_: Annotated[bool, typer.Option("--list", help="list the recipes with their defaults and end")] = False,
) -> None:
    if list_:
        _list()
        return
    asked = {"recipe": recipe, "seed": seed, "device": device, "lr": lr, "batch_size": batch_size}
    given = {name: value for name, value in asked.items() if value is not None}
    run = None
    try:
        run = _new_run(given, epochs, out) if resume is None else _old_run(resume, epochs, given, out)
        with _stoppable() as check:
            training.fit(run, Progress(run.config.epochs, f"training {run.config.recipe}"), _Stop(check))
        _report(run, training.finish(run))
    except KeyboardInterrupt:
        again = f"go on with: minidl train --resume {quote(str(run.folder))}" if run else ""
        typer.echo(f"\nminidl: stopped{f' after epoch {run.trainer.epoch}; {again}' if run else ''}", err=True)
        raise typer.Exit(130) from None
    except (training.DivergedError, OSError) as error:
        fail(str(error), code=1)


def _list() -> None:
    for recipe in training.RECIPES.values():
        typer.echo(f"{recipe.name:{WIDTH}}  {recipe.summary}")
        typer.echo(f"{'':{WIDTH}}  --epochs {recipe.epochs} --lr {recipe.lr:g} --batch-size {recipe.batch_size}")


def _new_run(given: dict[str, Any], epochs: int | None, out: Path | None) -> training.Run:
    try:
        config = training.Config(**given) if epochs is None else training.Config(**given, epochs=epochs)
        return training.start(config, out or training.new_folder(config.recipe))
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        fail(str(error))


def _old_run(folder: Path, epochs: int | None, given: dict[str, Any], out: Path | None) -> training.Run:
    unwanted = [*given, *([] if out is None else ["out"])]
    if unwanted:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in unwanted)
        fail(f"--resume goes on with the options that the run has; leave out {names}")
    try:
        return training.resume(folder, epochs)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        fail(str(error))


@contextmanager
def _stoppable() -> Iterator[Callable[[], None]]:
    """Ctrl-C lets the step or the saving in progress end: the function that this gives raises KeyboardInterrupt afterwards.

    A second Ctrl-C stops at once. Where the signal is ignored, as behind nohup, it stays so.
    """
    asked = False

    def remember(*_: Any) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def check() -> None:
        if asked:
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, remember)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


class _Stop(Callback):
    """Looks after every step whether the user wants to stop."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check

    def on_batch(self, trainer: Trainer) -> None:
        self.check()


def _report(run: training.Run, result: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    run.recipe.show(result, console)
    metric, _ = run.recipe.best
    console.print(f"best epoch by {metric.replace('val_', 'validation ')}: {run.checkpoint.best:.4f}")
    console.print(f"report: {run.folder / 'report.png'}", soft_wrap=True)
