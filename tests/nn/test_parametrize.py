"""Parametrizations and the older weight and spectral normalization, against PyTorch."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest

import minidl as md
from minidl import nn

torch = pytest.importorskip("torch")
pytest.importorskip("torch.nn.utils.parametrizations")


def parametrizations(lib):
    class Symmetric(lib.nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).transpose(-1, -2)

        def right_inverse(self, x):
            return x.triu()

    class Doubled(lib.nn.Module):
        def forward(self, x):
            return x * 2

        def right_inverse(self, x):
            return x / 2

    class Split(lib.nn.Module):
        def forward(self, a, b):
            return a + b

        def right_inverse(self, x):
            return x / 4, x * 3 / 4

    return Symmetric(), Doubled(), Split()


def story(lib):
    """What is seen of a layer while its tensors are parametrized, assigned to, and made plain again."""
    P, layer, seen = lib.nn.utils.parametrize, lib.nn.Linear(3, 3), []

    def look():
        seen.append(
            (repr(layer), list(layer.state_dict()), [n for n, _ in layer.named_parameters()], type(layer).__name__)
        )

    symmetric, doubled, split = parametrizations(lib)
    P.register_parametrization(layer, "weight", symmetric)
    P.register_parametrization(layer, "weight", doubled)
    P.register_parametrization(layer, "bias", split)
    look()
    seen.append(
        (P.is_parametrized(layer), P.is_parametrized(layer, "bias"), P.type_before_parametrizations(layer).__name__)
    )
    layer.weight = lib.eye(3) * 4
    layer.bias = lib.ones(3) * 8
    seen.append([p.tolist() for p in layer.parameters()] + [layer.weight.tolist(), layer.bias.tolist()])
    P.remove_parametrizations(layer, "weight")
    look()
    P.remove_parametrizations(layer, "bias")
    look()
    seen.append([layer.weight.tolist(), layer.weight.requires_grad, P.is_parametrized(layer)])
    layer = P.register_parametrization(lib.nn.Linear(3, 3), "weight", doubled)
    layer.weight = lib.eye(3)
    seen.append(P.remove_parametrizations(layer, "weight", leave_parametrized=False).weight.tolist())
    return seen


def test_registering_and_removing_as_pytorch():
    assert story(md) == story(torch)


def test_what_cannot_be_parametrized():
    P, layer = nn.utils.parametrize, nn.Linear(2, 3)
    symmetric, _, split = parametrizations(md)
    before = layer.weight.tolist()
    with pytest.raises(ValueError, match="parametrized element with name 'foo'"):
        P.register_parametrization(layer, "foo", symmetric)
    with pytest.raises(ValueError, match="does not have a parametrization on weight"):
        P.remove_parametrizations(layer, "weight")
    with pytest.raises(ValueError, match="may not change the shape"):
        P.register_parametrization(layer, "weight", nn.Flatten(0))
    assert type(layer) is nn.Linear and layer.weight.tolist() == before  # as if nothing had been tried
    P.register_parametrization(layer, "bias", split)
    with pytest.raises(ValueError, match="sequence of tensors"):
        P.remove_parametrizations(layer, "bias", leave_parametrized=False)
    P.register_parametrization(layer, "weight", nn.ReLU())
    with pytest.raises(RuntimeError, match="does not implement right_inverse"):
        layer.weight = md.ones(3, 2)


def test_copies_do_not_share_what_is_removed():
    layer = nn.utils.parametrize.register_parametrization(nn.Linear(2, 2), "weight", parametrizations(md)[1])
    other = copy.deepcopy(layer)
    nn.utils.parametrize.remove_parametrizations(layer, "weight")
    assert type(other).__name__ == "ParametrizedLinear" and other.weight.shape == (2, 2)


def test_cached_computes_once():
    calls = []

    class Counted(nn.Module):
        def forward(self, x):
            calls.append(1)
            return x * 2

    layer = nn.utils.parametrize.register_parametrization(nn.Linear(2, 2), "weight", Counted(), unsafe=True)
    calls.clear()
    with nn.utils.parametrize.cached():
        assert layer.weight is layer.weight
    assert len(calls) == 1 and layer.weight is not layer.weight and len(calls) == 3


def compare(theirs, ours, shape, tolerance=3e-5):
    """Same text, same keys; same values and gradients over some steps, from the same state."""
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({name: md.tensor(t.numpy()) for name, t in theirs.state_dict().items()})
    rng = np.random.default_rng(0)
    for _ in range(2):
        x = rng.standard_normal(shape).astype(np.float32)
        expected, result = theirs(torch.tensor(x)), ours(md.tensor(x))
        np.testing.assert_allclose(result.detach().numpy(), expected.detach().numpy(), rtol=1e-4, atol=tolerance)
        cotangent = rng.standard_normal(expected.shape).astype(np.float32)
        theirs.zero_grad()
        ours.zero_grad()
        (expected * torch.tensor(cotangent)).sum().backward()
        (result * md.tensor(cotangent)).sum().backward()
        for p, q in zip(theirs.parameters(), ours.parameters(), strict=True):
            np.testing.assert_allclose(q.grad.numpy(), p.grad.numpy(), rtol=1e-3, atol=10 * tolerance)


@pytest.mark.parametrize("dim", [0, 1, None, -2])
def test_weight_norm(dim):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's older form says that it is older
        for their_utils, our_utils in (
            (torch.nn.utils.parametrizations, nn.utils.parametrizations),
            (torch.nn.utils, nn.utils),
        ):
            compare(
                their_utils.weight_norm(torch.nn.Linear(3, 4), dim=dim),
                our_utils.weight_norm(nn.Linear(3, 4), dim=dim),
                (2, 3),
            )


@pytest.mark.parametrize(
    "layer, shape",
    [
        (lambda lib: lib.nn.Linear(3, 4), (2, 3)),
        (lambda lib: lib.nn.Conv2d(3, 4, 2), (2, 3, 4, 4)),
        (lambda lib: lib.nn.ConvTranspose2d(3, 4, 2), (2, 3, 4, 4)),
    ],
)
def test_spectral_norm(layer, shape):
    compare(
        torch.nn.utils.parametrizations.spectral_norm(layer(torch)),
        nn.utils.parametrizations.spectral_norm(layer(md)),
        shape,
    )
    compare(torch.nn.utils.spectral_norm(layer(torch)), nn.utils.spectral_norm(layer(md)), shape)


def test_spectral_norm_divides_by_the_largest_singular_value():
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 5), n_power_iterations=30)
    assert np.linalg.svd(layer.weight.detach().numpy())[1][0] == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="n_power_iterations"):
        nn.utils.parametrizations.spectral_norm(nn.Linear(4, 5), n_power_iterations=0)
    with pytest.raises(IndexError, match="out of range"):
        nn.utils.parametrizations.spectral_norm(nn.Linear(4, 5), dim=2)


def test_older_norms_are_removed():
    layer = nn.Linear(3, 4)
    before = layer.weight.detach().numpy().copy()
    nn.utils.weight_norm(layer)
    with pytest.raises(RuntimeError, match="two weight_norm hooks"):
        nn.utils.weight_norm(layer)
    nn.utils.remove_weight_norm(layer)
    np.testing.assert_allclose(layer.weight.detach().numpy(), before, rtol=1e-6)
    nn.utils.spectral_norm(layer)
    layer(md.ones(1, 3))
    nn.utils.remove_spectral_norm(layer)
    assert list(layer.state_dict()) == ["bias", "weight"] and layer.weight.requires_grad
    for remove in (nn.utils.remove_weight_norm, nn.utils.remove_spectral_norm):
        with pytest.raises(ValueError, match="not found"):
            remove(layer)


def test_files_of_the_older_weight_norm_are_read():
    old, new = nn.utils.weight_norm(nn.Linear(3, 4)), nn.utils.parametrizations.weight_norm(nn.Linear(3, 4))
    new.load_state_dict(old.state_dict())
    np.testing.assert_allclose(new.weight.detach().numpy(), old.weight.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("map", [None, "matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("sizes", [(3, 3), (3, 5), (5, 3)])
@pytest.mark.parametrize("use_trivialization", [True, False])
def test_orthogonal(map, sizes, use_trivialization):
    if not use_trivialization and map != "householder":
        layer = nn.utils.parametrizations.orthogonal(nn.Linear(3, 5), orthogonal_map="cayley", use_trivialization=False)
        with pytest.raises(NotImplementedError, match="not possible to assign"):
            layer.weight = md.zeros(5, 3)
        return
    options = {"orthogonal_map": map, "use_trivialization": use_trivialization}
    theirs = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(*sizes), **options)
    ours = nn.utils.parametrizations.orthogonal(nn.Linear(*sizes), **options)
    w = ours.weight.detach().numpy()
    np.testing.assert_allclose(w @ w.T if sizes[0] >= sizes[1] else w.T @ w, np.eye(min(sizes)), atol=1e-5)
    compare(theirs, ours, (2, sizes[0]), tolerance=2e-4)  # PyTorch's matrix_exp in float32 is ten times less exact
    ours.weight = ours.weight.detach()
    np.testing.assert_allclose(ours.weight.detach().numpy(), ours.weight.detach().numpy(), atol=1e-5)


def test_orthogonal_keeps_the_first_value_of_an_orthogonal_matrix():
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0].astype(np.float32)
    layer = nn.Linear(4, 4)
    layer.weight.data = md.tensor(q)
    np.testing.assert_allclose(nn.utils.parametrizations.orthogonal(layer).weight.detach().numpy(), q, atol=1e-6)
    with pytest.raises(ValueError, match="orthogonal_map"):
        nn.utils.parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="foo")
    with pytest.raises(ValueError, match="1 dimensions"):
        nn.utils.parametrizations.orthogonal(nn.Linear(2, 2), "bias")
