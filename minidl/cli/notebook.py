"""`minidl notebook`: list the tutorials' notebooks, or open a copy of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app, fail


@app.command()
def notebook(
    number: Annotated[str | None, typer.Argument(help="01, 06, ...; without it, the list")] = None,
    lang: Annotated[str | None, typer.Option(help="en or zh (default: as the locale says)")] = None,
    folder: Annotated[Path, typer.Option(help="where the copy that you work in goes")] = Path("notebooks"),
    open: Annotated[bool, typer.Option(help="start JupyterLab; --no-open only makes the copy")] = True,
) -> None:
    """Open a tutorial in JupyterLab: a copy of your own, so that what you type in it is yours.

    Example: minidl notebook 06 --lang zh
    """
    import shutil
    import subprocess
    import sys
    from importlib.util import find_spec

    from ..learn import tutorials
    from ..learn.language import language

    try:
        asked = language(lang)
    except ValueError as error:
        fail(str(error))
    there = {path.stem: path for path in sorted(tutorials.FOLDERS["en"].glob("[0-9][0-9]_*.ipynb"))}
    if not there:
        fail("notebook: the notebooks are in the repository, and this minidl was installed without it", code=1)
    if number is None:
        for stem, path in there.items():
            translated = tutorials.FOLDERS["zh"] / path.name
            both = translated.is_file()
            title = tutorials.title(translated if both and asked == "zh" else path)
            typer.echo(f"  {stem[:2]}  {title}  ({'en, zh' if both else 'en'})")
        typer.echo("\nminidl notebook NUMBER opens one; tutorials/README.md says what each assumes.")
        return
    chosen = [stem for stem in there if stem[:2] == number.zfill(2)]
    if not chosen:
        fail(f"notebook: there is no notebook {number}; there are: {', '.join(s[:2] for s in there)}")
    stem = chosen[0]
    source = tutorials.FOLDERS[asked] / f"{stem}.ipynb"
    if not source.is_file():
        typer.echo(f"minidl: {stem} is there in English only", err=True)
        source = there[stem]
    copy = folder / (source.name if source.parent == tutorials.FOLDERS["en"] else f"{stem}.zh.ipynb")
    if copy.exists():
        typer.echo(f"your copy: {copy} (delete it to start again)")
    else:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
        except OSError as error:
            fail(f"notebook: cannot write {copy}: {error.strerror}", code=1)
        typer.echo(f"a copy of your own: {copy}")
    if not open:
        return
    if find_spec("jupyterlab") is None:
        fail(
            'notebook: JupyterLab is missing; pip install "minidl[notebooks]", or open the copy with another program', 1
        )
    raise typer.Exit(subprocess.call([sys.executable, "-m", "jupyterlab", str(copy)]))
