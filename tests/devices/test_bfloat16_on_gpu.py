"""bfloat16 on a GPU: every operation gives what it gives on the CPU, without arithmetic of CuPy's."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.autograd.op import wrap
from minidl.devices import CPU, move
from minidl.kernels import cast
from minidl.nn import functional as F
from minidl.testing.samples import REGISTRY, samples_of


def numbers(array):
    array = move(array, CPU)
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def on(x, device):
    if type(x) in (list, tuple):
        return type(x)(on(y, device) for y in x)
    return x.moved(device) if hasattr(x, "moved") else move(x, device) if isinstance(x, np.ndarray) else x


def results(op, sample, device):
    """The results of a sample in bfloat16 on a device and the gradients of its inputs for cotangents of one."""
    inputs = []
    for x in sample.inputs:
        if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
            inputs.append(wrap(move(x, device)) if isinstance(x, np.ndarray) else x)
            continue
        t = wrap(move(x.astype(md.bfloat16.dtype), device))
        inputs.append(t.requires_grad_() if sample.smooth else t)
    out = op.apply(*inputs, **{name: on(value, device) for name, value in sample.params.items()})
    outputs = [t for t in (out if isinstance(out, tuple) else (out,))]
    found = [numbers(t.array) for t in outputs]
    leaves = [x for x in inputs if hasattr(x, "node") and x.node is not None]
    outputs = [t for t in outputs if t.node is not None and t.array.dtype.kind == "V"]
    if leaves and outputs:
        ones = [wrap(move(np.ones(t.shape, md.bfloat16.dtype), device)) for t in outputs]
        found += [numbers(g.array) for g in md.autograd.grad(outputs, leaves, ones, allow_unused=True) if g is not None]
    return found


def in_bfloat16():
    for op in REGISTRY:
        if op.__name__ == "ViewAsComplex":  # there are no complex numbers of two bytes each
            continue
        for sample in samples_of(op)[:1]:
            if any(isinstance(x, np.ndarray) and x.dtype.kind == "f" for x in sample.inputs) and sample.unique:
                yield op, sample


def test_operations_agree_with_the_cpu(device):
    compared = 0
    for op, sample in in_bfloat16():
        wanted = results(op, sample, CPU)
        try:
            got = results(op, sample, device)
        except Exception as error:
            error.add_note(f"{op.__name__} {sample}")
            raise
        compared += 1
        for a, b in zip(got, wanted, strict=True):
            # two roundings apart at most: sums in another order
            np.testing.assert_allclose(a, b, rtol=2**-6, atol=2**-6, err_msg=f"{op.__name__} {sample}")
    assert compared > 150


def test_conversions_are_those_of_the_cpu(device):
    every = np.arange(2**16, dtype=np.uint16).view(md.bfloat16.dtype)
    x = wrap(move(every, device))
    np.testing.assert_array_equal(numbers(x.float().array), every.astype(np.float32))
    raw = np.random.default_rng(0).integers(0, 2**32, 4096, dtype=np.uint32).view(np.float32)
    values = np.concatenate([raw, np.float32([1 + 2**-8, 1 + 3 * 2**-8, np.inf, -np.inf, np.nan, 3.4e38])])
    low = wrap(move(values, device)).bfloat16()
    with np.errstate(invalid="ignore"):  # NaN of another kind
        wanted = values.astype(md.bfloat16.dtype).astype(np.float32)
    np.testing.assert_array_equal(numbers(low.array), wanted)
    for dtype in (md.float16, md.float64, md.int32, md.bool):
        ours = md.tensor([1.5, -2.25, 0.0, 300.0]).bfloat16()
        assert ours.to(device).to(dtype).tolist() == ours.to(dtype).tolist()
        assert ours.to(dtype).to(device).bfloat16().tolist() == ours.to(dtype).bfloat16().tolist()
    assert low[1::3].float().shape == (low.numel() // 3,) and low[:6].reshape(2, 3).T.float().shape == (3, 2)
    assert md.tensor(2.5, device=device).bfloat16().shape == () and cast.widen.takes_bfloat16


def test_training(device):
    losses = []
    for where in (CPU, device):
        md.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 4))
        model = model.to(where).bfloat16()
        optimizer = md.optim.AdamW(model.parameters(), lr=1e-2)
        x, target = md.randn(12, 8).to(where).bfloat16(), (md.arange(12) % 4).to(where)
        for _ in range(5):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), target)
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
        assert model[0].weight.dtype is md.bfloat16 and model[1].running_mean.dtype is md.bfloat16
    assert losses[0] == pytest.approx(losses[1], abs=0.02)  # one rounding of numbers above 1 is 2^-8


def test_gradients_add_up(device):
    x = md.tensor([1.0, 2.0]).bfloat16().to(device).requires_grad_()
    (x * x + x * 2 + x).sum().backward()  # three gradients meet
    (x * 4).sum().backward()  # and one is added to .grad
    assert x.grad.dtype is md.bfloat16 and x.grad.tolist() == [9.0, 11.0]


def test_products_go_to_cublas(device):
    x, w, b = md.randn(3, 5), md.randn(4, 5), md.randn(4)
    low = [t.bfloat16() for t in (x, w, b)]
    on_gpu = [t.to(device) for t in low]
    for bias in (True, False):
        ours = F.linear(*on_gpu[: 2 + bias])
        assert ours.cpu().tolist() == F.linear(*low[: 2 + bias]).tolist() and ours.dtype is md.bfloat16
    assert (on_gpu[0] @ on_gpu[1].T).cpu().tolist() == (low[0] @ low[1].T).tolist()


def test_autocast_on_a_gpu_chooses_as_pytorch(device):
    x, w = md.ones(2, 4, device=device), md.ones(4, 4, device=device)
    image = md.ones(1, 1, 4, 4, device=device)
    for half in (md.bfloat16, md.float16):
        with md.autocast("cuda", dtype=half):
            assert md.get_autocast_dtype("cuda") is half
            h = x @ w
            for product in (h, F.linear(x, w), F.conv2d(image, image[:, :, :2, :2]), md.addmm(x[0], x, w),
                            F.scaled_dot_product_attention(image, image, image), md.einsum("ij,jk->ik", x, w)):  # fmt: skip
                assert product.dtype is half
            for full in (h.softmax(1), h.log_softmax(1), h.sum(), F.layer_norm(h, (4,)), h.norm(), h.cumsum(0), h.prod(0),
                         h.exp(), h.log(), h**2, 2**h, h.rsqrt(), h.reciprocal(), h.tan(), F.softplus(h), h.logsumexp(0),
                         F.mse_loss(h, x), F.cosine_similarity(h, h), md.dist(h, h), F.nll_loss(h, md.zeros(2, dtype=md.int64,
                         device=device)), F.binary_cross_entropy_with_logits(h, x)):  # fmt: skip
                assert full.dtype is md.float32
            for own in (h.relu(), h + h, F.gelu(h), h.mean(), h.tanh(), h.sqrt(), h.sigmoid(), h.amax(1), h.std()):
                assert own.dtype is half
            assert (h + x).dtype is md.float32
            with pytest.raises(RuntimeError, match="binary_cross_entropy is unsafe to autocast"):
                F.binary_cross_entropy(h.sigmoid(), h.sigmoid())
    assert md.cuda.is_bf16_supported()
