"""Changes of dtype, device and layout."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..autograd import op as _op
from ..autograd.op import Op
from ..kernels.cast import astype
from ..layouts import sparse_bsc, sparse_bsr, sparse_coo, sparse_csc, sparse_csr, strided
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples


class Cast(Op):
    """The same values in another dtype."""

    complex_rule = exact = True

    def forward(self, x: Any, *, dtype: Any) -> Any:
        self.dtype = x.dtype
        if x.dtype.kind == "c" and dtype.kind != "c":
            x = x.real
        return astype(x, dtype)

    def backward(self, g: Any) -> Any:
        return cast(g, self.dtype)


@samples(Cast)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), dtype=np.dtype(np.float64))


def cast(x: Any, dtype: Any) -> Any:
    """x in a dtype (NumPy's), itself if it has it already."""
    array = x.array if isinstance(x, Tensor) else x
    return x if array.dtype == dtype else Cast.apply(x, dtype=np.dtype(dtype))


_op._cast = cast


class Move(Op):
    """The same values on another device."""

    complex_rule = exact = True

    def forward(self, x: Any, *, device: Any) -> Any:
        from ..devices import move, of_array

        self.device = of_array(x)
        return move(x, device)

    def backward(self, g: Any) -> Any:
        return Move.apply(g, device=self.device)


@samples(Move)
def _(make: Any) -> Any:
    from ..devices import CPU

    yield Sample(make(2, 3), device=CPU)


@method()
def to(input: Tensor, *args: Any, dtype: Any = None, device: Any = None, copy: bool = False, **ignored: Any) -> Tensor:
    """The tensor with another dtype and on another device: x.to(float64), x.to("cuda"), x.to(other). Itself if it is so."""
    from .. import devices

    if ignored and (unknown := set(ignored) - {"non_blocking", "memory_format"}):
        raise TypeError(f"to: unexpected argument {', '.join(sorted(unknown))}")
    for argument in args:
        if callable(argument) and isinstance(getattr(argument, "dtype", None), dtypes.dtype):
            # x.type(torch.FloatTensor)
            dtype, device = argument.dtype, argument.device
            continue
        if isinstance(argument, Tensor):
            dtype, device = argument.dtype, argument.device
        elif isinstance(argument, (str, int, devices.device)) and not isinstance(argument, bool):
            device = argument
        elif isinstance(argument, dtypes.dtype) or argument in (float, int, bool, complex):
            dtype = argument
        elif not isinstance(argument, bool) and argument is not None:
            raise TypeError(f"to: expected a dtype, a device or a tensor, got {argument!r}")
    result = input
    if device is not None and devices.move(input.array, devices.device(device)) is not input.array:
        result = Move.apply(result, device=devices.device(device))
    if dtype is not None:
        result = cast(result, dtypes.as_array_dtype(dtype))
    return result.clone() if copy and result is input else result


def _conversion(name: str, target: dtypes.dtype | None) -> None:
    @method(name)
    def convert(input: Tensor, memory_format: Any = None) -> Tensor:
        return input.to(dtype=target)

    convert.__name__ = name
    convert.__doc__ = f"The tensor in {target!r}."


for _name, _target in (
    ("float", dtypes.float32), ("double", dtypes.float64), ("half", dtypes.float16), ("bfloat16", dtypes.bfloat16), ("int", dtypes.int32),
    ("long", dtypes.int64), ("short", dtypes.int16), ("char", dtypes.int8), ("byte", dtypes.uint8),
    ("bool", dtypes.bool_), ("cfloat", dtypes.complex64), ("cdouble", dtypes.complex128),
):  # fmt: skip
    _conversion(_name, _target)


@method("type")
def _type(input: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """Without an argument the name of the tensor's type ("torch.FloatTensor"), else the tensor in that type."""
    names = {"float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long", "int32": "Int",
             "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool"}  # fmt: skip
    if dtype is None:
        return f"torch.{'cuda.' * input.is_cuda}{names.get(input.dtype.name, input.dtype.name)}Tensor"
    if isinstance(dtype, str):
        by_name = {v: k for k, v in names.items()}
        dtype = dtypes.ALL[by_name[dtype.rpartition(".")[2].removesuffix("Tensor")]]
    return input.to(dtype)


@method()
def type_as(input: Tensor, other: Tensor) -> Tensor:
    """The tensor in the dtype of another."""
    return input.to(other.dtype)


@method()
def cpu(input: Tensor) -> Tensor:
    """The tensor in the CPU's memory."""
    return input.to(device="cpu")


@method()
def cuda(input: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """The tensor on a GPU. Raises RuntimeError where there is none."""
    return input.to(device="cuda" if device is None else device)


# Layouts. The sparse ones are made in minidl.sparse, which is imported when the first sparse tensor is


@method()
def to_sparse(
    input: Tensor, sparse_dim: int | None = None, *, layout: Any = None, blocksize: tuple[int, int] | None = None
) -> Any:
    """The elements that are not 0 as a sparse tensor, of layout sparse_coo unless given.

    sparse_dim: how many leading dimensions are sparse (default all); the others are stored whole where one element is not 0.
    blocksize: for the layouts sparse_bsr and sparse_bsc, the rows and columns of a block.

    Example:
        >>> minidl.tensor([[0.0, 0.0, 3.0]]).to_sparse()
        tensor(indices=tensor([[0],
                               [2]]),
               values=tensor([3.]),
               size=(1, 3), nnz=1, layout=torch.sparse_coo)
    """
    from ..sparse.creation import from_dense

    return from_dense(input, sparse_dim, sparse_coo if layout is None else layout, blocksize)


@method()
def to_sparse_coo(input: Tensor) -> Any:
    """The elements that are not 0 with their coordinates."""
    return to_sparse(input)


@method()
def to_sparse_csr(input: Tensor) -> Any:
    """The elements of a matrix that are not 0, row by row."""
    return to_sparse(input, layout=sparse_csr)


@method()
def to_sparse_csc(input: Tensor) -> Any:
    """The elements of a matrix that are not 0, column by column."""
    return to_sparse(input, layout=sparse_csc)


@method()
def to_sparse_bsr(input: Tensor, blocksize: tuple[int, int]) -> Any:
    """The blocks (R, C) of a matrix that have an element that is not 0, row by row.

    Example:
        >>> minidl.eye(4).to_sparse_bsr((2, 2)).values().shape
        torch.Size([2, 2, 2])
    """
    return to_sparse(input, layout=sparse_bsr, blocksize=blocksize)


@method()
def to_sparse_bsc(input: Tensor, blocksize: tuple[int, int]) -> Any:
    """The blocks (R, C) of a matrix that have an element that is not 0, column by column."""
    return to_sparse(input, layout=sparse_bsc, blocksize=blocksize)


@method()
def to_dense(input: Tensor, dtype: Any = None, *, masked_grad: bool | None = None) -> Tensor:
    """The tensor itself: it is dense."""
    return input if dtype is None else input.to(dtype)


@method()
def sparse_mask(input: Tensor, mask: Any) -> Any:
    """The values of a tensor at the places that the sparse tensor `mask`, of its shape, stores."""
    if mask.layout is strided:
        raise TypeError(f"sparse_mask: mask must be a sparse tensor, got a dense one of shape {list(mask.shape)}")
    return mask.like(mask.sampled(input))


__all__: list[str] = []  # methods only
