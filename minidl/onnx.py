"""Export to ONNX is not there: programs that only import this run, and those that export are told what to do."""

from __future__ import annotations

from typing import Any, NoReturn


def export(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises NotImplementedError."""
    raise NotImplementedError(
        "onnx.export is not there; save the state_dict, load it into the same model in PyTorch, and export it there"
    )
