"""Which operations share memory and which copy, held against PyTorch: shapes, strides, values, gradients."""

import numpy as np
import pytest

import minidl

VIEWS = {
    "reshape": lambda t, x: x.reshape(4, 6),
    "reshape -1": lambda t, x: x.reshape(-1, 2),
    "view": lambda t, x: x.view(6, 4),
    "view_as": lambda t, x: x.view_as(t.zeros(3, 8)),
    "reshape_as": lambda t, x: x.reshape_as(t.zeros(3, 8)),
    "view after transpose": lambda t, x: x.transpose(0, 1).view(3, 2, 2, 2),
    "view as int32": lambda t, x: x.view(t.int32),
    "view as int64": lambda t, x: x.view(t.int64),
    "permute": lambda t, x: x.permute(2, 0, 1),
    "transpose": lambda t, x: x.transpose(0, -1),
    "swapaxes": lambda t, x: x.swapaxes(0, 1),
    "mT": lambda t, x: x.mT,
    "t": lambda t, x: x[0].t(),
    "T": lambda t, x: x[0].T,
    "movedim": lambda t, x: x.movedim((0, 1), (2, 0)),
    "flatten": lambda t, x: x.flatten(1),
    "flatten all": lambda t, x: x.flatten(),
    "unflatten": lambda t, x: x.unflatten(2, (2, -1)),
    "ravel": lambda t, x: x.ravel(),
    "squeeze": lambda t, x: x[:1].squeeze(),
    "squeeze dim": lambda t, x: x[:1, :1].squeeze(0),
    "unsqueeze": lambda t, x: x.unsqueeze(1),
    "expand": lambda t, x: x[:, :1].expand(-1, 5, -1),
    "expand new": lambda t, x: x.expand(2, 2, 3, 4),
    "expand_as": lambda t, x: x[:1].expand_as(x),
    "broadcast_to": lambda t, x: x.broadcast_to((1, 2, 3, 4)),
    "select": lambda t, x: x.select(1, -1),
    "narrow": lambda t, x: x.narrow(2, 1, 2),
    "split": lambda t, x: x.split(2, 1)[1],
    "split sizes": lambda t, x: x.split((1, 3), -1)[1],
    "chunk": lambda t, x: x.chunk(2, 1)[0],
    "tensor_split": lambda t, x: x.tensor_split(3, 2)[1],
    "tensor_split at": lambda t, x: x.tensor_split((1, -1), 2)[1],
    "hsplit": lambda t, x: x.hsplit(3)[2],
    "vsplit": lambda t, x: x.vsplit(2)[1],
    "dsplit": lambda t, x: x.dsplit((1, 2))[1],
    "unbind": lambda t, x: x.unbind(1)[2],
    "unfold": lambda t, x: x.unfold(2, 3, 1),
    "unfold first": lambda t, x: x.unfold(1, 2, 1),
    "unfold of a permuted one": lambda t, x: x.permute(2, 1, 0).unfold(0, 2, 2),
    "atleast_3d": lambda t, x: t.atleast_3d(x[0]),
    "contiguous already": lambda t, x: x.contiguous(),
    "meshgrid": lambda t, x: t.meshgrid(x[0, 0], x[0, :, 0], indexing="xy")[0],
}
COPIES = {
    "reshape after transpose": lambda t, x: x.transpose(0, 1).reshape(3, 8),
    "flatten after transpose": lambda t, x: x.transpose(1, 2).flatten(),
    "contiguous": lambda t, x: x.transpose(0, 1).contiguous(),
    "clone": lambda t, x: x.clone(),
    "clone keeps the layout": lambda t, x: x.permute(2, 0, 1).clone(),
    "flip": lambda t, x: x.flip(0, 2),
    "fliplr": lambda t, x: x.fliplr(),
    "flipud": lambda t, x: x.flipud(),
    "roll": lambda t, x: x.roll((1, -1), (0, 2)),
    "roll flat": lambda t, x: x.roll(5),
    "rot90": lambda t, x: x.rot90(1, (0, 2)).contiguous(),
    "rot90 twice": lambda t, x: x.rot90(2),
    "rot90 back": lambda t, x: x.rot90(-1).contiguous(),
    "repeat": lambda t, x: x.repeat(2, 1, 1, 3),
    "tile": lambda t, x: x.tile(2),
    "repeat_interleave": lambda t, x: x.repeat_interleave(2, 1),
    "cat": lambda t, x: t.cat([x, x[:1]]),
    "stack": lambda t, x: t.stack([x, x], -1),
    "hstack": lambda t, x: t.hstack([x, x]),
    "vstack": lambda t, x: t.vstack([x[0, 0], x[0, 1]]),
    "dstack": lambda t, x: t.dstack([x[0], x[1]]),
    "column_stack": lambda t, x: t.column_stack([x[0, 0], x[0, :, :2].reshape(-1)[:4]]),
    "block_diag": lambda t, x: t.block_diag(x[0], x[1, 0], x[0, 0, 0]),
    "cartesian_prod": lambda t, x: t.cartesian_prod(x[0, 0], x[0, :, 0]),
}


