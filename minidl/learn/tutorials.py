"""The tutorials' notebooks: one source each, two languages, built one way.

    python -m minidl.learn.tutorials            build all; give numbers (01 06) to build some
    python -m minidl.learn.tutorials --check    run them again and compare, writing nothing

A source, tutorials/src/NN_name.py, is a Python program in cells ("# %%"). A prose cell says its language:

    # %% [markdown] lang="en"
    # The loss starts at {loss_at_start:.2f}.

Code cells belong to both languages. What a code cell shows by `number(name, ...)` stands in for {name} in prose, so that no
number there is typed by hand. The results, tutorials/NN_name.ipynb and tutorials/zh/NN_name.ipynb, have their outputs.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..serialization import write_whole
from .show import NUMBER

ROOT = Path(__file__).resolve().parent.parent.parent / "tutorials"
FOLDERS = {"en": ROOT, "zh": ROOT / "zh"}
SECONDS = 90  # that a notebook may take
_CITED = re.compile(r"\{([a-zA-Z_]\w*)(?::([^{}]*))?\}")
_BUILT = {
    "en": "*Built from `{source}`: change that file, not this one.*",
    "zh": "*本文件由 `{source}` 生成; 要改请改源文件.*",
}


class NotebookError(ValueError):
    """A source is not as it must be, or a notebook no longer shows what it showed."""


@dataclass
class Number:
    value: float
    tolerance: float


def sources(wanted: list[str] | None = None) -> list[Path]:
    """The sources, or those whose number or name begins so. Raises NotebookError for one that is not there."""
    found = sorted((ROOT / "src").glob("[0-9][0-9]_*.py"))
    if not wanted:
        return found
    chosen = [path for path in found if any(path.name.startswith(name) for name in wanted)]
    missing = [name for name in wanted if not any(path.name.startswith(name) for path in found)]
    if missing:
        raise NotebookError(f"there is no notebook {missing[0]}; there are: {', '.join(p.stem for p in found)}")
    return chosen


def read(source: Path) -> Any:
    """A source as a notebook without outputs, in all languages. Prose cells have metadata.lang."""
    import jupytext

    notebook = jupytext.read(source)
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown" and cell.metadata.get("lang") not in FOLDERS:
            raise NotebookError(f'{source.name}, cell {i + 1}: prose says its language, lang="en" or lang="zh"')
        cell.id = f"{source.stem.replace('_', '-')}-{i + 1:03d}"[-64:]
    return notebook


def title(path: Path) -> str:
    """The heading of a notebook: "One number, one gradient"."""
    first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]
    head = first[0] if isinstance(first, list) else first.splitlines()[0]
    return str(head).lstrip("# ").partition("·")[2].strip()


def languages(notebook: Any) -> list[str]:
    """The languages that have prose in it."""
    has = {cell.metadata.get("lang") for cell in notebook.cells}
    return [language for language in FOLDERS if language in has]


def twins(notebook: Any) -> Iterator[tuple[Any, Any]]:
    """The prose in pairs, English and Chinese. Raises NotebookError where one has no twin."""
    prose = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    for english, chinese in zip(prose[::2], prose[1::2], strict=False):
        if (english.metadata["lang"], chinese.metadata["lang"]) != ("en", "zh"):
            raise NotebookError(f"each English cell is followed by its Chinese twin; look at: {english.source[:60]!r}")
        yield english, chinese
    if len(prose) % 2:
        raise NotebookError(f"this cell has no twin: {prose[-1].source[:60]!r}")


def run(notebook: Any) -> Any:
    """Execute its code cells; a copy with outputs. An exception in a cell comes out with the cell."""
    from nbclient import NotebookClient

    executed = copy.deepcopy(notebook)
    # learners' exercises are cells that fail at first: check() says "not started" and raises nothing
    client = NotebookClient(executed, timeout=SECONDS, kernel_name="python3", record_timing=False)
    client.execute()
    for cell in executed.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream" and output.name == "stderr":
                raise NotebookError(f"a cell wrote to stderr, which readers see in red: {output.text[:300]}")
    return executed


def numbers(notebook: Any) -> dict[str, Number]:
    """What its code cells have shown by `number`."""
    found: dict[str, Number] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            shown = output.get("data", {}).get(NUMBER)
            if shown:
                if shown["name"] in found:
                    raise NotebookError(f"two numbers are called {shown['name']!r}")
                found[shown["name"]] = Number(shown["value"], shown["tolerance"])
    return found


def in_language(notebook: Any, language: str, source: Path, found: dict[str, Number] | None) -> Any:
    """The notebook of one language: its prose, with the numbers put in if there are any, and all code."""
    built = copy.deepcopy(notebook)
    built.cells = [cell for cell in built.cells if cell.cell_type == "code" or cell.metadata.get("lang") == language]
    for cell in built.cells:
        if cell.cell_type == "markdown":
            if found is not None:
                cell.source = cite(cell.source, found)
        cell.metadata.pop("lang", None)
    built.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "minidl": {"source": f"tutorials/src/{source.name}", "language": language},
    }
    head = built.cells[0]
    head.source += "\n\n" + _BUILT[language].format(source=f"tutorials/src/{source.name}")
    return built


def cite(text: str, found: dict[str, Number]) -> str:
    """Prose with {name} and {name:.2f} replaced by the numbers of that name. Formulas' braces stay as they are."""

    def value(match: re.Match[str]) -> str:
        name, form = match.groups()
        if name not in found:
            return match.group()
        return format(found[name].value, form or ".3g")

    for match in _CITED.finditer(text):
        if match.group(2) is not None and match.group(1) not in found:
            raise NotebookError(f"prose cites {match.group()}, and no cell shows such a number")
    return _CITED.sub(value, text)


