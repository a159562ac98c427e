"""The command line, run as a user runs it: in processes of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from minidl.training import RECIPES

COMMAND = [sys.executable, "-m", "minidl"]
ENVIRONMENT = {**os.environ, "COLUMNS": "120", "MINIDL_KERNELS": "numpy"}  # nothing to compile


def minidl(*arguments, cwd=None, env=ENVIRONMENT):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, env=env, timeout=120
    )


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_alone_it_says_what_to_do_next():
    done = minidl()
    assert done.returncode == 0 and not done.stderr
    for command in ("train", "doctor", "bench"):
        assert f"minidl {command}" in done.stdout
        described = minidl(command, "--help")
        assert described.returncode == 0 and "--help" in described.stdout


def test_help_names_every_recipe():
    text = minidl("train", "--help").stdout
    assert all(name in text for name in RECIPES)


def test_doctor_says_what_is_there_and_what_it_means():
    done = minidl("doctor")
    assert done.returncode == 0, done.stderr
    for word in ("Python", "NumPy", "BLAS", "Numba", "CPU vectors", "CuPy", "NVIDIA driver"):
        assert word in done.stdout


def test_train_writes_a_whole_run(tmp_path):
    done = minidl("train", "--epochs", 2, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    found = {p.name for p in (tmp_path / "run").iterdir()}
    assert found == {"config.json", "metrics.jsonl", "last.ckpt", "best.ckpt", "result.json", "report.png"}
    assert json.loads((tmp_path / "run" / "config.json").read_text())["epochs"] == 2
    rows = metrics(tmp_path / "run")
    assert [row["epoch"] for row in rows] == [1, 2] and rows[1]["loss"] < rows[0]["loss"]
    assert (tmp_path / "run" / "report.png").read_bytes().startswith(b"\x89PNG")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert sum(map(sum, result["confusion"])) == 270
    shown = re.search(r"test accuracy (\d\.\d{4})", done.stdout)
    assert shown and float(shown[1]) == round(result["test_accuracy"], 4)
    assert f"{rows[1]['val_accuracy']:.4f}" in done.stdout, "one line per epoch where there is no terminal"
    assert "\x1b[" not in done.stdout


def importable():
    """The environment for a process in another folder, should minidl not be installed."""
    from pathlib import Path

    import minidl as package

    path = os.pathsep.join([str(Path(package.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    return {**ENVIRONMENT, "PYTHONPATH": path}


def test_resume_goes_on_and_without_out_runs_are_numbered(tmp_path):
    for arguments in (["--epochs", 1, "--recipe", "linear"], ["--resume", "runs/digits-linear-1", "--epochs", 2]):
        done = minidl("train", *arguments, cwd=tmp_path, env=importable())
        assert done.returncode == 0, done.stderr
    assert len(metrics(tmp_path / "runs" / "digits-linear-1")) == 2


@pytest.mark.skipif(os.name == "nt", reason="SIGINT is sent otherwise there")
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [*COMMAND, "train", "--epochs", "2000", "--out", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (folder / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors and f"--resume {folder}" in errors
    done = len(metrics(folder))
    resumed = minidl("train", "--resume", folder, "--epochs", done + 1)
    assert resumed.returncode == 0, resumed.stderr
    assert [row["epoch"] for row in metrics(folder)] == list(range(1, done + 2))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--recipe", "nope"], "unknown recipe 'nope'; there are: mlp"),
        (["--epochs", "0"], "epochs"),
        (["--batch-size", "-3"], "batch-size"),
        (["--device", "tpu"], "tpu"),
        (["--resume", "nowhere"], "nowhere is no run folder"),
        (["--out", "file/run"], "file"),
    ],
)
def test_mistakes_end_in_one_line(arguments, message, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = minidl("train", *arguments, cwd=tmp_path, env=importable())
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_an_existing_run_is_not_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    done = minidl("train", "--out", tmp_path)
    assert done.returncode == 2 and "--resume" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_damaged_checkpoint_is_refused(tmp_path):
    minidl("train", "--recipe", "linear", "--epochs", 1, "--out", tmp_path / "run")
    checkpoint = tmp_path / "run" / "last.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-10])
    done = minidl("train", "--resume", tmp_path / "run")
    assert done.returncode == 2 and "damaged" in done.stderr and "Traceback" not in done.stderr


def test_cuda_without_a_gpu(tmp_path):
    import minidl as md

    if md.cuda.is_available():
        pytest.skip("there is one")
    done = minidl("train", "--device", "cuda", "--out", tmp_path / "run")
    assert done.returncode == 2 and "cuda" in done.stderr.lower() and "Traceback" not in done.stderr
