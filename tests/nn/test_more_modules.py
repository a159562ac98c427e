"""Bags of embeddings, the adaptive softmax, synchronized normalization, state hooks, functional_call, against PyTorch."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import minidl as md
from minidl import nn

torch = pytest.importorskip("torch")


def state_of(module):
    return {name: md.tensor(t.numpy()) for name, t in module.state_dict().items()}


def test_embedding_bag_module():
    options = {"mode": "sum", "max_norm": 1.0, "padding_idx": 2, "include_last_offset": True}
    theirs, ours = torch.nn.EmbeddingBag(6, 3, **options), nn.EmbeddingBag(6, 3, **options)
    assert repr(theirs) == repr(ours) and list(theirs.state_dict()) == list(ours.state_dict())
    assert ours.weight[2].tolist() == [0, 0, 0]
    ours.load_state_dict(state_of(theirs))
    index, offsets, factors = [1, 2, 5, 5, 0], [0, 3, 3, 5], [0.5, 1.0, 2.0, 1.0, 1.0]
    results = []
    for m, bag in ((torch, theirs), (md, ours)):
        out = bag(m.tensor(index), m.tensor(offsets), m.tensor(factors))
        (out * m.arange(9.0).reshape(3, 3)).sum().backward()
        results.append((out.detach().numpy(), bag.weight.detach().numpy(), bag.weight.grad.numpy()))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_empty_bags_are_zero(mode):
    out = nn.functional.embedding_bag(md.tensor([1]), md.ones(3, 2), md.tensor([0, 1, 1]), mode=mode)
    assert out.tolist() == [[1, 1], [0, 0], [0, 0]]
    nothing = nn.functional.embedding_bag(md.zeros(0, dtype=md.int64), md.ones(3, 2), md.tensor([0, 0]), mode=mode)
    assert nothing.tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    "arguments, options, error, match",
    [
        (([0, 1],), {}, ValueError, "offsets has to be a 1D"),
        (([[0, 1]], [0]), {}, ValueError, "leave offsets out"),
        (([0, 1], [1]), {}, RuntimeError, r"offsets\[0\] has to be 0"),
        (([0, 1], [0, 2, 1]), {}, RuntimeError, "must not fall"),
        (([0, 9], [0]), {}, IndexError, "out of range"),
        (([0, 1], [0]), {"mode": "min"}, ValueError, "sum, mean or max"),
        (([0, 1], [0]), {"per_sample_weights": [1.0, 2.0]}, NotImplementedError, "only mode='sum'"),
        (([0, 1], [0]), {"mode": "max", "scale_grad_by_freq": True}, ValueError, "frequency"),
        (([0, 1], [0]), {"padding_idx": 7}, RuntimeError, "padding_idx"),
    ],
)
def test_embedding_bag_errors(arguments, options, error, match):
    options = {k: md.tensor(v) if isinstance(v, list) else v for k, v in options.items()}
    index, *offsets = map(md.tensor, arguments)
    with pytest.raises(error, match=match):
        nn.functional.embedding_bag(index, md.ones(3, 2), *offsets, **options)


def test_pretrained_bags():
    frozen = nn.EmbeddingBag.from_pretrained(md.ones(3, 2), mode="sum")
    assert not frozen.weight.requires_grad and frozen(md.tensor([[0, 1]])).tolist() == [[2, 2]]


@pytest.mark.parametrize("head_bias", [True, False])
def test_adaptive_softmax(head_bias):
    arguments = 16, 50, [5, 20]
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(*arguments, head_bias=head_bias)
    ours = nn.AdaptiveLogSoftmaxWithLoss(*arguments, head_bias=head_bias)
    assert repr(theirs) == repr(ours) and list(theirs.state_dict()) == list(ours.state_dict())
    ours.load_state_dict(state_of(theirs))
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 16)).astype(np.float32), np.array([0, 7, 49, 4, 5, 19, 20, 3, 2, 1, 30, 6])
    a, b = theirs(torch.tensor(x), torch.tensor(y)), ours(md.tensor(x), md.tensor(y))
    np.testing.assert_allclose(b.output.detach().numpy(), a.output.detach().numpy(), rtol=1e-4)
    a.loss.backward()
    b.loss.backward()
    for p, q in zip(theirs.parameters(), ours.parameters(), strict=True):
        np.testing.assert_allclose(q.grad.numpy(), p.grad.numpy(), atol=1e-5)
    logs = ours.log_prob(md.tensor(x))
    np.testing.assert_allclose(logs.detach().numpy(), theirs.log_prob(torch.tensor(x)).detach().numpy(), atol=1e-4)
    np.testing.assert_allclose(logs.exp().sum(1).detach().numpy(), 1, rtol=1e-5)
    assert ours.predict(md.tensor(x)).tolist() == theirs.predict(torch.tensor(x)).tolist()
    assert ours(md.tensor(x[0]), md.tensor(7)).output.shape == ()


def test_adaptive_softmax_learns_the_clusters_that_came():
    softmax = nn.AdaptiveLogSoftmaxWithLoss(8, 50, [5, 20])
    softmax(md.ones(2, 8), md.tensor([1, 7])).loss.backward()
    assert softmax.tail[0][0].weight.grad is not None and softmax.tail[1][0].weight.grad is None


@pytest.mark.parametrize("cutoffs", [[], [20, 5], [5, 5], [0, 5], [5, 50], [2.5]])
def test_adaptive_softmax_errors(cutoffs):
    with pytest.raises(ValueError, match="cutoffs should be"):
        nn.AdaptiveLogSoftmaxWithLoss(8, 50, cutoffs)
    softmax = nn.AdaptiveLogSoftmaxWithLoss(8, 50, [5])
    with pytest.raises(RuntimeError, match=r"in \[0, 49\].*range \[1, 50\]"):
        softmax(md.ones(2, 8), md.tensor([1, 50]))
    with pytest.raises(RuntimeError, match="expected input"):
        softmax(md.ones(2, 8), md.tensor([1]))


def test_synchronized_normalization_of_one_process():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)))
    weight, x = model[1].weight, md.randn(2, 3, 5, 5)
    expected = copy.deepcopy(model[:2])(x)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert converted is model and type(model[1]) is nn.SyncBatchNorm and type(model[2][0]) is nn.SyncBatchNorm
    assert model[1].weight is weight
    np.testing.assert_array_equal(model[:2](x).detach().numpy(), expected.detach().numpy())
    assert repr(model[1]) == repr(torch.nn.SyncBatchNorm(4))
    with pytest.raises(ValueError, match="at least 2D"):
        nn.SyncBatchNorm(3)(md.ones(3))


def test_linear_cross_entropy_is_both_in_turn():
    loss = nn.LinearCrossEntropyLoss(4, 3, bias=True)
    x, y = md.randn(5, 4), md.tensor([0, 2, 1, 1, 0])
    both = nn.functional.cross_entropy(loss.linear(x), y)
    assert loss(x, y).item() == pytest.approx(both.item(), rel=1e-6)
    with pytest.raises(RuntimeError, match="expected weight shape"):
        nn.LinearCrossEntropyLoss(4, 3, weight=md.ones(2))
    with pytest.raises(RuntimeError, match=r"\(V, \.\.\., D\)"):
        nn.functional.linear_cross_entropy(x, md.ones(3, 5), y)


# ---------------------------------------------------------------------------------------------------------------------
# State


def story_of_hooks(lib):
    """What hooks around state_dict see and change."""
    seen = []

    class Layer(lib.nn.Linear):
        def get_extra_state(self):
            return {"note": 7}

        def set_extra_state(self, state):
            seen.append(("extra", state))

    model = lib.nn.Sequential(Layer(2, 2), lib.nn.ReLU())
    layer = model[0]
    layer.register_state_dict_pre_hook(lambda module, prefix, keep_vars: seen.append(("save", prefix, keep_vars)))
    layer.register_state_dict_post_hook(lambda module, state, prefix, meta: seen.append(("saved", list(state), prefix)))
    layer.register_load_state_dict_pre_hook(
        lambda module, state, prefix, *others: state.update(
            {f"{prefix}bias": state.pop(f"{prefix}b", state.get(f"{prefix}bias"))}
        )
    )
    layer._register_load_state_dict_pre_hook(
        lambda state, prefix, *others: seen.append(("load", sorted(state), prefix))
    )

    def forgive(module, keys):
        seen.append(tuple(keys))
        keys.missing_keys.clear()

    handle = model.register_load_state_dict_post_hook(forgive)
    state = model.state_dict()
    seen.append(list(state))
    renamed = {key.replace("bias", "b"): value for key, value in state.items()}
    model.load_state_dict(renamed)
    model.load_state_dict({k: v for k, v in renamed.items() if "weight" not in k})  # forgiven by the hook
    handle.remove()
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict({})
    return seen


def test_hooks_around_the_state():
    assert story_of_hooks(md) == story_of_hooks(torch)


def test_submodules_are_replaced():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2)))
    model.set_submodule("0.0", nn.ReLU())
    assert isinstance(model[0][0], nn.ReLU)
    with pytest.raises(AttributeError, match="no attribute `7`"):
        model.set_submodule("0.7", nn.ReLU(), strict=True)
    with pytest.raises(ValueError, match="expected a Module"):
        model.set_submodule("0.0", 3)


def test_hooks_with_keyword_arguments():
    seen, layer = [], nn.Linear(1, 1)
    layer.register_forward_pre_hook(lambda m, args, kwargs: seen.append(kwargs), with_kwargs=True)
    layer.register_forward_hook(lambda m, args, kwargs, out: seen.append(len(kwargs)), with_kwargs=True)
    layer.register_forward_pre_hook(lambda m, args: seen.append(args))
    x = md.ones(1, 1)
    layer(input=x)
    assert seen[0] == {"input": x} and seen[1:] == [(), 1]
    assert len(copy.deepcopy(layer)._forward_pre_hooks) == 2


# ---------------------------------------------------------------------------------------------------------------------
# Modules as functions


def test_functional_call():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    before = {name: t.clone() for name, t in model.state_dict().items()}
    parameters = {name: md.full(p.shape, 0.5, requires_grad=True) for name, p in model.named_parameters()}
    out = md.func.functional_call(model, parameters, (md.tensor([[1.0, 2.0], [3.0, 5.0]]),))
    out.sum().backward()
    assert parameters["0.weight"].grad is not None and model[0].weight.grad is None
    assert all(
        (model.state_dict()[name] == t).all() for name, t in before.items() if "weight" in name or "bias" in name
    )
    tied = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    tied[1].weight = tied[0].weight
    doubled = md.func.functional_call(tied, {"0.weight": 2 * md.eye(2)}, md.ones(1, 2), strict=True)
    assert doubled.tolist() == [[4, 4]]
    apart = md.func.functional_call(tied, [{"0.weight": 2 * md.eye(2)}, {"1.weight": md.eye(2)}], md.ones(1, 2))
    assert apart.tolist() == [[2, 2]]


def test_functional_call_errors():
    layer, x = nn.Linear(2, 2), md.ones(1, 2)
    with pytest.raises(KeyError, match="no parameter or buffer"):
        md.func.functional_call(layer, {"w": x}, x)
    with pytest.raises(RuntimeError, match=r"Missing key\(s\): \['bias'\]"):
        md.func.functional_call(layer, {"weight": md.eye(2)}, x, strict=True)
    with pytest.raises(ValueError, match="multiple dictionaries"):
        md.func.functional_call(layer, [{"weight": md.eye(2)}, {"weight": md.eye(2)}], x)
    weight = layer.weight
    with pytest.raises(RuntimeError):
        md.func.functional_call(layer, {"weight": md.ones(7, 7)}, x)
    assert layer.weight is weight  # put back all the same


def test_modules_without_initialisation():
    assert nn.utils.skip_init(nn.Linear, 2, 3).weight.shape == (3, 2)
    with pytest.raises(RuntimeError, match="'device' arg"):
        nn.utils.skip_init(nn.ReLU)


def test_gradients_of_convolutions_as_functions():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 4, 9)), rng.standard_normal((6, 2, 3))
    out = torch.nn.functional.conv1d(torch.tensor(x), torch.tensor(w), stride=2, groups=2)
    g = rng.standard_normal(out.shape)
    for m, results in ((torch, expected := []), (md, got := [])):
        results.append(m.nn.grad.conv1d_input(x.shape, m.tensor(w), m.tensor(g), stride=2, groups=2).numpy())
        results.append(m.nn.grad.conv1d_weight(m.tensor(x), w.shape, m.tensor(g), stride=2, groups=2).numpy())
    for a, b in zip(expected, got, strict=True):
        np.testing.assert_allclose(b, a, atol=1e-10)


def test_choices_of_attention_change_nothing():
    from minidl.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel([SDPBackend.MATH, SDPBackend.FLASH_ATTENTION]), md.backends.cuda.sdp_kernel(enable_flash=False):
        q = md.ones(1, 1, 2, 4)
        assert nn.functional.scaled_dot_product_attention(q, q, q).shape == q.shape
    with pytest.raises(TypeError, match="SDPBackend"), sdpa_kernel("math"):
        pass


def test_scattered_inputs():
    parts = nn.parallel.scatter({"x": md.arange(4), "n": 3}, ["cpu", "cpu"])
    assert [part["x"].tolist() for part in parts] == [[0, 1], [2, 3]] and parts[1]["n"] == 3
    assert len(nn.parallel.scatter([md.ones(4, 2), (md.ones(4),)], ["cpu"] * 2)) == 2