def pair():
    torch = pytest.importorskip("torch")
    a = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    return torch, torch.tensor(a), minidl.tensor(a)


@pytest.mark.parametrize("name", VIEWS)
def test_views_share_memory_and_have_pytorchs_strides(name):
    torch, theirs, ours = pair()
    expected, got = VIEWS[name](torch, theirs), VIEWS[name](minidl, ours)
    assert tuple(got.shape) == tuple(expected.shape)
    assert [s for n, s in zip(got.shape, got.stride(), strict=True) if n > 1] == [
        s for n, s in zip(expected.shape, expected.stride(), strict=True) if n > 1
    ]  # the step along a dimension of one entry means nothing
    assert got.data_ptr() - ours.data_ptr() == expected.data_ptr() - theirs.data_ptr()
    theirs.mul_(2)
    ours.array *= 2
    np.testing.assert_array_equal(got.numpy(), expected.numpy())


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_copies(name):
    torch, theirs, ours = pair()
    expected, got = COPIES[name](torch, theirs), COPIES[name](minidl, ours)
    assert not np.shares_memory(got.array, ours.array)
    assert got.stride() == expected.stride()
    ours.array[...] = -1.0
    np.testing.assert_array_equal(got.numpy(), expected.numpy())


@pytest.mark.parametrize("name", VIEWS)
def test_views_know_their_base(name):
    pytest.importorskip("torch")
    _, _, x = pair()
    got = VIEWS[name](minidl, x)
    assert got is x or (got._base is x and got.storage is x.storage)


@pytest.mark.parametrize("name", [n for n in VIEWS if n != "view as int32" and n != "view as int64"])
def test_gradient_through_views(name):
    torch, theirs, ours = pair()
    theirs.requires_grad_()
    ours.requires_grad_()
    expected, got = VIEWS[name](torch, theirs), VIEWS[name](minidl, ours)
    cotangent = np.random.default_rng(0).normal(size=tuple(got.shape)).astype(np.float32)
    expected.backward(torch.tensor(cotangent))
    got.backward(minidl.tensor(cotangent))
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-6)


def test_unused_results_get_zero_gradient():
    x = minidl.arange(6.0).requires_grad_()
    a, _, c = x.split(2)
    (a * 2 + c).backward(minidl.ones(2))
    assert x.grad.tolist() == [2, 2, 0, 0, 1, 1]
    y = minidl.ones(3, 2, requires_grad=True)
    y.unbind(0)[1].backward(minidl.ones(2))
    assert y.grad.tolist() == [[0, 0], [1, 1], [0, 0]]


def test_zero_sized():
    x = minidl.zeros(2, 0, 3)
    assert x.reshape(0, 5).shape == (0, 5) and x.view(3, 0).shape == (3, 0)
    assert x.permute(2, 1, 0).shape == (3, 0, 2) and x.flatten().shape == (0,)
    assert [p.shape for p in x.split(2, 1)] == [(2, 0, 3)] and x.unbind(1) == ()
    assert len(x.chunk(3, 1)) == 3 and x.flip(0).shape == (2, 0, 3) and x.repeat(2, 3, 1).shape == (4, 0, 3)
    assert minidl.cat([x, x], 1).shape == (2, 0, 3) and minidl.stack([x, x]).shape == (2, 2, 0, 3)
    assert minidl.cat([minidl.zeros(0), minidl.ones(2, 2)]).shape == (2, 2)


