"""Recurrent kernels against their equations, written out for one sequence at a time, and their gradients against differences."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels.recurrent import gru, gru_backward, lstm, lstm_backward, rnn, rnn_backward

H, P, B = 3, 2, 3
SIZES = [(3, 3, 3, 3), (3, 2, 2, 1), (2, 1), (0, 0), ()]  # running sequences at each step, of a batch of three


def s(x):
    return 1 / (1 + np.exp(-x))


def rnn_step(a, h, relu, w_hh):
    h = a + w_hh @ h
    return np.maximum(h, 0) if relu else np.tanh(h)


def lstm_step(a, h, c, w_hh, w_hr):
    i, f, g, o = np.split(a + w_hh @ h, 4)
    c = s(f) * c + s(i) * np.tanh(g)
    h = s(o) * np.tanh(c)
    return (h if w_hr is None else w_hr @ h), c


def gru_step(a, h, w_hh, b_hh):
    (xr, xz, xn), (hr, hz, hn) = np.split(a, 3), np.split(w_hh @ h + (0 if b_hh is None else b_hh), 3)
    z = s(xz + hz)
    return (1 - z) * np.tanh(xn + s(xr + hr) * hn) + z * h


def by_definition(step, x, states, sizes, reverse):
    """Outputs (T, B, .) and last states of a step function, each sequence for itself."""
    x, ends = x.astype(np.float64), [state.astype(np.float64) for state in states]
    out = np.zeros((len(sizes), *ends[0].shape))
    for b in range(x.shape[1]):
        times = [t for t, n in enumerate(sizes) if b < n]
        for t in reversed(times) if reverse else times:
            after = step(x[t, b], *(end[b] for end in ends))
            for end, new in zip(ends, after if isinstance(after, tuple) else (after,), strict=True):
                end[b] = new
            out[t, b] = ends[0][b]
    return [out, *ends]


def drawn(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


class Case:
    """One call: the differentiable arguments, the kernels on them, and the equations on them."""

    def __init__(self, kind, sizes, reverse, rng):
        self.results = 3 if "lstm" in kind else 2
        how, T = (sizes, reverse), len(sizes)
        if "rnn" in kind:
            relu = "relu" in kind
            self.arguments = [drawn(rng, T, B, H), drawn(rng, H, H), drawn(rng, B, H)]
            self.forward = lambda x, w, h: (rnn, (x, w, h, *how, relu))
            self.backward = lambda g, found, x, w, h: (rnn_backward, (*g, w, found[0], found[2], *how, relu))
            self.plain = lambda x, w, h: by_definition(lambda a, h: rnn_step(a, h, relu, w), x, [h], *how)
        elif "lstm" in kind:
            width = P if "projected" in kind else H
            self.arguments = [drawn(rng, T, B, 4 * H), drawn(rng, 4 * H, width), drawn(rng, B, width), drawn(rng, B, H)]
            self.arguments.append(drawn(rng, P, H) if "projected" in kind else None)
            self.forward = lambda x, w, h, c, r: (lstm, (x, w, h, c, r, *how))
            self.backward = lambda g, found, x, w, h, c, r: (lstm_backward, (*g, w, r, *found[3:], *how))
            self.plain = lambda x, w, h, c, r: by_definition(lambda a, h, c: lstm_step(a, h, c, w, r), x, [h, c], *how)
        else:
            bias = drawn(rng, 3 * H) if "bias" in kind else None
            self.arguments = [drawn(rng, T, B, 3 * H), drawn(rng, 3 * H, H), bias, drawn(rng, B, H)]
            self.forward = lambda x, w, b, h: (gru, (x, w, b, h, *how))
            self.backward = lambda g, found, x, w, b, h: (gru_backward, (*g, w, *found[2:], *how))
            self.plain = lambda x, w, b, h: by_definition(lambda a, h: gru_step(a, h, w, b), x, [h], *how)

    def gradient_call(self, g, arguments):
        """backward's kernel and arguments, for gradients g of the results."""
        kernel, args = self.forward(*arguments)
        return self.backward(g, kernel(*args), *arguments)


