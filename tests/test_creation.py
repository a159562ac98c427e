"""Making tensors: values and dtypes as in PyTorch, sharing or copying as promised, and errors that say what to do."""

import array
import math

import numpy as np
import pytest

import minidl

DATA = [
    1, 2.5, True, 1j, [], [[]], [1, 2], [1, 2.0], [True, False], [True, 2], [[1, 2], [3, 4.0]], ((1, 2), (3, 4)),
    [1.0, 2j], np.float64(2.5), [np.float64(2.5)], [np.float32(1), 2.0], [np.int32(1), 2], [1, np.float64(2)],
    np.arange(3, dtype=np.int16), [np.arange(2.0), np.arange(2.0)], range(3), [math.inf, -math.inf], [[[]], [[]]],
]  # fmt: skip


@pytest.mark.parametrize("data", DATA, ids=repr)
def test_tensor_infers_pytorchs_dtype_and_shape(data):
    torch = pytest.importorskip("torch")
    ours = minidl.tensor(data)
    theirs = torch.tensor(
        np.array(data) if isinstance(data, list) and any(isinstance(x, np.ndarray) for x in data) else data
    )
    assert repr(ours.dtype) == repr(theirs.dtype)
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_tensor_of_tensors():
    x = minidl.tensor([minidl.tensor(1.0), minidl.tensor(2.0, requires_grad=True), 3])
    assert x.dtype is minidl.float32 and x.tolist() == [1.0, 2.0, 3.0] and not x.requires_grad
    assert minidl.tensor([[minidl.tensor([1, 2])], [minidl.tensor([3, 4])]]).shape == (2, 1, 2)
    assert minidl.tensor([minidl.tensor(1, dtype=minidl.float64), 2.0]).dtype is minidl.float64


def test_tensor_copies_and_as_tensor_shares():
    a = np.arange(3.0)
    shared, copied, alias = minidl.from_numpy(a), minidl.tensor(a), minidl.as_tensor(a)
    a[0] = 7.0
    assert shared[0].item() == 7.0 and alias[0].item() == 7.0 and copied[0].item() == 0.0
    assert minidl.as_tensor(shared) is shared
    assert minidl.as_tensor(a, dtype=minidl.float32).dtype is minidl.float32
    assert np.shares_memory(minidl.asarray(a).array, a) and not np.shares_memory(minidl.asarray(a, copy=True).array, a)
    with pytest.raises(ValueError, match="can't alias"):
        minidl.asarray([1.0], copy=False)
    with pytest.raises(ValueError, match="can't alias"):
        minidl.asarray(a, dtype=minidl.float32, copy=False)


def test_as_tensor_keeps_the_graph_and_tensor_leaves_it():
    w = minidl.tensor([1.0], requires_grad=True)
    assert minidl.as_tensor(w * 2).requires_grad
    assert not minidl.tensor(w).requires_grad


def test_buffers_and_dlpack_share_memory():
    buffer = array.array("d", [1.0, 2.0, 3.0])
    x = minidl.frombuffer(buffer, dtype=minidl.float64, offset=8)
    buffer[1] = 9.0
    assert x.tolist() == [9.0, 3.0]
    assert minidl.frombuffer(b"\x01\x02", dtype=minidl.uint8).tolist() == [1, 2]
    y = minidl.from_dlpack(x)
    assert np.shares_memory(y.array, x.array)


@pytest.mark.parametrize("name", ["zeros", "ones", "empty"])
def test_filled_by_size(name):
    create = getattr(minidl, name)
    for shape in ((), (0,), (2, 0, 3), (2, 3)):
        for x in (create(*shape) if shape else create(()), create(shape), create(list(shape)), create(size=shape)):
            assert x.shape == shape and x.dtype is minidl.float32
    if name != "empty":
        assert (create(2, 3).numpy() == (name == "ones")).all()
    assert create(2, dtype=minidl.int64).dtype is minidl.int64
    assert create(2, dtype=int).dtype is minidl.int64
    assert create(2, requires_grad=True).requires_grad
    base = minidl.tensor([1], dtype=minidl.float64)
    assert getattr(base, f"new_{name}")(2, 3).dtype is minidl.float64
    assert getattr(base, f"new_{name}")((2, 3), dtype=minidl.int32).dtype is minidl.int32
    like = getattr(minidl, f"{name}_like")
    assert like(base).dtype is minidl.float64 and like(minidl.zeros(2, 0)).shape == (2, 0)
    assert like(base, dtype=minidl.bool).dtype is minidl.bool


def test_full():
    assert minidl.full((2,), 1).dtype is minidl.int64
    assert minidl.full((2,), 1.5).tolist() == [1.5, 1.5]
    assert minidl.full((2,), True).dtype is minidl.bool
    assert minidl.full((), minidl.tensor(2.0)).item() == 2.0
    assert minidl.full_like(minidl.zeros(2, dtype=minidl.int32), 3).dtype is minidl.int32
    assert minidl.zeros(1, dtype=minidl.float64).new_full((2,), 3).dtype is minidl.float64
    assert minidl.zeros(1, dtype=minidl.float64).new_tensor([1]).dtype is minidl.float64


