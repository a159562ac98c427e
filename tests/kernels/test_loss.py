from __future__ import annotations

import numpy as np
import pytest

import minidl
from minidl.kernels.loss import cross_entropy, cross_entropy_and_gradient, cross_entropy_backward

IGNORE = -100
OPTIONS = [(weighted, smoothing) for weighted in (False, True) for smoothing in (0.0, 0.1, 1.0)]


def case(rng, n, v, weighted):
    logits = (3 * rng.standard_normal((n, v))).astype(np.float32)
    target = rng.integers(0, v, n)
    target[1::3] = IGNORE
    weight = rng.random(v, np.float32) if weighted else None
    return logits, target, weight


@pytest.mark.parametrize("n, v", [(1, 1), (1, 7), (7, 1), (33, 17)])
@pytest.mark.parametrize("weighted, smoothing", OPTIONS)
def test_variants_agree(n, v, weighted, smoothing, rng, compare):
    logits, target, weight = case(rng, n, v, weighted)
    compare(cross_entropy, logits, target, weight, IGNORE, smoothing)
    _, lse = cross_entropy(logits, target, weight, IGNORE, smoothing)
    g = rng.standard_normal(n).astype(np.float32)
    compare(cross_entropy_backward, g, logits, target, weight, IGNORE, smoothing, lse)
    compare(cross_entropy_and_gradient, logits, target, weight, IGNORE, smoothing)


def test_large_logits_keep_their_differences(rng, compare):
    logits, target, _ = case(rng, 9, 20, False)
    logits = logits + np.float32(10000)
    compare(cross_entropy, logits, target, None, IGNORE, 0.1)
    _, lse = cross_entropy(logits, target, None, IGNORE, 0.1)
    assert lse.dtype == np.float64
    compare(cross_entropy_backward, np.ones(9, np.float32), logits, target, None, IGNORE, 0.1, lse)
    compare(cross_entropy_and_gradient, logits, target, None, IGNORE, 0.1)


def test_masked_class(compare):
    logits = np.array([[0.0, -np.inf, 1.0], [-np.inf, 2.0, 3.0]], np.float32)
    target = np.array([0, 0])
    compare(cross_entropy, logits, target, None, IGNORE, 0.0)
    losses, lse = cross_entropy(logits, target, None, IGNORE, 0.0)
    assert losses[1] == np.inf
    compare(cross_entropy_backward, np.ones(2, np.float32), logits, target, None, IGNORE, 0.0, lse)
    compare(cross_entropy_and_gradient, logits, target, None, IGNORE, 0.0)


