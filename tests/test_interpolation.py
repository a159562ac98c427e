"""Reading images at places of a grid, against PyTorch and by hand; the other interpolations are in test_pooling.py."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import minidl as md
import minidl.nn.functional as F
from minidl.autograd import gradcheck, gradgradcheck

PADDING = ["zeros", "border", "reflection"]


@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grids_against_pytorch(mode, padding):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    # far outside, and on the edges and the centres, where the gradient of a move into the image jumps
    near, exact = rng.uniform(-4, 4, (2, 3, 5, 2, 3)), rng.choice([-2, -1, -0.5, 0, 0.5, 1, 1.5], (2, 3, 5, 2, 3))
    for size, corners, places in itertools.product(((4, 3), (1, 5), (2, 3, 4)), (True, False), (near, exact)):
        n = len(size)
        if (mode, n) == ("bicubic", 3):
            continue
        a, b = rng.standard_normal((2, 3, *size)), places[..., :n] if n == 3 else places[:, :, :, 0, :n].copy()
        sides = []
        for m in (torch, md):
            f = torch.nn.functional if m is torch else F
            x, grid = m.tensor(a, requires_grad=True), m.tensor(b, requires_grad=True)
            out = f.grid_sample(x, grid, mode, padding, corners)
            (out * out.detach()).sum().backward()
            sides.append([t.detach().numpy() for t in (out, x.grad, grid.grad)])
        for theirs, ours in zip(*sides, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("padding", PADDING)
def test_gradients_of_both_orders(padding):
    rng = np.random.default_rng(1)
    x = md.tensor(rng.standard_normal((1, 2, 4, 3)), requires_grad=True)
    grid = md.tensor(rng.uniform(-1.4, 1.4, (1, 2, 3, 2)), requires_grad=True)
    for mode in ("bilinear", "bicubic"):
        assert gradcheck(lambda x, g, mode=mode: F.grid_sample(x, g, mode, padding), (x, grid))
        assert gradgradcheck(lambda x, g, mode=mode: F.grid_sample(x, g, mode, padding), (x, grid))


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("size", [(2, 3, 4, 5), (1, 2, 1, 3), (2, 1, 2, 3, 4)])
def test_the_identity_map_reads_the_image_itself(size, corners):
    n = len(size) - 2
    x = md.tensor(np.random.default_rng(0).standard_normal(size))
    identity = md.eye(n, n + 1, dtype=md.float64).expand(size[0], n, n + 1)
    np.testing.assert_allclose(
        F.grid_sample(x, F.affine_grid(identity, size, corners), "bilinear", "border", corners), x
    )


@pytest.mark.filterwarnings("ignore:Since version 1.3.0, affine_grid behavior has changed")  # PyTorch's, of size 1
@pytest.mark.parametrize("corners", [True, False])
def test_affine_grids_against_pytorch(corners):
    torch = pytest.importorskip("torch")
    for size in ((2, 1, 3, 4), (2, 1, 1, 5), (2, 1, 3, 1, 2)):
        a = np.random.default_rng(0).standard_normal((2, len(size) - 2, len(size) - 1))
        theirs, ours = torch.tensor(a, requires_grad=True), md.tensor(a, requires_grad=True)
        expected, got = torch.nn.functional.affine_grid(theirs, size, corners), F.affine_grid(ours, size, corners)
        np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-15)
        (expected * expected.detach()).sum().backward()
        (got * got.detach()).sum().backward()
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-12)


def test_places_that_are_no_numbers():
    nan, inf = float("nan"), float("inf")
    grid = md.tensor([[[[nan, 0.0], [inf, 0.0], [-inf, 0.0], [0.0, 0.0]]]])
    values = F.grid_sample(md.tensor([[[[1.0, 3.0]]]]), grid)[0, 0, 0].tolist()
    assert values == [pytest.approx(nan, nan_ok=True), 0, 0, 2]
    assert F.grid_sample(md.tensor([[[[1.0, 3.0]]]]), grid, padding_mode="border")[0, 0, 0, 1:].tolist() == [3, 1, 2]


def test_no_batch_and_no_places():
    assert F.grid_sample(md.ones(0, 2, 3, 3), md.ones(0, 4, 5, 2)).shape == (0, 2, 4, 5)
    assert F.grid_sample(md.ones(1, 2, 3, 3), md.ones(1, 0, 5, 2)).shape == (1, 2, 0, 5)


X, G = md.ones(1, 2, 3, 3), md.zeros(1, 4, 4, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.grid_sample(X, G, "linear"), ValueError, "mode to be one of nearest, bilinear, bicubic.*'linear'"),
        (lambda: F.grid_sample(X, G, "nearest", "circular"), ValueError, "padding_mode to be one of.*'circular'"),
        (lambda: F.grid_sample(X, md.zeros(1, 4, 4, 3)), RuntimeError, r"grid \[1, 4, 4, 3\]"),
        (lambda: F.grid_sample(X, md.zeros(2, 4, 4, 2)), RuntimeError, r"grid \[2, 4, 4, 2\]"),
        (lambda: F.grid_sample(md.ones(1, 2, 3), md.zeros(1, 4, 1)), RuntimeError, r"input \[1, 2, 3\]"),
        (lambda: F.grid_sample(X, G.double()), RuntimeError, "same float dtype"),
        (lambda: F.grid_sample(md.ones(1, 2, 0, 3), G), RuntimeError, "non-empty spatial"),
        (lambda: F.grid_sample(md.ones(1, 1, 2, 2, 2), md.zeros(1, 1, 1, 1, 3), "bicubic"), RuntimeError, "only supports 4D"),
        (lambda: F.affine_grid(md.ones(1, 2, 3).long(), (1, 1, 2, 2)), ValueError, "floating point"),
        (lambda: F.affine_grid(md.ones(1, 2, 3), (2, 1, 2, 2)), ValueError, r"theta \[1, 2, 3\]"),
        (lambda: F.affine_grid(md.ones(1, 2, 3), (1, 1, 0, 2)), ValueError, "positive size"),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call()
