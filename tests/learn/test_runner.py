"""The commands of `minidl learn`, what they print and keep; verdicts in a notebook.

What is printed is compared with tests/learn/golden/; after a change that is meant:
    MINIDL_GOLDEN=write pytest tests/learn/test_runner.py -k golden
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import minidl as md
from minidl import kernels, nn
from minidl.cli import app
from minidl.learn import bank as bank_module
from minidl.learn import check, words
from minidl.learn.checks import Subject
from minidl.learn.examine import examine, summary
from minidl.learn.layout import Style, cut, pad, wide, wrap
from minidl.learn.report import _apart, problem, report
from minidl.learn.workspace import Workspace, head

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(md.__file__).parent.parent
ARR04, INIT02 = (bank_module.bank()[id] for id in ("arr04", "init02"))


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A bank of two exercises, the second one after the first, and a folder to work in."""
    for exercise in (ARR04, INIT02):
        folder = tmp_path / "bank" / exercise.topic / exercise.id
        shutil.copytree(exercise.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
        meta = re.sub(r"(?m)^needs = .*\n", "", (folder / "meta.toml").read_text("utf-8"))
        needs = '["arr04"]' if exercise is INIT02 else "[]"
        (folder / "meta.toml").write_text(f"needs = {needs}\n{meta}", "utf-8")
    monkeypatch.setattr(bank_module, "root", lambda: tmp_path / "bank")
    bank_module.bank.cache_clear()
    for name in ("MINIDL_LANG", "NO_COLOR", "MINIDL_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    bank_module.bank.cache_clear()


@pytest.fixture
def work(small, monkeypatch):
    assert learn("init", "work").exit_code == 0
    monkeypatch.chdir(small / "work")
    return small / "work"


def learn(*arguments, answer=""):
    return CliRunner().invoke(app, ["learn", *map(str, arguments)], prog_name="minidl", input=answer)


def write(work, exercise, source):
    (work / exercise.topic / f"{exercise.id}.py").write_text(source, "utf-8")


# ---------------------------------------------------------------------------------------------------------------------
# What is printed

SHAPE = "def xavier_normal(fan_in, fan_out, rng):\n    return rng.normal(size=(fan_out, fan_in))\n"
NOTHING = "def softmax(x, axis=-1):\n    print('seen', x.shape)\n"
RAISES = "def helper(x):\n    return x[10]\n\n\ndef softmax(x, axis=-1):\n    return helper(x)\n"
DTYPE = "def softmax(x, axis=-1):\n    return (x > 0)\n"
SHOWN = [
    ("the stub", ARR04, None),
    ("nothing is returned", ARR04, NOTHING),
    ("another shape", INIT02, SHAPE),
    ("another dtype", ARR04, DTYPE),
    ("wrong numbers", ARR04, "wrong_all_axes"),
    ("NaN", ARR04, "wrong_unshifted"),
    ("a factor", INIT02, "wrong_lecun"),
    ("a forbidden name", ARR04, "from scipy.special import softmax\n"),
    ("a name is missing", ARR04, "def soft(x):\n    return x\n"),
    ("an exception", ARR04, RAISES),
    ("no Python", ARR04, "def softmax(x:\n    return x\n"),
    ("another call", ARR04, "def softmax(x):\n    return x\n"),
    ("exit", ARR04, "import os\nos._exit(0)\n"),
    ("passed", ARR04, "solution"),
    ("passed, with statistics", INIT02, "solution"),
]


def normal(text):
    """Without what changes: times, lines of the engine."""
    text = re.sub(r"\d+\.\d (s|秒)", r"T \1", text)
    return re.sub(r"((?:minidl|kernels)/[\w/]+\.py):\d+", r"\1:N", text)


def test_golden(work):
    """Each file is run once and told in both languages."""
    workspace = Workspace(work)
    screens: dict[str, list[tuple[str, str]]] = {"en": [], "zh": []}
    for name, exercise, source in SHOWN:
        if source is not None:
            write(work, exercise, exercise.source(source) if "\n" not in source else source)
        found, place = workspace.check(exercise)
        for lang, shown in screens.items():
            shown.append((name, "\n".join(report(exercise, found, Style(lang, plain=True), place))))
    for arguments in (
        ["list"],
        ["list", "--graph"],
        ["hint", "init02", "-n", "1"],
        ["hint", "init02", "-n", "3"],
        ["diff"],
    ):
        for lang, shown in screens.items():
            shown.append((" ".join(arguments), learn(*arguments, "--plain", "--lang", lang).stdout.rstrip()))
    for lang, shown in screens.items():
        text = "".join(f"==== {name}\n{normal(screen)}\n" for name, screen in shown)
        file = GOLDEN / f"{lang}.txt"
        if os.environ.get("MINIDL_GOLDEN") == "write":
            file.write_text(text, "utf-8")
        assert text == file.read_text("utf-8")
        assert not [line for line in text.splitlines() if wide(line) > 80]
        assert not re.search("[\u2500-\u27ff\x1b]", text), "no box characters, symbols or colours with --plain"


def test_a_file_that_is_begun_is_told_where_it_stops(work):
    write(work, ARR04, "def softmax(x, axis=-1):\n    print(x.ndim)\n    raise NotImplementedError\n")
    assert "Replace the TODO in arrays/arr04.py:3; hint" in learn("run", "arr04").output


def test_an_argument_that_is_changed_is_named_so(work):
    write(work, ARR04, "import numpy as np\n\n\ndef softmax(x, axis=-1):\n    x -= x.max(axis, keepdims=True)\n"
          "    return np.exp(x) / np.exp(x).sum(axis, keepdims=True)\n")  # fmt: skip
    assert "\n  argument 1 must not be changed, shape (5,), axis=0\n" in learn("run", "arr04").output


def test_a_race_is_told_once():
    exercise = bank_module.bank()["cu06"]
    source = "from numba import cuda\n\n\n@cuda.jit\ndef block_sum(x, out):\n    out[cuda.blockIdx.x] += x[cuda.threadIdx.x]\n"
    subject = Subject.of_source(source, "given.py", exercise.names)
    found = summary(examine(exercise, subject))
    text = "\n".join(report(exercise, {**found, "output": ""}, Style("en", plain=True)))
    assert len(found["problems"]) > 2 and text.count("nothing orders them") == 1
    assert f"and {len(found['problems']) - 1} more in this stage" in text


@pytest.mark.parametrize(
    ("got", "expected", "texts"),
    [
        ("-inf", -1.009618183538736, ("-inf", "-1.01")),
        (7.2448219, 7.2448207, ("7.244822", "7.244821")),
        ("(2, 3)", "(3, 2)", ("(2, 3)", "(3, 2)")),
        (True, False, ("True", "False")),
        ("nan", "nan", ("nan", "nan")),
        (1, 64, ("1", "64")),
    ],
)
def test_two_values_are_told_apart_with_as_few_digits_as_that_takes(got, expected, texts):
    assert _apart(got, expected) == texts


def test_a_factor_of_one_is_not_told():
    def shown(ratio):
        return problem({"kind": "value", "what": "x", "got": 2.0, "expected": 1.0, "relation": "equal", "ratio": ratio},
                       "values", Style("en", plain=True))[-1]  # fmt: skip

    assert (
        shown(2.0).endswith("got 2   (\N{MULTIPLICATION SIGN}2)")
        and shown(1.0000001).endswith("got 2")
        and shown(None).endswith("got 2")
    )


def test_the_verdict_in_the_readme_is_one_that_is_printed():
    blocks = re.findall(r"^```\w*\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (shown,) = [block for block in blocks if "looks like" in block]
    assert normal(shown) in (GOLDEN / "en.txt").read_text("utf-8")


def test_the_command_prints_the_same_with_symbols(work):
    write(work, INIT02, INIT02.source("wrong_he"))
    result = learn("run", "init02")
    assert result.exit_code == 1 and "✗ wrong  " in result.stdout and "●○○○○" in result.stdout
    assert "错误" in learn("run", "init02", "--lang", "zh").stdout


def test_with_v_every_stage_is_shown(work):
    source = ARR04.source("wrong_all_axes")
    write(work, ARR04, source)
    brief, verbose = learn("run", "--plain").stdout, learn("run", "--plain", "-v").stdout
    assert "properties" not in brief and "then, in stage: properties" in verbose
    assert len(verbose) > len(brief)


def test_json_has_it_all(work):
    write(work, INIT02, INIT02.source("wrong_lecun"))
    found = json.loads(learn("run", "init02", "--json").stdout)
    assert (found["verdict"], found["stage"], found["misconception"]["name"]) == ("wrong", "statistics", "lecun")
    assert found["problems"][0]["got"] > found["problems"][0]["expected"] and found["engine"].startswith(
        "minidl/nn/init.py:"
    )
    write(work, ARR04, ARR04.source("wrong_unshifted"))
    text = learn("run", "arr04", "--json").stdout
    assert json.loads(text, parse_constant=pytest.fail)["problems"][0]["bad"] == 1
    rows = json.loads(learn("list", "--json").stdout)
    assert (
        [row["id"] for row in rows] == ["arr04", "init02"] and rows[0]["state"] == "wrong" and rows[0]["attempts"] == 1
    )
    assert json.loads(learn("hint", "--json").stdout)["level"] == 1
    for command in (
        ["check-all"],
        ["doctor"],
        ["init"],
        ["goto", "init02"],
        ["skip"],
        ["reset", "arr04"],
        ["solution", "--yes"],
    ):
        json.loads(learn(*command, "--json").stdout)


# ---------------------------------------------------------------------------------------------------------------------
# The folder


def test_init_writes_each_exercise_once_in_the_language_asked_for(small):
    result = learn("init", "--lang", "zh")
    assert result.exit_code == 0 and "新增 2 道练习" in result.stdout
    file = small / "minidl-exercises" / "initialization" / "init02.py"
    text = file.read_text("utf-8")
    assert "返回形状为" in text and "●○○○○" in text and "先修：arr04" in text and text.endswith(INIT02.source("stub"))
    assert all(wide(line) <= 90 for line in text.splitlines())
    assert json.loads(learn("list", "--json").stdout)[0]["title"] == "不会溢出的 softmax"  # found in ./minidl-exercises
    file.write_text("mine = 1\n")
    (small / "minidl-exercises" / "arrays" / "arr04.py").unlink()
    assert "新增 1 道练习" in learn("init").stdout
    assert file.read_text() == "mine = 1\n"
    taken = small / "taken"
    taken.mkdir()
    (taken / "something").write_text("")
    refused = learn("init", taken)
    assert refused.exit_code == 1 and "is not empty" in refused.stderr and len(list(taken.iterdir())) == 1


def test_the_way_through_the_bank(work, monkeypatch):
    assert "not solved yet" in learn("next").stderr
    assert "comes after you have solved it" in learn("diff").stderr
    assert "init02 builds on arr04" in learn("goto", "init02").stdout
    assert "arr04" in learn("skip", "too easy").stdout  # what was before comes again
    write(work, ARR04, ARR04.source("solution"))
    passed = learn("run")
    assert passed.exit_code == 0 and "unlocked: init02" in passed.stdout
    assert (work / "solutions" / "arrays" / "arr04.py").read_text() == ARR04.source("solution")
    assert "init02" in learn("next").stdout
    (work / "arrays" / "deeper").mkdir()
    monkeypatch.chdir(work / "arrays" / "deeper")
    assert json.loads(learn("list", "--json").stdout)[1]["current"]  # remembered, found from below
    write(work, INIT02, INIT02.source("solution"))
    assert learn("run").exit_code == 0
    assert "All exercises are solved." in learn("next").stdout
    write(work, ARR04, ARR04.source("wrong_unshifted"))
    again = learn("check-all")
    assert again.exit_code == 1 and "arr04 was solved and fails now" in again.stdout and "1 of 2 solved" in again.stdout
    assert json.loads(learn("list", "--json").stdout)[0]["state"] == "pending"
    assert "arr04" in learn("next").stdout


def test_hints_go_deeper_and_are_counted(work):
    said = [learn("hint").stdout for _ in range(4)]
    assert [text.split(":")[0] for text in said] == ["hint 1 of 3", "hint 2 of 3", "hint 3 of 3", "hint 3 of 3"]
    assert "minidl learn solution" in said[2] and "hint 1 of 3" in learn("hint", "-n", "1").stdout
    assert Workspace(work).record(ARR04)["hint"] == 3


def test_the_solution_is_asked_for_twice_and_marked(work):
    refused = learn("solution", answer="n\n")
    assert refused.exit_code == 1 and "softmax" not in refused.stdout
    assert "assisted" not in Workspace(work).record(ARR04)
    assert "def softmax" in learn("solution", answer="y\n").stdout
    assert Workspace(work).record(ARR04)["assisted"]


def test_reset_of_a_file_that_is_gone_writes_the_stub(work):
    (work / "arrays" / "arr04.py").unlink()
    assert learn("reset", "arr04").output == "arrays/arr04.py is a stub again\n"


def test_reset_keeps_what_was_there(work):
    write(work, ARR04, "mine = 1\n")
    assert learn("reset", "arr04").exit_code == 0
    (backup,) = (work / "backups" / "arrays").iterdir()
    assert backup.read_text() == "mine = 1\n" and ARR04.untouched((work / "arrays" / "arr04.py").read_text())
    write(work, ARR04, ARR04.source("solution").replace("shifted", "moved"))
    assert learn("run").exit_code == 0
    difference = learn("diff").stdout
    assert "-    moved = " in difference and "+    shifted = " in difference


def test_mistakes_end_in_one_line(work, small, monkeypatch):
    for arguments, message in [
        (["run", "arr4"], "is it arr04?"),
        (["run", "--lang", "de"], "it is en or zh"),
        (["list", "--topic", "cooking"], "it is one of arrays"),
        (["run", "--dir", small / "bank"], "`minidl learn init`"),
        ([], "watching needs a terminal; `minidl learn run`"),
    ]:
        result = learn(*arguments)
        assert result.exit_code in (1, 2) and message in result.stderr and result.stderr.count("\n") == 1, arguments
    (work / "arrays" / "arr04.py").unlink()
    assert "minidl learn reset arr04" in learn("run").stderr
    write(work, ARR04, "")
    (work / "arrays" / "arr04.py").write_bytes(b"\xff\xfe")
    assert "is not text in UTF-8" in learn("run").stderr
    (work / "progress.json").write_text("{")
    damaged = learn("run")
    assert (
        damaged.exit_code == 1
        and "Nothing was written" in damaged.stderr
        and (work / "progress.json").read_text() == "{"
    )


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_doctor_looks_at_what_is_needed(work, lang):
    shown = learn("doctor", "--lang", lang, "--plain").stdout
    assert not [line for line in shown.splitlines() if wide(line) > 80 and str(work) not in line]
    assert (
        ("file watching" in shown and "works" in shown) if lang == "en" else ("文件监视" in shown and "可用" in shown)
    )
    (work / "arrays" / "arr04.py").unlink()
    assert "arr04" in json.loads(learn("doctor", "--json").stdout)[0]["means"]
    nowhere = json.loads(learn("doctor", "--json", "--dir", work / "arrays").stdout)
    assert "minidl learn init" in nowhere[0]["means"]


def test_cards_of_the_quiz_are_kept(work):
    from minidl.learn import progress

    workspace = Workspace(work)
    progress.update(work / "progress.json", "cards", "one", {"due": "now"})
    workspace.hint(ARR04)
    assert progress.load(work / "progress.json")["cards"] == {"one": {"due": "now"}}


def test_two_programs_at_once_lose_nothing(work, capsys):
    from minidl.learn.watch import Session

    session = Session(Workspace(work), Style("en", plain=True), 0)
    Workspace(work).hint(ARR04)  # another program
    session.check()
    assert "not started" in capsys.readouterr().out and Workspace(work).record(ARR04)["hint"] == 1
    session.press("h", lambda: "")
    assert "hint 2 of 3" in capsys.readouterr().out


def test_a_terminal_that_lacks_characters_is_no_reason_to_stop(work):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "minidl", "learn", "run", "init02", "--lang", "zh"]
    found = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 1 and "init02" in found.stdout and "Traceback" not in found.stderr


# ---------------------------------------------------------------------------------------------------------------------
# Words and columns


def test_every_phrase_is_in_both_languages_with_the_same_places():
    for key, phrase in words.WORDS.items():
        assert set(phrase) == {"en", "zh"}, key
        places = [set(re.findall(r"\{(\w+)", text)) for text in (phrase["en"], phrase["zh"])]
        assert places[0] == places[1], key


def test_columns():
    assert (wide("softmax"), wide("溢出"), wide("e\u0301")) == (7, 4, 1)
    assert pad("溢出", 6) == "溢出  " and cut("不会溢出的 softmax", 10) == "不会溢..."
    for text in ["一二三四五, 六七八九十", "word " * 30, "x" * 100, "混合 mixed 文字 of both," * 5, "(" * 50]:
        for width in (10, 21, 80):
            lines = wrap(text, "* ", "  ", width=width)
            assert all(wide(line) <= width for line in lines)
            assert "".join("".join(line[2:] for line in lines).split()) == "".join(text.split())
            assert not any(line[2:].startswith((",", ".")) for line in lines)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("one\n  two", "one two"),
        ("溢出\n文字", "溢出文字"),
        ("溢出\uff0c\nx 大", "溢出\uff0cx 大"),
        ("一 float\n\uff08二\uff09", "一 float\uff08二\uff09"),
        ("一,\n二", "一, 二"),
        ("在 float64\n中", "在 float64 中"),
    ],
)
def test_where_a_line_ends_chinese_has_no_space(text, line):
    assert wrap(text) == [line]


