"""Sparse tensors: those of which only the elements that are not zero are stored.

`minidl.sparse_coo_tensor`, `minidl.sparse_csr_tensor`, `minidl.sparse_bsr_tensor` and `Tensor.to_sparse` make them. pattern.py
says which elements are stored, and blocks.py which blocks of elements, tensor.py joins that with their values, forms.py says what
dense operations do on them, functions.py has what is sparse only. Two operations do the work, in ops/sparse.py, and their
kernels, in kernels/sparse.py; for blocks kernels/block_sparse.py.
"""

from . import forms  # from here on dense operations know what to do with sparse tensors
from .creation import (
    ByteTensor,
    CharTensor,
    DoubleTensor,
    FloatTensor,
    HalfTensor,
    IntTensor,
    LongTensor,
    ShortTensor,
)
from .functions import addmm, log_softmax, mm, sampled_addmm, softmax, spdiags, sum
from .tensor import SparseTensor

__all__ = [
    "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor", "IntTensor", "LongTensor", "ShortTensor",
    "SparseTensor", "addmm", "log_softmax", "mm", "sampled_addmm", "softmax", "spdiags", "sum",
]  # fmt: skip
