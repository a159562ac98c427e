"""What the kernel tests share: every variant that runs here, compared with the reference in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from minidl import kernels
from minidl.testing import cuda_on_cpu, strict_cupy


@pytest.fixture(autouse=True)
def kernel_choice() -> Iterator[None]:
    """Each test begins with the default variants and leaves the choice as it was."""
    with kernels.use():
        for kernel in kernels.REGISTRY.values():
            kernel.choose(None)
        yield


def in_float64(argument):
    return argument.astype(np.float64) if getattr(argument, "dtype", None) == np.float32 else argument


def compare(kernel, *args, rtol=2e-6, atol=1e-6, compiled=True):
    """Run each CPU variant on args; values must agree with the reference in float64, dtypes with it as it is.

    `compiled` says whether the Numba variant is made for args: were it to decline them silently, the reference would be
    compared with itself.
    """
    wanted, like = kernel.reference(*map(in_float64, args)), kernel.reference(*args)
    for (device, name), variant in kernel.variants.items():
        if device != "cpu" or variant.missing():
            continue
        if variant.supports is not None:
            assert variant.supports(*args) is compiled, f"{kernel.name} {name}: supports() should say {compiled}"
        with kernels.use(**{kernel.name: name}):
            got = kernel(*args)
        for g, w, r in zip(*(v if isinstance(v, tuple) else (v,) for v in (got, wanted, like)), strict=True):
            if r is None:
                assert g is None, name
                continue
            assert (g.dtype, g.shape) == (r.dtype, r.shape), (name, g.dtype, r.dtype, g.shape, r.shape)
            np.testing.assert_allclose(g, w, rtol=rtol, atol=atol, err_msg=f"{kernel.name} {name}")


@pytest.fixture(name="compare")
def compare_fixture():
    return compare


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def launched(monkeypatch):
    """The CUDA kernels are in force for the arrays of the stand-in; the names of those that ran."""
    names = set()
    with strict_cupy.installed(), cuda_on_cpu.running(launched=names):
        monkeypatch.setitem(kernels.DEFAULT_ORDER, "cuda", ("cuda", "cublas", "cupy"))
        for kernel in kernels.REGISTRY.values():
            kernel.choose(None)
        yield names
    for kernel in kernels.REGISTRY.values():
        kernel.choose(None)
