"""The command line: minidl train, doctor, bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="minidl: a deep-learning engine made to be read.")


def main() -> None:
    """The console script."""
    app()


@app.callback(invoke_without_command=True)
def start(context: typer.Context) -> None:
    """minidl: a deep-learning engine made to be read."""
    if context.invoked_subcommand is None:
        typer.echo(
            "minidl: a deep-learning engine made to be read.\n\n"
            "  minidl train     train on handwritten digits, with curves and a report\n"
            "  minidl doctor    what this machine has, and what that means\n"
            "  minidl bench     measure against PyTorch, where it is installed\n\n"
            "In Python: `import minidl as torch`, then as you know it. `minidl COMMAND --help` says more."
        )


def _fail(message: str) -> NoReturn:
    typer.echo(f"minidl: {message}", err=True)
    raise typer.Exit(2)


@app.command()
def train(
    recipe: Annotated[str, typer.Option(help="mlp, mlp-dropout or linear")] = "mlp",
    epochs: Annotated[int | None, typer.Option(min=1, help="epochs to train in all (default 30)")] = None,
    seed: Annotated[int, typer.Option(help="seed of weights, data split and shuffling")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    lr: Annotated[float, typer.Option(help="learning rate of Adam")] = 2e-3,
    batch_size: Annotated[int, typer.Option(min=1, help="samples per step")] = 64,
    out: Annotated[Path | None, typer.Option(help="new folder for the run (default runs/digits-RECIPE-N)")] = None,
    resume: Annotated[Path | None, typer.Option(help="folder of a run to continue")] = None,
) -> None:
    """Train on scikit-learn's handwritten digits; the run folder holds config, metrics, checkpoints and a report."""
    from . import training

    try:
        if resume is not None:
            run = training.resume(resume, epochs)
        else:
            config = training.Config(recipe, epochs or 30, seed, device, lr, batch_size)
            run = training.start(config, out or training.new_folder(recipe))
    except (ValueError, OSError, RuntimeError) as error:
        _fail(str(error))
    try:
        _fit_with_progress(run)
    except KeyboardInterrupt:
        typer.echo(f"\nstopped after epoch {run.epoch}; go on with: minidl train --resume {run.folder}", err=True)
        raise typer.Exit(130) from None
    _report(run, training.finish(run))


def _fit_with_progress(run: Any) -> None:
    """Train with a progress bar in a terminal, a line per epoch elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from .datasets import digits
    from .training import fit

    console = Console()
    total = len(digits("train", run.config.seed))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, TextColumn("{task.fields[status]}"), console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(f"training {run.config.recipe}", total=run.config.epochs * total, status="",
                            completed=run.epoch * total)  # fmt: skip

        def on_batch(run: Any, now: dict[str, float]) -> None:
            status = f"loss {now['loss']:.4f}  acc {now['accuracy']:.3f}  {now['samples_per_second']:,.0f} samples/s"
            bar.update(task, completed=run.epoch * total + now["seen"], status=status)

        def on_epoch(run: Any) -> None:
            row = run.history[-1]
            if not console.is_terminal:
                typer.echo(
                    f"epoch {row['epoch']:3d}  loss {row['loss']:.4f}  val_loss {row['val_loss']:.4f}  "
                    f"val_accuracy {row['val_accuracy']:.4f}"
                )

        fit(run, on_batch, on_epoch)


def _report(run: Any, result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="test set: rows true, columns predicted")
    table.add_column("", justify="right")
    for digit in range(10):
        table.add_column(str(digit), justify="right")
    for digit, row in enumerate(result["confusion"]):
        table.add_row(str(digit), *(str(n) if n else "." for n in row))
    console = Console()
    console.print(table)
    console.print(f"test accuracy {result['test_accuracy']:.4f}   best validation accuracy {run.best_accuracy:.4f}")
    console.print(f"report: {run.folder / 'report.png'}", soft_wrap=True)


@app.command()
def doctor() -> None:
    """What this machine has, and what that means for minidl."""
    from rich.console import Console
    from rich.table import Table

    from .diagnosis import findings

    table = Table("what", "found", "what it means")
    for what, found, meaning in findings():
        table.add_row(what, found, meaning)
    Console().print(table)


@app.command()
def bench(
    rounds: Annotated[int, typer.Option(min=1, help="alternating rounds")] = 9,
    json: Annotated[Path | None, typer.Option(help="write the figures to this file")] = None,
) -> None:
    """Measure the engine against PyTorch, in one process, in turn; against plain NumPy where PyTorch is missing."""
    from .bench import run

    run(rounds, json)
