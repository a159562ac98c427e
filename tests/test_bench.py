"""The benchmark's machinery: choosing, comparing, files and pictures. How fast something is, no test says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import minidl
from minidl import bench
from minidl.bench import decoding, pieces, processes, sizes, small, workloads
from minidl.cli import app


def run(*arguments):
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


def test_list_and_only():
    listed = run("--list").stdout.splitlines()
    assert listed == [*workloads.WORKLOADS, *processes.MEASUREMENTS]
    assert run("--list", "--only", "^train gpt").stdout.splitlines() == [n for n in listed if n.startswith("train GPT")]


def test_sizes_are_a_list_of_their_own():
    names = run("--sizes", "--list").stdout.splitlines()
    assert names == [*sizes.SIZES, *small.SMALL, *decoding.DECODING] and not set(names) & set(workloads.WORKLOADS)
    few = "linear 200 to 100, batch 1$|Adam on 7|train MLP 100|33 to 100, 20 steps, batch 1|one of 20$"
    result = run("--sizes", "--only", few, "--rounds", 1)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "nothing of that name"), "no workload matches"),
        (("--only", "("), "is not a regular expression"),
        (("--sizes", "--only", "import time"), "see minidl bench --sizes --list"),
        (("--plot", "/nowhere/p.png"), "there is no folder /nowhere"),
        (("--roofline", "/nowhere/p.png"), "there is no folder /nowhere"),
        (("--only", "import time$", "--roofline", "p.png"), "name a workload"),
    ],
)
def test_mistakes(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2 and message in result.stderr


def test_ratio_is_that_of_work():
    def busy(n):
        return lambda: float(sum(range(n)))

    found = bench.compare(busy(40000), busy(10000), rounds=5, seconds=0.01)
    assert found["low"] <= found["ratio"] <= found["high"]
    assert found["ratio"] > 1.5  # four times the work; the bound is loose since other programs run beside


def test_files_and_pictures(tmp_path):
    result = run(
        "--only", "batch 1, SGD|layer norm", "--rounds", 1, "--json", tmp_path / "f.json", "--plot", tmp_path / "p.png"
    )
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "f.json").read_text())["results"]
    assert len(found) == 2 and all(set(r) == {"ours", "theirs", "ratio", "low", "high"} for r in found.values())
    drawn = run("--only", "batch 1, SGD", "--roofline", tmp_path / "r.png")
    assert drawn.exit_code == 0, drawn.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.json", "p.png", "r.png"]
    assert all((tmp_path / n).read_bytes().startswith(b"\x89PNG") for n in ("p.png", "r.png"))


def test_sides_that_disagree_are_refused(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setitem(workloads.WORKLOADS, "wrong", lambda m: lambda: 1.0 if m.__name__ == "minidl" else 2.0)
    with pytest.raises(RuntimeError, match=re.escape("bench wrong: the two sides disagree: 1.0 and 2.0")):
        bench.run(1, only="^wrong$")


def test_values_and_gradients_that_disagree_are_refused():
    x = np.array([[1.0, -2.0]], np.float32)
    right, wrong_gradient, fewer = (
        pieces.Piece(minidl, function, x, grad=grad)
        for function, grad in (
            (lambda x: x * 2, True),
            (lambda x: x * 1.9 + x.detach() * 0.1, True),
            (lambda x: x * 2, False),
        )
    )
    bench.check("doubled", right, right)
    with pytest.raises(RuntimeError, match="bench doubled: the two sides disagree"):
        bench.check("doubled", wrong_gradient, right)
    with pytest.raises(RuntimeError, match="one side has 1 results and gradients, the other 2"):
        bench.check("doubled", fewer, right)


def test_measuring_process_reports_its_failure():
    with pytest.raises(RuntimeError, match=r"a measuring process failed:[\s\S]*No module named 'nowhere'"):
        processes.in_new_process(processes.IMPORT_TIME, module="nowhere")
    assert processes.in_new_process("print(6 * 7)") == 42


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
@pytest.mark.parametrize("name", processes.SMALL)
def test_training_does_not_grow(name):
    """Less than 1 KiB a step: a graph, a gradient or a buffer that is kept would be more, in each of these networks. What the
    allocator and Python's caches take comes in the 200 steps before."""
    grown = processes.in_new_process(processes.GROWTH, module="minidl", step=processes.SMALL[name])
    assert grown < 1000 / 1024, f"{grown:.2f} MiB in 1000 steps"
