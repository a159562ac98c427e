"""Sparse tensors on their CUDA kernels: values and gradients of the CPU, without a transfer or a wait on the way."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as md
from minidl.kernels import sparse
from minidl.kernels.sparse import BUSY, PIECE, cut, cuts_where_uneven, spmm
from minidl.testing import cuda_on_cpu, kernel_cases

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

N, M = 6, 2 * PIECE + 40


def matrix(layout, uneven):
    """Some entries in random order, in sparse_coo some in one place; if uneven, a row that is full."""
    rng = np.random.default_rng(1)
    indices = np.stack([rng.integers(0, N, 60), rng.integers(0, M, 60)])
    if uneven:
        indices = np.concatenate([indices, np.stack([np.full(M, 2), rng.permutation(M)])], axis=1)
    values = rng.standard_normal(indices.shape[1]).astype(np.float32)
    return md.sparse_coo_tensor(indices, values, (N, M)).to_sparse(layout=layout)


FUNCTIONS = {
    "product": lambda a, x, y: a @ x,
    "sparse.mm": lambda a, x, y: md.sparse.mm(a, x),
    "vector": lambda a, x, y: a @ x[:, 0],
    "from the left": lambda a, x, y: x.t() @ a.t(),
    "transposed": lambda a, x, y: a.t() @ y,
    "sampled": lambda a, x, y: md.sparse.sampled_addmm(a, y, x.t()),
}


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("layout", (md.sparse_coo, md.sparse_csr, md.sparse_csc), ids=str)
def test_values_and_gradients_are_those_of_the_cpu(layout, uneven, launched):
    rng, a = np.random.default_rng(2), matrix(layout, uneven)
    x, y = (md.tensor(rng.standard_normal((n, 33)).astype(np.float32)) for n in (M, N))
    for name, function in FUNCTIONS.items():
        results = []
        for place in ("cpu", "cuda"):
            given_here = [t.detach().to(place).requires_grad_() for t in (a, x, y)]
            out = function(*given_here)
            (out * out).sum().backward()
            results.append([out, *(t.grad for t in given_here if t.grad is not None)])
        for ours, theirs in zip(*results, strict=True):
            wanted = ours.to_dense().detach().numpy()
            close = {"rtol": 1e-5, "atol": 1e-5 * max(1.0, float(np.abs(wanted).max()))}
            np.testing.assert_allclose(theirs.cpu().to_dense().detach(), wanted, **close, err_msg=name)
    names = {name for name, _ in launched}
    assert {"spmm_rows", "sddmm_warps"} <= names and uneven == ({"spmm_merge", "spmm_carry"} <= names)


def test_a_step_waits_for_nothing_once_the_matrix_is_known(launched):
    import cupy

    a = matrix(md.sparse_coo, True).to("cuda").requires_grad_()
    x = md.ones(M, 3, device="cuda", requires_grad=True)

    def step():
        (a @ x).sum().backward()

    step()
    launched.clear()
    stream = cupy.cuda.Stream()
    with stream:
        stream.begin_capture()  # in which whatever waits or copies raises
        step()
        stream.end_capture()
    assert {"spmm_merge", "spmm_carry", "sddmm_warps", "spmm_rows"} <= {name for name, _ in launched}


def test_half_precision(launched):
    a, x = matrix(md.sparse_csr, True).half(), md.randn(M, 16).half()
    np.testing.assert_allclose((a.to("cuda") @ x.cuda()).cpu().float(), (a.float() @ x.float()), rtol=2e-3, atol=2e-2)
    assert ("spmm_merge", "float16") in launched


def test_steps_on_sparse_gradients(launched):
    results = []
    for place in ("cpu", "cuda"):
        md.manual_seed(0)
        e = md.nn.Embedding(6, 5, sparse=True).to(place)
        optimizers = [md.optim.SGD(e.parameters(), 0.1), md.optim.SGD(e.parameters(), 0.1, momentum=0.9),
                      md.optim.SparseAdam(e.parameters())]  # fmt: skip
        for i, optimizer in enumerate(optimizers * 2):
            optimizer.zero_grad()
            (e(md.tensor([1, 4, 4, i], device=place)) ** 2).sum().backward()
            optimizer.step()
        results.append(e.weight.detach().cpu().numpy())
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)
    assert {("add_rows", "float32"), ("adam_rows", "float32")} <= launched


def test_indices_on_the_device_are_checked_there(launched):
    at = md.tensor([[0, 1], [2, 0]], device="cuda")
    a = md.sparse_coo_tensor(at, md.ones(2, device="cuda"))
    assert a.shape == (2, 3) and a.is_cuda and (a @ md.ones(3, device="cuda")).tolist() == [1, 1]
    pointers, columns = md.tensor([0, 1, 2], device="cuda"), md.tensor([2, 0], device="cuda")
    b = md.sparse_csr_tensor(pointers, columns, md.ones(2, device="cuda"), check_invariants=True)
    assert (b.to_dense() == a.to_dense()).all()
    with pytest.raises(RuntimeError, match="size is inconsistent with indices: for dim 1, size is 2 but found index 2"):
        md.sparse_coo_tensor(at, md.ones(2, device="cuda"), (2, 2))
    with pytest.raises(RuntimeError, match=r"`0 <= col_indices < 2` is not satisfied: they go from 0 to 2"):
        md.sparse_csr_tensor(pointers, columns, md.ones(2, device="cuda"), (2, 2))
    with pytest.raises(RuntimeError, match="found negative index -1 for dim 0"):
        md.sparse_coo_tensor(-at, md.ones(2, device="cuda"), (2, 3))


def test_what_the_kernels_are_not_made_for_is_left_to_the_reference():
    pointers, indices, values = np.array([0, 1]), np.array([0], np.int32), np.ones(1, np.float32)
    supports = sparse.supports_cuda
    assert supports(values, np.ones((1, 2), np.float32), pointers, indices)
    for other in (values.astype(np.float64), values.astype(np.float16), values.astype(np.int32)):
        assert not supports(other, np.ones((1, 2), np.float32), pointers, indices)
    assert not supports(values, np.ones((1, 2)), pointers, indices)
    assert not supports(values, values, pointers.astype(np.int32), indices)
    assert not supports(values, values, pointers, indices.astype(np.int64))
    assert not supports(values, np.broadcast_to(values, (1, sparse.WIDEST + 1)), pointers, indices)


# ---- how the work is shared out ----------------------------------------------------------------------------------------


@given(st.lists(st.one_of(st.integers(0, 3), st.integers(0, 700)), max_size=300))
def test_pieces_have_equal_work_and_no_entry_is_lost(lengths):
    pointers = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    nnz, rows = int(pointers[-1]), len(lengths)
    cuts = cut(pointers, nnz)
    assert cuts[0] == 0 and cuts[-1] == rows
    begins = np.minimum(np.arange(cuts.size) * PIECE, rows + nnz)
    entries = begins - cuts  # before each piece
    assert entries[0] == 0 and entries[-1] == nnz and (np.diff(entries) >= 0).all() and (np.diff(cuts) >= 0).all()
    assert (np.diff(entries) + np.diff(cuts)).max(initial=0) <= PIECE
    for row, entry in zip(
        cuts[:-1], entries[:-1], strict=True
    ):  # a piece begins in the row of its first entry, or at its end
        assert pointers[row] <= entry <= pointers[row + 1]


def test_the_pieces_that_the_header_shows(monkeypatch):
    monkeypatch.setattr(sparse, "PIECE", 4)
    assert cut(np.array([0, 2, 2, 7]), 7).tolist() == [0, 2, 2, 3]


@pytest.mark.parametrize(
    "lengths, uneven",
    [
        ([100] * 50, False),
        ([2 * PIECE, 0, 0], False),  # too short to be worth it
        ([2 * PIECE + 1, 0, 0], True),
        ([400] * 2000, False),  # long, but there are enough of them
        ([400] * 2000 + [400 * 2000 // BUSY + 2], True),
        ([0] * 5, False),
        ([], False),
    ],
    ids=str,
)
def test_the_longest_row_decides(lengths, uneven, launched):
    import cupy

    pointers = cupy.asarray(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    assert (cuts_where_uneven(pointers, sum(lengths)) is not None) == uneven
    assert cuts_where_uneven(pointers.get(), sum(lengths)) is None  # on a CPU rows follow one another


def test_cut_rows_add_up_in_one_order():
    pointers, indices = kernel_cases.sparse_rows(np.random.default_rng(0), 40, [3, 3000, 0, 900])
    values, dense = (np.random.default_rng(1).standard_normal(n).astype(np.float32) for n in (indices.size, (40, 5)))
    results = []
    for order in ("forward", "reverse"):
        with cuda_on_cpu.running(order=order):
            results.append(spmm.variants["cuda", "cuda_merge"].run(values, dense, pointers, indices))
    np.testing.assert_array_equal(*results)
