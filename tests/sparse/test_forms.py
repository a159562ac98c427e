"""What dense operations and torch.sparse's functions do on sparse tensors: values, layouts and gradients, held against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings(
    "ignore:Sparse"
)  # PyTorch's: of a beta state, and that it does not check indices

ANY = COO, CSR, CSC = md.sparse_coo, md.sparse_csr, md.sparse_csc

# name -> (function of the library m, a sparse tensor a (4, 5), another b, and dense x (5, 3), v (5,), w (4,), z (4, 5)), layouts
# in which PyTorch has it: with gradients, and without
CASES = {
    "a @ x": (lambda m, a, b, x, v, w, z: a @ x, (COO, CSR), (CSC,)),
    "a @ v": (lambda m, a, b, x, v, w, z: a @ v, (COO, CSR), (CSC,)),
    "w @ a": (lambda m, a, b, x, v, w, z: w @ a, (COO,), (CSR, CSC)),
    "dense @ a": (lambda m, a, b, x, v, w, z: z.t() @ a, (COO, CSR), (CSC,)),
    "mm": (lambda m, a, b, x, v, w, z: m.mm(a, x), (COO, CSR), (CSC,)),
    "mv": (lambda m, a, b, x, v, w, z: m.mv(a, v), (COO, CSR), (CSC,)),
    "matmul": (lambda m, a, b, x, v, w, z: m.matmul(a, x), (COO, CSR), (CSC,)),
    "spmm": (lambda m, a, b, x, v, w, z: m.spmm(a, x), (COO, CSR), (CSC,)),
    "addmm": (lambda m, a, b, x, v, w, z: m.addmm(z[:, :3], a, x, beta=0.5, alpha=2), (COO, CSR), ()),
    "method": (lambda m, a, b, x, v, w, z: a.mm(x) + a.matmul(x), (COO, CSR), (CSC,)),
    "sparse.mm": (lambda m, a, b, x, v, w, z: m.sparse.mm(a, x), (COO, CSR), (CSC,)),
    "sparse.addmm": (lambda m, a, b, x, v, w, z: m.sparse.addmm(z[:, :3], a, x, beta=0.5, alpha=2), (COO, CSR), ()),
    "linear": (lambda m, a, b, x, v, w, z: m.nn.functional.linear(z, a, w), (), (CSR, CSC)),
    "a @ b.t()": (lambda m, a, b, x, v, w, z: a @ b.t(), (COO,), ()),
    "sparse.mm(a, b.t())": (lambda m, a, b, x, v, w, z: m.sparse.mm(a, b.t()), (COO,), ()),
    "a + a": (lambda m, a, b, x, v, w, z: a + a, (COO, CSR), ()),
    "a + b": (lambda m, a, b, x, v, w, z: a + b, (COO, CSR), ()),
    "a - b": (lambda m, a, b, x, v, w, z: a - b, (COO,), ()),
    "add": (lambda m, a, b, x, v, w, z: m.add(a, b, alpha=3), (COO, CSR), ()),
    "sub": (lambda m, a, b, x, v, w, z: m.sub(a, b, alpha=3), (COO,), ()),
    "z + a": (lambda m, a, b, x, v, w, z: z + a, (COO,), (CSR, CSC)),
    "z - a": (lambda m, a, b, x, v, w, z: z - a, (COO,), ()),
    "a * 2": (lambda m, a, b, x, v, w, z: a * 2, (COO, CSR), (CSC,)),
    "2 * a": (lambda m, a, b, x, v, w, z: 2.0 * a, (COO, CSR), (CSC,)),
    "a * a": (lambda m, a, b, x, v, w, z: a * a, (), (CSR,)),  # PyTorch's own gradient of two equal operands is of one
    "a * b": (lambda m, a, b, x, v, w, z: a * b, (COO,), (CSR,)),
    "a * z": (lambda m, a, b, x, v, w, z: a * z, (COO,), (CSR,)),
    "a * v": (lambda m, a, b, x, v, w, z: a * v, (), (COO,)),
    "a * column": (lambda m, a, b, x, v, w, z: a * w.reshape(-1, 1), (), (COO,)),
    "a * one": (lambda m, a, b, x, v, w, z: a * w[:1], (), (COO,)),
    "a / 2": (lambda m, a, b, x, v, w, z: a / 2, (COO,), ()),
    "a / scalar tensor": (lambda m, a, b, x, v, w, z: a / m.tensor(2.0, dtype=m.float64), (COO,), ()),
    "-a": (lambda m, a, b, x, v, w, z: -a, (COO, CSR), (CSC,)),
    "a ** 3": (lambda m, a, b, x, v, w, z: a**3, (), (COO,)),
    "abs": (lambda m, a, b, x, v, w, z: a.abs(), (COO,), (CSR, CSC)),
    "sin": (lambda m, a, b, x, v, w, z: m.sin(a), (), ANY),
    "tanh": (lambda m, a, b, x, v, w, z: a.tanh(), (), ANY),
    "relu": (lambda m, a, b, x, v, w, z: m.relu(a), (COO,), (CSR, CSC)),
    "expm1": (lambda m, a, b, x, v, w, z: m.expm1(a), (), ANY),
    "floor": (lambda m, a, b, x, v, w, z: a.floor(), (), ANY),
    "isnan": (lambda m, a, b, x, v, w, z: a.isnan(), (), ANY),
    "deg2rad": (lambda m, a, b, x, v, w, z: m.deg2rad(a), (), ANY),
    "sum": (lambda m, a, b, x, v, w, z: a.sum(), (COO, CSR), (CSC,)),
    "sum(0)": (lambda m, a, b, x, v, w, z: m.sum(a, 0), (), (COO,)),
    "sum(1, keepdim)": (lambda m, a, b, x, v, w, z: a.sum(1, keepdim=True), (), (COO, CSR)),
    "sparse.sum": (lambda m, a, b, x, v, w, z: m.sparse.sum(a), (COO,), ()),
    "sparse.sum 0": (lambda m, a, b, x, v, w, z: m.sparse.sum(a, 0), (COO,), ()),
    "sparse.sum -1": (lambda m, a, b, x, v, w, z: m.sparse.sum(a, dim=-1), (COO,), ()),
    "sparse.sum both": (lambda m, a, b, x, v, w, z: m.sparse.sum(a, (0, 1)), (COO,), ()),
    "sparse.sum dtype": (lambda m, a, b, x, v, w, z: m.sparse.sum(a, 0, m.float32), (), (COO,)),
    "t": (lambda m, a, b, x, v, w, z: a.t(), (COO, CSR), (CSC,)),
    "transpose": (lambda m, a, b, x, v, w, z: a.transpose(0, 1), (COO, CSR), (CSC,)),
    "permute": (lambda m, a, b, x, v, w, z: a.permute(1, 0), (COO,), ()),
    "a.t() @ w": (lambda m, a, b, x, v, w, z: a.t() @ w, (COO,), (CSR, CSC)),
    "clone": (lambda m, a, b, x, v, w, z: a.clone(), (COO, CSR), (CSC,)),
    "float": (lambda m, a, b, x, v, w, z: a.float(), (COO, CSR), (CSC,)),
    "to": (lambda m, a, b, x, v, w, z: a.to(m.float32), (COO, CSR), (CSC,)),
    "to_dense": (lambda m, a, b, x, v, w, z: a.to_dense(), (COO, CSR), (CSC,)),
    "to_sparse": (lambda m, a, b, x, v, w, z: a.to_sparse(), (COO, CSR), (CSC,)),
    "to_sparse_csr": (lambda m, a, b, x, v, w, z: a.to_sparse_csr(), (COO, CSR), (CSC,)),
    "to_sparse_csc": (lambda m, a, b, x, v, w, z: a.to_sparse_csc(), (), ANY),
    "values": (lambda m, a, b, x, v, w, z: a.values() if a.layout != m.sparse_coo else a.coalesce().values(), (COO, CSR), (CSC,)),
    "sparse_mask": (lambda m, a, b, x, v, w, z: z.sparse_mask(a), (COO,), (CSR, CSC)),
    "sparse_mask of sparse": (lambda m, a, b, x, v, w, z: b.sparse_mask(a), (COO,), (CSR,)),
    "softmax": (lambda m, a, b, x, v, w, z: m.sparse.softmax(a, 1), (COO,), ()),
    "softmax 0": (lambda m, a, b, x, v, w, z: m.sparse.softmax(a, dim=0), (COO,), ()),
    "log_softmax": (lambda m, a, b, x, v, w, z: m.sparse.log_softmax(a, 1), (COO,), ()),  # its gradient is wrong for -1
    "sampled_addmm": (lambda m, a, b, x, v, w, z: m.sparse.sampled_addmm(a, z[:, :3], x.t()), (CSR,), ()),
    "sampled_addmm beta": (
        lambda m, a, b, x, v, w, z: m.sparse.sampled_addmm(a, z[:, :3], x.t(), beta=0.5, alpha=2), (CSR,), (),
    ),
    "mm mean": (lambda m, a, b, x, v, w, z: m.sparse.mm(a, x, "mean"), (CSR,), ()),
    "mm amax": (lambda m, a, b, x, v, w, z: m.sparse.mm(a, x, "amax"), (CSR,), ()),
    "mm amin": (lambda m, a, b, x, v, w, z: m.sparse.mm(a, x, "amin"), (CSR,), ()),
}  # fmt: skip


def inputs(random_sparse, layout, nnz):
    rng = np.random.default_rng(nnz)
    a, b = random_sparse(rng, (4, 5), nnz, layout), random_sparse(rng, (4, 5), 7, layout)
    return [a, b, *(md.tensor(rng.standard_normal(shape)) for shape in ((5, 3), (5,), (4,), (4, 5)))]


def places(ours, theirs):
    """The values of PyTorch's gradient where ours has entries: for products it has a dense one, here it is never dense."""
    dense = theirs.to_dense()
    return dense.numpy() if ours.layout is md.strided else dense.numpy()[tuple(ours.pattern.index())]