def test_the_head_of_every_exercise_fits_in_both_languages():
    for exercise in bank_module.bank().values():
        for lang in ("en", "zh"):
            lines = head(exercise, lang).splitlines()
            assert all(wide(line) <= 80 for line in lines if not line.startswith("#  ")), exercise.id
            assert all(line.startswith("#") for line in lines)


# ---------------------------------------------------------------------------------------------------------------------
# In a notebook


def mine(x, axis):
    """On arrays, and on Tensors."""
    e = (x - x.max()).exp() if hasattr(x, "exp") else np.exp(x - x.max())
    return e / e.sum(axis, keepdims=True)


def test_check_gives_the_same_verdicts(capsys):
    def softmax(x, axis=-1):
        e = np.exp(x - x.max())
        return e / e.sum()

    verdict = check("arr04", softmax, lang="en")
    assert (verdict.verdict, verdict.misconception) == ("wrong", "all_axes")
    assert "looks like: you summed over the whole array" in capsys.readouterr().out

    def softmax(x, axis=-1):
        from scipy.special import softmax

        return softmax(x, axis)

    assert check("arr04", softmax=softmax).stage == "forbidden"

    def softmax(x, axis=-1):
        return x.undefined

    assert check("arr04", softmax, lang="en").verdict == "error"
    said = capsys.readouterr().out
    assert "return x.undefined" in said and "AttributeError" in said and "examine.py" not in said
    with pytest.raises(ValueError, match="asks for softmax; given: soft"):
        check("arr04", soft=softmax)
    with pytest.raises(ValueError, match="is neither an exercise nor an operation; is it softmax"):
        check("sofmax", softmax)


