"""Printing, copies, files and state of sparse tensors."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest

import minidl as md
from minidl import nn

ANY = (md.sparse_coo, md.sparse_csr, md.sparse_csc)


def example(layout=md.sparse_coo, **options):
    return md.sparse_coo_tensor(
        [[0, 1, 1], [2, 0, 2]], [3.0, 4.0, 5.5], (2, 3), is_coalesced=True, **options
    ).to_sparse(layout=layout)


@pytest.mark.filterwarnings("ignore:Sparse")
def test_printing_as_in_pytorch(to_torch, random_sparse, rng):
    torch = pytest.importorskip("torch")
    shown = [example(layout) for layout in ANY]
    shown += [
        md.sparse_coo_tensor([[0, 2, 0]], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], (3, 2)), md.sparse_coo_tensor(size=(2, 3)),
        md.zeros(2, 3).to_sparse_csr(), example().double(), example().long(), example().requires_grad_(),
        example(md.sparse_csr, dtype=md.float64).requires_grad_(),
        random_sparse(rng, (3000, 3000), 2000).float(), random_sparse(rng, (50, 50), 60, md.sparse_csc).float(),
        md.eye(2)[None].to_sparse(), md.ones(2).to_sparse(),
    ]  # fmt: skip
    for t in shown:
        assert repr(t) == repr(to_torch(t)), t
    a = example().requires_grad_() * 2
    assert repr(a).endswith("layout=torch.sparse_coo, grad_fn=<MulBackward0>)") and f"{a}" == repr(a) == str(a)
    assert repr(md.sparse_csr) == "torch.sparse_csr" == repr(torch.sparse_csr)


@pytest.mark.parametrize("layout", ANY, ids=str)
def test_copies(layout):
    a = example(layout).requires_grad_()
    a.sum().backward()
    for again in (copy.deepcopy(a), pickle.loads(pickle.dumps(a))):
        assert repr(again) == repr(a) and again.is_leaf
        again.values().detach().mul_(0)
        assert a.sum() == 12.5
    assert copy.deepcopy(a).grad.values().tolist() == [1, 1, 1]
    assert pickle.loads(pickle.dumps(md.sparse_csr)) is md.sparse_csr
    with pytest.raises(RuntimeError, match="cannot pickle a tensor that was computed"):
        pickle.dumps(a * 2)


@pytest.mark.parametrize("layout", ANY, ids=str)
def test_files(layout):
    file, a = io.BytesIO(), example(layout).requires_grad_()
    md.save({"a": [a], "b": md.sparse_coo_tensor([[1, 0]], [[1.0], [2.0]], (2, 1))}, file)
    file.seek(0)
    loaded = md.load(file)
    assert repr(loaded["a"][0]) == repr(a) and loaded["b"].to_dense().tolist() == [[2], [1]]
    assert not loaded["b"].is_coalesced()


def test_a_file_cannot_smuggle_indices_in():
    from minidl.serialization import _Reader

    arrays = {"i": np.array([[7], [0]]), "v": np.ones(1, np.float32)}
    parts = [
        [["str", "layout"], ["str", "sparse_coo"]], [["str", "shape"], ["tuple", [["int", 2], ["int", 2]]]],
        [["str", "coalesced"], ["bool", True]], [["str", "indices"], ["tensor", "i", False, False]],
        [["str", "pointers"], ["NoneType", None]], [["str", "values"], ["tensor", "v", False, False]],
    ]  # fmt: skip
    with pytest.raises(RuntimeError, match="found index 7"):
        _Reader(arrays, md.device("cpu")).decode(["sparse", ["dict", parts]])


class Convolution(nn.Module):
    def __init__(self, adjacency):
        super().__init__()
        self.register_buffer("adjacency", adjacency)
        self.linear = nn.Linear(3, 2)

    def forward(self, x):
        return self.adjacency @ self.linear(x)


def test_state_of_modules():
    model, other = Convolution(md.eye(3).to_sparse_csr()), Convolution(md.ones(3, 3).to_sparse_csr())
    x, file = md.randn(3, 3), io.BytesIO()
    md.save(model.state_dict(), file)
    file.seek(0)
    assert not np.allclose(model(x).detach().numpy(), other(x).detach().numpy())
    other.load_state_dict(md.load(file))
    np.testing.assert_array_equal(model(x).detach().numpy(), other(x).detach().numpy())
    assert other.adjacency.layout is md.sparse_csr and other.adjacency._nnz() == 3
    assert copy.deepcopy(model).adjacency.entries is not model.adjacency.entries
    assert model.double().adjacency.dtype is md.float64 and model.to("cpu")(x.double()).dtype is md.float64
    with pytest.raises(RuntimeError, match="size mismatch for adjacency"):
        Convolution(md.eye(4).to_sparse_csr()).load_state_dict(model.state_dict())


def test_in_place():
    a = example()
    assert a.zero_() is a and a._nnz() == 0 and a.is_coalesced()
    b = example(md.sparse_csr).zero_()
    assert b._nnz() == 3 and b.values().tolist() == [0, 0, 0]
    assert a.copy_(example()).to_dense().tolist() == example().to_dense().tolist()
    dense = md.ones(2, 3)
    dense += example()
    assert dense.tolist() == [[1, 1, 4], [5, 1, 6.5]]


def test_moving_is_nothing_on_one_device():
    a = example()
    assert a.to("cpu") is a and a.cpu() is a and a.float() is a and a.to(md.float64).float().dtype is md.float32
    assert a.device == md.device("cpu") and not a.is_cuda and a.type_as(md.zeros(1).double()).dtype is md.float64
    assert not a.is_contiguous() and a.is_floating_point() and not a.is_complex()
