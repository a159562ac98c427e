"""Attention and Transformers: against PyTorch with its weights, causality, the cache, additive and multiplicative scores."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md
import minidl.nn.functional as F
from minidl import nn
from minidl.autograd import gradcheck


def loaded(ours, theirs):
    ours.load_state_dict({k: md.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return ours


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_whole_transformer_against_pytorch(norm_first, batch_first):
    torch = pytest.importorskip("torch")
    options = {"norm_first": norm_first, "batch_first": batch_first, "dropout": 0.0, "activation": "gelu"}
    torch.manual_seed(0)
    with pytest.warns(UserWarning) if not batch_first or norm_first else _nothing():
        theirs = torch.nn.Transformer(8, 2, 2, 2, 16, **options)
    ours = nn.Transformer(8, 2, 2, 2, 16, **options)
    assert repr(ours) == repr(theirs)
    loaded(ours, theirs)
    rng = np.random.default_rng(0)
    src, tgt = (rng.standard_normal((3, n, 8) if batch_first else (n, 3, 8)).astype(np.float32) for n in (5, 4))
    hidden = np.zeros((3, 5), bool)
    hidden[1, 3:] = True
    causal = nn.Transformer.generate_square_subsequent_mask(4)
    assert causal.tolist() == torch.nn.Transformer.generate_square_subsequent_mask(4).tolist()
    results = []
    for m, model in ((torch, theirs), (md, ours)):
        x, y = m.tensor(src, requires_grad=True), m.tensor(tgt, requires_grad=True)
        # PyTorch wants masks of one kind
        padding = m.zeros(3, 5).masked_fill(m.tensor(hidden), float("-inf"))
        out = model(
            x, y, tgt_mask=m.tensor(causal.numpy()), src_key_padding_mask=padding, memory_key_padding_mask=padding
        )
        (out * out).sum().backward()
        results.append(
            [out.detach().numpy(), x.grad.numpy(), y.grad.numpy(), *(p.grad.numpy() for p in model.parameters())]
        )
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(b, a, rtol=2e-3, atol=2e-4)  # float32 through eight normalizations


def _nothing():
    import contextlib

    return contextlib.nullcontext()


def test_a_causal_model_does_not_see_the_future():
    md.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    x = md.randn(1, 5, 8, requires_grad=True)
    layer(x, mask, is_causal=True)[0, 2].sum().backward()
    assert (x.grad[0, 3:] == 0).all() and (x.grad[0, :3] != 0).any()


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
        (lambda: nn.TransformerEncoderLayer(8, 2, activation="tanh"), RuntimeError, "relu/gelu"),
        (lambda: nn.Transformer(8, 2, 1, 1)(md.zeros(3, 1, 8), md.zeros(3, 2, 8)), RuntimeError, "batch number"),
        (lambda: nn.Transformer(8, 2, 1, 1)(md.zeros(3, 1, 6), md.zeros(3, 1, 6)), RuntimeError, "d_model"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call()
