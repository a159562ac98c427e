"""Random programs of views, in-place operations and assignments, in minidl and in PyTorch.

Where both run a program, every value, every `requires_grad` and every gradient must be the same. Where PyTorch runs it,
minidl may refuse it only for a reason in REFUSED.
"""

from __future__ import annotations

import operator
import random
import warnings

import numpy as np
import pytest

import minidl

torch = pytest.importorskip("torch")

# PyTorch writes to expanded memory through a mask with a warning that it will stop to do so
REFUSED = ("more than one element of the written-to tensor",)

VIEWS = [
    lambda t, m: t[0],
    lambda t, m: t[-1:],
    lambda t, m: t[..., 1:3],
    lambda t, m: t[..., ::2],
    lambda t, m: t.reshape(-1),
    lambda t, m: t.view(-1),
    lambda t, m: t.unsqueeze(0),
    lambda t, m: t.expand(2, *t.shape),
    lambda t, m: t.transpose(0, -1),
    lambda t, m: t.narrow(0, 0, 1),
    lambda t, m: t.squeeze(),
    lambda t, m: t.detach(),
    lambda t, m: t.diagonal() if t.dim() == 2 else t,
    lambda t, m: t.unbind(0)[0],
    lambda t, m: t.chunk(2, 0)[-1],
]
NEW = [
    lambda t, u: t * u,
    lambda t, u: t + u,
    lambda t, u: t / (u * u + 1),
    lambda t, u: t.exp(),
    lambda t, u: t.tanh(),
    lambda t, u: t.sigmoid(),
    lambda t, u: t.softmax(-1),
    lambda t, u: t.sum(0),
    lambda t, u: t.clone(),
    lambda t, u: t * t,
]
IN_PLACE = [
    lambda t, u: t.mul_(2.0),
    lambda t, u: t.mul_(u),
    lambda t, u: t.add_(u),
    lambda t, u: t.sub_(t),
    lambda t, u: t.div_(u.abs() + 1),
    lambda t, u: t.pow_(2),
    lambda t, u: t.sin_(),
    lambda t, u: t.tanh_(),
    lambda t, u: t.sigmoid_(),
    lambda t, u: t.relu_(),
    lambda t, u: t.clamp_(min=-0.2),
    lambda t, u: t.zero_(),
    lambda t, u: t.fill_(0.7),
    lambda t, u: t.copy_(u),
    lambda t, u: t.masked_fill_(t > 0, 0.3),
    lambda t, u: operator.iadd(t, u),
    lambda t, u: operator.isub(t, 0.5),
    lambda t, u: operator.imul(t, u),
    lambda t, u: operator.itruediv(t, u.abs() + 1),
    lambda t, u: operator.ipow(t, 2),
]
PLACES = [
    lambda t, m: 0,
    lambda t, m: slice(1, None),
    lambda t, m: (Ellipsis, slice(None, None, 2)),
    lambda t, m: [0, -1],
    lambda t, m: m.tensor([1, 0, 1]),
    lambda t, m: t.detach() > 0,
    lambda t, m: (slice(None), None),
]
WRITTEN = [lambda u: 2.0, lambda u: u.sum(), lambda u: u.reshape(-1)[0], lambda u: u]


def program(seed):
    """Steps (kind, tensor, other tensor, which); at the end everything that requires a gradient is squared and added up."""
    draw = random.Random(seed)
    kinds = ["view", "view", "new", "in place", "in place", "in place", "assign", "assign", "without graph"]
    return [(draw.choice(kinds), *(draw.randrange(1000) for _ in range(4))) for _ in range(draw.randint(2, 9))]


def execute(m, seed):
    """(values, requires_grad, gradients), or the message of the error that ended it."""
    data = np.random.default_rng(seed)
    leaves = [m.tensor(data.standard_normal(shape), requires_grad=True) for shape in ((3, 4), (4,))]
    tensors = [leaves[0] * 1.5, leaves[1] * 0.5, m.tensor(data.standard_normal((3, 4)))]
    try:
        for kind, a, b, c, d in program(seed):
            t, u = tensors[a % len(tensors)], tensors[b % len(tensors)]
            if kind == "view":
                tensors.append(VIEWS[c % len(VIEWS)](t, m))
            elif kind == "new":
                tensors.append(NEW[c % len(NEW)](t, u))
            elif kind == "in place":
                IN_PLACE[c % len(IN_PLACE)](t, u)
            elif kind == "assign":
                t[PLACES[c % len(PLACES)](t, m)] = WRITTEN[d % len(WRITTEN)](u)
            else:
                with m.no_grad():
                    t.mul_(1.5)
        wanted = [t for t in tensors if t.requires_grad]
        if wanted:
            sum((t * t).sum() for t in wanted).backward()
    except (RuntimeError, IndexError, ValueError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    grads = [None if x.grad is None else x.grad.numpy() for x in leaves]
    return [t.detach().numpy() for t in tensors], [t.requires_grad for t in tensors], grads


@pytest.mark.parametrize("first", range(0, 3000, 300))
def test_programs_agree_with_pytorch(first):
    agreed = 0
    for seed in range(first, first + 300):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's, of uses that it discourages
            theirs = execute(torch, seed)
        ours = execute(minidl, seed)
        told = f"program {seed}: {program(seed)}"
        if isinstance(theirs, str):
            continue  # what PyTorch refuses, minidl may be able to do
        assert not isinstance(ours, str) or any(reason in ours for reason in REFUSED), f"{told}: {ours}"
        if isinstance(ours, str):
            continue
        for a, b in zip(theirs[0], ours[0], strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-9, err_msg=told)
        assert theirs[1] == ours[1], told
        for a, b in zip(theirs[2], ours[2], strict=True):
            assert (a is None) == (b is None), told
            if a is not None:
                np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-9, err_msg=told)  # long products of large terms
        agreed += 1
    assert agreed >= 100
