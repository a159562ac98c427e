"""use_deterministic_algorithms(True): the same bits at every run of an operation on a GPU, or an error that names it."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md
from minidl import kernels
from minidl.kernels import accumulate, determinism
from minidl.nn import functional as F


@pytest.fixture
def strict(device, monkeypatch):
    """The switch is on, and adding floats atomically fails."""

    def at(name, out, index, values):
        assert name != "add" or out.dtype.kind not in "fc" or out.__class__ is np.ndarray, (
            f"{name}.at of {out.dtype}: the order of additions is open"
        )
        plain(name, out, index, values)

    plain = accumulate._at
    monkeypatch.setattr(accumulate, "_at", at)
    md.use_deterministic_algorithms(True)
    yield device
    md.use_deterministic_algorithms(False)


def leaf(*shape, dtype="float32", low=None):
    rng = np.random.default_rng(0)
    values = rng.standard_normal(shape) if low is None else rng.uniform(low, low + 1, shape)
    return md.from_numpy(values.astype(dtype)).requires_grad_()


INDEX, GRID = np.array([3, 0, 3, 1, 3, 0, 3]), np.linspace(-1, 1, 18).reshape(1, 3, 3, 2).astype(np.float32)

CALLS = {
    "index_add": lambda x, i: x.index_add(0, i, x[:1].expand(7, 4)),
    "index": lambda x, i: x[i],
    "index of two": lambda x, i: x[i, i],
    "index_put, accumulate": lambda x, i: md.zeros_like(x).index_put((i,), x[:1].expand(7, 4), accumulate=True),
    "put, accumulate": lambda x, i: x.put(i, x.reshape(-1)[:7], accumulate=True),
    "take": lambda x, i: x.take(i),
    "gather": lambda x, i: x.gather(0, i[:, None].expand(7, 4)),
    "scatter_add": lambda x, i: x.scatter_add(0, i[:5, None].expand(5, 4), x),
    "scatter_reduce": lambda x, i: x.scatter_reduce(0, i[:5, None].expand(5, 4), x, "amax"),
    "index_select": lambda x, i: x.index_select(0, i),
    "repeat_interleave": lambda x, i: x.repeat_interleave(3, 0),
    "embedding": lambda x, i: F.embedding(i, x),
    "embedding_bag": lambda x, i: F.embedding_bag(i, x, md.tensor([0, 3], device=x.device)),
    "embedding, sparse": lambda x, i: F.embedding(i, x, sparse=True),
    "max_pool2d": lambda x, i: F.max_pool2d(x[None, None], 3, 1),
    "adaptive_max_pool2d": lambda x, i: F.adaptive_max_pool2d(x[None, None], (3, 3)),
    "max_unpool1d": lambda x, i: F.max_unpool1d(*F.max_pool1d(x[None], 2, return_indices=True), 2),
    "interpolate": lambda x, i: F.interpolate(x[None, None], (7, 7), mode="bilinear"),
    "grid_sample": lambda x, i: F.grid_sample(
        x[None, None], md.from_numpy(GRID).to(x.device, x.dtype), align_corners=False
    ),
    "unfold": lambda x, i: F.unfold(x[None, None], 3),
    "sparse product": lambda x, i: md.sparse.mm(
        md.sparse_coo_tensor(md.stack([i % 3, i]), x.reshape(-1)[:7], (3, 5)), x
    ),
    "to_dense": lambda x, i: md.sparse_coo_tensor(i[None], x.reshape(-1)[:7], (5,)).to_dense(),
    "cumsum": lambda x, i: x.cumsum(0),
    "cumprod": lambda x, i: x.cumprod(0),
    "bincount": lambda x, i: md.bincount(i, x.detach().reshape(-1)[:7]) * x.sum(),
    "sum": lambda x, i: x.sum(0),
    "ctc_loss": lambda x, i: F.ctc_loss(F.log_softmax(x[:, None].expand(5, 2, 4), -1), i[:4].reshape(2, 2).clamp(1), (5, 5), (2, 2)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", CALLS)
def test_the_same_at_every_run_and_as_on_the_cpu(strict, name, dtype):
    if dtype == "float16" and name in ("ctc_loss", "sparse product", "grid_sample"):
        pytest.skip("float32 is what these are for")

    def run(where):
        x, i = leaf(5, 4, dtype=dtype).detach().to(where).requires_grad_(), md.from_numpy(INDEX).to(where)
        y = CALLS[name](x, i)
        y.backward(md.ones_like(y) * 0.7)
        g = x.grad.to_dense() if x.grad.is_sparse else x.grad
        return [t.detach().cpu().numpy() for t in (y, g)]

    first, second, host = run(strict), run(strict), run("cpu")
    rtol = 4e-3 if dtype == "float16" else 1e-5
    for a, b, c in zip(first, second, host, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=rtol, atol=rtol)


def test_complex_numbers_too(strict):
    x = leaf(4, dtype="complex64").detach()
    i = md.from_numpy(INDEX)
    found = md.zeros(4, dtype=md.complex64, device=strict).index_add(0, i.to(strict), x[i].to(strict))
    np.testing.assert_allclose(
        found.cpu().numpy(), md.zeros(4, dtype=md.complex64).index_add(0, i, x[i]).numpy(), rtol=1e-6
    )


@pytest.mark.parametrize("count, places", [(0, 4), (1, 1), (1000, 3), (1000, 1), (37, 1000)])
def test_adding_in_order(strict, count, places):
    rng = np.random.default_rng(0)
    index, values = rng.integers(0, places, count), rng.standard_normal((count, 3)).astype(np.float32)
    out = md.ones(places, 3, device=strict)
    accumulate.add_at(out.array, (md.from_numpy(index).to(strict).array,), md.from_numpy(values).to(strict).array)
    wanted = np.ones((places, 3))
    np.add.at(wanted, index, values)
    np.testing.assert_allclose(out.cpu().numpy(), wanted, rtol=1e-5, atol=1e-5)


def test_of_several_values_for_one_element_the_last_stays(strict):
    for where in (strict, "cpu"):
        x, i, v = (md.from_numpy(a).to(where) for a in (np.zeros((5, 2)), INDEX, np.arange(14.0).reshape(7, 2)))
        x[i] = v
        y = md.zeros(5, 2, dtype=md.float64, device=where).scatter(0, i[:, None].expand(7, 2), v)
        z = md.zeros(5, 2, dtype=md.float64, device=where).index_copy(0, i, v)
        for found in (x, y, z):
            assert found.tolist() == [[10, 11], [6, 7], [0, 0], [12, 13], [0, 0]]


def test_an_optimizer_step_of_a_sparse_gradient(strict):
    weight = md.ones(4, 2, device=strict).requires_grad_()
    F.embedding(md.from_numpy(INDEX).to(strict), weight, sparse=True).sum().backward()
    md.optim.SGD([weight], lr=1.0).step()
    assert weight.tolist() == [[-1, -1], [0, 0], [1, 1], [-3, -3]]


def test_what_has_no_such_path_is_named(device):
    x = md.ones(4, device=device)
    i, weights = md.tensor([0, 1, 1, 0], device=device), md.ones(4, device=device)
    md.use_deterministic_algorithms(True)
    try:
        with pytest.raises(
            RuntimeError, match="histogram with weights on a GPU does not have a deterministic implementation"
        ):
            md.histogram(x, 3, weight=weights)
        weight = md.ones(4, 2, device=device).requires_grad_()
        with pytest.raises(RuntimeError, match="adding to elements by an index, within a CUDA graph"):
            with md.cuda.graph(md.cuda.CUDAGraph()):
                F.embedding(i, weight).sum().backward()
        md.use_deterministic_algorithms(True, warn_only=True)
        with pytest.warns(UserWarning, match="histogram with weights"):
            md.histogram(x, 3, weight=weights)
    finally:
        md.use_deterministic_algorithms(False)
    md.histogram(x, 3, weight=weights)


def test_a_variant_that_adds_atomically_is_refused():
    for name, variant in (
        ("sum_axes", "cuda_atomic"),
        ("embedding_backward", "cuda_atomic"),
        ("sum_axes", "numba_cuda"),
    ):
        kernels.load_all()
        kernel, x = kernels.REGISTRY[name], np.ones((2, 2), np.float32)
        args = (x, (0, 1), False) if name == "sum_axes" else (x, np.array([0, 0]), 2)
        md.use_deterministic_algorithms(True)
        try:
            with pytest.raises(
                RuntimeError, match=rf"{name}.*{variant if 'atomic' in variant else 'sum_warps'}.* deterministic"
            ):
                kernel.variants["cuda", variant].run(*args)
        finally:
            md.use_deterministic_algorithms(False)


@pytest.mark.tiny
def test_the_switches():
    try:
        for mode, number in (("default", 0), ("warn", 1), ("error", 2)):
            for given in (mode, number):
                md.set_deterministic_debug_mode(given)
                assert md.get_deterministic_debug_mode() == number and determinism.mode == mode
                assert md.are_deterministic_algorithms_enabled() is (number > 0)
                assert md.is_deterministic_algorithms_warn_only_enabled() is (number == 1)
        for wrong in ("always", 3, -1):
            with pytest.raises(RuntimeError, match=f"set_deterministic_debug_mode: expected .* got {wrong!r}"):
                md.set_deterministic_debug_mode(wrong)
        with pytest.raises(ValueError, match="one of default, warn, error, got 'always'"):
            determinism.set_mode("always")
    finally:
        md.use_deterministic_algorithms(False)
    assert not md.are_deterministic_algorithms_enabled()
