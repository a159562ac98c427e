"""What tests, documentation and exercises share: sample inputs of every operation, gradient checks, comparisons."""

from typing import TYPE_CHECKING, Any

from .samples import Sample, samples

if TYPE_CHECKING:
    from .comparison import assert_close, make_tensor

__all__ = ["Sample", "assert_close", "make_tensor", "samples"]


def __getattr__(name: str) -> Any:
    """The comparisons need the operations, which need this package for their samples."""
    if name in ("assert_close", "make_tensor"):
        from . import comparison

        return getattr(comparison, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
