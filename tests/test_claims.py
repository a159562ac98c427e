"""Claims hold: every demo is in its bands, every number in the documents that cites one is too, and the command says so."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import minidl as md
from minidl import demos
from minidl.cli import app
from minidl.demos import bands, registry

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "tutorials").rglob("*.md"))]
QUICK = [name for name, demo in demos.DEMOS.items() if demo.seconds <= 3]


def minidl(*arguments, **environment):
    runner = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1", **environment})
    return runner.invoke(app, ["demo", *map(str, arguments)], prog_name="minidl")


def stand_in(value=1.0, low=0.5, high=1.5, name="init-variance", measure=None):
    """A demo of a known name that measures nothing and takes no time."""
    found = demos.find(name)
    figure = demos.Figure("made.up", low, high, "a made-up figure")
    return replace(found, figures=(figure,), measure=measure or (lambda seed, track: ({"made.up": value}, {"notes": ["a note"]})),
                   draw=lambda ax, figures, shown: ax.plot([0, 1], [0, figures["made.up"]]))  # fmt: skip


@pytest.fixture
def only(monkeypatch):
    """Let the registry hold the given demos alone."""

    def put(*chosen):
        monkeypatch.setattr(registry, "DEMOS", {demo.name: demo for demo in chosen})
        monkeypatch.setattr(demos, "DEMOS", registry.DEMOS)

    return put


@pytest.mark.parametrize(("name", "seed"), [(n, 0) for n in demos.names()] + [(n, 7) for n in QUICK])
def test_every_figure_is_in_its_band(name, seed):
    state = md.get_rng_state()
    result = demos.run(name, seed)
    outside = {n: (result.figures[n], result.demo.figure(n).band) for n in result.outside}
    assert not outside, f"{name}, seed {seed}: figure and band {outside}"
    assert md.get_rng_state().tolist() == state.tolist(), "the caller's random numbers go on as if nothing had run"
    assert f'{result.demo.verdict} "{result.demo.statement}"' in result.sentence


@pytest.mark.parametrize("name", QUICK[:2])
def test_a_seed_gives_the_same_figures_again(name):
    first, again, other = (demos.run(name, seed).figures for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize("name", demos.names())
def test_every_demo_is_described_in_full(name):
    demo = demos.find(name)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", name) and demo.seeds >= 10
    assert all(text.endswith(".") for text in (demo.statement, demo.because, demo.picture))
    assert demo.topics and set(demo.topics) <= set(range(1, 51))
    assert all(re.search(r"\b(19|20)\d\d\b", source) for source in demo.sources), "a source has its year"
    assert len({figure.name for figure in demo.figures}) == len(demo.figures)
    assert all(figure.low <= figure.high and figure.what for figure in demo.figures)
    module = ROOT / "minidl" / "demos" / f"{name.replace('-', '_')}.py"
    assert len((ast.get_docstring(ast.parse(module.read_text())) or "").splitlines()) >= 4, (
        "the file says what it tests"
    )


# numbers in documents


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_numbers_that_cite_a_demo_are_in_its_band(document):
    assert demos.misquoted(document.read_text()) == []


def test_evidence_of_questions_names_figures_that_there_are():
    def tables(part):
        """Every table, however deep, that names a demo."""
        if isinstance(part, dict):
            yield from [part] if "demo" in part else []
            part = list(part.values())
        for inner in part if isinstance(part, list) else []:
            yield from tables(inner)

    for file in sorted((ROOT / "tutorials" / "questions").glob("*.toml")):
        named = tables(tomllib.loads(file.read_text()))
        assert [why for table in named if (why := demos.misquoted_evidence(table))] == [], file.name


def test_the_readme_cites_demos():
    assert len(demos.citations((ROOT / "README.md").read_text())) >= 2


def test_citations_are_found_and_judged(only):
    only(stand_in(low=0.4, high=0.5))
    tag = "<!-- demo: init-variance made.up -->"
    text = f"It is {tag}0.43 and\n{tag} 43 % and {tag}4.5e-1, {tag}-0.43, {tag}1,430."
    assert [c.value for c in demos.citations(text)] == pytest.approx([0.43, 0.43, 0.45, -0.43, 1430])
    assert [c.line for c in demos.citations(text)] == [1, 2, 2, 2, 2]
    assert [line.split(":")[0] for line in demos.misquoted(text)] == ["line 2", "line 2"]
    assert demos.plain(f"It is {tag}0.43.") == "It is 0.43."
    assert "is 0.6 in the text; its band is 0.4 to 0.5" in demos.misquoted(f"{tag}0.6")[0]
    assert "without a number" in demos.misquoted(f"{tag}about half")[0]
    assert "did you mean made.up" in demos.misquoted("<!-- demo: init-variance made.down -->0.43")[0]
    assert "did you mean init-variance" in demos.misquoted("<!-- demo: init-varianz made.up -->0.43")[0]
    assert "1 comments begin with demo" in demos.misquoted("<!-- demo init-variance -->0.43")[0]


def test_tables_of_evidence_are_judged(only):
    only(stand_in(low=0.4, high=0.5))
    good = {"demo": "init-variance", "figure": "made.up", "value": 0.43}
    assert demos.misquoted_evidence(good) is None
    assert demos.misquoted_evidence({"demo": "init-variance"}) is None
    assert "band is 0.4 to 0.5" in demos.misquoted_evidence({**good, "value": 0.51})
    assert "no figure" in demos.misquoted_evidence({**good, "figure": "x"})
    assert "names no demo" in demos.misquoted_evidence({"figure": "made.up"})
    assert "and no figure" in demos.misquoted_evidence({"demo": "init-variance", "value": 1.0})


# bands


def test_a_band_is_wider_than_what_was_seen():
    assert bands.spread("f", [0.2, 0.3, 0.4]).band == (0.1, 0.5)
    assert bands.spread("f", [1e-9, 1e-8, 1e-7]).band == pytest.approx((1e-10, 1e-6))
    assert bands.spread("f", [0.0, 0.0]).band == (0.0, 0.0)
    assert bands.spread("f", [0.9, 0.98]).band == (0.86, 1.0)
    assert bands.spread("f", [0.5 + 1e-3, 0.5]).middle == 0.5005
    values = list(np.random.default_rng(0).normal(-5, 1, 20))
    low, high = bands.spread("f", values).band
    assert low < min(values) - 1 and high > max(values) + 1


# the command


@pytest.mark.tiny
def test_the_list():
    shown = minidl()
    assert shown.exit_code == 0 and all(name in shown.stdout for name in demos.names())
    assert max(map(len, shown.stdout.splitlines())) <= 80 and "\x1b" not in shown.stdout
    listed = json.loads(minidl("--json").stdout)
    assert [entry["name"] for entry in listed] == demos.names()
    assert {"title", "statement", "verdict", "topics", "figures", "sources", "seconds"} <= set(listed[0])


def test_one_in_its_band(only):
    only(stand_in())
    shown = minidl("init-variance", "--plain")
    assert (
        shown.exit_code == 0 and "made.up" in shown.stdout and "[0.5, 1.5]  ok" in re.sub(r" +ok", "  ok", shown.stdout)
    )
    assert "a note" in shown.stdout and 'This refutes "He initialization' in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80 and "\x1b" not in shown.stdout
    told = json.loads(minidl("init-variance", "--json", "--seed", 5).stdout)
    assert (
        told["seed"] == 5
        and told["passed"]
        and told["figures"]
        == [
            {
                "name": "made.up",
                "band": [0.5, 1.5],
                "unit": "",
                "what": "a made-up figure",
                "value": 1.0,
                "passed": True,
            }
        ]
    )
    assert "made.up 1" in told["alt"]


@pytest.mark.parametrize("value", [1.6, float("nan")])
def test_out_of_its_band_is_exit_code_1(only, value):
    only(stand_in(value))
    for arguments in (("init-variance",), ("init-variance", "--json"), ("--all",)):
        shown = minidl(*arguments)
        assert shown.exit_code == 1
        assert "out of band: this run decides nothing" in " ".join(shown.stdout.split())
    assert "outside" in minidl("init-variance").stdout


def test_all(only):
    only(stand_in(), stand_in(2.0, name="momentum-vs-init"))
    shown = minidl("--all")
    assert shown.exit_code == 1 and "momentum-vs-init out of band" in shown.stdout.splitlines()[-1]
    assert [entry["passed"] for entry in json.loads(minidl("--all", "--json").stdout)] == [True, False]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_picture(only, tmp_path, kind):
    pytest.importorskip("matplotlib")
    only(stand_in())
    path = tmp_path / f"a picture.{kind}"
    shown = minidl("init-variance", "--plot", path)
    assert shown.exit_code == 0 and "picture:" in shown.stdout
    written = path.read_bytes()
    assert written.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])
    if kind != "pdf":
        assert b"Measured with seed 0: made.up 1" in written
    minidl("init-variance", "--plot", path)
    assert path.read_bytes() == written, "the same run draws the same file"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("init-varianze",), "there is no demo 'init-varianze'; did you mean init-variance?"),
        (("xyzzy",), "there is no demo 'xyzzy'; minidl demo lists them"),
        (("init-variance", "--all"), "leave out init-variance"),
        (("init-variance", "--seed", "-1"), "'--seed'"),
        (("init-variance", "--plot", "rms.jpeg"), "a picture is a .png, .svg or .pdf file"),
        (("init-variance", "--plot", "/nowhere/rms.png"), "there is no folder /nowhere"),
        (("--plot", "rms.png"), "--plot wants the name of a demo"),
        (("--all", "--plot", "rms.png"), "--plot wants the name of a demo"),
        (("--seeds", "3"), "--seeds wants the name of a demo"),
        (("init-variance", "--seeds", "3", "--json"), "--seeds wants"),
        (("init-variance", "--nothing"), "--nothing"),
    ],
)
def test_mistakes(arguments, message):
    shown = minidl(*arguments)
    assert shown.exit_code == 2 and message in " ".join(shown.stderr.split()) and not shown.stdout


def test_ctrl_c(only):
    def interrupted(seed, track):
        raise KeyboardInterrupt

    only(stand_in(measure=interrupted))
    for arguments in (("init-variance",), ("--all", "--json"), ("init-variance", "--seeds", 2)):
        shown = minidl(*arguments)
        assert shown.exit_code == 130 and "stopped" in shown.stderr


def test_seeds_prints_the_spread(only):
    only(stand_in(measure=lambda seed, track: ({"made.up": 1 + seed / 10}, {})))
    shown = minidl("init-variance", "--seeds", 3)
    assert shown.exit_code == 0 and re.search(r"made\.up +1 +1\.1 +1\.2 +0\.9, 1\.3", shown.stdout), shown.stdout


def test_a_demo_must_measure_what_it_lists():
    wrong = stand_in(measure=lambda seed, track: ({"other": 1.0}, {}))
    with pytest.raises(RuntimeError, match=r"measured \['other'\], and lists \['made\.up'\]"):
        wrong.run()
    with pytest.raises(ValueError, match="seed is a number from 0"):
        wrong.run(-1)
