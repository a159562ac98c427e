"""Masks place by place; attention over the keys that a query sees, taken out of the arrays; queries that see nothing."""

import numpy as np
from scipy.special import softmax

from minidl.learn.checks import case, check, equal, forbid, values


def allowed(lengths, L, S, causal):
    seen = [[[j < n and (j <= i or not causal) for j in range(S)] for i in range(L)] for n in lengths]
    return np.array(seen, bool).reshape(len(lengths), L, S)


def masks(rng):
    for lengths, L, S in [
        ([3], 3, 3),
        ([4, 2, 0], 4, 4),
        ([5, 1], 2, 5),
        ([3, 2], 5, 3),
        ([1], 1, 1),
        (rng.integers(0, 8, 5).tolist(), 7, 7),
    ]:
        for causal in (False, True):
            yield case(np.array(lengths), L, S, causal, note=f"lengths={lengths}, L={L}, S={S}, causal={causal}")


def attended(q, k, v, seen):
    out = np.zeros((*q.shape[:2], v.shape[-1]))
    for b, i in zip(*np.nonzero(seen.any(-1)), strict=True):
        keys, content = k[b, seen[b, i]], v[b, seen[b, i]]
        out[b, i] = softmax(keys @ q[b, i] / np.sqrt(q.shape[-1])) @ content
    return out


def operands(rng, L, S, D=4, E=3, B=2):
    return rng.normal(size=(B, L, D)), rng.normal(size=(B, S, D)), rng.normal(size=(B, S, E))


def cases(rng):
    for L, S in [(3, 3), (4, 7), (1, 1), (7, 2)]:
        seen = rng.random((2, L, S)) < 0.6
        seen[..., 0] = True
        yield case(*operands(rng, L, S), seen, note=f"L={L}, S={S}, each query sees a key")
    for L, S in [(3, 3), (5, 2)]:
        seen = rng.random((2, L, S)) < 0.6
        seen[0, 1], seen[1] = False, False
        yield case(*operands(rng, L, S), seen, note=f"L={L}, S={S}, some queries see nothing")
    q, k, v = operands(rng, 3, 5)
    yield case(100 * q, 100 * k, v, rng.random((2, 3, 5)) < 0.5, note="L=3, S=5, scores of some 1e4")


@check("property")
def hidden_keys(subject, rng):
    q, k, v = operands(rng, 4, 6)
    seen = allowed([4, 0], 4, 6, causal=True)
    out = subject.masked_attention(q, k, v, seen)
    yield equal("queries that see nothing", out[1], np.zeros((4, 3)))
    yield equal("a query that sees one key: its value", out[0, 0], v[0, 0])
    k[0, 4:], v[0, 4:] = 1e3, -1e6
    yield equal("other keys and values where hidden", subject.masked_attention(q, k, v, seen), out)


checks = [
    forbid("minidl", "torch"),
    values(allowed, masks, name="visible"),
    values(attended, cases, name="masked_attention"),
    hidden_keys,
]
