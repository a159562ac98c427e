"""What the tests of sparse tensors share: random patterns, and the same tensors in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md


def random_sparse(rng, shape, nnz, layout=md.sparse_coo, dtype=np.float64):
    """A matrix with entries at random places; some may be stored twice in sparse_coo, none in the others."""
    indices = np.stack([rng.integers(0, n, nnz) for n in shape])
    return md.sparse_coo_tensor(indices, rng.standard_normal(nnz).astype(dtype), shape).to_sparse(layout=layout)


def to_torch(t):
    """The same tensor in PyTorch, as a leaf that wants a gradient if it does."""
    torch = pytest.importorskip("torch")
    if not isinstance(t, md.Tensor):
        return t
    values = torch.from_numpy(t.entries.detach().numpy().copy())
    if t.layout is md.strided:
        return values.requires_grad_(t.requires_grad)
    p = t.pattern
    indices = torch.from_numpy(p.indices.copy())
    if t.is_sparse:
        result = torch.sparse_coo_tensor(indices, values, p.shape, is_coalesced=p.coalesced)
    else:
        make = torch.sparse_csr_tensor if t.is_sparse_csr else torch.sparse_csc_tensor
        result = make(torch.from_numpy(p.pointers.copy()), indices, values, p.shape)
    return result.requires_grad_(t.requires_grad)


def agree(ours, theirs, tolerance=1e-12):
    """Values, shape, dtype and layout of a result are PyTorch's."""
    assert str(ours.layout) == str(theirs.layout) and tuple(ours.shape) == tuple(theirs.shape)
    assert str(ours.dtype) == str(theirs.dtype)
    np.testing.assert_allclose(
        ours.detach().to_dense().numpy(), theirs.detach().to_dense().numpy(), rtol=tolerance, atol=tolerance
    )


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(name="random_sparse")
def random_sparse_fixture():
    return random_sparse


@pytest.fixture(name="to_torch")
def to_torch_fixture():
    return to_torch


@pytest.fixture(name="agree")
def agree_fixture():
    return agree
