"""The command line: minidl train, doctor, bench, profile, warmup."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, NoReturn

import typer

from . import training

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="minidl: a deep-learning engine made to be read.")


def main() -> None:
    """The console script."""
    app(prog_name="minidl")


@app.callback(invoke_without_command=True)
def start(context: typer.Context) -> None:
    """minidl: a deep-learning engine made to be read."""
    if context.invoked_subcommand is None:
        typer.echo(
            "minidl: a deep-learning engine made to be read.\n\n"
            "  minidl train     train on handwritten digits, with curves and a report\n"
            "  minidl doctor    what this machine has, and what that means\n"
            "  minidl bench     measure against PyTorch, where it is installed\n"
            "  minidl profile   where the time and the memory of a program go\n"
            "  minidl warmup    compile the CPU kernels now instead of at their first calls\n\n"
            "In Python: `import minidl as torch`, then as you know it. `minidl COMMAND --help` says more."
        )


def _fail(message: str, code: int = 2) -> NoReturn:
    typer.echo(f"minidl: {message}", err=True)
    raise typer.Exit(code)


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
        _fail(str(error), code=1)


def _new_run(given: dict[str, Any], epochs: int | None, out: Path | None) -> training.Run:
    try:
        config = training.Config(**given) if epochs is None else training.Config(**given, epochs=epochs)
        return training.start(config, out or training.new_folder(config.recipe))
    except (ValueError, OSError, RuntimeError) as error:
        _fail(str(error))


def _old_run(folder: Path, epochs: int | None, given: dict[str, Any], out: Path | None) -> training.Run:
    unwanted = [*given, *([] if out is None else ["out"])]
    if unwanted:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in unwanted)
        _fail(f"--resume goes on with the options that the run has; leave out {names}")
    try:
        return training.resume(folder, epochs)
    except (ValueError, OSError, RuntimeError) as error:
        _fail(str(error))


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


@app.command()
def doctor() -> None:
    """What this machine has, and what that means for minidl."""
    from rich.console import Console
    from rich.table import Table

    from .diagnosis import findings

    table = Table()
    for heading in ("what", "found", "what it means"):
        table.add_column(heading, overflow="fold")  # a long path is broken, never cut
    for what, found, meaning in findings():
        table.add_row(what, found, meaning)
    Console(markup=False).print(table)


@app.command(context_settings={"allow_interspersed_args": False})
def profile(
    script: Annotated[Path, typer.Argument(help="a Python program that uses minidl")],
    arguments: Annotated[list[str] | None, typer.Argument(help="its own arguments")] = None,
    rows: Annotated[int, typer.Option(min=1, help="lines per table")] = 20,
    sort: Annotated[str, typer.Option(help="self_time, total_time, count or bytes")] = "self_time",
    shapes: Annotated[bool, typer.Option(help="a line for each combination of input shapes")] = False,
    memory: Annotated[
        bool, typer.Option(help="also the peak of allocated memory, which slows the program down")
    ] = False,
    trace: Annotated[Path | None, typer.Option(help="write a timeline for chrome://tracing to this file")] = None,
) -> None:
    """Run a program and say where its time and memory go: by operation, by module, by optimizer.

    Example: minidl profile --trace trace.json train.py --epochs 1
    """
    import runpy
    import sys

    from . import profiler

    if not script.is_file():
        _fail(f"profile: there is no file {script}")
    if sort not in profiler.SORTS:
        _fail(f"--sort {sort}: it is one of self_time, total_time, count, bytes")
    if trace is not None and not trace.absolute().parent.is_dir():
        _fail(f"--trace {trace}: there is no folder {trace.absolute().parent}")
    sys.argv = [str(script), *(arguments or [])]
    sys.path.insert(0, str(script.absolute().parent))
    found = profiler.profile(record_shapes=shapes, profile_memory=memory)
    code = 0
    try:
        with found:
            runpy.run_path(str(script), run_name="__main__")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt:
        typer.echo("\nminidl: stopped; what was measured until then:", err=True)
        code = 130
    averages = found.key_averages(group_by_input_shape=shapes)
    typer.echo(averages.of("op", "backward", "optimizer", "user").table(sort, rows))
    typer.echo(averages.of("module").table("total_time", rows))
    timed = averages.total_average().self_time
    typer.echo(f"wall time {found.wall_time:.3f} s, of which {timed:.3f} s in the calls above")
    if memory:
        typer.echo(f"peak of allocated memory {found.peak_bytes / 1e6:.1f} MB")
    if trace is not None:
        found.export_chrome_trace(trace)
        typer.echo(f"timeline: {trace}")
    raise typer.Exit(code)


@app.command()
def warmup() -> None:
    """Compile the CPU kernels now, so that no first call has to wait. They are kept on disk; `minidl doctor` says where."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from . import warmup as warming

    console = Console()
    columns = (TextColumn("compiling"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("")
            found = warming.warmup(
                lambda name, done, total: bar.update(task, description=name, completed=done, total=total)
            )
    except ImportError as error:
        _fail(f"warmup: {error}; kernels need Numba, without it everything runs on NumPy", code=1)
    except KeyboardInterrupt:
        typer.echo("\nminidl: stopped; what was compiled is kept", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"{found['kernels']} kernels compiled in {found['seconds']:.1f} s, kept in {found['folder']}")


def _bench_gpu(only: str, json: Path | None, names: bool) -> None:
    from . import cuda
    from .bench import gpu

    if names:
        typer.echo("\n".join(gpu.names(only)))
    elif not cuda.is_available():
        _fail("--device cuda: there is no GPU that CuPy can use; minidl doctor says what this machine has")
    else:
        gpu.run(json, only)


@app.command()
def bench(
    rounds: Annotated[int, typer.Option(min=1, help="alternating rounds")] = 5,
    only: Annotated[str, typer.Option(help="measure what matches this regular expression")] = "",
    threads: Annotated[int, typer.Option(min=1, help="threads of both sides")] = 1,
    json: Annotated[Path | None, typer.Option(help="write the figures to this file")] = None,
    plot: Annotated[Path | None, typer.Option(help="draw the ratios to this file, .png, .svg or .pdf")] = None,
    device: Annotated[str, typer.Option(help="cpu, or cuda: every CUDA kernel, and training steps on the GPU")] = "cpu",
    roofline: Annotated[
        Path | None, typer.Option(help="draw the operations of the first match of --only instead")
    ] = None,
    list: Annotated[bool, typer.Option("--list", help="name the workloads and stop")] = False,
) -> None:
    """Measure the engine against PyTorch, in one process, in turn; against plain NumPy where PyTorch is missing.

    Example: minidl bench --only "train" --plot training.png
    """
    from . import bench as benches

    for option, path in (("--json", json), ("--plot", plot), ("--roofline", roofline)):
        if path is not None and not path.absolute().parent.is_dir():
            _fail(f"{option} {path}: there is no folder {path.absolute().parent}")
    if device == "cuda":
        _bench_gpu(only, json, list)
        return
    if device != "cpu":
        _fail(f"--device {device}: it is cpu or cuda")
    try:
        steps, alone = benches.chosen(only)
        if list:
            typer.echo("\n".join([*steps, *alone]))
        elif roofline is not None:
            from .bench.roofline import roofline as draw

            if not steps:
                _fail(f"--roofline draws a workload, and --only {only} matches none; name a workload of --list")
            name = steps[0] if only else "train MLP 784-512-256-10, batch 128, Adam"
            draw(name, roofline)
            typer.echo(f"{name}: {roofline}")
        else:
            benches.run(rounds, json, only, threads, plot)
    except ValueError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        typer.echo("\nminidl: stopped", err=True)
        raise typer.Exit(130) from None
