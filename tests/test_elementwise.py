"""Element-wise functions against PyTorch where the declared samples do not go: special values, dtypes, edges of domains."""

import numpy as np
import pytest

import minidl

UNARY = [
    "abs", "acos", "acosh", "angle", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "deg2rad", "digamma", "erf",
    "erfc", "erfinv", "exp", "exp2", "expm1", "floor", "frac", "i0", "lgamma", "log", "log10", "log1p", "log2", "logit",
    "nan_to_num", "neg", "rad2deg", "reciprocal", "round", "rsqrt", "sign", "sin", "sinc", "sinh", "sqrt", "square",
    "tan", "tanh", "trunc",
]  # fmt: skip
SPECIAL = ["entr", "erfcx", "i0e", "i1", "i1e", "log_ndtr", "ndtr", "ndtri", "psi", "gammaln", "expit"]
WITHOUT_GRADIENT = [
    "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0",
    "modified_bessel_k1", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1",
]  # fmt: skip
# where PyTorch's own value or gradient is not the limit, or has no sign where the limit is infinite
LEFT_OUT = {
    "digamma": [-1.0, -np.inf], "psi": [-1.0, -np.inf], "lgamma": [-np.inf], "gammaln": [-np.inf], "logit": [-0.0],
    "i1": [np.nan], "i1e": [np.nan], "log_ndtr": [-np.inf],
}  # fmt: skip
VALUES = np.array([0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 2.5, -3.5, 30.0, np.inf, -np.inf, np.nan])


def both(torch, name, values, **options):
    """The result and the gradient of the sum, of minidl and of PyTorch."""
    found = []
    for library in (minidl, torch):
        function = getattr(library, name, None) or getattr(library.special, name)
        x = library.tensor(values, requires_grad=True)
        y = function(x, **options)
        y.backward(library.ones_like(y))
        found.append((y.detach().numpy(), x.grad.numpy()))
    return found


