"""minidl.linalg and its relatives: what the generated tests of the operations do not see."""

import numpy as np
import pytest

import minidl
from minidl import linalg
from minidl.autograd.gradcheck import directional_check

RANDOM = np.random.default_rng(7)
SQUARE = RANDOM.normal(size=(2, 3, 3)) + 2 * np.eye(3)


def leaf(a):
    return minidl.tensor(np.asarray(a, np.float64), requires_grad=True)


def symmetric(x):
    return x + x.mT


def positive(x):
    return x @ x.mT + np.eye(x.shape[-1])


# functions of a square matrix that do not depend on the signs of vectors, and read symmetric matrices where they must be
GAUGE_FREE = {
    "cholesky": lambda x: linalg.cholesky(positive(x)),
    "cholesky upper": lambda x: linalg.cholesky(positive(x), upper=True),
    "cholesky_solve": lambda x: minidl.cholesky_solve(x, x.tril() + 3 * np.eye(3)),
    "cholesky_solve upper": lambda x: minidl.cholesky_solve(x, x.triu() + 3 * np.eye(3), upper=True),
    "cholesky_inverse": lambda x: minidl.cholesky_inverse(x.tril() + 3 * np.eye(3)),
    "eigvalsh": lambda x: linalg.eigvalsh(symmetric(x)),
    "eigh": lambda x: linalg.eigh(symmetric(x), "U").eigenvectors ** 2,
    "svd": lambda x: linalg.svd(x).U[..., :2] @ linalg.svd(x).Vh[..., :2, :],
    "svd of a wide matrix": lambda x: linalg.svd(x[..., :2, :], full_matrices=False).Vh ** 2,
    "qr": lambda x: linalg.qr(x, mode="r").R,
    "lu": lambda x: linalg.lu(x)[1] * linalg.lu(x)[2],
    "lu_solve": lambda x: linalg.lu_solve(*linalg.lu_factor(x), x + 1.0, left=False, adjoint=True),
    "pinv": lambda x: linalg.pinv(x[..., :2]),
    "pinv of a matrix of rank 1": lambda x: linalg.pinv(x[..., :1] @ x[..., :1, :], rtol=1e-6),
    "lstsq": lambda x: linalg.lstsq(x[..., :2], x, driver="gelsd").residuals,
    "matrix_power": lambda x: linalg.matrix_power(x, -3),
    "nuclear norm": lambda x: linalg.matrix_norm(x, "nuc"),
    "cond": lambda x: linalg.cond(x, 1),
    "householder_product": lambda x: linalg.householder_product(x, x[..., 0, :2]),
    "cdist": lambda x: minidl.cdist(x, x + 5.0, p=3.0),
}


@pytest.mark.parametrize("name", GAUGE_FREE)
def test_gradients_of_order_one_and_two(name):
    directional_check(GAUGE_FREE[name], [leaf(SQUARE)], order=2)


FACTORIZATIONS = {
    "cholesky": lambda x: (lambda L: L @ L.mT)(linalg.cholesky(positive(x))) - positive(x),
    "lu": lambda x: (lambda P, L, U: P @ L @ U)(*linalg.lu(x)) - x,
    "lu_factor": lambda x: linalg.lu_solve(*linalg.lu_factor(x), x) - np.eye(3),
    "qr": lambda x: (lambda Q, R: Q @ R)(*linalg.qr(x)) - x,
    "eigh": lambda x: (lambda w, V: (V * w.unsqueeze(-2)) @ V.mT)(*linalg.eigh(symmetric(x))) - symmetric(x),
    "eig": lambda x: (lambda w, V: x.to(minidl.complex128) @ V - V * w.unsqueeze(-2))(*linalg.eig(x)).abs(),
    "svd": lambda x: (lambda U, S, Vh: (U * S.unsqueeze(-2)) @ Vh)(*linalg.svd(x)) - x,
    "old svd": lambda x: (lambda U, S, V: (U * S.unsqueeze(-2)) @ V.mT)(*minidl.svd(x)) - x,
    "matrix_exp": lambda x: linalg.matrix_exp(x) @ linalg.matrix_exp(-x) - np.eye(3),
    "tensorsolve": lambda x: minidl.tensordot(x, linalg.tensorsolve(x.reshape(6, 3)[:3], x[0, 0]), 1)[0] - x[0, 0],
}


