"""The notebooks: built from their sources, complete in their languages, and showing the same when they run again."""

from __future__ import annotations

import json
import re

import pytest

pytest.importorskip("jupytext", reason="the notebooks are built with jupytext: pip install minidl[notebooks-run]")
pytest.importorskip("nbclient", reason="the notebooks are run with nbclient: pip install minidl[notebooks-run]")
pytest.importorskip("ipykernel", reason="the notebooks are run in ipykernel: pip install minidl[notebooks-run]")

import nbformat
from typer.testing import CliRunner

from minidl.cli import app
from minidl.learn import glossary, tutorials
from minidl.learn.tutorials import NotebookError

SOURCES = tutorials.sources()
BILINGUAL = ("01", "05", "06")
each = pytest.mark.parametrize("source", SOURCES, ids=[path.stem for path in SOURCES])


def committed(source, language="en"):
    return nbformat.read(tutorials.FOLDERS[language] / f"{source.stem}.ipynb", as_version=4)


@each
def test_running_it_again_shows_the_same(source):
    assert tutorials.check(source) == []


@each
def test_both_languages_are_complete(source):
    notebook = tutorials.read(source)
    if source.name[:2] in BILINGUAL or "zh" in tutorials.languages(notebook):
        for english, chinese in tutorials.twins(notebook):
            assert re.search(r"[\u4e00-\u9fff]", chinese.source), chinese.source[:60]
            cited = [sorted(set(re.findall(r"\{(\w+)[:}]", cell.source))) for cell in (english, chinese)]
            assert cited[0] == cited[1], "both cite the same numbers"
            texts = [(source.name, {"en": english.source, "zh": chinese.source})]
            assert list(glossary.problems(texts)) == []


@each
def test_a_reader_sees_results_words_for_pictures_and_no_path_of_a_machine(source):
    for language in tutorials.languages(tutorials.read(source)):
        built = committed(source, language)
        text = json.dumps(built, ensure_ascii=False)
        assert "Traceback" not in text and not re.search(r"/(home|root|tmp|work|usr)/", text)
        assert not re.search(
            r"\{[a-z_]\w*:[^{}]*[efg%]\}", "".join(c.source for c in built.cells if c.cell_type == "markdown")
        )
        for cell in built.cells:
            for output in cell.get("outputs", ()):
                picture = output.get("data", {}).get("image/png")
                if picture is not None:
                    assert len(picture) < 200_000, "a picture has at most 150 KB"
                    assert len(output["data"]["text/plain"]) > 40, "a picture says in words what it shows"


def test_every_notebook_comes_from_a_source():
    for folder in tutorials.FOLDERS.values():
        assert {path.stem for path in folder.glob("*.ipynb")} <= {path.stem for path in SOURCES}


def test_prose_cites_numbers_and_leaves_formulas_alone():
    found = {"loss": tutorials.Number(0.123456, 0.1)}
    assert tutorials.cite("it is {loss:.2f}, or {loss}", found) == "it is 0.12, or 0.123"
    assert tutorials.cite(r"$\frac{a}{b}$ {x | y}", found) == r"$\frac{a}{b}$ {x | y}"
    with pytest.raises(NotebookError, match="no cell shows such a number"):
        tutorials.cite("it is {lost:.2f}", found)


def test_mistakes_in_a_source_are_named(tmp_path):
    source = tmp_path / "90_wrong.py"
    source.write_text("# %% [markdown]\n# prose in no language\n")
    with pytest.raises(NotebookError, match=r"90_wrong\.py, cell 1: prose says its language"):
        tutorials.read(source)
    source.write_text('# %% [markdown] lang="en"\n# alone\n\n# %%\n1\n')
    with pytest.raises(NotebookError, match="no twin: 'alone'"):
        list(tutorials.twins(tutorials.read(source)))
    with pytest.raises(NotebookError, match="there is no notebook 77"):
        tutorials.sources(["77"])


def test_a_changed_source_a_changed_number_and_stderr_are_noticed(tmp_path, monkeypatch):
    source = tmp_path / "91_small.py"
    program = '# %% [markdown] lang="en"\n# # 91 · Small\n# It is {n:.1f}.\n\n# %%\nfrom minidl.learn.show import number\nnumber("n", 2.0)\n'
    source.write_text(program)
    monkeypatch.setattr(tutorials, "FOLDERS", {"en": tmp_path / "en", "zh": tmp_path / "zh"})
    monkeypatch.setattr(tutorials, "ROOT", tmp_path)
    assert tutorials.check(source) == ["91_small.ipynb (en) has not been built"]
    (path,) = tutorials.build(source)
    assert "It is 2.0." in path.read_text() and tutorials.title(path) == "Small"
    assert tutorials.check(source) == []
    source.write_text(program.replace("2.0", "3.0"))
    complaints = tutorials.check(source)
    assert "not built from its source" in complaints[0] and "n was 2 and is 3 now" in complaints[1]
    source.write_text(program + "\n# %%\nimport sys\nprint('x', file=sys.stderr)\n")
    with pytest.raises(NotebookError, match="stderr"):
        tutorials.check(source)


def test_the_command_lists_copies_and_refuses(tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app, ["notebook", *arguments], prog_name="minidl")

    listed = run("--lang", "zh")
    assert (
        listed.exit_code == 0
        and tutorials.title(tutorials.FOLDERS["zh"] / "01_one_number_one_gradient.ipynb") in listed.output
    )
    listed = run("--lang", "en")
    assert listed.exit_code == 0 and "01  One number, one gradient  (en, zh)" in listed.output
    made = run("1", "--lang", "zh", "--folder", str(tmp_path / "mine"), "--no-open")
    copy = tmp_path / "mine" / "01_one_number_one_gradient.zh.ipynb"
    assert made.exit_code == 0 and copy.is_file()
    copy.write_text("mine")
    again = run("01", "--lang", "zh", "--folder", str(tmp_path / "mine"), "--no-open")
    assert again.exit_code == 0 and copy.read_text() == "mine" and "your copy" in again.output
    unknown = run("99")
    assert unknown.exit_code == 2 and "there is no notebook 99; there are: 01" in unknown.output
