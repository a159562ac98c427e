"""Pruning and fusion against PyTorch, step by step."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md
from minidl import nn

torch = pytest.importorskip("torch")
pytest.importorskip("torch.nn.utils.prune")


def network(lib):
    return lib.nn.Sequential(lib.nn.Conv2d(2, 3, 2), lib.nn.ReLU(), lib.nn.Flatten(), lib.nn.Linear(12, 4))


@pytest.fixture
def pair():
    theirs, ours = network(torch), network(md)
    ours.load_state_dict({name: md.tensor(t.numpy()) for name, t in theirs.state_dict().items()})
    return theirs, ours


STEPS = [
    lambda m, net: m.nn.utils.prune.l1_unstructured(net[0], "weight", 0.3),
    lambda m, net: m.nn.utils.prune.l1_unstructured(net[0], "weight", 2),
    lambda m, net: m.nn.utils.prune.ln_structured(net[0], "weight", 1, n=2, dim=0),
    lambda m, net: m.nn.utils.prune.ln_structured(net[3], "weight", 0.5, n=float("-inf"), dim=1),
    lambda m, net: m.nn.utils.prune.identity(net[3], "bias"),
    lambda m, net: m.nn.utils.prune.custom_from_mask(net[0], "bias", m.tensor([1, 0, 1])),
    lambda m, net: m.nn.utils.prune.l1_unstructured(
        net[3], "bias", 1, importance_scores=m.tensor([3.0, 1.0, 2.0, 4.0])
    ),
    lambda m, net: m.nn.utils.prune.global_unstructured(
        [(net[0], "weight"), (net[3], "weight")], m.nn.utils.prune.L1Unstructured, amount=0.2
    ),
    lambda m, net: [
        m.nn.utils.prune.remove(net[i], name) for i, name in ((0, "weight"), (0, "bias"), (3, "weight"), (3, "bias"))
    ],
]


def test_pruning_as_pytorch(pair):
    theirs, ours = pair
    weight, x = ours[0].weight, np.random.default_rng(0).standard_normal((2, 2, 3, 3)).astype(np.float32)
    for i, step in enumerate(STEPS):
        step(torch, theirs)
        step(md, ours)
        a, b = theirs.state_dict(), ours.state_dict()
        assert list(a) == list(b)
        for name in a:
            np.testing.assert_array_equal(b[name].numpy(), a[name].numpy(), err_msg=f"step {i}, {name}")
        np.testing.assert_allclose(
            ours(md.tensor(x)).detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), atol=1e-5
        )
        assert nn.utils.prune.is_pruned(ours) == torch.nn.utils.prune.is_pruned(theirs)
    assert ours[0].weight is weight  # an optimizer's parameter is still the module's


def test_the_history_of_a_tensor(pair):
    histories = []
    for m, net in zip((torch, md), pair, strict=True):
        for step in STEPS[:3]:
            step(m, net)
        (hook,) = net[0]._forward_pre_hooks.values()
        histories.append([type(method).__name__ for method in hook])
    assert histories[0] == histories[1] == ["L1Unstructured", "L1Unstructured", "LnStructured"]


def test_gradients_pass_where_nothing_is_pruned():
    layer = nn.utils.prune.l1_unstructured(nn.Linear(4, 3), "weight", 0.5)
    layer(md.ones(1, 4)).sum().backward()
    assert layer.weight_orig.grad.tolist() == layer.weight_mask.tolist()
    assert list(dict(layer.named_parameters())) == ["bias", "weight_orig"] and list(dict(layer.named_buffers())) == [
        "weight_mask"
    ]


def test_random_pruning():
    layer = nn.utils.prune.random_unstructured(nn.Linear(10, 10), "weight", 0.3)
    assert int((layer.weight_mask == 0).sum()) == 30
    layer = nn.utils.prune.random_structured(nn.Linear(10, 10), "weight", 4, dim=0)
    assert int((layer.weight_mask.sum(1) == 0).sum()) == 4


def test_methods_of_users():
    class EveryOther(nn.utils.prune.BasePruningMethod):
        PRUNING_TYPE = "unstructured"

        def compute_mask(self, t, default_mask):
            mask = default_mask.clone()
            mask.view(-1)[::2] = 0
            return mask

    layer = nn.Linear(2, 2)
    EveryOther.apply(layer, "weight")
    EveryOther.apply(layer, "weight")
    assert layer.weight_mask.tolist() == [[0, 0], [0, 1]]
    assert EveryOther().prune(md.tensor([1.0, 2.0])).tolist() == [0, 2]


@pytest.mark.parametrize(
    "prune, error, match",
    [
        (lambda m: m.nn.utils.prune.l1_unstructured(m.nn.Linear(2, 2), "weight", 9), ValueError, "smaller than"),
        (lambda m: m.nn.utils.prune.l1_unstructured(m.nn.Linear(2, 2), "weight", 1.5), ValueError, "range"),
        (lambda m: m.nn.utils.prune.l1_unstructured(m.nn.Linear(2, 2), "weight", "a"), TypeError, "Invalid type"),
        (lambda m: m.nn.utils.prune.ln_structured(m.nn.Linear(2, 2), "bias", 1, 2, 0), ValueError, "multidimensional"),
        (lambda m: m.nn.utils.prune.ln_structured(m.nn.Linear(2, 2), "weight", 1, 2, 5), IndexError, "Invalid index"),
        (lambda m: m.nn.utils.prune.remove(m.nn.Linear(2, 2), "weight"), ValueError, "has to be pruned"),
        (lambda m: m.nn.utils.prune.global_unstructured(
            [(m.nn.Linear(2, 2), "weight")], m.nn.utils.prune.LnStructured, amount=1, n=1), TypeError, "unstructured"),
    ],
)  # fmt: skip
def test_errors_as_pytorch(prune, error, match):
    for m in (torch, md):
        with pytest.raises(error, match=match):
            prune(m)


def test_a_failure_changes_nothing():
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="smaller than"):
        nn.utils.prune.l1_unstructured(layer, "weight", 9)
    assert list(layer.state_dict()) == ["weight", "bias"] and not layer._forward_pre_hooks


@pytest.mark.parametrize(
    "conv, bn, shape",
    [
        (lambda: nn.Conv2d(2, 3, 2, bias=False), lambda: nn.BatchNorm2d(3), (2, 2, 4, 4)),
        (lambda: nn.Conv1d(2, 3, 2), lambda: nn.BatchNorm1d(3, affine=False), (2, 2, 4)),
        (lambda: nn.ConvTranspose2d(2, 3, 2), lambda: nn.BatchNorm2d(3), (2, 2, 4, 4)),
        (lambda: nn.Linear(2, 3), lambda: nn.BatchNorm1d(3), (4, 2)),
    ],
)
def test_fusion(conv, bn, shape):
    layer, norm, x = conv(), bn(), md.randn(shape)
    norm(layer(x))  # running estimates that are not 0 and 1
    layer.eval(), norm.eval()
    options = {"transpose": True} if isinstance(layer, nn.ConvTranspose2d) else {}
    fuse = nn.utils.fuse_linear_bn_eval if isinstance(layer, nn.Linear) else nn.utils.fuse_conv_bn_eval
    fused = fuse(layer, norm, **options)
    np.testing.assert_allclose(fused(x).detach().numpy(), norm(layer(x)).detach().numpy(), atol=1e-5)
    with pytest.raises(AssertionError, match="Fusion only for eval"):
        fuse(layer.train(), norm, **options)
