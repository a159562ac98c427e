from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl as md

INDICES, VALUES = [[0, 1, 1], [2, 0, 2]], [3.0, 4.0, 5.0]
DENSE = [[0.0, 0.0, 3.0], [4.0, 0.0, 5.0]]


@pytest.mark.tiny
def test_three_layouts_of_one_matrix():
    coo = md.sparse_coo_tensor(INDICES, VALUES, (2, 3))
    csr = md.sparse_csr_tensor([0, 1, 3], [2, 0, 2], VALUES, (2, 3))
    csc = md.sparse_csc_tensor([0, 1, 1, 3], [1, 0, 1], [4.0, 3.0, 5.0], (2, 3))
    for t, layout in ((coo, md.sparse_coo), (csr, md.sparse_csr), (csc, md.sparse_csc)):
        assert t.layout is layout and t.to_dense().tolist() == DENSE and isinstance(t, md.Tensor)
        assert t.shape == (2, 3) and t.dtype is md.float32 and t._nnz() == 3 and len(t) == 2 and t.numel() == 6
        assert (t.sparse_dim(), t.dense_dim(), t.dim(), t.size(1), t.element_size()) == (2, 0, 2, 3, 4)
        for other in (md.sparse_coo, md.sparse_csr, md.sparse_csc):
            again = t.to_sparse(layout=other)
            assert again.layout is other and again.to_dense().tolist() == DENSE
        assert t.to_sparse(layout=layout) is t
    assert coo.is_sparse and not csr.is_sparse and csr.is_sparse_csr and not md.zeros(1).is_sparse
    assert md.tensor(DENSE).to_sparse_csr().crow_indices().tolist() == [0, 1, 3]
    assert md.tensor(DENSE).to_sparse_csc().row_indices().tolist() == [1, 0, 1]
    assert md.tensor(DENSE).layout is md.strided and md.tensor(DENSE).to_dense().tolist() == DENSE


def test_size_is_inferred():
    assert md.sparse_coo_tensor(INDICES, VALUES).shape == (2, 3)
    assert md.sparse_coo_tensor([[0, 2]], [[1.0, 2.0], [3.0, 4.0]]).shape == (3, 2)
    assert md.sparse_csr_tensor([0, 1, 3], [2, 0, 2], VALUES).shape == (2, 3)
    assert md.sparse_csc_tensor([0, 1, 1, 3], [1, 0, 1], VALUES).shape == (2, 3)
    assert md.sparse_coo_tensor([[], []], []).shape == (0, 0)


def test_nothing_stored():
    for t in (md.sparse_coo_tensor(size=(2, 3)), md.sparse_coo_tensor((2, 3)), md.sparse.FloatTensor(2, 3)):
        assert t._nnz() == 0 and t.is_coalesced() and t.to_dense().tolist() == [[0, 0, 0], [0, 0, 0]]
    for layout in (md.sparse_coo, md.sparse_csr, md.sparse_csc):
        t = md.zeros(2, 3, layout=layout, dtype=md.float64, requires_grad=True)
        assert t.layout is layout and t._nnz() == 0 and t.shape == (2, 3) and t.dtype is md.float64 and t.requires_grad
    assert md.empty((2, 3), layout=md.sparse_csr).crow_indices().tolist() == [0, 0, 0]
    assert md.zeros(2, layout=md.strided).layout is md.strided
    with pytest.raises(RuntimeError, match=r"ones: not implemented for torch\.sparse_coo"):
        md.ones(2, 3, layout=md.sparse_coo)
    empty = md.zeros(0, 3).to_sparse_csr()
    assert (empty @ md.ones(3, 2)).shape == (0, 2) and (md.ones(2, 0) @ empty).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_values_share_memory_and_indices_do_not():
    indices, values = md.tensor(INDICES), md.tensor(VALUES)
    t = md.sparse_coo_tensor(indices, values, (2, 3))
    values[0] = 7.0
    indices[0, 0] = 1
    assert t.to_dense().tolist() == [[0, 0, 7], [4, 0, 5]]
    with pytest.raises(RuntimeError, match="read-only"):
        t._indices()[0, 0] = 5


