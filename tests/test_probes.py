"""Probes: the statistics are right, and a model that is looked at computes what it would without."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.nn import functional as F
from minidl.probes import Probe


def mlp():
    md.manual_seed(1)
    return nn.Sequential(
        nn.Linear(6, 8), nn.Tanh(), nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True)), nn.Linear(8, 3)
    )


def batch(n=16):
    md.manual_seed(2)
    return md.randn(n, 6), md.randint(0, 3, (n,))


def train(model, steps=3):
    """The losses and weights of a few steps of Adam, with dropout's and data's random numbers."""
    md.manual_seed(3)
    optimizer, losses = md.optim.Adam(model.parameters(), lr=0.01), []
    for _ in range(steps):
        x, y = md.randn(16, 6), md.randint(0, 3, (16,))
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, [p.tolist() for p in model.parameters()], md.get_rng_state().tolist()


def only(rows, **wanted):
    (row,) = [r for r in rows if all(r[k] == v for k, v in wanted.items())]
    return row


def test_nothing_changes_by_looking():
    def model():
        md.manual_seed(1)
        return nn.Sequential(
            *(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(inplace=True), nn.Dropout(0.3)),
            *(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 3)),
        )

    alone = train(model())
    looked_at = model()
    with Probe(looked_at):
        assert train(looked_at) == alone


def test_hooks_are_removed_even_after_an_error():
    model = mlp()
    with pytest.raises(RuntimeError), Probe(model):
        model(md.ones(2, 5))
    for module in model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks and not module._backward_hooks
    assert all(not p.grad_fn and not (p.node.hooks and p.node.hooks.pre) for p in model.parameters())


def test_moments_of_activations_and_gradients():
    model, (x, y) = mlp(), batch()
    with Probe(model) as probe:
        F.cross_entropy(model(x), y).backward()
    first = F.linear(x, model[0].weight, model[0].bias).detach().requires_grad_()
    hidden = model[2][0](first.tanh())
    F.cross_entropy(model[3](hidden.relu()), y).backward()
    row = only(probe.activations, layer="0")
    a, g = first.detach().numpy().astype(float), first.grad.numpy().astype(float)
    expected = {"mean": a.mean(), "std": a.std(), "rms": np.sqrt((a**2).mean()), "grad_mean": g.mean(),
                "grad_std": g.std(), "grad_rms": np.sqrt((g**2).mean())}  # fmt: skip
    assert {k: row[k] for k in expected} == pytest.approx(expected, rel=1e-5, abs=1e-9)
    assert only(probe.activations, layer="2.0")["zeros"] == 0, "seen before ReLU wrote into it"
    assert only(probe.activations, layer="2.1")["zeros"] == float((hidden.detach() <= 0).float().mean())
    assert probe.layers() == ["0", "1", "2.0", "2.1", "3"] and probe.grid().shape == (5, 1)
    assert probe.grid("grad_rms")[0, 0] == row["grad_rms"]


def test_updates_beside_weights():
    model, (x, y) = mlp(), batch()
    optimizer = md.optim.SGD(model.parameters(), lr=0.1)
    before = model[3].weight.detach().clone()
    with Probe(model) as probe:
        for _ in range(2):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            if probe.steps == 1:
                after = model[3].weight.detach().clone()
    row = only(probe.updates, step=0, parameter="3.weight")
    rms = lambda t: float((t.double() ** 2).mean() ** 0.5)  # noqa: E731
    assert row["weight_rms"] == pytest.approx(rms(before))
    assert row["update_rms"] == pytest.approx(rms(after - before)) == pytest.approx(0.1 * row["grad_rms"], rel=1e-4)
    assert row["ratio"] == pytest.approx(row["update_rms"] / row["weight_rms"])
    assert {r["step"] for r in probe.updates} == {0, 1} and len(probe.updates) == 2 * 6


def test_dead_and_saturated_units():
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2), nn.Tanh())
    with md.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(md.tensor([1.0, -1, -1, 1]))
        model[2].weight.zero_()
        model[2].bias.copy_(md.tensor([3.0, 0.1]))
    conv = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.Sigmoid())
    with md.no_grad():
        conv[0].weight.copy_(md.tensor([-1.0, 5.0]).reshape(2, 1, 1, 1))
    with Probe(model) as probe, Probe(conv) as channels:
        model(md.ones(5, 2))
        conv(md.ones(1, 1, 3, 3))
    assert only(probe.activations, layer="1")["dead"] == 0.5
    assert only(probe.activations, layer="3")["saturated"] == 0.5
    assert math.isnan(only(probe.activations, layer="1")["saturated"])
    assert only(channels.activations, layer="1")["dead"] == 0.5
    assert only(channels.activations, layer="2")["saturated"] == 0.5  # sigmoid(5) is, sigmoid(0) is not


class Net(nn.Module):
    """A shared layer, a recurrent one, attention, a function without a module, and a result that is a dict."""

    def __init__(self):
        super().__init__()
        self.embed, self.shared = nn.Embedding(5, 4), nn.Linear(4, 4)
        self.rnn, self.attention = nn.LSTM(4, 4, batch_first=True), nn.MultiheadAttention(4, 2, batch_first=True)
        self.unused = nn.Linear(1, 1)

    def forward(self, numbers):
        x = F.relu(self.shared(self.embed(numbers)))
        x, _ = self.rnn(self.shared(x))
        x, weights = self.attention(x, x, x)
        return {"best": x.argmax(-1), "x": x, "weights": weights}


def test_shared_and_nested_modules_and_results_of_several_parts():
    net = Net()
    with Probe(net) as probe:
        for _ in range(2):
            net(md.tensor([[1, 2, 3]]))["x"].sum().backward()
    assert probe.layers() == ["embed", "shared", "shared (2)", "rnn", "attention"]
    assert np.isfinite(probe.grid("rms")).all() and np.isfinite(probe.grid("grad_rms")).all()
    assert probe.grid().shape == (5, 2)
    with Probe(net, modules=["shared", ""]) as chosen:
        net(md.tensor([[1, 2, 3]]))
    assert chosen.layers() == ["shared", "shared (2)", "model"]
    assert only(chosen.activations, layer="model")["type"] == "Net"


def test_which_steps_are_recorded():
    model, (x, _) = mlp(), batch()
    with Probe(model, every=2) as probe:
        for _ in range(5):
            model(x)
            model.eval()
            model(x)
            model[0](x)
            model.train()
            model[0](x)  # a part alone is no call of the model
    assert sorted({row["step"] for row in probe.activations}) == [0, 2, 4] and len(probe.activations) == 3 * 5
    model.eval()
    with Probe(model, training_only=False) as all_calls, md.no_grad():
        model(x)
    assert all_calls.layers() == ["0", "1", "2.0", "2.1", "3"] and np.isnan(all_calls.grid("grad_rms")).all()


def test_the_table_and_the_picture(tmp_path):
    model = mlp()
    with Probe(model) as probe:
        train(model)
    table = probe.table()
    assert table.startswith("step 2") and "2.1 ReLU" in table and "3.weight" in table
    assert f"{probe.grid()[1, 2]:.3g}" in table and f"{probe.grid()[1, 0]:.3g}" in probe.table(0)
    figure = probe.plot()
    heat, depth, ratio = figure.axes[:3]
    np.testing.assert_array_equal(heat.images[0].get_array(), probe.grid())
    assert depth.get_yscale() == "log" and list(depth.lines[0].get_ydata()) == list(probe.grid()[:, -1])
    assert len(ratio.lines) == 3 + 1  # three matrices, and the rule of thumb
    figure.savefig(tmp_path / "probe.png")
    with Probe(model) as zeros, md.no_grad():
        for p in model.parameters():
            p.zero_()
        model(md.ones(2, 6))
    zeros.plot().savefig(tmp_path / "zeros.png")  # nothing that a logarithm could show


def test_mistakes_are_named():
    model = mlp()
    with pytest.raises(ValueError, match="no module 'fc'; named_modules"):
        Probe(model, modules=["fc"])
    with pytest.raises(ValueError, match="every must be at least 1"):
        Probe(model, every=0)
    with Probe(model) as probe:
        model.eval()(md.ones(2, 6))
    for ask in (probe.table, probe.plot, probe.grid):
        with pytest.raises(RuntimeError, match="nothing was recorded; call the model itself in training mode"):
            ask()
    with probe:
        model.train()(md.ones(2, 6))
    with pytest.raises(ValueError, match="step 7 was not recorded; there are: 0"):
        probe.table(7)
    with pytest.raises(ValueError, match="no statistic 'median'; there are: mean, std"):
        probe.grid("median")