@pytest.mark.parametrize("name", FACTORIZATIONS)
def test_factors_multiply_to_the_matrix(name):
    np.testing.assert_allclose(FACTORIZATIONS[name](minidl.tensor(SQUARE)).numpy(), 0.0, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (2, 3, 4), (4, 0), (0, 3), (0, 2, 2)])
def test_lu_of_any_shape_is_right_and_differentiable(shape):
    x = leaf(RANDOM.normal(size=shape))
    P, L, U = linalg.lu(x)
    np.testing.assert_allclose((P @ L @ U).detach().numpy(), x.detach().numpy(), atol=1e-12)
    (L.sum() + U.sum()).backward()
    assert x.grad.shape == x.shape


EMPTY = {
    "inv": linalg.inv, "det": linalg.det, "slogdet": lambda x: linalg.slogdet(x).logabsdet, "cholesky": linalg.cholesky,
    "qr": lambda x: linalg.qr(x).R, "svdvals": linalg.svdvals, "eigvalsh": linalg.eigvalsh, "pinv": linalg.pinv,
    "solve": lambda x: linalg.solve(x, x), "matrix_exp": linalg.matrix_exp, "lu": lambda x: linalg.lu_factor(x).LU,
    "matrix_power": lambda x: linalg.matrix_power(x, 3), "cond": linalg.cond, "lstsq": lambda x: linalg.lstsq(x, x).solution,
    "norm": lambda x: linalg.matrix_norm(x, 2), "triangular": lambda x: linalg.solve_triangular(x, x, upper=True),
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTY)
def test_matrices_of_size_zero(name):
    x = minidl.zeros(2, 0, 0, requires_grad=True)
    result = EMPTY[name](x)
    assert result.shape[0] == 2
    result.sum().backward()
    assert x.grad.shape == (2, 0, 0)


def test_the_gradient_of_a_determinant_of_rank_two_less_is_zero_and_of_rank_one_less_is_not():
    x = leaf(np.stack([np.diag([2.0, 3.0, 0.0]), np.diag([2.0, 0.0, 0.0])]))
    linalg.det(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.stack([np.diag([0.0, 0.0, 6.0]), np.zeros((3, 3))]), atol=1e-15)


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0, 3.0, float("inf")])
def test_the_gradient_of_a_distance_of_zero_is_zero(p):
    x = leaf([[1.0, 2.0], [1.0, 2.0]])
    minidl.cdist(x, minidl.tensor([[1.0, 2.0]], dtype=minidl.float64), p).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 0.0)


def test_distances_of_many_points_are_those_of_few():
    x, y = RANDOM.normal(size=(40, 3)), RANDOM.normal(size=(30, 3))
    many = minidl.cdist(minidl.tensor(x), minidl.tensor(y))
    np.testing.assert_allclose(
        many.numpy()[:5, :5], minidl.cdist(minidl.tensor(x[:5]), minidl.tensor(y[:5])).numpy(), rtol=1e-12
    )
    directional_check(minidl.cdist, [leaf(x), leaf(y)], order=2)


def test_products_of_several_matrices_take_the_cheapest_order():
    sizes = (5, 100, 2, 50, 3)
    factors = [minidl.tensor(RANDOM.normal(size=s)) for s in zip(sizes, sizes[1:], strict=False)]
    expected = np.linalg.multi_dot([f.numpy() for f in factors])
    np.testing.assert_allclose(linalg.multi_dot(factors).numpy(), expected, rtol=1e-12)
    vectors = [factors[0][0], *factors[1:-1], factors[-1][:, 0]]
    np.testing.assert_allclose(linalg.multi_dot(vectors).item(), expected[0, 0], rtol=1e-12)


def test_results_have_pytorchs_names():
    x = minidl.eye(2)
    assert linalg.svd(x)._fields == ("U", "S", "Vh")
    assert minidl.svd(x)._fields == ("U", "S", "V")
    assert linalg.qr(x)._fields == ("Q", "R")
    assert linalg.eigh(x)._fields == linalg.eig(x)._fields == ("eigenvalues", "eigenvectors")
    assert x.slogdet()._fields == ("sign", "logabsdet")
    assert linalg.lstsq(x, x)._fields == ("solution", "residuals", "rank", "singular_values")
    assert repr(x.slogdet()) == "torch.return_types.slogdet(\nsign=tensor(1.),\nlogabsdet=tensor(0.))"


