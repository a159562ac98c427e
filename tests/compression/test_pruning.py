"""Masks: what they keep, that no optimizer gets past them, and where PyTorch's pruning does the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl as md
from minidl import compression, nn, optim
from minidl.nn.utils import prune


def mlp(*sizes):
    layers = [layer for pair in zip(sizes, sizes[1:], strict=False) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def zeros_of(model):
    return [(m.weight == 0).numpy() for m, _ in compression.weights(model)]


OPTIMIZERS = {
    "adam": lambda p: optim.Adam(p, lr=1e-2),
    "adamw": lambda p: optim.AdamW(p, lr=1e-2, weight_decay=0.1),
    "sgd": lambda p: optim.SGD(p, lr=1e-2, momentum=0.9, weight_decay=1e-2, nesterov=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_masks_survive_200_steps_of_an_optimizer_that_has_moments_already(name):
    model, x = mlp(6, 10, 3), md.randn(32, 6)
    y = md.randint(0, 3, (32,))
    optimizer = OPTIMIZERS[name](model.parameters())

    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    for _ in range(20):  # moments for every weight, also for those that go
        step()
    compression.prune_to(compression.weights(model), 0.7)
    pruned, before = zeros_of(model), model[0].weight.detach().clone()
    for _ in range(200):
        step()
    model(x)
    after = zeros_of(model)
    assert all((a == b).all() for a, b in zip(pruned, after, strict=True))
    assert (model[0].weight != before).sum() == (~pruned[0]).sum()  # the others all moved
    assert ((model[0].weight_orig != 0).numpy() & pruned[0]).any()  # behind the mask momentum goes on
    compression.make_permanent(model)
    assert all((a == b).all() for a, b in zip(pruned, zeros_of(model), strict=True))
    assert not prune.is_pruned(model) and set(model.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(0, 4), st.integers(1, 4), st.integers(1, 4), st.data())
def test_n_of_m_is_exact(m, extra, groups, rows, data):
    n = data.draw(st.integers(1, m))
    dim = data.draw(st.integers(0, 1))
    shape = (rows, groups * m) if dim else (groups * m, rows)
    layer = nn.Linear(shape[1], shape[0], bias=False)
    layer.weight.data = md.from_numpy(
        np.random.default_rng(extra).integers(-2, 3, shape).astype(np.float32)
    )  # ties, zeros
    weight = layer.weight.detach().numpy().copy()
    compression.nm(layer, "weight", n, m, dim)
    mask = layer.weight_mask.numpy()
    kept, value = (np.moveaxis(a, dim, 1).reshape(rows, groups, m) for a in (mask, np.abs(weight)))
    assert (kept.sum(-1) == n).all()
    lost = np.where(kept == 0, value, -np.inf).max(-1)
    assert (np.where(kept == 1, value, np.inf).min(-1) >= lost).all()


def test_n_of_m_of_what_is_pruned_already_keeps_no_more():
    layer = prune.l1_unstructured(nn.Linear(8, 8), "weight", 0.7)
    before = layer.weight_mask.clone()
    compression.nm(layer, "weight", 2, 4)
    assert ((layer.weight_mask == 1) <= (before == 1)).all() and layer.weight_mask.reshape(-1, 4).sum(1).max() <= 2
    conv = compression.nm(nn.Conv2d(8, 3, 3), "weight", 1, 4)
    assert (conv.weight_mask.reshape(3, 2, 4, 3, 3).sum(2) == 1).all()


def test_n_of_m_messages():
    with pytest.raises(ValueError, match=r"2:4 pruning: dim 1 must be a multiple of 4 long, got shape \[3, 6\]"):
        compression.nm(nn.Linear(6, 3), "weight", 2, 4)
    with pytest.raises(ValueError, match="0 < n <= m; got 5:4"):
        compression.NM(5, 4)


def test_shares_are_of_the_whole_as_pytorch_prunes_once():
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch.nn.utils.prune")
    theirs = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.Flatten(), torch.nn.Linear(12, 7))
    for scope in ("layer", "global"):
        ours = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 7))
        reference = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.Flatten(), torch.nn.Linear(12, 7))
        reference.load_state_dict(theirs.state_dict())
        ours.load_state_dict({name: md.tensor(t.numpy()) for name, t in theirs.state_dict().items()})
        for share in (0.2, 0.5, 0.5, 0.9):  # in steps, and once more of the same
            compression.prune_to(compression.weights(ours), share, scope)
        pairs = [(reference[0], "weight"), (reference[2], "weight")]
        if scope == "global":
            torch.nn.utils.prune.global_unstructured(pairs, torch.nn.utils.prune.L1Unstructured, amount=0.9)
        else:
            for pair in pairs:
                torch.nn.utils.prune.l1_unstructured(*pair, 0.9)
        for i in (0, 2):
            np.testing.assert_array_equal(ours[i].weight_mask.numpy(), reference[i].weight_mask.numpy())
        assert compression.sparsity(compression.weights(ours)) == pytest.approx(0.9, abs=0.01)


def test_prune_to_messages_and_nothing():
    model = mlp(4, 4)
    with pytest.raises(ValueError, match="amount is a share from 0 to 1, got 1"):
        compression.prune_to(compression.weights(model), 1.5)
    with pytest.raises(ValueError, match='scope is "layer" or "global", got \'all\''):
        compression.prune_to(compression.weights(model), 0.5, "all")
    compression.prune_to([], 0.5, "global")
    compression.prune_to(compression.weights(model), 0.0)
    assert not prune.is_pruned(model) and compression.sparsity([]) == 0.0


def test_a_mask_can_be_set_and_set_again():
    layer, mask = nn.Linear(3, 2), md.tensor([[1.0, 0, 1], [0, 0, 1]])
    compression.set_mask(layer, "weight", mask)
    assert ((layer.weight != 0) == (mask == 1)).all()
    compression.set_mask(layer, "weight", 1 - mask)
    assert ((layer.weight != 0) == (mask == 0)).all()
    with pytest.raises(ValueError, match=r"the mask \[3\] must have the shape of weight, \[2, 3\]"):
        compression.set_mask(layer, "weight", md.ones(3))


def test_a_pruned_model_can_be_copied_after_a_pass():
    model = mlp(4, 5, 2)
    compression.prune_to(compression.weights(model), 0.5)
    model(md.ones(1, 4)).sum().backward()
    twin = compression.copy_of(model)
    x = md.randn(3, 4)
    assert (twin(x) == model(x)).all() and twin[0].weight_orig is not model[0].weight_orig


@pytest.mark.parametrize("other_widths", [{}, {"kdim": 6, "vdim": 10}])
def test_pruned_heads_say_nothing_and_learn_nothing(other_widths):
    attention = nn.MultiheadAttention(8, 4, batch_first=True, add_bias_kv=True, **other_widths)
    nn.init.normal_(attention.in_proj_bias)
    compression.heads(attention, 0.5)
    q, k, v = (md.randn(2, 5, w) for w in (8, *(other_widths.values() or (8, 8))))
    output = attention(q, k, v)[0]
    output.pow(2).sum().backward()
    projection = attention.v_proj_weight if other_widths else attention.in_proj_weight[16:]
    dead = (projection.reshape(4, -1) == 0).all(1)
    assert dead.sum() == 2
    # the output layer's weights of these heads do not matter
    with md.no_grad():
        attention.out_proj.weight.reshape(8, 4, 2).permute(1, 0, 2)[dead] = 7.0
        columns = dead.reshape(4, 1).expand(4, 2).reshape(8)
        attention.out_proj.weight[:, columns] = 7.0
        np.testing.assert_allclose(attention(q, k, v)[0].numpy(), output.detach().numpy(), atol=1e-6)
    with pytest.raises(ValueError, match="must leave at least one of 4 heads, got 4"):
        compression.heads(attention, 4)


def test_the_output_layer_of_attention_is_not_offered():
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    assert [m for m, _ in compression.weights(layer)] == [layer.linear1, layer.linear2]


@pytest.mark.parametrize(
    ("block", "amount", "kept"), [((2, 4), 0.5, 8), ((4, 2), 5, 11), ((8, 16), 0.0, 1), ((1, 1), 1.0, 0)]
)
def test_blocks_that_are_nearest_to_zero_go(block, amount, kept):
    layer = nn.Linear(16, 8)
    magnitudes = np.abs(layer.weight.detach().numpy())
    assert compression.blocks(layer, "weight", amount, block) is layer
    R, C = block
    per_block = layer.weight_mask.numpy().reshape(8 // R, R, 16 // C, C).swapaxes(1, 2).reshape(-1, R * C)
    assert set(per_block.sum(1)) <= {0, R * C} and per_block[:, 0].sum() == kept
    sums = magnitudes.reshape(8 // R, R, 16 // C, C).sum((1, 3)).reshape(-1)
    stays = per_block[:, 0] == 1
    assert sums[stays].min(initial=np.inf) >= sums[~stays].max(initial=0)


def test_pruned_blocks_stay_zero_under_adam_and_count_again():
    layer = compression.blocks(nn.Linear(16, 8), "weight", 0.25, (4, 4))
    optimizer = md.optim.Adam(layer.parameters(), 0.1, weight_decay=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        layer(md.randn(4, 16)).square().sum().backward()
        optimizer.step()
    first = layer.weight_mask.clone()
    layer(md.randn(4, 16))
    assert compression.sparsity([(layer, "weight")]) == 0.25 and (layer.weight[first == 0] == 0).all()
    compression.blocks(layer, "weight", 0.5, (4, 4))
    assert compression.sparsity([(layer, "weight")]) == 0.5 and (layer.weight_mask[first == 0] == 0).all()


def test_messages_of_block_pruning():
    with pytest.raises(ValueError, match=r"a matrix of blocks \(16, 16\) is wanted, got shape \[8, 16\]"):
        compression.blocks(nn.Linear(16, 8), "weight", 0.5)
    with pytest.raises(ValueError, match=r"a matrix of blocks \(1, 1\) is wanted, got shape \[3, 2, 3, 3\]"):
        compression.blocks(nn.Conv2d(2, 3, 3), "weight", 0.5, (1, 1))
    with pytest.raises(ValueError, match="5 blocks are to be pruned, and there are 4"):
        compression.blocks(nn.Linear(4, 4), "weight", 5, (2, 2))
    for amount, block in ((1.5, (2, 2)), (-1, (2, 2)), (0.5, (0, 2))):
        with pytest.raises(ValueError, match=r"share from 0\.0 to 1\.0 and block two positive sizes"):
            compression.Blocks(amount, block)
