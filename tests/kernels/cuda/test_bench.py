"""Every workload of the GPU benchmark, at small sizes on the CPU: its versions and PyTorch do the same work."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minidl import devices
from minidl.bench import gpu, gpu_kernels
from minidl.bench.gpu_kernels import registry
from minidl.kernels.softmax import softmax
from minidl.testing import cuda_on_cpu, strict_cupy
from minidl.testing.kernel_checks import variants

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


@pytest.mark.parametrize("name", list(gpu_kernels.WORKLOADS))
def test_versions_and_pytorch_agree(name):
    torch = pytest.importorskip("torch")
    with cuda_on_cpu.running():
        work = gpu_kernels.WORKLOADS[name](gpu_kernels.Machine(np, torch, small=True))
        assert work.versions and (work.bytes or work.flops)
        theirs = work.twin() if work.twin else None
        for version, call in work.versions.items():
            ours = call()
            if work.check and theirs is not None:
                assert gpu.difference(ours, theirs) <= work.tolerance, version


def test_every_kernel_with_a_cuda_variant_is_measured():
    texts = [path.read_text() for path in Path(gpu_kernels.__file__).parent.glob("*.py")]
    names = {name for text in texts for name in re.findall(r"\w+", text)}
    others = {"erf", "philox", "sgd_many"}  # what they do is measured under another name
    missing = {kernel.name for kernel, _ in [*variants(), *variants("numba_cuda")]} - names - others
    assert not missing, f"minidl/bench/gpu_kernels has no workload of {sorted(missing)}"


def test_kernels_in_numba_are_measured_on_a_gpu_that_has_them(monkeypatch):
    with strict_cupy.installed():
        import cupy

        arguments = cupy.ones((4, 8), "float32"), -1
        for there in (True, False):
            monkeypatch.setattr(registry, "NUMBA_CUDA", there)
            assert ("numba_cuda" in registry.versions(softmax, *arguments)) is there
    monkeypatch.setattr(registry, "NUMBA_CUDA", True)
    assert "numba_cuda" not in registry.versions(softmax, np.ones((4, 8), np.float32), -1)  # nothing to launch it on


def test_the_table_names_failures_and_differences():
    ceiling = {"name": gpu.CEILINGS, "device": "X", "copy": 1e12, "float32": 1e13, "float16": 1e14}
    rows = [
        ceiling,
        {"name": "a", "version": "cuda", "seconds": 1e-3, "bytes": 5e8, "flops": 0, "torch_seconds": 2e-3},
        {"name": "b", "error": "Boom: it broke"},
        {"name": "c", "version": "cuda", "seconds": 1e-3, "bytes": 0, "flops": 1e10, "half": True, "agrees": False,
         "difference": 0.5, "torch_seconds": None},
    ]  # fmt: skip
    text = gpu.table(rows)
    for wanted in ("500 GB/s  0.50  x0.50", "FAILED Boom", "10.0 TF/s  0.10", "DIFFERS by 5.0e-01"):
        assert wanted in text


def test_the_command_line_names_the_workloads_and_asks_for_a_gpu():
    listed = subprocess.run(
        [sys.executable, "-m", "minidl", "bench", "--device", "cuda", "--only", "softmax 2", "--list"],
        text=True, capture_output=True, check=True,
    )  # fmt: skip
    names = listed.stdout.splitlines()
    assert names[0] == "ceilings" and "softmax 2^20 x 128" in names and not any("gelu" in name for name in names)
    wrong = subprocess.run([sys.executable, "-m", "minidl", "bench", "--device", "tpu"], text=True, capture_output=True)
    assert wrong.returncode and "--device tpu: it is cpu or cuda" in wrong.stderr


@pytest.mark.parametrize(
    "command", ["minidl bench --device cuda", "minidl.bench.gpu", "pytest --device cuda tests/test_views.py"]
)
def test_without_a_gpu_a_command_ends_with_one_line_that_says_why(command):
    count, why = devices.gpus()
    if count:
        pytest.skip("there is a GPU")
    done = subprocess.run([sys.executable, "-m", *command.split()], text=True, capture_output=True)
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith(("usage:", " "))]
    assert done.returncode and len(lines) == 1, done.stderr
    assert (
        why in lines[0]
        and lines[0].endswith("; `minidl doctor` says what this machine has")
        and not done.stdout.strip()
    )
