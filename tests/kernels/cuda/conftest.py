"""What the tests of CUDA kernels share: the engine on them, on a GPU or without one."""

from __future__ import annotations

import contextlib

import pytest

from minidl import kernels
from minidl.kernels import cuda
from minidl.testing import cuda_on_cpu


@pytest.fixture
def launched(device, request, monkeypatch):
    """CUDA kernels are in force on the device, by way of the CPU where it is the stand-in; (name, element type) of those that ran."""
    ran, launch = set(), cuda.Source.launch

    def note(source, entry, grid, block, *args, **options):
        ran.add((entry, source.signatures[entry].element(args)))
        launch(source, entry, grid, block, *args, **options)

    monkeypatch.setattr(cuda.Source, "launch", note)
    monkeypatch.setitem(kernels.DEFAULT_ORDER, "cuda", ("cuda", "cublas", "cupy"))
    on_gpu = request.config.getoption("--device") == "cuda"
    for kernel in kernels.REGISTRY.values():
        kernel.choose(None)
    with contextlib.nullcontext() if on_gpu else cuda_on_cpu.running():
        yield ran
    for kernel in kernels.REGISTRY.values():
        kernel.choose(None)