def test_a_mistake_that_is_not_known_is_not_named():
    """A variance of zero is not that of a forgotten root, small as both are beside the right one's error."""
    verdict = check("init02", lambda fan_in, fan_out, rng: np.zeros((fan_in, fan_out)))
    assert (verdict.verdict, verdict.misconception) == ("wrong", "")
    double = check("init02", lambda fan_in, fan_out, rng: rng.normal(size=(fan_in, fan_out)))
    assert (double.verdict, double.misconception) == ("wrong", "")


def test_check_of_an_operation_looks_at_values_and_both_gradients(capsys):
    arrays = check("softmax", lambda x, axis: mine(x, axis))
    tensors = check("softmax", mine)
    assert arrays.passed and tensors.passed and tensors.observations > 3

    class Factor(md.autograd.Function):  # the right value and five times its gradient
        @staticmethod
        def forward(ctx, x, axis):
            out = md.softmax(x, axis)
            ctx.save_for_backward(out)
            ctx.axis = axis
            return out

        @staticmethod
        def backward(ctx, g):
            (out,) = ctx.saved_tensors
            return 5 * out * (g - (g * out).sum(ctx.axis, keepdim=True)), None

    wrong = check("softmax", lambda x, axis: Factor.apply(md.as_tensor(x), axis), lang="en")
    assert (wrong.verdict, wrong.stage) == ("wrong", "gradient")
    assert "finite differences say" in capsys.readouterr().out
    assert check("softmax", lambda x, axis: md.softmax(md.as_tensor(x).detach(), axis)).stage == "gradient"
    assert check("softmax", lambda x, dim: 2 * mine(x, dim)).stage == "values"


