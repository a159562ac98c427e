"""Every CUDA kernel on a GPU against its reference, at the sizes of the CPU run and at larger ones."""

from __future__ import annotations

import numpy as np
import pytest

from minidl import cuda as md_cuda
from minidl.testing.kernel_cases import CASES
from minidl.testing.kernel_checks import agree, convert, entries_of, floats_to, variants

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not md_cuda.is_available(), reason="needs a GPU and CuPy")]

TYPED = [
    (kernel, name, element)
    for kernel, name in variants()
    for element in sorted({element for entry in entries_of(kernel) for element in entry.types})
]


@pytest.mark.parametrize("kernel, name, element", TYPED, ids=lambda p: getattr(p, "name", p))
def test_agrees_with_the_reference(kernel, name, element):
    import cupy

    variant = kernel.variants["cuda", name]
    count = 0
    for args in CASES[kernel.name](np.random.default_rng(0)):
        if variant.supports is None or variant.supports(*convert(convert(args, floats_to(element)), cupy.asarray)):
            agree(kernel, variant, args, element, cupy.asarray, cupy.asnumpy)
            count += 1
    assert count


@pytest.mark.parametrize("kernel, name", variants(), ids=lambda p: getattr(p, "name", p))
def test_on_a_stream_of_its_own(kernel, name):
    import cupy

    variant = kernel.variants["cuda", name]
    with cupy.cuda.Stream(non_blocking=True):
        for args in CASES[kernel.name](np.random.default_rng(0)):
            if variant.supports is None or variant.supports(*convert(args, cupy.asarray)):
                agree(kernel, variant, args, "float32", cupy.asarray, cupy.asnumpy)
                break
