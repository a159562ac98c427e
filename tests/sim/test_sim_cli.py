"""`minidl trace`."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from minidl.cli import app

SOURCE = """import numpy as np
from minidl.sim import cuda, float32

@cuda.jit
def transpose(a, out):
    i, j = cuda.grid(2)
    if i < a.shape[0] and j < a.shape[1]:
        out[i, j] = a[j, i]

@cuda.jit(device=True)
def one():
    return 1

@cuda.jit
def racy(x):
    x[0] += one()

@cuda.jit
def unguarded(x, n):
    x[n] = 1

def transpose_inputs():
    return np.zeros((32, 32), np.float32), np.zeros((32, 32), np.float32)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cu.py"
    path.write_text(SOURCE)
    return path


def trace(*arguments):
    return CliRunner().invoke(app, ["trace", *map(str, arguments)], prog_name="minidl")


def test_verdict_and_picture(file, tmp_path):
    done = trace(f"{file}:transpose", "--grid", "1,1", "--block", "32,32", "--plot", tmp_path / "a.svg")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[:3] == [
        "transpose  grid 1  block 32,32    simulated; model: 32 threads, 128-byte lines, 32 banks",
        "loads   a[j, i]    line 8       1 transaction/warp, coalesced",
        "stores  out[i, j]  line 8      32 transactions/warp, 12% of what is moved is used (stride 32 elements)",
    ]
    assert done.output.endswith(f"picture: {tmp_path / 'a.svg'}\n") and (tmp_path / "a.svg").exists()


def test_a_file_imports_what_lies_beside_it(file, tmp_path):
    (tmp_path / "beside_cu.py").write_text("N = 4\n")
    (tmp_path / "user.py").write_text(
        f"from beside_cu import N\n{SOURCE}\ndef racy_inputs():\n    return (np.zeros(N),)\n"
    )
    assert trace(f"{tmp_path / 'user.py'}:racy").exit_code == 1


def test_a_race_ends_with_1(file):
    done = trace(f"{file}:racy", "--arg", "i32:4=0", "--order", "random", "--seed", "5")
    assert done.exit_code == 1 and "verdict: wrong: 1 race(s)" in done.output
    found = json.loads(trace(f"{file}:racy", "--arg", "i32:4", "--json").output)
    assert found["races"][0]["lines"] == [16, 16] and found["ok"] is False


def test_an_error_of_the_kernel_is_one_line_and_ends_with_1(file):
    done = trace(f"{file}:unguarded", "--arg", "f32:2x3", "--arg", "i32:=7")
    assert done.exit_code == 1 and done.stderr.startswith(
        "minidl: cu.py:20: unguarded: block 0 thread 0: x[7] is out of"
    )
    assert done.stderr.count("\n") == 1
    done = trace(f"{file}:unguarded", "--arg", "f32:2", "--arg", "i32:=7", "--json")
    assert json.loads(done.stdout)["error"]["line"] == 20


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["{}:unguarded"], "takes 2 arguments (x, n), got 0"),
        (["{}:transpose", "--block", "33,32"], "1024 is the most that a block can have"),
    ],
)
def test_launches_that_cannot_be(file, arguments, message):
    done = trace(*(a.format(file) for a in arguments))
    assert done.exit_code == 1 and message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nowhere.py:k"], "there is no file nowhere.py"),
        (["softmax.cu"], "there is no file softmax.cu"),
        (
            ["{}"],
            "several kernels, or none; name one as FILE:KERNEL; under @cuda.jit it has: racy, transpose, unguarded",
        ),
        (["{}:other"], "no kernel 'other'"),
        (["{}:racy", "--grid", "x"], "--grid x: it is up to three numbers"),
        (["{}:racy", "--order", "no"], "--order no: it is one of forward, reverse, random"),
        (["{}:racy", "--plot", "a.png"], "--plot a.png: it is a file .svg"),
        (["{}:racy", "--arg", "f31:2"], "--arg 'f31:2': write TYPE:SHAPE"),
        (["{}:racy", "--arg", "f32:"], "a number needs its value"),
    ],
)
def test_mistakes_in_the_command_are_one_line(file, arguments, message):
    done = trace(*(a.format(file) for a in arguments))
    assert done.exit_code == 2 and message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_a_kernel_in_cuda_is_watched(tmp_path):
    path = tmp_path / "twice.cu"
    path.write_text(
        '#include "common.cuh"\nextern "C" __global__ void twice(const T* x, T* out, int n) {\n'
        "    if (threadIdx.x <= n) out[threadIdx.x] = 2 * x[threadIdx.x];\n}\n"
    )
    arguments = (path, "--block", 32, "--arg", "f32:20", "--arg", "f32:20=0", "--arg")
    done = trace(*arguments, "i32:=19")
    assert done.exit_code == 0 and done.output == "verdict: twice: no errors\n"
    done = trace(*arguments, "i32:=20")
    assert done.exit_code == 1 and done.stderr.startswith(
        "minidl: twice.cu: twice: out of bounds: thread 20 at twice.cu:3 `"
    )
    assert "partly  out: 11 of 20 elements" in trace(*arguments, "i32:=10").output
    for wrong, message in (
        ((f"{path}:thrice",), 'name a kernel as FILE:KERNEL; under extern "C" __global__ it has: twice'),
        ((path, "--json"), "--plot and --json are for kernels in Python"),
        ((path,), "takes 3 arguments (x, out, n), got 0"),
    ):
        done = trace(*wrong)
        assert done.exit_code == 2 and message in done.stderr


def test_a_file_that_does_not_run(tmp_path):
    (tmp_path / "bad.py").write_text("1 / 0\n")
    done = trace(f"{tmp_path / 'bad.py'}:k")
    assert done.exit_code == 2 and done.stderr == "minidl: trace: bad.py: ZeroDivisionError: division by zero\n"


def test_what_the_readme_shows_is_what_it_prints(monkeypatch):
    root = Path(__file__).resolve().parents[2]
    (block,) = re.findall(
        r"^```text\n\$ minidl (trace .*?)\n(.*?)^```$", (root / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    pytest.importorskip("numba")
    monkeypatch.chdir(root)
    done = trace(*block[0].split()[1:])
    assert done.exit_code == 0 and done.output == block[1]