@pytest.mark.parametrize("nnz", [11, 0])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, nnz, random_sparse, to_torch, agree):
    function, differentiable, not_differentiable = CASES[name]
    for layout in (*differentiable, *not_differentiable):
        given = inputs(random_sparse, layout, nnz)
        if layout is md.sparse_coo:
            given[0], given[1] = given[0].coalesce(), given[1].coalesce()
        if layout in differentiable:
            given = [t.requires_grad_() for t in given]
        other = [to_torch(t) for t in given]
        ours, theirs = function(md, *given), function(torch, *other)
        agree(ours, theirs)
        if layout not in differentiable:
            continue
        cotangent = np.random.default_rng(1).standard_normal(tuple(ours.shape)).astype(ours.dtype)
        (ours.to_dense() * md.tensor(cotangent)).sum().backward()
        (theirs.to_dense() * torch.from_numpy(np.asarray(cotangent))).sum().backward()
        for i, (t, u) in enumerate(zip(given, other, strict=True)):
            if t.grad is None or u.grad is None:  # one of them says zero by saying nothing
                assert all(g is None or not g.to_dense().numpy().any() for g in (t.grad, u.grad)), (layout, i)
                continue
            assert t.grad.layout is t.layout and t.grad.shape == t.shape
            np.testing.assert_allclose(
                t.grad.entries.numpy(), places(t, u.grad), rtol=1e-6, atol=1e-6 if "float" in name else 1e-12,
                err_msg=f"{layout}, gradient of input {i}",
            )  # fmt: skip