def test_shape_in_place():
    x = minidl.arange(6.0).reshape(2, 3)
    y = minidl.zeros(2, 3)
    assert y.t_() is y and y.shape == (3, 2) and y.stride() == (1, 3)
    y.unsqueeze_(0).squeeze_(0).transpose_(0, 1)
    assert y.shape == (2, 3)
    assert x.unsqueeze_(1).shape == (2, 1, 3) and x._base is not None  # a view stays a view of the same memory
    w = minidl.ones(2, 3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        w.t_()
    z = w * 2
    z.t_()
    z.backward(minidl.ones(3, 2))
    assert w.grad.shape == (2, 3) and (w.grad.numpy() == 2).all()
    kept = y[0]
    with pytest.raises(RuntimeError, match="has views"):
        y.t_()
    assert kept.shape == (3,)


def test_writing_to_a_view_that_was_reshaped_in_place():
    w = minidl.ones(2, 3, requires_grad=True)
    x = w * 2
    row = x[0]
    row.unsqueeze_(1)
    row.mul_(5)
    x.backward(minidl.ones(2, 3))
    assert w.grad.tolist() == [[10, 10, 10], [2, 2, 2]]


def test_writing_to_windows_reaches_the_graph_of_the_owner():
    w = minidl.ones(4, requires_grad=True)
    x = w * 2
    x.unfold(0, 2, 2).mul_(3)
    x.backward(minidl.ones(4))
    assert w.grad.tolist() == [6, 6, 6, 6]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: x.t().view(6), RuntimeError, "view size is not compatible with input tensor's size and stride"),
        (lambda x: x.reshape(4), RuntimeError, r"shape '\[4\]' is invalid for input of size 6"),
        (lambda x: x.view(dtype=minidl.float64), RuntimeError, "cannot be read as float64"),
        (lambda x: x.permute(0, 0), RuntimeError, "multiple times"),
        (lambda x: x.permute(0), RuntimeError, "does not match the length"),
        (lambda x: x.transpose(0, 2), IndexError, r"range of \[-2, 1\], but got 2"),
        (lambda x: x.expand(4, 3), RuntimeError, "cannot be expanded"),
        (lambda x: x.flatten(1, 0), RuntimeError, "start_dim 1 cannot come after"),
        (lambda x: x.unflatten(1, (2, 2)), RuntimeError, "don't multiply up"),
        (lambda x: x.split(0), RuntimeError, "split_size be positive"),
        (lambda x: x.split([1, 3]), RuntimeError, "sum exactly to 2"),
        (lambda x: x.chunk(0), RuntimeError, "greater than 0"),
        (lambda x: x.narrow(1, 2, 2), RuntimeError, "exceeds dimension size"),
        (lambda x: x.select(0, 2), IndexError, "out of range"),
        (lambda x: x.hsplit(2), RuntimeError, "not divisible"),
        (lambda x: minidl.cat([]), RuntimeError, "non-empty list"),
        (lambda x: minidl.cat(x), TypeError, "tuple of Tensors"),
        (lambda x: minidl.cat([x, minidl.zeros(2, 2)]), RuntimeError, "must match except in dimension 0"),
        (lambda x: minidl.cat([minidl.tensor(1.0)]), RuntimeError, "zero-dimensional"),
        (lambda x: minidl.stack([x, minidl.zeros(2)]), RuntimeError, "equal size"),
        (lambda x: minidl.stack([x, 1.0]), TypeError, "element 1"),
        (lambda x: x.repeat(2), RuntimeError, "can not be smaller"),
        (lambda x: x.roll((1, 2), 0), RuntimeError, "must align"),
        (lambda x: x.unfold(1, 4, 1), RuntimeError, "maximum size"),
        (lambda x: x.repeat_interleave(minidl.tensor([1, 2, 3]), 0), RuntimeError, "same size"),
        (lambda x: minidl.meshgrid(x), RuntimeError, "1D"),
        (lambda x: minidl.broadcast_shapes((2,), (3,)), RuntimeError, "cannot be broadcast"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call(minidl.zeros(2, 3))


@pytest.mark.parametrize("join", [minidl.stack, minidl.cat])
def test_what_was_joined_can_be_viewed(join):
    """PyTorch lays joined tensors out row by row, whatever the layout of the parts was."""
    x = minidl.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1)
    for parts in ([x], [x, x]):
        joined = join(parts)
        assert joined.is_contiguous() and joined.view(-1).tolist() == joined.reshape(-1).tolist()


def test_writing_to_tensors_without_elements():
    x = minidl.ones(3, 5)[minidl.zeros(3, dtype=minidl.bool)]
    x[:, :4] = x[:, :4] + 1
    x.add_(1).mul_(2)
    assert x.shape == (0, 5)
    with pytest.raises(RuntimeError, match="single memory location"):
        minidl.ones(1, 1).expand(2, 3).add_(1)