def test_a_learners_softmax_trains_a_real_network():
    def softmax(x, axis):
        calls.append(x.shape)
        e = np.exp(x - x.max(axis=axis, keepdims=True))
        return e / e.sum(axis=axis, keepdims=True)

    def train():
        md.manual_seed(0)
        model = nn.MultiheadAttention(8, 2, batch_first=True)
        head = nn.Linear(8, 1)
        parameters = [*model.parameters(), *head.parameters()]
        optimizer = md.optim.SGD(parameters, lr=0.1)
        x, y = md.randn(4, 5, 8), md.randn(4, 5, 1)
        losses = []
        for _ in range(5):
            optimizer.zero_grad()
            weights = md.softmax(x @ x.transpose(1, 2), -1)
            loss = ((head(weights @ model(x, x, x)[0]) - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    calls: list[tuple[int, ...]] = []
    theirs = train()
    with kernels.use(softmax=softmax):
        ours = train()
    assert calls and ours[-1] < ours[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# What is shipped


def test_a_wheel_holds_the_bank_and_works_elsewhere(tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    tree = tmp_path / "tree"
    for name in ("minidl", "kernels"):
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.nb?"))
    for name in ("exercises", "questions"):
        shutil.copytree(
            ROOT / "tutorials" / name, tree / "tutorials" / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "-w", tmp_path, tree], check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    wanted = [path.relative_to(ROOT / "tutorials") for path in (ROOT / "tutorials").glob("exercises/*/*/*.*")]
    wanted += [path.relative_to(ROOT / "tutorials") for path in (ROOT / "tutorials").glob("questions/*.toml")]
    assert len(wanted) > 50 and not [path for path in wanted if f"minidl/learn/{path.as_posix()}" not in names]
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path / "installed"),
        "MINIDL_KERNELS": "numpy",
        "LC_ALL": "C.UTF-8",
    }

    def run(*arguments):
        command = [sys.executable, "-m", "minidl", "learn", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert f"{len(bank_module.bank())} new exercises" in run("init", "work", "--lang", "en").stdout
    (tmp_path / "work" / "arrays" / "arr04.py").write_text(ARR04.source("solution"))
    passed = run("run", "arr04", "--dir", "work")
    assert passed.returncode == 0 and "minidl/kernels/softmax.py:" in passed.stdout, passed.stdout + passed.stderr
