"""Reductions, running totals and order statistics against PyTorch where the declared samples do not go: ties, NaN, zeros,
empty dimensions, second derivatives, errors."""

import numpy as np
import pytest

import minidl

NAN, INF = float("nan"), float("inf")
TIES = [[1.0, 3.0, 3.0], [2.0, 2.0, -1.0]]
HOLES = [[1.0, NAN, 3.0, 2.0], [NAN, NAN, NAN, NAN], [0.5, 4.0, -1.0, 2.5]]


def parts(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


def check(call, values, rtol=1e-12):
    """call(library, x) gives the same values, dtypes and gradient in minidl as in PyTorch."""
    torch = pytest.importorskip("torch")
    found = []
    for library in (minidl, torch):
        x = library.tensor(np.array(values), requires_grad=np.array(values).dtype.kind == "f")
        results = parts(call(library, x))
        floats = [r for r in results if r.requires_grad]
        for i, r in enumerate(floats):
            r.backward(library.ones_like(r) * (i + 1), retain_graph=True)
        gradient = np.zeros(x.shape) if x.grad is None else x.grad.numpy()
        found.append(([r.detach().numpy() for r in results], gradient))
    (ours, our_gradient), (theirs, their_gradient) = found
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-12)
    np.testing.assert_allclose(our_gradient, their_gradient, rtol=rtol, atol=1e-12)


EXTREMES = ["amax", "amin", "max", "min", "argmax", "argmin", "aminmax", "cummax", "cummin"]


@pytest.mark.parametrize("name", [*EXTREMES, "mode"])
def test_ties(name):
    check(lambda lib, x: getattr(lib, name)(x, dim=1), TIES)
    check(lambda lib, x: getattr(lib, name)(x, dim=0), TIES)


@pytest.mark.parametrize("name", EXTREMES)
def test_nan_wins(name):
    check(lambda lib, x: [r.detach() for r in parts(getattr(lib, name)(x, dim=1))], [[NAN, 1.0, NAN], [INF, -INF, 2.0]])


@pytest.mark.parametrize("name", ["max", "min"])
def test_the_whole_tensor_shares_the_gradient_among_equal_values(name):
    check(lambda lib, x: getattr(lib, name)(x), TIES)
    check(lambda lib, x: getattr(x, name)(other=x.detach() * 0 + 2.0), TIES)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "nansum", "nanmean", "logsumexp", "median", "nanmedian"])
def test_nan_along_a_dimension(name):
    holes = HOLES if name not in ("nanmean", "nanmedian") else HOLES[::2]  # of nothing but NaN PyTorch names any place
    check(lambda lib, x: getattr(lib, name)(x, 1), holes)
    check(lambda lib, x: getattr(lib, name)(x, dim=0, keepdim=True), holes)


@pytest.mark.parametrize("name", ["sum", "prod", "all", "any", "count_nonzero", "nansum", "cumsum", "cumprod", "mean"])
def test_empty_dimensions(name):
    check(lambda lib, x: getattr(lib, name)(x, 0).detach(), np.zeros((0, 3)))
    check(lambda lib, x: getattr(lib, name)(x, 1).detach(), np.zeros((0, 3)))


@pytest.mark.parametrize("correction", [0, 1, 2, 3, 4])
def test_corrections_up_to_more_than_there_are_elements(correction):
    if correction >= 3:
        pytest.importorskip("torch")
        ours = minidl.tensor(TIES).var(1, correction=correction)
        assert ours.isinf().all() and (ours > 0).all()  # PyTorch's value too, with a warning
    else:
        check(lambda lib, x: lib.var(x, 1, correction=correction), TIES)
        check(lambda lib, x: lib.std_mean(x, dim=0, correction=correction), TIES[:1] * 3 + TIES)


@pytest.mark.parametrize("values", [[2.0, 3.0, 4.0], [2.0, 0.0, 4.0], [0.0, 0.0, 4.0], [0.0, 0.0, 0.0]])
@pytest.mark.parametrize("name", ["prod", "cumprod"])
def test_second_derivatives_of_products_with_zeros(name, values):
    torch = pytest.importorskip("torch")
    hessians = []
    for library in (minidl, torch):
        x = library.tensor(np.array(values), requires_grad=True)
        y = (getattr(library, name)(x, 0) * library.tensor(np.array([1.0, 2.0, 5.0]))).sum()
        (gradient,) = library.autograd.grad(y, x, create_graph=True)
        rows = [library.autograd.grad(gradient[i], x, retain_graph=True)[0].numpy() for i in range(3)]
        hessians.append(np.stack([gradient.detach().numpy(), *rows]))
    np.testing.assert_allclose(hessians[0], hessians[1], rtol=1e-12, atol=1e-12)


