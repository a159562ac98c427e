from __future__ import annotations

import numpy as np
import pytest

from minidl import kernels
from minidl.kernels.embedding import add_to_rows, embedding_backward


@pytest.mark.parametrize("n, d, rows", [(1, 1, 1), (33, 7, 5), (7, 1, 100), (0, 4, 3), (3, 0, 2)])
def test_variants_agree(n, d, rows, rng, compare):
    compare(embedding_backward, rng.standard_normal((n, d)).astype(np.float32), rng.integers(0, rows, n), rows)


def test_additions_happen_in_the_order_of_the_index():
    g = np.array([[1e8], [1.0], [-1e8]], np.float32)  # (1e8 + 1) - 1e8 is 0 in float32, any other order gives 1
    assert embedding_backward(g, np.zeros(3, np.int64), 1).tolist() == [[0.0]]
    assert embedding_backward.reference(g, np.zeros(3, np.int64), 1).tolist() == [[0.0]]


def test_other_layouts_take_the_reference(rng, compare):
    g, index = rng.standard_normal((6, 4)).astype(np.float32), rng.integers(0, 3, 6)
    compare(embedding_backward, g[:, ::2], index, 3, compiled=False)
    compare(embedding_backward, g, index.astype(np.int32), 3, compiled=False)
    compare(embedding_backward, g.astype(np.float64), index, 3, compiled=False)
    compare(embedding_backward, np.broadcast_to(g[:1], (6, 4)), index, 3, compiled=False)


@pytest.mark.parametrize("bad", [-1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_index_outside_is_refused(bad, dtype):
    with pytest.raises(IndexError, match=r"embedding_backward: indices from .* but there are 3 rows"):
        embedding_backward(np.ones((2, 2), dtype), np.array([1, bad]), 3)


def test_against_pytorch(rng):
    torch = pytest.importorskip("torch")
    g, index = rng.standard_normal((20, 3)), rng.integers(0, 6, 20)
    table = torch.zeros(6, 3, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.embedding(torch.tensor(index), table).backward(torch.tensor(g))
    np.testing.assert_allclose(embedding_backward(g, index, 6), table.grad, rtol=1e-14)


@pytest.mark.parametrize("n, d, rows", [(1, 1, 1), (33, 7, 5), (0, 4, 3), (40, 64, 9)])
@pytest.mark.parametrize("variant", ["numpy", "numba"])
def test_rows_are_added_in_place(n, d, rows, variant, rng):
    table, index = rng.standard_normal((rows, d)), rng.integers(0, rows, n)
    added = rng.standard_normal((n, d))
    wanted = table.copy()
    np.subtract.at(wanted, index, 0.5 * added)
    for dtype, tolerance in ((np.float32, 1e-5), (np.float64, 1e-14)):
        result = table.astype(dtype)
        with kernels.use(add_to_rows=variant):
            assert add_to_rows(result, index, added.astype(dtype), -0.5) is None
        np.testing.assert_allclose(result, wanted, rtol=tolerance, atol=tolerance)
