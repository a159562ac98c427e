from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels.optimizer import adam, adam_many, rmsprop, sgd, sgd_many

STEPS = 5
ADAM = [
    {"amsgrad": amsgrad, "weight_decay": decay, "decoupled": decoupled, "maximize": maximize}
    for amsgrad in (False, True)
    for decay, decoupled in ((0.0, False), (0.1, False), (0.1, True))
    for maximize in (False, True)
]
SGD = [
    {"momentum": momentum, "dampening": dampening, "nesterov": nesterov, "weight_decay": decay, "maximize": maximize}
    for momentum, dampening, nesterov in ((0.0, 0.0, False), (0.9, 0.0, False), (0.9, 0.5, False), (0.9, 0.0, True))
    for decay, maximize in ((0.0, False), (0.1, False), (0.1, True))
]
RMSPROP = [
    {"centered": centered, "momentum": momentum, "weight_decay": decay, "maximize": maximize}
    for centered in (False, True)
    for momentum in (0.0, 0.9)
    for decay, maximize in ((0.0, False), (0.1, True))
]


def adam_step(param, grad, state, step, run, *, amsgrad, weight_decay, decoupled, maximize):
    arrays = state(0), state(1), state(2) if amsgrad else None
    run(param, grad, *arrays, step, 0.01, 0.9, 0.99, 1e-8, weight_decay, decoupled, maximize)


def sgd_step(param, grad, state, step, run, *, momentum, dampening, nesterov, weight_decay, maximize):
    buffer = state(0) if momentum else None
    run(param, grad, buffer, 0.01, momentum, dampening, weight_decay, nesterov, maximize, step == 1)


def rmsprop_step(param, grad, state, step, run, *, centered, momentum, weight_decay, maximize):
    arrays = state(0), state(1) if centered else None, state(2) if momentum else None
    run(param, grad, *arrays, 0.01, 0.99, 1e-8, weight_decay, momentum, maximize)


CASES = [(k, s, o) for k, s, all_ in ((adam, adam_step, ADAM), (sgd, sgd_step, SGD)) for o in all_]
CASES += [(rmsprop, rmsprop_step, options) for options in RMSPROP]


def trained(take_step, run, param, grads, options):
    """The parameter and its state after a step with each of the gradients."""
    states = [np.zeros_like(param) for _ in range(3)]
    param = param.copy()
    for step, grad in enumerate(grads, start=1):
        before = grad.copy()
        take_step(param, grad, states.__getitem__, step, run, **options)
        np.testing.assert_array_equal(grad, before)
    return [param, *states]


def draw(rng, *shape):
    return rng.standard_normal(shape), [rng.standard_normal(shape) for _ in range(STEPS)]


def torch_optimizer(torch, kernel, param, options):
    options = dict(options)
    if kernel is adam:
        cls = torch.optim.AdamW if options.pop("decoupled") else torch.optim.Adam
        return cls([param], lr=0.01, betas=(0.9, 0.99), **options)
    return (torch.optim.SGD if kernel is sgd else torch.optim.RMSprop)([param], lr=0.01, **options)


@pytest.mark.parametrize("kernel, take_step, options", CASES, ids=lambda c: getattr(c, "name", None) or "")
def test_against_pytorch(kernel, take_step, options, rng):
    torch = pytest.importorskip("torch")
    param, grads = draw(rng, 7)
    theirs = torch.nn.Parameter(torch.tensor(param))
    optimizer = torch_optimizer(torch, kernel, theirs, options)
    for grad in grads:
        theirs.grad = torch.tensor(grad)
        optimizer.step()
    ours = trained(take_step, kernel.reference, param, grads, options)[0]
    np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kernel, take_step, options", CASES, ids=lambda c: getattr(c, "name", None) or "")
