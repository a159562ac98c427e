"""The elementary functions against float64, in units in the last place, over their whole range."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from minidl.kernels import elementary
from minidl.kernels.elementary import erf32, exp32, expm1_32, log1p32, log32, row_max, sigmoid32, sum_exp, tanh32
from minidl.kernels.jit import jit
from minidl.kernels.simd import WIDTH, first, load, store

pytest.importorskip("numba")


@jit
def map_exp(x, out, registers):
    for i in range(registers, x.size):
        out[i] = exp32(x[i])
    for i in range(0, registers, WIDTH):
        store(out, i, exp32(load(x, i, first(registers - i))), first(registers - i))


@jit
def map_expm1(x, out, registers):
    for i in range(registers, x.size):
        out[i] = expm1_32(x[i])
    for i in range(0, registers, WIDTH):
        store(out, i, expm1_32(load(x, i, first(registers - i))), first(registers - i))


@jit
def map_log(x, out, registers):
    for i in range(registers, x.size):
        out[i] = log32(x[i])
    for i in range(0, registers, WIDTH):
        store(out, i, log32(load(x, i, first(registers - i))), first(registers - i))


@jit
def map_log1p(x, out, registers):
    for i in range(registers, x.size):
        out[i] = log1p32(x[i])
    for i in range(0, registers, WIDTH):
        store(out, i, log1p32(load(x, i, first(registers - i))), first(registers - i))


@jit
def map_tanh(x, out, registers):
    for i in range(registers, x.size):
        out[i] = tanh32(x[i])
    for i in range(0, registers, WIDTH):
        store(out, i, tanh32(load(x, i, first(registers - i))), first(registers - i))


@jit
def map_sigmoid(x, out, registers):
    for i in range(registers, x.size):
        out[i] = sigmoid32(x[i])
    for i in range(0, registers, WIDTH):
        store(out, i, sigmoid32(load(x, i, first(registers - i))), first(registers - i))


@jit
def map_erf(x, out, registers):
    for i in range(registers, x.size):
        out[i] = erf32(x[i])
    for i in range(0, registers, WIDTH):
        store(out, i, erf32(load(x, i, first(registers - i))), first(registers - i))


def mapped(function, x):
    """function of x, computed number by number, and by registers."""
    x = np.asarray(x, np.float32)
    one_by_one, by_registers = np.empty_like(x), np.empty_like(x)
    function(x, one_by_one, 0)
    function(x, by_registers, x.size)
    return one_by_one, by_registers


SMALL = np.geomspace(1e-30, 8, 20001)
POINTS = np.concatenate([np.linspace(-86, 88, 60001), np.linspace(-8, 8, 60001), SMALL, -SMALL]).astype(np.float32)
UNIT = np.concatenate([np.linspace(0, 1, 60001), np.geomspace(1e-45, 1, 20001)]).astype(np.float32)
POSITIVE = np.concatenate([np.geomspace(1e-45, 3.4e38, 60001), np.linspace(0.5, 2, 60001)]).astype(np.float32)


@pytest.mark.parametrize(
    "function, exact, points, units",
    # measured with fused multiply-add: 1.0, 1.5, 0.8, 1.4, 2.5, 2.0, 4.4; without, up to 1.7 for expm1 and 5.8 for erf
    [
        (map_exp, np.exp, POINTS, 2),
        (map_expm1, np.expm1, POINTS, 2),
        (map_log, np.log, POSITIVE, 1),
        (map_log1p, np.log1p, UNIT, 2),
        (map_tanh, np.tanh, POINTS, 4),
        (map_sigmoid, special.expit, POINTS, 4),
        (map_erf, special.erf, POINTS, 8),
    ],
    ids=["exp", "expm1", "log", "log1p", "tanh", "sigmoid", "erf"],
)
def test_error_in_units_in_the_last_place(function, exact, points, units):
    wanted = exact(points.astype(np.float64))
    for got in mapped(function, points):
        error = np.abs(got - wanted) / np.spacing(np.abs(wanted).astype(np.float32))
        assert error.max() < units, f"{error.max():.2f} at {points[error.argmax()]}"


@pytest.mark.parametrize(
    "function, wanted",
    [
        (map_exp, [np.nan, 0, 0, 1, np.inf, np.inf]),
        (map_log, [np.nan, np.nan, np.nan, -np.inf, np.log(200), np.inf]),
        (map_tanh, [np.nan, -1, -1, 0, 1, 1]),
        (map_sigmoid, [np.nan, 0, 0, 0.5, 1, 1]),
        (map_erf, [np.nan, -1, -1, 0, 1, 1]),
    ],
)
def test_saturation_and_nan(function, wanted):
    for got in mapped(function, [np.nan, -np.inf, -200.0, 0.0, 200.0, np.inf]):
        np.testing.assert_array_equal(got, np.float32(wanted))


def test_log_of_minus_zero_and_of_small_negative_numbers():
    for got in mapped(map_log, [-0.0, -1e-45, 1.0]):
        np.testing.assert_array_equal(got, [-np.inf, np.nan, 0])


def test_exp_at_the_ends_of_float32():
    x = np.float32([88.72, -87.5, -100.0, -103.0])  # the largest results, and the subnormal ones
    for got in mapped(map_exp, x):
        np.testing.assert_allclose(got, np.exp(x.astype(np.float64)), rtol=3e-7, atol=1.5e-45)


def test_row_max():
    x = np.float32([[1, 3, 2], [-1, -3, -2], [0, -np.inf, -5], [-np.inf, -np.inf, -np.inf], [np.inf, 0, 1]])
    assert [row_max(x, i) for i in range(5)] == x.max(axis=1).tolist()


def test_sum_exp():
    x = np.linspace(-3, 2, 37, dtype=np.float32)[None]
    np.testing.assert_allclose(sum_exp(x, 0, np.float32(2)), np.exp(x.astype(np.float64) - 2).sum(), rtol=5e-7)


def fit_erf(degree: int = 5, top: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """P and Q with erf(x) ~ x P(x^2) / Q(x^2): least squares of P - f Q, weighted by the Q of the round before."""
    x = top / 2 * (1 + np.cos(np.pi * (np.arange(600) + 0.5) / 600))
    f = special.erf(x) / x
    powers = np.vander((x / top) ** 2, degree + 1, increasing=True)
    q = np.ones_like(x)
    for _ in range(30):
        rows = np.hstack([powers, -f[:, None] * powers[:, 1:]]) / (f * q)[:, None]
        c = np.linalg.lstsq(rows, 1 / q, rcond=None)[0]
        q = 1 + powers[:, 1:] @ c[degree + 1 :]
    scale = top ** (-2.0 * np.arange(degree + 1))
    return c[: degree + 1] * scale, np.append(1, c[degree + 1 :]) * scale


def test_coefficients_of_erf():
    x = np.linspace(1e-3, 4, 10001)

    def rational(p, q):
        return x * np.polynomial.polynomial.polyval(x * x, p) / np.polynomial.polynomial.polyval(x * x, q)

    stored, fitted = rational(elementary.ERF_P, elementary.ERF_Q), rational(*fit_erf())
    np.testing.assert_allclose(stored, fitted, rtol=1e-9)
    np.testing.assert_allclose(stored, special.erf(x), rtol=3e-8)
