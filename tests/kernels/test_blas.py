"""Matrix products called from compiled code: values, layouts, refusals, the loops without a library, the disk cache."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest

from minidl.kernels import blas
from minidl.kernels.blas import gemm_loops, matmul
from minidl.kernels.jit import jit

pytest.importorskip("numba")


@jit
def product(a, b, out, alpha, beta):
    matmul(a, b, out, alpha, beta)


@jit
def plain_product(a, b, out):
    matmul(a, b, out)


@jit
def each_head(q, k, out):
    """(B, T, H, D) twice -> (B, H, T, T)"""
    for b in range(q.shape[0]):
        for h in range(q.shape[2]):
            matmul(q[b, :, h], k[b, :, h].T, out[b, h])


@jit
def in_loops(a, b, out, alpha, beta):
    gemm_loops(False, False, out.shape[0], out.shape[1], a.shape[1], alpha, a, 0, b, 0, beta, out, 0)


LAYOUTS = {
    "whole": lambda x: x.copy(),
    "transposed": lambda x: x.T.copy().T,
    "columns of a larger": lambda x: np.pad(x, ((1, 2), (3, 4)))[1 : 1 + x.shape[0], 3 : 3 + x.shape[1]],
    "every second row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "every second column, transposed": lambda x: np.repeat(x, 2, axis=1).T.copy().T[:, ::2],
}
SIZES = [(1, 1, 1), (1, 5, 3), (5, 1, 3), (5, 3, 1), (4, 8, 6), (33, 17, 65), (0, 3, 2), (3, 0, 2), (3, 2, 0)]
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}


def operands(m, n, k, dtype, rng):
    return rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layouts(dtype, rng):
    whole, transposed = LAYOUTS["whole"], LAYOUTS["transposed"]
    pairs = [(of, whole) for of in LAYOUTS.values()] + [(transposed, of) for of in LAYOUTS.values()]
    for of_a, of_b in pairs if dtype is np.float32 else pairs[1:2]:
        a, b = operands(5, 7, 3, dtype, rng)
        wide = np.full((5, 9), np.nan, dtype)
        plain_product(of_a(a), of_b(b), wide[:, 1:8])
        np.testing.assert_allclose(wide[:, 1:8], a @ b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
        assert np.isnan(wide[:, [0, 8]]).all()


@pytest.mark.parametrize("function", [product, in_loops], ids=["library", "loops"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sizes_alpha_and_beta(function, dtype, rng):
    for m, n, k in SIZES:
        a, b = operands(m, n, k, dtype, rng)
        for alpha, beta in [(1.0, 0.0), (-2.0, 1.0), (0.5, 0.25), (0.0, 1.0)]:
            out = rng.normal(size=(m, n)).astype(dtype)
            wanted = alpha * (a @ b) + beta * out
            function(a, b, out, alpha, beta)
            np.testing.assert_allclose(out, wanted, rtol=TOLERANCE[dtype], atol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("function", [product, in_loops], ids=["library", "loops"])
def test_out_is_not_read_if_beta_is_zero(function, rng):
    a, b = operands(4, 5, 6, np.float32, rng)
    out = np.full((4, 5), np.nan, np.float32)
    function(a, b, out, 1.0, 0.0)
    np.testing.assert_allclose(out, a @ b, rtol=1e-5, atol=1e-6)


def test_rows_and_columns_of_one(rng):
    a, b = operands(4, 5, 1, np.float32, rng)
    for left in (a, a[:, 0][:, None], np.repeat(a, 3, axis=1)[:, 1:2]):
        for right in (b, b[0][None], np.repeat(b, 3, axis=0)[::3]):
            out = np.zeros((4, 5), np.float32)
            plain_product(left, right, out)
            np.testing.assert_allclose(out, a * b, rtol=1e-6)


def test_one_head_at_a_time(rng):
    q, k = rng.normal(size=(2, 2, 7, 3, 4)).astype(np.float32)
    out = np.empty((2, 3, 7, 7), np.float32)
    each_head(q, k, out)
    np.testing.assert_allclose(out, np.einsum("bthd,bshd->bhts", q, k), rtol=1e-5, atol=1e-6)


def test_refusals(rng):
    a, b = operands(4, 6, 8, np.float32, rng)
    out = np.zeros((4, 6), np.float32)
    with pytest.raises(ValueError, match=r"the sizes of a \(M, K\), b \(K, N\) and out \(M, N\) do not match"):
        plain_product(a, a, out)
    for bad in [(a, b, np.zeros((6, 4), np.float32).T), (np.zeros((8, 16), np.float32)[::2, ::2], b, out),
                (a[:, ::-1], b, out), (a[::-1], b, out), (a, np.broadcast_to(b[0], (8, 6)), out)]:  # fmt: skip
        with pytest.raises(ValueError, match="rows of out, and rows or columns of a and b, must be contiguous"):
            plain_product(*bad)
    assert not out.any()
    with pytest.raises(Exception, match="float32 or float64 arrays of one type"):
        plain_product(a, b.astype(np.float64), out)


def test_the_library_is_named():
    found = blas.library()
    if found is None:
        assert blas.describe().startswith("none found")
        pytest.skip("no BLAS here")
    found.set_threads, kept = None, found.set_threads
    try:
        assert blas.describe() == f"{found.path}, whose threads are its own choice"
    finally:
        found.set_threads = kept
    assert kept is None or blas.describe() == found.path


def test_a_library_that_multiplies_wrongly_is_not_taken():
    found = blas.library()
    if found is None:
        pytest.skip("no BLAS here")
    other = blas.Library(found.path)
    assert other.works()
    other.functions["dgemm"] = ctypes.CFUNCTYPE(None)(lambda: None)  # leaves c as it was
    assert not other.works()
    other.functions["dgemm"] = None
    assert not other.works()


def test_no_library(monkeypatch):
    monkeypatch.setattr(blas, "candidates", lambda: iter(["/no/such/library.so"]))
    assert blas.library.__wrapped__() is None
    monkeypatch.setattr(blas, "library", lambda: None)
    assert blas.describe() == "none found: matrix products inside of kernels are loops"


KERNEL = """
from minidl.kernels.blas import matmul
from minidl.kernels.jit import jit

@jit
def square(x, out):
    matmul(x, x, out)
"""
RUN = """
import sys; sys.path.insert(0, {path!r})
import numpy as np
from minidl.kernels import blas
if {without}:
    blas.library = lambda: None
import cached
x = np.float32([[1, 2], [3, 4]]); out = np.empty_like(x)
cached.square(x, out)
print(out.tolist(), sum(cached.square.stats.cache_hits.values()))
"""


def test_cached_code_finds_the_library_in_a_new_process(tmp_path):
    (tmp_path / "cached.py").write_text(KERNEL)
    answer = "[[7.0, 10.0], [15.0, 22.0]]"
    for without, hits in [(False, 0), (False, 1), (True, 0), (False, 1)]:
        code = RUN.format(path=str(tmp_path), without=without)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
        assert done.stdout == f"{answer} {hits}\n", done.stderr