def test_gradients_reach_the_values_given():
    values = md.tensor(VALUES, requires_grad=True)
    for t in (md.sparse_coo_tensor(INDICES, values, (2, 3)), md.sparse_csr_tensor([0, 1, 3], [2, 0, 2], values)):
        values.grad = None
        assert t.requires_grad and not t.is_leaf
        (t.to_dense() ** 2).sum().backward()
        assert values.grad.tolist() == [6, 8, 10]
    leaf = md.sparse_coo_tensor(INDICES, VALUES, (2, 3), dtype=md.float64, requires_grad=True)
    assert leaf.is_leaf and leaf.dtype is md.float64
    assert not md.sparse_coo_tensor(INDICES, md.tensor(VALUES)).requires_grad


def test_legacy_constructors():
    t = md.sparse.FloatTensor(md.tensor(INDICES), md.tensor(VALUES), md.Size([2, 3]))
    assert t.to_dense().tolist() == DENSE and md.sparse.DoubleTensor(md.tensor(INDICES), md.tensor(VALUES)).shape == (
        2,
        3,
    )


C = md.sparse_coo_tensor
R = md.sparse_csr_tensor
REFUSED = {
    "negative index": (lambda: C([[0, -1], [0, 0]], [1.0, 2.0], (2, 3)), "negative index -1 for dim 0"),
    "index beyond size": (lambda: C(INDICES, VALUES, (2, 2)), "for dim 1, size is 2 but found index 2"),
    "another count": (lambda: C(INDICES, [1.0]), "same nnz, but got nnz from indices: 3, nnz from values: 1"),
    "float indices": (lambda: C(md.tensor([[0.0], [1.0]]), [1.0]), "indices must be integers, got float32"),
    "indices in one row": (lambda: C([0, 1], [1.0, 2.0]), r"must have 2 dimensions, got shape \[2\]"),
    "too few sizes": (lambda: C(INDICES, VALUES, (3,)), r"len\(size\) = 1, sparse_dim = 2"),
    "other blocks": (lambda: C([[0]], [[1.0, 2.0]], (3, 3)), r"expected \[1, 3\], got \[1, 2\]"),
    "negative size": (lambda: C(size=(-1, 2)), "negative dimension"),
    "not coalesced": (lambda: C([[1, 0], [0, 0]], [1.0, 2.0], (2, 2), is_coalesced=True), "uncoalesced"),
    "pointers begin late": (lambda: R([1, 1, 3], [2, 0, 2], VALUES), r"crow_indices\[..., 0\] == 0"),
    "pointers end early": (lambda: R([0, 1, 2], [2, 0, 2], VALUES), "it is 2, and nnz is 3"),
    "pointers fall": (lambda: R([0, 3, 1, 3], [2, 0, 2], VALUES), "end before it begins"),
    "column outside": (lambda: R([0, 1, 3], [2, 3, 0], VALUES, (2, 3)), "they go from 0 to 3"),
    "another number of rows": (lambda: R([0, 1, 3], [2, 0, 2], VALUES, (3, 3)), r"number of rows \+ 1 \(=4\), but got 3"),
    "values of another length": (lambda: R([0, 1, 3], [2, 0, 2], [1.0]), "one number for each of the 3 col_indices"),
    "batches": (lambda: R([[0, 1]], [[0]], [[1.0]]), "1 dimension"),
    "not a matrix": (lambda: R([0, 1], [0], [1.0], (1, 1, 1)), "that of a matrix"),
    "columns twice": (lambda: R([0, 2], [1, 1], [1.0, 2.0], check_invariants=True), "sorted and distinct"),
    "no layout": (lambda: md.sparse_compressed_tensor([0, 1], [0], [1.0]), "got none"),
    "another layout": (lambda: R([0, 1], [0], [1.0], layout=md.sparse_csc), "must be torch.sparse_csr"),
    "too many dimensions": (lambda: md.eye(2).to_sparse(3), r"in \[1,2\] range, but 3"),
    "csr of a vector": (lambda: md.ones(2).to_sparse_csr(), "is for matrices"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    make, message = REFUSED[case]
    with pytest.raises((RuntimeError, TypeError), match=message):
        make()


def test_unsorted_and_repeated_columns_are_taken():
    t = md.sparse_csr_tensor([0, 3], [2, 0, 2], [1.0, 2.0, 4.0], (1, 3))
    assert t.to_dense().tolist() == [[2, 0, 5]] and (t @ md.eye(3)).tolist() == [[2, 0, 5]]
    assert (t**2).to_dense().tolist() == [[4, 0, 25]]  # of the sum, not of what is stored
    assert t.to_sparse_csc().to_dense().tolist() == [[2, 0, 5]] and t.to_sparse_csc()._nnz() == 2


def test_hybrid_tensors():
    t = md.sparse_coo_tensor([[0, 2, 0]], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], (3, 2))
    assert (t.sparse_dim(), t.dense_dim(), t._nnz()) == (1, 1, 3) and not t.is_coalesced()
    assert t.to_dense().tolist() == [[6, 8], [0, 0], [3, 4]]
    assert t.coalesce().indices().tolist() == [[0, 2]] and t.coalesce().values().tolist() == [[6, 8], [3, 4]]
    again = md.tensor([[1.0, 0.0], [0.0, 0.0]]).to_sparse(1)
    assert again.indices().tolist() == [[0]] and again.values().tolist() == [[1, 0]]
    with pytest.raises(RuntimeError, match="with 1 sparse dimensions"):
        t.to_sparse_csr()
    with pytest.raises(RuntimeError, match="without dense dimensions"):
        t @ md.ones(2, 2)


@st.composite
def coordinates(draw):
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    places = draw(st.lists(st.tuples(*(st.integers(0, n - 1) for n in shape)), max_size=12))
    values = draw(st.lists(st.integers(-9, 9), min_size=len(places), max_size=len(places)))
    return shape, np.array(places, np.int64).reshape(-1, len(shape)).T, np.array(values, np.float64)


@given(coordinates())
@settings(deadline=None)  # the first call compiles
def test_any_coordinates(case):
    shape, indices, values = case
    wanted = np.zeros(shape)
    np.add.at(wanted, tuple(indices), values)
    t = md.sparse_coo_tensor(indices, values, shape)
    merged = t.coalesce()
    assert t.to_dense().tolist() == wanted.tolist() == merged.to_dense().tolist()
    keys = np.ravel_multi_index(tuple(merged.indices().numpy()), shape)
    assert merged.is_coalesced() and (np.diff(keys) > 0).all() and merged.coalesce() is merged
    stored = md.tensor(wanted).to_sparse()
    assert stored.to_dense().tolist() == wanted.tolist() and stored._nnz() == np.count_nonzero(wanted)
    if len(shape) == 2:
        scipy = pytest.importorskip("scipy.sparse")
        csr, theirs = t.to_sparse_csr(), scipy.coo_matrix((values, tuple(indices)), shape).tocsr()
        assert csr.crow_indices().tolist() == theirs.indptr.tolist()
        assert csr.col_indices().tolist() == theirs.indices.tolist() and csr.values().tolist() == theirs.data.tolist()
        csc, theirs = t.to_sparse_csc(), scipy.coo_matrix((values, tuple(indices)), shape).tocsc()
        assert csc.ccol_indices().tolist() == theirs.indptr.tolist()
        assert csc.row_indices().tolist() == theirs.indices.tolist() and csc.values().tolist() == theirs.data.tolist()


def test_too_many_elements_to_number():
    t = md.sparse_coo_tensor([[0], [1], [2]], [1.0], (2**40, 2**40, 2**40))
    assert t.sparse_dim() == 3
    with pytest.raises(RuntimeError, match="numbered in 64 bits"):
        (t + t.neg()).clone().pattern.keys()


def test_imported_at_first_use():
    code = "import sys, minidl; assert 'minidl.sparse' not in sys.modules; minidl.eye(2).to_sparse() @ minidl.eye(2)"
    subprocess.run([sys.executable, "-c", code], check=True)
