"""autograd.functional and func against PyTorch."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest

import minidl as md
from minidl.autograd import functional

torch = pytest.importorskip("torch")
A, B = np.random.default_rng(0).standard_normal((2, 3)), np.random.default_rng(1).standard_normal(3)


def flat(tree):
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [leaf for part in tree for leaf in flat(part)] if isinstance(tree, (tuple, list)) else [tree]


def agree(ours, theirs):
    for a, b in zip(flat(ours), flat(theirs), strict=True):
        assert not a.requires_grad
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), atol=1e-11)


FUNCTIONS = {
    "one": lambda x: (x**3).sum(0),
    "several": lambda x, y: ((x * y).sum(1), x.exp() * y),
    "number": lambda x, y: (x.sin() * y * y).sum(),
    "number of one": lambda x: (x**3).sum(),
    "without an input": lambda x, y: x.sum(),
}


def vector_like(m, tree, rng):
    return (
        tuple(vector_like(m, t, rng) for t in tree)
        if isinstance(tree, tuple)
        else m.tensor(rng.standard_normal(tree.shape))
    )


@pytest.mark.parametrize("name", ["jacobian", "hessian", "vjp", "jvp", "hvp", "vhp"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_derivatives_as_pytorch(name, function):
    f, results = FUNCTIONS[function], []
    if name in ("hessian", "hvp", "vhp") and "number" not in function and function != "without an input":
        pytest.skip("of functions whose result is one number")
    for m in (md, torch):
        inputs = (m.tensor(A), m.tensor(B))[: f.__code__.co_argcount]
        inputs = inputs if len(inputs) > 1 else inputs[0]
        out = f(*inputs) if isinstance(inputs, tuple) else f(inputs)
        form = {"vjp": out, "jvp": inputs, "hvp": inputs, "vhp": inputs}.get(name)
        v = () if form is None else (vector_like(m, form, np.random.default_rng(2)),)
        results.append(getattr(m.autograd.functional, name)(f, inputs, *v))
    agree(*results)


def test_results_can_be_differentiated():
    x = md.tensor(A, requires_grad=True)
    functional.jacobian(lambda x: x**3, x, create_graph=True).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * A)
    assert functional.jacobian(lambda x: x[:0], md.ones(3)).shape == (0, 3)


def test_what_functional_refuses():
    with pytest.raises(RuntimeError, match="does not depend on input 1"):
        functional.jacobian(lambda x, y: x.sum(), (md.ones(2), md.ones(2)), strict=True)
    with pytest.raises(RuntimeError, match="strict=True forbids"):
        functional.vjp(lambda x: md.ones(1), md.ones(2), strict=True)
    with pytest.raises(RuntimeError, match="single element"):
        functional.hessian(lambda x: x * 2, md.ones(2))
    with pytest.raises(RuntimeError, match="can only be None"):
        functional.vjp(lambda x: x * 2, md.ones(2))
    with pytest.raises(RuntimeError, match="form and shapes"):
        functional.jvp(lambda x: x * 2, md.ones(2), md.ones(3))
    with pytest.raises(TypeError, match="must be a Tensor"):
        functional.jacobian(lambda x: x, 3)


# ---------------------------------------------------------------------------------------------------------------------
# func

CALLS = {
    "grad": lambda m, F, x, y: F.grad(lambda x: (x**3).sum())(x),
    "third derivative": lambda m, F, x, y: F.grad(F.grad(F.grad(m.sin)))(x[0, 0]),
    "two arguments": lambda m, F, x, y: F.grad(lambda x, y: (x * y).sin().sum(), argnums=(0, 1))(x, y),
    "a dict": lambda m, F, x, y: F.grad(lambda d, y: (d["a"] * y).sin().sum() + d["b"].sum())({"a": x, "b": y}, y),
    "more results": lambda m, F, x, y: F.grad(lambda x: ((x**2).sum(), x * 2), has_aux=True)(x),
    "value": lambda m, F, x, y: F.grad_and_value(lambda x: (x**2).sum())(x),
    "jacrev": lambda m, F, x, y: F.jacrev(lambda x: x.sin() @ y)(x),
    "jacfwd": lambda m, F, x, y: F.jacfwd(lambda x, y: {"o": x.sin() @ y}, argnums=(0, 1))(x, y),
    "hessian": lambda m, F, x, y: F.hessian(lambda y: (y**3).prod())(y),
    "vjp": lambda m, F, x, y: (lambda out, pull: (out, pull(out * 2)))(*F.vjp(lambda x, y: x.sin() * y, x, y)),
    "jvp": lambda m, F, x, y: F.jvp(lambda x, y: x.sin() * y, (x, y), (x * 2, y * 3)),
    "jvp of grad": lambda m, F, x, y: F.jvp(F.grad(lambda x: (x**4).sum()), (x,), (x * 2,)),
    "linearize": lambda m, F, x, y: (lambda out, push: (out, push(x * 2)))(*F.linearize(lambda x: x.sin() @ y, x)),
    "vmap": lambda m, F, x, y: F.vmap(lambda x: x @ y)(x),
    "vmap, dims": lambda m, F, x, y: F.vmap(lambda x, z: (x * z, x.sum()), in_dims=(1, None), out_dims=(1, 0))(
        x, x[:, 0]
    ),
    "vmap of grad": lambda m, F, x, y: F.vmap(F.grad(lambda x: (x**3).sum()))(x),
    "vmap of vmap": lambda m, F, x, y: F.vmap(F.vmap(m.sin))(x),
    "vmap of a dict": lambda m, F, x, y: F.vmap(lambda d: d["a"] * 2, in_dims=({"a": 1},))({"a": x}),
}


@pytest.mark.parametrize("name", CALLS)
def test_functions_of_functions_as_pytorch(name):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="torch")  # of its own tracer
        expected = CALLS[name](torch, torch.func, torch.tensor(A), torch.tensor(B))
    agree(CALLS[name](md, md.func, md.tensor(A), md.tensor(B)), expected)


def test_what_a_function_closes_over_keeps_its_graph():
    for m, gradients in ((torch, theirs := []), (md, ours := [])):
        w, x = m.tensor(B).requires_grad_(), m.tensor(A)
        g = m.func.grad(lambda x, w=w: ((x * w) ** 2).sum())(x)
        g.sum().backward()
        x.requires_grad_()
        m.func.grad(lambda x: (x**3).sum())(x).sum().backward()
        gradients += [w.grad.tolist(), x.grad.tolist()]
        with m.no_grad():
            assert not m.func.grad(lambda x: (x**3).sum())(x).requires_grad
    np.testing.assert_allclose(ours[0], theirs[0])
    np.testing.assert_allclose(ours[1], theirs[1])


def test_an_ensemble():
    models = [md.nn.Linear(3, 2) for _ in range(3)]
    parameters, buffers = md.func.stack_module_state(models)
    base = copy.deepcopy(models[0])

    def run(parameters, buffers, x):
        return md.func.functional_call(base, (parameters, buffers), (x,))

    out = md.func.vmap(run, in_dims=(0, 0, None))(parameters, buffers, md.ones(4, 3))
    for i, model in enumerate(models):
        np.testing.assert_allclose(out[i].detach().numpy(), model(md.ones(4, 3)).detach().numpy(), rtol=1e-6)
    out.sum().backward()
    assert parameters["weight"].grad.shape == (3, 2, 3)
    with pytest.raises(RuntimeError, match="same class"):
        md.func.stack_module_state([md.nn.Linear(1, 1), md.nn.ReLU()])


def test_randomness_in_vmap():
    def noisy(x):
        return x * 0 + md.rand(())

    with pytest.raises(RuntimeError, match="drew random numbers"):
        md.func.vmap(noisy)(md.ones(3))
    assert len(set(md.func.vmap(noisy, randomness="same")(md.ones(3)).tolist())) == 1
    assert len(set(md.func.vmap(noisy, randomness="different")(md.ones(3)).tolist())) == 3


@pytest.mark.parametrize(
    "call, error, match",
    [
        (lambda F: F.vmap(md.sin)(md.tensor(1.0)), ValueError, "no dimension 0"),
        (lambda F: F.vmap(md.add)(md.ones(2), md.ones(3)), ValueError, r"sizes \[2, 3\]"),
        (lambda F: F.vmap(md.sin, in_dims=None)(md.ones(2)), ValueError, "at least one argument"),
        (lambda F: F.grad(md.sin)(md.ones(2)), RuntimeError, "without dimensions"),
        (lambda F: F.grad(md.sin, argnums=1)(md.ones(())), RuntimeError, "argnums is 1"),
        (lambda F: F.grad(md.sin)(1.0), RuntimeError, "must be tensors, got float"),
        (lambda F: F.jvp(md.sin, (md.ones(2),), (md.ones(3),)), RuntimeError, "form and shapes of primals"),
    ],
)
def test_what_func_refuses(call, error, match):
    with pytest.raises(error, match=match):
        call(md.func)


def test_saved_tensors_on_the_cpu():
    x = md.tensor(A, requires_grad=True)
    with md.autograd.graph.save_on_cpu():
        y = (x * x).sum()
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * A)


def test_writes_by_other_means_are_announced():
    x = md.tensor(A, requires_grad=True)
    y = x * 1
    z = (y * y).sum()
    y.array[...] = 0
    md.autograd.graph.increment_version(y)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()
    assert isinstance(z.grad_fn, md.autograd.graph.Node)
