"""Products of matrices on the device, which go to cuBLAS: every layout and batch, eager and recorded."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import minidl as md
from minidl.kernels import cublas

LAYOUTS = {
    "rows": lambda x: x,
    "columns": lambda x: x.mT.contiguous().mT,
    "part": lambda x: md.cat([x, x], -1)[..., : x.shape[-1]],
    "gaps": lambda x: md.stack([x, x], -1)[..., 0],
    "repeated": lambda x: x[..., None, :, :].expand(*x.shape[:-2], 2, *x.shape[-2:])[..., 1, :, :],
}
SHAPES = [((3, 4), (4, 5)), ((1, 4), (4, 1)), ((2, 3, 4), (2, 4, 5)), ((2, 3, 4), (4, 5)), ((3, 4), (2, 4, 5)),
          ((2, 1, 3, 4), (3, 4, 5)), ((4,), (4,)), ((4,), (2, 4, 5)), ((2, 3, 4), (4,)), ((3, 2, 4), (2, 3, 4, 2)),
          ((0, 4), (4, 5)), ((3, 0), (0, 5))]  # fmt: skip
TOLERANCE = {md.float64: 1e-12, md.float32: 1e-5, md.float16: 1e-2}


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_products(device, shapes):
    for dtype, tolerance in TOLERANCE.items():
        a, b = (md.randn(*shape).to(dtype) for shape in shapes)
        wanted = np.matmul(a.double().numpy(), b.double().numpy())
        for first, second in itertools.product(LAYOUTS.values(), repeat=2):
            x, y = (lay(t.to(device)) if t.ndim > 1 else t.to(device) for lay, t in ((first, a), (second, b)))
            found = x @ y
            assert found.dtype is dtype and found.shape == wanted.shape
            np.testing.assert_allclose(found.double().cpu().numpy(), wanted, tolerance, tolerance)


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x @ x.mT,
        lambda x: md.einsum("bij,bkj->bik", x, x),
        lambda x: md.einsum("bij,bik->jk", x, x),
        lambda x: md.einsum("bij,bik->bkj", x, x),
        lambda x: md.einsum("bij,j->ib", x, x[0, 0]),
        lambda x: md.nn.functional.conv2d(x[None], x[None, :, :2, :2], padding=1),
        lambda x: md.nn.functional.conv2d(x[None], x[:, None, :2, :2], groups=len(x)),
        lambda x: md.nn.functional.conv_transpose2d(x[None], x[:, None, :2, :2].contiguous()),
        lambda x: md.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True),
        lambda x: md.nn.functional.scaled_dot_product_attention(x, x, x, md.ones_like(x @ x.mT) > 0),
        lambda x: md.cdist(x, x),
    ],
)
def test_products_are_recorded_with_their_gradients(device, work):
    x = md.randn(2, 3, 4, device=device).requires_grad_()

    def step():
        x.grad = None
        out = work(x)
        out.square().sum().backward()
        return out.detach(), x.grad

    wanted = [t.clone() for t in step()]
    g = md.cuda.CUDAGraph()
    with md.cuda.graph(g):
        found = step()
    g.replay()
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a.cpu().numpy(), b.cpu().numpy(), 1e-5, 1e-5)


def test_a_first_product_cannot_be_recorded(device):
    x = md.ones(2, 2, device=device)
    cublas.handle_of.cache_clear()
    with pytest.raises(RuntimeError, match="run the block once before"), md.cuda.graph(md.cuda.CUDAGraph()):
        x @ x
    assert (x @ x).tolist() == [[2.0, 2.0], [2.0, 2.0]]