@pytest.fixture(params=["rnn", "rnn relu", "lstm", "lstm projected", "gru", "gru bias"])
def kind(request):
    return request.param


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_forward_is_the_equations(kind, sizes, reverse, rng):
    case = Case(kind, sizes, reverse, rng)
    kernel, args = case.forward(*case.arguments)
    for got, wanted in zip(kernel(*args)[: case.results], case.plain(*case.arguments), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("sizes", SIZES[:3], ids=str)
def test_the_gradients_agree_with_differences_of_the_equations(kind, sizes, reverse, rng):
    case = Case(kind, sizes, reverse, rng)
    arguments = [a if a is None else a.astype(np.float64) for a in case.arguments]
    g = [rng.standard_normal(y.shape) for y in case.plain(*arguments)]
    kernel, args = case.gradient_call(g, arguments)
    for i, gradient in enumerate(kernel(*args)):
        if arguments[i] is None:
            continue
        direction, step = rng.standard_normal(arguments[i].shape), 1e-6
        sides = []
        for sign in (1, -1):
            moved = [a + sign * step * direction if j == i else a for j, a in enumerate(arguments)]
            sides.append(sum(np.vdot(c, y) for c, y in zip(g, case.plain(*moved), strict=True)))
        # 1e-6: what differences with such a step are good for
        np.testing.assert_allclose(
            np.vdot(gradient, direction), (sides[0] - sides[1]) / (2 * step), rtol=1e-6, atol=1e-6
        )


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_variants_agree(kind, sizes, reverse, rng, compare):
    case = Case(kind, sizes, reverse, rng)
    kernel, args = case.forward(*case.arguments)
    # 1e-5: rounding goes through up to four steps
    compare(kernel, *args, rtol=1e-5, atol=1e-5)
    if kind != "lstm":  # without a projection its gradient is None, and there is nothing to compare
        g = [drawn(rng, *y.shape) for y in kernel(*args)[: case.results]]
        kernel, args = case.gradient_call(g, case.arguments)
        compare(kernel, *args, rtol=1e-5, atol=1e-5)


def test_sequences_that_have_ended_keep_their_state_and_pass_its_gradient_on(kind, rng):
    case = Case(kind, (2, 1), False, rng)
    kernel, args = case.forward(*case.arguments)
    out, *ends = kernel(*args)[: case.results]
    first = case.arguments[2 if "gru" not in kind else 3]
    np.testing.assert_array_equal(ends[0][2], first[2])  # never ran
    np.testing.assert_array_equal(ends[0][1], out[0, 1])  # ended after one step
    assert not out[1, 1:].any()
    g = [drawn(rng, *y.shape) for y in (out, *ends)]
    kernel, args = case.gradient_call(g, case.arguments)
    np.testing.assert_array_equal(kernel(*args)[2 if "gru" not in kind else 3][2], g[1][2])


def test_large_inputs_saturate_without_overflow(rng):
    x = np.full((2, 1, 4), -1e4, np.float32)
    with np.errstate(over="raise", invalid="raise"):
        out, h, c = lstm(x, np.zeros((4, 1), np.float32), *[np.ones((1, 1), np.float32)] * 2, None, (1, 1), False)[:3]
    assert not out.any() and not h.any() and not c.any()


def test_the_first_states_are_not_written_to(kind, rng):
    case = Case(kind, (3, 3), False, rng)
    before = [a if a is None else a.copy() for a in case.arguments]
    kernel, args = case.forward(*case.arguments)
    found = kernel(*args)
    g = [np.ones_like(y) for y in found[: case.results]]
    kernel, args = case.gradient_call(g, case.arguments)
    kernel(*args)
    for a, b in zip(case.arguments, before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all((d == 1).all() for d in g)
