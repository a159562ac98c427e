"""`minidl doctor`, `profile`, `warmup` and `bench`: what this machine has, and where its time goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app, fail


@app.command()
def doctor() -> None:
    """What this machine has, and what that means for minidl."""
    from rich.console import Console
    from rich.table import Table

    from ..diagnosis import findings

    table = Table()
    for heading in ("what", "found", "what it means"):
        table.add_column(heading, overflow="fold")  # a long path is broken, never cut
    for what, found, meaning in findings():
        table.add_row(what, found, meaning)
    Console(markup=False).print(table)


@app.command(context_settings={"allow_interspersed_args": False})
def profile(
    script: Annotated[str, typer.Argument(help="a Python program that uses minidl; with -m the name of a module")],
    arguments: Annotated[list[str] | None, typer.Argument(help="its own arguments")] = None,
    module: Annotated[bool, typer.Option("-m", help="run a module by its name, as python -m does")] = False,
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

    In the tables "total" is the time of the calls, "self" that without timed calls within them, "self %" its share of the table,
    "MB" (10^6 bytes) the new arrays that the calls returned; views are none. Modules are timed in forward; their backward is in the rows
    of the operations. Work in other processes, such as DataLoader workers, is not seen.
    """
    import sys
    import traceback

    from .. import profiler

    if not module and not Path(script).is_file():
        fail(f"profile: there is no file {script}; -m runs a module")
    if sort not in profiler.SORTS:
        fail(f"--sort {sort}: it is one of self_time, total_time, count, bytes")
    if trace is not None and not trace.absolute().parent.is_dir():
        fail(f"--trace {trace}: there is no folder {trace.absolute().parent}")
    sys.argv = [script, *(arguments or [])]
    sys.path.insert(0, str(Path.cwd() if module else Path(script).absolute().parent))
    found = profiler.profile(record_shapes=shapes, profile_memory=memory)
    before, code = _compiling(), 0
    try:
        with found:
            _run(script, module)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if stop.code is not None and not isinstance(stop.code, int):
            typer.echo(stop.code, err=True)  # as Python does
    except KeyboardInterrupt:
        typer.echo("\nminidl: stopped; what was measured until then:", err=True)
        code = 130
    except Exception as error:
        program = error.__traceback__
        while program is not None and program.tb_frame.f_globals.get("__name__") != "__main__":
            program = program.tb_next  # past what ran it
        traceback.print_exception(error.with_traceback(program or error.__traceback__))
        typer.echo("minidl: the program failed; what was measured until then:", err=True)
        code = 1
    averages = found.key_averages(group_by_input_shape=shapes)
    typer.echo("operations, their gradients, and optimizers")
    typer.echo(averages.of("op", "backward", "optimizer", "user").table(sort, rows))
    typer.echo("modules, forward")
    typer.echo(averages.of("module").table("total_time", rows))
    timed = averages.total_average().self_time
    typer.echo(f"wall time {found.wall_time:.3f} s, of which {timed:.3f} s in the calls above")
    kernels, seconds = (now - then for now, then in zip(_compiling(), before, strict=True))
    if seconds > 0.01:
        what = f"compiling {kernels} kernels and loading others" if kernels else "loading compiled kernels"
        typer.echo(f"{seconds:.3f} s of it went into {what}, at first calls; in a longer run that counts less")
    if memory:
        typer.echo(f"peak of allocated memory {found.peak_bytes / 1e6:.1f} MB")
    if trace is not None:
        found.export_chrome_trace(trace)
        typer.echo(f"timeline: {trace}")
    raise typer.Exit(code)


def _run(script: str, module: bool) -> None:
    """Run a file, or a module by its name, as a program."""
    import runpy

    if module:
        runpy.run_module(script, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(script, run_name="__main__")


def _compiling() -> tuple[int, float]:
    """How many kernels this process has compiled, and the seconds that compiling and loading them took."""
    import sys

    cache = sys.modules.get(f"{__package__.partition('.')[0]}.kernels._cache")
    return (cache.announcer.count, cache.announcer.seconds + cache.announcer.loading) if cache is not None else (0, 0.0)


@app.command()
def warmup(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="list what was compiled, slowest first")] = False,
) -> None:
    """Compile the CPU kernels now, so that no first call has to wait. They are kept on disk; `minidl doctor` says where."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from .. import warmup as warming

    console = Console()
    columns = (TextColumn("compiling"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("")
            found = warming.warmup(
                lambda name, done, total: bar.update(task, description=name, completed=done, total=total)
            )
    except ImportError as error:
        fail(f"warmup: {error}; kernels need Numba, without it everything runs on NumPy", code=1)
    except KeyboardInterrupt:
        typer.echo("\nminidl: stopped; what was compiled is kept", err=True)
        raise typer.Exit(130) from None
    if verbose:
        typer.echo("seconds  function, without what it calls; the types that it was compiled for")
        for seconds, name, types in sorted(found["table"], reverse=True):
            typer.echo(f"{seconds:7.2f}  {name}{types}")
        typer.echo(f"{len(found['table'])} functions, a kernel with those that it calls:")
    kept = f"kept in {found['folder']}" if found["folder"] else "kept nowhere: no folder can be written to"
    typer.echo(f"{found['kernels']} kernels compiled in {found['seconds']:.1f} s, {kept}")


def _bench_gpu(only: str, json: Path | None, names: bool) -> None:
    from ..bench import gpu
    from ..devices import cupy_for

    if names:
        typer.echo("\n".join(gpu.names(only)))
        return
    try:
        cupy_for("--device cuda")
    except RuntimeError as error:
        fail(str(error))
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
    sizes: Annotated[bool, typer.Option("--sizes", help="layers and small steps at odd sizes instead")] = False,
    list: Annotated[bool, typer.Option("--list", help="name the workloads and stop")] = False,
) -> None:
    """Measure the engine against PyTorch, in one process, in turn; against plain NumPy where PyTorch is missing.

    Example: minidl bench --only "train" --plot training.png
    """
    from .. import bench as benches

    for option, path in (("--json", json), ("--plot", plot), ("--roofline", roofline)):
        if path is not None and not path.absolute().parent.is_dir():
            fail(f"{option} {path}: there is no folder {path.absolute().parent}")
    if device == "cuda":
        _bench_gpu(only, json, list)
        return
    if device != "cpu":
        fail(f"--device {device}: it is cpu or cuda")
    try:
        steps, alone = benches.chosen(only, sizes)
        if list:
            typer.echo("\n".join([*steps, *alone]))
        elif roofline is not None:
            from ..bench.roofline import roofline as draw

            if not steps:
                fail(f"--roofline draws a workload, and --only {only} matches none; name a workload of --list")
            name = next(iter(steps)) if only else "train MLP 784-512-256-10, batch 128, Adam"
            draw(name, roofline)
            typer.echo(f"{name}: {roofline}")
        else:
            benches.run(rounds, json, only, threads, plot, sizes)
    except ValueError as error:
        fail(str(error))
    except KeyboardInterrupt:
        typer.echo("\nminidl: stopped", err=True)
        raise typer.Exit(130) from None