@pytest.mark.parametrize(
    "name", [name for name, (_, *layouts) in CASES.items() if any(COO in some for some in layouts)]
)
def test_entries_stored_twice(name, random_sparse, to_torch, agree):
    function, given = CASES[name][0], inputs(random_sparse, md.sparse_coo, 11)
    assert not given[0].is_coalesced() and given[0].coalesce()._nnz() < given[0]._nnz()
    agree(function(md, *given), function(torch, *map(to_torch, given)))


def test_what_pytorch_has_for_fewer_layouts(rng, random_sparse):
    """In every layout, value and gradient against the dense operation."""
    column = md.tensor(rng.standard_normal((4, 1)))
    dense = [
        (lambda a: a - a * 3, lambda d: d - d * 3), (lambda a: a / 2, lambda d: d / 2), (lambda a: a**2, lambda d: d**2),
        (lambda a: a * a, lambda d: d * d), (lambda a: a.sum(0), lambda d: d.sum(0)), (lambda a: a.T, lambda d: d.T),
        (lambda a: a @ a.t(), lambda d: d @ d.t()), (lambda a: a.square(), lambda d: d.square()),
        (lambda a: -a.t().clone(), lambda d: -d.t()), (lambda a: a.to_sparse_csr() * 2, lambda d: d * 2),
        (lambda a: a.to_sparse_csc(), lambda d: d * 1), (lambda a: a.sin(), lambda d: d.sin()),
        (lambda a: a + md.ones(4, 5, dtype=md.float64), lambda d: d + 1), (lambda a: a * column, lambda d: d * column),
        (lambda a: md.sparse.mm(a, md.ones(5, 2, dtype=md.float64)), lambda d: d @ md.ones(5, 2, dtype=md.float64)),
        (lambda a: md.ones(2, 3, 4, dtype=md.float64) @ a, lambda d: md.ones(2, 3, 4, dtype=md.float64) @ d),
    ]  # fmt: skip
    for layout in ANY:
        a = random_sparse(rng, (4, 5), 9, layout).requires_grad_()
        for sparse, plain in dense:
            a.grad, d = None, a.detach().to_dense().requires_grad_()
            ours, wanted = sparse(a).to_dense(), plain(d)
            np.testing.assert_allclose(ours.detach().numpy(), wanted.detach().numpy(), atol=1e-14)
            cotangent = md.tensor(rng.standard_normal(tuple(wanted.shape)))
            ours.backward(cotangent)
            wanted.backward(cotangent)
            np.testing.assert_allclose(a.grad.entries.numpy(), a.sampled(d.grad).detach().numpy(), atol=1e-13)


