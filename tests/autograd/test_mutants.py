"""The checker is checked: rules that are wrong in the ways rules go wrong must be caught."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md
from minidl.autograd.gradcheck import GradcheckError, directional_check
from minidl.autograd.op import Op, wrap
from minidl.ops.exponential import Exp
from minidl.ops.trigonometric import Sin, Tanh

pytestmark = pytest.mark.tiny


class Softmax(Op):
    def forward(self, x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    def backward(self, g, out):
        return out * (g - (g * out).sum(axis=-1, keepdims=True))


class MatMul(Op):
    def forward(self, x, y):
        return x @ y

    def backward(self, g, x, y):
        return g @ y.swapaxes(-1, -2), x.swapaxes(-1, -2) @ g


def leaf(*shape):
    return wrap(np.random.default_rng(1).standard_normal(shape)).requires_grad_()


RIGHT = {Tanh: [(3, 2)], Sin: [(3, 2)], Exp: [(4,)], Softmax: [(3, 5)], MatMul: [(3, 3), (3, 3)]}
MUTANTS = {
    "scaled": (Exp, lambda self, g, out: 123 * (g * out)),
    "scaled where a cotangent of ones is blind": (
        Softmax,
        lambda self, g, out: 5 * (out * (g - (g * out).sum(axis=-1, keepdims=True))),
    ),
    "shifted": (Tanh, lambda self, g, out: g * (1 - out * out) + 1e-3),
    "a term missing": (Tanh, lambda self, g, out: g * (1 - out)),
    "transposed": (MatMul, lambda self, g, x, y: (g @ y, x.swapaxes(-1, -2) @ g)),
    "detached": (Sin, lambda self, g, x: g * md.cos(x) * 0),
    "wrong in second order only": (Tanh, lambda self, g, out: g * (1 - _detached(out) * _detached(out))),
}


def _detached(x):
    return x.detach() if isinstance(x, md.Tensor) else x


@pytest.mark.parametrize("op", RIGHT, ids=lambda op: op.__name__)
def test_right_rules_pass(op):
    directional_check(op.apply, [leaf(*shape) for shape in RIGHT[op]], order=2)


@pytest.mark.parametrize("name", MUTANTS)
def test_wrong_rules_are_caught(name, monkeypatch):
    op, rule = MUTANTS[name]
    monkeypatch.setattr(op, "backward", rule)
    with pytest.raises(GradcheckError, match="random direction"):
        directional_check(op.apply, [leaf(*shape) for shape in RIGHT[op]], order=2)


def test_a_wrong_shape_is_caught(monkeypatch):
    monkeypatch.setattr(MatMul, "backward", lambda self, g, x, y: (None, x.swapaxes(-1, -2) @ g))
    with pytest.raises(GradcheckError):
        directional_check(MatMul.apply, [leaf(2, 3), leaf(3, 4)])


def test_public_gradcheck():
    assert md.autograd.gradcheck(md.sin, leaf(3))
    assert md.autograd.gradgradcheck(md.sin, leaf(3))
    assert not md.autograd.gradcheck(lambda x: x.detach() * 2 + x * 0, leaf(3), raise_exception=False)
    with pytest.raises(ValueError, match="float64"):
        md.autograd.gradcheck(md.sin, wrap(np.ones(3, np.float32)).requires_grad_())
