"""Every CUDA kernel, run on the CPU through g++, against its reference."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from minidl import kernels
from minidl.kernels import cuda
from minidl.testing import cuda_on_cpu
from minidl.testing.kernel_checks import agree, arrays_in, convert, floats_to, supported, variants

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
def test_watched_in_reverse_order_nothing_is_wrong(kernel, name):
    """No race, no index out of bounds, no shared memory that was not set, nor another value where the last thread runs first."""
    found = [(element, args) for element, args in supported(kernel, name) if element == "float32"] or list(
        supported(kernel, name)
    )
    with cuda_on_cpu.running(order="reverse", check=True):
        for element, args in sorted(found, key=elements)[: len(found) // 2 : 3]:
            agree(kernel, kernel.variants["cuda", name], args, element)


def elements(case):
    """How many numbers there are in the arguments of a case."""
    return sum(a.size for a in arrays_in(case[1]))


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
