"""Matrices in blocks, sparse_bsr and sparse_bsc: as PyTorch makes, prints and multiplies them, and their gradients."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.autograd.gradcheck import directional_check

BSR, BSC = md.sparse_bsr, md.sparse_bsc
CROW, COL, SIZE = [0, 1, 1, 3], [1, 0, 1], (6, 6)
V = np.arange(1.0, 19.0).reshape(3, 2, 3)
pytestmark = pytest.mark.filterwarnings("ignore:Sparse")  # PyTorch's, of a beta state


def example(dtype=md.float32):
    return md.sparse_bsr_tensor(CROW, COL, V, SIZE, dtype=dtype)


def matrix(rng, block, grid=(3, 4), share=0.5, dtype=np.float64):
    """A matrix of which about this share of blocks is not 0, the second row of blocks is."""
    stored = rng.random(grid) < share
    stored[1] = False
    normal = rng.standard_normal((grid[0] * block[0], grid[1] * block[1]))
    return np.where(np.kron(stored, np.ones(block)), normal, 0).astype(dtype)


def to_torch(t):
    torch = pytest.importorskip("torch")
    make = torch.sparse_bsr_tensor if t.layout is BSR else torch.sparse_bsc_tensor
    p = t.pattern
    parts = (torch.from_numpy(a.copy()) for a in (p.pointers, p.indices, t.entries.detach().numpy()))
    return make(*parts, tuple(t.shape)).requires_grad_(t.requires_grad)


@pytest.mark.tiny
def test_its_parts():
    a = example()
    assert a.layout is BSR and a.shape == SIZE and a._nnz() == 3 and (a.sparse_dim(), a.dense_dim()) == (2, 0)
    assert not a.is_sparse and not a.is_sparse_csr and a.numel() == 36 and a.dtype is md.float32
    assert a.crow_indices().tolist() == CROW and a.col_indices().tolist() == COL and a.values().shape == (3, 2, 3)
    assert a.to_dense()[4].tolist() == [7, 8, 9, 13, 14, 15] and a.to_dense()[2:4].tolist() == [[0] * 6] * 2
    b = a.t()
    assert b.layout is BSC and b.ccol_indices().tolist() == CROW and b.values().shape == (3, 3, 2)
    assert (b.to_dense() == a.to_dense().t()).all() and (b.t().to_dense() == a.to_dense()).all()
    assert md.sparse_compressed_tensor(CROW, COL, V, SIZE, layout=BSR).to_dense().tolist() == a.to_dense().tolist()
    assert (
        md.sparse_bsr_tensor(CROW, COL, V).shape == md.sparse_bsc_tensor(CROW, COL, V.transpose(0, 2, 1)).shape == SIZE
    )


def test_conversions_as_in_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for block in ((2, 3), (1, 4), (3, 1), (2, 2)):
        w = matrix(rng, block)
        w[0, 0] = 1  # a block with zeros inside
        for name in ("to_sparse_bsr", "to_sparse_bsc"):
            theirs = getattr(torch.from_numpy(w), name)(block)
            sources = md.tensor(w), md.tensor(w).to_sparse(), md.tensor(w).to_sparse_csr(), md.tensor(w).to_sparse_csc()
            for source in (*sources, md.tensor(w).to_sparse_bsc((1, 1)), md.tensor(w).to_sparse_bsr(block)):
                ours = getattr(source, name)(block)
                assert repr(ours) == repr(theirs)
                assert ours.to_dense().tolist() == w.tolist() == ours.to_sparse_csr().to_dense().tolist()
            coo, wanted = ours.to_sparse(), theirs.to_sparse()
            assert coo.coalesce().indices().tolist() == wanted.coalesce().indices().tolist()
            assert ours.to_sparse_csc().to_dense().tolist() == w.tolist()
    a = example()
    assert a.to_sparse_bsr((2, 3)) is a and a.to_sparse(layout=BSR, blocksize=(2, 3)) is a
    assert md.eye(4).to_sparse_bsr(2).values().tolist() == [[[1, 0], [0, 1]]] * 2
    assert md.zeros(4, 6).to_sparse_bsr((2, 3)).crow_indices().tolist() == [0, 0, 0]
    assert md.zeros(0, 6).to_sparse_bsr((2, 3)).shape == (0, 6)


def test_printing_as_in_pytorch():
    torch = pytest.importorskip("torch")
    w = np.random.default_rng(0).standard_normal((300, 300)).astype(np.float32)
    for t in (example(), example(md.float64), example().t().detach(), example().long(), example().requires_grad_(),
              md.zeros(4, 4).to_sparse_bsr((2, 2)), md.tensor(w).to_sparse_bsr((2, 3))):  # fmt: skip
        assert repr(t) == repr(to_torch(t))
    assert repr(BSR) == repr(torch.sparse_bsr) and repr(BSC) == repr(torch.sparse_bsc)
    assert repr(example().requires_grad_() * 2).endswith("layout=torch.sparse_bsr, grad_fn=<MulBackward0>)")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("D", [0, 1, 3, 33, 128])
def test_products_as_in_pytorch(D, dtype):
    torch = pytest.importorskip("torch")
    rng, tolerance = np.random.default_rng(D), 1e-4 if dtype is np.float32 else 1e-12
    for share in (0.6, 0.0):
        w = matrix(rng, (4, 4), share=share, dtype=dtype)
        x = rng.standard_normal((D, 16)).astype(dtype).T  # not contiguous
        a, t, m, u = (
            md.tensor(w).to_sparse_bsr((4, 4)),
            torch.from_numpy(w).to_sparse_bsr((4, 4)),
            md.tensor(x),
            torch.from_numpy(x),
        )
        pairs = [(a @ m, t @ u), (md.mm(a, m), torch.mm(t, u)), (a.matmul(m), t.matmul(u)), (md.sparse.mm(a, m), t @ u),
                 (nn.functional.linear(m.t(), a), torch.nn.functional.linear(u.t(), torch.from_numpy(w)))]  # fmt: skip
        if D:
            pairs += [(a @ m[:, 0], t @ u[:, 0]), (md.mv(a, m[:, -1]), torch.mv(t, u[:, -1]))]
        for ours, theirs in pairs:
            assert ours.layout is md.strided and str(ours.dtype) == str(theirs.dtype)
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("block", [(2, 3), (5, 1), (16, 8), (3, 20)], ids=str)
def test_products_and_gradients_as_those_of_the_dense_matrix(block, dtype):
    """PyTorch's own sparse_bsr has no product with blocks that are not square, and no gradient at all, on a CPU."""
    torch = pytest.importorskip("torch")
    rng, tolerance = np.random.default_rng(1), 1e-4 if dtype is np.float32 else 1e-12
    w = matrix(rng, block, dtype=dtype)
    (N, M), dtype_of = w.shape, {"dtype": dtype}
    x, y, v = (rng.standard_normal(shape).astype(**dtype_of) for shape in ((M, 35), (2, 4, N), (M,)))
    functions = (
        lambda lib, a, x, y, v: a @ x, lambda lib, a, x, y, v: y @ a, lambda lib, a, x, y, v: a @ v,
        lambda lib, a, x, y, v: a.t() @ y[0].t(), lambda lib, a, x, y, v: x[:, 0] @ a.t(),
        lambda lib, a, x, y, v: lib.nn.functional.linear(x.t()[::2], a, y[0, 0]),
    )  # fmt: skip
    for layout in (BSR, BSC):
        for f in functions:
            dense = [torch.from_numpy(each).requires_grad_() for each in (w, x, y, v)]
            given = [md.tensor(each).requires_grad_() for each in (x, y, v)]
            a = md.tensor(w).to_sparse(layout=layout, blocksize=block).requires_grad_()
            ours, theirs = f(md, a, *given), f(torch, *dense)
            np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=tolerance, atol=tolerance)
            g = rng.standard_normal(tuple(theirs.shape)).astype(dtype)
            ours.backward(md.tensor(g))
            theirs.backward(torch.from_numpy(g))
            assert a.grad.layout is layout and a.grad.pattern is a.pattern
            wanted = dense[0].grad.numpy() * (w != 0)
            np.testing.assert_allclose(a.grad.to_dense().numpy(), wanted, rtol=10 * tolerance, atol=10 * tolerance)
            for t, u in zip(given, dense[1:], strict=True):
                if u.grad is not None:
                    np.testing.assert_allclose(t.grad.numpy(), u.grad.numpy(), rtol=tolerance, atol=10 * tolerance)


