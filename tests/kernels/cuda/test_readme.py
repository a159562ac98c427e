"""kernels/README.md holds: its programs and commands run, and every file of kernels for a GPU has its place in the order."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minidl.kernels import cuda, numba_cuda
from minidl.testing import cuda_on_cpu, nvrtc

ROOT = cuda.HERE.parent
TEXT = (cuda.HERE / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def commands():
    """Those in blocks, and those in the first quotes of the right column of the last table but for the last line, which needs a GPU."""
    inside = [line.partition("#")[0] for block in blocks("bash") for line in block.splitlines()]
    rows = TEXT.partition("| question | answer |")[2].splitlines()[2:]
    assert "only a GPU says" in rows[-1]
    return [*inside, *(re.search(r"\| .*?`((?:pytest|minidl|python) [^`]*)`", row)[1] for row in rows[:-1])]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where twice.cu is, as the text has it; and kernels/ and tests/, as the commands name them."""
    (tmp_path / "twice.cu").write_text(blocks("cpp")[0])
    (tmp_path / "script.py").write_text("print('fine')\n")
    for name in ("kernels", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.parametrize("command", commands())
def test_commands_run(command, folder):
    name, *arguments = shlex.split(command)
    if "minidl.testing.nvrtc" in arguments and nvrtc.library() is None:
        pytest.skip("NVRTC is not installed")
    if "minidl.testing.cuda_on_cpu" in arguments and shutil.which("g++") is None:
        pytest.skip("needs g++")
    if name == "pytest":
        assert Path(arguments[0]).is_file()  # it is run anyhow
        return
    start = [sys.executable, *{"python": [], "minidl": ["-m", "minidl"]}[name]]
    done = subprocess.run([*start, *arguments], text=True, capture_output=True)
    assert done.returncode == 0 and done.stdout.strip(), done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.parametrize("program", blocks("python"))
def test_programs_run(program, folder):
    exec(program, {})


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_the_kernel_in_contributing(tmp_path):
    (text,) = re.findall(r"^```cpp\n(.*?)^```$", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "row_sum.cu").write_text(text)
    x = np.random.default_rng(0).standard_normal((5, 70)).astype(np.float32)
    out = np.zeros(5, np.float32)
    cuda_on_cpu.kernel(tmp_path / "row_sum.cu", "row_sum_warp", 2, 96, x, out, 5, 70)
    np.testing.assert_allclose(out, x.sum(1), rtol=1e-5, atol=1e-5)


def test_the_figures_are_those_of_the_table():
    table = (ROOT / "minidl/bench/results/README.md").read_text()
    of_naive, of_cached = re.search(r"reaches (\d+%) with a thread a row and\n(\d+%)", TEXT).groups()
    assert re.search(rf"^\| softmax 32768 x 4096 \| naive {of_naive}, .*cached {of_cached} \|$", table, re.MULTILINE)


def test_every_file_has_its_place():
    order = TEXT.partition("## In which order to read")[2].partition("On the CPU")[0]
    there = {path.name for pattern in ("*.cu", "*.cuh") for path in cuda.HERE.glob(pattern)}
    there |= {f"numba_cuda/{file}.py" for file in numba_cuda.FILES}
    assert set(re.findall(r"`kernels/([\w/]+\.\w+)`", order)) == there