def test_the_standard_deviation_of_equal_numbers_has_gradient_zero():
    check(lambda lib, x: lib.std(x, 1), [[2.0, 2.0, 2.0], [1.0, 2.0, 4.0]])
    check(lambda lib, x: lib.std_mean(x), [[2.0, 2.0, 2.0]])


def test_infinities_of_both_signs_add_up_to_nan_without_a_warning():
    assert minidl.tensor([INF, -INF]).sum().isnan() and minidl.tensor([INF, 0.0]).prod().isnan()


def test_product_of_many_numbers():
    x = minidl.full((5000,), 1.001, dtype=minidl.float64, requires_grad=True)
    x.prod().backward()
    np.testing.assert_allclose(x.grad.numpy(), 1.001**4999, rtol=1e-10)


@pytest.mark.parametrize("p", [0, 0.5, 1, 2, 3, INF, -INF, "fro"])
def test_norms_and_their_gradients_at_zero(p):
    if p != 0.5:  # whose gradient at zero is infinite
        check(lambda lib, x: lib.norm(x, p, dim=1), [[0.0, 0.0, 0.0], [3.0, -4.0, 0.0]])
    check(lambda lib, x: lib.norm(x, p, dim=(0, 1), keepdim=True), [[1.0, 2.0, -2.0], [3.0, -4.0, 5.0]])


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
@pytest.mark.parametrize("name", ["quantile", "nanquantile"])
def test_quantiles(name, interpolation):
    def at(q, **options):
        return lambda lib, x: getattr(lib, name)(x, lib.tensor(np.array(q)), interpolation=interpolation, **options)

    check(at([0.0, 0.3, 0.5, 0.9, 1.0], dim=1), HOLES)
    check(at(0.4, dim=0, keepdim=True), HOLES)
    check(at([0.25], keepdim=True), np.random.default_rng(0).normal(size=(3, 7)))
    check(at(0.99), [2.0])


def test_a_quantile_has_a_gradient_for_its_share_too():
    check(lambda lib, q: lib.quantile(lib.tensor(np.array([0.0, 1.0, 5.0, 6.0])), q), [0.1, 0.5, 0.8])


def test_running_log_sum_exp_of_large_numbers():
    x = np.array([[1000.0, 1001.0, -1000.0], [-1000.0, -1001.0, 5.0]])
    check(lambda lib, t: lib.logcumsumexp(t, 1), x)
    check(lambda lib, t: lib.logcumsumexp(t, 0), x)


def test_differences_and_integrals():
    y, t = np.random.default_rng(0).normal(size=(4, 5)), np.array([0.0, 0.5, 2.0, 2.5, 4.0])
    check(lambda lib, x: lib.diff(x, 2, dim=0, prepend=x[:1] * 2, append=x[-1:]), y)
    check(lambda lib, x: lib.diff(x, 9), y)
    check(lambda lib, x: lib.diff(x > 0), y)
    check(lambda lib, x: lib.trapezoid(x, lib.tensor(t), dim=1), y)
    check(lambda lib, x: lib.trapezoid(lib.tensor(y), x), t)
    check(lambda lib, x: lib.cumulative_trapezoid(x, dx=0.5, dim=0), y)
    check(lambda lib, x: lib.gradient(x), y)
    check(lambda lib, x: lib.gradient(x, spacing=[0.5, 2.0], edge_order=2), y)
    check(lambda lib, x: lib.gradient(x, spacing=(lib.tensor(t),), dim=1, edge_order=2), y)
    check(lambda lib, x: lib.gradient(x, spacing=(lib.tensor(t),), dim=1), y)


def test_slopes_of_a_parabola_are_exact_at_uneven_points():
    t = minidl.tensor([0.0, 0.5, 2.0, 2.5, 4.0])
    (slope,) = minidl.gradient(t * t, spacing=(t,), edge_order=2)
    np.testing.assert_allclose(slope.numpy(), 2 * t.numpy(), atol=1e-6)


