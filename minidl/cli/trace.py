"""`minidl trace`: run a CUDA kernel without a GPU, and see what its threads do to memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .app import app, fail


@app.command()
def trace(
    kernel: Annotated[
        str, typer.Argument(metavar="FILE[:KERNEL]", help="a Python or .cu file, and the kernel if it has several")
    ],
    grid: Annotated[str, typer.Option(help="blocks: 4, or 4,2, or 4,2,1")] = "1",
    block: Annotated[str, typer.Option(help="threads of a block: 128, or 32,8")] = "32",
    arg: Annotated[
        list[str] | None,
        typer.Option(help="an argument, in order: f32:32x32 (random), f32:1024=0 (filled), i32:=5 (a number)"),
    ] = None,
    order: Annotated[str, typer.Option(help="of the threads between barriers: forward, reverse or random")] = "forward",
    seed: Annotated[int, typer.Option(help="of --order random, and of random arguments")] = 0,
    shared: Annotated[int, typer.Option(min=0, help="bytes of dynamic shared memory")] = 0,
    plot: Annotated[Path | None, typer.Option(help="draw which thread accesses what into this .svg file")] = None,
    json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
) -> None:
    """Run a CUDA kernel thread by thread, without a GPU: races, memory transactions per warp, bank conflicts.

    The kernel is a function under @cuda.jit, with `from numba import cuda` or `from minidl.sim import cuda`. Its arguments are
    what a function KERNEL_inputs() or inputs() in the file returns, or those of --arg. Types of --arg: f16 f32 f64, i8 to i64, u8
    to u64, b. The file is executed. A kernel in CUDA C++ (.cu, its arguments by --arg) is compiled by g++ and watched: races, indices
    out of bounds, shared memory that was not set and more, but no counts. Ends with 0 if nothing is wrong, with 1 after a race, a
    read of memory that was never set or an error of the kernel, with 2 where it could not be run.

    Example: minidl trace transpose.py:naive --grid 1,1 --block 32,32 --arg f32:32x32 --arg f32:32x32=0 --plot naive.svg
    """
    import json as encoder

    from .. import sim

    if plot is not None and (plot.suffix != ".svg" or not plot.absolute().parent.is_dir()):
        fail(f"--plot {plot}: it is a file .svg in a folder that exists")
    if order not in sim.ORDERS:
        fail(f"--order {order}: it is one of {', '.join(sim.ORDERS)}")
    sizes = _sizes("--grid", grid), _sizes("--block", block)
    path, name = _file_and_name(kernel)
    if path.suffix in (".cu", ".cuh"):
        if plot is not None or json:
            fail(f"trace: --plot and --json are for kernels in Python, and {path.name} is CUDA C++")
        _watch(path, name, *sizes, _parsed(arg or (), seed), shared, order)
        return
    function, values = _kernel_and_arguments(kernel, arg, seed)
    try:
        report = sim.simulate(function, *sizes, *values, order=order, seed=seed, shared=shared)
    except sim.KernelError as error:
        if json:
            wrong = {"kind": error.kind, "line": error.line, "message": error.message}
            typer.echo(encoder.dumps({"kernel": error.kernel, "ok": False, "error": wrong}, indent=1))
        fail(str(error), code=1)
    except KeyboardInterrupt:
        typer.echo("\nminidl: stopped", err=True)
        raise typer.Exit(130) from None
    typer.echo(encoder.dumps(report.json(), indent=1) if json else report.verdict())
    if plot is not None:
        report.svg(plot)
        if not json:
            typer.echo(f"picture: {plot}")
    raise typer.Exit(0 if report.ok else 1)


def _sizes(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        fail(f"{option} {text}: it is up to three numbers with commas, such as 4 or 32,8")


def _kernel_and_arguments(what: str, given: list[str] | None, seed: int) -> tuple[Any, tuple[Any, ...]]:
    """The kernel that FILE[:KERNEL] names and what it is called with."""
    from ..sim import files

    path, name = _file_and_name(what)
    try:
        module = files.load(path)
        found = files.kernels_of(module)
        if not name and len(found) == 1:
            name = next(iter(found))
        if name not in found:
            asked = f"no kernel {name!r}" if name else "several kernels, or none; name one as FILE:KERNEL"
            fail(f"trace: {path.name} has {asked}; under @cuda.jit it has: {', '.join(sorted(found)) or 'nothing'}")
        values = files.inputs_of(module, name) if not given else None
    except typer.Exit:
        raise
    except Exception as error:
        fail(f"trace: {path.name}: {type(error).__name__}: {error}")
    return found[name], _parsed(given or (), seed) if values is None else values


def _file_and_name(what: str) -> tuple[Path, str]:
    file, _, name = what.rpartition(":") if ":" in what and not Path(what).is_file() else (what, "", "")
    if not Path(file).is_file():
        fail(f"trace: there is no file {file}")
    return Path(file), name


def _parsed(given: Sequence[str], seed: int) -> tuple[Any, ...]:
    import numpy as np

    from ..sim import files

    rng = np.random.default_rng(seed)
    try:
        return tuple(files.parse(text, rng) for text in given)
    except ValueError as error:
        fail(f"--arg {error}")


def _watch(
    path: Path,
    name: str,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    values: tuple[Any, ...],
    shared: int,
    order: str,
) -> None:
    """Run a kernel of a .cu file with every access watched, and say what it did wrong."""
    from ..kernels import cuda
    from ..testing import cuda_on_cpu

    try:
        found = sorted(cuda.signatures(path.read_text()))
        if name not in found:
            name = found[0] if not name and len(found) == 1 else fail(
                f"trace: {path.name}: name a kernel as FILE:KERNEL; under extern \"C\" __global__ it has: {', '.join(found) or 'nothing'}"
            )  # fmt: skip
        remarks = cuda_on_cpu.kernel(path, name, grid, block, *values, shared=shared, order=order)
    except cuda_on_cpu.CudaOnCpuError as error:
        fail(str(error), code=1)
    except (cuda.LaunchError, RuntimeError) as error:
        fail(f"trace: {path.name}: {error}")
    for remark in remarks:
        typer.echo(f"partly  {remark}")
    typer.echo(f"verdict: {name}: no errors")
