"""Sparse tensors on a GPU, or on the stand-in for one: the same values as on the CPU, and nothing is moved on the way."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import minidl as md

ANY = (md.sparse_coo, md.sparse_csr, md.sparse_csc)
X = np.random.default_rng(0).standard_normal((5, 3))
FUNCTIONS = {
    "product": lambda a, b, x: a @ x,
    "vector": lambda a, b, x: a @ x[:, 0],
    "from the left": lambda a, b, x: x.t() @ a.t(),
    "sparse product": lambda a, b, x: a @ b.t(),
    "sum of tensors": lambda a, b, x: a + b - a * 2,
    "with dense": lambda a, b, x: (x @ x.t())[:4] + a,
    "product of tensors": lambda a, b, x: a * b,
    "dense factor": lambda a, b, x: a * x[:, 0] / 3,
    "elementwise": lambda a, b, x: a.sin().relu() ** 2,
    "sums": lambda a, b, x: a.sum(0).to_dense() + a.t().sum(1, keepdim=True).to_dense()[:, 0] * a.sum(),
    "layouts": lambda a, b, x: a.to_sparse_csr().to_sparse_csc().to_sparse_coo().coalesce(),
    "softmax": lambda a, b, x: md.sparse.softmax(a, 1),
    "log_softmax": lambda a, b, x: md.sparse.log_softmax(a, 0),
    "sampled_addmm": lambda a, b, x: md.sparse.sampled_addmm(a, x[:4], x.t()),
    "mean": lambda a, b, x: md.sparse.mm(a, x, "mean"),
    "amax": lambda a, b, x: md.sparse.mm(a, x, "amax"),
    "mask": lambda a, b, x: b.sparse_mask(a) + (x @ x.t())[:4].sparse_mask(a),
}


@pytest.mark.parametrize("layout", ANY, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_on_the_cpu(name, layout, device, random_sparse):
    rng, results = np.random.default_rng(1), []
    a, b = (random_sparse(rng, (4, 5), n, layout) for n in (9, 6))
    for place in ("cpu", device):
        given = [t.detach().to(place).requires_grad_() for t in (a, b, md.tensor(X))]
        out = FUNCTIONS[name](*given)
        (out * out).sum().backward()
        assert all(t.device.type == md.device(place).type for t in (out, *given) if t is not None)
        results.append([out, *(t.grad for t in given if t.grad is not None)])
    assert len(results[0]) == len(results[1])
    for ours, theirs in zip(*results, strict=True):
        assert ours.layout is theirs.layout
        np.testing.assert_allclose(theirs.cpu().to_dense().detach(), ours.to_dense().detach(), rtol=1e-10, atol=1e-12)


def test_made_there(device):
    dense = md.tensor([[0.0, 2.0], [3.0, 0.0]], device=device)
    for layout in ANY:
        a = dense.to_sparse(layout=layout)
        assert a.is_cuda and repr(a).count("cuda") == 1 and a.cpu().device.type == "cpu"
        assert a.to_dense().tolist() == [[0, 2], [3, 0]] and pickle.loads(pickle.dumps(a)).is_cuda
    a = md.sparse_coo_tensor([[0, 0], [1, 1]], [1.0, 2.0], (2, 2), device=device)
    assert a.is_cuda and a.coalesce().values().tolist() == [3]
    with pytest.raises(RuntimeError, match="one device"):
        a @ md.ones(2, 2)


def test_row_gradients(device):
    results = []
    for place in ("cpu", device):
        md.manual_seed(0)
        e = md.nn.Embedding(6, 3, sparse=True).to(place)
        optimizers = [md.optim.SGD(e.parameters(), 0.1, momentum=0.9), md.optim.Adagrad(e.parameters()),
                      md.optim.SparseAdam(e.parameters())]  # fmt: skip
        for i, optimizer in enumerate(optimizers * 2):
            optimizer.zero_grad()
            (e(md.tensor([1, 4, 4, i], device=place)) ** 2).sum().backward()
            md.nn.utils.clip_grad_norm_(e.parameters(), 1.0)
            assert e.weight.grad.is_sparse and e.weight.grad.device.type == md.device(place).type
            optimizer.step()
        results.append(e.weight.detach().cpu().numpy())
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)
