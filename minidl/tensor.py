"""Tensor: an array and its place in the graph.

Most methods are the functions of minidl.ops, put on the class by `method` where each is defined.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from math import prod
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from . import devices, dtypes, layouts, printing
from .autograd import engine
from .autograd import op as _op
from .autograd.hooks import RemovableHandle, hooks_of
from .autograd.op import AccumulateGrad, Op, OutputOf, same_memory, wrap
from .autograd.storage import Storage, View, chose_layout, lay_out


class Size(tuple[int, ...]):
    """A tensor's shape: a tuple with `numel()`, printed as PyTorch prints it."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements."""
        return int(np.prod(self, dtype=np.int64))

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, tuple(other)))

    def __getitem__(self, index: Any) -> Any:
        part = tuple.__getitem__(self, index)
        return Size(part) if isinstance(index, slice) else part


class Tensor:
    """A multi-dimensional array that records how it was computed.

    Made by `minidl.tensor(...)` and the other creation functions; `Tensor(2, 3)` and `Tensor([1, 2])` are PyTorch's legacy
    constructor: an uninitialised float tensor of that size, or float data.
    """

    __slots__ = (
        "__weakref__",
        "array",  # the NumPy or CuPy array
        "base",  # for a view: whose memory it lies in, and how
        "grad",  # the gradient that backward() has added up, a Tensor or None
        "node",  # the operation that made it, AccumulateGrad for a leaf that wants gradients, else None
        "storage",  # what it shares with other tensors on its memory; None as long as it is alone and unwritten
    )
    __array_priority__ = 1000  # numpy_array * tensor comes to Tensor.__rmul__

    array: Any
    base: View | None
    grad: Tensor | None
    node: Op | None
    storage: Storage | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Tensor:
        t = object.__new__(cls)
        t.node, t.grad, t.storage, t.base = None, None, None, None
        return t

    def __init__(self, *data: Any, device: Any = None) -> None:
        if data and all(isinstance(n, (int, np.integer)) for n in data):
            array = np.zeros(data, dtypes.get_default_dtype().dtype)
        elif len(data) == 1 and isinstance(data[0], Size):
            array = np.zeros(data[0], dtypes.get_default_dtype().dtype)
        elif len(data) == 1:
            source = devices.move(data[0].array, devices.CPU) if isinstance(data[0], Tensor) else data[0]
            array = np.array(source, dtypes.get_default_dtype().dtype)
        elif not data:
            array = np.zeros(0, dtypes.get_default_dtype().dtype)
        else:
            raise TypeError(f"Tensor: expected sizes or one sequence of data, got {data!r}; use minidl.tensor(data)")
        self.array = array if device is None else devices.move(array, devices.device(device))

    # -- what it is ----------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        return Size(self.array.shape)

    @property
    def ndim(self) -> int:
        n: int = self.array.ndim
        return n

    @property
    def dtype(self) -> dtypes.dtype:
        return dtypes.BY_ARRAY_DTYPE[self.array.dtype]

    @property
    def device(self) -> devices.device:
        return devices.of_array(self.array)

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    def get_device(self) -> int:
        """The number of the GPU, -1 for a tensor on the CPU."""
        index = self.device.index
        return -1 if index is None else index

    @property
    def is_sparse(self) -> bool:
        return False

    # what else PyTorch knows and is not here
    is_sparse_csr = is_quantized = is_meta = is_mps = is_xpu = is_mkldnn = is_nested = is_vulkan = is_xla = is_ipu = (
        is_maia
    ) = is_mtia = is_sparse

    @property
    def is_cpu(self) -> bool:
        return self.device.type == "cpu"

    @property
    def layout(self) -> layouts.layout:
        return layouts.strided

    @property
    def entries(self) -> Tensor:
        """The dense tensor that holds what is stored: of a dense tensor itself, of a sparse one the values of its entries."""
        return self

    @property
    def nbytes(self) -> int:
        return int(self.array.nbytes)

    @property
    def itemsize(self) -> int:
        return int(self.array.itemsize)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """The number of dimensions."""
        n: int = self.array.ndim
        return n

    def numel(self) -> int:
        """The number of elements."""
        n: int = self.array.size
        return n

    nelement = numel
    ndimension = dim

    def element_size(self) -> int:
        """Bytes per element."""
        return int(self.array.itemsize)

    def stride(self, dim: int | None = None) -> Any:
        """Steps in memory per dimension, counted in elements."""
        if chose_layout(self):
            steps = tuple(prod(self.array.shape[d + 1 :]) for d in range(self.array.ndim))
        else:
            steps = tuple(s // self.array.itemsize for s in self.array.strides)
        return steps if dim is None else steps[dim]

    def storage_offset(self) -> int:
        """Where the tensor begins in the memory that it is a view of, counted in elements."""
        first, start = devices.address(lay_out(self))
        return (first - start) // self.array.itemsize

    def data_ptr(self) -> int:
        """The address of the first element."""
        return devices.address(lay_out(self))[0]

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie in memory in row-major order without gaps."""
        return bool(self.array.flags.c_contiguous) or chose_layout(self)

    def is_floating_point(self) -> bool:
        return self.array.dtype.kind in dtypes.FLOATING

    def is_complex(self) -> bool:
        return bool(self.array.dtype.kind == "c")

    # -- its place in the graph ----------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Say whether gradients of this leaf are wanted. Raises for integer tensors and for non-leaves."""
        if not self.is_leaf:
            if not requires_grad:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables: this tensor was computed by "
                    f"{self.node!r}; use detach() for one that does not require grad"
                )
        elif not requires_grad:
            self.node = None
        elif self.node is None:
            if self.array.dtype.kind not in dtypes.INEXACT:
                raise RuntimeError(
                    f"only Tensors of floating point and complex dtype can require gradients, this one is {self.dtype}; "
                    "convert it first, with float()"
                )
            self.node = AccumulateGrad(self)
        return self

    @property
    def is_leaf(self) -> bool:
        return self.node is None or isinstance(self.node, AccumulateGrad)

    @property
    def grad_fn(self) -> Op | None:
        """The node of the operation that made this tensor; None for a leaf."""
        node = self.node
        if isinstance(node, OutputOf):
            return node.edges[0]
        return None if isinstance(node, AccumulateGrad) else node

    @property
    def data(self) -> Tensor:
        """The same memory outside the graph: writes to it go unnoticed by version checks."""
        return wrap(lay_out(self))

    @data.setter
    def data(self, other: Tensor) -> None:
        self.array = lay_out(other)

    @property
    def _version(self) -> int:
        return self.storage.version if self.storage is not None else 0

    @property
    def _base(self) -> Tensor | None:
        return None if self.base is None else self.base.root

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add the gradient of this tensor to `.grad` of every leaf it was computed from; see autograd.backward."""
        engine.backward(self, gradient, retain_graph, create_graph, inputs)

    def detach(self) -> Tensor:
        """A tensor on the same memory that is no part of the graph."""
        lay_out(self)
        return same_memory(self)

    def detach_(self) -> Tensor:
        """Take this tensor out of the graph."""
        if self.base is not None and not self.is_leaf:
            raise RuntimeError(
                "detach_: this tensor is a view; use detach() on it, or detach_() before the view is taken"
            )
        self.node = None
        return self

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf tensor in `.grad` too."""
        if self.node is None:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if not self.is_leaf:
            hooks_of(self.node).retain = ref(self)

    @property
    def retains_grad(self) -> bool:
        return (
            not self.is_leaf and self.node is not None and self.node.hooks is not None and bool(self.node.hooks.retain)
        )

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call hook(grad) when the gradient of this tensor is complete; a tensor that it returns replaces it."""
        if self.node is None:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        return RemovableHandle(hooks_of(self.node).pre, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> RemovableHandle:
        """Call hook(tensor) after a gradient has been added to `.grad` of this leaf."""
        if not isinstance(self.node, AccumulateGrad):
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        return RemovableHandle(hooks_of(self.node).post, hook)

    # -- to Python and NumPy -------------------------------------------------------------------------------------------

    def numpy(self, *, force: bool = False) -> np.ndarray[Any, Any]:
        """The NumPy array itself, sharing memory. Raises for a tensor with a gradient or on a GPU, unless `force`."""
        if self.array.dtype.kind == "V":
            raise TypeError("Got unsupported ScalarType BFloat16: NumPy does not have it; use x.float().numpy()")
        if force:
            return devices.move(lay_out(self), devices.CPU)
        if self.node is not None:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if type(self.array) is not np.ndarray:
            raise TypeError(f"can't convert a tensor on {self.device} to numpy. Use tensor.cpu() first.")
        return lay_out(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def pin_memory(self) -> Tensor:
        """The tensor itself: memory is not pinned here."""
        return self

    def share_memory_(self) -> Tensor:
        """The tensor itself: processes get copies, through pipes."""
        return self

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.detach().array.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def tolist(self) -> Any:
        """The values as nested Python lists, or one number."""
        return self.array.tolist()

    def item(self) -> Any:
        """The one value as a Python number. Raises for any other number of elements."""
        if self.array.size != 1:
            raise RuntimeError(
                f"a Tensor with {self.array.size} elements cannot be converted to Scalar; its shape is {list(self.shape)}"
            )
        return self.array.item()

    def __bool__(self) -> bool:
        if self.array.size != 1:
            raise RuntimeError(
                f"Boolean value of Tensor with {'more than one' if self.array.size else 'no'} "
                f"value{'s' if not self.array.size else ''} is ambiguous: use any() or all()"
            )
        return bool(self.array.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self.array.size != 1 or self.array.dtype.kind not in "biu":
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.array.item())

    def __len__(self) -> int:
        if not self.array.shape:
            raise TypeError("len() of a 0-d tensor")
        return int(self.array.shape[0])

    def __iter__(self) -> Iterator[Tensor]:
        if not self.array.shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __contains__(self, value: Any) -> bool:
        other = value.array if isinstance(value, Tensor) else value
        if not isinstance(value, (Tensor, bool, int, float, complex)):
            raise RuntimeError(
                f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(value)}."
            )
        return bool((self.array == other).any())

    __hash__ = object.__hash__

    # -- text, copies --------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        usual = [dtypes.get_default_dtype()]
        if self.array.size:
            usual += [dtypes.int64, dtypes.bool_, dtypes.default_complex()]
        return printing.format_tensor(
            devices.move(self.array, devices.CPU),
            dtype_suffix=None if self.dtype in usual else repr(self.dtype),
            requires_grad=self.node is not None and self.is_leaf,
            grad_fn_name=None if self.grad_fn is None else self.grad_fn.name(),
            device=str(self.device) if self.is_cuda else None,
        )

    def __format__(self, spec: str) -> str:
        if not self.array.shape and type(self) is Tensor:
            return format(self.item(), spec)
        return object.__format__(self, spec)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        if not self.is_leaf:
            raise RuntimeError(
                f"cannot pickle a tensor that was computed with a gradient ({self.grad_fn!r}): its graph stays in this "
                "process; pickle x.detach() instead"
            )
        state = getattr(self, "__dict__", None) or None
        return _rebuild, (
            type(self),
            devices.move(self.array, devices.CPU),
            self.requires_grad,
            str(self.device),
            state,
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol; "
                f"this one was computed by {self.grad_fn!r}: deepcopy x.detach() instead"
            )
        result = _rebuild(type(self), self.array.copy(order="K"), self.requires_grad, str(self.device), None)
        memo[id(self)] = result
        if self.grad is not None:
            result.grad = copy.deepcopy(self.grad, memo)
        if hasattr(self, "__dict__"):
            result.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return result

    if TYPE_CHECKING:  # the methods that minidl.ops puts on the class

        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __eq__(self, other: Any) -> Tensor: ...  # type: ignore[override]  # element by element
        def __ne__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...


def _rebuild(cls: type[Tensor], array: Any, requires_grad: bool, device: str, state: dict[str, Any] | None) -> Tensor:
    """A tensor from its parts: what pickle and deepcopy call."""
    t = Tensor.__new__(cls)
    t.array = devices.move(array, devices.device(device))
    if state:
        t.__dict__.update(state)
    return t.requires_grad_(requires_grad)


def method(*names: str, inplace: Any = False) -> Callable[[Any], Any]:
    """Put the decorated function on Tensor, under its own name or `names`; with `inplace` also as `name_`.

    inplace: True, or the ufunc of two arrays that computes the same.

    Example:
        >>> @method("abs", "absolute", inplace=True)
        ... def abs(input): ...
    """
    from .autograd.inplace import in_place

    def attach(function: Any) -> Any:
        for name in names or (function.__name__,):
            setattr(Tensor, name, function)
            if inplace and not name.startswith("__"):
                setattr(Tensor, f"{name}_", in_place(function, name, None if inplace is True else inplace))
        return function

    return attach


_op._Tensor = Tensor
