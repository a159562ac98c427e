"""PyTorch's older names, and methods that ask about a tensor."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md


@pytest.mark.tiny
def test_legacy_types():
    x = md.LongTensor([1, 2])
    assert x.dtype is md.int64 and md.FloatTensor(2, 3).shape == (2, 3) and md.FloatTensor().shape == (0,)
    assert isinstance(x, md.LongTensor) and not isinstance(x, md.FloatTensor) and not isinstance(3, md.LongTensor)
    assert x.type(md.DoubleTensor).dtype is md.float64 and x.type("torch.ByteTensor").dtype is md.uint8
    assert x.new(2).dtype is md.int64 and x.new([3.7]).tolist() == [3]
    assert repr(md.FloatTensor) == "torch.FloatTensor" and md.typename(x) == "torch.LongTensor"
    assert md.typename(md.nn.ReLU()).endswith("activation.ReLU") and md.typename(3) == "int"


def test_ranges_that_include_their_end():
    assert md.range(1, 4).tolist() == [1, 2, 3, 4] and md.range(0, 1, 0.5).tolist() == [0, 0.5, 1]
    with pytest.raises(RuntimeError, match="does not lead"):
        md.range(3, 1)


def test_functions_that_write():
    x = md.tensor([-1.0, 4.0])
    assert md.relu_(x) is x and md.sqrt_(x).tolist() == [0, 2] and md.detach(x).tolist() == [0, 2]
    with pytest.raises(AttributeError):
        md.no_such_function_  # noqa: B018


def test_questions():
    x = md.zeros(2, 3)
    assert x.is_same_size(md.ones(2, 3)) and not md.is_same_size(x, md.ones(3))
    assert x.view(2, 3).is_set_to(x) and not x.is_set_to(x.clone()) and x.is_cpu and not x.is_nested
    assert md.is_nonzero(md.tensor([2])) and md.is_signed(x) and not md.is_signed(md.zeros(1, dtype=md.uint8))
    assert not x.is_conj() and not md.is_neg(x) and not x.is_pinned() and md.get_device(x) == x.get_device() == -1
    assert x.dim_order() == (0, 1) and x.T.dim_order() == (1, 0) and x.cfloat().dtype is md.complex64
    with pytest.raises(RuntimeError, match="ambiguous"):
        md.is_nonzero(x)


def test_memory():
    x = md.arange(6.0).reshape(2, 3)
    part = x[1, 1:]
    storage = part.untyped_storage()
    assert storage.data_ptr() == x.untyped_storage().data_ptr() and storage.nbytes() == len(storage) == 24
    assert bytes(storage.tolist()) == np.arange(6, dtype=np.float32).tobytes() and md.is_storage(storage)
    y = md.zeros(0)
    y.set_(x)
    y[0, 0] = 7
    assert x[0, 0].item() == 7
    with pytest.raises(RuntimeError, match="requires grad"):
        md.ones(1, requires_grad=True).set_(x)
    assert md.from_dlpack(x).data_ptr() == x.data_ptr()


def test_subclasses():
    class Named(md.Tensor):
        pass

    x = md.ones(2, requires_grad=True)
    y = (x * 2).as_subclass(Named)
    assert type(y) is Named and y.grad_fn is not None
    y.sum().backward()
    assert x.grad.tolist() == [2, 2]
    with pytest.raises(TypeError, match="subclass of Tensor"):
        x.as_subclass(int)


def test_python_functions_number_by_number():
    x = md.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x.apply_(lambda v: v * v).tolist() == [[1, 4], [9, 16]]
    assert x.map_(md.ones(2), lambda a, b: a + b).tolist() == [[2, 5], [10, 17]]
    assert x.map2_(x, md.ones(2, 2), lambda a, b, c: b - c).tolist() == [[1, 4], [9, 16]]
    with pytest.raises(RuntimeError, match="has no gradient"):
        md.ones(2, requires_grad=True).apply_(abs)
    with pytest.raises(RuntimeError, match="do not broadcast"):
        md.ones(2).map_(md.ones(3, 2), lambda a, b: a)


def test_diagonals_and_counts():
    torch = pytest.importorskip("torch")
    for shape, options in (
        ((3, 3), {}),
        ((7, 3), {}),
        ((7, 3), {"wrap": True}),
        ((3, 7), {"wrap": True}),
        ((3, 3, 3), {}),
    ):
        ours, theirs = (m.zeros(shape).fill_diagonal_(5, **options) for m in (md, torch))
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    with pytest.raises(RuntimeError, match="one size"):
        md.zeros(2, 3, 4).fill_diagonal_(1)
    x = md.tensor([[0, 1], [2, 3]])
    assert md.nonzero_static(x, size=2).tolist() == [[0, 1], [1, 0]]
    assert x.nonzero_static(size=4, fill_value=-7).tolist() == [[0, 1], [1, 0], [1, 1], [-7, -7]]


def test_strides_of_new_tensors():
    x = md.empty_strided((2, 3), (1, 2))
    assert x.stride() == (1, 2) and x.shape == (2, 3)
    assert md.empty_permuted((2, 3, 5), (0, 2, 1)).stride() == (15, 1, 3)
    assert x.new_empty_strided((2,), (3,), dtype=md.int64).dtype is md.int64
    with pytest.raises(RuntimeError, match="as many strides"):
        md.empty_strided((2,), (1, 2))
    torch = pytest.importorskip("torch")
    for m, out in ((md, ours := []), (torch, theirs := [])):
        out.append(m.as_strided_scatter(m.zeros(3, 3), m.ones(2, 2), (2, 2), (1, 2), 1).tolist())
    assert ours == theirs
    # the gradient is that of the elements that stay; PyTorch's is that of the others
    x = md.zeros(3, requires_grad=True)
    md.as_strided_scatter(x, md.ones(1), (1,), (1,), 1).sum().backward()
    assert x.grad.tolist() == [1, 0, 1]


def test_histograms_of_points():
    torch = pytest.importorskip("torch")
    x, w = np.random.default_rng(0).standard_normal((20, 2)), np.arange(20.0)
    for bins, options in (
        ([3, 4], {}), (3, {"density": True}), ([2, 2], {"range": [-1.0, 1.0, -2.0, 0.5], "weight": w}),
    ):  # fmt: skip
        results = []
        for m in (torch, md):
            given = {k: m.tensor(v) if k == "weight" else v for k, v in options.items()}
            results.append(m.histogramdd(m.tensor(x), bins, **given))
        np.testing.assert_allclose(results[1].hist.numpy(), results[0].hist.numpy())
        for a, b in zip(results[1].bin_edges, results[0].bin_edges, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-12)
    with pytest.raises(RuntimeError, match="2 dimensions"):
        md.histogramdd(md.tensor(x), [2, 2, 2])


def test_threads():
    before = md.get_num_threads()
    try:
        md.set_num_threads(1)
        assert md.get_num_threads() == 1
        with pytest.raises(RuntimeError, match="positive"):
            md.set_num_threads(0)
    finally:
        md.set_num_threads(before)
    assert md.get_num_interop_threads() == 1 and md.set_flush_denormal(True) is False


def test_tensors_are_compared():
    close = md.testing.assert_close
    close(md.tensor([1.0, 2.0]), md.tensor([1.0, 2.0000001]))
    close({"a": [1, 2.0]}, {"a": [1, 2.0]})
    close(md.tensor([float("nan")]), md.tensor([float("nan")]), equal_nan=True)
    for a, b, message in (
        (
            md.ones(2),
            md.tensor([1.0, 1.1]),
            r"Mismatched elements: 1 / 2 \(50.0%\)\nGreatest absolute difference: 0.1000",
        ),
        (md.ones(2), md.ones(3), r"'shape' do not match: torch.Size\(\[2\]\) != torch.Size\(\[3\]\)"),
        (md.ones(2), md.ones(2).double(), "'dtype' do not match"),
        ({"a": [md.ones(1)]}, {"a": [md.zeros(1)]}, r"failure occurred for item \['a'\]\[0\]"),
        ([1], [1, 2], "length of the sequences"),
        (1.0, 1.1, "Scalars are not close"),
        (md.tensor([float("nan")]), md.tensor([float("nan")]), "nan at index"),
    ):
        with pytest.raises(AssertionError, match=message):
            close(a, b)
    close(md.ones(2), md.ones(2).double(), check_dtype=False)
    with pytest.raises(AssertionError, match="mine"):
        close(1, 2, msg="mine")
    with pytest.raises(ValueError, match="both"):
        close(1, 2, rtol=1)


def test_tensors_to_compare():
    x = md.testing.make_tensor(50, 3, dtype=md.int64, low=0, high=3)
    assert x.shape == (50, 3) and set(x.flatten().tolist()) == {0, 1, 2}
    y = md.testing.make_tensor((4, 4), dtype=md.float32, noncontiguous=True, requires_grad=True)
    assert not y.is_contiguous() and y.requires_grad and y.is_leaf
    assert bool((md.testing.make_tensor(40, dtype=md.int8, low=0, high=2, exclude_zero=True) == 1).all())
