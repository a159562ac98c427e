"""Every Numba-CUDA kernel in the simulator: the values of its reference and no race, whatever the order of the threads."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minidl import kernels
from minidl.kernels import numba_cuda
from minidl.kernels.cuda import LaunchError
from minidl.sim import ORDERS, files, running, simulate
from minidl.testing import strict_cupy
from minidl.testing.kernel_checks import agree, supported

pytest.importorskip("numba")

RTOL, ATOL = 5e-6, 1e-6  # float32 sums of some hundred terms
FOLDER = Path(numba_cuda.__file__).parent


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def sums(rng):
    for shape in ((1, 1), (5, 7), (3, 211)):
        yield normal(rng, *shape), (0, 1), shape[0] == 5


def relus(rng):
    yield (np.array([np.nan, -1, 0, 2], np.float32),)
    yield (normal(rng, 3, 187),)


def bias_relus(rng):
    for shape in ((1, 1), (5, 33), (2, 3, 70)):
        x = normal(rng, *shape)
        x.flat[0] = np.nan
        yield x, normal(rng, shape[-1]), "relu"


def transposes(rng):
    for rows, columns in ((2, 3), (33, 31), (32, 65)):
        yield (normal(rng, rows, columns).T,)


def products(rng):
    for m, n, k in ((1, 1, 1), (5, 7, 3), (17, 33, 20)):
        yield normal(rng, m, k), normal(rng, k, n), None


def softmaxes(rng):
    for shape in ((1, 1), (2, 3, 70), (33, 5)):
        yield 3 * normal(rng, *shape), -1
    yield np.array([[1e4, -1e4, 0], [1e4, 1e4, -1e4]], np.float32), 1
    yield np.array([[np.nan, 0, 1], [-np.inf, 0, 1]], np.float32), 1


def norms(rng):
    for shape in ((1, 1), (3, 70), (2, 131)):
        x = 2 * normal(rng, *shape) + 5
        yield x, normal(rng, shape[1]), normal(rng, shape[1]), 1e-5
        yield x, None, None, 1e-5


def scans(rng):
    for n in (1, 64, 65, 200, 64 * 64 + 1):
        yield (rng.integers(-9, 9, n).astype(np.float32),)  # exact in any order


def histograms(rng):
    for n, count in ((1, 1), (300, 7), (257, 100)):
        yield rng.integers(0, count, n), count


def sparse_products(rng):
    for rows, columns, longest, *width in (
        (1, 1, 2),
        (5, 9, 4),
        (37, 50, 80),
        (1, 1, 2, 1),
        (5, 9, 4, 3),
        (3, 50, 80, 37),
    ):
        pointers = np.concatenate([[0], np.cumsum(rng.integers(0, longest, rows))])
        indices = rng.integers(0, columns, pointers[-1]).astype(np.int32)
        yield normal(rng, pointers[-1]), normal(rng, columns, *width), pointers, indices


def byte_products(rng):
    for m, n, k in ((1, 1, 1), (5, 7, 33), (18, 20, 16)):
        x, w = (rng.integers(-128, 128, (rows, k), np.int8) for rows in (m, n))
        scales = rng.uniform(0, 0.01, m).astype(np.float32), rng.uniform(0, 0.01, n).astype(np.float32)
        yield x, w, *scales, normal(rng, n)
        yield x, w, *scales, None


def attentions(rng):
    for queries, keys, width, values, causal in ((1, 1, 1, 1, False), (3, 70, 33, 5, False), (5, 5, 16, 70, True)):
        q, k, v = normal(rng, 1, 2, queries, width), normal(rng, 1, 2, keys, width), normal(rng, 1, 2, keys, values)
        yield q, k, v, width**-0.5, causal, None, 0.0, 0, 0


CASES = {
    "relu": relus, "bias_activation": bias_relus, "sum_axes": sums, "row_major": transposes, "gemm": products,
    "softmax": softmaxes, "layer_norm": norms, "prefix_sum": scans, "histogram": histograms, "spmm": sparse_products,
    "gemm_int8": byte_products, "attention": attentions,
}  # fmt: skip


def twins():
    """(kernel, variant name) of everything that is written in Numba-CUDA."""
    kernels.load_all()
    found = [(kernel, key) for kernel in kernels.REGISTRY.values() for key in kernel.variants]
    return [(kernel, name) for kernel, (device, name) in found if device == "cuda" and name.startswith("numba_cuda")]


TWINS = pytest.mark.parametrize("kernel, name", twins(), ids=lambda p: getattr(p, "name", p))


def in_float64(value):
    return value.astype(np.float64) if getattr(value, "dtype", None) == np.float32 else value


def both(values):
    return values if isinstance(values, tuple) else (values,)


@pytest.mark.parametrize("order", ORDERS)
@TWINS
def test_agrees_with_the_reference_without_a_race(kernel, name, order):
    assert kernel.name in CASES, f"{kernel.name} {name}: tests/kernels/test_numba_cuda.py has no inputs for it"
    variant, ran = kernel.variants["cuda", name], 0
    for args in CASES[kernel.name](np.random.default_rng(0)):
        if not variant.supports(*args):
            continue
        reports = []
        with running(order=order, seed=ran, reports=reports):
            got = both(variant.run(*(a.copy("K") if isinstance(a, np.ndarray) else a for a in args)))
        for report in reports:
            assert report.ok, report.verdict()
            assert not report.warnings
        for g, w, like in zip(
            got, both(kernel.reference(*map(in_float64, args))), both(kernel.reference(*args)), strict=True
        ):
            assert (g.shape, g.dtype) == (like.shape, like.dtype)
            np.testing.assert_allclose(g, w, RTOL, ATOL, err_msg=f"{kernel.name} {name}")
        ran += 1
    assert ran >= 2, f"{kernel.name} {name}: too few of its inputs are ones that it supports"


def kernels_in_files():
    """(file, kernel) for every kernel of the folder."""
    modules = {file: importlib.import_module(f"{numba_cuda.__name__}.{file}") for file in numba_cuda.FILES}
    return [(file, name) for file, module in modules.items() for name in files.kernels_of(module)]


def test_every_file_and_every_kernel_is_launched_by_a_variant(monkeypatch):
    there = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "variants"}
    assert there == set(numba_cuda.FILES), "a file of kernels stands in FILES, and in the list above it"
    launched = set()
    monkeypatch.setattr(numba_cuda, "on_cpu", lambda kernel, *args: launched.add(kernel.__name__))
    for kernel, name in twins():
        for args in CASES[kernel.name](np.random.default_rng(0)):
            variant = kernel.variants["cuda", name]
            if variant.supports(*args):
                variant.run(*args)
    assert launched == {name for _, name in kernels_in_files()}


def test_a_twin_is_never_the_default():
    for kernel, name in twins():
        assert not any(name in order for order in kernels.DEFAULT_ORDER.values())
        assert kernel.variants["cuda", name].requires == "cupy"


@TWINS
def test_the_gpu_suite_has_inputs_for_it(kernel, name):
    assert sum(1 for _ in supported(kernel, name)) >= 2, (
        f"{kernel.name} {name}: minidl/testing/kernel_cases.py has too few"
    )


@TWINS
def test_the_smallest_of_these_in_the_simulator(kernel, name):
    for element, args in itertools.islice(supported(kernel, name), 1):
        with running():
            agree(kernel, kernel.variants["cuda", name], args, element)


def test_a_launch_on_a_gpu_hands_over_arrays_of_its_stream(monkeypatch):
    from numba import cuda

    calls = []

    class Launched:
        def __getitem__(self, how):
            return lambda *args: calls.append((how, args))

    monkeypatch.setattr(cuda, "external_stream", lambda pointer: ("stream", pointer))
    monkeypatch.setattr(cuda, "as_cuda_array", lambda array, sync: ("handed", array.shape, sync))
    monkeypatch.setattr(importlib.import_module(f"{numba_cuda.__name__}.elementwise"), "relu", Launched())
    with strict_cupy.installed():
        import cupy

        kernels.REGISTRY["relu"].variants["cuda", "numba_cuda_naive"].run(cupy.ones((2, 100), "float32"))
    assert calls == [(((2, 1, 1), (128, 1, 1), ("stream", 0)), (("handed", (200,), False),) * 2)]


def test_arrays_of_numpy_are_refused_where_nothing_is_simulated():
    with pytest.raises(LaunchError, match=r"softmax.softmax_block: its arrays are NumPy's; .* minidl.sim.running"):
        kernels.REGISTRY["softmax"].variants["cuda", "numba_cuda"].run(np.ones((2, 2), np.float32), -1)


@pytest.mark.parametrize("file, name", kernels_in_files())
def test_its_own_inputs_run_as_a_file(file, name):
    """As `minidl trace FILE:KERNEL` does it."""
    module = files.load(FOLDER / f"{file}.py")
    kernel, args = files.kernels_of(module)[name], files.inputs_of(module, name)
    threads = getattr(module, "THREADS", None)
    block = threads or ((32, 8) if file == "transpose" else (16, 16))
    assert simulate(kernel, (1, 1), block, *args).ok


# What the headers of the files say, in figures.


def trace(file, name, grid, block):
    module = importlib.import_module(f"{numba_cuda.__name__}.{file}")
    return simulate(getattr(module, name), grid, block, *files.inputs_of(module, name))


def test_the_tile_of_a_transpose_makes_writes_coalesced_and_has_no_bank_conflict():
    assert trace("transpose", "transpose", (1, 4), (32, 8)).stores[0].transactions_per_warp == 32
    tiled = trace("transpose", "transpose_tiled", 1, (32, 8))
    assert tiled.transactions_per_warp == 1 and tiled.bank_conflicts == 1


def test_tiles_of_a_product_divide_the_reads_of_global_memory():
    plain, tiled = (trace("gemm", name, (2, 3), (16, 16)) for name in ("gemm", "gemm_tiled"))
    assert plain.global_reads == 2 * 33 * 18 * 20
    # every element of a for each of the 2 columns of tiles, of b for each of the 3 rows of tiles
    assert tiled.global_reads == 2 * 33 * 20 + 3 * 20 * 18


def test_a_sum_needs_fewer_atomics_from_version_to_version():
    found = [
        trace("reduce", name, grid, 128).atomics
        for name, grid in (("sum_atomic", 3), ("sum_tree", 3), ("sum_warps", 1))
    ]
    assert found == [300, 3, 1]


def test_a_private_histogram_needs_an_atomic_for_each_value():
    plain, private = (trace("histogram", name, 1, 64) for name in ("histogram", "histogram_private"))
    assert (plain.atomics, private.atomics, private.shared_atomics) == (300, 10, 300)


def test_a_warp_a_row_reads_entries_together():
    thread, warp = (trace("sparse", name, 20, 64).loads for name in ("spmv", "spmv_warps"))
    entries = [next(a for a in loads if a.array == "values").transactions_per_warp for loads in (thread, warp)]
    assert entries[0] > 8 and entries[1] < 2


def test_a_warp_reads_an_entry_once_for_32_columns():
    thread, warp = trace("sparse", "spmm", 24, 64), trace("sparse", "spmm_warps", (20, 2), 64)
    entries = len(thread.args[0])
    for name in ("values", "columns"):
        reads = [next(a.count for a in report.loads if a.array == name) for report in (thread, warp)]
        assert reads == [37 * entries, 2 * entries]  # 37 columns are two strips of 32


def test_a_block_a_row_reads_rows_together():
    thread, block = trace("softmax", "softmax", 1, 64), trace("softmax", "softmax_block", 40, 64)
    assert thread.transactions_per_warp > 16 and block.transactions_per_warp < 2 and block.bank_conflicts == 1


def test_attention_keeps_no_row_of_scores():
    report = trace("attention", "attention_row", 2, 64)
    assert report.shared_bytes == 4 * (128 + 64)  # the query and one chunk of scores, whatever the number of keys
    assert report.bank_conflicts == 1 and all(access.coalesced for access in report.accesses)


@pytest.mark.parametrize("file, name", kernels_in_files())
def test_compiles_for_a_gpu_that_is_not_there(file, name, monkeypatch):
    cuda = pytest.importorskip("numba.cuda")
    from numba import typeof

    module = importlib.import_module(f"{numba_cuda.__name__}.{file}")
    if "numba_cuda" in cuda.__file__:  # NVIDIA's package asks the device, for functions that kernels call
        monkeypatch.setattr(
            "numba.cuda.dispatcher.get_current_device", lambda: SimpleNamespace(compute_capability=(8, 0))
        )
    types = tuple(typeof(a) for a in files.inputs_of(module, name))
    try:
        ptx, _ = cuda.compile_ptx(getattr(module, name).py_func, types, cc=(8, 0))
    except Exception as error:
        if type(error).__name__ in (
            "CudaSupportError",
            "NvvmSupportError",
            "DynamicLibNotFoundError",
            "FileNotFoundError",
        ):
            pytest.skip(f"Numba cannot compile it here: {str(error).strip().splitlines()[0]}")
        raise
    assert ".target sm_80" in ptx and name in ptx


BLOCKS = {"transpose": (32, 8), "gemm": (16, 16), "int8": (16, 16)}
GRIDS = {"gemm": (2, 3), "int8": (2, 2), "softmax": 2, "layernorm": 2, "attention": 2, "scan": 2}


def barriers():
    """(file, line number) of every barrier of the folder."""
    found = {path.stem: path.read_text().splitlines() for path in sorted(FOLDER.glob("*.py"))}
    return [(file, n) for file, lines in found.items() for n, line in enumerate(lines) if "cuda.syncthreads()" in line]


@pytest.mark.parametrize("file, line", barriers())
def test_no_barrier_is_superfluous_and_a_missing_one_is_seen(file, line, tmp_path):
    lines = (FOLDER / f"{file}.py").read_text().splitlines()
    lines[line] = lines[line].replace("cuda.syncthreads()", "pass")
    (tmp_path / "mutant.py").write_text("\n".join(lines) + "\n")
    module = files.load(tmp_path / "mutant.py")
    block = BLOCKS.get(file, getattr(module, "THREADS", None))
    assert not all(
        simulate(kernel, GRIDS.get(file, 1), block, *files.inputs_of(module, name)).ok
        for name, kernel in files.kernels_of(module).items()
    )