def test_default_dtype_decides(monkeypatch):
    monkeypatch.setattr(minidl.dtypes, "_default", minidl.float64)
    for x in (minidl.tensor(1.5), minidl.tensor([1.5]), minidl.tensor([]), minidl.zeros(1), minidl.arange(1.0)):
        assert x.dtype is minidl.float64
    assert minidl.tensor([1j]).dtype is minidl.complex128


ARANGES = [(5,), (0,), (2, 7), (2, 7, 2), (7, 2, -2), (0.5, 4), (0, 1, 0.1), (1, 0, -0.25), (5.0,), (3, 3), (0, -3, -1)]


@pytest.mark.parametrize("bounds", ARANGES, ids=repr)
@pytest.mark.parametrize("dtype", [None, "float32", "float64", "int64"])
def test_arange(bounds, dtype):
    torch = pytest.importorskip("torch")
    ours = minidl.arange(*bounds, dtype=dtype and getattr(minidl, dtype))
    if dtype == "int64" and isinstance(bounds[-1], float) and abs(bounds[-1]) < 1:
        pytest.skip("PyTorch divides by the truncated step, 0")
    theirs = torch.arange(*bounds, dtype=dtype and getattr(torch, dtype))
    assert repr(ours.dtype) == repr(theirs.dtype)
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize("arguments", [(0, 1, 5), (1, -1, 4), (3, 10, 1), (0, 1, 0), (-2.5, 2.5, 7)], ids=repr)
def test_linspace_and_logspace(arguments):
    torch = pytest.importorskip("torch")
    for name in ("linspace", "logspace"):
        ours = getattr(minidl, name)(*arguments, dtype=minidl.float64).numpy()
        np.testing.assert_allclose(
            ours, getattr(torch, name)(*arguments, dtype=torch.float64).numpy(), rtol=1e-14, atol=1e-15
        )  # 0 in the middle
    if arguments[2] > 1:
        x = minidl.linspace(*arguments)
        assert x[0].item() == arguments[0] and x[-1].item() == arguments[1]


@pytest.mark.parametrize("size", [(0, 0), (3, 3), (2, 4), (4, 2)])
@pytest.mark.parametrize("offset", [-1, 0, 2])
def test_eye_and_triangle_indices(size, offset):
    np.testing.assert_array_equal(minidl.eye(*size).numpy(), np.eye(*size))
    lower, upper = minidl.tril_indices(*size, offset).numpy(), minidl.triu_indices(*size, offset + 1).numpy()
    marks = np.zeros(size, int)
    np.add.at(marks, tuple(lower), 1)
    np.add.at(marks, tuple(upper), 1)
    assert (marks == 1).all()  # the two triangles cover the matrix, each element once
    assert (lower[1] - lower[0] <= offset).all() and lower.shape[0] == 2


def test_old_constructors():
    assert minidl.FloatTensor([1, 2]).dtype is minidl.float32
    assert minidl.LongTensor([1, 2]).tolist() == [1, 2]
    assert minidl.DoubleTensor(2, 3).shape == (2, 3)
    assert minidl.BoolTensor([0, 1]).tolist() == [False, True]
    assert minidl.ByteTensor().shape == (0,)


def test_questions():
    x = minidl.zeros(2, 3)
    assert minidl.is_tensor(x) and not minidl.is_tensor(x.numpy())
    assert minidl.numel(x) == 6 and minidl.is_floating_point(x) and not minidl.is_complex(x)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: minidl.tensor([[1, 2], [3]]), ValueError, "ragged"),
        (lambda: minidl.tensor(["a"]), TypeError, "invalid data type 'str'"),
        (lambda: minidl.tensor("a"), TypeError, "str"),
        (lambda: minidl.tensor(None), TypeError, "NoneType"),
        (lambda: minidl.tensor({1: 2}), TypeError, "dict"),
        (lambda: minidl.tensor(np.array(["a"])), TypeError, "cannot hold"),
        (lambda: minidl.tensor([1, 2], requires_grad=True), RuntimeError, "floating point"),
        (lambda: minidl.from_numpy([1.0]), TypeError, "expected np.ndarray"),
        (lambda: minidl.zeros(2, -1), RuntimeError, "negative dimension -1"),
        (lambda: minidl.zeros(2.5), TypeError, "sizes must be integers"),
        (lambda: minidl.arange(0, 5, 0), RuntimeError, "step must be nonzero"),
        (lambda: minidl.arange(0, 5, -1), RuntimeError, "inconsistent with step sign"),
        (lambda: minidl.arange(math.inf), RuntimeError, "unsupported range"),
        (lambda: minidl.linspace(0, 1, -1), RuntimeError, "must be non-negative"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call()
