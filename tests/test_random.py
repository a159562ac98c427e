"""Random tensors: moments, reproducibility, independence, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import minidl as md
import minidl.nn.functional as F

N = 20_000
SIZES = {
    "rand": lambda g: md.rand(N, generator=g),
    "randn": lambda g: md.randn(N, dtype=md.float64, generator=g),
    "randint": lambda g: md.randint(-3, 1000, (N,), generator=g),
    "randperm": lambda g: md.randperm(N, generator=g),
    "normal": lambda g: md.normal(1.0, 2.0, (N,), generator=g),
    "bernoulli": lambda g: md.bernoulli(md.full((N,), 0.3), generator=g),
    "multinomial": lambda g: md.multinomial(md.ones(N), 100, generator=g),
    "poisson": lambda g: md.poisson(md.full((N,), 4.0), generator=g),
    "exponential_": lambda g: md.empty(N).exponential_(generator=g),
    "cauchy_": lambda g: md.empty(N).cauchy_(generator=g),
    "geometric_": lambda g: md.empty(N).geometric_(0.3, generator=g),
    "log_normal_": lambda g: md.empty(N).log_normal_(generator=g),
    "random_": lambda g: md.empty(N, dtype=md.int64).random_(generator=g),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_seed_fixes_the_numbers_and_calls_differ(name):
    draw = SIZES[name]
    first = md.Generator().manual_seed(3)
    a, b = draw(first).numpy(), draw(first).numpy()
    again = md.Generator().manual_seed(3)
    assert (draw(again).numpy() == a).all()
    assert (draw(again).numpy() == b).all()
    assert (a != b).any()
    assert (draw(md.Generator().manual_seed(4)).numpy() != a).any()


DISTRIBUTIONS = {
    "rand": (SIZES["rand"], stats.uniform()),
    "randn": (SIZES["randn"], stats.norm()),
    "normal": (SIZES["normal"], stats.norm(1, 2)),
    "uniform_": (lambda g: md.empty(N).uniform_(-2, 3, generator=g), stats.uniform(-2, 5)),
    "exponential_": (lambda g: md.empty(N).exponential_(2.0, generator=g), stats.expon(scale=0.5)),
    "cauchy_": (lambda g: md.empty(N).cauchy_(1.0, 2.0, generator=g), stats.cauchy(1, 2)),
    "log_normal_": (lambda g: md.empty(N).log_normal_(0.5, 0.7, generator=g), stats.lognorm(0.7, scale=np.exp(0.5))),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distribution(name):
    draw, wanted = DISTRIBUTIONS[name]
    values = draw(md.Generator().manual_seed(5)).numpy()
    assert stats.kstest(values, wanted.cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("draw", "wanted"),
    [
        (lambda: md.randint(-2, 5, (N,)), stats.randint(-2, 5)),
        (lambda: md.zeros(N).random_(2, 6), stats.randint(2, 6)),
        (lambda: md.empty(N).geometric_(0.3), stats.geom(0.3)),
        (lambda: md.poisson(md.full((N,), 3.0)), stats.poisson(3)),
        (lambda: md.empty(N).bernoulli_(0.3), stats.bernoulli(0.3)),
        (lambda: md.bernoulli(md.full((N,), 0.8)), stats.bernoulli(0.8)),
        (lambda: md.multinomial(md.tensor([0.0, 1.0, 3.0, 4.0]), N, True), stats.rv_discrete(values=([1, 2, 3], [0.125, 0.375, 0.5]))),
    ],
)  # fmt: skip
def test_counts(draw, wanted):
    values = draw().numpy().astype(int)
    kinds = np.arange(values.min(), values.max() + 1)
    expected = wanted.pmf(kinds) * N
    common = expected > 5
    observed = np.array([(values == k).sum() for k in kinds])
    assert wanted.pmf(kinds).min() > 0, "a value that cannot occur"
    z = (observed - expected)[common] / np.sqrt(expected[common])
    assert np.abs(z).max() < 4.5


def test_consecutive_calls_are_not_correlated():
    draws = np.stack([md.randn(5000).numpy() for _ in range(6)])
    correlations = np.corrcoef(draws)[np.triu_indices(6, 1)]
    assert np.abs(correlations).max() < 4 / np.sqrt(5000)


def test_a_large_integer_range_favours_no_half():
    values = md.randint(0, 3 * 2**30, (N,)).numpy()
    assert abs((values < 3 * 2**29).mean() - 0.5) < 4 / np.sqrt(4 * N)


def test_multinomial_without_replacement():
    rows = md.multinomial(md.tensor([[1.0, 0.0, 2.0, 3.0]]).expand(500, 4), 3).numpy()
    assert all(sorted(row) == [0, 2, 3] for row in rows)
    first = np.bincount(rows[:, 0], minlength=4) / 500
    np.testing.assert_allclose(first, [1 / 6, 0, 1 / 3, 1 / 2], atol=4 * 0.5 / np.sqrt(500))


def test_a_single_index_is_drawn_as_often_as_its_weight_says():
    index = md.multinomial(md.tensor([[1.0, 0.0, 2.0, 5.0]]).expand(2000, 4), 1).numpy()
    assert index.shape == (2000, 1)
    wanted = np.array([1, 0, 2, 5]) / 8
    np.testing.assert_allclose(np.bincount(index[:, 0], minlength=4) / 2000, wanted, atol=4 * 0.5 / np.sqrt(2000))
    for wrong in (md.tensor([1.0, np.nan]), md.tensor([1.0, np.inf])):
        with pytest.raises(RuntimeError, match="inf"):
            md.multinomial(wrong, 1)
    for empty in (md.zeros(3), md.zeros(0), md.zeros(2, 0)):
        with pytest.raises(RuntimeError, match="sum of probabilities <= 0"):
            md.multinomial(empty, 1)
    assert md.multinomial(md.zeros(0, 3), 1).shape == (0, 1)


def test_randperm_is_a_permutation():
    assert sorted(md.randperm(50).tolist()) == list(range(50))
    assert md.randperm(0).shape == (0,)


def test_state():
    md.manual_seed(7)
    md.rand(3)
    state = md.get_rng_state()
    a = md.rand(5)
    md.set_rng_state(state)
    assert md.equal(md.rand(5), a)
    assert md.initial_seed() == 7
    assert md.manual_seed(-1).initial_seed() == 2**64 - 1
    with pytest.raises(RuntimeError, match="64-bit"):
        md.manual_seed(2**64)
    with pytest.raises(RuntimeError, match="get_state"):
        md.set_rng_state(md.zeros(3))


def test_fork_rng_leaves_the_generator_as_it_was():
    from minidl.random import fork_rng

    state = md.get_rng_state()
    with fork_rng():
        md.rand(10)
    assert md.equal(md.get_rng_state(), state)
    with fork_rng(enabled=False):
        md.rand(10)
    assert not md.equal(md.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [md.float16, md.float32, md.float64])
def test_uniform_stays_below_one(dtype):
    values = md.rand(N, dtype=dtype).numpy()
    assert values.dtype == dtype.dtype
    assert 0 <= values.min() < 0.01
    assert 0.99 < values.max() < 1


def test_forms_and_options():
    assert md.rand((2, 3)).shape == md.rand(2, 3).shape == md.rand(size=(2, 3)).shape == (2, 3)
    assert md.randn(2, requires_grad=True).requires_grad
    assert md.randint(5, (3,)).dtype is md.int64
    assert md.randint(high=5, size=(3,), dtype=md.float32).dtype is md.float32
    x = md.zeros(2, 3, dtype=md.float64)
    assert md.rand_like(x).dtype is md.randn_like(x).dtype is md.randint_like(x, 3).dtype is md.float64
    assert md.normal(md.zeros(3, 1), md.ones(2)).shape == (3, 2)
    assert md.normal(md.arange(3.0), 0.0).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: md.rand(2, dtype=md.int64), "float"),
        (lambda: md.randint(3, 3, (2,)), "less than"),
        (lambda: md.randint(3), "expected"),
        (lambda: md.rand(-1), "negative dimension"),
        (lambda: md.bernoulli(md.tensor([1.5])), "p <= 1"),
        (lambda: md.multinomial(md.tensor([1.0, -1.0]), 1), "element < 0"),
        (lambda: md.multinomial(md.tensor([1.0, 0.0]), 2), "without replacement"),
        (lambda: md.normal(0.0, 1.0), "size"),
        (lambda: md.normal(0.0, -1.0, (2,)), "std >= 0"),
        (lambda: md.zeros(2).uniform_(1, 0), "from=1"),
        (lambda: md.zeros(2).exponential_(0), "lambda > 0"),
        (lambda: md.zeros(2, requires_grad=True).normal_(), "leaf Variable"),
        (lambda: F.dropout(md.ones(2), 1.5), "between 0 and 1"),
        (lambda: F.dropout(md.ones(2, dtype=md.int64)), "float tensor"),
    ],
)
def test_refused(call, message):
    with pytest.raises((RuntimeError, TypeError, ValueError), match=message):
        call()


def test_an_in_place_draw_cuts_the_gradient():
    x = md.ones(3, requires_grad=True)
    y = x * 2
    y.normal_()
    y.sum().backward()
    assert x.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize("inplace", [False, True])
def test_dropout(inplace):
    x = md.ones(N, requires_grad=True)
    y = F.dropout(x * 1, 0.25, True, inplace)
    y.sum().backward()
    kept = y.detach().numpy() != 0
    assert abs(kept.mean() - 0.75) < 4 * np.sqrt(0.25 * 0.75 / N)
    np.testing.assert_allclose(y.detach().numpy(), kept / np.float32(0.75), rtol=1e-6)
    assert (x.grad.numpy() == y.detach().numpy()).all()  # the mask of the backward pass is that of the forward pass
    assert (F.dropout(md.ones(4), 1.0).numpy() == 0).all()
    assert (F.dropout(md.ones(4), 0.5, training=False).numpy() == 1).all()


@pytest.mark.parametrize(("function", "shape"), [(F.dropout1d, (50, 8, 5)), (F.dropout2d, (50, 8, 3, 3)), (F.dropout3d, (50, 8, 2, 2, 2))])  # fmt: skip
def test_whole_channels_are_dropped(function, shape):
    channels = function(md.ones(shape), 0.5).numpy().reshape(400, -1)
    assert (channels == channels[:, :1]).all()
    assert abs((channels[:, 0] == 0).mean() - 0.5) < 4 * 0.5 / 20


@pytest.mark.parametrize("function", [F.alpha_dropout, F.feature_alpha_dropout])
def test_alpha_dropout_keeps_mean_and_variance(function):
    y = function(md.randn(N, 4), 0.2, True).numpy()
    assert abs(y.mean()) < 0.03
    assert abs(y.std() - 1) < 0.03
