"""What a training step does in two-byte floats on a GPU: no float32 copies, forward or backward, where a kernel takes such numbers."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import minidl as md
from minidl.nn import functional as F

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
CASTS = {"widen_packed", "widen_naive", "narrow_packed", "narrow_naive"}
# one rounding of each input and one of each result, in 11 or 8 bits, and those of what is between the two passes
CLOSE = {md.float16: 4e-3, md.bfloat16: 3e-2}


def mlp(x, w, b):
    return F.linear(F.relu(F.linear(x, w, b)), w)


def looked_up(x):
    return F.embedding(md.tensor([[0, 4, 4], [1, 4, 0]]).to(x.device), x)


def heads(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


CALLS = {  # a function and the shapes of its tensors
    "linear": (F.linear, (6, 16), (8, 16), (8,)),
    "linear of sequences": (F.linear, (2, 6, 16), (8, 16), (8,)),
    "two layers": (mlp, (6, 16), (16, 16), (16,)),
    "matmul": (md.matmul, (2, 4, 8), (2, 8, 5)),
    "relu": (F.relu, (9, 7)),
    "gelu": (F.gelu, (9, 7)),
    "softmax": (lambda x: F.softmax(x, -1), (5, 40)),
    "log_softmax": (lambda x: F.log_softmax(x, -1), (5, 40)),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (16,), w, b), (5, 16), (16,), (16,)),
    "rms_norm": (lambda x, w: F.rms_norm(x, (16,), w, 1e-5), (5, 16), (16,)),
    "attention": (heads, *[(1, 2, 9, 32)] * 3),
    "dropout": (lambda x: F.dropout(x, 0.25), (8, 8)),
    "embedding": (looked_up, (6, 8)),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, padding=1), (1, 9, 8, 8), (9, 9, 3, 3), (9,)),
    "conv_transpose2d": (lambda x, w, b: F.conv_transpose2d(x, w, b), (1, 9, 5, 4), (9, 8, 2, 2), (8,)),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), (2, 3, 9, 8)),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x, (4, 3)), (2, 3, 9, 8)),
}


def values(function, xs):
    md.manual_seed(0)  # of dropout
    y = function(*xs)
    g = md.from_numpy(np.random.default_rng(1).standard_normal(y.shape).astype(np.float32))
    y.backward(g.to(y.dtype).to(y.device))
    return y, xs


@pytest.mark.parametrize("half", [md.float16, md.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("name", CALLS)
def test_both_passes_stay_in_two_bytes(name, half, launched, monkeypatch):
    function, *shapes = CALLS[name]
    rng = np.random.default_rng(0)
    given = [md.from_numpy(rng.standard_normal(shape).astype(np.float32) / 2).to(half) for shape in shapes]
    xs = [x.to("cuda").requires_grad_() for x in given]
    launched.clear()  # of the casts above
    copies, astype = [], type(xs[0].array).astype

    def noted(array, dtype, *args, **kwargs):
        if array.dtype.itemsize == 2 and array.dtype.kind in "fV" and np.dtype(dtype).itemsize > 2:
            copies.append(array.shape)
        return astype(array, dtype, *args, **kwargs)

    if hasattr(type(xs[0].array), "host"):  # of the stand-in: CuPy's class takes no new methods
        monkeypatch.setattr(type(xs[0].array), "astype", noted)
    y, _ = values(function, xs)
    assert not copies and not CASTS & {entry for entry, _ in launched}
    assert y.dtype is half and all(x.grad.dtype is half for x in xs)
    wanted, ys = values(function, [x.float().requires_grad_() for x in given])
    for ours, theirs in ((y, wanted), *((x.grad, z.grad) for x, z in zip(xs, ys, strict=True))):
        theirs = theirs.detach().numpy()
        np.testing.assert_allclose(
            ours.detach().cpu().float().numpy(), theirs, CLOSE[half], CLOSE[half] * max(1, np.abs(theirs).max())
        )
