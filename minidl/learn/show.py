"""What notebooks show: numbers that a test repeats, guesses beside what was measured, figures with words, the engine's own source.

    from minidl.learn import figure, number, predict, quote

Outputs are the same on every run: no dates, no times, and pictures in one house style.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import minidl

from ..pictures import COLORS as COLORS
from ..pictures import figure as figure

NUMBER = "application/vnd.minidl.number+json"  # how the build finds the numbers in a notebook's outputs


def number(name: str, value: float, tolerance: float = 0.05) -> None:
    """Show a measured number by name. The prose around may cite it as {name}; a test measures it again.

    tolerance: how far another machine's figure may be away, relative to the value.
    """
    value = float(value)
    _show({NUMBER: {"name": name, "value": value, "tolerance": tolerance}, "text/plain": f"{name} = {value:.4g}"})


def predict(name: str, guess: float | None, measured: float) -> None:
    """Compare a guess with what was measured; without a guess, ask for one.

    Guesses of quantities are judged by their ratio: a factor of 2 too much is as far away as a factor of 2 too little.
    """
    if guess is None:
        _text(f"{name}: measured {measured:.4g}. Type your guess instead of None, and run the cell again.")
        return
    if guess * measured > 0:
        factor = max(guess / measured, measured / guess)
        verdict = "close" if factor <= 1.25 else f"a factor of {factor:.3g} away"
    else:
        verdict = f"{abs(guess - measured):.3g} away"
    _text(f"{name}: you said {guess:.4g}, measured {measured:.4g}: {verdict}")


def quote(thing: Callable[..., Any] | type, *, docs: bool = True) -> None:
    """The source of a function, method or class of the engine, as it stands in the file, with the place to find it.

    docs=False leaves the docstring out.
    """
    lines, first = inspect.getsourcelines(inspect.unwrap(thing))
    path = Path(inspect.getsourcefile(inspect.unwrap(thing)) or "").resolve()
    root = Path(minidl.__file__).resolve().parent.parent
    place = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    source = inspect.cleandoc("\n" + "".join(lines)) + "\n"
    if not docs and thing.__doc__:
        source = _without_docstring(source)
    _show({
        "text/markdown": f"`{place}`, line {first}:\n```python\n{source}```",
        "text/plain": f"{place}, line {first}:\n\n{source}",
    })  # fmt: skip


def _without_docstring(source: str) -> str:
    import ast

    definition = ast.parse(source).body[0]
    assert isinstance(definition, ast.FunctionDef | ast.ClassDef)
    first = definition.body[0]
    lines = source.splitlines(keepends=True)
    return "".join([*lines[: first.lineno - 1], *lines[first.end_lineno or first.lineno :]])


def table(rows: Sequence[Sequence[Any]], heads: Sequence[str]) -> None:
    """A small table: numbers to four digits."""
    shown = [[_cell(value) for value in row] for row in rows]
    _show(_as_table(shown, heads))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    return str(value)


def _as_table(rows: list[list[str]], heads: Sequence[str]) -> dict[str, str]:
    widths = [max(len(cell) for cell in column) for column in zip(heads, *rows, strict=True)]
    plain = "\n".join("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in [heads, *rows])
    lines = ["| " + " | ".join(row) + " |" for row in [list(heads), ["---:"] * len(heads), *rows]]
    return {"text/markdown": "\n".join(lines), "text/plain": plain}


def present(drawn: Any, alt: str, numbers: Mapping[str, Sequence[Any]] | None = None) -> None:
    """Show a figure with what it shows in words, and the numbers that it is drawn from as a table of columns."""
    import base64
    import io

    for axes in drawn.axes:
        if axes.get_legend():
            axes.get_legend().set_frame_on(False)
    picture = io.BytesIO()
    drawn.savefig(picture, format="png", dpi=100, metadata={"Software": None})
    encoded = base64.b64encode(picture.getvalue()).decode()
    _show({"image/png": encoded, "text/plain": alt}, {"image/png": {"alt": alt}})
    _show({"text/markdown": f"*{alt}*", "text/plain": ""})
    if numbers:
        columns = [list(column) for column in numbers.values()]
        rows = [[_cell(value) for value in row] for row in zip(*columns, strict=True)]
        _show(_as_table(rows, list(numbers)))


def picture(svg: str, alt: str) -> None:
    """Show an SVG, such as a drawn graph, with what it shows in words."""
    _show({"image/svg+xml": svg, "text/plain": alt})
    _show({"text/markdown": f"*{alt}*", "text/plain": ""})


def _text(line: str) -> None:
    _show({"text/plain": line})


def _show(bundle: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
    """Display in a notebook; in a plain Python print what is text."""
    if "IPython" in sys.modules:
        from IPython.core.getipython import get_ipython
        from IPython.display import display

        if get_ipython() is not None:
            display(dict(bundle), metadata=dict(metadata or {}), raw=True)
            return
    if bundle["text/plain"]:
        print(bundle["text/plain"])
