"""minidl on the samples that PyTorch tests its own sparse operations with."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

import minidl as md

pytest.importorskip("expecttest", reason="PyTorch's databases need it")
torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")  # PyTorch's, of many kinds

LEFT_OUT = {
    "conj": "a sample in complex numbers only",
    "isneginf": "a comparison with 0 is not sparse", "isposinf": "as isneginf",
    "angle": "of negative numbers it is pi; PyTorch has it for CSR alone",
    "zeros_like": "sparse_coo_tensor(size) is the sparse tensor of zeros",
    "randn_like": "random values are given to sparse_coo_tensor",
    "to_sparse": "its samples are dense: the other tests have it",
    "masked.sum": "torch.masked is not there", "masked.prod": "as masked.sum", "masked.mean": "as masked.sum",
    "masked.amax": "as masked.sum", "masked.amin": "as masked.sum",
}  # fmt: skip
LAYOUTS = ("coo", "csr", "csc")


def to_minidl(t):
    if not isinstance(t, torch.Tensor):
        return t
    t = t.detach()
    if t.layout == torch.strided:
        return md.tensor(t.numpy())
    if t.layout == torch.sparse_coo:
        parts = (t._indices().numpy(), t._values().numpy())
        return md.sparse_coo_tensor(*parts, tuple(t.shape), is_coalesced=t.is_coalesced())
    csr = t.layout == torch.sparse_csr
    pointers, plain = (t.crow_indices(), t.col_indices()) if csr else (t.ccol_indices(), t.row_indices())
    make = md.sparse_csr_tensor if csr else md.sparse_csc_tensor
    return make(pointers.numpy(), plain.numpy(), t.values().numpy(), tuple(t.shape))


def compressed_batches(t):
    return isinstance(t, torch.Tensor) and t.layout not in (torch.strided, torch.sparse_coo) and t.ndim != 2


def samples(op, layout):
    """Sample calls of an operation with a sparse input of the layout: PyTorch's own, or its dense ones made sparse."""
    if op.name.startswith("sparse."):
        found = op.sample_inputs_func(op, "cpu", torch.float64, False) if layout == "csr" else ()
    elif op.name in ("mul", "sum"):
        found = getattr(op, f"sample_inputs_sparse_{layout}")("cpu", torch.float64)
    else:
        found = op.sample_inputs_func(op, "cpu", torch.float64, False)
    for s in itertools.islice(found, 60):
        if op.name not in ("mul", "sum") and s.input.layout == torch.strided:
            if s.input.ndim != 2:
                continue
            s.input = s.input.to_sparse(layout=getattr(torch, f"sparse_{layout}"))
        if not any(map(compressed_batches, (s.input, *s.args))):
            yield s


def test_operators():
    from torch.testing._internal.common_methods_invocations import op_db

    compared, missing, differing = 0, set(), {}
    for op in op_db:
        named = [lay for lay in LAYOUTS if getattr(op, f"supports_sparse{'' if lay == 'coo' else '_' + lay}", False)]
        if op.name.startswith("sparse."):
            named = ["csr"]
        if not named or torch.float64 not in op.dtypes:
            continue
        if op.name in LEFT_OUT:
            missing.add(op.name)
            continue
        ours = functools.reduce(getattr, op.name.split("."), md)
        for layout in named:
            for s in samples(op, layout):
                compared += 1
                theirs = op.op(s.input, *s.args, **s.kwargs)
                try:
                    result = ours(*map(to_minidl, (s.input, *s.args)), **s.kwargs)
                    assert tuple(result.shape) == tuple(theirs.shape) and str(result.dtype) == str(theirs.dtype)
                    np.testing.assert_allclose(
                        result.to_dense().numpy(), theirs.to_dense().numpy(), rtol=1e-12, atol=1e-12
                    )
                except Exception as error:
                    differing.setdefault(f"{op.name} {layout}", f"{s}: {error!r}"[:400])
    assert not differing, "\n".join(f"{name}: {why}" for name, why in differing.items())
    assert missing == set(LEFT_OUT), f"take off the list: {set(LEFT_OUT) - missing}"
    assert compared > 150, compared
