"""Figures that were measured: how they are kept, and that the tables are made of them."""

from __future__ import annotations

import json

import pytest

from minidl.bench import results

CEILINGS = {"name": "ceilings", "device": "X", "driver": 13000, "copy": 1e12, "float32": 1e13, "float16": 1e14}
FIGURES = [
    CEILINGS,
    {"name": "sum", "version": "cupy", "seconds": 9e-3, "bytes": 5e8, "flops": 0, "half": False, "torch_seconds": 2e-3},
    {"name": "sum", "version": "cuda", "seconds": 1.00004e-3, "bytes": 5e8, "torch_seconds": 2e-3, "agrees": True},
    {"name": "gemm", "version": "cublas", "seconds": 1e-3, "flops": 5e10, "half": True, "agrees": False, "torch_seconds": None},
    {"name": "gemm", "version": "cuda_naive", "seconds": 1.0, "flops": 5e10},
    {"name": "training step: train MLP", "version": "minidl", "seconds": 2e-3, "torch_seconds": 1e-3, "losses": [1.0, 2.0]},
    {"name": "training step: train MLP", "version": "graph", "error": "RuntimeError: no|t\nrecorded"},
    {"name": "lost", "error": "the process ended with -9"},
]  # fmt: skip


def test_the_tables_are_what_the_script_makes_of_the_files():
    assert list(results.HERE.glob("*.json"))
    assert (results.HERE / "README.md").read_text() == results.readme(), "run python -m minidl.bench.results"
    for path in results.HERE.glob("*.json"):
        assert path.read_text() == results.text_of(json.loads(path.read_text()))


def test_one_command_replaces_the_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "HERE", tmp_path)
    (tmp_path / "given").write_text(json.dumps(FIGURES))
    results.main([str(tmp_path / "given"), "--name", "x", "--date", "2001-02-03"])
    kept = json.loads((tmp_path / "x.json").read_text())
    assert kept["rows"][1] == {"name": "sum", "version": "cuda", "seconds": 0.001, "torch_seconds": 0.002, "bytes": 5e8,
                               "agrees": True}  # fmt: skip
    text = (tmp_path / "README.md").read_text()
    for line in (
        "Measured on 2001-02-03 by `minidl bench --device cuda --json figures.json`, CUDA driver 13000.",
        "| sum | cuda | 1.000 | 500 GB/s | 50% | 2.000 | 0.50 |",
        "| gemm | cublas (differs) | 1.000 | 50.0 TFLOP/s | 50% |  |  |",
        "| MLP | eager | 2.000 | 1.000 | 2.00 |",
        "| MLP | one CUDA graph | not run: RuntimeError: no | | |",
    ):
        assert line in text
    assert "Since then" not in text
    assert "| gemm | naive 0.5%, cublas 50% |" in text and text.count("naive") == 1
    assert "lost" in text
    assert "\nNot measured on this machine: " in text and "softmax" in text.split("Not measured")[1]
    assert all(line.count("|") == text.splitlines()[i - 1].count("|") for i, line in enumerate(text.splitlines())
               if line.startswith("|") and text.splitlines()[i - 1].startswith("|"))  # fmt: skip


def test_what_has_changed_since_is_said(monkeypatch):
    name = "convolution 128 x 64 x 56 x 56, 64 of 3 x 3"
    figures = [CEILINGS, {"name": name, "version": "cupy", "seconds": 1.0, "flops": 1.0}]
    found = results.compact(figures, "2001-02-03")
    text = results.section(found | {"since": "all is new."})
    assert (
        f"| {name} | cupy (now cuda, not measured) | 1000.000 |" in text and "\n\nSince then: all is new.\n\n|" in text
    )
    unknown = {known for known in results.WORKLOADS if results.version_today(known) not in results.IN_FORCE}
    assert {known.rpartition(" ")[0] for known in unknown} == {
        "matrix product 8192,"
    }  # only the step for tensor cores is measured
    assert results.version_today("a workload that there is no more") is None


def test_mistakes(tmp_path, capsys):
    with pytest.raises(SystemExit):
        results.main(["figures.json"])
    assert "--name belong together" in capsys.readouterr().err
    with pytest.raises(ValueError, match="the first row must be the ceilings"):
        results.compact(FIGURES[1:], "2001-02-03")
