"""Kernels on bytes: integers exact against plain int64 arithmetic, at every remainder of rows, columns and lengths, at every width."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minidl import kernels
from minidl.kernels import simd
from minidl.kernels.int4 import GROUPS, linear_int4, pack4, unpack4
from minidl.kernels.qlinear import LONGEST, Weights, qlinear, qlinear_requantized
from minidl.kernels.quantize import finite_range, quantize, windows

pytest.importorskip("numba")
TESTS = Path(__file__)
VARIANTS = ("numba", "numpy")
SIZES = [
    (1, 1, 1),
    (1, 3, 33),
    (2, 4, 31),
    (3, 5, 64),
    (5, 6, 65),
    (8, 7, 40),
    (9, 130, 70),
    (13, 257, 97),
    (4, 64, 1),
    (0, 3, 2),
    (2, 0, 3),
]


def drawn(rng, M, K, N):
    x, w = rng.integers(0, 256, (M, K)).astype(np.uint8), rng.integers(-128, 128, (N, K)).astype(np.int8)
    return x, Weights(w, rng.uniform(0.001, 0.1, N).astype(np.float32)), rng.standard_normal(N).astype(np.float32)


def exact(x, zero, weights):
    return (x.astype(np.int64) - zero) @ weights.integers.astype(np.int64).T


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_sums_are_exact(size, variant, rng):
    x, weights, _bias = drawn(rng, *size)
    weights = Weights(weights.integers, np.float32(1))
    wanted = exact(x, 77, weights)
    with kernels.use(qlinear=variant):
        # a scale of 1 and no bias: the floats are the sums, which float32 holds exactly at these sizes
        np.testing.assert_array_equal(qlinear(x, 1.0, 77, weights, None, False), wanted)
        np.testing.assert_array_equal(qlinear(x, 1.0, 77, weights, None, True), np.maximum(wanted, 0))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_floats_against_the_reference(size, rng):
    x, weights, bias = drawn(rng, *size)
    for given in (bias, None):
        found, wanted = (f(x, 0.03, 200, weights, given, False) for f in (qlinear, qlinear.reference))
        # the multiplication and the addition are rounded once, or each for itself
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max(initial=1))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_requantized_integers_are_exact(size, variant, rng):
    x, weights, bias = drawn(rng, *size)
    scale, out_scale, out_zero = np.float32(0.03), np.float32(0.7), 90
    units = scale * weights.scales
    sums = exact(x, 128, weights) + np.rint(bias / units).astype(np.int64)
    integers = np.rint(sums.astype(np.float32) * (units / out_scale)).astype(np.int64) + out_zero
    with kernels.use(qlinear_requantized=variant):
        for relu, low in ((False, 0), (True, out_zero)):
            found = qlinear_requantized(x, scale, 128, weights, bias, relu, out_scale, out_zero)
            np.testing.assert_array_equal(found, np.clip(integers, low, 255))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_bias_that_is_large_in_units_of_the_sums(variant):
    """A pruned row has the smallest scale that there is: 8 / (1e-3 * 1.2e-7) does not fit into int32, and is still 80 steps."""
    scales = np.array([1.2e-7, 1.2e-7, 1e-38, 0.5, 3e38], np.float32)
    weights = Weights(np.array([[0, 0], [1, -1], [0, 0], [1, 1], [0, 0]], np.int8), scales)
    bias, x = np.array([8, -8, 4, 3e38, 0], np.float32), np.array([[255, 3]], np.uint8)
    with kernels.use(qlinear_requantized=variant):
        found = qlinear_requantized(x, np.float32(1e-3), 9, weights, bias, False, 0.1, 100)
        assert found.tolist() == [[180, 20, 140, 255, 100]]
        large = qlinear_requantized(x, np.float32(1e30), 9, weights, bias, False, 1e-7, 100)
        assert large.tolist() == [[100, 255, 255, 255, 100]]  # a unit of row 0 is 1.2e23, of which 8 is nothing


@pytest.mark.parametrize("variant", VARIANTS)
def test_saturating_inputs(variant):
    """The largest bytes, with which pairs of products would leave int16: kernels by vpmaddubsw are wrong here."""
    K = 4096
    x, w = np.full((9, K), 255, np.uint8), np.full((35, K), 127, np.int8)
    w[1::2] = -128
    weights = Weights(w, np.float32(1))
    with kernels.use(qlinear=variant, qlinear_requantized=variant):
        np.testing.assert_array_equal(qlinear(x, 1.0, 0, weights, None, False), exact(x, 0, weights))
        ends = qlinear_requantized(
            x, 1.0, 0, weights, np.full(35, 3e38, np.float32) * (-1) ** np.arange(35), False, 1.0, 0
        )
        np.testing.assert_array_equal(ends, np.tile([255, 0], 18)[:35] * np.ones((9, 1)))


def test_longest_row():
    x, w = np.full((1, LONGEST), 255, np.uint8), np.full((1, LONGEST), -128, np.int8)
    weights = Weights(w, np.float32(1))
    assert qlinear(x, 1.0, 0, weights, None, False)[0, 0] == np.float32(-255 * 128 * LONGEST)
    most = np.array([-(2**30) + 64], np.float32)
    assert qlinear_requantized(x, 1.0, 0, weights, most, False, 1e7, 255)[0, 0] == 255 - round(2 * 2**30 / 1e7)
    with pytest.raises(ValueError, match=rf"rows of {LONGEST + 1} weights; .* up to {LONGEST}: split the layer"):
        Weights(np.zeros((1, LONGEST + 1), np.int8), np.float32(1))


def test_work_is_shared_out(rng):
    """Large enough for two threads, with an odd number of panels in a share."""
    x, weights, _ = drawn(rng, 40, 1024, 7 * 32 + 5)
    weights = Weights(weights.integers, np.float32(1))
    np.testing.assert_array_equal(qlinear(x, 1.0, 3, weights, None, False), exact(x, 3, weights))


@pytest.mark.parametrize("variant", VARIANTS)
def test_quantize(variant, rng):
    x = (30 * rng.standard_normal((3, 37))).astype(np.float32)
    x[0, :4] = [np.inf, -np.inf, 0, 8e37]
    with kernels.use(quantize=variant):
        for zero in (0, 13, 255):
            q = quantize(x, np.float32(0.25), np.int32(zero), 0, 255, np.uint8, 40)
            wanted = np.clip(np.rint(x * np.float32(4)) + zero, 0, 255)  # a scale of 1/4 divides exactly
            np.testing.assert_array_equal(q, np.pad(wanted, ((0, 0), (0, 3))))
            assert q.dtype == np.uint8
        x[2, 36] = np.nan
        with pytest.raises(ValueError, match="NaN or infinite"):
            quantize(x, np.float32(0.25), np.int32(0), 0, 255, np.uint8, 40)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 100])
def test_finite_range(size, variant, rng):
    x = rng.standard_normal(size).astype(np.float32)
    with kernels.use(finite_range=variant):
        assert finite_range(x) == (min(x.min(initial=0), 0), max(x.max(initial=0), 0))
        assert finite_range(np.abs(x))[0] == 0 and finite_range(-np.abs(x))[1] == 0
        for bad in (np.nan, np.inf, -np.inf):
            for place in range(0, size, 7):
                y = x.copy()
                y[place] = bad
                with pytest.raises(ValueError, match="NaN or infinite"):
                    finite_range(y)


@pytest.mark.parametrize(
    "geometry",
    [((1, 1), (1, 1), (0, 0), (1, 1)), ((3, 2), (2, 1), (1, 0), (1, 2)), ((3, 3), (1, 1), (2, 2), (2, 2)), ((5, 1), (3, 2), (2, 1), (1, 1))],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("C", [3, 7])
def test_windows(geometry, C, rng):
    x = rng.integers(0, 256, (2, 9, 8, C)).astype(np.uint8)
    columns = C * geometry[0][0] * geometry[0][1] + 3
    found = windows(x, *geometry, 99, columns)
    np.testing.assert_array_equal(found, windows.reference(x, *geometry, 99, columns))
    turned = np.ascontiguousarray(x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(found, windows(turned, *geometry, 99, columns))
    row = x[:, 3]  # (B, W, C)
    of_rows = [tuple(v[1:]) for v in geometry]
    wanted = windows(row[:, None], *((n, *v) for n, v in zip((1, 1, 0, 1), of_rows, strict=True)), 99, columns)
    for variant in VARIANTS:
        with kernels.use(windows=variant):
            np.testing.assert_array_equal(windows(row, *of_rows, 99, columns), wanted)
            volume = windows(
                np.stack([x, x[::-1]], 1), *((n, *v) for n, v in zip((2, 1, 1, 1), geometry, strict=True)), 99, 126
            )
        # in the middle of its three places a window of depth 2 sees both images, at the ends one of them and zeros
        each = [
            windows(part, *geometry, 99, C * geometry[0][0] * geometry[0][1]).reshape(2, -1, columns - 3)
            for part in (x, x[::-1])
        ]
        both = np.concatenate(each, 2)
        found = volume.reshape(2, 3, -1, 126)
        np.testing.assert_array_equal(found[:, 1, :, : both.shape[2]], both)
        assert (found[:, 0, :, : columns - 3] == 99).all() and not found[..., both.shape[2] :].any()


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("rows", [1, 3, 4, 5, 20])
def test_int4(group, rows, rng):
    N, K = 300, 3 * group
    q = rng.integers(0, 16, (N, K))
    packed = pack4(q, group)
    assert packed.nbytes == q.size // 2
    np.testing.assert_array_equal(unpack4(packed, group), q)
    scale, zero = rng.uniform(0.1, 1, (N, 3)).astype(np.float32), rng.integers(0, 16, (N, 3)).astype(np.float32)
    x, bias = rng.standard_normal((rows, K)).astype(np.float32), rng.standard_normal(N).astype(np.float32)
    weights = (q - np.repeat(zero, group, 1).astype(np.float64)) * np.repeat(scale, group, 1)
    wanted = x @ weights.T + bias
    for variant in VARIANTS:
        with kernels.use(linear_int4=variant):
            np.testing.assert_allclose(linear_int4(x, packed, scale, zero, bias), wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.skipif("MINIDL_SIMD" in os.environ, reason="this is one of the runs of this test")
@pytest.mark.parametrize("lanes", sorted(set(simd.WIDTHS) - {simd.width()}))
def test_other_widths(lanes):
    """These tests again, in a process with another width; without AVX-512 there may be no instruction for the dot products."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(TESTS)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MINIDL_SIMD": str(lanes)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, cwd=TESTS.parents[2])
    assert done.returncode == 0, done.stdout[-3000:]
