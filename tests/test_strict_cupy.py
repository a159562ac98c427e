"""The stand-in for CuPy refuses what CuPy refuses and differs where CuPy differs from NumPy."""

from __future__ import annotations

import copy
import json
import pickle
import sys

import numpy as np
import pytest

from minidl.testing import strict_cupy
from minidl.testing.strict_cupy import record


@pytest.fixture
def cp():
    with strict_cupy.installed():
        import cupy

        yield cupy


def test_it_is_there_only_within_the_block():
    before = sys.modules.get("cupy")
    with strict_cupy.installed():
        import cupy
        import cupyx.scipy.special

        assert sys.modules["cupy"] is cupy and type(cupy.zeros(1)).__module__ == "cupy" and cupyx.scipy.special.erf
    assert sys.modules.get("cupy") is before


REFUSED = {
    "numpy array on the right": lambda cp, x: x + np.ones(3),
    "numpy array on the left": lambda cp, x: np.ones(3) + x,
    "numpy array without dimensions": lambda cp, x: x * np.array(2.0),
    "numpy array in place": lambda cp, x: x.__iadd__(np.ones(3)),
    "numpy array in a function": lambda cp, x: cp.concatenate([x, np.ones(3)]),
    "numpy array as a value": lambda cp, x: x.__setitem__(slice(0, 2), np.ones(2)),
    "numpy's functions on both": lambda cp, x: np.add(x, np.ones(3)),
    "conversion": lambda cp, x: np.asarray(x),
    "conversion by a function": lambda cp, x: np.array([x, x]),
    "a function that CuPy lacks": lambda cp, x: np.frompyfunc(abs, 1, 1)(x),
    "another one": lambda cp, x: np.insert(x, 0, 1),
    "an argument that CuPy lacks": lambda cp, x: cp.sum(x, where=x > 0),
    "initial values": lambda cp, x: x.max(initial=0.0),
    "where= of a ufunc": lambda cp, x: cp.add(x, x, where=x > 0),
    "accumulate": lambda cp, x: cp.maximum.accumulate(x),
    "multiply.at": lambda cp, x: cp.multiply.at(x, cp.asarray([0]), x[:1]),
    "at of bytes": lambda cp, x: cp.add.at(x.astype("b"), cp.asarray([0]), x[:1].astype("b")),
    "other sorts": lambda cp, x: cp.sort(x, kind="quicksort"),
    "ndarray as the end of a slice": lambda cp, x: x[: cp.asarray(2)],
    "ndarray as a size": lambda cp, x: range(cp.asarray(2)),
    "the truth of several": lambda cp, x: bool(x > 0),
    "the truth of none": lambda cp, x: bool(x[:0]),
    "nonzero without dimensions": lambda cp, x: x.sum().nonzero(),
    "objects": lambda cp, x: cp.array([None, "a"]),
    "flags that CuPy lacks": lambda cp, x: x.flags.writeable,
    "numpy's address": lambda cp, x: x.__array_interface__,
    "a Python condition": lambda cp, x: cp.where(True, x, x),
    "complex to real": lambda cp, x: (x * 1j).astype("f"),
    "bool minus bool": lambda cp, x: (x > 0) - (x > 0),
    "solve with broadcasting": lambda cp, x: cp.linalg.solve(cp.eye(2)[None], cp.ones((3, 2, 1))),
    "unique rows of bools": lambda cp, x: cp.unique(cp.ones((2, 2), bool), axis=0),
    "an element named twice": lambda cp, x: x.__setitem__(cp.asarray([0, 0]), cp.asarray([1.0, 2.0])),
    "out= of another kind": lambda cp, x: cp.add(x, x, out=np.ones(3)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(cp, what):
    with pytest.raises((TypeError, ValueError, NotImplementedError, AttributeError, AssertionError)):
        REFUSED[what](cp, cp.asarray([1.0, 2.0, 3.0]))


def test_scalars_are_arrays_without_dimensions(cp):
    x = cp.arange(6.0).reshape(2, 3)
    for scalar in (x.sum(), x[0, 1], x.max(), cp.sqrt(2.0), cp.allclose(x, x), x.mean(), x[0][0], cp.linalg.norm(x)):
        assert type(scalar) is cp.ndarray and scalar.shape == ()
    assert x.sum().item() == 15 and float(x[1, 2]) == 5 and f"{x[0, 1]:.2f}" == "1.00" and bool(x[0, 1])
    assert (
        x.tolist() == [[0, 1, 2], [3, 4, 5]]
        and isinstance(x.get(), np.ndarray)
        and isinstance(cp.asnumpy(x), np.ndarray)
    )


def test_numpys_functions_are_cupys_where_there_are_such(cp):
    x = cp.asarray([1.0, 4.0])
    for result in (
        np.sqrt(x),
        np.sum(x),
        np.where(x > 1, x, 0.0),
        np.zeros_like(x),
        np.float32(2) * x,
        2 - x,
        np.linalg.norm(x),
    ):
        assert type(result) is cp.ndarray
    assert (np.float32(2) * x.astype("f")).dtype == np.float32 and (x.astype("f") * 2.5).dtype == np.float32


def test_types_are_those_of_cupys_loops(cp):
    import cupyx.scipy.special as special

    x = cp.ones(2, np.float16)
    assert special.erf(x).dtype == np.float64 and cp.exp(x).dtype == np.float16
    assert cp.sqrt(cp.ones(2, np.int32)).dtype == np.float64 and (cp.ones(2, np.uint8) / 2).dtype == np.float64
    with pytest.raises(TypeError, match="Wrong type"):
        cp.logical_not(x.astype("F"))


def test_indices_wrap_around_and_memory_is_not_cleared(cp):
    x = cp.arange(3)
    assert x[cp.asarray([4, -4])].tolist() == [1, 2] and x.take([5]).tolist() == [2]
    with pytest.raises(IndexError):
        x[5]
    assert np.isnan(cp.empty(2).get()).all() and (cp.empty(2, np.int8).get() != 0).all()


def test_results_lie_in_c_order_and_views_know_their_base(cp):
    x = cp.arange(6.0).reshape(2, 3)
    turned = x.T
    assert turned.base is x.base and turned[0].base is x.base and turned.data.mem is x.data.mem
    assert (turned + 1).flags.c_contiguous and turned.flags.f_contiguous and not turned.flags.owndata
    assert (x + 1).base is None and cp.asarray(x) is x and cp.ascontiguousarray(x) is x
    windows = cp.lib.stride_tricks.as_strided(x, (2, 2), (8, 8))
    assert windows.base is None and windows.data.mem is x.data.mem  # as in CuPy
    turned[0] = 9.0
    assert x[:, 0].tolist() == [9, 9]


def test_solvers_are_silent_unless_asked(cp):
    import cupyx

    assert np.isnan(cp.linalg.inv(cp.ones((2, 2))).get()).all()
    with cupyx.errstate(linalg="raise"), pytest.raises(np.linalg.LinAlgError):
        cp.linalg.inv(cp.ones((2, 2)))


def test_copies_and_the_pool(cp):
    pool = cp.get_default_memory_pool()
    before = pool.used_bytes()
    x = cp.ones(1000)
    assert pool.used_bytes() - before == 8192  # in units of 512
    view = x[10:]
    del x
    assert pool.used_bytes() - before == 8192
    del view
    assert pool.used_bytes() == before
    x = cp.arange(3)
    for y in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert type(y) is cp.ndarray and y.tolist() == [0, 1, 2]


def test_the_interface_is_that_of_the_cupy_that_is_installed():
    cupy = pytest.importorskip("cupy")
    recorded = json.loads(record.FILE.read_text())
    if cupy.__version__ != recorded["version"]:
        pytest.skip(f"api.json was recorded from CuPy {recorded['version']}, this is {cupy.__version__}")
    assert record.record() == recorded