@pytest.mark.parametrize("density", [False, True])
def test_histograms(density):
    x = np.random.default_rng(0).normal(size=(5, 8))
    check(lambda lib, t: lib.histogram(t.detach(), 7, density=density), x)
    check(lambda lib, t: lib.histogram(t.detach(), 4, range=(-1.0, 2.0), density=density), x)
    edges = np.array([-1.0, 0.0, 0.1, 3.0])
    check(lambda lib, t: lib.histogram(t.detach(), lib.tensor(edges), weight=t.detach() ** 2, density=density), x)
    check(lambda lib, t: lib.histc(t.detach(), 5), [1.0, 1.0, 1.0])
    check(lambda lib, t: lib.histc(t.detach(), 4, -1, 1), [NAN, -1.0, 1.0, 0.3, 7.0])


def test_renorm_and_dist():
    x = np.array([[3.0, 4.0], [0.1, 0.2], [0.0, 0.0]])
    check(lambda lib, t: lib.renorm(t, 2, 0, 1.0), x)
    check(lambda lib, t: lib.renorm(t, 1, 1, 2.0), x)
    check(lambda lib, t: lib.dist(t, lib.ones(2, dtype=lib.float64), 3), x)


def test_results_are_named():
    x = minidl.tensor(TIES)
    assert x.max(0)._fields == x.cummin(0)._fields == x.mode(0)._fields == ("values", "indices")
    assert x.aminmax().min.item() == -1 and x.histogram(3).bin_edges.shape == (4,)
    assert repr(x[0].max(0)) == "torch.return_types.max(\nvalues=tensor(3.),\nindices=tensor(1))"


def test_numpys_argument_names():
    x = minidl.tensor(TIES)
    assert x.sum(axis=1, keepdims=True).shape == (2, 1)
    assert x.max(axis=0).indices.tolist() == [1, 0, 0]


