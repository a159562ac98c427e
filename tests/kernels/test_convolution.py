from __future__ import annotations

import itertools

import numpy as np
import pytest

from minidl.kernels import (
    convolution,
    convolution_direct,
    convolution_pointwise,
    convolution_spread,
    parallel,
    winograd,
)
from minidl.kernels.convolution import (
    conv_backward_input,
    conv_backward_weight,
    conv_forward,
    fold,
    output_size,
    unfold,
)
from minidl.kernels.layout import empty_channels_last, is_channels_last

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


# what the compiled loops distinguish, besides the cases above: padding, copies of a part of an image or of several images,
# whole and partial registers and tiles of output channels, phases of a stride, groups, lanes that are channels
MORE_CASES = [
    ((3, 5, 9, 11), (37, 5, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((3, 5, 9, 11), (70, 5, 3, 3), (2, 2), (1, 1), (1, 1), 1),
    ((2, 12, 9, 11), (10, 6, 5, 3), (2, 3), (4, 1), (2, 1), 2),
    ((2, 7, 5, 6), (48, 7, 1, 1), (2, 3), (0, 0), (1, 1), 1),
    ((3, 7, 19, 1), (16, 7, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((2, 2, 5, 5), (3, 2, 1, 1), (3, 1), (3, 3), (1, 1), 1),
    ((3, 40, 9, 9), (40, 1, 3, 3), (1, 1), (1, 1), (1, 1), 40),
    ((2, 32, 9, 9), (32, 1, 3, 2), (2, 2), (0, 0), (1, 2), 32),
    ((2, 3, 8), (6, 1, 3), (1,), (2,), (1,), 3),
    ((2, 4, 50, 61), (5, 4, 5, 5), (3, 2), (2, 1), (1, 1), 1),
    ((2, 2, 300, 4), (20, 2, 5, 1), (4, 3), (7, 1), (1, 1), 1),
    ((1, 1, 3, 700), (2, 1, 2, 2), (1, 5), (0, 1), (1, 1), 1),
    ((7, 3, 3, 3), (5, 3, 2, 2), (1, 1), (0, 0), (1, 1), 1),
    ((2, 24, 12, 10), (17, 24, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((3, 8, 14, 9), (8, 8, 3, 3), (1, 1), (0, 2), (1, 1), 1),
    ((1, 9, 68, 70), (40, 9, 3, 3), (1, 1), (1, 0), (1, 1), 1),
    ((3, 6, 13, 11), (16, 6, 5, 5), (1, 1), (0, 2), (1, 1), 1),
    ((2, 3, 14, 15), (17, 3, 3, 3), (2, 1), (1, 1), (2, 1), 1),
    ((1, 2, 6, 7, 8), (9, 2, 3, 2, 3), (1, 2, 1), (1, 0, 1), (1, 1, 1), 1),
    ((2, 5, 17, 17), (20, 5, 2, 2), (3, 3), (0, 0), (1, 1), 1),
    ((3, 19, 5, 7), (9, 19, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((2, 40, 9), (33, 40, 1), (1,), (0,), (1,), 1),
]


def accuracy(got, wanted):
    """The largest error in units of the largest number."""
    return np.abs(got - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize("case", [*CASES[:-2], *MORE_CASES], ids=str)
@pytest.mark.parametrize("order", ["row-major", "channels-last"])
def test_compiled_loops_are_the_reference(case, order, rng):
    x_shape, weight_shape, *geometry = case
    groups = geometry[-1]

    def laid_out(a):
        return a if order == "row-major" else channels_last(a)

    x, weight, bias = drawn(rng, x_shape), drawn(rng, weight_shape), drawn(rng, weight_shape[0])
    wanted = conv_forward.reference(*map(wide, (x, weight, bias)), *geometry)
    out = conv_forward.variants["cpu", "numba"].run(laid_out(x), weight, bias, *geometry)
    assert (out.dtype, out.shape, out.flags.owndata) == (np.float32, wanted.shape, True)
    assert out.flags.c_contiguous or is_channels_last(out)
    # 3e-6: sums of up to 250 products in float32
    assert accuracy(out, wanted) < 3e-6
    g, back = drawn(rng, wanted.shape), drawn(rng, weight_shape[1] * groups)
    wanted = conv_backward_input.reference(*map(wide, (g, weight, back)), x_shape, *geometry)
    dx = conv_backward_input.variants["cpu", "numba"].run(laid_out(g), weight, back, x_shape, *geometry)
    assert dx.shape == x_shape and accuracy(dx, wanted) < 3e-6
    wanted = conv_backward_weight.reference(*map(wide, (g, x)), weight_shape, *geometry)
    found = conv_backward_weight.variants["cpu", "numba"].run(laid_out(g), laid_out(x), weight_shape, *geometry)
    for got, right in zip(found, wanted, strict=True):
        assert got.flags.c_contiguous and got.shape == right.shape and accuracy(got, right) < 3e-6


@pytest.mark.parametrize("case", CASES, ids=str)
def test_variants_agree(case, rng, compare):
    x_shape, weight_shape, *geometry = case
    x, weight = drawn(rng, x_shape), drawn(rng, weight_shape)
    some = x.size > 0  # empty arrays are left to the reference
    # 1e-5: sums of up to 100 products of numbers around 1
    compare(conv_forward, x, weight, None, *geometry, rtol=1e-5, atol=1e-5, compiled=some)
    g = drawn(rng, conv_forward(x, weight, None, *geometry).shape)
    compare(conv_backward_input, g, weight, None, x_shape, *geometry, rtol=1e-5, atol=1e-5, compiled=some)
    compare(conv_backward_weight, g, x, weight_shape, *geometry, rtol=1e-5, atol=1e-5, compiled=some)


def test_all_ways_are_taken(rng, monkeypatch):
    taken = []
    ways = ((winograd, "convolve"), (winograd, "weight_gradient"), (convolution_direct, "convolve"))
    ways += ((convolution_spread, "backward_input"), (convolution_pointwise, "convolve"))
    for module, name in ways:
        real = getattr(module, name)
        label = f"{module.__name__.rpartition('.')[2]}.{name}"
        monkeypatch.setattr(module, name, lambda *a, real=real, label=label: taken.append(label) or real(*a))
    x, weight, geometry = drawn(rng, (2, 8, 12, 12)), drawn(rng, (8, 8, 3, 3)), ((1, 1), (1, 1), (1, 1), 1)
    g = conv_forward(x, weight, None, *geometry)
    conv_backward_input(g, weight, None, x.shape, *geometry)
    conv_backward_weight(g, x, weight.shape, *geometry)
    assert taken == ["winograd.convolve", "winograd.convolve", "winograd.weight_gradient"]
    for other in (((2, 2), (1, 1), (1, 1), 1), ((1, 1), (3, 1), (1, 1), 1), ((1, 1), (1, 1), (2, 1), 1)):
        conv_forward(x, weight, None, *other)
        assert taken[-1] == "convolution_direct.convolve"
    conv_forward(x[:1, :, :5, :5], weight, None, *geometry)  # too few tiles to pay for the change of the weight
    assert taken[-1] == "convolution_direct.convolve"
    point = drawn(rng, (16, 8, 1, 1)), None, (1, 1), (0, 0), (1, 1), 1
    conv_forward(x, *point)
    assert taken[-1] == "convolution_pointwise.convolve"
    large, wide_point = drawn(rng, (1, 64, 40, 40)), (drawn(rng, (64, 64, 1, 1)), *point[1:])
    conv_forward(large, *wide_point)
    assert taken[-1] == "convolution_direct.convolve"
    lenet = drawn(rng, (16, 6, 5, 5)), None, (2, 6, 14, 14), (1, 1), (0, 0), (1, 1), 1
    conv_backward_input(drawn(rng, (2, 16, 10, 10)), *lenet)
    assert taken[-1] == "convolution_spread.backward_input"


def test_other_strides_of_memory(rng):
    x, weight, geometry = drawn(rng, (4, 3, 6, 5)), drawn(rng, (4, 3, 3, 2)), ((2, 1), (1, 0), (1, 1), 1)
    wanted = conv_forward.reference(x, weight, None, *geometry)
    every_second = np.repeat(x, 2, axis=3)[..., ::2]
    for other in (every_second, np.asfortranarray(x), x[::-1].copy()[::-1]):
        np.testing.assert_allclose(conv_forward(other, weight, None, *geometry), wanted, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(
            conv_forward(x, np.asfortranarray(weight), None, *geometry), wanted, rtol=1e-5, atol=1e-5
        )
    one = np.broadcast_to(np.float32(1), wanted.shape)  # as the gradient of a sum is
    plain = conv_backward_input.reference(one, weight, None, x.shape, *geometry)
    np.testing.assert_allclose(conv_backward_input(one, weight, None, x.shape, *geometry), plain, rtol=1e-5, atol=1e-5)


def test_threads_share_the_work(rng, monkeypatch):
    monkeypatch.setattr(parallel, "LEAST", 1)
    monkeypatch.setattr(parallel, "get_num_threads", lambda: 3)
    for x_shape, weight_shape in [
        ((5, 8, 20, 20), (8, 8, 3, 3)),
        ((5, 3, 20, 20), (8, 3, 5, 5)),
        ((5, 3, 20, 20), (8, 3, 1, 1)),
        ((1, 3, 9, 7), (8, 3, 1, 1)),
    ]:
        pad = (weight_shape[2] // 2,) * 2
        x, weight, geometry = drawn(rng, x_shape), drawn(rng, weight_shape), ((1, 1), pad, (1, 1), 1)
        out = conv_forward(x, weight, None, *geometry)
        assert accuracy(out, conv_forward.reference(*map(wide, (x, weight)), None, *geometry)) < 3e-6
        found = conv_backward_weight(out, x, weight_shape, *geometry)
        wanted = conv_backward_weight.reference(*map(wide, (out, x)), weight_shape, *geometry)
        for got, right in zip(found, wanted, strict=True):
            assert accuracy(got, right) < 3e-6
        dx = conv_backward_input(out, weight, None, x_shape, *geometry)
        assert accuracy(dx, conv_backward_input.reference(*map(wide, (out, weight)), None, x_shape, *geometry)) < 3e-6


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize(
    "case",
    [
        ((2, 48, 14, 14), (48, 48, 5, 5), (1, 1), (2, 2)),
        ((1, 100, 7, 7), (100, 100, 3, 3), (1, 1), (1, 1)),
        ((3, 32, 14, 14), (32, 32, 5, 5), (1, 1), (2, 2)),
        ((1, 64, 24, 24), (64, 64, 3, 3), (2, 2), (1, 1)),
        ((9, 64, 25), (64, 64, 5), (1,), (2,)),
    ],
    ids=str,
)
def test_a_few_small_images_are_enough_for_all_threads(case, threads, rng, monkeypatch):
    x_shape, weight_shape, stride, padding = case
    geometry = (stride, padding, (1,) * len(stride), 1)
    x, weight = drawn(rng, x_shape), drawn(rng, weight_shape)

    def both():
        out = conv_forward(x, weight, None, *geometry)
        dx = convolution_direct.convolve(out, weight, None, x_shape, *geometry, True)
        return out, dx, *conv_backward_weight(out, x, weight_shape, *geometry)

    monkeypatch.setattr(parallel, "get_num_threads", lambda: 1)
    alone = both()
    shared, units = parallel.share, []
    monkeypatch.setattr(parallel, "get_num_threads", lambda: threads)
    monkeypatch.setattr(convolution_direct, "share", lambda n, *rest: units.append(n) or shared(n, *rest))
    together = both()
    assert len(units) == 3 and min(units) >= threads
    for got, right in zip(together[:2], alone[:2], strict=True):
        np.testing.assert_array_equal(got, right)  # each number is the same sum, whoever adds it up
    for got, right in zip(together[2:], alone[2:], strict=True):
        assert accuracy(got, right) < 3e-6  # a sum for each thread


def test_winograd_is_about_as_exact_as_plain_sums(rng):
    x, weight = drawn(rng, (2, 64, 40, 40)), drawn(rng, (32, 64, 3, 3))
    g = drawn(rng, (2, 32, 40, 40))
    geometry = ((1, 1), (1, 1), (1, 1), 1)
    wanted = (
        conv_forward.reference(*map(wide, (x, weight)), None, *geometry),
        conv_backward_input.reference(*map(wide, (g, weight)), None, x.shape, *geometry),
        conv_backward_weight.reference(*map(wide, (g, x)), weight.shape, *geometry)[0],
    )
    quick = (
        winograd.convolve(x, weight, None, (1, 1), False),
        winograd.convolve(g, weight, None, (1, 1), True),
        winograd.weight_gradient(g, x, (1, 1))[0],
    )
    plain = (
        convolution_direct.convolve(x, weight, None, g.shape, *geometry, False),
        convolution_direct.convolve(g, weight, None, x.shape, *geometry, True),
        convolution_direct.weight_gradient(g, x, weight.shape, *geometry)[0],
    )
    for q, p, w, limit in zip(quick, plain, wanted, (4e-6, 4e-6, 8e-6), strict=True):
        assert accuracy(p, w) < limit / 2  # the last adds up all places of all images, in one thread without a break
        assert accuracy(q, w) < limit


def channels_last(a):
    out = empty_channels_last(a.shape, a.dtype)
    out[...] = a
    return out


def wide(a):
    return a.astype(np.float64)


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


@pytest.mark.parametrize(
    "batch, dtype, wanted, why",
    [
        (64, np.float32, True, "tiles enough"),
        (1, np.float32, False, "eight tiles, of 4608 terms each"),
        (64, np.float16, True, "tensor cores"),
        (64, np.float64, False, "the kernels are for float32 and float16"),
        (0, np.float32, False, "nothing to do"),
    ],
)
def test_what_the_cuda_kernels_leave_to_the_reference(batch, dtype, wanted, why):
    x, weight, geometry = np.zeros((batch, 512, 7, 7), dtype), np.zeros((512, 512, 3, 3), dtype), ((1, 1),) * 3
    supports = [kernel.variants["cuda", "cuda"].supports for kernel in (conv_forward, conv_backward_input)]
    assert [supports[0](x, weight, None, *geometry, 1), supports[1](x, weight, None, x.shape, *geometry, 1)] == [
        wanted,
        wanted,
    ], why
    gradient = conv_backward_weight.variants["cuda", "cuda"].supports
    assert gradient(x, x, weight.shape, *geometry, 1) is (wanted or batch == 1), why  # its sums are cut into parts
    assert not supports[0](x[:, :, ::2], weight, None, *geometry, 1)


def test_three_dimensions_and_large_arrays_are_left_to_the_reference(monkeypatch):
    forward, flat = conv_forward.variants["cuda", "cuda"].supports, ((1, 1), (0, 0), (1, 1), 1)
    deep = ((1, 1, 1), (0, 0, 0), (1, 1, 1), 1)
    assert not forward(np.zeros((1, 8, 4, 4, 4), np.float32), np.zeros((8, 8, 3, 3, 3), np.float32), None, *deep)
    x, weight = np.zeros((1, 1, 5, 5), np.float32), np.zeros((8, 1, 1, 1), np.float32)
    monkeypatch.setattr(convolution, "LARGEST", 200)
    assert forward(x, weight, None, *flat)  # 200 results
    monkeypatch.setattr(convolution, "LARGEST", 199)
    assert not forward(x, weight, None, *flat)
