"""Sparse gradients of tables: from embeddings through the engine into optimizers, held against PyTorch."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest

import minidl as md
from minidl import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:Sparse")

V, D = 7, 3
TABLE = np.random.default_rng(0).standard_normal((V, D)).astype(np.float32)


def table(m, **options):
    return m.nn.Embedding.from_pretrained(m.tensor(TABLE.copy()), freeze=False, sparse=True, **options)


def same(ours, theirs, tolerance=1e-6):
    assert str(ours.layout) == str(theirs.layout) and tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(
        ours.detach().to_dense().numpy(), theirs.detach().to_dense().numpy(), rtol=tolerance, atol=tolerance
    )
    if ours.is_sparse:
        ours, theirs = ours.coalesce(), theirs.coalesce()
        assert ours._indices().tolist() == theirs._indices().tolist()
        np.testing.assert_allclose(ours._values().numpy(), theirs._values().numpy(), rtol=tolerance, atol=tolerance)


def passes(*losses):
    """The gradient of a table after backward passes of these functions of (m, embedding), in minidl and in PyTorch."""
    grads = []
    for m in (md, torch):
        e = table(m)
        for loss in losses:
            loss(m, e).backward()
        grads.append(e.weight.grad)
    return grads


def looked_up(m, e):
    return (e(m.tensor([[1, 3], [3, 0]])) ** 2).sum()


def whole(m, e):
    return (e.weight**3).sum()


@pytest.mark.tiny
def test_the_gradient_stores_the_rows_looked_up():
    ours, theirs = passes(looked_up)
    same(ours, theirs)
    assert ours.is_sparse and not ours.is_coalesced() and ours._nnz() == 4
    merged = ours.coalesce()
    assert merged.indices().tolist() == [[0, 1, 3]]
    np.testing.assert_allclose(merged.values()[2].numpy(), 4 * TABLE[3], rtol=1e-6)


CASES = {
    "two passes": (looked_up, lambda m, e: e(m.tensor([5])).sum()),
    "sparse then dense": (looked_up, whole),
    "dense then sparse": (whole, looked_up),
    "both at once": (lambda m, e: looked_up(m, e) + whole(m, e),),
    "both at once, the other way": (lambda m, e: whole(m, e) + looked_up(m, e), looked_up, whole),
    "twice in one pass": (lambda m, e: looked_up(m, e) + e(m.tensor([2, 2])).sum(),),
    "shared with a linear layer": (lambda m, e: (e(m.tensor([1, 2])) @ e.weight.t()).tanh().sum(),),
    "of a scaled table": (
        lambda m, e: (m.nn.functional.embedding(m.tensor([1, 1]), e.weight * 2 / 3, sparse=True) ** 2).sum(),
    ),
    "of a function of the table": (
        lambda m, e: (m.nn.functional.embedding(m.tensor([1, 4]), -e.weight.sin(), sparse=True) ** 2).sum(),
    ),
    "nothing looked up": (lambda m, e: e(m.zeros(0, dtype=m.int64)).sum(),),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_accumulation_as_in_pytorch(name):
    same(*passes(*CASES[name]))


def test_padding_and_other_options():
    grads = []
    for m in (md, torch):
        e = table(m, padding_idx=3)
        (e(m.tensor([[1, 3], [3, 0]])) ** 2).sum().backward()
        grads.append(e.weight.grad)
    same(*grads)
    assert grads[0]._indices().tolist() == [[1, 0]]
    with pytest.raises(RuntimeError, match="scale_grad_by_freq not supported with sparse gradients"):
        table(md, scale_grad_by_freq=True)(md.tensor([1]))
    short = nn.Embedding(3, 2, max_norm=0.5, sparse=True)
    short(md.tensor([1])).sum().backward()
    assert short.weight.grad._nnz() == 1 and short.weight[1].norm() < 0.5001


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_bags(mode):
    grads = []
    for m in (md, torch):
        bag = m.nn.EmbeddingBag.from_pretrained(m.tensor(TABLE.copy()), freeze=False, mode=mode, sparse=True)
        factors = m.tensor([1.0, 2.0, 3.0, 4.0]) if mode == "sum" else None
        out = bag(m.tensor([1, 2, 4, 4]), m.tensor([0, 3]), per_sample_weights=factors)
        (out**2).sum().backward()
        grads.append(bag.weight.grad)
    same(*grads, 1e-5)
    with pytest.raises(ValueError, match="sparse"):
        nn.EmbeddingBag(3, 2, mode="max", sparse=True)(md.tensor([[1]]))


def test_what_needs_a_dense_gradient_says_so():
    e = table(md)
    with pytest.raises(TypeError, match=r"sparse gradient of shape \[7, 3\] arrived at a gradient rule .* 'matmul'"):
        md.nn.functional.embedding(md.tensor([1]), e.weight @ md.eye(3), sparse=True).sum().backward()
    with pytest.raises(AttributeError, match=r"for 'reshape': what is looked up with sparse=True must be a leaf"):
        md.nn.functional.embedding(md.tensor([1]), e.weight.reshape(3, 7), sparse=True).sum().backward()
    with pytest.raises(TypeError, match="for 'an array'"):
        md.nn.functional.embedding(md.tensor([1]), e.weight.clamp(0, 1), sparse=True).sum().backward()


def test_hooks_grad_and_second_derivatives():
    e, seen = table(md), []
    handle = e.weight.register_hook(lambda g: seen.append((g.layout, g._nnz())) or g * 2)
    looked_up(md, e).backward()
    assert seen == [(md.sparse_coo, 4)]
    np.testing.assert_allclose(e.weight.grad.to_dense().numpy()[1], 4 * TABLE[1], rtol=1e-6)
    handle.remove()
    (g,) = md.autograd.grad(looked_up(md, e), e.weight)
    assert g.is_sparse and g._nnz() == 4
    (g,) = md.autograd.grad((e(md.tensor([1, 1, 2])) ** 3).sum(), e.weight, create_graph=True)
    (h,) = md.autograd.grad((g.to_dense() ** 2).sum(), e.weight)
    np.testing.assert_allclose(h.to_dense().numpy()[1], 2 * (6 * TABLE[1] ** 2) * 12 * TABLE[1], rtol=1e-4)
    e.weight.grad = None
    (e(md.tensor([1, 1])) ** 3).sum().backward(create_graph=True)
    (e(md.tensor([1])) ** 3).sum().backward(create_graph=True)
    assert e.weight.grad.is_sparse and e.weight.grad.requires_grad
    with md.autograd.detect_anomaly(), pytest.raises(RuntimeError, match="EmbeddingBackward0 returned NaN"):
        out = table(md)(md.tensor([1]))
        out.register_hook(lambda g: g * float("nan"))
        out.sum().backward()


def test_each_table_has_a_gradient_of_its_own():
    a, b = table(md), table(md)
    (a(md.tensor([1, 2])) + b(md.tensor([1, 2]))).sum().backward()  # one gradient goes to both
    a.weight.grad._values().mul_(0)
    assert b.weight.grad._values().tolist() == [[1, 1, 1], [1, 1, 1]]


def test_zero_grad():
    e = table(md)
    looked_up(md, e).backward()
    e.zero_grad(set_to_none=False)
    assert e.weight.grad.is_sparse and e.weight.grad._nnz() == 0
    looked_up(md, e).backward()
    same(e.weight.grad, passes(looked_up)[1])
    e.zero_grad()
    assert e.weight.grad is None


OPTIMIZERS = {
    "SGD": {}, "SGD momentum": {"momentum": 0.9}, "SGD nesterov": {"momentum": 0.9, "nesterov": True},
    "SGD dampening": {"momentum": 0.9, "dampening": 0.3}, "SGD maximize": {"maximize": True, "momentum": 0.5},
    "Adagrad": {}, "Adagrad options": {"lr_decay": 0.1, "initial_accumulator_value": 0.2, "eps": 1e-3, "maximize": True},
    "SparseAdam": {}, "SparseAdam options": {"betas": (0.7, 0.9), "eps": 1e-3, "maximize": True},
}  # fmt: skip


def trained(m, name, steps, state=None):
    e = table(m)
    optimizer = getattr(m.optim, name.split()[0])(e.parameters(), lr=0.1, **OPTIMIZERS[name])
    for step in range(steps):
        optimizer.zero_grad()
        (e(m.tensor([[1, 3], [3, step % V]])) ** 2).sum().backward()
        optimizer.step()
    return e, optimizer


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_pytorchs(name):
    (ours, optimizer), (theirs, other) = trained(md, name, 6), trained(torch, name, 6)
    same(ours.weight, theirs.weight, 2e-6)
    (state,), (wanted,) = optimizer.state.values() or [{}], other.state.values() or [{}]
    assert set(state) == {k for k, v in wanted.items() if v is not None}
    for key, value in state.items():
        if isinstance(value, md.Tensor):
            assert str(value.layout) == str(wanted[key].layout)
            np.testing.assert_allclose(value.to_dense().numpy(), wanted[key].to_dense().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["SGD momentum", "SparseAdam"])
def test_training_goes_on_from_a_file(name):
    straight, _ = trained(md, name, 4)
    e, optimizer = trained(md, name, 2)
    file = io.BytesIO()
    md.save([e.state_dict(), optimizer.state_dict()], file)
    file.seek(0)
    saved = md.load(file)
    e2 = table(md)
    e2.load_state_dict(saved[0])
    again = getattr(md.optim, name.split()[0])(e2.parameters(), lr=0.5, **OPTIMIZERS[name])
    again.load_state_dict(saved[1])
    for step in (2, 3):
        again.zero_grad()
        (e2(md.tensor([[1, 3], [3, step % V]])) ** 2).sum().backward()
        again.step()
    np.testing.assert_array_equal(e2.weight.detach().numpy(), straight.weight.detach().numpy())
    assert copy.deepcopy(optimizer).state_dict()["param_groups"] == optimizer.state_dict()["param_groups"]


def test_in_float64_and_for_other_shapes():
    """The gradient of an element-wise look-up is sparse in every dimension."""
    w = md.zeros(4, 3, dtype=md.float64, requires_grad=True)
    w.grad = md.sparse_coo_tensor([[0, 3, 3], [1, 2, 2]], [1.0, 2.0, 3.0], (4, 3), dtype=md.float64)
    for name in ("SGD", "Adagrad", "SparseAdam"):
        with md.no_grad():
            w.zero_()
        getattr(md.optim, name)([w], lr=1.0).step()
        moved = w.detach().numpy()
        assert np.count_nonzero(moved) == 2 and moved[0, 1] < 0 and moved[3, 2] < 0
        assert name != "SGD" or (moved[0, 1], moved[3, 2]) == (-1, -5)


REFUSING = ["Adadelta", "Adafactor", "Adam", "AdamW", "Adamax", "ASGD", "Muon", "NAdam", "RAdam", "RMSprop", "Rprop"]


@pytest.mark.parametrize("name", REFUSING)
def test_other_optimizers_refuse(name):
    e = table(md)
    optimizer = getattr(md.optim, name)(e.parameters(), lr=0.1)
    looked_up(md, e).backward()
    with pytest.raises(RuntimeError, match=f"{name} does not support sparse gradients, please consider SparseAdam"):
        optimizer.step()


def test_refusals():
    e = table(md)
    looked_up(md, e).backward()
    for optimizer in (md.optim.SGD, md.optim.Adagrad):
        with pytest.raises(RuntimeError, match="not compatible with sparse gradients"):
            optimizer(e.parameters(), lr=0.1, weight_decay=0.1).step()
    dense = nn.Linear(2, 2)
    dense(md.ones(1, 2)).sum().backward()
    with pytest.raises(RuntimeError, match="SparseAdam does not support dense gradients, please consider Adam"):
        md.optim.SparseAdam(dense.parameters()).step()
    for options in ({"lr": 0.0}, {"eps": 0.0}, {"betas": (1.0, 0.9)}):
        with pytest.raises(ValueError, match="Invalid"):
            md.optim.SparseAdam(dense.parameters(), **options)


def test_lbfgs_takes_them_as_dense_ones():
    results = []
    for sparse in (True, False):
        e = nn.Embedding.from_pretrained(md.tensor(TABLE.copy()), freeze=False, sparse=sparse)
        optimizer = md.optim.LBFGS(e.parameters(), lr=0.1)

        def closure(e=e, optimizer=optimizer):
            optimizer.zero_grad()
            loss = looked_up(md, e)
            loss.backward()
            return loss

        optimizer.step(closure)
        results.append(e.weight.detach().numpy())
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-7)


def test_clipping():
    sparse, dense = table(md), nn.Embedding.from_pretrained(md.tensor(TABLE.copy()), freeze=False)
    for clip in (lambda p: nn.utils.clip_grad_norm_(p, 0.5), lambda p: nn.utils.clip_grad_norm_(p, 0.5, float("inf")),
                 lambda p: nn.utils.clip_grad_value_(p, 0.3)):  # fmt: skip
        norms = []
        for e in (sparse, dense):
            e.zero_grad()
            looked_up(md, e).backward()
            norms.append(clip(e.parameters()))
        np.testing.assert_allclose(
            sparse.weight.grad.to_dense().numpy(), dense.weight.grad.numpy(), rtol=1e-5, atol=1e-6
        )
        if norms[0] is not None:
            np.testing.assert_allclose(norms[0].item(), norms[1].item(), rtol=1e-5)


def test_scaled_gradients():
    e, scaler = table(md), md.amp.GradScaler("cpu", init_scale=8.0)
    optimizer = md.optim.SGD(e.parameters(), lr=1.0)
    scaler.scale(e(md.tensor([2])).sum()).backward()
    scaler.step(optimizer)
    np.testing.assert_allclose(e.weight.detach().numpy()[2], TABLE[2] - 1, rtol=1e-6)