def test_every_public_name_is_there():
    torch = pytest.importorskip("torch")
    wanted = {n for n in dir(torch.linalg) if not n.startswith("_")} - {
        "common_notes",
        "ldl_factor",
        "ldl_factor_ex",
        "ldl_solve",
    }
    assert wanted == set(linalg.__all__)
    assert issubclass(linalg.LinAlgError, RuntimeError)


def test_the_ex_functions_report_instead_of_raising():
    x = minidl.tensor([[[1.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [0.0, 0.0]]], requires_grad=True)
    inverse, info = linalg.inv_ex(x)
    assert info.tolist() == [0, 2]
    assert inverse[0].tolist() == [[1.0, 0.0], [0.0, 0.5]]
    assert inverse[1].isnan().all()
    inverse[0].sum().backward()
    assert x.grad[1].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert linalg.solve_ex(x, x).info.tolist() == [0, 2]
    L, info = linalg.cholesky_ex(x * minidl.tensor([1.0, -1.0]))
    assert info.tolist() == [2, 2]
    assert L.isnan().all()
    assert linalg.lu_factor_ex(x).info.tolist() == [0, 2]


SINGULAR = np.stack([np.eye(2), np.zeros((2, 2))])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: linalg.inv(x), r"linalg.inv: the matrix at batch index \(1,\) is singular .* linalg.pinv"),
        (lambda x: linalg.inv(x[1]), "linalg.inv: the matrix is singular"),
        (lambda x: linalg.solve(x, x), r"linalg.solve: the matrix at batch index \(1,\) is singular.*linalg.lstsq"),
        (
            lambda x: linalg.cholesky(x - 2.0),
            r"linalg.cholesky: the matrix at batch index \(0,\) is not positive-definite",
        ),
        (lambda x: linalg.inv_ex(x, check_errors=True), "singular"),
        (
            lambda x: linalg.lu_factor_ex(x, check_errors=True),
            r"linalg.lu_factor: U of the matrix at batch index \(1,\)",
        ),
        (lambda x: linalg.matrix_power(x, -1), "singular"),
    ],
)
def test_matrices_without_what_was_asked_for(function, message):
    with pytest.raises(linalg.LinAlgError, match=message):
        function(minidl.tensor(SINGULAR))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda: linalg.det(minidl.ones(2, 3)),
            "linalg.det: A must be batches of square matrices, but they are 2 by 3",
        ),
        (lambda: linalg.inv(minidl.ones(3)), "at least 2 dimensions"),
        (lambda: linalg.svd(minidl.ones(2, 2, dtype=minidl.int64)), r"floating point.*int64; use A.float\(\)"),
        (
            lambda: linalg.solve(minidl.eye(2), minidl.ones(3, 1)),
            "Incompatible shapes of A and B for the equation AX = B",
        ),
        (lambda: linalg.solve(minidl.eye(2), minidl.ones(2, 1).double()), "same dtype"),
        (lambda: linalg.qr(minidl.eye(2), "full"), "mode must be 'reduced', 'complete' or 'r'"),
        (lambda: linalg.eigh(minidl.eye(2), "X"), "UPLO"),
        (lambda: linalg.matrix_norm(minidl.eye(2), 3), "Order 3 not supported"),
        (lambda: linalg.matrix_norm(minidl.eye(2), dim=(0, 0)), "two different dimensions"),
        (lambda: linalg.norm(minidl.ones(2, 2, 2), 2), "If dim is not specified but ord is"),
        (lambda: linalg.cross(minidl.ones(2), minidl.ones(2)), "must have length 3"),
        (
            lambda: minidl.tensordot(minidl.ones(2, 3), minidl.ones(4, 2), 1),
            "first has size 3 in dim 1 and second has size 4",
        ),
        (lambda: minidl.cdist(minidl.ones(2, 3), minidl.ones(2, 4)), "same number of columns"),
        (lambda: linalg.tensorinv(minidl.ones(2, 3), 1), "must be equal"),
        (lambda: minidl.cov(minidl.ones(2, 3), fweights=minidl.tensor([1, -1, 1])), "3 non-negative integers"),
        (lambda: linalg.lu(minidl.eye(2), pivot=False), "without pivoting"),
    ],
)
def test_errors_say_what_is_wrong(function, message):
    with pytest.raises(RuntimeError, match=message):
        function()


