"""Every CUDA kernel, run on the CPU through g++, against its reference."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pytest

from minidl import kernels
from minidl.kernels import cuda
from minidl.testing import cuda_on_cpu
from minidl.testing.kernel_checks import agree, convert, floats_to, supported, variants

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

ALL = pytest.mark.parametrize("kernel, name", variants(), ids=lambda p: getattr(p, "name", p))


@pytest.fixture(scope="module", autouse=True)
def built(request):
    """What is to be tested, compiled."""
    tests = [getattr(item, "callspec", None) for item in request.session.items if item.module is request.module]
    cuda_on_cpu.build_all({test.params["kernel"].name for test in tests if test and "kernel" in test.params})


@ALL
def test_agrees_with_the_reference(kernel, name):
    cases = list(supported(kernel, name))
    assert cases, f"{kernel.name} {name}: no case of minidl/testing/kernel_cases.py is one that it supports"
    with cuda_on_cpu.running():
        for element, args in cases:
            agree(kernel, kernel.variants["cuda", name], args, element)


@ALL
def test_the_order_of_threads_does_not_matter(kernel, name):
    with cuda_on_cpu.running(order="reverse"):
        for element, args in itertools.islice(supported(kernel, name), 4):
            agree(kernel, kernel.variants["cuda", name], args, element)


@pytest.mark.parametrize("file", sorted(cuda.SOURCES))
def test_every_entry_is_launched_by_a_variant(file):
    source, launched = cuda.SOURCES[file], set()
    with cuda_on_cpu.running(launched=launched):
        for kernel, name in variants():
            if any(entry.of == kernel.name for entry in source.entries.values()):
                for element, args in supported(kernel, name):
                    kernel.variants["cuda", name].run(*convert(convert(args, floats_to(element)), np.copy))
    declared = {(entry.name, element) for entry in source.entries.values() for element in entry.types}
    assert declared <= launched, f"{file}: no case launches {sorted(declared - launched)}"


def test_every_source_file_is_registered():
    kernels.load_all()
    assert {path.name for path in cuda.HERE.glob("*.cu")} == set(cuda.SOURCES)
    for source in cuda.SOURCES.values():
        assert source.signatures  # raises where the file and its entries differ
        for entry in source.entries.values():
            assert entry.of in kernels.REGISTRY, f"{entry.name}: there is no kernel {entry.of!r}"