def test_softmax_takes_every_layout_and_hybrid_tensors(rng, random_sparse, to_torch, agree):
    a = random_sparse(rng, (4, 5), 9, md.sparse_csr)
    agree(md.sparse.softmax(a.to_sparse(), 1), torch.sparse.softmax(to_torch(a).to_sparse(), 1))
    assert md.sparse.softmax(a, 1).layout is md.sparse_csr
    h = md.sparse_coo_tensor([[0, 2, 0]], rng.standard_normal((3, 2)), (3, 2))
    for dim in (0, 1):
        agree(md.sparse.softmax(h, dim), torch.sparse.softmax(to_torch(h), dim))
        agree(md.sparse.log_softmax(h, dim), torch.sparse.log_softmax(to_torch(h), dim))
    assert md.sparse.softmax(h.float(), 0, dtype=md.float64).dtype is md.float64
    large = md.sparse_coo_tensor([[0, 0], [0, 2]], [1000.0, 999.0], (1, 3))
    np.testing.assert_allclose(md.sparse.log_softmax(large, 1).values().numpy(), [-0.31326, -1.31326], rtol=1e-4)


def test_hybrid_arithmetic(rng, to_torch, agree):
    h = md.sparse_coo_tensor([[0, 2, 0]], rng.standard_normal((3, 2)), (3, 2))
    u, d = to_torch(h), rng.standard_normal((3, 2))
    for f in (lambda m, h, d: h + h, lambda m, h, d: h * 2, lambda m, h, d: d + h, lambda m, h, d: h * d, lambda m, h, d: h * d[0], lambda m, h, d: h * d[:, :1],
              lambda m, h, d: m.sparse.sum(h, 0), lambda m, h, d: m.sparse.sum(h, 1), lambda m, h, d: h.sum(),
              lambda m, h, d: m.sparse.sum(h, (0, 1)), lambda m, h, d: h.coalesce(), lambda m, h, d: h.abs()):  # fmt: skip
        agree(f(md, h, md.tensor(d)), f(torch, u, torch.from_numpy(d)))


