from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from minidl import kernels
from minidl.kernels.random import blocks, dropout, normal, philox, uniform

SIZES = [0, 1, 3, 4, 7, 33, 1000]
STARTS = [(0, 0), (1, 5), (2**64 - 1, 2**64 - 2), (12345678901234567890, 2**128 - 1)]
VARIANTS = [name for (device, name), v in philox.variants.items() if device == "cpu" and not v.missing()]

# From the known-answer tests of the Random123 library, philox4x32 with 10 rounds: counter, key, words
PI_COUNTER = 0x243F6A88 | 0x85A308D3 << 32 | 0x13198A2E << 64 | 0x03707344 << 96
KNOWN = [
    (0, 0, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    (2**128 - 1, 2**64 - 1, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (PI_COUNTER, 0xA4093822 | 0x299F31D0 << 32, [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
]


@pytest.fixture(params=VARIANTS)
def variant(request):
    with kernels.use(philox=request.param, uniform=request.param, normal=request.param, dropout=request.param):
        yield request.param


def filled(kernel, n, key, counter, dtype):
    out = np.full(n, 77, dtype)
    kernel(out, key, counter)
    return out


@pytest.mark.parametrize("counter, key, words", KNOWN)
def test_known_answers(counter, key, words, variant):
    assert filled(philox, 4, key, counter, np.uint32).tolist() == words


@pytest.mark.parametrize("key, counter", STARTS)
@pytest.mark.parametrize("n", SIZES)
def test_words_and_uniforms_are_bit_equal(n, key, counter):
    for kernel, dtype in ((philox, np.uint32), (uniform, np.float32)):
        wanted = np.empty(n, dtype)
        kernel.reference(wanted, key, counter)
        for name in VARIANTS:
            with kernels.use(**{kernel.name: name}):
                np.testing.assert_array_equal(filled(kernel, n, key, counter, dtype), wanted, err_msg=name)


@pytest.mark.parametrize("key, counter", STARTS)
@pytest.mark.parametrize("n", SIZES)
def test_normals_agree_to_the_last_bit_of_float32(n, key, counter):
    wanted = np.empty(n, np.float32)
    normal.reference(wanted, key, counter)
    for name in VARIANTS:
        with kernels.use(normal=name):
            np.testing.assert_array_max_ulp(filled(normal, n, key, counter, np.float32), wanted, maxulp=1)


def test_blocks_continue_one_another(variant):
    whole = filled(philox, 40, 9, 2**64 - 3, np.uint32)  # crosses the carry into the upper half of the counter
    parts = [filled(philox, 4, 9, 2**64 - 3 + i, np.uint32) for i in range(10)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("n, words, consumed", [(0, 1, 0), (1, 1, 1), (4, 1, 1), (5, 1, 2), (2, 2, 1), (3, 2, 2)])
def test_blocks(n, words, consumed):
    assert blocks(n, words) == consumed


@pytest.mark.parametrize("dtype, bits", [(np.float32, 24), (np.float64, 53)])
def test_uniform(dtype, bits, variant):
    u = filled(uniform, 20000, 3, 0, dtype)
    assert u.min() >= 0 and u.max() < 1
    assert (u * 2.0**bits == np.floor(u * 2.0**bits)).all()
    assert stats.kstest(u, "uniform").pvalue > 0.01
    assert len(np.unique(u)) > 19950


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal(dtype, variant):
    z = filled(normal, 20001, 4, 0, dtype)
    assert stats.kstest(z, "norm").pvalue > 0.01
    assert abs(np.corrcoef(z[:-1:2], z[1::2])[0, 1]) < 0.03  # the two numbers of a pair


def test_dropout_of_all_words(variant):
    p = 0.3
    x = np.arange(1, 1001, dtype=np.float32).reshape(10, 100)
    words = filled(philox, 1000, 5, 6, np.uint32).reshape(10, 100)
    np.testing.assert_array_equal(dropout(x, p, 5, 6), x * np.where(words >= p * 2**32, np.float32(1 / 0.7), 0))
    assert 650 < np.count_nonzero(dropout(x, p, 5, 6)) < 750


@pytest.mark.parametrize("shape", [(), (1,), (7,), (33, 3), (0, 4)])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_dropout_variants_agree(p, shape, rng, compare):
    compare(dropout, np.asarray(rng.standard_normal(shape), np.float32), p, 1, 2)


def test_dropout_does_not_depend_on_layout(variant, rng):
    x = rng.standard_normal((6, 8)).astype(np.float32)
    wanted = dropout(x, 0.5, 1, 2)
    np.testing.assert_array_equal(dropout(np.asfortranarray(x), 0.5, 1, 2), wanted)
    wide = np.repeat(x, 2, axis=1)
    np.testing.assert_array_equal(dropout(wide[:, ::2], 0.5, 1, 2), wanted)
    np.testing.assert_allclose(dropout(x.astype(np.float64), 0.5, 1, 2), wanted, rtol=1e-7)


def test_dropout_at_the_ends(variant):
    x = np.ones(9, np.float32)
    np.testing.assert_array_equal(dropout(x, 0.0, 1, 2), x)
    np.testing.assert_array_equal(dropout(x, 1.0, 1, 2), 0 * x)
    assert np.isnan(dropout(np.full(9, np.nan, np.float32), 0.5, 1, 2)).all()


def test_filling_a_part_of_an_array(variant):
    for kernel, dtype in ((philox, np.uint32), (uniform, np.float32), (normal, np.float32), (normal, np.float64)):
        matrix = np.zeros((5, 6), dtype)
        kernel(matrix[:, ::2], 1, 2)
        np.testing.assert_allclose(matrix[:, ::2], filled(kernel, (5, 3), 1, 2, dtype), rtol=2e-7)
        assert not matrix[:, 1::2].any()


def test_bad_input(variant):
    with pytest.raises(ValueError, match=r"dropout: p=1.5"):
        dropout(np.ones(3, np.float32), 1.5, 0, 0)
    with pytest.raises(TypeError, match=r"uniform: dtype float16; fill a float32 or float64 array"):
        uniform(np.ones(3, np.float16), 0, 0)
    with pytest.raises(ValueError, match=r"philox: key -1 must lie in"):
        philox(np.empty(3, np.uint32), -1, 0)
    with pytest.raises(TypeError, match=r"philox: dtype int64"):
        philox(np.empty(3, np.int64), 0, 0)
