"""Sparse tensors in the graph: leaves, hooks, second derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md
from minidl.autograd.gradcheck import directional_check

INDICES, SHAPE = [[0, 1, 1, 3], [2, 0, 2, 1]], (4, 3)


def matrix(values, layout=md.sparse_coo):
    return md.sparse_coo_tensor(INDICES, values, SHAPE, is_coalesced=True).to_sparse(layout=layout)


def leaf(*shape):
    return md.tensor(np.random.default_rng(1).standard_normal(shape), requires_grad=True)


X = md.tensor(np.random.default_rng(2).standard_normal((3, 2)))
FUNCTIONS = {
    "product": lambda v, layout: matrix(v, layout) @ X,
    "vector": lambda v, layout: matrix(v, layout) @ X[:, 0],
    "from the left": lambda v, layout: X.t() @ matrix(v, layout).t(),
    "sparse product": lambda v, layout: (matrix(v, layout) @ matrix(v * 2, layout).t()).to_dense(),
    "softmax": lambda v, layout: md.sparse.softmax(matrix(v, layout), 1).to_dense(),
    "log_softmax": lambda v, layout: md.sparse.log_softmax(matrix(v, layout), 0).to_dense(),
    "sum": lambda v, layout: md.sparse.sum(matrix(v, layout), 0).to_dense(),
    "sum of parts": lambda v, layout: (matrix(v, layout) + matrix(v, layout).t().t() * matrix(v, layout)).to_dense(),
    "union": lambda v, layout: (matrix(v, layout) + md.eye(4, dtype=md.float64)[:, :3].to_sparse(layout=layout)).to_dense(),
    "sampled_addmm": lambda v, layout: md.sparse.sampled_addmm(
        matrix(v, layout), v.reshape(4, 1), v[1:].reshape(1, 3)
    ).values() ** 2,
    "elementwise": lambda v, layout: (matrix(v, layout).sin() * matrix(v, layout).tanh() / 3).to_dense(),
    "dense operand": lambda v, layout: (matrix(v, layout) * v[:3]).to_dense() + matrix(v, layout),
    "mask": lambda v, layout: (v.reshape(4, 1) * v[:3]).sparse_mask(matrix(v.detach(), layout)).to_dense(),
    "stored twice": lambda v, layout: (md.sparse_coo_tensor([[0, 0, 1, 0]], v, (2,)).coalesce() ** 2).to_dense(),
    "reduce": lambda v, layout: md.sparse.mm(matrix(v, layout), X, "mean") * md.sparse.mm(matrix(v, layout), X, "amax"),
}  # fmt: skip


@pytest.mark.parametrize("layout", [md.sparse_coo, md.sparse_csr, md.sparse_csc], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_of_values(name, layout):
    order = 1 if name == "reduce" else 2  # amax has no second derivative worth the name
    directional_check(lambda v: FUNCTIONS[name](v, layout), [leaf(4)], order=order)


@pytest.mark.parametrize("layout", [md.sparse_coo, md.sparse_csr, md.sparse_csc], ids=str)
def test_derivatives_of_both_operands(layout):
    def f(v, x, y):
        a = matrix(v, layout)
        return (a @ x).tanh() @ (y @ a)

    directional_check(f, [leaf(4), leaf(3, 2), leaf(2, 4)], order=2)


@pytest.mark.tiny
def test_the_gradient_of_a_leaf_has_its_pattern():
    for layout in (md.sparse_coo, md.sparse_csr, md.sparse_csc):
        a = matrix([1.0, 2.0, 3.0, 4.0], layout).detach().requires_grad_()
        assert a.is_leaf and a.requires_grad and a.grad is None and a.grad_fn is None
        for times in (1, 2):
            (a @ md.ones(3, 2)).sum().backward()
            assert a.grad.layout is layout and a.grad.pattern is a.pattern
            assert a.grad.values().tolist() == [2.0 * times] * 4
        a.grad = None
        assert a.grad is None
        a.requires_grad_(False)
        assert not (a @ md.ones(3, 2)).requires_grad
    with pytest.raises(RuntimeError, match="floating point"):
        matrix([1, 2, 3, 4]).requires_grad_()


def test_gradients_of_sparse_results():
    a = matrix([1.0, 2.0, 3.0, 4.0]).requires_grad_()
    (a * 3).backward(a.detach())
    assert a.grad.values().tolist() == [3, 6, 9, 12]
    a.grad = None
    (a * 3).backward(md.ones(4, 3))  # what it says of other places does not count
    assert a.grad.values().tolist() == [3, 3, 3, 3]
    (g,) = md.autograd.grad(a * a, a, md.ones(4, 3))
    assert g.layout is md.sparse_coo and g.values().tolist() == [2, 4, 6, 8]
    (g,) = md.autograd.grad((a * a * a).sum(), a, create_graph=True)
    (h,) = md.autograd.grad(g.sum(), a)
    assert h.values().tolist() == [6, 12, 18, 24]
    with pytest.raises(RuntimeError, match=r"expected a tensor of shape \[4, 3\]"):
        (a * 3).backward(md.ones(3, 4))
    with pytest.raises(RuntimeError, match="only for scalar outputs"):
        (a * 3).backward()
    with pytest.raises(RuntimeError, match="does not require grad"):
        md.autograd.grad((a * 3).sum(), matrix([1.0, 2.0, 3.0, 4.0]))


def test_hooks_see_sparse_gradients():
    a, seen = matrix([1.0, 2.0, 3.0, 4.0]).requires_grad_(), []
    b = a * 2
    b.retain_grad()
    handle = b.register_hook(lambda g: seen.append(g.layout) or g * 10)
    a.register_post_accumulate_grad_hook(lambda t: seen.append(t is a))
    b.sum().backward()
    assert seen == [md.sparse_coo, True] and a.grad.values().tolist() == [20] * 4
    assert b.grad.values().tolist() == [10] * 4 and b.retains_grad
    handle.remove()
    b = a.detach() * 2
    assert not b.requires_grad and b.detach_() is b


def test_no_grad_and_data():
    a = matrix([1.0, 2.0, 3.0, 4.0]).requires_grad_()
    with md.no_grad():
        assert not (a @ md.ones(3, 1)).requires_grad
        a.copy_(matrix([5.0, 6.0, 7.0, 8.0]))
    assert a.requires_grad and a.is_leaf and a.values().tolist() == [5, 6, 7, 8]
    assert a.data.values().tolist() == [5, 6, 7, 8] and not a.data.requires_grad
    with pytest.raises(RuntimeError, match="cannot be changed in place"):
        a.zero_()
    with pytest.raises(RuntimeError, match=r"expected torch\.sparse_coo of shape"):
        a.copy_(md.ones(4, 3))


def test_writes_to_values_are_noticed():
    a = matrix([1.0, 2.0, 3.0, 4.0])
    x = md.ones(3, 1, requires_grad=True)
    y = (a @ x).sum()
    a._values().mul_(2)
    assert a.to_dense().sum() == 20
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation: SparseMMBackward0"):
        y.backward()


def test_functions_of_ones_own():
    """The sparse product of graph attention networks: a Function whose forward makes the sparse matrix."""

    class SparseProduct(md.autograd.Function):
        @staticmethod
        def forward(ctx, indices, values, shape, b):
            a = md.sparse_coo_tensor(indices, values, shape)
            ctx.save_for_backward(a, b)
            ctx.N = shape[0]
            return md.matmul(a, b)

        @staticmethod
        def backward(ctx, grad_output):
            a, b = ctx.saved_tensors
            dense = grad_output.matmul(b.t())
            at = a._indices()[0, :] * ctx.N + a._indices()[1, :]
            return None, dense.view(-1)[at], None, a.t().matmul(grad_output)

    indices = md.tensor([[0, 1, 2, 2], [1, 0, 2, 0]])
    values, b = leaf(4), leaf(3, 2)
    SparseProduct.apply(indices, values, (3, 3), b).square().sum().backward()
    wanted = [values.grad.clone(), b.grad.clone()]
    values.grad = b.grad = None
    (md.sparse_coo_tensor(indices, values, (3, 3)) @ b).square().sum().backward()
    for g, w in zip([values.grad, b.grad], wanted, strict=True):
        np.testing.assert_allclose(g.numpy(), w.numpy(), rtol=1e-14)


def test_what_is_kept_is_grouped_once():
    a = matrix([1.0, 2.0, 3.0, 4.0]).requires_grad_()
    for _ in range(3):
        x = md.ones(3, 2, requires_grad=True)
        (a @ x).sum().backward()
    groups = a.pattern._groups
    assert groups[0] is a.t().pattern.compressed(1) and groups[1] is a.t().pattern.compressed(0)
    assert a.detach().clone().double().pattern is a.pattern
