from __future__ import annotations

import itertools

import numpy as np
import pytest

from minidl.kernels.convolution import (
    conv_backward_input,
    conv_backward_weight,
    conv_forward,
    fold,
    output_size,
    unfold,
)

# input shape, weight shape, stride, padding, dilation, groups
CASES = [
    ((2, 3, 7), (4, 3, 3), (1,), (0,), (1,), 1),
    ((2, 4, 9), (6, 2, 3), (2,), (1,), (2,), 2),
    ((2, 3, 5, 6), (4, 3, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((1, 2, 6, 5), (3, 2, 3, 2), (2, 1), (1, 2), (1, 2), 1),
    ((2, 3, 4, 4), (6, 1, 3, 3), (1, 1), (1, 1), (1, 1), 3),
    ((1, 1, 2, 2), (1, 1, 2, 2), (3, 3), (4, 4), (1, 1), 1),
    ((1, 2, 3, 4, 5), (2, 2, 2, 1, 3), (1, 2, 1), (1, 0, 1), (1, 1, 2), 1),
    ((0, 3, 4, 4), (2, 3, 3, 3), (1, 1), (0, 0), (1, 1), 1),
    ((2, 0, 4, 4), (3, 0, 2, 2), (1, 1), (0, 0), (1, 1), 1),
]


def drawn(rng, shape):
    return rng.standard_normal(shape).astype(np.float32)


def by_definition(x, weight, stride, padding, dilation, groups):
    """One output at a time, in float64."""
    x = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *((p, p) for p in padding)])
    each = zip(x.shape[2:], weight.shape[2:], stride, dilation, strict=True)
    positions = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in each]
    out = np.zeros((x.shape[0], weight.shape[0], *positions))
    channels, out_channels = weight.shape[1], weight.shape[0] // groups
    for b, o, *p in itertools.product(*map(range, out.shape)):
        first = o // out_channels * channels
        for c, *k in itertools.product(*map(range, weight.shape[1:])):
            place = [i * s + j * d for i, s, j, d in zip(p, stride, k, dilation, strict=True)]
            out[b, o, *p] += x[b, first + c, *place] * weight[o, c, *k]
    return out


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward_is_the_definition(case, rng):
    x_shape, weight_shape, *geometry = case
    x, weight = drawn(rng, x_shape), drawn(rng, weight_shape)
    out = conv_forward(x, weight, None, *geometry)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, by_definition(x, weight, *geometry), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_gradients_are_the_transposes_of_the_forward(case, rng):
    x_shape, weight_shape, *geometry = case
    x, weight = (drawn(rng, shape).astype(np.float64) for shape in (x_shape, weight_shape))
    out = conv_forward(x, weight, None, *geometry)
    g = rng.standard_normal(out.shape)
    dx = conv_backward_input(g, weight, None, x.shape, *geometry)
    dweight, dbias = conv_backward_weight(g, x, weight.shape, *geometry)
    assert (dx.shape, dweight.shape) == (x.shape, weight.shape)
    np.testing.assert_allclose(dbias, g.sum((0, *range(2, g.ndim))), rtol=1e-10)
    # <g, conv(v, weight)> = <dx, v> for every v determines dx, and v of random numbers sees every entry of it
    v, u = rng.standard_normal(x.shape), rng.standard_normal(weight.shape)
    np.testing.assert_allclose(
        np.vdot(g, conv_forward(v, weight, None, *geometry)), np.vdot(dx, v), rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(
        np.vdot(g, conv_forward(x, u, None, *geometry)), np.vdot(dweight, u), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_variants_agree(case, rng, compare):
    x_shape, weight_shape, *geometry = case
    x, weight = drawn(rng, x_shape), drawn(rng, weight_shape)
    # 1e-5: sums of up to 100 products of numbers around 1
    compare(conv_forward, x, weight, None, *geometry, rtol=1e-5, atol=1e-5)
    g = drawn(rng, conv_forward(x, weight, None, *geometry).shape)
    compare(conv_backward_input, g, weight, None, x_shape, *geometry, rtol=1e-5, atol=1e-5)
    compare(conv_backward_weight, g, x, weight_shape, *geometry, rtol=1e-5, atol=1e-5)


def test_memory_layout_is_not_meaning(rng):
    x, weight, geometry = drawn(rng, (2, 3, 6, 5)), drawn(rng, (4, 3, 3, 2)), ((2, 1), (1, 0), (1, 1), 1)
    g = drawn(rng, conv_forward(x, weight, None, *geometry).shape)

    def channels_last(a):
        return np.ascontiguousarray(np.moveaxis(a, 1, -1)).swapaxes(-1, -2).swapaxes(-2, -3)

    for order in (channels_last, np.asfortranarray):
        other_x, other_weight, other_g = order(x), order(weight), order(g)
        assert not other_x.flags.c_contiguous and np.array_equal(other_x, x)
        for kernel, plain, other in (
            (conv_forward, (x, weight, None), (other_x, other_weight, None)),
            (conv_backward_input, (g, weight, None, x.shape), (other_g, other_weight, None, x.shape)),
            (conv_backward_weight, (g, x, weight.shape), (other_g, other_x, weight.shape)),
        ):
            # the BLAS may add in another order
            np.testing.assert_allclose(kernel(*other, *geometry), kernel(*plain, *geometry), rtol=1e-5, atol=1e-5)


def test_float16_is_added_up_in_float32():
    x, weight = np.full((1, 1, 4096), 0.5, np.float16), np.full((1, 1, 4096), 0.5, np.float16)
    geometry = ((1,), (0,), (1,), 1)
    out = conv_forward(x, weight, None, *geometry)
    assert out.dtype == np.float16 and out.item() == 1024
    ones = np.ones((1, 1, 4096), np.float16)
    # in float16, 2048 + 1 is 2048
    assert conv_backward_weight(ones, ones, (1, 1, 1), *geometry)[0].item() == 4096
    dx = conv_backward_input(ones, ones, None, (1, 1, 8191), *geometry)
    assert dx.dtype == np.float16 and dx[0, 0, 4095] == 4096


def test_integers_stay_exact():
    big = 2**60 + 1  # not a float64
    x = np.array([[[big, 1, 2]]])
    geometry = ((1,), (0,), (1,), 1)
    out = conv_forward(x, np.array([[[1, 1]]]), None, *geometry)
    assert out.dtype == np.int64 and out.tolist() == [[[big + 1, 3]]]
    assert conv_backward_input(out, np.array([[[1, 0]]]), None, (1, 1, 3), *geometry).tolist() == [[[big + 1, 3, 0]]]


WINDOWS = [
    ((2, 3, 4, 5), ((2, 3), (1, 1), (0, 0), (1, 1))),
    ((1, 2, 5, 5), ((2, 2), (2, 1), (1, 0), (1, 2))),
    ((2, 2, 6), ((3,), (2,), (1,), (1,))),
    ((2, 2, 3), ((1,), (1,), (0,), (1,))),
    ((0, 2, 3), ((2,), (1,), (0,), (1,))),
]


@pytest.mark.parametrize(("shape", "windows"), WINDOWS, ids=str)
def test_unfold_and_fold(shape, windows, rng):
    x = rng.standard_normal(shape)
    columns = unfold(x, *windows)
    kernel, stride, padding, dilation = windows
    positions = output_size(shape[2:], *windows)
    assert columns.shape == (shape[0], shape[1] * np.prod(kernel), np.prod(positions))
    assert not np.shares_memory(columns, x)
    padded = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    for column, p in enumerate(itertools.product(*map(range, positions))):
        each = zip(p, stride, kernel, dilation, strict=True)
        window = padded[:, :, *(slice(i * s, i * s + d * (k - 1) + 1, d) for i, s, k, d in each)]
        np.testing.assert_array_equal(columns[:, :, column], window.reshape(columns.shape[:2]))
    v = rng.standard_normal(columns.shape)
    back = fold(v, shape[2:], *windows)
    assert back.shape == shape
    np.testing.assert_allclose(np.vdot(columns, v), np.vdot(x, back), rtol=1e-10, atol=1e-12)
