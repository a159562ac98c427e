"""Initialisers: the moments and structure that each promises."""

import math

import numpy as np
import pytest

import minidl
from minidl.nn import init


@pytest.fixture(autouse=True)
def seed():
    minidl.manual_seed(0)


@pytest.mark.parametrize(
    ("fill", "std", "bound"),
    [
        (init.xavier_uniform_, math.sqrt(2 / 500), math.sqrt(6 / 500)),
        (init.xavier_normal_, math.sqrt(2 / 500), math.inf),
        (lambda w: init.kaiming_uniform_(w, nonlinearity="relu"), math.sqrt(2 / 300), math.sqrt(6 / 300)),
        (lambda w: init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"), math.sqrt(2 / 200), math.inf),
        (lambda w: init.uniform_(w, -1, 1), 1 / math.sqrt(3), 1),
        (lambda w: init.normal_(w, std=2.0), 2.0, math.inf),
        (lambda w: init.trunc_normal_(w, a=-1, b=1), 0.53956, 1),
    ],
)
def test_moments(fill, std, bound):
    w = minidl.empty(200, 300)
    assert fill(w) is w
    a = w.numpy()
    # 60,000 draws: the standard deviation is known to about 0.3%, the mean to 0.4% of it
    assert a.std() == pytest.approx(std, rel=0.02)
    assert abs(a.mean()) < 0.02 * std
    assert np.abs(a).max() <= bound


def test_fans_count_the_receptive_field():
    w = minidl.empty(64, 32, 3, 3)
    init.kaiming_normal_(w, nonlinearity="relu")
    assert w.numpy().std() == pytest.approx(math.sqrt(2 / (32 * 9)), rel=0.03)
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        init.xavier_uniform_(minidl.empty(3))


@pytest.mark.parametrize("shape", [(8, 8), (12, 5), (5, 3, 4)])
def test_orthogonal(shape):
    a = init.orthogonal_(minidl.empty(*shape), gain=2.0).numpy().reshape(shape[0], -1)
    small = a @ a.T if a.shape[0] <= a.shape[1] else a.T @ a
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-5)


def test_constants_and_structure():
    assert init.eye_(minidl.empty(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert init.constant_(minidl.empty(2), 0.5).tolist() == [0.5, 0.5]
    dirac = init.dirac_(minidl.empty(4, 2, 3), groups=2).numpy()
    assert [tuple(int(i) for i in index) for index in np.argwhere(dirac)] == [
        (0, 0, 1),
        (1, 1, 1),
        (2, 0, 1),
        (3, 1, 1),
    ]
    sparse = init.sparse_(minidl.empty(10, 4), sparsity=0.3).numpy()
    assert (sparse == 0).sum(axis=0).tolist() == [3, 3, 3, 3]


def test_gains():
    torch = pytest.importorskip("torch")
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "selu", "leaky_relu"):
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert init.calculate_gain("leaky_relu", 0.3) == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.3))
    with pytest.raises(ValueError, match="Unsupported nonlinearity cube"):
        init.calculate_gain("cube")


def test_parameters_stay_leaves():
    w = minidl.nn.Parameter(minidl.empty(3, 3))
    init.kaiming_uniform_(w)
    assert w.requires_grad
    assert w.is_leaf
