"""Kernels that are in Numba-CUDA only, and the cases of others that theirs are made for."""

from __future__ import annotations

import warnings
from typing import Any

from ...kernels.activation import bias_activation, relu
from ...kernels.layout import row_major
from ...kernels.scan import histogram, prefix_sum
from ...kernels.sparse import spmm
from .registry import Machine, Work, versions, workload


@workload("relu 2^27")
def _relu(m: Machine) -> Work:
    x = m.normal(m.many(2**27, 5000))
    t = m.tensor(x)
    return Work(versions(relu, x), m.torch and (lambda: m.torch.relu(t)), 2 * x.nbytes)


@workload("bias + relu 32768 x 4096")
def _bias_relu(m: Machine) -> Work:
    x, b = m.normal(m.many(32768), m.many(4096, 512)), m.normal(m.many(4096, 512))
    t, c = m.tensor(x), m.tensor(b)
    return Work(versions(bias_activation, x, b, "relu"), m.torch and (lambda: m.torch.relu(t + c)), 2 * x.nbytes)


@workload("transpose 8192 x 8192")
def _transpose(m: Machine) -> Work:
    x = m.normal(m.many(8192, 40), m.many(8192, 30)).T
    t = m.tensor(x)
    return Work(versions(row_major, x), m.torch and (lambda: t.contiguous()), 2 * x.nbytes)


@workload("prefix sum of 2^24")
def _prefix_sum(m: Machine) -> Work:
    x = m.normal(m.many(2**24, 5000))
    t = m.tensor(x)
    twin = m.torch and (lambda: m.torch.cumsum(t, 0))
    return Work(versions(prefix_sum, x), twin, 2 * x.nbytes, tolerance=1e-3)  # of numbers that cancel


@workload("histogram of 2^26 numbers below 256")
def _histogram(m: Machine) -> Work:
    keys = m.random.integers(0, 256, m.many(2**26, 5000))
    t = m.tensor(keys)
    return Work(versions(histogram, keys, 256), m.torch and (lambda: m.torch.bincount(t, minlength=256)), keys.nbytes)


@workload("sparse matrix 2^18 x 2^18, 32 a row, times a vector")
def _spmv(m: Machine) -> Work:
    rows = m.many(2**18, 50)
    columns = (m.random.integers(0, rows, (rows, 1)) + m.xp.arange(32) * (rows // 32)) % rows  # all over the vector
    indices = m.xp.sort(columns).reshape(-1).astype(m.xp.int32)
    pointers, values, x = m.xp.arange(rows + 1) * 32, m.normal(32 * rows), m.normal(rows)
    twin = None
    if m.torch:
        places = m.tensor(pointers), m.tensor(indices.astype(m.xp.int64))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that such tensors are in beta
            t = m.torch.sparse_csr_tensor(*places, m.tensor(values), (rows, rows), check_invariants=True)
        u = m.tensor(x)

        def twin() -> Any:
            return t @ u

    return Work(versions(spmm, values, x, pointers, indices), twin, 8 * values.size + 8 * rows)
