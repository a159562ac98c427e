"""Attention kernels: the reference against the formulas written out, the compiled loops against the reference."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minidl.kernels import parallel, random
from minidl.kernels.attention import attention, attention_backward

# heads of queries, heads of keys, queries, keys, widths; less and more than a block of queries, a panel of keys, a register
BLOCK = 32  # queries, with AVX-512; 24 without: whole blocks are whole ones of either
SIZES = {
    "one block": (2, 2, 7, 9, 8, 8),
    "odd": (3, 1, BLOCK + 13, 45, 13, 21),
    "shared keys": (4, 2, 40, 70, 20, 5),
    "more queries": (1, 1, 3 * BLOCK, 33, 48, 48),
    "more keys": (2, 2, 4, 200, 64, 1),
}


def drawn(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def operands(rng, sizes, B=2):
    H, G, L, S, D, E = SIZES[sizes]
    return drawn(rng, B, H, L, D), drawn(rng, B, G, S, D), drawn(rng, B, G, S, E)


def mask_of(kind, rng, q, k):
    """A mask that leaves some queries one key, and one query of the first head none."""
    (B, H, L, _), S = q.shape, k.shape[2]
    if kind == "none":
        return None
    mask = drawn(
        rng, *{"each": (B, H, L, S), "shared": (1, 1, L, S), "keys": (B, 1, 1, S), "queries": (1, H, L, 1)}[kind]
    )
    hidden = rng.random(mask.shape) < 0.3
    hidden[..., 0] = kind == "queries"
    if kind == "each":
        hidden[0, 0, -1] = True
    mask[hidden] = -math.inf
    return mask


def by_definition(q, k, v, scale, causal, mask, factors):
    """Outputs and probabilities, one query at a time; factors (B, H, L, S) are what dropout multiplies with."""
    (B, H, L, _), (_, G, S, E) = q.shape, v.shape
    out, weights = np.zeros((B, H, L, E)), np.zeros((B, H, L, S))
    for b, h, i in np.ndindex(B, H, L):
        keys, values = (x[b, h * G // H].astype(np.float64) for x in (k, v))
        s = keys @ q[b, h, i].astype(np.float64) * scale
        s = s if mask is None else s + np.broadcast_to(mask, (B, H, L, S))[b, h, i]
        if causal:
            s[i + 1 :] = -math.inf
        if s.max() > -math.inf:
            weights[b, h, i] = np.exp(s - s.max()) / np.exp(s - s.max()).sum()
        out[b, h, i] = (weights[b, h, i] * factors[b, h, i]) @ values
    return out, weights


@pytest.mark.parametrize("mask", ["none", "each", "shared", "keys", "queries"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("p", [0.0, 0.3])
def test_the_reference_is_the_definition(mask, causal, p, rng):
    q, k, v = operands(rng, "shared keys", B=1)
    added = mask_of(mask, rng, q, k)
    shape = (*q.shape[:3], k.shape[2])
    factors = random.dropout.reference(np.ones(shape), p, 5, 7) if p else np.ones(shape)
    wanted, weights = by_definition(q, k, v, 0.3, causal, added, factors)
    out, lse = attention.reference(*(x.astype(np.float64) for x in (q, k, v)), 0.3, causal, added, p, 5, 7)
    np.testing.assert_allclose(out, wanted, rtol=1e-10, atol=1e-12)
    blind = ~weights.any(-1)
    assert (lse[blind] == math.inf).all() and np.isfinite(lse[~blind]).all()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", ["none", "each"])
@pytest.mark.parametrize("p", [0.0, 0.3])
def test_the_gradients_agree_with_differences(causal, mask, p, rng):
    q, k, v = (x.astype(np.float64) for x in operands(rng, "shared keys", B=1))
    options = 0.3, causal, mask_of(mask, rng, q, k), p, 5, 7
    out, lse = attention.reference(q, k, v, *options)
    g = rng.standard_normal(out.shape)
    gradients = attention_backward.reference(g, q, k, v, out, lse, *options)
    for i, gradient in enumerate(gradients):
        direction = rng.standard_normal(gradient.shape)
        sides = []
        for sign in (1, -1):
            moved = [x + sign * 1e-6 * direction if j == i else x for j, x in enumerate((q, k, v))]
            sides.append(np.vdot(g, attention.reference(*moved, *options)[0]))
        # 1e-6: what differences with such a step are good for
        np.testing.assert_allclose(np.vdot(gradient, direction), (sides[0] - sides[1]) / 2e-6, rtol=1e-6, atol=1e-6)


def agree(q, k, v, options, compare, rng, compiled=True):
    """Both passes of every variant, against the reference in float64."""
    compare(attention, q, k, v, *options, rtol=1e-5, atol=1e-5, compiled=compiled)
    out, lse = attention(q, k, v, *options)
    g = drawn(rng, *out.shape)
    # 1e-5: sums of some hundred products, rounded differently
    compare(attention_backward, g, q, k, v, out, lse, *options, rtol=1e-5, atol=2e-5, compiled=compiled)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    ("mask", "p"), [("none", 0.0), ("each", 0.0), ("shared", 0.4), ("keys", 0.0), ("queries", 0.2)]
)
def test_variants_agree(sizes, causal, mask, p, rng, compare):
    q, k, v = operands(rng, sizes)
    agree(q, k, v, (0.25, causal, mask_of(mask, rng, q, k), p, 3, 2**40), compare, rng)


@pytest.mark.parametrize("pattern", ["B H T D", "B T H D", "side by side", "T B H D"])
def test_heads_are_read_and_written_where_they_are(pattern, rng, compare):
    B, H, T, D = 2, 3, 37, 12
    if pattern == "side by side":
        q, k, v = drawn(rng, B, T, 3, H, D).transpose(2, 0, 3, 1, 4)
    else:
        letters = dict(zip("BHTD", (B, H, T, D), strict=True))
        order = pattern.split()
        back = [order.index(c) for c in "BHTD"]
        q, k, v = (drawn(rng, *(letters[c] for c in order)).transpose(back) for _ in range(3))
    options = 0.3, True, None, 0.0, 0, 0
    agree(q, k, v, options, compare, rng)
    out, lse = attention(q, k, v, *options)
    g = drawn(rng, B, T, H, D).transpose(0, 2, 1, 3)
    gradients = attention_backward(g, q, k, v, out, lse, *options)
    order = np.argsort(q.strides)
    assert all((np.argsort(a.strides) == order).all() for a in (out, *gradients))
    assert all((a.base is gradients[0].base is not None) == (pattern == "side by side") for a in gradients)


def test_arrays_that_may_not_be_written_to_and_are_repeated(rng, compare):
    """Operands and gradients as broadcasting makes them."""
    q, k, v = (np.broadcast_to(drawn(rng, 1, 1, 20, 8), (2, 3, 20, 8)) for _ in range(3))
    options = 0.3, False, np.broadcast_to(drawn(rng, 20, 1).T, (1, 1, 20, 20)), 0.0, 0, 0
    agree(q, k, v, options, compare, rng)
    out, lse = attention(q, k, v, *options)
    g = np.broadcast_to(np.float32(1), out.shape)
    compare(attention_backward, g, q, k, v, out, lse, *options, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_share_the_heads(threads, rng, compare, monkeypatch):
    monkeypatch.setattr(parallel, "get_num_threads", lambda: threads)
    monkeypatch.setattr(parallel, "LEAST", 1)
    q, k, v = operands(rng, "shared keys")
    agree(q, k, v, (0.3, True, None, 0.3, 1, 2), compare, rng)


@pytest.mark.parametrize("L", [1, 2, 3])
@pytest.mark.parametrize(("causal", "p"), [(False, 0.0), (True, 0.3)])
def test_few_queries_meet_keys_and_values_where_they_are(L, causal, p, rng, compare):
    for sizes in ("one block", "odd"):
        q, k, v = operands(rng, sizes)
        options = 0.3, causal, None, p, 1, 2
        agree(q[:, :, :L], k, v, options, compare, rng)
        agree(
            q[:, :, :L], k, v.swapaxes(2, 3).copy().swapaxes(2, 3), options, compare, rng
        )  # rows not contiguous: packed


def test_queries_that_see_nothing(rng):
    q, k, v = operands(rng, "odd")
    mask = np.full((1, 1, q.shape[2], 1), -math.inf, np.float32)
    mask[0, 0, 3] = 0
    options = 0.3, False, mask, 0.0, 0, 0
    out, lse = attention(q, k, v, *options)
    seeing = np.arange(q.shape[2]) == 3
    assert not out[:, :, ~seeing].any() and out[:, :, seeing].all()
    assert (lse[:, :, ~seeing] == math.inf).all()
    dq, dk, dv = attention_backward(np.ones_like(out), q, k, v, out, lse, *options)
    assert not dq[:, :, ~seeing].any() and dq[:, :, seeing].any()
    assert np.isfinite(dk).all() and np.isfinite(dv).all()


def test_masks_of_a_large_negative_number(rng):
    """Where every key of a query is so hidden, all count alike, forward and backward."""
    q, k, v = (np.zeros((1, 1, 8, 4), np.float32) for _ in range(3))
    v[:] = drawn(rng, 8, 4)
    options = 1.0, False, np.full((1, 1, 8, 8), -1e9, np.float32), 0.0, 0, 0
    out, lse = attention(q, k, v, *options)
    np.testing.assert_allclose(out, np.broadcast_to(v.mean(2, keepdims=True), out.shape), rtol=1e-5, atol=1e-6)
    _, _, dv = attention_backward(np.ones_like(out), q, k, v, out, lse, *options)
    np.testing.assert_allclose(dv, 1, rtol=1e-5)


def test_scores_of_any_size(rng, compare):
    q, k, v = operands(rng, "odd")
    compare(attention, 100 * q, 100 * k, v, 1.0, True, None, 0.0, 0, 0, rtol=2e-3, atol=2e-3)  # scores of 1e5, by 1e-7


def test_nan_stays_where_it_is(rng):
    q, k, v = operands(rng, "one block")
    q[0, 0, 2, 0] = math.nan
    out, _ = attention(q, k, v, 0.3, False, None, 0.0, 0, 0)
    assert np.isnan(out[0, 0, 2]).all() and np.isfinite(np.delete(out[0, 0], 2, 0)).all() and np.isfinite(out[1]).all()
