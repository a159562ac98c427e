"""Recurrent kernels against their equations, written out for one sequence at a time, and their gradients against differences."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import cuda, parallel, recurrent, recurrent_cuda
from minidl.kernels.recurrent import gru, gru_backward, lstm, lstm_backward, rnn, rnn_backward
from minidl.testing import strict_cupy

SIZES = [(3, 3, 3, 3), (3, 2, 2, 1), (2, 1), (0, 0), ()]  # running sequences at each step, of a batch of three


def s(x):
    return 1 / (1 + np.exp(-x))


def rnn_step(x, h, w_ih, w_hh, bias, relu):
    a = w_ih @ x + w_hh @ h + bias
    return np.maximum(a, 0) if relu else np.tanh(a)


def lstm_step(x, h, c, w_ih, w_hh, bias, w_hr):
    i, f, g, o = np.split(w_ih @ x + w_hh @ h + bias, 4)
    c = s(f) * c + s(i) * np.tanh(g)
    h = s(o) * np.tanh(c)
    return (h if w_hr is None else w_hr @ h), c


def gru_step(x, h, w_ih, w_hh, b_ih, b_hh):
    (xr, xz, xn), (hr, hz, hn) = np.split(w_ih @ x + b_ih, 3), np.split(w_hh @ h + b_hh, 3)
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

    def __init__(self, kind, sizes, reverse, rng, B=3, I=4, H=3, P=2):  # noqa: E741  # the letters of the kernels
        self.results = 3 if "lstm" in kind else 2
        how, T = (sizes, reverse), len(sizes)

        def weights(rows, state):
            bias = drawn(rng, rows) if "bias" in kind else None
            return [drawn(rng, rows, I) / I**0.5, drawn(rng, rows, state) / state**0.5, bias]

        def zero_for(bias):
            return 0 if bias is None else bias

        if "rnn" in kind:
            relu = "relu" in kind
            self.arguments = [drawn(rng, T, B, I), *weights(H, H), drawn(rng, B, H)]
            self.forward = lambda *a: (rnn, (*a, *how, relu))
            self.backward = lambda g, found, x, *w: (rnn_backward, (*g, *w[:2], found[0], *found[2:], *how, relu))
            self.plain = lambda x, w, u, b, h: by_definition(
                lambda x, h: rnn_step(x, h, w, u, zero_for(b), relu), x, [h], *how
            )
        elif "lstm" in kind:
            width = P if "projected" in kind else H
            self.arguments = [drawn(rng, T, B, I), *weights(4 * H, width), drawn(rng, B, width), drawn(rng, B, H)]
            self.arguments.append(drawn(rng, P, H) if "projected" in kind else None)
            self.forward = lambda *a: (lstm, (*a, *how))
            self.backward = lambda g, found, x, *w: (lstm_backward, (*g, *w[:2], w[-1], *found[3:], *how))
            self.plain = lambda x, w, u, b, h, c, r: by_definition(
                lambda x, h, c: lstm_step(x, h, c, w, u, zero_for(b), r), x, [h, c], *how
            )
        else:
            w_ih, w_hh, bias = weights(3 * H, H)
            self.arguments = [drawn(rng, T, B, I), w_ih, w_hh, bias, None if bias is None else drawn(rng, 3 * H)]
            self.arguments.append(drawn(rng, B, H))
            self.forward = lambda *a: (gru, (*a, *how))
            self.backward = lambda g, found, x, *w: (gru_backward, (*g, x, *w[:2], *found[2:], *how))
            self.plain = lambda x, w, u, b, c, h: by_definition(
                lambda x, h: gru_step(x, h, w, u, zero_for(b), zero_for(c)), x, [h], *how
            )

    def gradient_call(self, g, arguments):
        """backward's kernel and arguments, for gradients g of the results."""
        kernel, args = self.forward(*arguments)
        return self.backward(g, kernel(*args), *arguments)


@pytest.fixture(params=["rnn", "rnn relu bias", "lstm", "lstm bias", "lstm projected bias", "gru", "gru bias"])
def kind(request):
    return request.param


@pytest.fixture(params=[1, 100], ids=["inputs in the steps", "inputs before"])
def inputs(request, monkeypatch):
    """Where the inputs are multiplied, which otherwise depends on the batch."""
    monkeypatch.setattr(recurrent, "MANY", request.param)


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


def agree(case, kind, compare, rng):
    """Both passes of every variant, against the reference in float64."""
    compiled = "projected" not in kind
    kernel, args = case.forward(*case.arguments)
    # 1e-5: rounding goes through several steps
    compare(kernel, *args, rtol=1e-5, atol=1e-5, compiled=compiled)
    g = [drawn(rng, *y.shape) for y in kernel(*args)[: case.results]]
    kernel, args = case.gradient_call(g, case.arguments)
    compare(kernel, *args, rtol=2e-5, atol=2e-5, compiled=compiled)


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_variants_agree(kind, sizes, reverse, rng, compare):
    agree(Case(kind, sizes, reverse, rng), kind, compare, rng)


