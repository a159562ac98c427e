"""The manners of a Tensor: conversions, protocols, copies, legacy constructor, devices."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import minidl as md
from minidl import nn

pytestmark = pytest.mark.tiny


def test_importing_minidl_imports_numpy_and_nothing_large():
    code = (
        "import sys, minidl; x = minidl.ones(2, requires_grad=True); (x * 2).sum().backward(); "
        "print(*[m for m in ('numba', 'scipy', 'sklearn', 'rich', 'typer', 'matplotlib', 'torch', 'cupy', 'json') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_numpy_shares_memory_and_refuses_a_tensor_with_a_gradient():
    x = md.zeros(3)
    x.numpy()[1] = 5
    assert x.tolist() == [0, 5, 0]
    x.requires_grad_()
    with pytest.raises(RuntimeError, match="detach"):
        x.numpy()
    with pytest.raises(RuntimeError, match="detach"):
        np.asarray(x)
    np.testing.assert_array_equal(x.numpy(force=True), [0, 5, 0])


def test_numpy_functions_take_tensors():
    x = md.tensor([[1.0, 2.0]])
    assert np.asarray(x).dtype == np.float32
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert np.array(x, copy=True) is not x.numpy()
    np.testing.assert_array_equal(np.concatenate([x, x]), [[1, 2], [1, 2]])


def test_an_array_meets_a_tensor_from_the_left():
    x = md.tensor([1.0, 2.0], requires_grad=True)
    y = np.array([3.0, 4.0], np.float32) * x
    assert isinstance(y, md.Tensor)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3, 4])


def test_dlpack_both_ways():
    x = md.arange(6.0).reshape(2, 3)
    array = np.from_dlpack(x)
    array = array.copy() if not array.flags.writeable else array
    np.testing.assert_array_equal(array, x.numpy())
    assert md.from_dlpack(np.arange(3)).tolist() == [0, 1, 2]
    torch = pytest.importorskip("torch")
    assert torch.from_dlpack(x).tolist() == x.tolist()
    assert md.from_dlpack(torch.arange(3.0)).tolist() == [0, 1, 2]


def test_one_element_becomes_a_number():
    x = md.tensor([[2.5]])
    assert (x.item(), float(x), int(x)) == (2.5, 2.5, 2)
    assert f"{md.tensor(2.5):.2f}" == "2.50"
    assert f"{md.tensor(7):03d}" == "007"
    assert bool(md.tensor([True])) and not md.tensor(0.0)
    assert [10, 20, 30][md.tensor(1)] == 20
    for many in (md.zeros(2), md.zeros(0)):
        with pytest.raises(RuntimeError, match="Scalar"):
            many.item()
        with pytest.raises(RuntimeError, match="ambiguous"):
            bool(many)
    with pytest.raises(TypeError, match="index"):
        [1, 2][md.tensor(1.0)]


def test_a_tensor_with_dimensions_has_no_format():
    with pytest.raises(TypeError):
        f"{md.zeros(2):.2f}"
    assert f"{md.zeros(2)}" == "tensor([0., 0.])"


def test_iteration_length_and_membership():
    x = md.tensor([[1, 2], [3, 4]])
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    assert len(x) == 2
    assert 3 in x and 7 not in x
    first, b = x
    assert (first.tolist(), b.tolist()) == ([1, 2], [3, 4])
    assert [r.tolist() for r in reversed(x)] == [[3, 4], [1, 2]]
    for wrong in (lambda: len(md.tensor(1)), lambda: iter(md.tensor(1))):
        with pytest.raises(TypeError, match="0-d"):
            wrong()
    with pytest.raises(RuntimeError, match="__contains__"):
        "a" in x  # noqa: B015


def test_iterating_keeps_the_graph():
    x = md.tensor([1.0, 2.0], requires_grad=True)
    sum(row * i for i, row in enumerate(x, 1)).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1, 2])


def test_comparisons_give_tensors_and_tensors_are_keys():
    x = md.tensor([1.0, 2.0])
    assert (x == 1).tolist() == [True, False]
    assert (x != x).tolist() == [False, False]
    assert (x == "a") is False
    assert len({x: 1, x.clone(): 2}) == 2


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickling(protocol):
    x = md.tensor([[1.0, 2.0]], requires_grad=True)
    y = pickle.loads(pickle.dumps(x, protocol))
    assert y.requires_grad and y.is_leaf and y.tolist() == x.tolist()
    p = pickle.loads(pickle.dumps(nn.Parameter(md.ones(2)), protocol))
    assert type(p) is nn.Parameter and p.requires_grad


def test_deepcopy_copies_memory_gradient_and_sharing():
    x = md.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    both = copy.deepcopy({"a": x, "b": x})
    assert both["a"] is both["b"] is not x
    assert both["a"].grad.tolist() == [2, 4] and both["a"].grad is not x.grad
    with md.no_grad():
        both["a"].zero_()
    assert x.tolist() == [1, 2]
    with pytest.raises(RuntimeError, match="detach"):
        copy.deepcopy(x * 2)


def test_a_deep_copied_model_learns_on_its_own():
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    twin = copy.deepcopy(model)
    twin(md.ones(1, 2)).sum().backward()
    assert model[0].weight.grad is None and twin[0].weight.grad is not None


def test_legacy_constructor():
    assert md.Tensor(2, 3).shape == (2, 3)
    assert md.Tensor([1, 2]).dtype is md.float32
    assert md.Tensor().shape == (0,)
    assert md.Tensor(md.Size([2])).shape == (2,)


def test_there_is_no_gpu_or_it_is_used():
    assert md.zeros(1).device == md.device("cpu")
    assert str(md.device("cuda:1")) == "cuda:1" and md.device("cuda", 1) == md.device("cuda:1")
    with pytest.raises(RuntimeError, match="xpu"):
        md.device("xpu")


def test_size_is_a_tuple_with_numel():
    shape = md.zeros(2, 3).shape
    assert shape == (2, 3) and shape.numel() == 6 and repr(shape) == "torch.Size([2, 3])"
    assert repr(shape[:1]) == "torch.Size([2])" and isinstance(shape[0], int)
    assert repr(shape + shape) == "torch.Size([2, 3, 2, 3])"


def test_metadata_against_pytorch():
    torch = pytest.importorskip("torch")
    for make in (lambda m: m.zeros(2, 3, 4), lambda m: m.zeros(2, 3, 4).transpose(0, 2), lambda m: m.zeros(6)[1::2]):
        ours, theirs = make(md), make(torch)
        for name in ("stride", "storage_offset", "is_contiguous", "dim", "numel", "element_size", "is_floating_point"):
            assert getattr(ours, name)() == getattr(theirs, name)(), name
        assert (ours.nbytes, ours.ndim, ours.size(0), ours.size(-1)) == (
            theirs.nbytes, theirs.ndim, theirs.size(0), theirs.size(-1)
        )  # fmt: skip


@pytest.mark.parametrize(
    "operator, start, other, result",
    [
        ("iadd", [1.0, 2.0], 2, [3, 4]), ("isub", [1.0, 2.0], 2, [-1, 0]), ("imul", [1.0, 2.0], 2, [2, 4]),
        ("itruediv", [1.0, 2.0], 2, [0.5, 1]), ("ifloordiv", [5.0, -5.0], 2, [2, -3]), ("imod", [5.0, -5.0], 3, [2, 1]),
        ("ipow", [2.0, 3.0], 2, [4, 9]), ("iand", [6, 3], 5, [4, 1]), ("ior", [6, 3], 1, [7, 3]),
        ("ixor", [6, 3], 5, [3, 6]), ("ilshift", [1, 2], 2, [4, 8]), ("irshift", [8, 4], 2, [2, 1]),
    ],
)  # fmt: skip
def test_augmented_assignment_writes_into_the_tensor(operator, start, other, result):
    import operator as operators

    x = md.tensor(start)
    view, same = x[:], x
    x = getattr(operators, operator)(x, other)
    assert x is same and x.tolist() == result and view.tolist() == result and x._version == 1


def test_a_parameter_is_updated_in_place_without_a_graph():
    w = md.tensor([1.0, 2.0], requires_grad=True)
    (w * w).sum().backward()
    before = w
    with md.no_grad():
        w -= 0.5 * w.grad
    assert w is before and w.requires_grad and w.is_leaf and w.tolist() == [0, 0]
    with pytest.raises(RuntimeError, match="leaf"):
        w += 1