def test_spdiags(agree):
    values, offsets = np.arange(9.0).reshape(3, 3), np.array([0, -1, 1])
    for layout in ("sparse_coo", "sparse_csr"):
        ours = md.sparse.spdiags(md.tensor(values), md.tensor(offsets), (3, 4), layout=getattr(md, layout))
        theirs = torch.sparse.spdiags(
            torch.from_numpy(values), torch.from_numpy(offsets), (3, 4), layout=getattr(torch, layout)
        )
        agree(ours, theirs)
    with pytest.raises(RuntimeError, match="duplicate"):
        md.sparse.spdiags(md.ones(2, 3), md.tensor([1, 1]), (3, 3))
    with pytest.raises(RuntimeError, match="number of offsets"):
        md.sparse.spdiags(md.ones(2, 3), md.tensor([1]), (3, 3))


def test_dtypes_as_in_pytorch(rng, random_sparse, to_torch, agree):
    a, b = random_sparse(rng, (3, 3), 4), random_sparse(rng, (3, 3), 4).float()
    ints = md.sparse_coo_tensor([[0, 1], [1, 2]], [1, 2], (3, 3))
    for f in (lambda m, a, b, i: a + b, lambda m, a, b, i: b + i, lambda m, a, b, i: i * 2.5, lambda m, a, b, i: i / 2,
              lambda m, a, b, i: i.sum(), lambda m, a, b, i: m.sparse.sum(i, 0), lambda m, a, b, i: i.float(),
              lambda m, a, b, i: i.abs(), lambda m, a, b, i: i.t()):  # fmt: skip
        agree(f(md, a, b, ints), f(torch, to_torch(a), to_torch(b), to_torch(ints)), 1e-6)
    truths = md.sparse_coo_tensor([[0, 0, 1]], [True, True, False], (3,))
    assert truths.to_dense().tolist() == [True, False, False] and truths.coalesce().values().tolist() == [True, False]
    many = md.sparse_coo_tensor(np.zeros((1, 256), np.int64), [True] * 256, (1,))
    assert many.to_dense().tolist() == [True] and many.coalesce().values().tolist() == [True]


