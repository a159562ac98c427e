"""detect_anomaly: find the operation, and the line of the user's code, that made the first NaN or infinity."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any, Self

import numpy as np

from .. import dtypes
from . import engine
from . import op as _op
from .op import Op
from .sparse_gradient import SparseGradient

_PACKAGE = str(Path(__file__).resolve().parent.parent)


def _user_line() -> str:
    """file:line and text of the innermost frame outside this package."""
    for frame in reversed(traceback.extract_stack()):
        if not str(Path(frame.filename).resolve()).startswith(_PACKAGE):
            return f"{frame.filename}:{frame.lineno}: {frame.line}"
    return "unknown place"


def _not_finite(values: Any) -> str:
    """ "NaN", "an infinity" or nothing, for an array, a Tensor, a number or several of them."""
    for x in values if isinstance(values, (tuple, list)) else (values,):
        x = x.values if isinstance(x, SparseGradient) else getattr(x, "entries", x)
        array: Any = getattr(x, "array", x)
        if not isinstance(array, float) and (not hasattr(array, "dtype") or array.dtype.kind not in dtypes.FLOATING):
            continue
        if np.isnan(array).any():
            return "NaN"
        if np.isinf(array).any():
            return "an infinity"
    return ""


class detect_anomaly:
    """Inside, the first operation of a graph whose result has a NaN or an infinity though its inputs have none raises.

    The error names the operation and the line that called it; in the backward pass, the line of the forward call whose
    gradient went wrong. It is slow: every result is looked at. With check_nan=False only the lines are remembered.

    Example:
        >>> with minidl.autograd.detect_anomaly():
        ...     loss = minidl.log(x).sum()
        ...     loss.backward()
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        self.lines: dict[int, str] = {}  # by sequence number of the operation

    def __enter__(self) -> Self:
        self.rule_before = engine.check_rule
        _op.observers.append(self._forward)
        engine.check_rule = self._backward
        return self

    def __exit__(self, *exception: object) -> None:
        _op.observers.remove(self._forward)
        engine.check_rule = self.rule_before

    def _forward(self, op: Op, inputs: tuple[Any, ...], outputs: Any) -> None:
        self.lines[op.seq] = _user_line()
        if self.check_nan and (what := _not_finite(outputs)) and not _not_finite(inputs):
            raise RuntimeError(
                f"{type(op).__name__} made {what} from finite inputs, in the forward pass, at {self.lines[op.seq]}"
            )

    def _backward(self, op: Op, gradients: tuple[Any, ...]) -> None:
        if self.check_nan and (what := _not_finite(gradients)):
            raise RuntimeError(
                f"{op.name()} returned {what} in the backward pass; its forward call was at "
                f"{self.lines.get(op.seq, 'a place outside detect_anomaly')}"
            )


class set_detect_anomaly(detect_anomaly):
    """detect_anomaly, switched on or off at once; the end of a `with` block restores what was before."""

    _active: detect_anomaly | None = None

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        super().__init__(check_nan)
        if set_detect_anomaly._active is not None:
            detect_anomaly.__exit__(set_detect_anomaly._active)
            set_detect_anomaly._active = None
        if mode:
            detect_anomaly.__enter__(self)
            set_detect_anomaly._active = self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if set_detect_anomaly._active is self:
            detect_anomaly.__exit__(self)
            set_detect_anomaly._active = None
