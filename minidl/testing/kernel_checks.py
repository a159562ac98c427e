"""One comparison for every CUDA kernel: a variant, on a GPU or on the CPU, against the reference in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import kernels
from ..dtypes import ALL, FLOATING, as_array_dtype
from ..kernels import Kernel, Variant, cuda
from .kernel_cases import CASES, Single

# one rounding of each input and one of the result, or of the probabilities between: float16 has 11 bits, bfloat16 has 8
RTOL = {"float16": 2e-3, "bfloat16": 1.6e-2}


TWIN_RTOL = 1e-4  # of the kernels in Numba-CUDA, which add some thousand float32 numbers one after the other


def variants(prefix: str = "cuda") -> list[tuple[Kernel, str]]:
    """Every kernel with the name of every variant of it in CUDA C++, or with "numba_cuda" in Numba-CUDA."""
    kernels.load_all()
    found = [(kernel, key) for kernel in kernels.REGISTRY.values() for key in kernel.variants]
    return [(kernel, name) for kernel, (device, name) in found if device == "cuda" and name.startswith(prefix)]


def entries_of(kernel: Kernel) -> list[cuda.Entry]:
    """The entries of .cu files that this kernel's variants launch."""
    return [entry for source in cuda.SOURCES.values() for entry in source.entries.values() if entry.of == kernel.name]


def supported(
    kernel: Kernel, name: str, device: Callable[[Any], Any] = np.copy
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """(element type, arguments) of the cases that a variant is made for, arguments as `agree` takes them.

    Raises AssertionError for a kernel without cases.
    """
    variant = kernel.variants["cuda", name]
    if kernel.name not in CASES:
        raise AssertionError(f"{kernel.name}: no inputs; add @cases({kernel.name!r}) to minidl/testing/kernel_cases.py")
    of_entries = {element for entry in entries_of(kernel) for element in entry.types}
    for element in ["float32"] if name.startswith("numba") else sorted(of_entries):
        for args in CASES[kernel.name](np.random.default_rng(0)):
            if variant.supports is None or variant.supports(*convert(convert(args, floats_to(element)), device)):
                yield element, args


def is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "shape")


def convert(values: Any, change: Callable[[Any], Any]) -> Any:
    """The values with `change` applied to every array, in lists and tuples too."""
    if isinstance(values, (list, tuple)):
        return type(values)(convert(value, change) for value in values)
    return change(values) if is_array(values) else values


def floats_to(dtype: Any) -> Callable[[Any], Any]:
    """A change of floating-point arrays to a dtype, but for float64 and Single ones; those and others are copied."""

    dtype = as_array_dtype(ALL[dtype] if isinstance(dtype, str) else dtype)

    def change(a: Any) -> Any:
        return (
            a.copy()
            if a.dtype.kind not in FLOATING or a.dtype == np.float64 or isinstance(a, Single)
            else a.astype(dtype)
        )

    return change


def arrays_in(values: Any) -> list[Any]:
    if isinstance(values, (list, tuple)):
        return [a for value in values for a in arrays_in(value)]
    return [values] if is_array(values) else []


def agree(
    kernel: Kernel,
    variant: Variant,
    args: tuple[Any, ...],
    element: str = "float32",
    device: Callable[[Any], Any] = np.copy,
    host: Callable[[Any], Any] = np.asarray,
) -> None:
    """Compare what a variant returns, and what it leaves in its arguments, with the reference in float64.

    `device` moves arrays to where the variant runs, `host` back. Raises AssertionError.
    """
    twin = variant.name.startswith("numba")
    rtol = TWIN_RTOL if twin else max(entry.rtol for entry in entries_of(kernel))
    rtol = max(rtol, RTOL.get(element, 0.0))
    args = convert(args, floats_to(element))
    exact, moved = convert(args, floats_to(np.float64)), convert(args, device)
    wanted = arrays_in((kernel.reference(*exact), exact))
    got = arrays_in((variant.run(*moved), moved))
    label = f"{kernel.name} {variant.name}, {element}: {[list(a.shape) if is_array(a) else a for a in args]}"
    assert len(got) == len(wanted), label
    for g, w in zip(map(host, got), wanted, strict=True):
        assert g.shape == w.shape, f"{label}: shape {g.shape}, expected {w.shape}"
        g = g.astype(np.float32) if g.dtype.kind == "V" else g
        if w.dtype.kind not in FLOATING:
            np.testing.assert_array_equal(g, w, err_msg=label)
            continue
        scale = float(
            np.abs(w[np.isfinite(w)]).max(initial=1)
        )  # the cases are numbers of size 1: what cancels, did so there
        np.testing.assert_allclose(g, w, rtol=rtol, atol=rtol * scale, err_msg=label)
