"""What is measured on a GPU: every CUDA kernel, all its versions, beside the same work in PyTorch.

A workload takes the `Machine` and returns the versions of a piece of work, its twin in PyTorch, and the least number of bytes
or operations that it needs (registry.py). On a machine without a GPU the same workloads run at small sizes, through
`minidl.testing.cuda_on_cpu`, as a test of this package.
"""

from .registry import WORKLOADS, Call, Machine, Work, first

# isort: off
# each of them registers its workloads, which are measured in this order
from . import (
    pointwise,
    reductions,
    normalization,
    training,
    products,
    sparse,
    recurrent,
    convolution,
    pooling,
    numba_cuda,
)
