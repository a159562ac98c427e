"""Pooling and interpolation where PyTorch's databases do not look: ties, NaN, borders, gradients, random configurations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl as md
import minidl.nn.functional as F
from minidl.autograd import gradcheck, gradgradcheck
from minidl.kernels.pooling import max_pool_index, pick, spill, sum_pool, sum_pool_backward


@pytest.mark.tiny
def test_the_first_of_equal_values_gets_the_gradient_and_nan_wins():
    x = md.tensor([[[2.0, 2.0, 1.0, 1.0, float("nan"), 5.0]]], requires_grad=True)
    y, index = F.max_pool1d(x, 2, return_indices=True)
    assert index.tolist() == [[[0, 2, 4]]] and y[0, 0, :2].tolist() == [2, 1] and y[0, 0, 2].isnan()
    y.sum().backward()
    assert x.grad.tolist() == [[[1, 0, 1, 0, 1, 0]]]


def test_padding_is_never_the_largest():
    x = md.full((1, 1, 3), -float("inf"))
    y, index = F.max_pool1d(x, 3, 1, 1, return_indices=True)
    assert index.tolist() == [[[0, 0, 1]]] and y.isinf().all()


def test_overlapping_windows_add_up_their_gradients():
    x = md.tensor([[[1.0, 3.0, 2.0]]], requires_grad=True)
    F.max_pool1d(x, 2, 1).sum().backward()
    assert x.grad.tolist() == [[[0, 2, 0]]]


def test_kernels_against_loops():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 7, 6))
    kernel, stride, padding, dilation, positions = (3, 2), (2, 1), (1, 0), (1, 2), (4, 4)
    index = max_pool_index(x, kernel, stride, padding, dilation, positions)
    for place in np.ndindex(positions):
        rows = [place[0] * 2 - 1 + i for i in range(3) if 0 <= place[0] * 2 - 1 + i < 7]
        columns = [place[1] + 2 * j for j in range(2)]
        window = x[:, :, rows][:, :, :, columns]
        np.testing.assert_array_equal(pick(x, index)[:, :, *place], window.max((2, 3)))
    g = rng.standard_normal((2, 3, 3, 5))
    window = ((3, 2), (2, 1), (0, 0))
    # <sum_pool(x), g> = <x, sum_pool_backward(g)>, and so for pick and spill
    assert np.vdot(sum_pool(x, *window, (3, 5)), g) == pytest.approx(np.vdot(x, sum_pool_backward(g, (7, 6), *window)))
    h = rng.standard_normal(index.shape)
    assert np.vdot(pick(x, index), h) == pytest.approx(np.vdot(x, spill(h, index, (7, 6))))


def test_gradients_of_both_orders():
    md.manual_seed(0)
    x = md.rand(1, 2, 5, 4, dtype=md.float64, requires_grad=True)
    for f in (
        lambda t: F.max_pool2d(t, 2, 1) ** 2,
        lambda t: F.avg_pool2d(t, 3, 2, 1, ceil_mode=True) ** 2,
        lambda t: F.adaptive_avg_pool2d(t, (3, 2)) ** 2,
        lambda t: F.adaptive_max_pool2d(t, (3, 2)) ** 2,
        lambda t: F.interpolate(t, (7, 3), mode="bicubic") ** 2,
        lambda t: F.interpolate(t, scale_factor=2, mode="nearest") ** 2,
        lambda t: F.instance_norm(t),
        lambda t: F.local_response_norm(t, 2),
        lambda t: F.pixel_shuffle(t.reshape(1, 4, 5, 2), 2) ** 2,
    ):
        assert gradcheck(f, (x,)) and gradgradcheck(f, (x,))


windows = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2), st.booleans())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(3, 9), windows), min_size=1, max_size=3), st.integers(1, 2))
def test_windows_of_any_kind_against_pytorch(dimensions, batch):
    torch = pytest.importorskip("torch")
    n = len(dimensions)
    sizes = [size for size, _ in dimensions]
    kernel, stride, padding, dilation, ceil = (list(v) for v in zip(*(w for _, w in dimensions), strict=True))
    padding = [min(p, k // 2) for p, k in zip(padding, kernel, strict=True)]
    x = np.random.default_rng(0).integers(-3, 3, (batch, 2, *sizes)).astype(np.float32)  # with many ties
    for name, arguments in (
        ("max_pool", (kernel, stride, padding, dilation, ceil[0])),
        ("avg_pool", (kernel, stride, padding, ceil[0], ceil[-1])),
    ):
        theirs, ours = torch.tensor(x, requires_grad=True), md.tensor(x, requires_grad=True)
        try:
            expected = getattr(torch.nn.functional, f"{name}{n}d")(theirs, *arguments)
        except RuntimeError:
            continue  # too large a window; PyTorch refuses some that fit with their padding, too
        got = getattr(F, f"{name}{n}d")(ours, *arguments)
        np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6)
        (expected * expected.detach()).sum().backward()
        (got * got.detach()).sum().backward()
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-5, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area"]),
    st.lists(st.tuples(st.integers(1, 8), st.integers(1, 12)), min_size=3, max_size=3),
    st.booleans(),
)
def test_interpolation_against_pytorch(mode, sizes, corners):
    torch = pytest.importorskip("torch")
    n = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}.get(mode, len({s for s, _ in sizes}))
    old, new = [s for s, _ in sizes[:n]], [s for _, s in sizes[:n]]
    x = np.random.default_rng(0).standard_normal((2, 1, *old)).astype(np.float32)
    options = {"mode": mode, **({"align_corners": corners} if mode.endswith(("linear", "cubic")) else {})}
    expected = torch.nn.functional.interpolate(torch.tensor(x), tuple(new), **options)
    np.testing.assert_allclose(F.interpolate(md.tensor(x), tuple(new), **options), expected, rtol=1e-4, atol=1e-5)


def test_nearest_neighbours_of_any_dtype():
    x = md.tensor([[[1, 2]]])
    assert F.interpolate(x, scale_factor=2).tolist() == [[[1, 1, 2, 2]]]
    assert F.interpolate(md.tensor([[[0.0, -float("inf")]]]), size=4).tolist() == [[[0, 0, -np.inf, -np.inf]]]


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: F.max_pool2d(md.ones(1, 2, 2), 3), RuntimeError, "Output size is too small"),
        (lambda: F.max_pool2d(md.ones(1, 1, 4, 4), 2, padding=2), RuntimeError, "at most half"),
        (lambda: F.max_pool2d(md.ones(4, 4), 2), RuntimeError, "Expected 3D or 4D"),
        (lambda: F.avg_pool2d(md.ones(1, 4, 4), 2, divisor_override=0), RuntimeError, "divisor"),
        (lambda: F.max_pool2d(md.ones(1, 4, 4), (2, 2, 2)), RuntimeError, "list of 2 values"),
        (lambda: F.adaptive_avg_pool2d(md.ones(1, 4, 4), (2,)), RuntimeError, "output_size"),
        (lambda: F.interpolate(md.ones(1, 1, 4)), ValueError, "either size or scale_factor"),
        (lambda: F.interpolate(md.ones(1, 1, 4), 2, 2), ValueError, "only one of"),
        (lambda: F.interpolate(md.ones(1, 1, 4), 2, mode="bicubic"), NotImplementedError, "3D"),
        (lambda: F.interpolate(md.ones(1, 1, 4), 2, align_corners=True), ValueError, "align_corners"),
        (lambda: F.interpolate(md.ones(1, 1, 4), 2, mode="linear", antialias=True), ValueError, "antialias"),
        (lambda: F.pixel_shuffle(md.ones(1, 3, 2, 2), 2), RuntimeError, "divisible"),
        (lambda: F.max_unpool1d(md.ones(1, 1, 1), md.tensor([[[9]]]), 2), RuntimeError, "invalid max index 9"),
        (lambda: F.instance_norm(md.ones(2, 3, 1)), ValueError, "more than 1 spatial"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, 1.5, float("inf"), -float("inf")])
def test_norms_of_windows_against_pytorch(p):
    torch = pytest.importorskip("torch")
    x = np.abs(np.random.default_rng(0).standard_normal((2, 3, 6, 5)))
    theirs, ours = torch.tensor(x, requires_grad=True), md.tensor(x, requires_grad=True)
    expected, got = torch.nn.functional.lp_pool2d(theirs, p, (2, 3), 2), F.lp_pool2d(ours, p, (2, 3), 2)
    np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-6)  # PyTorch's p is a float32
    (expected * expected.detach()).sum().backward()
    (got * got.detach()).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-6)


def test_the_gradient_of_the_norm_of_zeros_is_zero():
    x = md.tensor([[[0.0, 0.0, 3.0, 4.0]]], requires_grad=True)
    y = F.lp_pool1d(x, 2, 2)
    y.sum().backward()
    assert y.tolist() == [[[0, 5]]] and x.grad.tolist() == [[[0, 0, pytest.approx(0.6), pytest.approx(0.8)]]]


def test_float16_means_of_sums_beyond_its_range():
    x = md.full((1, 1, 32, 32), 100.0, dtype=md.float16)
    for mean in (F.avg_pool2d(x, 32), F.adaptive_avg_pool2d(x, 1)):
        assert mean.dtype == md.float16 and mean.item() == 100


def test_means_of_integers_are_cut_off():
    assert F.avg_pool1d(md.tensor([[[-3, 0, 3, 4]]]), 2).tolist() == [[[-1, 3]]]


def test_an_infinity_stays_where_it_is():
    x = md.tensor([[[float("inf"), 1.0, 2.0, float("nan")]]])
    assert F.adaptive_avg_pool1d(x, 2)[0, 0].tolist() == [np.inf, pytest.approx(np.nan, nan_ok=True)]
    assert F.interpolate(x, size=8, mode="linear")[0, 0, 3:5].tolist() == [1.25, 1.75]


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.adaptive_avg_pool2d(x, 2),
        lambda x: F.adaptive_max_pool2d(x, 2),
        lambda x: F.fractional_max_pool2d(x, 2, output_size=2),
        lambda x: F.interpolate(x, 2, mode="bilinear"),
        lambda x: F.max_unpool2d(x[:, :, :1, :1], md.zeros(0, 3, 1, 1, dtype=md.int64), 2),
    ],
)
def test_no_batch(pool):
    x = md.zeros(0, 3, 4, 4, requires_grad=True)
    y = pool(x)
    assert y.shape == (0, 3, 2, 2)
    y.sum().backward()
    assert x.grad.shape == x.shape


def test_fractional_windows_are_pytorchs_for_its_draws():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for n, size in ((2, (9, 14)), (3, (9, 7, 11))):
        x, draws = rng.standard_normal((2, 3, *size)), rng.random((2, 3, n))
        arguments = (2, (4, 3, 5)[:n], None, True)
        expected = getattr(torch.nn.functional, f"fractional_max_pool{n}d")(
            torch.tensor(x), *arguments, _random_samples=torch.tensor(draws)
        )
        got = getattr(F, f"fractional_max_pool{n}d")(md.tensor(x), *arguments, _random_samples=md.tensor(draws))
        for g, e in zip(got, expected, strict=True):
            np.testing.assert_array_equal(g.numpy(), e.numpy())


def test_values_go_back_to_where_the_maxima_were():
    x = md.tensor([[[1.0, 5.0, 4.0, 2.0, 3.0]]], requires_grad=True)
    y, index = F.max_pool1d(x, 2, 2, return_indices=True)
    back = F.max_unpool1d(y, index, 2, 2, output_size=(5,))
    assert back.tolist() == [[[0, 5, 4, 0, 0]]]
    (back * md.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0]]])).sum().backward()
    assert x.grad.tolist() == [[[0, 2, 3, 0, 0]]]


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: F.max_pool1d(md.ones(1, 1, 1), 2, 1, 1, 2), RuntimeError, "a window sees no value"),
        (lambda: F.adaptive_avg_pool2d(md.ones(1, 4, 4).long(), 2), NotImplementedError, "float()"),
        (lambda: F.interpolate(md.ones(1, 1, 4).long(), 2, mode="linear"), NotImplementedError, "interpolate.*float()"),
        (lambda: F.max_unpool1d(md.ones(1, 1, 1), md.tensor([[[0.0]]]), 2), RuntimeError, "int32/int64"),
        (lambda: F.max_unpool1d(md.ones(1, 1, 1), md.tensor([[[-1]]]), 2), RuntimeError, "invalid max index -1"),
        (
            lambda: F.max_unpool1d(md.ones(1, 1, 1), md.tensor([[[0]]]), 2, output_size=(2,) * 4),
            ValueError,
            "whole shape",
        ),
        (lambda: F.max_unpool2d(md.ones(1, 1), md.tensor([[0]]), 2), RuntimeError, "Expected 3D or 4D"),
        (lambda: F.fractional_max_pool2d(md.ones(1, 4, 4), 2, output_size=0), RuntimeError, "output_size"),
    ],
)
def test_more_errors_say_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call()
