"""Heads as slices of the features; attention one head and one sequence at a time; widths that cannot be split."""

from functools import partial

import numpy as np
from scipy.special import softmax

from minidl.learn.checks import case, check, equal, forbid, raises, values

SIZES = [(2, 3, 8, 2), (1, 5, 6, 3), (3, 4, 4, 4), (2, 7, 5, 1), (1, 1, 1, 1)]  # B, T, C, heads
EMPTY = (2, 0, 4, 2)


def slices(x, heads):
    return np.stack(np.split(x, heads, axis=-1), axis=1)


def side_by_side(x):
    return np.concatenate([x[:, h] for h in range(x.shape[1])], axis=-1)


def to_split(rng):
    yield case(np.arange(8.0).reshape(1, 2, 4), 2, note="x = arange(8), shape (1, 2, 4), heads=2")
    for B, T, C, heads in [*SIZES, EMPTY]:
        yield case(rng.normal(size=(B, T, C)), heads, note=f"x ({B}, {T}, {C}), heads={heads}")


def to_merge(rng):
    yield case(np.arange(8.0).reshape(1, 2, 2, 2), note="x = arange(8), shape (1, 2, 2, 2)")
    for B, T, C, heads in [*SIZES, EMPTY]:
        shape = B, heads, T, C // heads
        yield case(rng.normal(size=shape), note=f"x {shape}")


def head_by_head(x, wq, wk, wv, wo, heads):
    B, T, C = x.shape
    mixed = np.zeros((B, T, C))
    for b in range(B):
        for rows in np.split(np.arange(C), heads):  # the rows of the weights that make the features of one head
            q, k, v = (np.einsum("tc,dc->td", x[b], w[rows]) for w in (wq, wk, wv))
            mixed[b][:, rows] = softmax(q @ k.T / np.sqrt(len(rows)), axis=-1) @ v
    return np.einsum("btc,dc->btd", mixed, wo)


def layers(rng):
    for B, T, C, heads in SIZES:
        weights = [rng.normal(size=(C, C)) for _ in range(4)]
        yield case(rng.normal(size=(B, T, C)), *weights, heads, note=f"x ({B}, {T}, {C}), heads={heads}")


@check("property")
def there_and_back(subject, rng):
    for B, T, C, heads in SIZES:
        x = rng.normal(size=(B, T, C))
        yield equal(
            f"split and merged, x {x.shape}, heads={heads}", subject.merge_heads(subject.split_heads(x, heads)), x
        )
    x = rng.normal(size=(2, 3, 6))
    for heads in (4, 5, 12):
        yield raises(f"a width of 6, heads={heads}", ValueError, partial(subject.split_heads, x, heads))


checks = [
    forbid("minidl", "torch"),
    values(slices, to_split, name="split_heads"),
    values(side_by_side, to_merge, name="merge_heads"),
    there_and_back,
    values(head_by_head, layers, name="multi_head"),
]