@pytest.mark.parametrize(
    ("B", "I", "H", "T"), [(1, 1, 1, 1), (1, 7, 13, 5), (9, 3, 16, 2), (14, 40, 33, 2), (19, 6, 17, 3), (0, 3, 4, 2)]
)
def test_variants_agree_whatever_the_size(kind, B, I, H, T, rng, compare):  # noqa: E741
    """Rows that do and do not fill a tile, columns that do and do not fill registers."""
    agree(Case(kind, (B,) * T, False, rng, B, I, H), kind, compare, rng)


@pytest.mark.usefixtures("inputs")
def test_layouts(kind, rng, compare):
    """Sequences that lie in memory batch first, columns with gaps, and nothing that may be written to."""
    case = Case(kind, (5, 5, 4), False, rng, B=5, I=6, H=20)
    case.arguments = [None if a is None else elsewhere(a) for a in case.arguments]
    compiled = "projected" not in kind
    kernel, args = case.forward(*case.arguments)
    compare(kernel, *args, rtol=1e-5, atol=1e-5, compiled=compiled)
    g = [elsewhere(drawn(rng, *y.shape)) for y in kernel(*args)[: case.results]]
    kernel, args = case.gradient_call(g, case.arguments)
    compare(kernel, *args, rtol=2e-5, atol=2e-5, compiled=compiled)


def elsewhere(a):
    """The same numbers at other places: the first two axes swapped in memory, or gaps between the elements of a vector."""
    a = np.swapaxes(np.swapaxes(a, 0, 1).copy(), 0, 1) if a.ndim > 1 else np.repeat(a, 2)[::2]
    a.flags.writeable = False
    return a


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_share_the_batch(kind, threads, rng, compare, monkeypatch):
    monkeypatch.setattr(parallel, "get_num_threads", lambda: threads)
    monkeypatch.setattr(parallel, "LEAST", 1)
    agree(Case(kind, (7, 7, 4, 1), False, rng, B=7, I=5, H=6), kind, compare, rng)


def test_sequences_that_have_ended_keep_their_state_and_pass_its_gradient_on(kind, rng):
    case = Case(kind, (2, 1), False, rng)
    kernel, args = case.forward(*case.arguments)
    out, *ends = kernel(*args)[: case.results]
    first = case.arguments[4 if "gru" not in kind else 5]
    np.testing.assert_array_equal(ends[0][2], first[2])  # never ran
    np.testing.assert_array_equal(ends[0][1], out[0, 1])  # ended after one step
    assert not out[1, 1:].any()
    g = [drawn(rng, *y.shape) for y in (out, *ends)]
    kernel, args = case.gradient_call(g, case.arguments)
    np.testing.assert_array_equal(kernel(*args)[4 if "gru" not in kind else 5][2], g[1][2])


def test_large_inputs_saturate_without_overflow():
    x, one, none = np.full((2, 1, 1), -1e4, np.float32), np.ones((4, 1), np.float32), np.zeros((4, 1), np.float32)
    with np.errstate(over="raise", invalid="raise"):
        out, h, c = lstm(x, one, none, None, *[np.ones((1, 1), np.float32)] * 2, None, (1, 1), False)[:3]
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


def test_which_sequences_are_one_launch(monkeypatch):
    def fits(B, H, sizes=None, rows=4):
        return recurrent_cuda.one_launch(np.zeros((B, H), np.float32), sizes or (B,) * 3, rows)

    assert fits(8, 512) == 8 and fits(1, 1) == 1
    assert not fits(65, 8) and not fits(8, 513) and not fits(4, 8, sizes=(4, 4, 3)) and not fits(4, 8, sizes=(3, 3))
    # 132 multiprocessors have room for two blocks each: four groups of 64, for 256 units, or two of 128
    assert fits(32, 256) == 8 and fits(64, 256) == 16 and fits(9, 256) == 5 and fits(17, 256) == 6
    assert fits(32, 512, rows=1) == 16 and fits(64, 512, rows=1) == 32
    assert fits(26, 512) == 13 and not fits(32, 512)  # backward 16 rows take 128 KB, of which there are not two
    one = cuda.H100._replace(registers=44_000)  # room for one block
    monkeypatch.setattr(cuda, "H100", one)
    assert one.at_once(128, 176, 0) == 1 and fits(8, 512) == 8 and fits(64, 256) == 32
    monkeypatch.setattr(cuda, "H100", one._replace(multiprocessors=40))  # blocks of four units, all at once
    assert fits(8, 160) == 8 and not fits(8, 161)
    monkeypatch.setattr(cuda, "H100", one._replace(shared=65535))  # backward 8 sequences take 64 KiB of shared memory
    assert fits(8, 480) == 8 and not fits(8, 481) and fits(8, 512, rows=1)


def test_blocks_that_wait_for_each_other_are_launched_together(monkeypatch):
    asked = []

    class Module:
        def __init__(self, enable_cooperative_groups, **options):
            asked.append(enable_cooperative_groups)

        def compile(self):
            pass

    with strict_cupy.installed():
        import cupy

        monkeypatch.setattr(cupy, "RawModule", Module, raising=False)
        for together in (True, False):
            cuda.compiled_module.__wrapped__("recurrent.cu", (), together)
    assert asked == [True, False]