REFUSED = {
    "cos": (lambda a, d: md.cos(a), "Cos: not defined for sparse tensors, got torch.sparse_csr of shape .2, 3.; use to_dense"),
    "exp": (lambda a, d: a.exp(), "Exp: not defined"),
    "a > 0": (lambda a, d: a > 0, "Gt: not defined"),
    "tolist": (lambda a, d: a.tolist(), "tolist: not defined for sparse tensors"),
    "dropout": (lambda a, d: md.nn.functional.dropout(a), "dropout: not defined for sparse"),
    "Parameter": (lambda a, d: md.nn.Parameter(a), "Parameter: not defined for sparse"),
    "bool": (lambda a, d: bool(a), "__bool__: not defined for sparse"),
    "in place": (lambda a, d: a.mul_(2), "not defined for sparse"),
    "a + 1": (lambda a, d: a + 1, "not be sparse"),
    "a + row": (lambda a, d: d[0] + a, r"\[3\] != \[2, 3\]|\[2, 3\] != \[3\]"),
    "a * shape": (lambda a, d: a * d.t(), r"\[3, 2\] does not broadcast to the sparse \[2, 3\]"),
    "a * larger": (lambda a, d: a * d[None], r"\[1, 2, 3\] does not broadcast"),
    "a / d": (lambda a, d: a / d, "zero-dim dense tensor divisor"),
    "d / a": (lambda a, d: d / a, "sparse divisor"),
    "a ** 0": (lambda a, d: a**0, "number above 0"),
    "2 ** a": (lambda a, d: 2**a, "number above 0"),
    "shapes": (lambda a, d: a @ d, r"cannot be multiplied \(2x3 and 2x3\)"),
    "dtypes": (lambda a, d: a @ d.t().double(), "same dtype, but got: torch.float32 != torch.float64"),
    "batch": (lambda a, d: a @ md.ones(2, 3, 2), "multiplies a matrix or a vector"),
    "layouts": (lambda a, d: a + d.t().to_sparse_csc().t().to_sparse_csc(), "convert one with to_sparse"),
    "mask": (lambda a, d: d.sparse_mask(d), "mask must be a sparse tensor"),
    "mask shape": (lambda a, d: d.t().sparse_mask(a), r"expected a tensor of shape \[2, 3\]"),
    "indices": (lambda a, d: a.indices(), "indices expected sparse coordinate tensor layout but got SparseCsr"),
    "ccol": (lambda a, d: a.ccol_indices(), "expected sparse column compressed tensor layout but got SparseCsr"),
    "is_coalesced": (lambda a, d: a.is_coalesced(), "is_coalesced expected"),
    "sparse.sum": (lambda a, d: md.sparse.sum(d), "expected a sparse tensor, got a dense one"),
    "softmax of ints": (lambda a, d: md.sparse.softmax(a.long(), 1), "expected a float tensor"),
    "sampled_addmm": (lambda a, d: md.sparse.sampled_addmm(a, d, d), r"expected input \(N, M\)"),
    "reduce": (lambda a, d: md.sparse.mm(a, d.t(), "prod"), "reduce is"),
    "permute": (lambda a, d: md.ones(2, 2, 2).to_sparse(2).permute(2, 0, 1), "only the first 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    function, message = REFUSED[case]
    dense = md.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 4.0]])
    with pytest.raises((RuntimeError, TypeError), match=message) as caught:
        function(dense.to_sparse_csr(), dense)
    assert caught.value.__cause__ is None and (caught.value.__context__ is None or caught.value.__suppress_context__)


def test_nothing_becomes_dense_on_the_way():
    """A million times a million elements: any array of that size would be terabytes."""
    N = 10**6
    places = np.array([[0, 5, 5, N - 1, 7], [3, 0, N - 1, N - 1, 7]])
    a = md.sparse_coo_tensor(places, [1.0, 2.0, 3.0, 4.0, 5.0], (N, N), requires_grad=True)
    b = md.sparse_coo_tensor(places[::-1].copy(), [1.0, 2.0, 3.0, 4.0, 5.0], (N, N), requires_grad=True)
    x = md.ones(N, 1, requires_grad=True)
    for f in (lambda: a + b, lambda: a * b, lambda: a @ b, lambda: b.sparse_mask(a), lambda: a.t() - a, lambda: a.sum(1),
              lambda: md.sparse.softmax(a, 1), lambda: a @ x, lambda: a.to_sparse_csr().to_sparse_csc(), lambda: (a * 2) ** 2,
              lambda: a * x, lambda: md.sparse.sampled_addmm(a, x, x.t())):  # fmt: skip
        f().sum().backward()
    assert a.grad._nnz() == 5 and (a + b)._nnz() == 8 and (a * b)._nnz() == 2 and x.grad.shape == (N, 1)