ROW_MAJOR = {
    "softmax": lambda lib, x: x.softmax(-1),
    "softmax along another dimension": lambda lib, x: x.softmax(1),
    "log_softmax": lambda lib, x: x.log_softmax(-1),
    "cumsum": lambda lib, x: x.cumsum(1),
    "cumprod": lambda lib, x: x.cumprod(1),
    "index_select": lambda lib, x: x.index_select(1, lib.tensor([2, 0])),
    "roll": lambda lib, x: x.roll(1, 1),
    "tril": lambda lib, x: x.tril(),
    "sum": lambda lib, x: x.sum(1),
    "mean": lambda lib, x: x.mean(1, keepdim=True),
    "std": lambda lib, x: x.std(1),
    "prod": lambda lib, x: x.prod(1),
    "amax": lambda lib, x: x.amax(1),
    "all": lambda lib, x: (x > 0).all(1),
    "any": lambda lib, x: (x > 0).any(1),
    "norm": lambda lib, x: x.norm(dim=1),
    "norm(3)": lambda lib, x: x.norm(3, dim=1),
    "one_hot": lambda lib, x: lib.nn.functional.one_hot((x > 0).long(), 2),
    "nearest": lambda lib, x: lib.nn.functional.interpolate(x, scale_factor=2),
    "layer_norm": lambda lib, x: lib.nn.functional.layer_norm(x, x.shape[-1:]),
    "rms_norm": lambda lib, x: lib.nn.functional.rms_norm(x, x.shape[-1:]),
    "batch_norm": lambda lib, x: lib.nn.functional.batch_norm(x, None, None, training=True),
    "instance_norm": lambda lib, x: lib.nn.functional.instance_norm(x),
}


@pytest.mark.parametrize("order", [(0, 2, 1, 3), (3, 2, 0, 1)])
@pytest.mark.parametrize("size", [1, 9])  # small and large results may come from different code
@pytest.mark.parametrize("name", ROW_MAJOR)
def test_row_major_results_of_permuted_inputs(name, size, order):
    """Programs take view() of these results; NumPy would keep the layout of the input."""
    torch = pytest.importorskip("torch")
    array = np.random.default_rng(0).standard_normal((4, 5 * size, 6, 7 * size)).astype(np.float32)
    wanted = ROW_MAJOR[name](torch, torch.tensor(array).permute(order))
    got = ROW_MAJOR[name](minidl, minidl.tensor(array).permute(order))
    assert wanted.is_contiguous() and got.is_contiguous()
    np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "pick",
    [
        lambda x, i: x[:, i],
        lambda x, i: x[:, :, i],
        lambda x, i: x[1:, i],
        lambda x, i: x[:, i, i],
        lambda x, i: x[:, i > 0],
    ],
)
def test_picked_elements_are_row_major(pick):
    torch = pytest.importorskip("torch")
    array = np.arange(60.0).reshape(3, 5, 4)
    index = [0, 3, -1, 2, 1]
    wanted, got = (pick(lib.tensor(array), lib.tensor(index)) for lib in (torch, minidl))
    assert wanted.is_contiguous() and got.is_contiguous()
    np.testing.assert_array_equal(got.numpy(), wanted.numpy())


@pytest.mark.parametrize("cut", ["unbind 0", "unbind 1", "split", "split unequally"])
def test_gradients_that_lie_side_by_side_are_not_joined_again(cut):
    """Rules of operations that take a tensor apart get gradients that are slices of one array, or that are not."""
    from minidl.ops.joining import consecutive

    parts, join, dim, sizes = {
        "unbind 0": (lambda x: x.unbind(), minidl.stack, 0, (1,) * 3),
        "unbind 1": (lambda x: x.unbind(1), minidl.stack, 1, (1,) * 4),
        "split": (lambda x: x.split(2, 2), minidl.cat, 2, (2,) * 3),
        "split unequally": (lambda x: x.split([1, 3, 2], 2), minidl.cat, 2, (1, 3, 2)),
    }[cut]
    x, whole = minidl.randn(3, 4, 6, requires_grad=True), minidl.randn(3, 4, 6)
    slices = parts(whole)
    orders = slices, [t.clone() for t in slices], parts(whole.mT.contiguous().mT)
    for pieces in (*orders, slices[::-1]) if len(set(sizes)) == 1 else orders:
        (grad,) = minidl.autograd.grad(parts(x), x, pieces)
        assert (grad == join(tuple(pieces), dim)).all()
    arrays = [t.array for t in slices]
    joined = consecutive(arrays, (3, 4, 6), dim, sizes)
    assert np.shares_memory(joined, whole.array)
    np.testing.assert_array_equal(joined, whole.array)
    assert consecutive(arrays[::-1], (3, 4, 6), dim, sizes[::-1]) is None
    assert consecutive([a.copy() for a in arrays], (3, 4, 6), dim, sizes) is None
