"""Tensors on the device: how they get there, what they are there, and what is refused."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.autograd.gradcheck import gradcheck, gradgradcheck
from minidl.nn import functional as F


def both(*shape, dtype=md.float32):
    """The same random numbers on the CPU and on the device."""
    md.manual_seed(1)
    x = md.randn(*shape, dtype=dtype)
    return x, x.cuda()


# ---------------------------------------------------------------------------------------------------------------------
# There and back


def test_there_and_back(device):
    x = md.arange(6.0).reshape(2, 3)
    for y in (
        x.cuda(),
        x.to(device),
        x.to("cuda:0"),
        x.to(0),
        x.to(device, non_blocking=True),
        x.to(md.ones(1).cuda()),
    ):
        assert y.is_cuda and y.device == md.device("cuda:0") and y.get_device() == 0 and x.get_device() == -1
        assert y.cpu().tolist() == x.tolist() and y.to(device) is y
    assert x.T.cuda().cpu().stride() == x.T.stride()
    half = x.to(device, md.float16)
    assert half.is_cuda and half.dtype is md.float16
    assert half.type() == "torch.cuda.HalfTensor" and x.type() == "torch.FloatTensor"


def test_gradients_cross_the_border(device):
    x = md.ones(3, requires_grad=True)
    (x.cuda() * md.arange(3.0, device=device)).sum().backward()
    assert x.grad.device.type == "cpu" and x.grad.tolist() == [0.0, 1.0, 2.0]


def test_values_come_to_python_when_they_are_asked_for(device):
    x = md.tensor([[1.0, 2.0]], device=device)
    assert x.tolist() == [[1.0, 2.0]] and x[0, 1].item() == 2.0 and float(x[0, 0]) == 1.0 and int(x.sum()) == 3
    assert bool((x > 0).all()) and 2.0 in x and 7.0 not in x and len(x) == 1
    assert [row.tolist() for row in x] == [[1.0, 2.0]]
    assert f"{x.sum():.1f}" == "3.0" and list(range(md.tensor(2, device=device))) == [0, 1]
    assert x.numpy(force=True).tolist() == x.tolist()


def test_nothing_comes_by_itself(device):
    x = md.ones(2, device=device)
    with pytest.raises(TypeError, match=r"Use tensor\.cpu\(\) first"):
        x.numpy()
    with pytest.raises(TypeError, match=r"Use tensor\.cpu\(\) first"):
        np.asarray(x)


def test_text(device):
    x = md.tensor([1.5, -2.0], device=device, requires_grad=True)
    assert repr(x) == "tensor([ 1.5000, -2.0000], device='cuda:0', requires_grad=True)"
    assert repr((x * 2).sum()) == "tensor(-1., device='cuda:0', grad_fn=<SumBackward0>)"


def test_memory_is_shared_by_views(device):
    x = md.zeros(2, 3, device=device)
    x[0].fill_(1)
    x.T[2] = 5.0
    x.diagonal().add_(1)
    assert x.tolist() == [[2.0, 1.0, 5.0], [0.0, 1.0, 5.0]]
    assert x[1:].storage_offset() == 3 and x.data_ptr() == x.view(6).data_ptr() != x[1:].data_ptr()
    windows = md.arange(5.0, device=device).unfold(0, 3, 1)
    assert windows.storage_offset() == 0 and windows.tolist()[2] == [2.0, 3.0, 4.0]


def test_writing_to_what_a_gradient_needs_is_noticed_through_every_kind_of_view(device):
    for view in (lambda x: x[0], lambda x: x.T, lambda x: x.view(-1), lambda x: x.reshape(-1).unfold(0, 2, 1)[0]):
        x = md.ones(2, 2, device=device)
        y = md.ones(2, 2, device=device, requires_grad=True)
        loss = (x * y).sum()
        view(x).mul_(3)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_an_expanded_tensor_is_not_written_to(device):
    with pytest.raises(RuntimeError, match="single memory location"):
        md.ones(1, device=device).expand(3).add_(1)


# ---------------------------------------------------------------------------------------------------------------------
# Where new tensors are made

FACTORIES = {
    "zeros": lambda **kw: md.zeros(2, 3, **kw),
    "ones": lambda **kw: md.ones(2, **kw),
    "empty": lambda **kw: md.empty(2, **kw),
    "full": lambda **kw: md.full((2,), 7, **kw),
    "arange": lambda **kw: md.arange(3, **kw),
    "linspace": lambda **kw: md.linspace(0, 1, 3, **kw),
    "logspace": lambda **kw: md.logspace(0, 1, 3, **kw),
    "eye": lambda **kw: md.eye(2, **kw),
    "tensor": lambda **kw: md.tensor([1, 2], **kw),
    "as_tensor": lambda **kw: md.as_tensor(np.arange(2.0), **kw),
    "asarray": lambda **kw: md.asarray([1.0], **kw),
    "scalar_tensor": lambda **kw: md.scalar_tensor(3, **kw),
    "tril_indices": lambda **kw: md.tril_indices(3, 3, **kw),
    "triu_indices": lambda **kw: md.triu_indices(3, 3, **kw),
    "rand": lambda **kw: md.rand(2, **kw),
    "randn": lambda **kw: md.randn(2, **kw),
    "randint": lambda **kw: md.randint(0, 9, (3,), **kw),
    "randperm": lambda **kw: md.randperm(5, **kw),
    "normal": lambda **kw: md.normal(0.0, 1.0, (3,), **kw),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_factories(device, name):
    make = FACTORIES[name]
    values = []
    for build in (make, lambda: make(device=device), lambda: _within(device, make)):
        md.manual_seed(3)
        values.append(build())
    assert [t.device.type for t in values] == ["cpu", "cuda", "cuda"]
    if name != "empty":
        assert values[0].tolist() == values[1].tolist() == values[2].tolist()


def _within(device, make):
    with device:
        return make()


def test_the_default_device(device):
    on_cpu = md.ones(2)
    with md.device("cuda"):
        assert md.get_default_device().type == "cuda" and md.zeros(1).is_cuda
        with md.device("cpu"):
            assert not md.zeros(1).is_cuda
        assert md.zeros(1).is_cuda
        # what has a device keeps it
        assert not md.zeros_like(on_cpu).is_cuda and not on_cpu.new_zeros(2).is_cuda and not md.tensor(on_cpu).is_cuda
        assert not md.from_numpy(np.ones(2)).is_cuda and not md.rand_like(on_cpu).is_cuda and not (on_cpu * 2).is_cuda
        assert not md.zeros(1, device="cpu").is_cuda and not md.FloatTensor([1.0]).is_cuda
    assert not md.zeros(1).is_cuda
    md.set_default_device("cuda:0")
    try:
        assert md.get_default_device() == md.device("cuda", 0) and md.arange(3).is_cuda
    finally:
        md.set_default_device(None)
    assert md.get_default_device() == md.device("cpu")


def test_likes_stay_where_their_model_is(device):
    x = md.ones(2, device=device)
    for y in (
        md.zeros_like(x),
        md.full_like(x, 2),
        md.randn_like(x),
        x.new_ones(3),
        x.new_tensor([1]),
        x.new_full((2,), 1),
    ):
        assert y.is_cuda
    assert not md.zeros_like(x, device="cpu").is_cuda and not md.rand_like(x, device="cpu").is_cuda
    assert md.tensor([x[0], 2.0]).tolist() == [1.0, 2.0]


def test_a_gpu_that_is_not_there(device):
    with pytest.raises(RuntimeError, match=r"the device cuda:63: there (is|are) only \d+ GPU"):
        md.zeros(1, device="cuda:63")
    with pytest.raises(RuntimeError, match="cuda:63"):
        md.set_default_device("cuda:63")


# ---------------------------------------------------------------------------------------------------------------------
# Mixing is refused

MIXED = {
    "add": lambda a, b: a + b,
    "sub in place": lambda a, b: a.sub_(b),
    "matmul": lambda a, b: a @ b,
    "where": lambda a, b: md.where(a > 0, a, b),
    "cat": lambda a, b: md.cat([a, b]),
    "stack": lambda a, b: md.stack([a, b]),
    "gather": lambda a, b: a.gather(0, b.long()),
    "index_select": lambda a, b: a.index_select(0, b[0].long()),
    "scatter_add": lambda a, b: a.scatter_add(0, b.long() * 0, a),
    "take": lambda a, b: a.take(b.long()),
    "masked_fill": lambda a, b: a.masked_fill(b > 0, 0.0),
    "masked_select": lambda a, b: a.masked_select(b > 0),
    "assignment": lambda a, b: a.__setitem__(0, b[0]),
    "linear": lambda a, b: F.linear(a, b),
    "embedding": lambda a, b: F.embedding(a.long(), b),
    "cross_entropy": lambda a, b: F.cross_entropy(a, b[0].long() * 0),
    "nll_loss": lambda a, b: F.nll_loss(a, b[0].long() * 0),
    "mse_loss": lambda a, b: F.mse_loss(a, b),
    "conv2d": lambda a, b: F.conv2d(a.reshape(1, 1, 2, 2), b.reshape(1, 1, 2, 2)),
    "layer_norm": lambda a, b: F.layer_norm(a, (2,), b[0]),
    "batch_norm": lambda a, b: F.batch_norm(a, b[0], b[1]),
    "einsum": lambda a, b: md.einsum("ij,jk->ik", a, b),
    "attention": lambda a, b: F.scaled_dot_product_attention(a, b, b),
    "searchsorted": lambda a, b: md.searchsorted(a[0], b),
    "isclose": lambda a, b: md.isclose(a, b),
    "maximum": lambda a, b: md.maximum(a, b),
    "lerp": lambda a, b: md.lerp(a, b, 0.5),
    "solve": lambda a, b: md.linalg.solve(a + md.eye(2, device=a.device), b),
    "bincount": lambda a, b: md.bincount(a[0].long(), b[0]),
    "grid_sample": lambda a, b: F.grid_sample(a.reshape(1, 1, 2, 2), b.reshape(1, 1, 2, 2), align_corners=True),
}


@pytest.mark.parametrize("what", MIXED)
def test_mixing_names_both(device, what):
    a = md.ones(2, 2)
    for x, y in ((a, a.cuda()), (a.cuda(), a)):
        with pytest.raises(RuntimeError, match=r"(?s)(cpu.*cuda:0|cuda:0.*cpu)"):
            MIXED[what](x, y)


def test_an_index_may_come_from_the_cpu_but_not_from_the_gpu(device):
    x = md.arange(4.0)
    at = md.tensor([3, 0])
    assert x.cuda()[at].tolist() == [3.0, 0.0] and x.cuda()[[1, 2]].tolist() == [1.0, 2.0]
    assert x.cuda()[x > 1].tolist() == [2.0, 3.0]
    with pytest.raises(RuntimeError, match="indices should be on the device of the indexed tensor"):
        x[at.cuda()]


def test_bad_indices_raise_where_cupy_would_wrap_them(device):
    x = md.arange(4.0, device=device)
    far = md.tensor([9], device=device)
    for use in (
        lambda: x[far], lambda: x.gather(0, far), lambda: x.take(far), lambda: x.index_select(0, far),
        lambda: F.embedding(far, x.reshape(2, 2)), lambda: F.cross_entropy(x.reshape(1, 4), far),
        lambda: x.scatter(0, far, 1.0), lambda: x.index_add(0, far, x[:1]), lambda: md.unravel_index(far, (2, 2)),
    ):  # fmt: skip
        with pytest.raises((IndexError, RuntimeError), match=r"out of (bounds|range)|indices from"):
            use()


def test_what_numpy_refuses_and_cupy_computes(device):
    singular = md.ones(2, 2, device=device)
    for solve in (md.linalg.inv, lambda A: md.linalg.solve(A, A), lambda A: md.linalg.cholesky(A - 2)):
        with pytest.raises(RuntimeError, match=r"is singular|not positive-definite"):
            solve(singular)
    with pytest.raises(RuntimeError, match=r"batch index \(1,\)"):
        md.linalg.inv(md.stack([md.eye(2), md.ones(2, 2)]).to(device))
    result, info = md.linalg.inv_ex(singular)
    assert info.is_cuda and info.item() == 2 and result.isnan().all()
    with pytest.raises(RuntimeError, match="divided by zero"):
        md.ones(2, dtype=md.int64, device=device) // md.zeros(2, dtype=md.int64, device=device)


def test_factorizations_give_their_matrix_back(device):
    md.manual_seed(3)
    for shape in ((4, 4), (2, 3, 5, 5), (40, 40)):
        A = md.randn(*shape, dtype=md.float64, device=device)
        S = A @ A.mT + md.eye(shape[-1], dtype=md.float64, device=device)
        values, V = md.linalg.eigh(S)
        assert md.allclose(V @ values.diag_embed() @ V.mT, S, atol=1e-8) and (values.diff() >= 0).all()
        U, s, Vh = md.linalg.svd(A)
        assert md.allclose(U @ s.diag_embed() @ Vh, A, atol=1e-8) and (s.diff() <= 0).all()
        Q, R = md.linalg.qr(A)
        assert md.allclose(Q @ R, A, atol=1e-8) and md.allclose(R.triu(), R)
        P, L, upper = md.linalg.lu(A)
        assert md.allclose(P @ L @ upper, A, atol=1e-8)
        L = md.linalg.cholesky(S)
        assert md.allclose(L @ L.mT, S, atol=1e-8)
        assert md.allclose(A @ md.linalg.inv(A), md.eye(shape[-1], dtype=md.float64, device=device), atol=1e-6)
        w, vectors = md.linalg.eig(A)
        assert md.allclose((A.to(vectors.dtype) @ vectors).abs(), (vectors * w.unsqueeze(-2)).abs(), atol=1e-6)
    for x in (U, s, Vh, Q, R, P, L, values, V, w, vectors):
        assert x.is_cuda


# ---------------------------------------------------------------------------------------------------------------------
# Autograd


def test_gradients_of_any_order(device):
    x = md.randn(3, dtype=md.float64, device=device, requires_grad=True)
    assert gradcheck(lambda x: (x.sin() * x).softmax(0), x) and gradgradcheck(lambda x: x.tanh() * x, x)


def test_hooks_and_kept_gradients(device):
    x = md.ones(2, device=device, requires_grad=True)
    y = x * 2
    y.retain_grad()
    seen = []
    y.register_hook(lambda g: seen.append(g.device.type) or g * 10)
    (y * y).sum().backward()
    assert seen == ["cuda"] and y.grad.tolist() == [40.0, 40.0] and x.grad.tolist() == [80.0, 80.0]
    (unused,) = md.autograd.grad(
        (x * 1).sum(), [md.ones(3, device=device, requires_grad=True)], allow_unused=True, materialize_grads=True
    )
    assert unused.is_cuda and unused.tolist() == [0.0] * 3


def test_custom_functions_checkpoints_anomalies(device):
    class Double(md.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, g, unused):
            assert g.is_cuda and unused.is_cuda
            return g * 2

    x = md.ones(2, device=device, requires_grad=True)
    Double.apply(x)[0].sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    layer = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 1)).to(device)
    results = []
    for run in (layer, lambda x: md.utils.checkpoint.checkpoint(layer, x)):
        md.manual_seed(5)
        layer.zero_grad()
        run(x).sum().backward()
        results.append(layer[0].weight.grad.tolist())
    assert results[0] == results[1]
    with pytest.raises(RuntimeError, match="NaN"), md.autograd.detect_anomaly():
        (x * 0 / (x * 0)).sum().backward()


def test_gradients_are_nobody_elses_memory(device):
    x = md.ones(4, device=device, requires_grad=True)
    y = x.unfold(0, 2, 1)
    (y * 2).sum().backward()
    before = x.grad
    (x.unfold(0, 2, 1) * 3).sum().backward()
    assert x.grad is before and x.grad.tolist() == [5.0, 10.0, 10.0, 5.0]


# ---------------------------------------------------------------------------------------------------------------------
# Random numbers


def test_one_stream_for_all_devices(device):
    draws = [
        lambda d: md.rand(1001, device=d), lambda d: md.rand(7, dtype=md.float64, device=d),
        lambda d: md.rand(9, dtype=md.float16, device=d), lambda d: md.randint(0, 1000, (33,), device=d),
        lambda d: md.randperm(100, device=d), lambda d: md.zeros(50, device=d).uniform_(-1, 1),
        lambda d: md.full((40,), 0.3, device=d).bernoulli(), lambda d: md.zeros(9, device=d).random_(0, 5),
        lambda d: F.dropout(md.ones(1000, device=d), 0.3), lambda d: F.dropout2d(md.ones(2, 9, 2, 2, device=d), 0.3),
        lambda d: md.multinomial(md.ones(10, device=d), 5), lambda d: md.poisson(md.ones(10, device=d)),
        lambda d: nn.init.kaiming_uniform_(md.empty(5, 7, device=d)),
        lambda d: nn.init.trunc_normal_(md.empty(5, 7, device=d)), lambda d: nn.init.sparse_(md.empty(5, 7, device=d), 0.2),
        lambda d: nn.Linear(3, 4, device=d).weight, lambda d: nn.LSTM(3, 4, device=d).weight_hh_l0,
        lambda d: nn.Conv2d(3, 4, 3, device=d).weight, lambda d: nn.MultiheadAttention(4, 2, device=d).in_proj_weight,
    ]  # fmt: skip
    for i, draw in enumerate(draws):
        md.manual_seed(11)
        here = draw("cpu")
        after = md.get_rng_state().tolist()
        md.manual_seed(11)
        there = draw(device)
        assert there.is_cuda and here.dtype == there.dtype and here.tolist() == there.tolist(), f"draw {i}"
        assert md.get_rng_state().tolist() == after, f"draw {i} moved the generator differently"


def test_normal_numbers_agree_to_the_last_bit_but_a_few(device):
    md.manual_seed(2)
    here = md.randn(100_000)
    md.manual_seed(2)
    there = md.randn(100_000, device=device).cpu()
    # sine, cosine and logarithm of the two libraries may differ in the last bit of float64
    assert (here != there).sum() <= 2 and md.allclose(here, there, rtol=1e-6)
    generator = md.Generator(device="cuda").manual_seed(4)
    assert (
        md.rand(3, device=device, generator=generator).tolist()
        == md.rand(3, generator=md.Generator().manual_seed(4)).tolist()
    )


# ---------------------------------------------------------------------------------------------------------------------
# Copies, files


def test_copies_and_pickles_stay_on_the_device(device):
    x = md.arange(3.0, device=device).requires_grad_()
    for y in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.clone(), x.detach()):
        assert y.is_cuda and y.tolist() == x.tolist()
    model = copy.deepcopy(nn.BatchNorm1d(2).to(device))
    assert model.running_mean.is_cuda and model.weight.is_cuda


def test_saved_on_one_device_loaded_on_another(device, tmp_path):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).to(device)
    path = tmp_path / "model.pt"
    md.save({"model": model.state_dict(), "t": md.ones(2, device=device)}, path)
    there, here = md.load(path, map_location=device), md.load(path)  # the CPU, unless told otherwise
    assert there["t"].is_cuda and not here["t"].is_cuda
    assert {t.device.type for t in here["model"].values()} == {"cpu"}
    fresh = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    fresh.load_state_dict(there["model"])
    assert not fresh[0].weight.is_cuda and fresh[0].weight.tolist() == model[0].weight.tolist()
    model.load_state_dict(here["model"])
    assert model[0].weight.is_cuda
    x = md.arange(4.0, device=device)
    md.save([x, x.view(2, 2), x], path)
    a, b, c = md.load(path, map_location=device)
    assert a.is_cuda and a.data_ptr() == c.data_ptr() and b.tolist() == x.view(2, 2).tolist()
    md.save(md.ones(2), path)
    assert md.load(path, map_location="cuda").is_cuda and md.load(path, map_location=md.device("cuda:0")).is_cuda


def test_dlpack_shares_memory(device):
    x = md.arange(3.0, device=device)
    assert x.__dlpack_device__() == (2, 0)


@pytest.mark.parametrize("dtype", [md.float16, md.float32, md.float64, md.int32], ids=str)
@pytest.mark.parametrize("reduce", ["amax", "amin"])
def test_extrema_at_an_index_lose_no_digits(device, dtype, reduce):
    x, at = md.tensor([0.1, -0.3, 5.0, -7.0]).to(dtype), md.tensor([0, 0, 2, 2, 2])
    values = md.tensor([1 / 3, -1 / 3, 1 / 7, -0.0, 2 / 3], dtype=md.float64).to(dtype)
    if dtype.is_floating_point:
        values = md.cat([values, values.new_tensor([float("nan")])])
        at = md.cat([at, md.tensor([3])])
    here, there = (
        t.scatter_reduce(0, i, v, reduce) for t, i, v in ((x, at, values), (x.cuda(), at.cuda(), values.cuda()))
    )
    np.testing.assert_array_equal(there.cpu().numpy(), here.numpy())
