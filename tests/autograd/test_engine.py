"""The engine: order, accumulation, hooks, modes, memory."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import minidl as md
from minidl.autograd.op import Op

pytestmark = pytest.mark.tiny


def leaf(*values, **kwargs):
    return md.tensor(list(values), requires_grad=True, **kwargs)


def test_gradients_add_up_over_passes_and_uses():
    x = leaf(1.0, 2.0)
    (x * x + x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3, 5])
    x.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [4, 6])


def test_two_leaves_never_share_a_gradient():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (x + w).sum().backward()
    x.grad.mul_(10)
    np.testing.assert_array_equal(w.grad.numpy(), [1, 1])


def test_the_first_gradient_is_kept_and_not_copied():
    made = []

    class Triple(Op):
        def forward(self, x):
            return 3 * x

        def backward(self, g):
            dx = 3 * g
            made.append(id(dx))
            return dx

    x = leaf(1.0, 2.0)
    Triple.apply(x).sum().backward()
    assert id(x.grad.array) == made[0]
    held = x.grad
    Triple.apply(x).sum().backward()
    assert x.grad is held
    np.testing.assert_array_equal(held.numpy(), [6, 6])


def test_a_gradient_that_somebody_holds_is_copied():
    class Hold(Op):
        def forward(self, x):
            return x * 1

        def backward(self, g):
            self.held = g * 2
            return self.held

    x = leaf(1.0, 2.0)
    y = Hold.apply(x)
    y.sum().backward()
    x.grad.mul_(10)
    np.testing.assert_array_equal(y.node.held, [2, 2])


@pytest.mark.parametrize("count", [1, 3])
def test_a_rule_that_returns_too_few_or_too_many_gradients(count):
    class Sum(Op):
        def forward(self, x, y):
            return x + y

        def backward(self, g):
            return (g,) * count

    with pytest.raises(RuntimeError, match=rf"Sum\.backward returned {count} gradients for 2 inputs"):
        Sum.apply(leaf(1.0), leaf(2.0)).sum().backward()


def test_the_users_gradient_is_not_kept():
    x, g = leaf(1.0, 2.0), md.tensor([1.0, 1.0])
    x.backward(g)
    x.grad.mul_(5)
    np.testing.assert_array_equal(g.numpy(), [1, 1])


def test_a_hundred_thousand_nodes():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.sum().backward()
    assert x.grad.item() == 1


def test_eighteen_doublings_visit_each_node_once():
    x = leaf(1.0)
    y = x
    for _ in range(18):
        y = y + y
    y.sum().backward()
    assert x.grad.item() == 2**18


def test_order_n():
    x = leaf(2.0)
    y = (x**4).sum()
    for expected in (32, 48, 48, 24):
        (y,) = md.autograd.grad(y.sum(), x, create_graph=True)
        assert y.item() == pytest.approx(expected)


def test_grad_of_intermediate_and_unused():
    x, unused = leaf(3.0), leaf(1.0)
    h = x * 2
    y = (h * h).sum()
    assert md.autograd.grad(y, h, retain_graph=True)[0].item() == 12
    with pytest.raises(RuntimeError, match="allow_unused"):
        md.autograd.grad(y, [x, unused], retain_graph=True)
    assert md.autograd.grad(y, [x, unused], retain_graph=True, allow_unused=True)[1] is None
    assert md.autograd.grad(y, [x, unused], materialize_grads=True)[1].item() == 0
    assert x.grad is None


def test_second_pass_needs_retain_graph():
    x = leaf(1.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: md.ones(2).sum().backward(), "does not require grad"),
        (lambda: (leaf(1.0, 2.0) * 2).backward(), "only for scalar outputs"),
        (lambda: (leaf(1.0, 2.0) * 2).backward(md.ones(3)), "Mismatch in shape"),
        (lambda: md.tensor([1, 2], requires_grad=True), "floating point"),
        (lambda: (leaf(1.0) * 2).requires_grad_(False), "leaf variables"),
    ],
)
def test_errors_say_what_is_wrong(make, message):
    with pytest.raises(RuntimeError, match=message):
        make()


def test_modes_as_context_and_decorator():
    x = leaf(1.0)
    with md.no_grad():
        assert not (x * 2).requires_grad
        with md.enable_grad():
            assert (x * 2).requires_grad

    @md.no_grad()
    def double(t):
        return t * 2

    @md.no_grad
    def steps(t):
        while True:
            yield t * 2

    @md.inference_mode()
    def infer(t):
        return t * 2

    generator = steps(x)
    assert not next(generator).requires_grad
    assert md.is_grad_enabled()
    assert not next(generator).requires_grad
    assert not double(x).requires_grad
    assert not infer(x).requires_grad
    md.set_grad_enabled(False)
    assert not md.is_grad_enabled()
    md.set_grad_enabled(True)
    with md.set_grad_enabled(False):
        assert not md.is_grad_enabled()
    assert md.is_grad_enabled()


def test_hooks_change_retain_and_are_removed():
    x = leaf(1.0, 2.0)
    h = x * 3
    h.retain_grad()
    handle = h.register_hook(lambda g: g * 10)
    h.sum().backward()
    np.testing.assert_array_equal(h.grad.numpy(), [10, 10])
    np.testing.assert_array_equal(x.grad.numpy(), [30, 30])
    handle.remove()
    x.grad = None
    (x * 3).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3, 3])


def test_node_hooks():
    x = leaf(1.0)
    y = x * 3
    seen = []
    y.grad_fn.register_prehook(lambda gs: seen.append(gs[0].item()))
    y.grad_fn.register_hook(lambda grad_inputs, grad_outputs: (grad_inputs[0] * 2, *grad_inputs[1:]))
    y.sum().backward()
    assert seen == [1.0]
    assert x.grad.item() == 6


def test_post_accumulate_hook():
    x = leaf(1.0)
    x.register_post_accumulate_grad_hook(lambda t: t.grad.zero_())
    (x * 3).sum().backward()
    assert x.grad.item() == 0


def test_graphs_die_by_reference_counting():
    gc.collect()
    gc.disable()
    try:
        x = leaf(1.0, 2.0)
        y = ((x * x).exp() + md.sin(x)).sum()
        y.backward()
        alive = [weakref.ref(t) for t in (x, y)]
        del x, y
        assert [r() for r in alive] == [None, None]
    finally:
        gc.enable()


def test_a_backward_pass_inside_a_hook():
    x = leaf(2.0)
    inner = []

    def hook(g):
        with md.enable_grad():
            inner.append(md.autograd.grad((x * x).sum(), x)[0].item())

    y = x * 3
    y.register_hook(hook)
    (y + x).sum().backward()
    assert inner == [4.0]
    assert x.grad.item() == 4


def test_function_like_pytorchs():
    class Cube(md.autograd.Function):
        @staticmethod
        def forward(ctx, x, scale):
            ctx.save_for_backward(x)
            ctx.scale = scale
            return scale * x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            assert ctx.needs_input_grad == (True, False)
            return g * 3 * ctx.scale * x**2, None

    x = leaf(2.0)
    y = Cube.apply(x, 2.0)
    (g,) = md.autograd.grad(y.sum(), x, create_graph=True)
    assert g.item() == 24
    assert md.autograd.grad(g.sum(), x)[0].item() == 24
    x.detach().mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        Cube.apply(x, 1.0).sum().backward() if False else y.sum().backward()


def test_anomaly_names_operation_and_line():
    x = leaf(-1.0)
    with pytest.raises(RuntimeError, match=r"Log made NaN.*test_engine\.py:\d+: .*md\.log\(x\)"):
        with md.autograd.detect_anomaly():
            md.log(x)
    zero = leaf(0.0)
    with pytest.raises(
        RuntimeError, match=r"SqrtBackward0 returned an infinity in the backward pass.*md\.sqrt\(zero\)"
    ):
        with md.autograd.detect_anomaly():
            md.sqrt(zero).sum().backward()


def test_checkpoint_gives_the_same_gradients():
    def stretch(x):
        return md.tanh(x * 2).exp() * md.sin(x)

    x, again = leaf(0.3, -0.7), leaf(0.3, -0.7)
    stretch(x).sum().backward()
    y = md.autograd.checkpoint.checkpoint(stretch, again)
    assert all(type(k).__name__ == "Packed" for k in y.grad_fn.kept)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), again.grad.numpy())


@pytest.mark.parametrize("operator", ["add_", "sub_", "mul_", "div_"])
def test_writing_without_a_graph(operator):
    torch = pytest.importorskip("torch")
    results = []
    for m in (md, torch):
        w = m.arange(1.0, 10.0).reshape(3, 3).requires_grad_()
        before = w * w
        with m.no_grad():
            same = getattr(w, operator)(2)
            assert same is w
            getattr(w[1], operator)(w[2])  # through a view
            getattr(w, operator)(m.arange(1.0, 4.0))  # broadcast
            with pytest.raises(RuntimeError):
                getattr(w[0], operator)(m.ones(2, 3))
            getattr(w, operator)(m.ones(3, 3, dtype=m.float64))
        results.append((w.detach().numpy(), str(w.dtype), w._version))
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            before.sum().backward()
        with pytest.raises(RuntimeError, match="leaf Variable"):
            getattr(w, operator)(1.0)
    (ours, dtype, version), (theirs, their_dtype, their_version) = results
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert (dtype, version) == (their_dtype, their_version)


def test_a_leaf_keeps_a_new_gradient_under_another_shape_and_copies_what_others_hold():
    w, seen = md.zeros(2, 3, requires_grad=True), []
    (w.view(6) * 2).backward(md.ones(6))
    assert w.grad.array.base is not None and w.grad.tolist() == [[2.0] * 3] * 2  # the product's own memory
    for given in (md.ones(6), md.ones(6)[None]):
        w.grad = None
        w.view(given.shape).backward(given)
        given.zero_()
        assert w.grad.tolist() == [[1.0] * 3] * 2
    w.grad = None
    flat = w.view(6)
    flat.register_hook(seen.append)
    (flat * 2).backward(md.ones(6))
    seen[0].zero_()
    assert w.grad.tolist() == [[2.0] * 3] * 2
