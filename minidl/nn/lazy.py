"""Lazy layers: layers that read the size of their input off the first batch.

Until then their weights are UninitializedParameters, tensors with a dtype and a device and no shape. The first call of the
layer gives them their shape and values, in place, and the layer turns into an ordinary one: a LazyLinear into a Linear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .. import dtypes
from ..autograd.op import AccumulateGrad, wrap
from ..devices import device as Device
from ..devices import of_array
from ..tensor import Tensor
from .module import Module
from .parameter import Parameter, blank

SLOT = Tensor.__dict__["array"]  # where a Tensor has its array
if TYPE_CHECKING:
    _Mixin = Tensor
else:
    _Mixin = (
        object  # an object becomes one of another class only if both are laid out alike: a plain mixin adds nothing
    )


class _Uninitialized(_Mixin):
    """What parameter and buffer share. Their slot holds an empty array that says dtype and device."""

    __slots__ = ()
    becomes: ClassVar[type[Tensor]]

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        self.array = blank(0, device=device, dtype=dtype).array
        self.requires_grad_(requires_grad)

    @property
    def array(self) -> Any:
        raise RuntimeError(
            f"Attempted to use an uninitialized {self.becomes.__name__.lower()}, whose shape and values are not known "
            "yet: they come with the first call of its lazy layer. Run one batch through the model first."
        )

    @array.setter
    def array(self, placeholder: Any) -> None:
        SLOT.__set__(self, placeholder)

    @property
    def _placeholder(self) -> Tensor:
        return wrap(SLOT.__get__(self))

    @property
    def dtype(self) -> dtypes.dtype:
        return self._placeholder.dtype

    @property
    def device(self) -> Device:
        return of_array(self._placeholder.array)

    def is_floating_point(self) -> bool:
        return self._placeholder.is_floating_point()

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Say whether gradients of this leaf will be wanted."""
        self.node = (self.node or AccumulateGrad(self)) if requires_grad else None
        return self

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Turn into an ordinary tensor of that shape, filled with zeros."""
        array = blank(*shape, device=device or self.device, dtype=dtype or self.dtype).array
        self.__class__ = self.becomes  # type: ignore[assignment]
        self.array = array

    # Module.to() converts what detach() or to() returns, and writes the array of the result back

    def detach(self) -> Tensor:
        """An empty tensor of the same dtype, on the same device."""
        return self._placeholder

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        """The same without a shape, of another dtype or on another device."""
        moved = self._placeholder.to(*args, **kwargs)
        return type(self)(self.requires_grad, moved.device, moved.dtype)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return type(self), (self.requires_grad, str(self.device), self.dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        memo[id(self)] = result = type(self)(self.requires_grad, self.device, self.dtype)
        return result


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter whose shape is not known yet. `materialize(shape)` makes it an ordinary one; any other use raises.

    Example:
        >>> nn.LazyLinear(3).weight
        <UninitializedParameter>
    """

    becomes = Parameter


class UninitializedBuffer(_Uninitialized, Tensor):
    """A buffer whose shape is not known yet. `materialize(shape)` makes it an ordinary one; any other use raises."""

    __slots__ = ()
    becomes = Tensor

    def __init__(self, requires_grad: bool = False, device: Any = None, dtype: Any = None) -> None:
        super().__init__(requires_grad, device, dtype)


class LazyModuleMixin(Module):
    """Makes a lazy layer of an ordinary one: class LazyLinear(LazyModuleMixin, Linear).

    Subclasses name the ordinary layer in `cls_to_become` and define `initialize_parameters`, which gets the arguments of
    the first call. Moving, converting, saving and loading work before it too.
    """

    cls_to_become: ClassVar[type[Module] | None] = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.cls_to_become is not None or self.has_uninitialized_params():
            self.initialize_parameters(*args, **kwargs)
        if self.cls_to_become is not None:
            self.__class__ = self.cls_to_become  # type: ignore[assignment]
        return Module.__call__(self, *args, **kwargs)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Materialize the parameters, with sizes that follow from the arguments of the first call."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer of this layer has no shape yet."""
        return any(isinstance(t, _Uninitialized) for t in (*self._parameters.values(), *self._buffers.values()))

    def _forget_shapes(self) -> None:
        """Put uninitialized ones in the place of all parameters and of the buffers that are empty."""
        for name, param in self._parameters.items():
            if param is not None:
                self._parameters[name] = UninitializedParameter(param.requires_grad, param.device, param.dtype)
        for name, buffer in self._buffers.items():
            if buffer is not None and not buffer.numel():
                self._buffers[name] = UninitializedBuffer(False, buffer.device, buffer.dtype)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name, t in self._own_state():
            if isinstance(t, _Uninitialized):
                destination[prefix + name] = t

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """Take the shapes from the state; what has none there either stays as it is."""
        for name, t in self._own_state():
            value = state_dict.get(prefix + name)
            if isinstance(t, _Uninitialized) and isinstance(value, Tensor) and not isinstance(value, _Uninitialized):
                t.materialize(value.shape)
        super()._load_from_state_dict(state_dict, prefix, *others)
