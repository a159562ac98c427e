"""Transformers: PyTorch's weights give PyTorch's outputs and gradients; no position sees what the masks hide."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.autograd import gradcheck


def pair(name, *args, **options):
    """The module in PyTorch and here, with the same weights."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, about its nested tensors
        theirs = getattr(torch.nn, name)(*args, **options)
    ours = getattr(nn, name)(*args, **options)
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({k: md.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return torch, theirs, ours


def compare(torch, theirs, ours, arrays, masks):
    """Outputs, and gradients of a random cotangent for inputs and parameters. `masks` makes keyword arguments."""
    results = []
    for m, model in ((torch, theirs), (md, ours)):
        inputs = [m.tensor(a, requires_grad=True) for a in arrays]
        out = model(*inputs, **masks(m))
        g = np.random.default_rng(1).standard_normal(tuple(out.shape)).astype(out.detach().numpy().dtype)
        out.backward(m.tensor(g))
        gradients = [t.grad for t in (*inputs, *model.parameters())]
        results.append([t.detach().numpy() for t in (out, *gradients)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-8, atol=1e-10)


def drawn(batch_first, *lengths):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((3, n, 8) if batch_first else (n, 3, 8)) for n in lengths]


def causal(m, n):
    return m.nn.Transformer.generate_square_subsequent_mask(n, dtype=m.float64)


def padding(m):
    """Hides the last two of five positions of the second sequence; of the causal mask's kind, as PyTorch wants it."""
    hidden = np.zeros((3, 5))
    hidden[1, 3:] = -np.inf
    return m.tensor(hidden)


OPTIONS = [
    {"batch_first": True},
    {"norm_first": True, "activation": "gelu"},
    {"bias": False, "layer_norm_eps": 1e-2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_an_encoder_layer_against_pytorch(options):
    torch, theirs, ours = pair("TransformerEncoderLayer", 8, 2, 16, 0.0, **options)
    theirs, ours = theirs.double(), ours.double()
    arrays = drawn(options.get("batch_first"), 5)
    compare(torch, theirs, ours, arrays, lambda m: {})
    theirs.zero_grad()
    ours.zero_grad()
    compare(torch, theirs, ours, arrays, lambda m: {"src_mask": causal(m, 5), "src_key_padding_mask": padding(m)})


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_decoder_layer_against_pytorch(options):
    torch, theirs, ours = pair("TransformerDecoderLayer", 8, 2, 16, 0.0, **options)
    compare(
        torch, theirs.double(), ours.double(), drawn(options.get("batch_first"), 4, 5),
        lambda m: {"tgt_mask": causal(m, 4), "tgt_is_causal": True, "memory_key_padding_mask": padding(m)},
    )  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_whole_transformer_against_pytorch(options):
    torch, theirs, ours = pair("Transformer", 8, 2, 2, 2, 16, 0.0, **options)
    compare(
        torch, theirs.double(), ours.double(), drawn(options.get("batch_first"), 5, 4),
        lambda m: {
            "tgt_mask": causal(m, 4), "src_key_padding_mask": padding(m), "memory_key_padding_mask": padding(m)
        },
    )  # fmt: skip


def test_an_encoder_of_copies_with_a_last_norm_against_pytorch():
    torch = pytest.importorskip("torch")
    theirs, ours = (
        m.nn.TransformerEncoder(m.nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), 3, m.nn.LayerNorm(8))
        for m in (torch, md)
    )
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({k: md.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    compare(torch, theirs.double(), ours.double(), drawn(True, 5), lambda m: {"mask": causal(m, 5), "is_causal": True})
    first, second = (p.detach().numpy() for p in (ours.layers[0].linear1.weight, ours.layers[1].linear1.weight))
    np.testing.assert_array_equal(first, second)
    assert not np.shares_memory(first, second)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_causal_mask_is_pytorchs(dtype):
    torch = pytest.importorskip("torch")
    theirs, ours = (
        m.nn.Transformer.generate_square_subsequent_mask(4, dtype=getattr(m, dtype)).numpy() for m in (torch, md)
    )
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_causal_model_does_not_see_the_future(norm_first):
    md.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=norm_first)
    x = md.randn(1, 5, 8, requires_grad=True)
    (layer(x, nn.Transformer.generate_square_subsequent_mask(5), is_causal=True)[0, 2] ** 2).sum().backward()
    assert (x.grad[0, 3:] == 0).all() and all((x.grad[0, t] != 0).any() for t in range(3))


def test_padding_does_not_change_the_other_positions():
    md.manual_seed(0)
    model = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, batch_first=True)
    src, tgt = md.randn(2, 5, 8), md.randn(2, 3, 8)
    hidden = md.zeros(2, 5, dtype=md.bool)
    hidden[1, 3:] = True
    out = model(src, tgt, src_key_padding_mask=hidden, memory_key_padding_mask=hidden)
    alone = model(src[1:, :3], tgt[1:])
    np.testing.assert_allclose(out[1].detach().numpy(), alone[0].detach().numpy(), rtol=1e-5, atol=1e-6)


def test_without_a_batch():
    md.manual_seed(0)
    layer = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    x, memory = md.randn(3, 8), md.randn(5, 8)
    np.testing.assert_allclose(
        layer(x, memory).detach().numpy(), layer(x[None], memory[None])[0].detach().numpy(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("norm_first", [False, True])
def test_gradients_agree_with_differences(norm_first):
    md.manual_seed(0)
    layer = nn.TransformerDecoderLayer(
        4, 2, 8, 0.0, activation=md.tanh, batch_first=True, norm_first=norm_first, dtype=md.float64
    )
    x, memory = (md.randn(2, n, 4, dtype=md.float64, requires_grad=True) for n in (2, 3))
    assert gradcheck(layer, (x, memory))


def test_dropout_only_in_training():
    md.manual_seed(0)
    layer, x = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5), md.randn(4, 1, 8)
    assert not (layer(x) == layer(x)).all()
    layer.eval()
    assert (layer(x) == layer(x)).all()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: nn.TransformerEncoderLayer(8, 2, activation="tanh"), "relu/gelu"),
        (lambda: nn.TransformerEncoderLayer(8, 2)(md.zeros(3, 1, 8), is_causal=True), "Need attn_mask"),
        (lambda: nn.Transformer(8, 2, 1, 1)(md.zeros(3, 1, 8), md.zeros(3, 2, 8)), "batch number"),
        (lambda: nn.Transformer(8, 2, 1, 1)(md.zeros(3, 1, 6), md.zeros(3, 1, 6)), "d_model"),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(RuntimeError, match=message):
        call()