FUNCTIONS = {
    "product": lambda a, x: (a @ x).tanh() @ x.t(),
    "from the left": lambda a, x: (x.t() @ a).sin() @ x,
    "vector": lambda a, x: a.t() @ (a @ x[:, 0]).sin(),
    "sparse product": lambda a, x: (a @ a.t()).to_dense(),
    "sampled_addmm": lambda a, x: md.sparse.sampled_addmm(a, x, x.t(), beta=0.5).to_dense() ** 2,
    "elementwise": lambda a, x: ((a * 3 - a).sin() * a / 2).to_dense() + (a**2).sum(),
    "dense factor": lambda a, x: (a * x[:, 0]).to_dense() + a * (x @ x.t()).sparse_mask(a) @ x[:, :1],
    "layouts": lambda a, x: (a.to_sparse_csc() @ x).sin() + a.to_sparse_bsc((3, 2)) @ x**2,
    "sums": lambda a, x: a.sum(0).to_dense() * a.sum(1).to_dense() * a.sum(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives(name):
    def f(v, x):
        return FUNCTIONS[name](md.sparse_bsr_tensor(CROW, COL, v, SIZE), x)

    rng = np.random.default_rng(1)
    leaves = [md.tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((3, 2, 3), (6, 2))]
    directional_check(f, leaves, order=2)


def test_derivatives_of_the_conversion():
    x = md.tensor(np.random.default_rng(1).standard_normal((4, 6)), requires_grad=True)
    directional_check(
        lambda x: x.to_sparse_bsr((2, 3)).values() ** 2 + x.to_sparse().to_sparse_bsc((2, 3)).values(), [x], order=2
    )


def test_gradients_of_results_in_blocks():
    a = example().requires_grad_()
    coo = md.sparse_coo_tensor([[0, 5, 2], [3, 5, 0]], [1.0, 2.0, 9.0], SIZE)  # the last is outside of the blocks
    for given in (md.ones(6, 6), md.ones(6, 6).to_sparse_bsr((2, 3)), coo):
        a.grad = None
        (a * 3).backward(given)
        assert (a.grad.to_dense() == 3 * given.to_dense() * (a.detach().to_dense() != 0)).all()
    a.grad = coo
    assert a.grad.layout is BSR and a.grad.values().sum() == 3


def test_what_is_kept_is_grouped_once():
    a = example().requires_grad_()
    for _ in range(2):
        x = md.ones(6, 2, requires_grad=True)
        (a @ x).sum().backward()
    groups = a.pattern.grid._groups
    assert groups[0] is a.t().pattern.compressed(1) and groups[1] is a.t().pattern.compressed(0)


def _make(*parts, **options):
    return md.sparse_bsr_tensor(*parts, **options)


REFUSED = {
    "not divisible": (lambda: _make(CROW, COL, V, (6, 7)), r"tensor shape\[1\] \(=7\) must be divisible with blocksize\[1\] \(=3\)"),
    "rows": (lambda: _make(CROW, COL, V, (8, 6)), r"shape\[-1\] must be equal to the number of row blocks \+ 1 \(=5\), but got 4"),
    "columns": (lambda: md.sparse_bsc_tensor(CROW, COL, V, (6, 6)), r"number of column blocks \+ 1 \(=3\), but got 4"),
    "too large": (lambda: _make(CROW, [2, 0, 1], V, SIZE), "`0 <= col_indices < 2` is not satisfied: they go from 0 to 2"),
    "negative": (lambda: _make(CROW, [-1, 0, 1], V, SIZE), "they go from -1 to 1"),
    "unsorted": (lambda: _make(CROW, [1, 1, 0], V, SIZE), "sorted and distinct between two crow_indices"),
    "twice": (lambda: _make(CROW, [1, 1, 1], V, SIZE), "sorted and distinct"),
    "first": (lambda: _make([1, 2, 2, 3], COL, V, SIZE), r"`crow_indices\[..., 0\] == 0` is not satisfied"),
    "last": (lambda: _make([0, 2, 2, 2], COL, V, SIZE), r"`crow_indices\[..., -1\] == nnz` is not satisfied"),
    "falling": (lambda: _make([0, 2, 1, 3], COL, V, SIZE), "end before it begins"),
    "number": (lambda: _make(CROW, [1, 0], V, SIZE), r"one block \(R, C\) for each of the 2 col_indices, got shape \[3, 2, 3\]"),
    "no blocks": (lambda: _make(CROW, COL, V[:, 0], SIZE), r"one block \(R, C\) .* got shape \[3, 3\]"),
    "empty blocks": (lambda: _make(CROW, COL, V[:, :0], (0, 6)), r"got shape \[3, 0, 3\]"),
    "ragged": (lambda: _make([0, 1], [0], [[[1.0, 2.0], [3.0]]]), "inhomogeneous|same length|shape"),
    "no matrix": (lambda: _make(CROW, COL, V, (6,)), "size must be that of a matrix"),
    "blocksize": (lambda: md.ones(6, 6).to_sparse_bsr((4, 3)), r"size \(6,6\) must be divisible by given blocksize \(4,3\)"),
    "zero blocksize": (lambda: md.ones(6, 6).to_sparse_bsr((2, 0)), r"blocksize needs to be two positive numbers, but got \[2, 0\]"),
    "three": (lambda: md.ones(6, 6).to_sparse_bsc((2, 2, 2)), r"two positive numbers, but got \[2, 2, 2\]"),
    "vector": (lambda: md.ones(6).to_sparse_bsr((2, 2)), r"blocks are for matrices, got shape \[6\]"),
    "hybrid": (lambda: md.ones(2, 2).to_sparse(1).to_sparse_bsr((1, 1)), "blocks are for matrices"),
    "none given": (lambda: md.ones(2, 2).to_sparse(layout=BSR), "from Strided to SparseBsr without blocksize argument"),
    "again": (lambda: example().to_sparse(layout=BSR), "from SparseBsr to SparseBsr without blocksize argument"),
    "needless": (lambda: md.ones(2, 2).to_sparse(blocksize=(1, 1)), "from Strided to Sparse with blocksize argument"),
    "of sparse": (lambda: md.eye(2).to_sparse_csr().to_sparse(blocksize=(1, 1)), "from SparseCsr to Sparse with blocksize"),
    "zeros": (lambda: md.zeros(2, 2, layout=BSR), r"says nothing of the size of a block; use zeros\(...\).to_sparse_bsr"),
    "shapes": (lambda: example() @ md.ones(5, 2), r"cannot be multiplied \(6x6 and 5x2\)"),
    "dtypes": (lambda: example() @ md.ones(6, 2).double(), "same dtype, but got"),
    "batch": (lambda: example() @ md.ones(2, 6, 2), "multiplies a matrix or a vector"),
    "other pattern": (lambda: example() + md.eye(6).to_sparse_bsr((2, 3)), r"BlockPattern\(.*block=\[2, 3\].*use to_sparse\(\) first"),
    "softmax": (lambda: md.sparse.softmax(example(), 1), r"use to_sparse\(\) first"),
    "indices": (lambda: example().indices(), "indices expected sparse coordinate tensor layout but got SparseBsr"),
    "ccol": (lambda: example().ccol_indices(), "ccol_indices expected sparse column compressed tensor layout but got SparseBsr"),
    "no layout": (lambda: md.sparse_compressed_tensor(CROW, COL, V), "sparse_csc, sparse_bsr or sparse_bsc"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    make, message = REFUSED[case]
    with pytest.raises((RuntimeError, TypeError, ValueError), match=message):
        make()


def test_copies_files_and_state():
    a = example().requires_grad_()
    a.sum().backward()
    file = io.BytesIO()
    md.save({"a": a, "b": a.t().detach()}, file)
    file.seek(0)
    loaded = md.load(file)
    for again in (copy.deepcopy(a), pickle.loads(pickle.dumps(a)), loaded["a"]):
        assert repr(again) == repr(a) and again.is_leaf and again.pattern.block == (2, 3)
        again.values().detach().mul_(0)
        assert a.sum() == 171
    assert loaded["b"].to_dense().tolist() == a.detach().to_dense().t().tolist() and loaded["b"].layout is BSC
    assert a.clone().layout is a.detach().double().layout is BSR and a.double().dtype is md.float64
    assert a.grad.values().tolist() == np.ones((3, 2, 3)).tolist() and a.to("cpu") is a
    b = example().zero_()
    assert b._nnz() == 3 and b.copy_(example()).to_dense().tolist() == a.to_dense().tolist()
    model, other = nn.Module(), nn.Module()
    model.register_buffer("w", example())
    other.register_buffer("w", md.eye(6).to_sparse_bsr((2, 3)))
    other.load_state_dict(model.state_dict())
    assert repr(other.w) == repr(example()) and model.double().w.dtype is md.float64


def test_on_the_device(device):
    a, x = example(md.float64), md.tensor(np.random.default_rng(0).standard_normal((6, 3)))
    results = []
    for place in ("cpu", device):
        b, y = a.detach().to(place).requires_grad_(), x.detach().to(place).requires_grad_()
        (b @ y).sin().sum().backward()
        (y.t() @ b * 2).sum().backward()
        assert b.grad.device.type == y.grad.device.type == md.device(place).type
        results.append(
            [b.grad.to_dense().cpu(), y.grad.cpu(), (b.to_sparse_csr() @ y).detach().cpu(), b.detach().cpu().to_dense()]
        )
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(theirs.numpy(), ours.numpy(), rtol=1e-12, atol=1e-12)
    dense = md.eye(4, device=device)
    assert (
        dense.to_sparse_bsr((2, 2)).is_cuda
        and dense.to_sparse().to_sparse_bsc((2, 2)).to_dense().tolist() == dense.tolist()
    )
