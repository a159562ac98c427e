"""What programs ask about PyTorch's libraries. Here everything is NumPy, Numba and CuPy, and switches change nothing."""

from __future__ import annotations

from types import SimpleNamespace

from . import cuda, cudnn


def _absent() -> bool:
    return False


mps = SimpleNamespace(is_available=_absent, is_built=_absent)
mkl = SimpleNamespace(is_available=_absent)
mkldnn = SimpleNamespace(is_available=_absent)
openmp = SimpleNamespace(is_available=_absent)

quantized = SimpleNamespace(
    engine="x86", supported_engines=["x86", "fbgemm", "onednn", "qnnpack"]
)  # one kernel for all names

__all__ = ["cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp", "quantized"]
