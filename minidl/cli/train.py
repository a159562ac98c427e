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
from .app import app, fail


@app.command()
def train(
    recipe: Annotated[str | None, typer.Option(help=f"{', '.join(training.RECIPES)} (default mlp)")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="epochs to train in all (default 30)")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of weights, data split and shuffling (default 0)")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda (default cpu)")] = None,
    lr: Annotated[float | None, typer.Option(help="learning rate of Adam (default 0.002)")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="samples per step (default 64)")] = None,
    out: Annotated[Path | None, typer.Option(help="new folder for the run (default runs/digits-RECIPE-N)")] = None,
    resume: Annotated[Path | None, typer.Option(help="folder of a run to continue, with the options it has")] = None,
) -> None:
    """Train on scikit-learn's handwritten digits; the run folder holds config, metrics, checkpoints and a report.

    Ctrl-C stops it; --resume goes on from the last complete epoch, to the same weights.
    """
    asked = {"recipe": recipe, "seed": seed, "device": device, "lr": lr, "batch_size": batch_size}
    given = {name: value for name, value in asked.items() if value is not None}
    run = None
    try:
        run = _new_run(given, epochs, out) if resume is None else _old_run(resume, epochs, given, out)
        _fit_with_progress(run)
        _report(run, training.finish(run))
    except KeyboardInterrupt:
        then = f" after epoch {run.epoch}; go on with: minidl train --resume {quote(str(run.folder))}" if run else ""
        typer.echo(f"\nminidl: stopped{then}", err=True)
        raise typer.Exit(130) from None
    except (training.DivergedError, OSError) as error:
        fail(str(error), code=1)


def _new_run(given: dict[str, Any], epochs: int | None, out: Path | None) -> training.Run:
    try:
        config = training.Config(**given) if epochs is None else training.Config(**given, epochs=epochs)
        return training.start(config, out or training.new_folder(config.recipe))
    except (ValueError, OSError, RuntimeError) as error:
        fail(str(error))


def _old_run(folder: Path, epochs: int | None, given: dict[str, Any], out: Path | None) -> training.Run:
    unwanted = [*given, *([] if out is None else ["out"])]
    if unwanted:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in unwanted)
        fail(f"--resume goes on with the options that the run has; leave out {names}")
    try:
        return training.resume(folder, epochs)
    except (ValueError, OSError, RuntimeError) as error:
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


def _fit_with_progress(run: Any) -> None:
    """Train with a progress bar in a terminal, a line per epoch elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console()
    total = len(run.data["train"])
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, TextColumn("{task.fields[status]}"), console=console, disable=not console.is_terminal)
    with progress as bar, _stoppable() as check:
        task = bar.add_task(f"training {run.config.recipe}", total=run.config.epochs * total, status="",
                            completed=run.epoch * total)  # fmt: skip

        def on_batch(run: Any, now: dict[str, float]) -> None:
            status = f"loss {now['loss']:.4f}  acc {now['accuracy']:.3f}  {now['samples_per_second']:,.0f} samples/s"
            bar.update(task, completed=run.epoch * total + now["seen"], status=status)
            check()

        def on_epoch(run: Any) -> None:
            row = run.history[-1]
            if not console.is_terminal:
                typer.echo(
                    f"epoch {row['epoch']:3d}  loss {row['loss']:.4f}  val_loss {row['val_loss']:.4f}  "
                    f"val_accuracy {row['val_accuracy']:.4f}"
                )

        training.fit(run, on_batch, on_epoch)


def _report(run: Any, result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="test set: rows true, columns predicted")
    table.add_column("", justify="right")
    for digit in range(10):
        table.add_column(str(digit), justify="right")
    for digit, row in enumerate(result["confusion"]):
        table.add_row(str(digit), *(str(n) if n else "." for n in row))
    console = Console(markup=False)
    console.print(table)
    console.print(f"test accuracy {result['test_accuracy']:.4f}   best validation accuracy {run.best_accuracy:.4f}")
    console.print(f"report: {run.folder / 'report.png'}", soft_wrap=True)
