"""When weights go and come: the cubic schedule, RigL, lottery tickets, proximal steps, winners."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl as md
from minidl import compression, nn, optim
from minidl.compression import cubic


def mlp(*sizes):
    layers = [layer for pair in zip(sizes, sizes[1:], strict=False) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 0.5), st.floats(0.5, 1), st.integers(0, 50), st.integers(1, 50))
def test_the_cubic_schedule_rises_from_its_first_value_to_its_last(initial, final, begin, length):
    end = begin + length
    values = [cubic(step, final, begin, end, initial) for step in range(end + 3)]
    assert values[: begin + 1] == pytest.approx([initial] * (begin + 1)) and values[end:] == pytest.approx([final] * 3)
    assert all(b >= a - 1e-12 for a, b in zip(values, values[1:], strict=False))


def test_the_formula_of_zhu_and_gupta():
    assert cubic(30, 0.9, 10, 50, 0.1) == pytest.approx(0.9 + (0.1 - 0.9) * (1 - 20 / 40) ** 3)
    with pytest.raises(ValueError, match="begin must come before end, got 3 and 3"):
        cubic(0, 0.5, 3, 3)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_gradual_pruning_follows_the_schedule(scope):
    model = mlp(10, 20, 10)
    pairs = compression.weights(model)
    pruning = compression.GradualPruning(pairs, 0.9, begin=2, end=12, every=4, initial=0.1, scope=scope)
    found, masks = [], []
    for _ in range(15):
        pruning.step()
        found.append(compression.sparsity(pairs))
        masks.append(compression.snapshot(model)["0.weight"] if not found[-1] else model[0].weight_mask.clone())
    wanted = {step: cubic(step, 0.9, 2, 12, 0.1) for step in (2, 6, 10, 12)}
    expected = [max((share for at, share in wanted.items() if at <= step), default=0.0) for step in range(1, 16)]
    assert found == pytest.approx(expected, abs=1e-2)
    late = masks[1:]
    assert all((b <= a).all() for a, b in zip(late, late[1:], strict=False))  # what is pruned stays pruned
    with pytest.raises(ValueError, match="0 <= initial <= final <= 1"):
        compression.GradualPruning(pairs, 0.5, 0, 10, initial=0.6)


# ---------------------------------------------------------------------------------------------------------------------
# RigL


def test_rigl_keeps_the_number_of_weights_and_moves_them():
    model = mlp(8, 16, 4)
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    rigl = compression.RigL(compression.weights(model), optimizer, 0.75, end=40, every=5, fraction=0.5)
    masks = [m.weight_mask for m, _ in compression.weights(model)]
    counts = [int(mask.sum()) for mask in masks]
    assert sum(counts) == round(0.25 * (8 * 16 + 16 * 4))
    x, y = md.randn(64, 8), md.randint(0, 4, (64,))
    moved, shares = [], []
    for step in range(1, 61):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        before = [mask.clone() for mask in masks]
        if rigl.step():
            moved.append(step)
            shares.append(sum(int((a != b).sum()) for a, b in zip(before, masks, strict=True)) // 2)
            came = (masks[0] == 1) & (before[0] == 0)
            weight, state = model[0].weight_orig, optimizer.state[model[0].weight_orig]
            assert (model[0].weight[came] == 0).all() and (weight[came] == 0).all()
            assert (state["exp_avg"][came] == 0).all() and (state["exp_avg_sq"][came] == 0).all()
        else:
            optimizer.step()
        assert [int(mask.sum()) for mask in masks] == counts
    assert moved == [5, 10, 15, 20, 25, 30, 35]
    assert shares[0] > 0 and sum(shares[:3]) > sum(shares[4:])  # fewer and fewer


def test_rigl_drops_the_smallest_and_grows_where_the_gradient_is_largest():
    layer = nn.Linear(4, 1, bias=False)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    rigl = compression.RigL(
        [(layer, "weight")], optimizer, 0.5, end=10**9, every=1, fraction=0.5, distribution="uniform"
    )
    compression.set_mask(layer, "weight", md.tensor([[1.0, 1, 0, 0]]))
    with md.no_grad():
        layer.weight_orig.copy_(md.tensor([[3.0, 0.1, 9.0, 9.0]]))
    layer(md.tensor([[1.0, 1.0, 5.0, 2.0]])).sum().backward()  # the gradient is the input
    assert rigl.step()
    assert layer.weight_mask.tolist() == [[1, 0, 1, 0]] and layer.weight.tolist() == [[3, 0, 0, 0]]


def test_the_share_that_moves_falls_along_a_cosine():
    layer = nn.Linear(100, 100, bias=False)
    rigl = compression.RigL(
        [(layer, "weight")], optim.SGD(layer.parameters(), lr=0.1), 0.5, end=8, every=2, distribution="uniform"
    )
    for step in range(1, 9):
        layer(md.randn(1, 100)).sum().backward()
        active = layer.weight_mask.clone()
        with md.no_grad():  # gradients are largest where nothing is: all that goes comes elsewhere
            if rigl._due(step):
                layer.weight.grad.copy_(1 - active)
        rigl.step()
        went = int((active - layer.weight_mask).clamp(0).sum())
        assert went == (int(5000 * 0.15 * (1 + math.cos(math.pi * step / 8))) if step in (2, 4, 6) else 0)


def test_rigl_messages():
    layer = nn.Linear(4, 4)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    rigl = compression.RigL([(layer, "weight")], optimizer, 0.5, end=10, every=1)
    with pytest.raises(RuntimeError, match=r"Linear.weight has no gradient; call step\(\) after backward\(\)"):
        rigl.step()
    with pytest.raises(ValueError, match="is pruned already"):
        compression.RigL([(layer, "weight")], optimizer, 0.5, end=10)
    with pytest.raises(ValueError, match=r"sparsity must be in \[0, 1\)"):
        compression.RigL([(layer, "bias")], optimizer, 1.0, end=10)
    with pytest.raises(ValueError, match="distribution"):
        compression.RigL([(layer, "bias")], optimizer, 0.5, end=10, distribution="erk")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=4), st.floats(0.0, 0.99))
def test_erdos_renyi_has_the_sparsity_that_was_asked_for(shapes, sparsity):
    shares = compression.erdos_renyi(shapes, sparsity)
    sizes = [math.prod(shape) for shape in shapes]
    assert sum(a * n for a, n in zip(shares, sizes, strict=True)) == pytest.approx(sparsity * sum(sizes), abs=1e-6)
    assert all(-1e-9 <= share <= 1 for share in shares)


# ---------------------------------------------------------------------------------------------------------------------
# Tickets and proximal steps


def test_rewinding_restores_the_first_values_under_the_mask():
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    start = compression.snapshot(model)
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(5):
        model(md.randn(16, 6)).pow(2).sum().backward()
        optimizer.step()
    compression.prune_to(compression.weights(model), 0.5)
    masks = [m.weight_mask.clone() for m, _ in compression.weights(model)]
    compression.rewind(model, start)
    for (module, _), mask, name in zip(compression.weights(model), masks, ("0.weight", "3.weight"), strict=True):
        assert (module.weight_mask == mask).all() and (module.weight == start[name] * mask).all()
    assert (model[1].running_mean == 0).all() and model[1].num_batches_tracked == 0
    plain = compression.snapshot(model)
    assert plain.keys() == start.keys() and all((plain[name] == start[name]).all() for name in start)
    with pytest.raises(KeyError, match=r"no '3.weight'"):
        compression.rewind(model, {k: v for k, v in start.items() if k != "3.weight"})
    with pytest.raises(RuntimeError, match=r"3.bias is \[3\] in the model and \[2\] in the snapshot"):
        compression.rewind(model, {**start, "3.bias": md.zeros(2)})


def test_proximal_steps_solve_the_lasso():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((40, 8)).astype(np.float32)
    b = a @ np.array([2, -1, 0, 0, 0.5, 0, 0, 0], np.float32) + 0.1 * rng.standard_normal(40).astype(np.float32)
    layer = nn.Linear(8, 1, bias=False)
    optimizer = optim.SGD(layer.parameters(), lr=0.2)
    handle = compression.proximal_l1(optimizer, 0.3)
    x, y = md.tensor(a), md.tensor(b)
    for _ in range(300):
        optimizer.zero_grad()
        (((layer(x).squeeze(1) - y) ** 2).mean() / 2).backward()
        optimizer.step()
    from sklearn.linear_model import Lasso

    reference = Lasso(alpha=0.3, fit_intercept=False, tol=1e-10).fit(a.astype(np.float64), b.astype(np.float64)).coef_
    np.testing.assert_allclose(layer.weight.detach().numpy()[0], reference, atol=1e-4)
    assert ((layer.weight.detach().numpy()[0] == 0) == (reference == 0)).all() and (reference == 0).sum() >= 4
    handle.remove()
    optimizer.step()
    assert (layer.weight != 0).all()  # the gradient alone: no zero is left


def test_proximal_steps_leave_biases_and_others_alone():
    layer = nn.Linear(3, 2)
    optimizer = optim.SGD([{"params": [layer.weight], "lr": 0.5}, {"params": [layer.bias], "lr": 100.0}], lr=0.1)
    compression.proximal_l1(optimizer, 1e-2)
    weight, bias = layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()
    for p in layer.parameters():
        p.grad = md.zeros_like(p)
    optimizer.step()
    expected = np.sign(weight) * np.maximum(np.abs(weight) - 0.005, 0)
    np.testing.assert_allclose(layer.weight.detach().numpy(), expected, atol=1e-7)
    np.testing.assert_array_equal(layer.bias.detach().numpy(), bias)
    with pytest.raises(ValueError, match="1 of params are no parameters of the optimizer"):
        compression.proximal_l1(optimizer, 1e-2, [md.zeros(2)])
    with pytest.raises(ValueError, match="weight must not be negative, got -1"):
        compression.proximal_l1(optimizer, -1)


# ---------------------------------------------------------------------------------------------------------------------
# k winners


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 3), st.data())
def test_exactly_k_win_along_any_dimension(a, b, c, data):
    dim, k = data.draw(st.integers(-3, 2)), 0
    x = md.randint(-2, 3, (a, b, c)).float()  # ties
    k = data.draw(st.integers(0, x.shape[dim]))
    won = nn.functional.kwinners(md.ones_like(x), k, dim, x)
    assert (won.sum(dim) == k).all()
    y = nn.functional.kwinners(x, k, dim)
    np.testing.assert_array_equal(y.sort(dim, descending=True).values.sum(dim), x.topk(k, dim).values.sum(dim))


def test_winners_as_pytorch_would_do_it():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((5, 9)).astype(np.float32)
    theirs, ours = torch.tensor(x, requires_grad=True), md.tensor(x, requires_grad=True)
    top = theirs.topk(4, 1)
    expected = torch.zeros(5, 9).scatter(1, top.indices, top.values)
    (expected**2).sum().backward()
    y = nn.functional.kwinners(ours, 4, 1)
    (y**2).sum().backward()
    np.testing.assert_array_equal(y.detach().numpy(), expected.detach().numpy())
    np.testing.assert_array_equal(ours.grad.numpy(), theirs.grad.numpy())


def test_boosting_lets_the_seldom_win():
    layer = nn.KWinners(4, 1, boost=5.0, momentum=0.1)
    x = md.tensor([[1.0, 0.9, 0.8, 0.7]])
    plain, boosted = set(), set()
    for _ in range(40):
        boosted.add(int(layer(x).argmax()))
        plain.add(int(layer.eval()(x).argmax()))
        layer.train()
    assert plain == {0} and boosted == {0, 1, 2, 3}
    assert layer.duty_cycle.sum() == pytest.approx(1, abs=1e-5)
    images = nn.KWinners(4, 0.5, dim=1, boost=1.0)
    assert ((images(md.randn(2, 4, 3, 3)) != 0).sum(1) == 2).all()


def test_messages_of_winners():
    with pytest.raises(RuntimeError, match=r"k must be from 0 to the size of dim 1, got k=4 for \[2, 3\]"):
        nn.functional.kwinners(md.zeros(2, 3), 4)
    with pytest.raises(RuntimeError, match=r"scores \[3\] must have the shape of input, \[2, 3\]"):
        nn.functional.kwinners(md.zeros(2, 3), 1, scores=md.zeros(3))
    with pytest.raises(ValueError, match="k must be from 1 to num_features"):
        nn.KWinners(4, 0)
    with pytest.raises(ValueError, match="boost must be from 0"):
        nn.KWinners(4, 1, boost=-1.0)
    with pytest.raises(RuntimeError, match=r"must have num_features=4 elements, got \[2, 3\]"):
        nn.KWinners(4, 1)(md.zeros(2, 3))