def test_as_strided_is_a_view():
    check(lambda lib, x: lib.as_strided(x * 1, (3, 3), (1, 1), 1), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    x = minidl.arange(6)
    x.as_strided((2, 2), (3, 1))[1, 0] = 9
    assert x.tolist() == [0, 1, 2, 9, 4, 5]


def test_resize_keeps_the_first_elements():
    x = minidl.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x.resize_(3).tolist() == [1.0, 2.0, 3.0] and x.resize_(2, 2).shape == (2, 2)
    product = (y := minidl.ones(2, requires_grad=True)) * x[0].clone().resize_(2)
    product.sum().backward()
    assert y.grad.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("accumulate", [False, True])
def test_put(accumulate):
    check(lambda lib, x: lib.Tensor.put(x, lib.tensor([5, -1, 0][1 - accumulate :]), x[0, 1 - accumulate :], accumulate),
          [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])  # fmt: skip


@pytest.mark.filterwarnings("ignore:index_reduce:UserWarning")  # PyTorch's, once
@pytest.mark.parametrize("reduce", ["prod", "mean", "amax", "amin"])
def test_index_reduce(reduce):
    check(lambda lib, x: x.index_reduce(0, lib.tensor([0, 2, 0]), x * 2, reduce, include_self=reduce != "mean"),
          [[1.0, 0.5], [3.0, -4.0], [5.0, 0.0]])  # fmt: skip


def test_unravel_index_is_the_inverse_of_flattening():
    x = minidl.arange(24).reshape(2, 3, 4)
    at = minidl.unravel_index(minidl.tensor([[0, 23], [7, 12]]), (2, 3, 4))
    assert x[at].tolist() == [[0, 23], [7, 12]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: x.sum(2), IndexError, r"sum: Dimension out of range.*\[-2, 1\], but got 2"),
        (lambda x: x.sum((0, -2)), RuntimeError, "sum: dim .* multiple times"),
        (lambda x: x.long().mean(), RuntimeError, "use x.float"),
        (lambda x: x[:, :0].amax(1), RuntimeError, r"amax\(\): .*non-zero size.*\[2, 0\]"),
        (lambda x: x[:, :0].argmax(), RuntimeError, "argmax"),
        (lambda x: x[:, :0].mode(1), RuntimeError, "mode"),
        (lambda x: minidl.tensor(1.0).diff(), RuntimeError, "at least one-dimensional"),
        (lambda x: minidl.trapezoid(x, minidl.ones(2)), RuntimeError, "one `x` value for each sample point"),
        (lambda x: minidl.gradient(x, edge_order=3), RuntimeError, "edge_order"),
        (lambda x: minidl.gradient(x, spacing=[1.0]), RuntimeError, "one value or 2, got 1"),
        (lambda x: minidl.gradient(x, edge_order=2), RuntimeError, r"at least edge_order\+1"),
        (lambda x: x.long().quantile(0.5), RuntimeError, "float or double"),
        (lambda x: x.quantile(1.5), RuntimeError, r"range \[0, 1\], got 1.5"),
        (lambda x: x.quantile(minidl.ones(1, 1)), RuntimeError, "1D tensor"),
        (lambda x: x.quantile(0.5, interpolation="cubic"), RuntimeError, "'cubic'"),
        (lambda x: x.histc(3, 2, 1), RuntimeError, "min <= max"),
        (lambda x: (x / 0).histogram(3), RuntimeError, "not finite"),
        (lambda x: x.renorm(2, 0, -1), RuntimeError, "maxnorm"),
        (lambda x: x.sum_to_size(4), RuntimeError, r"size \[4\]"),
        (lambda x: x.as_strided((3, 3), (3, 1)), RuntimeError, "outside of the 6 elements"),
        (lambda x: x.T.as_strided((2,), (1,)), RuntimeError, "contiguous"),
        (lambda x: x[0].resize_(2), RuntimeError, "shares its memory"),
        (lambda x: x.requires_grad_().resize_(2), RuntimeError, "require grad"),
        (lambda x: x.put(minidl.tensor([6]), minidl.ones(1)), IndexError, "index 6 on a tensor of 6"),
        (lambda x: x.put(minidl.tensor([1]), minidl.ones(2)), IndexError, "same number of elements"),
        (lambda x: x.index_reduce(0, minidl.tensor([0]), x[:1], "sum"), RuntimeError, "index_add"),
        (lambda x: minidl.unravel_index(minidl.tensor([6]), (2, 3)), IndexError, "6 elements of shape"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call(minidl.tensor(TIES))


@pytest.mark.parametrize(
    "shape, dim",
    [((100_000, 3), 0), ((300, 400, 3), (0, 1)), ((40_000, 2, 3), (0, 2)), ((3, 50_000), 1), ((70, 80, 90), None)],
)
def test_long_sums_are_as_exact_as_short_ones(shape, dim):
    """Term after term, float32 sums of these would be wrong by 1e-5 of themselves, variances by 1e-4."""
    a = np.random.default_rng(0).random(shape, dtype=np.float32)
    for keepdim in (False, True):
        options = {} if dim is None else {"dim": dim, "keepdim": keepdim}
        axis = {} if dim is None else {"axis": dim, "keepdims": keepdim}
        for x in (minidl.tensor(a), minidl.tensor(a.transpose().copy()).permute(*range(len(shape) - 1, -1, -1))):
            for name, reference in (("sum", np.sum), ("mean", np.mean), ("var", lambda a, **k: np.var(a, ddof=1, **k))):
                expected = reference(a.astype(np.float64), **axis)
                got = getattr(x, name)(**options).numpy()
                assert got.shape == expected.shape and got.dtype == np.float32
                np.testing.assert_allclose(got, expected, rtol=2e-6)
    x = minidl.tensor(a)
    nothing = x.sum(())
    assert nothing.shape in (x.shape, ()) and nothing.data_ptr() != x.data_ptr()


def test_logsumexp_of_one_number():
    x = minidl.tensor(3.0, requires_grad=True)
    x.logsumexp(0).backward()
    assert x.logsumexp(0).item() == 3.0 and x.grad.item() == 1.0


@pytest.mark.parametrize(
    "name", ["sum", "mean", "amax", "amin", "prod", "logsumexp", "max", "min", "cumsum", "var", "std", "norm"]
)
@pytest.mark.parametrize("shape", [(3, 1), (3000, 1), (1, 3000)])
def test_a_reduction_of_single_elements_is_a_copy(name, shape):
    x = minidl.randn(shape)
    dim = shape.index(1)
    if name in ("var", "std"):
        out = getattr(x, name)(dim, correction=0)
    else:
        out = getattr(x, name)(dim=dim)
    for result in out if isinstance(out, tuple) else (out,):
        assert not np.shares_memory(result.numpy(), x.numpy())