def test_other_layouts_take_the_reference(rng, compare):
    logits, target, _ = case(rng, 6, 8, False)
    compare(cross_entropy, logits[:, ::2], target // 2, None, IGNORE // 2, 0.0, compiled=False)
    compare(cross_entropy, logits, target.astype(np.int32), None, IGNORE, 0.0, compiled=False)
    compare(cross_entropy, logits.astype(np.float64), target, None, IGNORE, 0.0, compiled=False)
    compare(cross_entropy_and_gradient, logits[:, ::2], target // 2, None, IGNORE // 2, 0.0, compiled=False)


def test_no_rows(compare):
    logits, target = np.zeros((0, 5), np.float32), np.zeros(0, np.int64)
    compare(cross_entropy, logits, target, None, IGNORE, 0.0, compiled=False)
    compare(cross_entropy_and_gradient, logits, target, None, IGNORE, 0.0, compiled=False)


@pytest.mark.parametrize("weighted, smoothing", OPTIONS)
def test_against_pytorch(weighted, smoothing, rng):
    torch = pytest.importorskip("torch")
    logits, target, weight = case(rng, 10, 6, weighted)
    x, w, g = logits.astype(np.float64), None if weight is None else weight.astype(np.float64), rng.standard_normal(10)
    t = torch.tensor(x, requires_grad=True)
    wanted = torch.nn.functional.cross_entropy(
        t,
        torch.tensor(target),
        weight=None if w is None else torch.tensor(w),
        ignore_index=IGNORE,
        label_smoothing=smoothing,
        reduction="none",
    )
    (gradient,) = torch.autograd.grad(wanted, t, torch.tensor(g))
    losses, lse = cross_entropy(x, target, w, IGNORE, smoothing)
    np.testing.assert_allclose(losses, wanted.detach(), rtol=1e-12, atol=1e-14)
    dx = cross_entropy_backward(g, x, target, w, IGNORE, smoothing, lse)
    np.testing.assert_allclose(dx, gradient, rtol=1e-11, atol=1e-14)
    again, slopes = cross_entropy_and_gradient(x, target, w, IGNORE, smoothing)
    np.testing.assert_array_equal(again, losses)
    np.testing.assert_allclose(g[:, None] * slopes, gradient, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_where_every_target_is_ignored_the_mean_is_nan_and_the_gradient_zero(dtype):
    logits = minidl.tensor(np.ones((3, 4), dtype), requires_grad=True)
    loss = minidl.nn.functional.cross_entropy(logits, minidl.tensor([1, 1, 1]), ignore_index=1)
    loss.backward()
    assert np.isnan(loss.item()) and not logits.grad.numpy().any()


@pytest.mark.parametrize("n, v, p", [(1, 1, 1), (2, 3, 5), (3, 21, 33), (2, 5, 1100)])
@pytest.mark.parametrize("weighted, smoothing", OPTIONS)
def test_maps_agree(n, v, p, weighted, smoothing, rng, compare):
    logits = (3 * rng.standard_normal((n, v, p))).astype(np.float32)
    target = rng.integers(0, v, (n, p))
    target[:, 1::3] = IGNORE
    weight = rng.random(v, np.float32) if weighted else None
    compare(cross_entropy_and_gradient, logits, target, weight, IGNORE, smoothing)


def test_infinite_and_missing_logits_of_maps(compare):
    logits = np.zeros((1, 3, 20), np.float32)
    logits[0, :, 1], logits[0, :, 2] = (0, -np.inf, 1), (0, np.nan, 1)
    logits[0, :, 3], logits[0, :, 4] = (np.inf, 0, 1), np.nan
    target = np.ones((1, 20), np.int64)
    target[0, 4] = IGNORE
    losses, dx = cross_entropy_and_gradient(logits, target, None, IGNORE, 0.0)
    assert losses[0, 1] == np.inf and np.isnan(losses[0, 2:4]).all() and not dx[0, :, 4].any()
    compare(cross_entropy_and_gradient, logits, target, None, IGNORE, 0.0)
    compare(cross_entropy_and_gradient, logits.astype(np.float64), target, None, IGNORE, 0.0, compiled=False)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(5, 4, 1), (2, 4, 3, 7), (2, 4, 0), (0, 4, 3)])
def test_maps_against_pytorch(name, reduction, weighted, shape, rng):
    torch = pytest.importorskip("torch")
    if reduction == "mean" and 0 in shape:
        pytest.skip("the mean of nothing")
    logits = rng.standard_normal(shape).astype(np.float32)
    target = rng.integers(0, 4, (shape[0], *shape[2:]))
    target[1:, ...] %= 3
    weight = rng.random(4, np.float32) if weighted else None

    def found(m, channels_last):
        x = m.tensor(logits, requires_grad=True)
        seen = x * 1.0
        if channels_last:
            seen = seen.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        w = None if weight is None else m.tensor(weight)
        loss = getattr(m.nn.functional, name)(seen, m.tensor(target), w, ignore_index=1, reduction=reduction)
        (slope,) = m.autograd.grad((loss * loss).sum(), x, create_graph=True)
        (second,) = m.autograd.grad((slope * slope).sum(), x)
        return [t.detach().numpy() for t in (loss, slope, second)]

    wanted = found(torch, False)
    for channels_last in (False, True)[: len(shape) - 2]:
        for got, want in zip(found(minidl, channels_last), wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
