"""Attention: against PyTorch with its weights, masks, the cache, additive and multiplicative scores."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md
import minidl.nn.functional as F
from minidl import nn
from minidl.autograd import gradcheck, gradgradcheck


def loaded(ours, theirs):
    ours.load_state_dict({k: md.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return ours


OPTIONS = {
    "plain": {},
    "batch first": {"batch_first": True},
    "other widths": {"kdim": 5, "vdim": 6},
    "more keys": {"add_bias_kv": True, "add_zero_attn": True},
    "no bias": {"bias": False, "batch_first": True},
}


def masks_of(m, rng, L, S, B, H):
    """attn_mask and key_padding_mask of every kind; a causal one, and one for each head, leave every query a key."""
    causal = np.triu(np.ones((L, S), bool), 1)
    each = rng.random((B * H, L, S)) < 0.4
    each[:, :, 0] = False
    padding = np.zeros((B, S), bool)
    padding[1, 3:] = True
    added = rng.standard_normal((L, S)).astype(np.float32)
    return {
        "no mask": {},
        "causal": {"attn_mask": m.tensor(causal)},
        "for each head": {"attn_mask": m.tensor(each)},
        "padding": {"key_padding_mask": m.tensor(padding)},
        "both": {"attn_mask": m.tensor(causal), "key_padding_mask": m.tensor(padding)},
        "added": {"attn_mask": m.tensor(added)},
    }


@pytest.mark.parametrize("mask", ["no mask", "causal", "for each head", "padding", "both", "added"])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("weights", [{"need_weights": False}, {}, {"average_attn_weights": False}], ids=str)
def test_several_heads_against_pytorch(options, mask, weights):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    options = OPTIONS[options]
    theirs, ours = (m.nn.MultiheadAttention(8, 2, **options) for m in (torch, md))
    assert repr(ours) == repr(theirs)
    loaded(ours, theirs)
    shapes = [(4, 3, 8), (5, 3, options.get("kdim", 8)), (5, 3, options.get("vdim", 8))]
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    if options.get("batch_first"):
        arrays = [np.ascontiguousarray(a.swapaxes(0, 1)) for a in arrays]
    results = []
    for m, module in ((torch, theirs), (md, ours)):
        random = np.random.default_rng(1)
        inputs = [m.tensor(a, requires_grad=True) for a in arrays]
        out, found = module(*inputs, **masks_of(m, random, 4, 5, 3, 2)[mask], **weights)
        outputs = [t for t in (out, found) if t is not None]
        sum((t * m.tensor(random.standard_normal(tuple(t.shape)).astype(np.float32))).sum() for t in outputs).backward()
        gradients = [t.grad for t in (*inputs, *module.parameters())]
        results.append([t.detach().numpy() for t in (*outputs, *gradients)])
    assert len(results[0]) == len(results[1])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.3}, {"enable_gqa": True}], ids=str)
def test_scaled_dot_products_against_pytorch(options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    shared = 2 if options.get("enable_gqa") else 4
    arrays = [rng.standard_normal(shape) for shape in ((3, 4, 5, 8), (3, shared, 6, 8), (3, shared, 6, 7))]
    g = rng.standard_normal((3, 4, 5, 7))
    results = []
    for m in (torch, md):
        inputs = [m.tensor(a, requires_grad=True) for a in arrays]
        out = m.nn.functional.scaled_dot_product_attention(*inputs, **options)
        out.backward(m.tensor(g))
        results.append([out.detach().numpy(), *(t.grad.numpy() for t in inputs)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)


SHAPES = {
    "heads of a batch": ((2, 3, 40, 8), (2, 3, 50, 8), (2, 3, 50, 6)),
    "a batch": ((2, 40, 8), (2, 50, 8), (2, 50, 8)),
    "one head": ((40, 8), (50, 8), (50, 8)),
    "two batches": ((2, 2, 3, 9, 8), (2, 2, 3, 9, 8), (2, 2, 3, 9, 8)),
    "one head for all": ((2, 3, 40, 8), (2, 1, 50, 8), (2, 1, 50, 8)),
    "one batch for all": ((2, 3, 40, 8), (3, 50, 8), (1, 3, 50, 8)),
    "one query head": ((2, 1, 9, 8), (2, 3, 9, 8), (2, 3, 9, 8)),
}


@pytest.mark.parametrize("mask", ["none", "causal", "bool", "float", "keys", "heads"])
@pytest.mark.parametrize("shapes", SHAPES)
def test_the_compiled_kernel_against_pytorch(shapes, mask):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in SHAPES[shapes]]
    lead = np.broadcast_shapes(*(a.shape[:-2] for a in arrays))
    L, S = arrays[0].shape[-2], arrays[1].shape[-2]
    allowed = rng.random({"heads": (*lead, L, S), "keys": (1, S)}.get(mask, (L, S))) < 0.7
    allowed[..., 0] = True
    added = rng.standard_normal((L, S)).astype(np.float32)
    masks = {"none": None, "causal": None, "float": added}
    g = rng.standard_normal((*lead, L, arrays[2].shape[-1])).astype(np.float32)
    results = []
    for m in (torch, md):
        inputs = [m.tensor(a, requires_grad=True) for a in arrays]
        given = masks.get(mask, allowed)
        given = None if given is None else m.tensor(given)
        out = m.nn.functional.scaled_dot_product_attention(*inputs, attn_mask=given, is_causal=mask == "causal")
        out.backward(m.tensor(g))
        results.append([out.detach().numpy(), *(t.grad.numpy() for t in inputs)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "shared", [((2, 6), (2, 2), (2, 2)), ((2, 6), (2, 3), (2, 2)), ((2, 6), (2, 6), (2, 1))], ids=str
)
def test_shared_heads_against_pytorch(shared):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((*lead, 9, 8)).astype(np.float32) for lead in shared]
    results = []
    for m in (torch, md):
        inputs = [m.tensor(a, requires_grad=True) for a in arrays]
        out = m.nn.functional.scaled_dot_product_attention(*inputs, is_causal=True, enable_gqa=True)
        out.square().sum().backward()
        results.append([out.detach().numpy(), *(t.grad.numpy() for t in inputs)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [md.float32, md.float64])
def test_dropout_drops_what_dropout_of_the_weights_would(dtype):
    md.manual_seed(3)
    q, k, v = (md.randn(2, 3, 20, 8, dtype=dtype, requires_grad=True) for _ in range(3))
    md.manual_seed(7)
    out = F.scaled_dot_product_attention(q, k, v, dropout_p=0.3)
    after = md.rand(1)
    md.manual_seed(7)
    plain = F.dropout((q @ k.mT / 8**0.5).softmax(-1), 0.3) @ v
    assert (md.rand(1) == after).all()  # as many random numbers were drawn
    gradients = [md.autograd.grad(y.square().sum(), (q, k, v)) for y in (out, plain)]
    for a, b in zip((out, *gradients[0]), (plain, *gradients[1]), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert (F.scaled_dot_product_attention(q, k, v, dropout_p=1.0) == 0).all()


def test_second_derivatives_and_those_of_the_mask():
    md.manual_seed(0)
    q, k, v = (md.randn(1, 2, 3, 4, dtype=md.float64, requires_grad=True) for _ in range(3))
    assert gradgradcheck(lambda *a: F.scaled_dot_product_attention(*a, is_causal=True), (q, k, v))
    mask = md.randn(3, 3, dtype=md.float64, requires_grad=True)
    assert gradcheck(lambda *a: F.scaled_dot_product_attention(*a), (q, k, v, mask))


def test_the_matrix_of_scores_is_not_kept():
    tracemalloc = pytest.importorskip("tracemalloc")
    pytest.importorskip("numba")
    q, k, v = (md.randn(1, 2, 1024, 8, requires_grad=True) for _ in range(3))

    def step():
        F.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
        for t in (q, k, v):
            t.grad = None

    step()  # compiled
    tracemalloc.start()
    step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 1024 * 1024 * 4 / 4  # bytes: a quarter of one such matrix, in float32


def test_one_tensor_as_query_key_and_value_is_one_product():
    """The same result as three products give, and the same gradients."""
    md.manual_seed(0)
    for first in (False, True):
        layer = nn.MultiheadAttention(12, 3, batch_first=first)
        x = md.randn(4, 5, 12)
        results = []
        for inputs in ([x] * 3, [x.clone() for _ in range(3)]):
            inputs = [t.requires_grad_() for t in inputs]
            layer.zero_grad()
            out, _ = layer(*inputs, need_weights=False)
            out.square().sum().backward()
            gradient = inputs[0].grad if inputs[0] is inputs[1] else sum(t.grad for t in inputs)
            results.append([out.detach(), gradient, *(p.grad for p in layer.parameters())])
            x = x.detach()
        for a, b in zip(*results, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)


def test_the_causal_hint_stands_for_the_mask():
    md.manual_seed(0)
    layer, x = nn.MultiheadAttention(8, 2), md.randn(6, 3, 8)
    causal = nn.Transformer.generate_square_subsequent_mask(6)
    hinted, _ = layer(x, x, x, attn_mask=causal, is_causal=True, need_weights=False)
    given, _ = layer(x, x, x, attn_mask=causal, need_weights=False)
    np.testing.assert_allclose(hinted.detach().numpy(), given.detach().numpy(), rtol=1e-5, atol=1e-6)
    padding = md.zeros(3, 6, dtype=md.bool)
    padding[1, 2:] = True
    hinted, _ = layer(x, x, x, attn_mask=causal, is_causal=True, need_weights=False, key_padding_mask=padding)
    given, _ = layer(x, x, x, attn_mask=causal, need_weights=False, key_padding_mask=padding)
    np.testing.assert_array_equal(hinted.detach().numpy(), given.detach().numpy())


@pytest.mark.parametrize("kind", ["bool", "float"])
def test_a_query_that_sees_no_key_gets_zeros_and_gives_no_gradient(kind):
    md.manual_seed(0)
    q, k, v = (md.randn(2, 3, 4, dtype=md.float64, requires_grad=True) for _ in range(3))
    mask = md.tensor([[True, False, True], [False, False, False], [False, True, False]])
    if kind == "float":
        mask = md.zeros(3, 3, dtype=md.float64).masked_fill(~mask, -float("inf"))
    out = F.scaled_dot_product_attention(q, k, v, mask)
    assert (out[:, 1] == 0).all() and (out[:, 2] == v[:, 1]).all()
    assert gradcheck(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, mask), (q, k, v))
    out.sum().backward()
    assert (q.grad[:, 1] == 0).all() and (q.grad[:, 0] != 0).any()


def test_no_keys_at_all_give_zeros():
    q, empty = md.randn(2, 3, 4), md.zeros(2, 0, 4)
    assert (F.scaled_dot_product_attention(q, empty, empty) == md.zeros(2, 3, 4)).all()


def test_masks_as_bool_and_float_and_the_causal_flag_are_the_same():
    q, k, v = md.randn(3, 2, 4, 5, 8).unbind()
    allowed = md.ones(5, 5, dtype=md.bool).tril()
    added = md.zeros(5, 5).masked_fill(~allowed, -float("inf"))
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    for mask in (allowed, added):
        np.testing.assert_allclose(F.scaled_dot_product_attention(q, k, v, mask).numpy(), expected.numpy(), rtol=1e-6)
    with pytest.raises(RuntimeError, match="is_causal"):
        F.scaled_dot_product_attention(q, k, v, allowed, is_causal=True)


def test_grouped_queries_share_heads():
    q, k, v = md.randn(2, 6, 5, 8), md.randn(2, 2, 5, 8), md.randn(2, 2, 5, 8)
    got = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    for head in range(6):
        alone = F.scaled_dot_product_attention(q[:, head], k[:, head // 3], v[:, head // 3])
        np.testing.assert_allclose(got[:, head].numpy(), alone.numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(RuntimeError, match="multiple of the key heads"):
        F.scaled_dot_product_attention(q, md.randn(2, 4, 5, 8), md.randn(2, 4, 5, 8), enable_gqa=True)


def test_the_cache_gives_what_a_full_pass_gives():
    md.manual_seed(0)
    q, k, v = md.randn(3, 1, 2, 6, 8).unbind()
    full = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    cache = nn.KVCache()
    for t in range(6):
        keys, values = cache.update(k[:, :, t : t + 1], v[:, :, t : t + 1])
        step = F.scaled_dot_product_attention(q[:, :, t : t + 1], keys, values)
        np.testing.assert_allclose(step[:, :, 0].numpy(), full[:, :, t].numpy(), rtol=1e-5, atol=1e-6)
    assert len(cache) == 6
    cache.reset()
    assert len(cache) == 0
    with pytest.raises(RuntimeError, match="same steps"):
        cache.update(k, v[:, :, :2])


def test_additive_scores_by_hand():
    md.manual_seed(0)
    layer = nn.AdditiveAttention(2, 3, 4)
    q, k, v = md.randn(1, 2, 2), md.randn(1, 3, 3), md.randn(1, 3, 5)
    output, weights = layer(q, k, v)
    W, U, s = (p.detach().numpy() for p in layer.parameters())
    scores = np.array([[s[0] @ np.tanh(W @ q[0, i].numpy() + U @ k[0, j].numpy()) for j in range(3)] for i in range(2)])
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(weights[0].detach().numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(output[0].detach().numpy(), expected @ v[0].numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [False, True])
def test_multiplicative_scores(scale):
    md.manual_seed(0)
    q, k, v = md.randn(3, 1, 4, 8).unbind()
    output, weights = nn.MultiplicativeAttention(8, scale=scale)(q, k, v)
    expected = F.scaled_dot_product_attention(q, k, v, scale=8**-0.5 if scale else 1.0)
    np.testing.assert_allclose(output.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(weights.sum(-1).numpy(), np.ones((1, 4)), rtol=1e-6)
    general = nn.MultiplicativeAttention(8, key_size=3)
    assert general(q, md.randn(1, 4, 3), v)[0].shape == (1, 4, 8)
    with pytest.raises(RuntimeError, match="equally wide"):
        nn.MultiplicativeAttention(8)(q, md.randn(1, 4, 3), v)


@pytest.mark.parametrize("make", [lambda: nn.AdditiveAttention(3, 3, 4, dtype=md.float64),
                                  lambda: nn.MultiplicativeAttention(3, 3, dtype=md.float64)])  # fmt: skip
def test_masked_keys_have_no_weight_and_gradients_are_right(make):
    md.manual_seed(0)
    layer = make()
    q, k, v = (md.randn(1, n, 3, dtype=md.float64, requires_grad=True) for n in (2, 4, 4))
    mask = md.tensor([[[True, True, False, True]]])
    assert (layer(q, k, v, mask)[1][..., 2] == 0).all()
    assert gradcheck(lambda q, k, v: layer(q, k, v, mask)[0], (q, k, v))


def test_dropout_of_weights_only_in_training():
    md.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, dropout=0.5)
    x = md.randn(4, 1, 8)
    _, weights = layer(x, x, x)
    assert (weights == 0).any()
    layer.eval()
    assert not (layer(x, x, x)[1] == 0).any()


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: nn.MultiheadAttention(7, 2), AssertionError, "divisible"),
        (lambda: nn.MultiheadAttention(8, 0), ValueError, "greater than 0"),
        (
            lambda: nn.MultiheadAttention(8, 2)(md.zeros(3, 1, 6), *[md.zeros(3, 1, 8)] * 2),
            RuntimeError,
            "of 8, but got 6",
        ),
        (lambda: nn.MultiheadAttention(8, 2)(*[md.zeros(3, 1, 8)] * 3, is_causal=True), RuntimeError, "attn_mask"),
        (
            lambda: nn.MultiheadAttention(8, 2)(*[md.zeros(3, 1, 8)] * 3, attn_mask=md.zeros(2, 2)),
            RuntimeError,
            "attn_mask",
        ),
        (
            lambda: nn.MultiheadAttention(8, 2, add_zero_attn=True)(*[md.zeros(3, 1, 8)] * 3, attn_mask=md.zeros(3, 4)),
            RuntimeError,
            r"should be \(3, 3\)",
        ),
        (
            lambda: nn.MultiheadAttention(8, 2)(*[md.zeros(3, 1, 8)] * 3, attn_mask=md.zeros(3, 3, dtype=md.int64)),
            RuntimeError,
            "bool and floating",
        ),
        (
            lambda: nn.MultiheadAttention(8, 2)(*[md.zeros(3, 2, 8)] * 3, md.zeros(3, 3)),
            RuntimeError,
            r"key_padding_mask is \(3, 3\), but should be \(2, 3\)",
        ),
        (
            lambda: nn.MultiheadAttention(8, 2)(md.zeros(3, 8), *[md.zeros(3, 1, 8)] * 2),
            RuntimeError,
            "all unbatched",
        ),
        (
            lambda: nn.MultiheadAttention(8, 2)(md.zeros(3, 2, 8), *[md.zeros(3, 1, 8)] * 2),
            RuntimeError,
            "the batch B",
        ),
        (
            lambda: F.scaled_dot_product_attention(*[md.zeros(3, 8)] * 2, md.zeros(3, 8, dtype=md.float64)),
            RuntimeError,
            "same float dtype",
        ),
        (
            lambda: F.scaled_dot_product_attention(md.zeros(3, 8), *[md.zeros(3, 6)] * 2),
            RuntimeError,
            r"key \(\.\.\., S, D\)",
        ),
        (lambda: F.scaled_dot_product_attention(*[md.zeros(8)] * 3), RuntimeError, "at least 2 dimensional"),
        (
            lambda: F.scaled_dot_product_attention(*[md.zeros(3, 8)] * 3, md.ones(3, 3, dtype=md.int64)),
            RuntimeError,
            "attn_mask dtype",
        ),
        (
            lambda: F.scaled_dot_product_attention(*[md.zeros(2, 3, 8)] * 3, md.ones(4, 3)),
            RuntimeError,
            r"broadcast to the scores \[2, 3, 3\], but got \[4, 3\]",
        ),
        (
            lambda: F.scaled_dot_product_attention(md.zeros(4, 3, 8), *[md.zeros(2, 3, 8)] * 2),
            RuntimeError,
            r"got \[4, 3, 8\], \[2, 3, 8\], \[2, 3, 8\]; enable_gqa",
        ),
        (lambda: F.scaled_dot_product_attention(*[md.zeros(3, 8)] * 3, dropout_p=1.5), ValueError, "between 0 and 1"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call()