@pytest.mark.parametrize("name", UNARY + SPECIAL)
def test_special_values_and_their_gradients_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    left_out = [str(np.float64(x)) for x in LEFT_OUT.get(name, [])]  # as text, to tell -0.0 from 0.0 and find NaN
    values = np.array([x for x in VALUES if str(x) not in left_out])
    (value, gradient), (torch_value, torch_gradient) = both(torch, name, values)
    np.testing.assert_allclose(value, torch_value, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(gradient, torch_gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", WITHOUT_GRADIENT)
def test_bessel_functions_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    x = np.array([0.0, 0.3, 1.0, 2.0, 7.5, 20.0])
    ours, theirs = (getattr(library.special, name)(library.tensor(x)).numpy() for library in (minidl, torch))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)  # near the zeros PyTorch's differ from the integrals by 1e-7
    assert minidl.special.bessel_j0(minidl.tensor([1.0], requires_grad=True)).grad_fn is None


@pytest.mark.parametrize(
    "name", ["exp", "sqrt", "sin", "lgamma", "erf", "logit", "i0", "reciprocal", "angle", "ceil", "abs"]
)
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", "float64"])
def test_result_dtypes_are_pytorchs(name, dtype):
    torch = pytest.importorskip("torch")
    if dtype == "bool" and name in ("ceil", "abs"):
        pytest.skip("PyTorch has no ceil and abs of bools")
    ours, theirs = (getattr(lib, name)(lib.tensor([0, 1], dtype=getattr(lib, dtype))) for lib in (minidl, torch))
    assert str(ours.dtype) == str(theirs.dtype)
    np.testing.assert_allclose(
        ours.numpy(), theirs.numpy(), rtol=2e-3 if dtype == "float16" else 1e-6
    )  # float16: 11 bits


@pytest.mark.parametrize(
    "name", ["atan2", "hypot", "logaddexp", "logaddexp2", "xlogy", "copysign", "nextafter", "ldexp", "float_power"]
)
def test_pairs_of_special_values_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    values = np.array([0.0, -0.0, 0.5, -2.0, 3.0, np.inf, -np.inf, np.nan])
    results = []
    for library in (minidl, torch):
        x, y = (library.tensor(a.copy(), requires_grad=True) for a in np.meshgrid(values, values))
        z = getattr(library, name)(x, y)
        z.backward(2 * library.ones_like(z))
        results.append((z.detach().numpy(), x.grad.numpy(), y.grad.numpy()))
    (value, dx, dy), (torch_value, torch_dx, torch_dy) = results
    np.testing.assert_allclose(value, torch_value, rtol=1e-12)
    np.testing.assert_array_equal(np.signbit(value[np.isfinite(value)]), np.signbit(torch_value[np.isfinite(value)]))
    finite = np.isfinite(x.detach().numpy()) & np.isfinite(y.detach().numpy())
    np.testing.assert_allclose(dx[finite], torch_dx[finite], rtol=1e-12)
    np.testing.assert_allclose(dy[finite], torch_dy[finite], rtol=1e-12)


def test_integers():
    a, b = minidl.tensor([12, -8, 0, 7]), minidl.tensor([18, 12, 5, 0])
    assert minidl.gcd(a, b).tolist() == [6, 4, 5, 7]
    assert minidl.lcm(a, b).tolist() == [36, 24, 0, 0]
    assert minidl.ldexp(minidl.tensor([3]), minidl.tensor([4])).tolist() == [48.0]
    assert minidl.float_power(2, minidl.tensor([3])).dtype is minidl.float64
    assert minidl.special.zeta(2.0, minidl.tensor([1.0])).item() == pytest.approx(np.pi**2 / 6)
    assert minidl.special.xlog1py(2, minidl.tensor([1.0])).dtype is minidl.float32


def test_frexp_takes_a_number_apart():
    x = minidl.tensor([12.0, -0.75, 0.0], requires_grad=True)
    mantissa, exponent = minidl.frexp(x)
    assert mantissa.tolist() == [0.75, -0.75, 0.0] and exponent.tolist() == [4, 0, 0]
    assert exponent.dtype is minidl.int32
    mantissa.sum().backward()
    assert x.grad.tolist() == [1 / 16, 1.0, 1.0]


def test_a_step_stops_even_infinite_gradients():
    x = minidl.tensor([1.5], requires_grad=True)
    x.floor().backward(minidl.tensor([np.inf]))
    assert x.grad.tolist() == [0.0]


def test_multivariate_and_incomplete_gamma_functions():
    torch = pytest.importorskip("torch")
    a, x = np.array([2.5, 3.0, 10.0]), np.array([0.1, 3.0, 12.0])
    for name in ("igamma", "igammac"):
        ours, theirs = (lib.tensor(x, requires_grad=True) for lib in (minidl, torch))
        got, expected = getattr(minidl, name)(minidl.tensor(a), ours), getattr(torch, name)(torch.tensor(a), theirs)
        np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-10)
        got.sum().backward()
        expected.sum().backward()
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-10)
    ours, theirs = (lib.mvlgamma(lib.tensor(a), 4).numpy() for lib in (minidl, torch))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_complex_numbers():
    torch = pytest.importorskip("torch")
    z = np.array([[1 + 2j, -3j, 0], [-1, 2 - 2j, 1j]], np.complex64)
    ours, theirs = minidl.tensor(z), torch.tensor(z)
    for name in ("real", "imag", "conj", "conj_physical", "angle", "isreal", "sgn", "view_as_real", "resolve_conj"):
        got, expected = getattr(minidl, name)(ours), getattr(torch, name)(theirs).resolve_conj()
        assert str(got.dtype) == str(expected.dtype)
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(ours.H.numpy(), theirs.H.resolve_conj().numpy())
    ours.real[0, 0] = 5.0  # the parts are views
    assert ours[0, 0].item() == 5 + 2j
    x = minidl.tensor([1.0, 2.0])
    assert minidl.real(x) is x.conj() is x
    np.testing.assert_allclose(minidl.polar(x, x).numpy(), x.numpy() * np.exp(1j * x.numpy()), rtol=1e-6)


def test_special_has_pytorchs_names():
    torch = pytest.importorskip("torch")
    missing = [name for name in minidl.special.__all__ if not hasattr(torch.special, name)]
    assert not missing
    assert minidl.special.gammaln is minidl.lgamma


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: minidl.imag(t), RuntimeError, "non-complex"),
        (lambda t: minidl.view_as_real(t), RuntimeError, "complex tensors"),
        (lambda t: minidl.complex(t, t.double()), RuntimeError, "float32 and torch.float64"),
        (lambda t: minidl.polygamma(-1, t), RuntimeError, "negative n"),
        (lambda t: minidl.mvlgamma(t, 0), RuntimeError, "greater than or equal to 1"),
        (lambda t: -(t > 0), RuntimeError, "use ~"),
        (
            lambda t: minidl.igamma(t.requires_grad_(), t).sum().backward(),
            NotImplementedError,
            "igamma: .*first argument",
        ),
        (lambda t: minidl.tensor([1]) // minidl.tensor([0]), RuntimeError, "ZeroDivisionError"),
        (lambda t: t.div(t, rounding_mode="up"), RuntimeError, "rounding_mode"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call(minidl.tensor([1.0, 2.0]))


@pytest.mark.parametrize("bounds", [(0.0, 2.0), (0.0, None), (None, 2.0)])
def test_no_gradient_passes_a_clamp_at_nan(bounds):
    x = minidl.tensor([float("nan"), 1.0, -2.0, 5.0], requires_grad=True)
    x.clamp(*bounds).sum().backward()
    torch = pytest.importorskip("torch")
    t = torch.tensor([float("nan"), 1.0, -2.0, 5.0], requires_grad=True)
    t.clamp(*bounds).sum().backward()
    assert x.grad.tolist() == t.grad.tolist()
