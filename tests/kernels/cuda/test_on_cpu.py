"""Every CUDA kernel, run on the CPU through g++, against its reference."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from minidl import kernels
from minidl.kernels import cuda
from minidl.testing import cuda_on_cpu
from minidl.testing.kernel_cases import CASES
from minidl.testing.kernel_checks import agree, convert, entries_of, floats_to, variants

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

TYPED = [
    (kernel, name, element)
    for kernel, name in variants()
    for element in sorted({element for entry in entries_of(kernel) for element in entry.types})
]


def supported(kernel, name, element):
    """The cases that a variant is made for."""
    variant = kernel.variants["cuda", name]
    for args in CASES[kernel.name](np.random.default_rng(0)):
        if variant.supports is None or variant.supports(*convert(args, floats_to(element))):
            yield args


@pytest.mark.parametrize("kernel, name, element", TYPED, ids=lambda p: getattr(p, "name", p))
def test_agrees_with_the_reference(kernel, name, element):
    count = 0
    for args in supported(kernel, name, element):
        with cuda_on_cpu.running():
            agree(kernel, kernel.variants["cuda", name], args, element)
        count += 1
    assert count, f"{kernel.name} {name}: no case of minidl/testing/kernel_cases.py is one that it supports"


@pytest.mark.parametrize("kernel, name", variants(), ids=lambda p: getattr(p, "name", p))
def test_the_order_of_threads_does_not_matter(kernel, name):
    for args in list(supported(kernel, name, "float32"))[:4]:
        with cuda_on_cpu.running(reverse=True):
            agree(kernel, kernel.variants["cuda", name], args)


@pytest.mark.parametrize("file", sorted(cuda.SOURCES))
def test_every_entry_is_launched_by_a_variant(file):
    source = cuda.SOURCES[file]
    launched = set()
    with cuda_on_cpu.running(launched=launched):
        for kernel, name in variants():
            if any(entry.of == kernel.name for entry in source.entries.values()):
                for args in supported(kernel, name, "float32"):
                    kernel.variants["cuda", name].run(*convert(args, np.copy))
    assert set(source.entries) <= launched, f"{file}: no test launches {sorted(set(source.entries) - launched)}"


def test_every_source_file_is_registered():
    kernels.load_all()
    assert {path.name for path in cuda.HERE.glob("*.cu")} == set(cuda.SOURCES)
    for source in cuda.SOURCES.values():
        assert source.signatures  # raises where the file and its entries differ
        for entry in source.entries.values():
            assert entry.of in kernels.REGISTRY, f"{entry.name}: there is no kernel {entry.of!r}"
