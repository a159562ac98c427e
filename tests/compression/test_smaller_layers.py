"""Layers that are really smaller: without channels, in CSR, of low rank; and what students learn from teachers."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl as md
from minidl import compression, nn
from minidl.compression import SparseLinear
from minidl.compression.channels import links
from minidl.nn.utils import prune
from minidl.utils.flop_counter import FlopCounterMode


def networks():
    yield nn.Sequential(nn.Linear(7, 10), nn.ReLU(), nn.Linear(10, 6, bias=False), nn.Tanh(), nn.Linear(6, 3)), (5, 7)
    yield (
        nn.Sequential(
            *(nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
            nn.Sequential(nn.Conv2d(8, 6, 3, stride=2, bias=False), nn.BatchNorm2d(6), nn.GELU(), nn.Dropout2d(0.1)),
            *(nn.Flatten(), nn.Linear(54, 9), nn.BatchNorm1d(9), nn.SiLU(), nn.Linear(9, 4)),
        ),
        (4, 2, 16, 16),
    )
    yield (
        nn.Sequential(nn.Conv1d(2, 6, 3), nn.LeakyReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 2)),
        (3, 2, 9),
    )


@pytest.mark.parametrize("which", range(3))
def test_removed_channels_leave_what_the_masked_network_computes(which):
    model, shape = list(networks())[which]
    for _ in range(3):  # running estimates
        model(md.randn(*shape))
    compression.prune_channels(model, 0.5)
    optimizer = md.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(3):
        model(md.randn(*shape)).pow(2).sum().backward()
        optimizer.step()
    model.eval()
    small = compression.remove_channels(model)
    x = md.randn(*shape)
    np.testing.assert_allclose(small(x).detach().numpy(), model(x).detach().numpy(), atol=1e-5)
    for before, after in zip(links(model), links(small), strict=True):
        channels = len(before.layer.weight)
        assert len(after.layer.weight) == channels - round(channels / 2)
    assert not prune.is_pruned(small) and prune.is_pruned(model)
    small(x).sum().backward()
    assert all(p.grad.shape == p.shape for p in small.parameters())
    again = list(networks())[which][0]  # the printed sizes are those of the weights
    for link, other in zip(links(small), links(again), strict=True):
        compression.keep_channels(again, {other.path: range(len(link.layer.weight))})
    assert repr(again) == repr(small)
    again.load_state_dict(small.state_dict())


def test_a_channel_that_training_killed_goes_too_but_one_stays():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with md.no_grad():
        model[0].weight.zero_()
        model[0].bias.zero_()
    x = md.randn(5, 3)
    small = compression.remove_channels(model)
    assert small[0].out_features == 1 and (small(x) == model(x)).all()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 3)), "1 is a LayerNorm, through which channels cannot be"),
        (nn.Sequential(nn.Linear(3, 3), nn.Sigmoid(), nn.Linear(3, 3)), "1 is a Sigmoid"),
        (nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, groups=2)), "1 is a convolution in 2 groups"),
        (nn.Sequential(nn.Linear(3, 4), nn.Linear(3, 3)), "0 has 4 outputs and 1 3 inputs"),
        (nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, affine=False), nn.Linear(3, 3)), "1 is a normalization without weights"),
        (nn.TransformerEncoderLayer(4, 2), "expected a Sequential, got TransformerEncoderLayer"),
        (nn.Sequential(nn.Linear(3, 1), nn.Linear(1, 3)), "amount 0.9 must leave a channel of the 1 of 0"),
    ],
)  # fmt: skip
def test_structures_that_are_not_understood_are_refused_and_left_alone(model, message):
    with pytest.raises(ValueError, match=message):
        compression.prune_channels(model, 0.9)
    assert not prune.is_pruned(model)


# ---------------------------------------------------------------------------------------------------------------------
# CSR


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(1, 40), st.integers(0, 9), st.booleans(), st.floats(0, 1))
def test_a_csr_layer_computes_what_the_pruned_layer_does(inputs, outputs, batch, bias, amount):
    layer = prune.l1_unstructured(nn.Linear(inputs, outputs, bias=bias), "weight", amount)
    csr = SparseLinear.from_linear(layer)
    assert (csr.weight.to_dense() == layer.weight).all()
    for lead in ((), (batch,), (batch, 2), (1,)):
        x = md.randn(*lead, inputs)
        np.testing.assert_allclose(csr(x).detach().numpy(), layer(x).detach().numpy(), atol=1e-5)


def test_gradients_of_a_csr_layer_are_those_of_the_weights_that_are_left():
    layer = prune.l1_unstructured(nn.Linear(6, 5), "weight", 0.6)
    csr = SparseLinear.from_linear(layer)
    x = md.randn(7, 6)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    for _ in range(2):  # twice: nothing of the first graph is held
        for module, given_ in zip((layer, csr), inputs, strict=True):
            module(given_).pow(2).sum().backward()
    np.testing.assert_allclose(inputs[1].grad.numpy(), inputs[0].grad.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(csr.bias.grad.numpy(), layer.bias.grad.numpy(), rtol=1e-4, atol=1e-4)
    expected = layer.weight_orig.grad.numpy()[layer.weight_mask.numpy() == 1]
    np.testing.assert_allclose(csr.values.grad.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_the_state_of_a_csr_layer_is_small_and_loads_into_any_other():
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
    compression.prune_to(compression.weights(model), 0.9)
    csr = compression.to_csr(model)
    assert prune.is_pruned(model) and [type(m) for m in csr] == [SparseLinear, nn.ReLU, SparseLinear]
    assert csr[0].col_indices.dtype is md.int16 and SparseLinear(40_000, 1).col_indices.dtype is md.int32
    file = io.BytesIO()
    md.save(csr.state_dict(), file)
    # a tenth of the weights in 6 of 4 bytes, row pointers and biases of 192 outputs in 8, and the file's header
    assert len(file.getvalue()) < 0.1 * 2 * 64 * 128 * 6 + 192 * 8 + 1500
    file.seek(0)
    other = nn.Sequential(SparseLinear(64, 128), nn.ReLU(), SparseLinear(128, 64, nnz=3))
    other[0](md.randn(2, 64))  # has looked at its empty pattern
    other.load_state_dict(md.load(file))
    x = md.randn(5, 64)
    assert (other(x) == csr(x)).all()
    np.testing.assert_allclose(csr(x).detach().numpy(), model(x).detach().numpy(), atol=1e-5)


def test_layers_with_few_zeros_stay_dense():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    compression.prune_to([(model[0], "weight")], 0.75)
    assert [type(m) for m in compression.to_csr(model)] == [SparseLinear, nn.Linear]
    assert [type(m) for m in compression.to_csr(model, least=0.8)] == [nn.Linear, nn.Linear]
    assert type(compression.to_csr(model[0])) is SparseLinear


def test_a_csr_layer_in_double_precision_and_its_messages():
    layer = prune.l1_unstructured(nn.Linear(4, 3), "weight", 0.5)
    csr = SparseLinear.from_linear(layer)
    x = md.randn(2, 4)
    expected = csr(x).detach()
    np.testing.assert_allclose(csr.double()(x.double()).detach().numpy(), expected.numpy(), atol=1e-6)
    with pytest.raises(
        RuntimeError, match=r"expected a torch.float64 input \(\*, 4\), got torch.float32 of shape \[2, 4\]"
    ):
        csr(x)
    with pytest.raises(RuntimeError, match=r"input \(\*, 4\), got torch.float64 of shape \[2, 3\]"):
        csr(md.zeros(2, 3, dtype=md.float64))
    with md.no_grad():
        csr.col_indices.fill_(9)
    broken = SparseLinear(4, 3)
    broken.load_state_dict(csr.state_dict())
    with pytest.raises(RuntimeError, match="0 <= col_indices < 4"):
        broken(x)


@pytest.mark.parametrize("block", [(2, 3), (4, 1), (8, 6), (16, 16)], ids=str)
def test_a_layer_in_blocks_computes_what_the_pruned_layer_does(block):
    R, C = block
    layer = compression.blocks(nn.Linear(3 * C, 5 * R), "weight", 0.6, block)
    sparse = SparseLinear.from_linear(layer, block)
    assert sparse.values.shape == (6, R, C) and (sparse.weight.to_dense() == layer.weight).all()
    assert sparse.weight.layout is md.sparse_bsr and f"nnz=6, block={block}, bias=True" in repr(sparse)
    for lead in ((), (7,), (3, 2), (1,), (0,)):
        inputs = [md.randn(*lead, 3 * C).requires_grad_()]
        inputs.append(inputs[0].detach().requires_grad_())
        layer.zero_grad(), sparse.zero_grad()
        outputs = [module(x) for module, x in zip((layer, sparse), inputs, strict=True)]
        np.testing.assert_allclose(outputs[1].detach().numpy(), outputs[0].detach().numpy(), atol=1e-5)
        for y in outputs:
            y.pow(2).sum().backward()
        np.testing.assert_allclose(inputs[1].grad.numpy(), inputs[0].grad.numpy(), rtol=1e-4, atol=1e-4)
        places = sparse.weight.sampled(layer.weight_orig.grad)
        np.testing.assert_allclose(sparse.values.grad.numpy(), places.numpy(), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(sparse.bias.grad.numpy(), layer.bias.grad.numpy(), rtol=1e-4, atol=1e-4)


def test_layers_in_blocks_of_a_model():
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32), nn.Linear(32, 10), nn.Linear(10, 16))
    compression.blocks(model[0], "weight", 0.75)
    compression.prune_to([(model[2], "weight")], 0.75)  # zeros, but not in blocks
    bsr = compression.to_bsr(model)
    assert [type(m) for m in bsr] == [SparseLinear, nn.ReLU, nn.Linear, nn.Linear, nn.Linear]
    assert type(compression.to_bsr(model[0], least=0.75)) is SparseLinear
    assert type(compression.to_bsr(model[0], least=0.8)) is type(compression.to_bsr(model[0], (48, 16))) is nn.Linear
    x, file = md.randn(5, 64), io.BytesIO()
    np.testing.assert_allclose(bsr(x).detach().numpy(), model(x).detach().numpy(), atol=1e-5)
    md.save(bsr[0].state_dict(), file)
    file.seek(0)
    other = SparseLinear(64, 128, block=(16, 16))
    other.load_state_dict(md.load(file))
    assert (other(x) == bsr[0](x)).all() and other.col_indices.dtype is md.int16
    optimizer = md.optim.Adam(other.parameters(), 0.1)
    other(x).square().sum().backward()
    optimizer.step()
    assert not (other(x) == bsr[0](x)).any() and other.weight._nnz() == 8
    np.testing.assert_allclose(other.double()(x.double()).detach().numpy(), nn.functional.linear(
        x.double(), other.weight.to_dense(), other.bias).detach().numpy(), atol=1e-10)  # fmt: skip
    with pytest.raises(ValueError, match=r"a weight \(10, 32\) does not consist of blocks \(16, 16\)"):
        SparseLinear.from_linear(model[3], (16, 16))
    with pytest.raises(RuntimeError, match="size mismatch"):
        SparseLinear(64, 128, block=(8, 8)).load_state_dict(bsr[0].state_dict())


def test_a_csr_layer_on_the_device(device):
    csr = SparseLinear.from_linear(prune.l1_unstructured(nn.Linear(6, 4), "weight", 0.5))
    x = md.randn(3, 6)
    expected = csr(x).detach()
    csr(x).sum().backward()
    gradient = csr.values.grad.clone()
    csr.zero_grad()
    csr.to(device)
    y = csr(x.to(device))
    y.sum().backward()
    np.testing.assert_allclose(y.detach().cpu().numpy(), expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(csr.values.grad.cpu().numpy(), gradient.numpy(), atol=1e-5)


def test_multiply_adds_of_sparse_products():
    layer = prune.l1_unstructured(nn.Linear(10, 20), "weight", 0.5)
    csr, x = SparseLinear.from_linear(layer), md.randn(3, 10, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        csr(x).sum().backward()
    found = counter.get_flop_counts()["Global"]
    # forward, and the gradient of the dense side; the gradient of the values
    assert found["SparseMM"] == 2 * (2 * 100 * 3) and found["SampledMM"] == 2 * 100 * 3


def test_break_even_is_between_the_measurements_where_the_times_cross():
    made = compression.BreakEven(4, 4, 1, [0.5, 0.8, 0.9], dense=[2.0, 2.0, 2.0], csr=[5.0, 3.0, 1.0])
    assert made.crossing == pytest.approx(0.85)
    assert compression.BreakEven(4, 4, 1, [0.5, 0.9], [1.0, 1.0], [2.0, 1.5]).crossing is None
    assert compression.BreakEven(4, 4, 1, [0.5, 0.9], [1.0, 1.0], [0.5, 0.4]).crossing == 0.5


def test_break_even_measures_and_draws(tmp_path):
    seen = []
    found = compression.break_even(32, 24, 4, [0.5, 0.9], rounds=2, on_measured=lambda *row: seen.append(row))
    assert [row[0] for row in seen] == found.sparsities == [0.5, 0.9]
    assert min(*found.dense, *found.csr) > 0
    found.plot(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000
    with pytest.raises(ValueError, match=r"must rise within \[0, 1\]"):
        compression.break_even(sparsities=[0.9, 0.5])


# ---------------------------------------------------------------------------------------------------------------------
# Low rank


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0.05, 0.9), st.booleans())
def test_the_budget_is_kept_and_one_rank_less_would_break_it(inputs, outputs, budget, bias):
    layer = nn.Linear(inputs, outputs, bias=bias)
    pair, rank, error = compression.factorize(layer, budget)
    weight = layer.weight.detach().numpy().astype(np.float64)
    product = pair[1].weight.detach().numpy().astype(np.float64) @ pair[0].weight.detach().numpy()
    assert np.linalg.norm(product - weight) / np.linalg.norm(weight) == pytest.approx(error, abs=1e-5)
    assert error <= budget + 1e-6 and pair[0].out_features == rank
    s = np.linalg.svd(weight, compute_uv=False)
    assert rank == 1 or np.sqrt((s[rank - 1 :] ** 2).sum() / (s**2).sum()) > budget
    assert (pair[1].bias is not None) == bias


def test_a_convolution_of_full_rank_is_the_same():
    conv = nn.Conv2d(3, 8, 3, stride=2, padding=2, dilation=2, padding_mode="reflect")
    pair, rank, error = compression.factorize(conv, 0.0)
    x = md.randn(2, 3, 9, 9)
    assert (rank, error) == (8, 0) and pair(x).shape == conv(x).shape
    np.testing.assert_allclose(pair(x).detach().numpy(), conv(x).detach().numpy(), atol=1e-5)
    assert compression.factorize(conv, rank=2)[1] == 2


def test_only_layers_that_get_smaller_are_replaced():
    model = nn.Sequential(nn.Linear(30, 30), nn.ReLU(), nn.Linear(30, 2))
    with md.no_grad():
        model[0].weight.copy_(md.randn(30, 3) @ md.randn(3, 30))
    small, changes = compression.low_rank(model, 1e-3)
    (change,) = changes
    assert (
        change.path == "0" and change.rank == 3 and (change.before, change.after) == (900, 180) and change.error < 1e-3
    )
    x = md.randn(4, 30)
    np.testing.assert_allclose(small(x).detach().numpy(), model(x).detach().numpy(), atol=1e-3)
    assert type(model[0]) is nn.Linear
    assert sum(p.numel() for p in small.parameters()) == sum(p.numel() for p in model.parameters()) - 720
    assert type(compression.low_rank(model[0], 1e-3)[0]) is nn.Sequential  # a layer alone


def test_messages_of_low_rank():
    assert compression.rank_for(md.zeros(3), 0.1) == (1, 0.0)
    with pytest.raises(TypeError, match="expected a Linear or a Conv2d, got ReLU"):
        compression.factorize(nn.ReLU())
    with pytest.raises(ValueError, match="rank must be from 1 to 3, got 4"):
        compression.factorize(nn.Linear(3, 5), rank=4)
    with pytest.raises(ValueError, match="in 2 groups"):
        compression.factorize(nn.Conv2d(4, 4, 3, groups=2))
    with pytest.raises(ValueError, match="from 0 to 1, got 2"):
        compression.rank_for(md.ones(2), 2)


# ---------------------------------------------------------------------------------------------------------------------
# Distillation


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_targets_as_pytorch_computes_them(temperature):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((6, 5)).astype(np.float32) * 3 for _ in range(2))
    labels = rng.integers(0, 5, 6)
    theirs = torch.tensor(a, requires_grad=True)
    soft = (
        F.kl_div(
            F.log_softmax(theirs / temperature, -1), F.softmax(torch.tensor(b) / temperature, -1), reduction="batchmean"
        )
        * temperature**2
    )
    expected = 0.7 * soft + 0.3 * F.cross_entropy(theirs, torch.tensor(labels))
    expected.backward()
    ours, teacher = md.tensor(a, requires_grad=True), md.tensor(b, requires_grad=True)
    loss = compression.distillation_loss(ours, teacher, md.tensor(labels), temperature, soft=0.7)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5) and teacher.grad is None
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), atol=1e-6)


def test_the_gradient_keeps_its_size_when_the_temperature_rises():
    logits, teacher = md.randn(50, 10), md.randn(50, 10)
    sizes = []
    for temperature in (20.0, 40.0):
        x = logits.clone().requires_grad_()
        compression.soft_target_loss(x, teacher, temperature).backward()
        sizes.append(float(x.grad.norm()))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)  # without the factor it would be a quarter


def test_features_are_matched_in_the_teachers_width():
    student, teacher = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), nn.Sequential(nn.Linear(4, 8), nn.Tanh())
    matching, x = compression.FeatureMatching(3, 8), md.randn(5, 4)
    with compression.features_of(student, ["0"]) as ours, compression.features_of(teacher, ["1"]) as theirs:
        student(x), teacher(x)
    loss = matching(ours["0"], theirs["1"])
    expected = ((matching.map(student[0](x)) - teacher(x)) ** 2).mean() / 2
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    assert (
        student[0].weight.grad is not None and teacher[0].weight.grad is None and matching.map.weight.grad is not None
    )
    assert not student[0]._forward_hooks
    images = compression.FeatureMatching(3, 6, images=True)
    assert images(md.randn(2, 3, 4, 4), md.randn(2, 6, 4, 4)).shape == ()


def test_messages_of_distillation():
    with pytest.raises(RuntimeError, match=r"logits \(\*, C\) of one shape, got \[2, 3\] and \[2, 4\]"):
        compression.soft_target_loss(md.zeros(2, 3), md.zeros(2, 4))
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        compression.soft_target_loss(md.zeros(2, 3), md.zeros(2, 3), 0)
    with pytest.raises(ValueError, match="from 0 to 1, got 2"):
        compression.distillation_loss(md.zeros(2, 3), md.zeros(2, 3), md.zeros(2).long(), soft=2)
    with pytest.raises(RuntimeError, match=r"became \[2, 8\], and the teacher's are \[2, 7\]"):
        compression.FeatureMatching(3, 8)(md.zeros(2, 3), md.zeros(2, 7))
    with pytest.raises(AttributeError, match="nothing"), compression.features_of(nn.Linear(2, 2), ["nothing"]):
        pass
