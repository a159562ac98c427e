from __future__ import annotations

import numpy as np
import pytest

import minidl
from minidl.kernels.groupnorm import group_norm, group_norm_backward, running_norm, running_norm_backward

EPS = 1e-3


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("groups, shared", [(6, True), (3, False), (6, False), (1, False)])
@pytest.mark.parametrize("shape", [(2, 6, 9, 7), (2, 6, 8, 9), (3, 6, 65), (3, 6, 5), (1, 6, 67, 67), (2, 6, 2)])
def test_variants_agree(shape, groups, shared, channels_last, rng, compare):
    def drawn():
        values = rng.standard_normal(shape).astype(np.float32)
        return np.ascontiguousarray(values.swapaxes(1, -1)).swapaxes(1, -1) if channels_last else values

    x, g, (weight, bias) = drawn() + np.float32(2), drawn(), rng.standard_normal((2, 6)).astype(np.float32)
    x[:, 1] += 30
    mean, var = group_norm(x, weight, bias, groups, shared, EPS)[1:]
    compare(group_norm, x, weight, bias, groups, shared, EPS, rtol=1e-4, atol=1e-4)
    compare(group_norm, x, None, None, groups, shared, EPS, rtol=1e-4, atol=1e-4)
    compare(group_norm_backward, g, x, weight, mean, var, groups, shared, EPS, rtol=2e-4, atol=2e-3)
    m, v = rng.standard_normal(6).astype(np.float32), rng.random(6, np.float32) + np.float32(0.5)
    for w, b in ((weight, bias), (None, None)):
        compare(running_norm, x, w, b, m, v, EPS, rtol=1e-5, atol=1e-5)
        compare(running_norm_backward, g, x, w, m, 1 / np.sqrt(v), rtol=1e-5, atol=3e-5)


def test_a_missing_number_spoils_its_own_set_alone():
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 5)).astype(np.float32)
    x[0, 1, 2, 3] = np.nan
    out = group_norm(x, None, None, 4, False, EPS)[0]
    assert np.isnan(out[0, 1]).all() and np.isnan(out).sum() == 25


@pytest.mark.parametrize("name", ["batch_norm", "group_norm", "instance_norm"])
@pytest.mark.parametrize("orders", [(False, False), (True, False), (False, True)])
def test_against_pytorch_whatever_the_order_in_memory(name, orders, rng):
    torch = pytest.importorskip("torch")
    values, slopes = rng.standard_normal((2, 2, 4, 7, 9)).astype(np.float32)
    mean, var, weight, bias = rng.random((4, 4), np.float32)

    def found(m, orders=(False, False)):
        x = m.tensor(values, requires_grad=True)
        w, b = m.tensor(weight, requires_grad=True), m.tensor(bias, requires_grad=True)
        seen, g = x * 1.0, m.tensor(slopes)
        if orders[0]:
            seen = seen.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        if orders[1]:
            g = g.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        f = m.nn.functional
        if name == "batch_norm":
            out = f.batch_norm(seen, m.tensor(mean), m.tensor(var), w, b)
        elif name == "group_norm":
            out = f.group_norm(seen, 2, w, b)
        else:
            out = f.instance_norm(seen, None, None, w, b)
        out.backward(g)
        return [t.detach().numpy() for t in (out, x.grad, w.grad, b.grad)]

    for got, wanted in zip(found(minidl, orders), found(torch), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def test_training_between_an_evaluation_and_its_backward_pass_does_not_change_gradients():
    norm = minidl.nn.BatchNorm2d(3)
    x = minidl.tensor(np.random.default_rng(0).standard_normal((2, 3, 8, 9)).astype(np.float32))

    def weight_gradient(train):
        norm.weight.grad = None
        out = norm.eval()(x)
        if train:
            norm.train()(x + 5.0)
        (out * out).sum().backward()
        return norm.weight.grad.numpy().copy()

    np.testing.assert_array_equal(weight_gradient(False), weight_gradient(True))