def build(source: Path) -> list[Path]:
    """Execute a source and write the notebooks of its languages."""
    import nbformat

    notebook = read(source)
    executed = run(notebook)
    written = []
    for language in languages(notebook):
        built = in_language(executed, language, source, numbers(executed))
        nbformat.validate(built)
        path = FOLDERS[language] / f"{source.stem}.ipynb"
        path.parent.mkdir(exist_ok=True)
        write_whole(path, (nbformat.writes(built, indent=1).rstrip() + "\n").encode())
        written.append(path)
    return written


def check(source: Path) -> list[str]:
    """Execute a source again: what the committed notebooks show that no longer holds, a line each."""
    import nbformat

    notebook = read(source)
    executed = run(notebook)
    found = numbers(executed)
    complaints = []
    for language in languages(notebook):
        path = FOLDERS[language] / f"{source.stem}.ipynb"
        if not path.is_file():
            complaints.append(f"{path.name} ({language}) has not been built")
            continue
        committed = nbformat.read(path, as_version=4)
        before = numbers(committed)
        expected = in_language(notebook, language, source, before)
        if [cell.source for cell in committed.cells] != [cell.source for cell in expected.cells]:
            complaints.append(f"{path.name} ({language}) is not built from its source as it is now")
        if set(before) != set(found):
            complaints.append(f"{path.name} ({language}) shows other numbers: {sorted(set(before) ^ set(found))}")
        for name in before.keys() & found.keys():
            old, new = before[name].value, found[name].value
            if abs(old - new) > before[name].tolerance * abs(old):
                complaints.append(f"{path.name} ({language}): {name} was {old:.6g} and is {new:.6g} now")
        kinds = [[kind for kind in _kinds(cell)] for cell in committed.cells if cell.cell_type == "code"]
        again = [[kind for kind in _kinds(cell)] for cell in executed.cells if cell.cell_type == "code"]
        for i, (old_kinds, new_kinds) in enumerate(zip(kinds, again, strict=False)):
            if old_kinds != new_kinds:
                complaints.append(f"{path.name} ({language}), code cell {i + 1} showed {old_kinds}, now {new_kinds}")
    return complaints


def _kinds(cell: Any) -> Iterator[str]:
    """What a cell's outputs are: text, picture, table, number."""
    for output in cell.get("outputs", ()):
        yield "+".join(sorted(output.get("data", {}))) or output.output_type


def main(arguments: list[str] | None = None) -> int:
    """The command of this module."""
    parser = argparse.ArgumentParser(
        prog="python -m minidl.learn.tutorials", description="Build the tutorials' notebooks."
    )
    parser.add_argument("numbers", nargs="*", help="01, 06, ...; all by default")
    parser.add_argument("--check", action="store_true", help="run again and compare with what is there; write nothing")
    given = parser.parse_args(arguments)
    wrong = 0
    try:
        for source in sources(given.numbers):
            if given.check:
                for line in check(source):
                    wrong = 1
                    print(line)
            else:
                print(*(str(path.relative_to(ROOT.parent)) for path in build(source)), sep="\n", flush=True)
    except NotebookError as error:
        print(error, file=sys.stderr)
        return 2
    return wrong


if __name__ == "__main__":
    sys.exit(main())
