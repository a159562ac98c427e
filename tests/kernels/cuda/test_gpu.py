"""Every CUDA kernel on a GPU against its reference: the cases of the CPU run, on the default stream and on another."""

from __future__ import annotations

import importlib.util
import itertools

import pytest

from minidl import cuda as md_cuda
from minidl.testing.kernel_checks import agree, supported, variants

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not md_cuda.is_available(), reason="needs a GPU and CuPy")]

NUMBA = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="needs numba-cuda, which the extras cuda12 and cuda13 have"
)
TWINS = pytest.mark.parametrize("kernel, name", variants("numba_cuda"), ids=lambda p: getattr(p, "name", p))
ALL = pytest.mark.parametrize("kernel, name", variants(), ids=lambda p: getattr(p, "name", p))


@pytest.fixture(autouse=True)
def lost_device():
    """After a kernel that read foreign memory every call fails: stop, and say whose doing it was."""
    import cupy

    yield
    try:
        cupy.cuda.runtime.deviceSynchronize()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        pytest.exit(f"the device is lost after this test: {error}", returncode=3)


@ALL
def test_agrees_with_the_reference(kernel, name):
    import cupy

    cases = list(supported(kernel, name, cupy.asarray))
    assert cases, f"{kernel.name} {name}: no case of minidl/testing/kernel_cases.py is one that it supports"
    for element, args in cases:
        agree(kernel, kernel.variants["cuda", name], args, element, cupy.asarray, cupy.asnumpy)


@ALL
def test_on_a_stream_of_its_own(kernel, name):
    import cupy

    with cupy.cuda.Stream(non_blocking=True):
        for element, args in itertools.islice(supported(kernel, name, cupy.asarray), 2):
            agree(kernel, kernel.variants["cuda", name], args, element, cupy.asarray, cupy.asnumpy)


@NUMBA
@TWINS
def test_a_kernel_in_numba_agrees_with_the_reference(kernel, name):
    import cupy

    for element, args in supported(kernel, name, cupy.asarray):
        agree(kernel, kernel.variants["cuda", name], args, element, cupy.asarray, cupy.asnumpy)


@NUMBA
@TWINS
def test_a_kernel_in_numba_on_a_stream_of_its_own(kernel, name):
    import cupy

    with cupy.cuda.Stream(non_blocking=True):
        for element, args in itertools.islice(supported(kernel, name, cupy.asarray), 2):
            agree(kernel, kernel.variants["cuda", name], args, element, cupy.asarray, cupy.asnumpy)
