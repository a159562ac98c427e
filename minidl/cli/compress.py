"""`minidl compress`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import app, fail

if TYPE_CHECKING:
    from ..compression.measure import Cost


@app.command()
def compress(
    run: Annotated[Path, typer.Argument(help="folder of a run that minidl train has finished")],
    channels: Annotated[float, typer.Option(help="remove this share of each layer's channels")] = 0.0,
    low_rank: Annotated[float, typer.Option(help="factorize weights, with this relative error in each")] = 0.0,
    prune: Annotated[float, typer.Option(help="prune this share of all weights, those nearest to 0")] = 0.0,
    csr: Annotated[
        bool | None,
        typer.Option(help="make pruned linear layers CSR layers (default: keep them if they are faster here)"),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="store and multiply layers that are dense still in bytes")
    ] = False,
    static: Annotated[
        bool | None,
        typer.Option(
            "--static/--dynamic",
            help="of int8: results in bytes, too, and convolutions; or linear layers alone, their inputs for the while of a product "
            "(default: static where there are convolutions)",
        ),
    ] = None,
    calibrate: Annotated[
        int, typer.Option(min=1, help="images of the training set from which static int8 finds its scales")
    ] = 512,
    finetune_epochs: Annotated[int, typer.Option(min=0, help="epochs of further training after each step")] = 120,
    out: Annotated[Path | None, typer.Option(help="new folder for the result (default RUN/compressed)")] = None,
) -> None:
    """Make the model of a run smaller, and say what each step costs and saves, as a table and a picture.

    Accuracy is of the test set; weights are those that are not 0, KiB the file's; times are medians of calls on this machine,
    for one image and for 64. minidl.compression.load(FOLDER) gives the model that is left.

    Example: minidl compress runs/digits-mlp-1 --prune 0.9
    """
    from rich.console import Console

    from ..compression import pipeline

    out = run / "compressed" if out is None else out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        fail(f"{out} exists and is not empty; choose another --out")
    console = Console(markup=False)
    try:
        plan = pipeline.Plan(channels, low_rank, prune, csr, int8, finetune_epochs, static, calibrate)
        with _progress(console) as on_progress:
            compression = pipeline.Compression(pipeline.read_run(run), plan, on_progress)
            compression.run()
        compression.save(out)
    except (ValueError, RuntimeError, OSError) as error:
        fail(f"compress: {error}")
    except KeyboardInterrupt:
        typer.echo("\nminidl: stopped; nothing was written", err=True)
        raise typer.Exit(130) from None
    console.print(_table(compression.costs))
    console.print(f"model, report and picture: {out}", soft_wrap=True)


@contextmanager
def _progress(console: Any) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar in a terminal, which each step fills anew; nothing elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def on_progress(step: str, done: int, total: int) -> None:
            if done == 1:
                bar.reset(task)
            bar.update(task, description=f"fine-tuning, {step}", completed=done, total=total)

        yield on_progress


def _table(costs: Sequence[Cost]) -> Any:
    from rich.table import Table

    table = Table()
    table.add_column("step", overflow="fold")
    headings = ["accuracy", "weights", "KiB", "mult-adds", *(f"µs, B={b}" for b in costs[0].latency)]
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in costs:
        times = (f"{seconds * 1e6:.0f}" for seconds in row.latency.values())
        numbers = f"{row.accuracy:.4f}", f"{row.weights:,}", f"{row.bytes / 1024:.1f}", f"{row.multiply_adds:,}"
        table.add_row(row.step, *numbers, *times)
    return table
