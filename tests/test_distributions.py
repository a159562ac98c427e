"""Distributions against PyTorch's, their samples against their moments and their cdf."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl as md
from minidl import distributions as D

N = 20_000
VALUES = {  # how each is made, from a module with PyTorch's names, and values to look at
    "Normal": (lambda m: m.distributions.Normal(m.tensor([0.5, -1.0]), m.tensor([1.5, 0.3])), [[0.1, -1.2]]),
    "LogNormal": (lambda m: m.distributions.LogNormal(m.tensor([0.5]), m.tensor([0.4])), [[0.7], [2.0]]),
    "Uniform": (lambda m: m.distributions.Uniform(m.tensor([-1.0, 2.0]), m.tensor([1.0, 5.0])), [[0.3, 4.5]]),
    "Exponential": (lambda m: m.distributions.Exponential(m.tensor([0.7, 2.0])), [[0.2, 3.0]]),
    "Laplace": (lambda m: m.distributions.Laplace(m.tensor([0.7, 2.0]), m.tensor([0.5, 1.5])), [[0.2, 3.0]]),
    "Gamma": (lambda m: m.distributions.Gamma(m.tensor([0.7, 4.0]), m.tensor([0.5, 1.5])), [[0.2, 3.0]]),
    "Chi2": (lambda m: m.distributions.Chi2(m.tensor([3.0])), [[0.2], [3.0]]),
    "Beta": (lambda m: m.distributions.Beta(m.tensor([0.7, 4.0]), m.tensor([0.5, 1.5])), [[0.2, 0.9]]),
    "Dirichlet": (lambda m: m.distributions.Dirichlet(m.tensor([0.7, 4.0, 1.0])), [[0.2, 0.5, 0.3]]),
    "MultivariateNormal": (
        lambda m: m.distributions.MultivariateNormal(m.tensor([0.5, -1.0]), m.tensor([[2.0, 0.6], [0.6, 1.0]])),
        [[0.2, 0.5], [1.0, -2.0]],
    ),
    "MultivariateNormal, precision": (
        lambda m: m.distributions.MultivariateNormal(
            m.zeros(3, 2), precision_matrix=m.tensor([[2.0, 0.6], [0.6, 1.0]])
        ),
        [[0.2, 0.5]],
    ),
    "MultivariateNormal, Cholesky": (
        lambda m: m.distributions.MultivariateNormal(m.zeros(2), scale_tril=m.tensor([[2.0, 0.0], [0.6, 1.0]])),
        [[0.2, 0.5]],
    ),
    "Bernoulli": (lambda m: m.distributions.Bernoulli(m.tensor([0.3, 0.9])), [[1.0, 0.0]]),
    "Bernoulli, logits": (lambda m: m.distributions.Bernoulli(logits=m.tensor([-3.0, 2.0])), [[1.0, 0.0]]),
    "Geometric": (lambda m: m.distributions.Geometric(m.tensor([0.3, 0.8])), [[2.0, 0.0]]),
    "Binomial": (lambda m: m.distributions.Binomial(5, m.tensor([0.3, 0.8])), [[2.0, 5.0]]),
    "Binomial, logits": (lambda m: m.distributions.Binomial(5, logits=m.tensor([0.3, 0.8])), [[2.0, 5.0]]),
    "Poisson": (lambda m: m.distributions.Poisson(m.tensor([0.3, 8.0])), [[2.0, 5.0]]),
    "Categorical": (lambda m: m.distributions.Categorical(m.tensor([[0.1, 0.2, 0.7], [1.0, 1.0, 2.0]])), [[2.0, 0.0]]),
    "Categorical, logits": (lambda m: m.distributions.Categorical(logits=m.tensor([0.5, 2.0, -1.0])), [1.0, 2.0]),
    "OneHotCategorical": (lambda m: m.distributions.OneHotCategorical(m.tensor([0.2, 0.8])), [[0.0, 1.0]]),
    "Multinomial": (lambda m: m.distributions.Multinomial(4, m.tensor([0.2, 0.3, 0.5])), [[1.0, 0.0, 3.0]]),
    "Cauchy": (lambda m: m.distributions.Cauchy(m.tensor([0.5, -1.0]), m.tensor([1.5, 0.3])), [[0.1, -1.2]]),
    "Gumbel": (lambda m: m.distributions.Gumbel(m.tensor([0.5, -1.0]), m.tensor([1.5, 0.3])), [[0.1, -1.2]]),
    "HalfNormal": (lambda m: m.distributions.HalfNormal(m.tensor([0.5, 2.0])), [[0.1, 1.2]]),
    "HalfCauchy": (lambda m: m.distributions.HalfCauchy(m.tensor([0.5, 2.0])), [[0.1, 1.2]]),
    "StudentT": (lambda m: m.distributions.StudentT(m.tensor([9.0, 12.0]), m.tensor([0.5, 2.0])), [[0.1, 1.2]]),
    "Weibull": (lambda m: m.distributions.Weibull(m.tensor([0.5, 2.0]), m.tensor([1.5, 2.0])), [[0.1, 1.2]]),
    "Pareto": (lambda m: m.distributions.Pareto(m.tensor([0.5, 2.0]), m.tensor([9.0, 12.0])), [[0.6, 2.2]]),
    "InverseGamma": (lambda m: m.distributions.InverseGamma(m.tensor([9.0, 12.0]), m.tensor([0.5, 2.0])), [[0.6, 2.2]]),
    "FisherSnedecor": (
        lambda m: m.distributions.FisherSnedecor(m.tensor([3.0, 12.0]), m.tensor([20.0, 30.0])),
        [[0.6, 2.2]],
    ),
    "Kumaraswamy": (lambda m: m.distributions.Kumaraswamy(m.tensor([1.5, 2.0]), m.tensor([3.0, 1.2])), [[0.6, 0.2]]),
    "NegativeBinomial": (
        lambda m: m.distributions.NegativeBinomial(m.tensor([3.0, 1.5]), m.tensor([0.4, 0.2])),
        [[2.0, 0.0]],
    ),
    "OneHotCategoricalStraightThrough": (
        lambda m: m.distributions.OneHotCategoricalStraightThrough(m.tensor([0.2, 0.8])),
        [[0.0, 1.0]],
    ),
    "RelaxedBernoulli": (lambda m: m.distributions.RelaxedBernoulli(m.tensor(0.7), m.tensor([0.2, 0.8])), [[0.1, 0.9]]),
    "RelaxedOneHotCategorical": (
        lambda m: m.distributions.RelaxedOneHotCategorical(m.tensor(0.7), m.tensor([0.2, 0.8])),
        [[0.1, 0.9]],
    ),
    "LogisticNormal": (
        lambda m: m.distributions.LogisticNormal(m.tensor([0.5, 0.1]), m.tensor([0.4, 1.0])),
        [[0.2, 0.5, 0.3]],
    ),
    "MixtureSameFamily": (
        lambda m: m.distributions.MixtureSameFamily(
            m.distributions.Categorical(m.tensor([0.3, 0.7])),
            m.distributions.Normal(m.tensor([-1.0, 2.0]), m.tensor([0.5, 1.5])),
        ),
        [0.3, -2.0],
    ),
    "MixtureSameFamily of vectors": (
        lambda m: m.distributions.MixtureSameFamily(
            m.distributions.Categorical(m.tensor([0.3, 0.7])),
            m.distributions.Independent(m.distributions.Normal(m.tensor([[-1.0, 2.0], [0.0, 1.0]]), m.ones(2, 2)), 1),
        ),
        [[0.3, -2.0]],
    ),
    "TransformedDistribution": (
        lambda m: m.distributions.TransformedDistribution(
            m.distributions.Normal(m.tensor([0.5, -1.0]), m.tensor([1.5, 0.3])),
            [m.distributions.AffineTransform(1.0, -2.0), m.distributions.TanhTransform(cache_size=1)],
        ),
        [[0.3, -0.2]],
    ),
    "Independent": (
        lambda m: m.distributions.Independent(m.distributions.Normal(m.zeros(2, 3), m.ones(2, 3)), 1),
        [[[0.1, 0.2, 0.3], [1.0, 2.0, 3.0]]],
    ),
}
WITHOUT_MOMENTS = ("Categorical", "Cauchy", "HalfCauchy", "Relaxed", "LogisticNormal", "TransformedDistribution")
ORDINARY = [name for name in VALUES if not name.startswith(WITHOUT_MOMENTS)]


def close(ours, theirs, **tolerance):
    np.testing.assert_allclose(
        ours.detach().numpy(), theirs.detach().numpy(), **{"rtol": 2e-5, "atol": 2e-6, **tolerance}
    )


@pytest.mark.parametrize("name", VALUES)
def test_densities_against_pytorch(name):
    torch = pytest.importorskip("torch")
    make, values = VALUES[name]
    ours, theirs = make(md), make(torch)
    assert tuple(ours.batch_shape) == tuple(theirs.batch_shape)
    assert tuple(ours.event_shape) == tuple(theirs.event_shape)
    for value in (*values, ours.sample((50,)).tolist()):
        close(ours.log_prob(md.tensor(value)), theirs.log_prob(torch.tensor(value)), rtol=1e-4, atol=1e-5)
    assert ours.has_rsample == theirs.has_rsample
    if not ours.has_rsample:
        with pytest.raises(NotImplementedError, match="cannot be reparameterized"):
            ours.rsample()


@pytest.mark.parametrize("name", VALUES)
def test_properties_against_pytorch(name):
    torch = pytest.importorskip("torch")
    ours, theirs = (VALUES[name][0](m) for m in (md, torch))
    compared = 0
    for attribute in ("mean", "variance", "stddev", "mode", "entropy", "perplexity"):
        if (name, attribute) == ("Kumaraswamy", "mode"):
            continue  # PyTorch's is NaN for all parameters
        try:
            expected = getattr(theirs, attribute)
            expected = expected() if callable(expected) else expected
        except NotImplementedError:
            continue
        got = getattr(ours, attribute)
        close(got() if callable(got) else got, expected)
        compared += 1
    assert compared >= (0 if name.startswith(WITHOUT_MOMENTS) else 2)


@pytest.mark.parametrize(
    "name",
    ["Normal", "LogNormal", "Uniform", "Exponential", "Laplace", "Cauchy", "Gumbel", "HalfNormal", "HalfCauchy", "Weibull",
     "Pareto", "Kumaraswamy", "TransformedDistribution"],
)  # fmt: skip
def test_distribution_functions_against_pytorch(name):
    torch = pytest.importorskip("torch")
    ours, theirs = (VALUES[name][0](m) for m in (md, torch))
    x = ours.sample((100,)).clone()  # a tensor that no transform remembers
    close(ours.cdf(x), theirs.cdf(torch.tensor(x.tolist())))
    p = md.linspace(0.01, 0.99, 30).unsqueeze(-1)
    close(ours.icdf(p), theirs.icdf(torch.tensor(p.tolist())))
    close(ours.cdf(ours.icdf(p)), p.expand(30, *ours.batch_shape), rtol=1e-4)


@pytest.mark.parametrize("name", ORDINARY)
def test_samples_have_the_moments(name):
    distribution = VALUES[name][0](md)
    x = distribution.sample((N,))
    assert tuple(x.shape) == (N, *distribution.batch_shape, *distribution.event_shape)
    assert not x.requires_grad
    mean, variance = distribution.mean.numpy(), distribution.variance.numpy()
    x = x.numpy().astype(np.float64)
    # five standard errors of the mean; of the variance, by the fourth moment of the draws
    assert (np.abs(x.mean(0) - mean) <= 5 * np.sqrt(variance / N)).all()
    fourth = ((x - x.mean(0)) ** 4).mean(0)
    assert (np.abs(x.var(0) - variance) <= 5 * np.sqrt(fourth / N) + 1e-9).all()
    distribution.log_prob(distribution.sample((3,)))  # every draw is within the support


@pytest.mark.parametrize("name", ["Normal", "LogNormal", "Uniform", "Exponential", "Laplace", "Gamma", "Beta"])
def test_samples_follow_the_distribution_function(name):
    from scipy import stats

    references = {
        "Normal": stats.norm(0.5, 1.5), "LogNormal": stats.lognorm(0.4, scale=math.exp(0.5)),
        "Uniform": stats.uniform(-1, 2), "Exponential": stats.expon(scale=1 / 0.7), "Laplace": stats.laplace(0.7, 0.5),
        "Gamma": stats.gamma(0.7, scale=2), "Beta": stats.beta(0.7, 0.5),
    }  # fmt: skip
    x = VALUES[name][0](md).sample((N,)).numpy().reshape(N, -1)[:, 0]
    assert stats.kstest(x, references[name].cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", ["Categorical", "Categorical, logits"])
def test_classes_come_as_often_as_they_should(name):
    distribution = VALUES[name][0](md)
    x = distribution.sample((N,)).numpy().reshape(N, -1)
    probs = distribution.probs.numpy().reshape(-1, 3)
    for column, p in zip(x.T, probs, strict=True):
        counts = np.bincount(column, minlength=3) / N
        assert (np.abs(counts - p) <= 5 * np.sqrt(p * (1 - p) / N)).all()


def test_a_seed_gives_the_same_samples():
    for name, (make, _) in VALUES.items():
        draws = []
        for _ in range(2):
            md.manual_seed(4)
            draws.append(make(md).sample((5,)).tolist())
        assert draws[0] == draws[1], name


REPARAMETERIZED = {
    "Normal": ([0.5], [1.5]), "LogNormal": ([0.5], [0.4]), "Uniform": ([0.5], [1.5]), "Exponential": ([0.7],),
    "Laplace": ([0.5], [1.5]), "Gumbel": ([0.5], [1.5]), "Weibull": ([0.5], [1.5]), "HalfCauchy": ([0.5],),
    "Gamma": ([0.5], [1.5]), "Beta": ([0.5], [1.5]), "Dirichlet": ([0.5, 1.5, 4.0],), "StudentT": ([5.0], [0.1], [2.0]),
    "MultivariateNormal": ([0.5, 1.0], [[2.0, 0.6], [0.6, 1.0]]),
}  # fmt: skip


@pytest.mark.parametrize("name", REPARAMETERIZED)
def test_reparameterized_samples_have_the_gradient_of_their_formula(name):
    weights = md.randn(7, len(REPARAMETERIZED[name][0]), dtype=md.float64)

    def mixture(*parameters):
        md.manual_seed(1)  # the same noise each time: what is left depends on the parameters alone
        return (getattr(D, name)(*parameters).rsample((7,)) * weights).sum()

    given = [md.tensor(p, dtype=md.float64, requires_grad=True) for p in REPARAMETERIZED[name]]
    mixture(*given).backward()
    for p in given:
        direction = md.randn(*p.shape, dtype=md.float64)
        if p.dim() == 2:
            direction = direction + direction.T  # a covariance stays symmetric
        step = 1e-6 * direction
        ends = [mixture(*(q + s * step if q is p else q for q in given)) for s in (1, -1)]
        assert (p.grad * direction).sum().item() == pytest.approx((ends[0] - ends[1]).item() / 2e-6, rel=1e-6)


def test_log_prob_has_gradients():
    logits = md.tensor([[0.1, 0.2, 0.3]], requires_grad=True)
    (-D.Categorical(logits=logits).log_prob(md.tensor([2])) * 1.5).sum().backward()
    p = np.exp([0.1, 0.2, 0.3]) / np.exp([0.1, 0.2, 0.3]).sum()
    np.testing.assert_allclose(logits.grad.numpy(), 1.5 * (p - [0, 0, 1])[None], rtol=1e-5)


PAIRS = {
    "Normal": lambda m: [m.distributions.Normal(m.tensor([a]), m.tensor([b])) for a, b in ((0.5, 1.5), (-1.0, 0.4))],
    "LogNormal": lambda m: [
        m.distributions.LogNormal(m.tensor([a]), m.tensor([b])) for a, b in ((0.5, 1.5), (1.0, 0.4))
    ],
    "Laplace": lambda m: [m.distributions.Laplace(m.tensor([a]), m.tensor([b])) for a, b in ((0.5, 1.5), (-1.0, 0.4))],
    "Exponential": lambda m: [m.distributions.Exponential(m.tensor([a])) for a in (0.5, 2.0)],
    "Uniform": lambda m: [m.distributions.Uniform(m.tensor([a]), m.tensor([b])) for a, b in ((0.0, 1.0), (-1.0, 2.0))],
    "Gamma": lambda m: [m.distributions.Gamma(m.tensor([a]), m.tensor([b])) for a, b in ((0.5, 1.5), (3.0, 0.4))],
    "HalfNormal": lambda m: [m.distributions.HalfNormal(m.tensor([a])) for a in (0.5, 2.0)],
    "Gumbel": lambda m: [m.distributions.Gumbel(m.tensor([a]), m.tensor([b])) for a, b in ((0.5, 1.5), (-1.0, 0.4))],
    "Pareto": lambda m: [m.distributions.Pareto(m.tensor([a]), m.tensor([b])) for a, b in ((0.5, 1.5), (3.0, 4.0))],
    "Beta": lambda m: [m.distributions.Beta(m.tensor([a]), m.tensor([b])) for a, b in ((0.5, 1.5), (3.0, 0.4))],
    "Dirichlet": lambda m: [m.distributions.Dirichlet(m.tensor(a)) for a in ([0.5, 1.5], [3.0, 0.4])],
    "MultivariateNormal": lambda m: [
        m.distributions.MultivariateNormal(m.tensor(a), m.tensor(b))
        for a, b in (([0.5, 1.5], [[2.0, 0.6], [0.6, 1.0]]), ([3.0, 0.4], [[1.0, 0.0], [0.0, 3.0]]))
    ],
    "Bernoulli": lambda m: [m.distributions.Bernoulli(m.tensor([a])) for a in (0.5, 0.2)],
    "Binomial": lambda m: [m.distributions.Binomial(4, m.tensor([a])) for a in (0.5, 0.2)],
    "Geometric": lambda m: [m.distributions.Geometric(m.tensor([a])) for a in (0.5, 0.2)],
    "Poisson": lambda m: [m.distributions.Poisson(m.tensor([a])) for a in (0.5, 2.0)],
    "Categorical": lambda m: [m.distributions.Categorical(m.tensor(a)) for a in ([0.5, 0.5, 0.0], [0.2, 0.3, 0.5])],
    "OneHotCategorical": lambda m: [m.distributions.OneHotCategorical(m.tensor(a)) for a in ([0.5, 0.5], [0.2, 0.8])],
    "Independent": lambda m: [
        m.distributions.Independent(m.distributions.Normal(m.full((3,), a), m.ones(3)), 1) for a in (0.0, 1.0)
    ],
}


@pytest.mark.parametrize("name", PAIRS)
def test_divergences_against_pytorch(name):
    torch = pytest.importorskip("torch")
    (p, q), (P, Q) = PAIRS[name](md), PAIRS[name](torch)
    close(D.kl_divergence(p, q), torch.distributions.kl_divergence(P, Q))
    close(D.kl_divergence(q, p), torch.distributions.kl_divergence(Q, P))
    close(D.kl_divergence(p, p), torch.distributions.kl_divergence(P, P), atol=1e-6)


def test_divergences_that_nobody_wrote_and_ones_own(monkeypatch):
    class Mine(D.Normal):
        pass

    class Other(D.Distribution):
        pass

    with pytest.raises(NotImplementedError, match=r"Normal and q type Uniform.*estimate"):
        D.kl_divergence(D.Normal(0.0, 1.0), D.Uniform(0.0, 1.0))
    assert D.kl_divergence(Mine(0.0, 1.0), D.Normal(0.0, 1.0)).item() == 0.0
    monkeypatch.setattr(D.kl, "_FORMULAS", dict(D.kl._FORMULAS))
    D.register_kl(D.Normal, Other)(lambda p, q: p.loc + 7)
    assert D.kl_divergence(Mine(1.0, 1.0), Other()).item() == 8.0


def test_small_concentrations_give_no_nan():
    """Gamma draws of so small a shape are below the least float; their ratios are not."""
    a = 1e-3
    x = D.Dirichlet(md.full((3,), a)).sample((2000,)).numpy()
    assert np.isfinite(x).all() and np.abs(x.sum(-1) - 1).max() < 1e-5
    # nearly always one class has all: each with probability 1/3, to five standard errors
    assert (np.abs((x > 0.5).mean(0) - 1 / 3) < 5 * math.sqrt(2 / 9 / 2000)).all()
    y = D.Beta(a, a).sample((2000,)).numpy()
    assert np.isfinite(y).all() and abs((y > 0.5).mean() - 0.5) < 5 * math.sqrt(0.25 / 2000)
    g = D.Gamma(a, 1.0).sample((2000,))
    assert bool((g > 0).all()) and bool(D.Gamma(a, 1.0).log_prob(g).isfinite().all())


def test_classes_that_cannot_come():
    logits = md.tensor([-math.inf, 0.0, 0.0])
    for make in (D.Categorical, D.OneHotCategorical):
        assert make(logits=logits).entropy().item() == pytest.approx(math.log(2))
    assert D.OneHotCategorical(logits=logits).log_prob(md.tensor([0.0, 1.0, 0.0])).item() == pytest.approx(-math.log(2))
    assert D.OneHotCategorical(logits=logits).log_prob(md.tensor([1.0, 0.0, 0.0])).item() == -math.inf


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: D.Normal(0.0, -1.0), "scale .*GreaterThan"),
        (lambda: D.Uniform(1.0, 0.0), "low >= high"),
        (lambda: D.Bernoulli(1.5), "probs|Interval"),
        (lambda: D.Bernoulli(0.5, logits=0.0), "not both"),
        (lambda: D.Categorical(), "not both"),
        (lambda: D.Categorical(md.tensor([-1.0, 2.0])), "probs"),
        (lambda: D.Poisson(-1.0), "rate"),
        (lambda: D.MultivariateNormal(md.zeros(2), md.tensor([[1.0, 2.0], [2.0, 1.0]])), "PositiveDefinite"),
        (lambda: D.MultivariateNormal(md.zeros(2)), "Exactly one"),
        (lambda: D.Uniform(0.0, 1.0).log_prob(md.tensor(2.0)), "within the support"),
        (lambda: D.Bernoulli(0.5).log_prob(md.tensor(0.5)), "within the support"),
        (lambda: D.Categorical(md.ones(3)).log_prob(md.tensor(3)), "within the support"),
        (lambda: D.Independent(D.Normal(0.0, 1.0), 1), "reinterpreted_batch_ndims"),
        (lambda: D.MultivariateNormal(md.zeros(3), md.eye(3)).log_prob(md.zeros(1)), r"event shape \(3,\).*got \(1,\)"),
        (lambda: D.Normal(md.zeros(3), md.ones(3)).log_prob(md.zeros(2)), r"batch shape \(3,\), got \(2,\)"),
        (lambda: D.Normal(0.0, 1.0).log_prob(0.0), "must be a Tensor, got float"),
        (lambda: D.Exponential(1.0).cdf(md.tensor(-1.0)), "within the support"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_expanding_and_printing():
    expanded = D.Normal(md.zeros(1), md.ones(1)).expand((4, 3))
    assert expanded.batch_shape == (4, 3) and expanded.sample((2,)).shape == (2, 4, 3)
    vectors = D.MultivariateNormal(md.zeros(2), md.eye(2)).expand((5,))
    assert vectors.batch_shape == (5,) and vectors.log_prob(md.zeros(5, 2)).shape == (5,)
    assert repr(D.Normal(0.0, 1.0)) == "Normal(loc: 0.0, scale: 1.0)"
    assert repr(D.Categorical(md.ones(3))) == "Categorical(probs: (3,))"


def test_the_mode_of_a_kumaraswamy_variable():
    distribution = D.Kumaraswamy(md.tensor(1.5), md.tensor(3.0))
    x = md.linspace(0.01, 0.99, 99)
    assert abs(x[distribution.log_prob(x).argmax()].item() - distribution.mode.item()) < 0.01


TRANSFORMS = {
    "exp": (lambda d: d.ExpTransform(), [0.3, -1.2]),
    "affine": (lambda d: d.AffineTransform(1.0, -2.0), [0.3, -1.2]),
    "affine of vectors": (lambda d: d.AffineTransform(1.0, -2.0, event_dim=1), [[0.3, -1.2]]),
    "power": (lambda d: d.PowerTransform(2.5), [0.3, 1.2]),
    "sigmoid": (lambda d: d.SigmoidTransform(), [0.3, -1.2]),
    "tanh": (lambda d: d.TanhTransform(), [0.3, -1.2]),
    "softplus": (lambda d: d.SoftplusTransform(), [0.3, -1.2]),
    "stick": (lambda d: d.StickBreakingTransform(), [[0.3, -1.2]]),
    "inverse": (lambda d: d.ExpTransform().inv, [0.3, 1.2]),
    "independent": (lambda d: d.IndependentTransform(d.ExpTransform(), 1), [[0.3, -1.2]]),
    "several": (lambda d: d.ComposeTransform([d.AffineTransform(0.5, 2.0), d.SigmoidTransform()]), [0.3, -1.2]),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_against_pytorch(name):
    torch = pytest.importorskip("torch")
    make, value = TRANSFORMS[name]
    ours, theirs = make(D), make(torch.distributions)
    x, X = md.tensor(value), torch.tensor(value)
    y = ours(x)
    close(y, theirs(X))
    close(ours.inv(y), x)
    close(ours.log_abs_det_jacobian(x, y), theirs.log_abs_det_jacobian(X, theirs(X)))
    assert ours.bijective == theirs.bijective and ours.sign == theirs.sign if ours.domain.event_dim == 0 else True
    assert tuple(ours.forward_shape((4, 3))) == tuple(theirs.forward_shape((4, 3)))
    assert make(D) == ours and ours != D.AbsTransform()


def test_what_a_transform_remembers_is_exact():
    squashed = D.TransformedDistribution(D.Normal(0.0, 20.0), D.TanhTransform(cache_size=1))
    y = squashed.sample((100,))
    assert bool(squashed.log_prob(y).isfinite().all())  # atanh(1) would be infinite
    with pytest.raises(ValueError, match="cache_size"):
        D.TanhTransform(cache_size=2)
    with pytest.raises(NotImplementedError, match="not one to one"):
        D.TransformedDistribution(D.Normal(0.0, 1.0), D.AbsTransform()).cdf(md.tensor(1.0))


def test_gradients_of_draws_by_their_concentration():
    """d E[x] / da = 1 for Gamma(a, 1): the mean of the implicit gradients, to five standard errors."""
    a = md.tensor(2.5, requires_grad=True)
    x = D.Gamma(a, 1.0).rsample((N,))
    (x.sum() / N).backward()
    slopes = md.autograd.grad(D.Gamma(b := md.full((N,), 2.5, requires_grad=True), 1.0).rsample().sum(), b)[0].numpy()
    assert abs(slopes.mean() - 1) < 5 * slopes.std() / math.sqrt(N) and abs(a.grad.item() - 1) < 0.05
    with pytest.raises(NotImplementedError, match="cannot be differentiated again"):
        md.autograd.grad(D.Gamma(a, 1.0).rsample(), a, create_graph=True)


def test_a_straight_through_class_has_the_gradient_of_the_probabilities():
    logits = md.tensor([0.1, 0.5], requires_grad=True)
    distribution = D.OneHotCategoricalStraightThrough(logits=logits)
    draw = distribution.rsample()
    assert sorted(draw.tolist()) == pytest.approx([0, 1], abs=1e-6)
    draw[0].backward()
    p = distribution.probs.detach().numpy()
    np.testing.assert_allclose(logits.grad.numpy(), [p[0] * p[1], -p[0] * p[1]], rtol=1e-5)


def test_constraints_of_users():
    class Positive(D.Distribution):
        arg_constraints = {"low": D.constraints.real}

        def __init__(self, low):
            self.low = low
            super().__init__(low.shape)

        @D.constraints.dependent_property(is_discrete=False, event_dim=0)
        def support(self):
            return D.constraints.greater_than(self.low)

    assert Positive(md.zeros(1)).support.check(md.ones(1)).item()
    assert D.constraints.is_dependent(Positive.support) and not D.constraints.is_dependent(D.constraints.real)
    assert D.constraints.half_open_interval(0, 1).check(md.tensor([0.0, 1.0])).tolist() == [True, False]
    assert D.constraints.lower_triangular.check(md.ones(2, 2)).item() is False
