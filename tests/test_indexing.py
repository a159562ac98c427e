"""Reading and writing by index against real PyTorch: values, gradients, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import minidl as md

torch = pytest.importorskip("torch")

SHAPES = [(4,), (3, 4), (2, 3, 4), (2, 1, 3, 2)]


class Array:
    """An index array in a form that both engines take."""

    def __init__(self, values, form="tensor"):
        self.values, self.form = np.asarray(values), form

    def __repr__(self):
        return f"{self.form}({self.values.tolist()})"

    def to(self, engine):
        if self.form == "list":
            return self.values.tolist()
        return self.values if self.form == "numpy" else engine.tensor(self.values)


def to(engine, index):
    if isinstance(index, tuple):
        return tuple(to(engine, i) for i in index)
    return index.to(engine) if isinstance(index, Array) else index


@st.composite
def indices(draw):
    """A shape and an index into it: mixtures of everything, some of them wrong."""
    shape = draw(st.sampled_from(SHAPES))
    items, dim = [], 0
    lengths = draw(st.sampled_from([(), (1,), (2,), (3,), (2, 3), (0,)]))
    while dim < len(shape) and len(items) < 6 and draw(st.integers(0, 5)):
        n = shape[dim]
        kind = draw(st.sampled_from(["int", "slice", "none", "ellipsis", "bool", "array", "array", "mask", "mask2"]))
        if kind == "int":
            items.append(draw(st.integers(-n - (draw(st.integers(0, 9)) == 0), n - 1)))
        elif kind == "slice":
            bound = st.none() | st.integers(-n - 2, n + 2)
            items.append(slice(draw(bound), draw(bound), draw(st.sampled_from([None, 1, 2, 3]))))
        elif kind == "none":
            items.append(None)
        elif kind == "ellipsis":
            if Ellipsis in [i for i in items if not isinstance(i, Array)]:
                continue
            items.append(Ellipsis)
            dim = draw(st.integers(dim, len(shape)))
            continue
        elif kind == "bool":
            items.append(draw(st.booleans()))
        elif kind == "array":
            high = n - 1 + (draw(st.integers(0, 19)) == 0)
            size = int(np.prod(lengths))
            values = draw(st.lists(st.integers(-n, high), min_size=size, max_size=size))
            form = draw(st.sampled_from(["tensor", "numpy", "list"])) if lengths else "tensor"
            items.append(Array(np.array(values, np.int64).reshape(lengths), "tensor" if lengths == (2, 3) else form))
        else:
            span = shape[dim : dim + (1 if kind == "mask" else 2)]
            size = int(np.prod(span))
            values = draw(st.lists(st.booleans(), min_size=size, max_size=size))
            items.append(Array(np.array(values).reshape(span)))
            dim += len(span)
            continue
        dim += kind not in ("none", "bool")
    return shape, tuple(items)


def both(action, empty=False):
    """The results of an action on PyTorch and on minidl; None in place of both if both refuse.

    empty: nothing is selected. PyTorch then overlooks wrong values of an index tensor, and with x[False] = value also
    wrong shapes; minidl refuses them.
    """
    results, errors = [], []
    for engine in (torch, md):
        try:
            results.append(action(engine))
        except (IndexError, RuntimeError, ValueError, TypeError) as error:
            errors.append(error)
    if empty and len(results) == 1 and any(words in str(errors[0]) for words in ("is out of bounds", "shape mismatch")):
        return None
    assert len(errors) in (0, 2), f"only one of the two refuses: {errors[0]!r}"
    return results or None


def selected(shape, index):
    """The shape of what PyTorch finds at an index, (1,) where it finds nothing."""
    try:
        return tuple(torch.zeros(shape)[to(torch, index)].shape)
    except (IndexError, ValueError):
        return (1,)


def close(ours, theirs):
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-12, atol=1e-12)


def data(engine, shape, requires_grad=True):
    values = np.random.default_rng(len(shape)).normal(size=shape)
    return engine.tensor(values, requires_grad=requires_grad)


@settings(max_examples=400, deadline=None)
@given(indices())
@example(((2, 3, 4), (0, slice(None), Array([0, 1]))))
@example(((2, 3, 4), (Array([0, 1]), slice(None), Array([0, 1]))))
@example(((2, 3, 4), (Array([0, 1]), None, Array([0, 1]))))
@example(((2, 3, 4), (slice(None), Array([[True, False, True, False]] * 3))))
@example(((2, 3, 4), (True, False)))
@example(((2, 3, 4), (Array(1), Array([0, 2]), Array(-1))))
def test_read(case):
    shape, index = case

    def read(engine):
        x = data(engine, shape)
        y = x[to(engine, index)]
        (y * y).sum().backward()
        return y, x.grad

    results = both(read, empty=0 in selected(shape, index))
    if results:
        (ry, rg), (y, g) = results
        close(y, ry)
        close(g, rg)


@settings(max_examples=400, deadline=None)
@given(indices(), st.sampled_from(["number", "scalar", "full", "row", "leading", "wrong"]), st.booleans())
@example(((2, 3, 4), (0, slice(None), Array([0, 1]))), "full", True)
@example(((2, 3, 4), (Array([0, 1]), slice(None), Array([0, 1]))), "full", True)
def test_write(case, kind, in_graph):
    shape, index = case
    target = selected(shape, index)
    if any(isinstance(i, Array) and i.values.dtype != bool for i in index):  # which of two writes stays is not defined
        flat = torch.arange(int(np.prod(shape))).reshape(shape)
        try:
            places = flat[to(torch, index)].reshape(-1)
        except (IndexError, ValueError):
            places = flat[:0]
        if len(places.unique()) != places.numel():
            kind = "number"
    value_shape = {
        "scalar": (), "full": target, "row": target[-1:], "leading": (1, *target), "wrong": (5, *target),
    }.get(kind)  # fmt: skip

    def write(engine):
        x = data(engine, shape, in_graph)
        value = 7.0 if kind == "number" else data(engine, value_shape, in_graph)
        y = x * 2
        y[to(engine, index)] = value
        if in_graph:
            (y * y).sum().backward()
        grads = [t.grad for t in (x, value) if in_graph and isinstance(t, engine.Tensor)]
        return y, grads

    results = both(write, empty=0 in target)
    if results:
        (ry, rgrads), (y, grads) = results
        close(y, ry)
        for ours, theirs in zip(grads, rgrads, strict=True):
            close(ours, theirs)


@st.composite
def programs(draw):
    """Sequences of views, in-place writes and reads on variables 0, 1, ...; variable 0 is x * 1."""
    steps, count = [], 1
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["view", "view", "mul", "set", "put", "fill", "read"]))
        i = draw(st.integers(0, count - 1))
        steps.append((kind, i, draw(st.integers(0, 3))))
        count += kind in ("view", "read")
    return steps


VIEWS = [lambda t: t[..., 0], lambda t: t[1:], lambda t: t[None], lambda t: t[..., ::2]]


@settings(max_examples=200, deadline=None)
@given(programs())
@example([("view", 0, 1), ("mul", 0, 0), ("set", 1, 0), ("read", 1, 0)])
@example([("view", 0, 0), ("view", 1, 1), ("set", 2, 1), ("mul", 1, 0), ("put", 0, 0)])
def test_views_and_writes_in_any_order(steps):
    def run(engine):
        x = data(engine, (3, 4))
        w = engine.tensor(2.5, dtype=engine.float64, requires_grad=True)
        variables = [x * 1]
        for kind, i, n in steps:
            t = variables[i]
            if kind == "view":
                variables.append(VIEWS[n](t))
            elif kind == "read":
                variables.append(t * t)
            elif kind == "mul":
                t.mul_(w)
            elif kind == "set":
                VIEWS[n](t)[...] = w * n
            elif kind == "put":
                t[engine.tensor([0])] = w
            else:
                t[...] = float(n)
        loss = sum((t * (k + 1)).sum() for k, t in enumerate(variables))
        loss.backward()
        return [*variables, x.grad, w.grad]

    results = both(run)
    if results:
        for theirs, ours in zip(*results, strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                close(ours, theirs)


REFUSED = [
    (lambda t: t.zeros(3)[5], "index 5 is out of bounds for dimension 0 with size 3"),
    (lambda t: t.zeros(2, 3)[:, -4], "index -4 is out of bounds for dimension 1 with size 3"),
    (lambda t: t.zeros(3)[t.tensor([0, 3])], "index 3 is out of bounds for dimension 0 with size 3"),
    (lambda t: t.tensor(1.0)[0], "invalid index of a 0-dim tensor"),
    (lambda t: t.zeros(3)[0, 0], "too many indices for tensor of dimension 1"),
    (lambda t: t.zeros(3)[t.tensor([True])], r"The shape of the mask \[1\] at index 0 does not match"),
    (lambda t: t.zeros(3)[::-1], "step must be greater than zero"),
    (lambda t: t.zeros(3)[0.5], "only integers, slices"),
    (lambda t: t.zeros(3)[t.tensor([0.5])], "tensors used as indices must be long, int, byte or bool"),
    (lambda t: t.zeros(3).__setitem__(0, [1]), "can't assign a list"),
    (lambda t: t.zeros(2, 3).__setitem__(t.tensor([0]), t.zeros(2)), "shape mismatch: value tensor of shape"),
    (lambda t: t.zeros(3, dtype=t.int64).__setitem__(0, float("nan")), "without overflow"),
    (lambda t: t.zeros(3, requires_grad=True).__setitem__(0, 1.0), "leaf Variable"),
    (lambda t: t.zeros(3).gather(0, t.tensor([3])), "index 3 is out of bounds for dimension 0 with size 3"),
    (lambda t: t.zeros(3).scatter_add(0, t.tensor([0]), t.zeros(1, dtype=t.float64)), "to be equal to src.dtype"),
    (lambda t: t.zeros(3).index_select(0, t.tensor([3])), "out of"),
    (lambda t: t.zeros(3).masked_fill(t.zeros(3), 1.0), "boolean mask"),
    (lambda t: t.zeros(3).masked_scatter(t.ones(3) > 0, t.zeros(2)), "Number of elements of source < number of ones"),
]


@pytest.mark.parametrize(("action", "message"), REFUSED)
def test_refused_in_pytorchs_words(action, message):
    errors = []
    for engine in (torch, md):
        with pytest.raises((IndexError, RuntimeError, ValueError, TypeError), match=message) as caught:
            action(engine)
        errors.append(caught.type)
    assert errors[0] is errors[1]


def test_an_ambiguous_list_is_refused():
    with pytest.raises(IndexError, match=r"x\[tuple\(index\)\]"):
        md.zeros(3, 3)[[[0, 1], [1, 2]]]


def test_a_single_element_is_a_view():
    x = md.zeros(2, 2)
    x[1, 0].fill_(5)
    x[0][1] = 3
    assert x.tolist() == [[0, 3], [5, 0]]
    assert x[1, 0]._base is x and x[1, 0]._version == x._version


def test_writing_bumps_the_version_and_is_noticed():
    x = md.ones(3, requires_grad=True) * 2
    y = x * x
    x[0] = 1.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["sum", "prod", "mean", "amax", "amin"]),
    st.booleans(),
    st.integers(-2, 1),
    st.lists(st.integers(0, 1), min_size=6, max_size=6),
    st.lists(st.integers(-1, 2), min_size=12, max_size=12),
)
def test_scatter_reduce(reduce, include_self, dim, index, values):
    def run(engine):
        # PyTorch lets elements of x that do not take part, but equal the largest, have a share of its gradient
        apart = 0.5 if reduce in ("amax", "amin") and not include_self else 0
        x = engine.tensor(np.array(values[:6], float).reshape(2, 3) + apart, requires_grad=True)
        src = engine.tensor(np.array(values[6:], float).reshape(2, 3), requires_grad=True)
        at = engine.tensor(np.array(index).reshape(2, 3))
        y = x.scatter_reduce(dim, at, src, reduce, include_self=include_self)
        (y * engine.tensor(np.arange(6.0).reshape(2, 3))).sum().backward()
        return y, x.grad, src.grad

    theirs, ours = both(run)
    for a, b in zip(ours, theirs, strict=True):
        close(a, b)


def test_gradients_are_the_same_at_every_run():
    index = md.tensor(np.random.default_rng(0).integers(0, 3, 1000))
    weight = md.tensor(np.random.default_rng(1).normal(size=(1000, 5)).astype(np.float32))
    grads = []
    for _ in range(2):
        x = md.zeros(3, 5, requires_grad=True)
        (x[index] * weight).sum().backward()
        grads.append(x.grad.numpy())
    assert (grads[0] == grads[1]).all()


def test_changing_the_index_later_does_not_change_the_gradient():
    x = md.zeros(3, requires_grad=True)
    index, mask = md.tensor([0, 2]), md.tensor([True, False, True])
    y = x[index].sum() + x[mask].sum() + x.gather(0, index).sum() + x.masked_fill(mask, 0.0).sum()
    index.zero_()
    mask.zero_()
    y.backward()
    assert x.grad.tolist() == [3, 1, 3]


@pytest.mark.parametrize("padding_idx", [None, 1, -1])
@pytest.mark.parametrize("by_count", [False, True])
@pytest.mark.parametrize("max_norm", [None, 1.0])
def test_embedding(padding_idx, by_count, max_norm):
    def run(engine):
        weight = data(engine, (5, 3))
        index = engine.tensor([[1, 4], [4, 0]])
        F = engine.nn.functional
        y = F.embedding(index, weight, padding_idx, max_norm, scale_grad_by_freq=by_count)
        (y * y).sum().backward()
        return y, weight, weight.grad

    theirs, ours = both(run)
    for a, b in zip(ours, theirs, strict=True):
        close(a, b)


@pytest.mark.parametrize("classes", [-1, 2, 3, 6])
def test_one_hot(classes):
    results = both(lambda engine: engine.nn.functional.one_hot(engine.tensor([[0, 2], [1, 1]]), classes))
    if results:
        assert results[1].dtype is md.int64
        close(results[1], results[0])
    else:
        assert classes == 2


def test_a_row_outside_of_the_table_is_refused():
    with pytest.raises(IndexError, match="5 to 5, the table has 5 rows"):
        md.nn.functional.embedding(md.tensor([5]), md.zeros(5, 2))
