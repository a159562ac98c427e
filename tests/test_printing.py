"""Tensors print as PyTorch's do, character by character."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md
from minidl import nn

INF, NAN = np.inf, np.nan


@pytest.fixture(autouse=True)
def default_options():
    yield
    md.set_printoptions(profile="default")


@pytest.mark.tiny
@pytest.mark.parametrize(
    "values, text",
    [
        (1.5, "tensor(1.5000)"),
        ([1.0, 2.0], "tensor([1., 2.])"),
        ([-1.0, 2.5], "tensor([-1.0000,  2.5000])"),
        ([1e-5, 1.0], "tensor([1.0000e-05, 1.0000e+00])"),
        ([NAN, 1.0, -INF], "tensor([nan, 1., -inf])"),
        ([0.0, -0.0], "tensor([0., -0.])"),
        ([1, -20], "tensor([  1, -20])"),
        ([True, False], "tensor([ True, False])"),
        ([[1, 2], [3, 4]], "tensor([[1, 2],\n        [3, 4]])"),
        ([], "tensor([])"),
    ],
)
def test_by_example(values, text):
    assert repr(md.tensor(values)) == text


def random_array(rng):
    """An array of some dtype and shape, among them many that make the format change."""
    long = [(1200,), (40, 40), (3, 1000), (1001, 2), (2, 3, 400), (10, 11, 12), (30,), (13,)]
    shape = tuple(rng.integers(0, 6, rng.integers(0, 5))) if rng.random() < 0.8 else long[rng.integers(len(long))]
    normal, small = np.asarray(rng.standard_normal(shape)), np.asarray(rng.integers(-1000, 1000, shape))
    where = rng.random(shape)
    kinds = [
        normal,
        normal * 10.0 ** rng.integers(-12, 12),
        normal * 10.0 ** rng.integers(-6, 7, size=shape),
        small.astype(np.float64),
        small * 1e8,
        np.round(normal, 1) * 100,
        np.where(where < 0.2, NAN, np.where(where < 0.4, INF, np.where(where < 0.5, -INF, small))),
        normal.astype(np.float16),
        small,
        small.astype(np.uint8),
        small * 2**32,
        small > 0,
        normal + 1j * small,
    ]
    chosen = np.asarray(kinds[rng.integers(len(kinds))])
    narrower = {"f": np.float32, "i": np.int32, "c": np.complex64}.get(chosen.dtype.kind, chosen.dtype)
    return chosen.astype(narrower) if rng.random() < 0.6 else chosen


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"precision": 2},
        {"sci_mode": True},
        {"sci_mode": False},
        {"edgeitems": 1},
        {"threshold": 10},
        {"linewidth": 40},
        {"profile": "short"},
        {"profile": "full"},
        {"precision": 8, "linewidth": 120},
    ],
    ids=str,
)
def test_against_pytorch(options):
    torch = pytest.importorskip("torch")
    md.set_printoptions(**options)
    torch.set_printoptions(**options)
    rng = np.random.default_rng(0)
    try:
        for _ in range(150):
            array = random_array(rng)
            theirs = torch.tensor(array)
            dtype = getattr(md, str(theirs.dtype).removeprefix("torch."))
            assert repr(md.tensor(array, dtype=dtype)) == repr(theirs)
    finally:
        torch.set_printoptions(profile="default")


def test_what_stands_behind_the_values():
    torch = pytest.importorskip("torch")
    for make in (
        lambda m: m.ones(2, requires_grad=True),
        lambda m: m.ones(2, requires_grad=True) + 1,
        lambda m: m.ones(2, requires_grad=True).exp(),
        lambda m: m.ones(2, dtype=m.float64, requires_grad=True) * 2,
        lambda m: m.zeros(0, 3),
        lambda m: m.zeros(3, 0, dtype=m.int32),
        lambda m: m.arange(1200.0).requires_grad_(),
        lambda m: m.ones(2, 2).bool(),
        lambda m: m.nn.Parameter(m.ones(2, 2)),
        lambda m: m.ones(11, dtype=m.float64, requires_grad=True) * 2.5,
    ):
        assert repr(make(md)) == repr(make(torch))


def test_the_default_dtype_is_not_mentioned():
    md.set_default_dtype(md.float64)
    try:
        assert repr(md.tensor([1.5])) == "tensor([1.5000])"
        assert repr(md.tensor([1.5], dtype=md.float32)) == "tensor([1.5000], dtype=torch.float32)"
    finally:
        md.set_default_dtype(md.float32)


def test_only_what_is_shown_is_formatted():
    x = md.zeros(100, 100)
    x[50, 50] = 1e-7  # hidden: it does not choose the format
    assert "e-" not in repr(x)


def test_options_for_a_block_and_unknown_profiles():
    from minidl.printing import printoptions

    with printoptions(precision=1):
        assert repr(md.tensor(0.25)) == "tensor(0.2)"
    assert repr(md.tensor(0.25)) == "tensor(0.2500)"
    with pytest.raises(ValueError, match="profile"):
        md.set_printoptions(profile="long")


def test_parameters_and_modules():
    assert repr(nn.Parameter(md.ones(1))) == "Parameter containing:\ntensor([1.], requires_grad=True)"
    assert str(md.ones(1)) == repr(md.ones(1))