def test_a_complete_qr_of_a_tall_matrix_has_no_gradient():
    x = minidl.tensor(RANDOM.normal(size=(3, 2)), requires_grad=True)
    Q, R = linalg.qr(x, mode="complete")
    assert Q.shape == (3, 3)
    assert R.shape == (3, 2)
    with pytest.raises(RuntimeError, match="mode='reduced'"):
        R.sum().backward()


def test_second_gradients_are_pytorchs():
    torch = pytest.importorskip("torch")
    functions = {
        "det": lambda module, x: module.linalg.det(x),
        "logdet": lambda module, x: module.logdet(x @ x.mT),
        "inv": lambda module, x: module.linalg.inv(x).sum(-1),
        "pinv": lambda module, x: module.linalg.pinv(x[..., :2]).sum(-1),
        "svdvals": lambda module, x: module.linalg.svdvals(x) ** 2,
        "matrix_exp": lambda module, x: module.linalg.matrix_exp(x).sum(-1),
        "norm": lambda module, x: module.norm(x, "nuc", dim=(0, 2)),
    }
    for name, function in functions.items():
        found = []
        for module, x in ((minidl, leaf(SQUARE)), (torch, torch.tensor(SQUARE, requires_grad=True))):
            (first,) = module.autograd.grad((function(module, x) ** 2).sum(), [x], create_graph=True)
            (second,) = module.autograd.grad((first**2).sum(), [x])
            found.append((first.detach().numpy(), second.numpy()))
        for ours, theirs in zip(*found, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8 * np.abs(theirs).max(), err_msg=name)


def test_complex_matrices_have_values():
    a = SQUARE + 1j * RANDOM.normal(size=SQUARE.shape)
    x, h = minidl.tensor(a), a @ a.conj().swapaxes(-1, -2) + np.eye(3)
    np.testing.assert_allclose((linalg.inv(x) @ x).numpy(), np.broadcast_to(np.eye(3), a.shape), atol=1e-12)
    np.testing.assert_allclose(linalg.det(x).numpy(), np.linalg.det(a), rtol=1e-12)
    U = linalg.cholesky(minidl.tensor(h), upper=True)
    np.testing.assert_allclose((U.mH @ U).numpy(), h, atol=1e-12)
    np.testing.assert_allclose((minidl.tensor(h) @ minidl.cholesky_solve(x, U, upper=True)).numpy(), a, atol=1e-12)
    solved = linalg.lu_solve(*linalg.lu_factor(x), x, adjoint=True)
    np.testing.assert_allclose((x.mH @ solved).numpy(), a, atol=1e-12)


def test_covariance_with_weights_is_numpys():
    x, counts, importance = RANDOM.normal(size=(3, 6)), np.array([1, 2, 1, 3, 1, 2]), RANDOM.uniform(0.5, 2.0, 6)
    ours = minidl.cov(
        minidl.tensor(x), correction=0, fweights=minidl.tensor(counts), aweights=minidl.tensor(importance)
    )
    np.testing.assert_allclose(ours.numpy(), np.cov(x, ddof=0, fweights=counts, aweights=importance), rtol=1e-12)
    np.testing.assert_allclose(minidl.corrcoef(minidl.tensor(x)).numpy(), np.corrcoef(x), rtol=1e-12)
    assert minidl.cov(minidl.tensor([[1, 2], [3, 5]])).dtype == minidl.float32


def test_diag_embed_puts_the_diagonal_into_any_two_dimensions():
    x = minidl.tensor(RANDOM.normal(size=(2, 3)))
    embedded = minidl.diag_embed(x, 1, 0, 2)
    assert embedded.shape == (4, 2, 4)
    np.testing.assert_array_equal(embedded.diagonal(1, 0, 2).numpy(), x.numpy())
    with pytest.raises(RuntimeError, match="cannot be identical"):
        minidl.diag_embed(x, 0, 1, 1)
