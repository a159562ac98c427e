"""Marks in a float model: where values become integers, and where they become floats again."""

from __future__ import annotations

from typing import Any

from ..nn.module import Module
from ..ops.joining import cat
from ..tensor import Tensor


class QuantStub(Module):
    """Passes its input on; prepare() has it observed, and convert() makes a Quantize of it."""

    def __init__(self, qconfig: Any = None) -> None:
        super().__init__()
        if qconfig is not None:
            self.qconfig = qconfig

    def forward(self, x: Tensor) -> Tensor:
        return x


class DeQuantStub(Module):
    """Passes its input on; convert() makes a DeQuantize of it."""

    def __init__(self, qconfig: Any = None) -> None:
        super().__init__()
        if qconfig is not None:
            self.qconfig = qconfig

    def forward(self, x: Tensor) -> Tensor:
        return x


class QuantWrapper(Module):
    """A model between a QuantStub and a DeQuantStub."""

    def __init__(self, module: Module) -> None:
        super().__init__()
        qconfig = getattr(module, "qconfig", None)
        self.quant, self.dequant = QuantStub(qconfig), DeQuantStub(qconfig)
        self.module = module
        self.train(module.training)

    def forward(self, X: Tensor) -> Tensor:
        return self.dequant(self.module(self.quant(X)))


class FloatFunctional(Module):
    """Operations on two results of layers, whose own result has to be observed: a sum in a residual block, for instance.

    Each place in a model needs a FloatFunctional of its own. convert() makes a QFunctional of it.

    Example:
        >>> FloatFunctional().add(minidl.ones(2), minidl.ones(2))
        tensor([2., 2.])
    """

    def forward(self, x: Any) -> Any:
        raise RuntimeError("FloatFunctional is not called: use its methods add, mul, cat, add_relu, ...")

    def _observed(self, result: Tensor) -> Tensor:
        observer = self._modules.get("activation_post_process")
        return result if observer is None else observer(result)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """x + y."""
        return self._observed(x + y)

    def add_scalar(self, x: Tensor, y: float) -> Tensor:
        """x + y for a number y."""
        return self._observed(x + y)

    def mul(self, x: Tensor, y: Tensor) -> Tensor:
        """x * y."""
        return self._observed(x * y)

    def mul_scalar(self, x: Tensor, y: float) -> Tensor:
        """x * y for a number y."""
        return self._observed(x * y)

    def cat(self, x: list[Tensor], dim: int = 0) -> Tensor:
        """The tensors one after the other along `dim`."""
        return self._observed(cat(x, dim))

    def add_relu(self, x: Tensor, y: Tensor) -> Tensor:
        """max(x + y, 0)."""
        return self._observed((x + y).relu())

    def matmul(self, x: Tensor, y: Tensor) -> Tensor:
        """x @ y."""
        return self._observed(x @ y)