@pytest.mark.parametrize("n", [0, 1, 33])
def test_variants_agree(kernel, take_step, options, n, rng):
    param, grads = draw(rng, n)
    wanted = trained(take_step, kernel.reference, param, grads, options)
    narrow = param.astype(np.float32), [grad.astype(np.float32) for grad in grads]
    for (device, name), variant in kernel.variants.items():
        if device == "cpu" and not variant.missing():
            got = trained(take_step, variant.run, *narrow, options)
            for g, w in zip(got, wanted, strict=True):
                np.testing.assert_allclose(g, w, rtol=1e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize(
    "kernel, take_step, options", [CASES[-1], (adam, adam_step, ADAM[-1]), (sgd, sgd_step, SGD[-1])]
)
def test_what_the_compiled_loop_is_for(kernel, take_step, options, rng):
    supports = kernel.variants["cpu", "numba"].supports

    def supported(param, grad):
        answers = []
        states = [np.zeros_like(param) for _ in range(3)]
        take_step(param, grad, states.__getitem__, 1, lambda *args: answers.append(supports(*args)), **options)
        return answers[0]

    x = rng.standard_normal((4, 6)).astype(np.float32)
    assert supported(x, x.copy())
    assert not supported(x.astype(np.float64), x.astype(np.float64))
    assert not supported(x, x.astype(np.float64))
    assert not supported(x[:, ::2], x[:, ::2].copy())
    assert not supported(x, x[:2].copy())


def test_a_view_is_updated_in_place(rng):
    buffer = rng.standard_normal((3, 8)).astype(np.float32)
    before = buffer.copy()
    sgd(buffer[:, ::2], np.ones((3, 4), np.float32), None, 0.5, 0.0, 0.0, 0.0, False, False, True)
    np.testing.assert_allclose(buffer[:, ::2], before[:, ::2] - 0.5)
    np.testing.assert_array_equal(buffer[:, 1::2], before[:, 1::2])


MANY = [(adam_many, adam, options) for options in ADAM] + [(sgd_many, sgd, options) for options in SGD]


def step_many(params, grads, states, step, run, **options):
    """One step of a kernel that takes lists, with the options as `adam_step` and `sgd_step` give them."""
    if "amsgrad" in options:
        largest = states[2] if options["amsgrad"] else None
        rest = options["weight_decay"], options["decoupled"], options["maximize"]
        run(params, grads, states[0], states[1], largest, step, 0.01, 0.9, 0.99, 1e-8, *rest)
    else:
        buffers = states[0] if options["momentum"] else None
        names = ("momentum", "dampening", "weight_decay", "nesterov", "maximize")
        run(params, grads, buffers, 0.01, *(options[name] for name in names), step == 1)


@pytest.mark.parametrize("many, single, options", MANY, ids=lambda c: getattr(c, "name", None) or "")
def test_lists(many, single, options, rng):
    """Arrays for the compiled loop and others beside them, several steps; each as the reference has it."""

    def layouts(arrays):
        plain, empty, strided, columns, double = arrays
        wide = np.zeros((4, 12), np.float32)
        wide[:, ::2] = strided
        plain, empty = plain.astype(np.float32), empty.astype(np.float32)
        return [plain, empty, wide[:, ::2], np.asfortranarray(columns, np.float32), double.copy()]

    take_step = adam_step if single is adam else sgd_step
    drawn = [draw(rng, *shape) for shape in ((33,), (0, 2), (4, 6), (6, 4), (5,))]
    wanted = [trained(take_step, single.reference, param, grads, options) for param, grads in drawn]
    for run in (many, many.reference):
        params = layouts([param for param, _ in drawn])
        states = [[np.zeros_like(param) for param in params] for _ in range(3)]
        for step in range(1, STEPS + 1):
            grads = layouts([grads[step - 1] for _, grads in drawn])
            before = [grad.copy() for grad in grads]
            step_many(params, grads, states, step, run, **options)
            for grad, same in zip(grads, before, strict=True):
                np.testing.assert_array_equal(grad, same)
        assert params[4].dtype == np.float64
        for i, of_one in enumerate(wanted):
            for got, want in zip((params[i], *(state[i] for state in states)), of_one, strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6)


def test_a_state_of_another_shape_is_refused(rng):
    x = rng.standard_normal((4, 6)).astype(np.float32)
    with pytest.raises(ValueError, match="broadcast"):
        sgd_many([x], [x.copy()], [np.zeros((6, 4), np.float32)], 0.1, 0.9, 0, 0, False, False, False)
    with pytest.raises(ValueError, match="zip"):
        sgd_many([x, x], [x.copy()], None, 0.1, 0.0, 0, 0, False, False, False)
