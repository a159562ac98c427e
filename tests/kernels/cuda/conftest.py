"""What the tests of CUDA kernels share: the engine on them, without a GPU."""

from __future__ import annotations

import pytest

from minidl import kernels
from minidl.testing import cuda_on_cpu, strict_cupy


@pytest.fixture
def launched(monkeypatch):
    """The CUDA kernels are in force for the arrays of the stand-in for CuPy; the names of those that ran."""
    names = set()
    with strict_cupy.installed(), cuda_on_cpu.running(launched=names):
        monkeypatch.setitem(kernels.DEFAULT_ORDER, "cuda", ("cuda", "cublas", "cupy"))
        for kernel in kernels.REGISTRY.values():
            kernel.choose(None)
        yield names
    for kernel in kernels.REGISTRY.values():
        kernel.choose(None)
