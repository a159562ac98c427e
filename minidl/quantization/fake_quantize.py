"""FakeQuantize: a layer that observes, and rounds what passes to the values that integers will have, for training."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..autograd.op import wrap
from ..nn.module import Module
from ..ops.quantized import fake_quantize_per_channel_affine, fake_quantize_per_tensor_affine
from ..tensor import Tensor
from .observer import PER_CHANNEL, MovingAverageMinMaxObserver, ObserverBase


class FakeQuantize(Module):
    """An observer, and fake quantization with the scale that it finds. The gradient is straight through; see ops/quantized.py.

    quant_min, quant_max: the integers; -2 and 1 are those of 2 bits. Other arguments are the observer's.
    Training usually begins with both on; `disable_observer` then holds the scales still for the last steps.

    Example:
        >>> fake = FakeQuantize(MinMaxObserver, 0, 3, dtype=minidl.quint8)
        >>> fake(minidl.tensor([0.0, 0.4, 3.0]))
        tensor([0., 0., 3.])
    """

    def __init__(
        self, observer: Any = MovingAverageMinMaxObserver, quant_min: int | None = None, quant_max: int | None = None, **kwargs: Any
    ) -> None:  # fmt: skip
        super().__init__()
        self.activation_post_process: ObserverBase = observer(quant_min=quant_min, quant_max=quant_max, **kwargs)
        self.register_buffer("scale", wrap(np.array(1, np.float32)))
        self.register_buffer("zero_point", wrap(np.array(0, np.int32)))
        self.fake_quant_enabled = self.observer_enabled = True

    @classmethod
    def with_args(cls, **kwargs: Any) -> Any:
        """The class with some arguments given, for a QConfig."""
        return partial(cls, **kwargs)

    @property
    def dtype(self) -> Any:
        return self.activation_post_process.dtype

    @property
    def quant_min(self) -> int:
        return self.activation_post_process.quant_min

    @property
    def quant_max(self) -> int:
        return self.activation_post_process.quant_max

    def enable_fake_quant(self, enabled: bool = True) -> None:
        """Round what passes, or let it pass as it is."""
        self.fake_quant_enabled = enabled

    def disable_fake_quant(self) -> None:
        """Let it pass as it is."""
        self.enable_fake_quant(False)

    def enable_observer(self, enabled: bool = True) -> None:
        """Let the scale follow what passes, or hold it still."""
        self.observer_enabled = enabled

    def disable_observer(self) -> None:
        """Hold the scale still."""
        self.enable_observer(False)

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point that the observer has found."""
        return self.activation_post_process.calculate_qparams()

    def forward(self, input: Tensor) -> Tensor:
        if self.observer_enabled:
            self.activation_post_process(input.detach())
            self.scale, self.zero_point = self.calculate_qparams()
        if not self.fake_quant_enabled:
            return input
        if self.activation_post_process.qscheme in PER_CHANNEL:
            axis = self.activation_post_process.ch_axis
            return fake_quantize_per_channel_affine(
                input, self.scale, self.zero_point, axis, self.quant_min, self.quant_max
            )
        return fake_quantize_per_tensor_affine(input, self.scale, self.zero_point, self.quant_min, self.quant_max)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        for name in ("scale", "zero_point"):  # they get their shape from the first batch
            if isinstance(state_dict.get(prefix + name), Tensor):
                setattr(self, name, state_dict[prefix + name].clone())
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def extra_repr(self) -> str:
        return f"fake_quant_enabled={self.fake_quant_enabled}, observer_enabled={self.observer_enabled}"


def _on_all(name: str, doc: str) -> Any:
    def function(module: Module) -> None:
        if isinstance(module, FakeQuantize):
            getattr(module, name)()

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc} For model.apply()."
    return function


enable_fake_quant = _on_all("enable_fake_quant", "Round what passes through a FakeQuantize.")
disable_fake_quant = _on_all("disable_fake_quant", "Let values pass through a FakeQuantize as they are.")
enable_observer = _on_all("enable_observer", "Let the scale of a FakeQuantize follow what passes.")
disable_observer = _on_all("disable_observer", "Hold the scale of a FakeQuantize still.")
