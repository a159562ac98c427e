"""Complex tensors in the graph: PyTorch's gradients, at every place where users see one."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md

RNG = np.random.default_rng(0)


def complex_array(*shape):
    return RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)


def both(program, *arrays):
    """The results of a program of (library, leaves), in minidl and in PyTorch, with the leaves' gradients."""
    torch = pytest.importorskip("torch")
    found = []
    for library in (md, torch):
        leaves = [library.tensor(a.copy()).requires_grad_() for a in arrays]
        results = program(library, *leaves)
        results = list(results) if isinstance(results, (tuple, list)) else [results]
        found.append([np.asarray(t.detach().resolve_conj().numpy()) for t in (*results, *(x.grad for x in leaves))])
    for ours, theirs in zip(*found, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_gradient_of_a_complex_leaf_is_the_conjugate_derivative():
    z = md.tensor(3.0 + 4.0j, dtype=md.complex128, requires_grad=True)
    (z * z).real.backward()
    assert z.grad.item() == 6 - 8j  # d Re(z^2) = Re(2z dz), and PyTorch's gradient is the conjugate of 2z


def test_rotary_embedding():
    def program(m, x, angles):
        turns = m.polar(m.ones_like(angles), angles)
        pairs = m.view_as_complex(x.reshape(2, 5, 3, 2))
        out = m.view_as_real(pairs * turns).flatten(2)
        (out**3).sum().backward()
        return out

    both(program, RNG.standard_normal((2, 5, 6)), RNG.standard_normal((5, 3)))


def test_hooks_retained_gradients_and_accumulation():
    def program(m, z):
        seen = []
        y = z * (2.0 - 1.0j)
        y.register_hook(lambda g: seen.append(g) or g * 1j)
        y.retain_grad()
        for _ in range(2):
            (y * y.conj()).real.sum().backward(retain_graph=True)
        return [*seen, y.grad]

    both(program, complex_array(4))


def test_grad_and_second_order():
    def program(m, z, w):
        y = m.exp(z) * w.abs() + m.linalg.inv(z.reshape(2, 2)).reshape(-1)
        (dz,) = m.autograd.grad(y, z, m.ones_like(y) * (1 + 2j), create_graph=True)
        dz.abs().sum().backward()
        return dz

    both(program, complex_array(4), complex_array(4))


def test_custom_function_sees_users_gradients():
    def program(m, z):
        class Times(m.autograd.Function):
            @staticmethod
            def forward(ctx, z):
                return z * 2j

            @staticmethod
            def backward(ctx, g):
                return g * (-2j)

        y = Times.apply(z)
        y.abs().sum().backward()
        return y

    both(program, complex_array(3))


def test_in_place_and_mixed_with_real():
    def program(m, z, x):
        y = z * 1.0
        y[1:] *= x[1:]
        y += x
        (y.real**2 + y.imag * 3).sum().backward()
        return y

    both(program, complex_array(3), RNG.standard_normal(3))


def test_learning_a_filter_in_frequency_space():
    def program(m, x, h):
        y = m.fft.irfft(m.fft.rfft(x) * h, n=8)
        (y * y).sum().backward()
        return y

    both(program, RNG.standard_normal((2, 8)), complex_array(5))


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("n", [4, 5, 6, 7])
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_transforms_of_every_length(name, n, norm):
    def program(m, x):
        y = getattr(m.fft, name)(x, n=n, dim=0, norm=norm)
        (y * m.arange(y.shape[0])[:, None]).abs().sum().backward()
        return y

    both(program, RNG.standard_normal((5, 2)) if name in ("rfft", "ihfft") else complex_array(5, 2))


def test_eigenvalues_and_vectors():
    def program(m, x):
        values, vectors = m.linalg.eig(x)
        order = np.argsort(values.detach().numpy().real + 10 * values.detach().numpy().imag)
        projectors = vectors[:, order].abs() ** 2
        ((values.abs() ** 3).sum() + (projectors * m.arange(4)[:, None]).sum()).backward()
        return projectors

    both(program, RNG.standard_normal((4, 4)))


def test_random_numbers():
    md.manual_seed(0)
    z = md.randn(20000, dtype=md.complex64)
    assert z.dtype is md.complex64
    # of 20,000 numbers the mean square is 1 to within 1/sqrt(20000) = 0.007; five of those
    assert abs(float((z.abs() ** 2).mean()) - 1) < 0.036
    assert abs(complex(z.mean())) < 0.036
    u = md.rand(1000, dtype=md.complex128)
    assert u.real.min() >= 0 and u.imag.max() < 1


def test_refusals():
    z = md.tensor([1 + 1j], requires_grad=True)
    with pytest.raises(RuntimeError, match="only for real scalar outputs but got"):
        (z * 2).backward()
    with pytest.raises(RuntimeError, match="Maximum: its gradient is not defined for complex"):
        md.maximum(z, z)
    with pytest.raises(RuntimeError, match=r"is of size 2, got torch\.float32 of shape \[3\]"):
        md.view_as_complex(md.zeros(3))
    with pytest.raises(RuntimeError, match=r"use input\.contiguous\(\)"):
        md.view_as_complex(md.zeros(2, 3).T)
    with pytest.raises(RuntimeError, match="Invalid normalization mode: 'orto'"):
        md.fft.fft(md.ones(3), norm="orto")
    with pytest.raises(RuntimeError, match="rfft expects a real input tensor"):
        md.fft.rfft(md.ones(3, dtype=md.complex64))
    with pytest.raises(RuntimeError, match=r"Invalid number of data points \(0\)"):
        md.fft.fft(md.ones(3), n=0)
    with pytest.raises(IndexError, match="Dimension out of range"):
        md.fft.fft(md.ones(3), dim=1)
