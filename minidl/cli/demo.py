"""`minidl demo`: experiments behind statements."""

from __future__ import annotations

import json as js
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any

import typer

from .app import app, fail


@app.command()
def demo(
    name: Annotated[str | None, typer.Argument(help="which; none lists them")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="seed of data, weights and order")] = 0,
    plot: Annotated[Path | None, typer.Option(help="draw to this file, .png, .svg or .pdf")] = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON; without a name, what there is")] = False,
    all: Annotated[bool, typer.Option("--all", help="run every one")] = False,
    seeds: Annotated[
        int | None, typer.Option(min=2, help="run with so many seeds and print how far each figure spreads")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="80 columns, no colour, no progress bar")] = False,
) -> None:
    """Rerun the experiment behind a statement and print its figures beside the bands that they belong in.

    Exits with 1 if a figure is out of its band. Example: minidl demo init-variance --plot rms.png
    """
    from .. import demos

    if all and name is not None:
        fail(f"demo: --all runs every demo; leave out {name}, or --all")
    if plot is not None:
        _check_plot(plot, name)
    if seeds is not None and (name is None or json or plot is not None):
        fail("demo: --seeds wants the name of a demo, and neither --json nor --plot")
    try:
        chosen = [demos.find(name)] if name is not None else list(demos.DEMOS.values())
    except KeyError as error:
        fail(f"demo: {error.args[0]}; minidl demo lists them")
    page = _Page(plain)
    try:
        if seeds is not None:
            page.spreads(chosen[0], seeds)
        elif name is None and not all:
            _list(chosen, json, page)
        else:
            _run(chosen, seed, plot, js_list=all, json=json, page=page)
    except KeyboardInterrupt:
        typer.echo("\nminidl: stopped", err=True)
        raise typer.Exit(130) from None


def _check_plot(plot: Path, name: str | None) -> None:
    if name is None:
        fail("demo: --plot wants the name of a demo")
    if plot.suffix.lower() not in (".png", ".svg", ".pdf"):
        fail(f"--plot {plot}: a picture is a .png, .svg or .pdf file")
    if not plot.absolute().parent.is_dir():
        fail(f"--plot {plot}: there is no folder {plot.absolute().parent}")


def _list(chosen: list[Any], json: bool, page: _Page) -> None:
    if json:
        typer.echo(js.dumps([demo.described() for demo in chosen], indent=1))
    else:
        page.contents(chosen)


def _run(chosen: list[Any], seed: int, plot: Path | None, js_list: bool, json: bool, page: _Page) -> None:
    results = []
    for number, demo in enumerate(chosen):
        with page.progress(demo.name, hidden=json) as track:
            results.append(demo.run(seed, track))
        if not json:
            page.result(results[-1], gap=number > 0)
    if plot is not None:
        try:
            results[0].plot(plot)
        except OSError as error:
            fail(f"--plot {plot}: {error.strerror}", code=1)
        if not json:
            page.line(f"picture: {plot}")
    if json:
        described = [result.described() for result in results]
        typer.echo(js.dumps(described if js_list else described[0], indent=1))
    elif js_list:
        page.summary(results)
    if not all(result.passed for result in results):
        raise typer.Exit(1)


class _Page:
    """Prints to the width of the terminal, or plainly: 80 columns, no colour."""

    def __init__(self, plain: bool) -> None:
        from rich.console import Console

        self.console = Console(
            markup=False, highlight=False, no_color=True if plain else None, width=80 if plain else None
        )
        self.width = min(self.console.width, 100)
        self.plain = plain

    def line(self, text: str = "", indent: int = 0) -> None:
        """A paragraph, broken to the width."""
        for part in wrap(text, self.width, subsequent_indent=" " * indent, break_long_words=False) or [""]:
            self.console.print(part, soft_wrap=True)

    @contextmanager
    def progress(self, name: str, hidden: bool = False) -> Iterator[Callable[[Iterable[Any]], Iterator[Any]]]:
        """A function that gives items on and shows how many are done: a bar in a terminal, a line with the name in plain mode."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        show = console.is_terminal and not hidden and not self.plain
        if console.is_terminal and self.plain and not hidden:
            typer.echo(f"running {name} ...", err=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True, disable=not show) as bar:
            task = bar.add_task(name, total=None)

            def track(items: Iterable[Any]) -> Iterator[Any]:
                items = list(items)
                bar.update(task, total=len(items), completed=0)
                for item in items:
                    yield item
                    bar.advance(task)

            yield track

    def contents(self, chosen: list[Any]) -> None:
        """A line for each demo."""
        width = max(len(demo.name) for demo in chosen)
        for demo in chosen:
            self.line(f"{demo.name:{width}} {demo.seconds:4g} s  {demo.title}", indent=width + 9)
        self.line()
        total = sum(demo.seconds for demo in chosen)
        self.line(f"minidl demo NAME runs one; minidl demo --all runs all, about {total:.0f} seconds on one core.")

    def result(self, result: Any, gap: bool) -> None:
        """The figures beside their bands, the notes, and the sentence."""
        from rich.text import Text

        from ..demos.demo import written

        demo = result.demo
        if gap:
            self.line()
        self.line(f"{demo.name} (seed {result.seed}, {result.seconds:.1f} s)")
        self.line(demo.title)
        name_width = max(map(len, result.figures))
        for figure in demo.figures:
            holds = figure.name not in result.outside
            value = f"{written(result.figures[figure.name])}{figure.unit and ' ' + figure.unit}"
            before = f"  {figure.name:{name_width}} {value:>10}  [{figure.low:.3g}, {figure.high:.3g}]"
            row = Text(f"{before:{name_width + 35}} ")
            row.append("ok     " if holds else "outside", style="green" if holds else "bold red")
            self.console.print(row, soft_wrap=True)
            self.line(f"      {figure.what}", indent=6)
        for note in result.notes:
            self.line(f"  {note}", indent=4)
        self.line(result.sentence)

    def summary(self, results: list[Any]) -> None:
        outside = [result.demo.name for result in results if not result.passed]
        took = sum(result.seconds for result in results)
        said = f"{', '.join(outside)} out of band" if outside else "every figure in its band"
        self.line()
        self.line(f"{len(results)} demos in {took:.0f} s: {said}")

    def spreads(self, demo: Any, seeds: int) -> None:
        """What each figure did over the seeds, and a band for it."""
        from ..demos.bands import spreads

        with self.progress(f"{demo.name}, {seeds} seeds") as track:
            found = spreads(demo, range(seeds), track)
        width = max(len(figure.name) for figure in demo.figures)
        self.line(f"{demo.name} over {seeds} seeds (its bands are from {demo.seeds})")
        self.line(f"  {'figure':{width}} {'least':>9} {'median':>9} {'most':>9}  proposed band")
        for row in found:
            values = " ".join(f"{v:9.4g}" for v in (row.low, row.middle, row.high))
            self.line(f"  {row.name:{width}} {values}  {row.band[0]:g}, {row.band[1]:g}")
