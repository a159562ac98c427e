"""Whether a GPU has to give the same bits at every run: what `minidl.use_deterministic_algorithms` switches.

Threads that add floating-point numbers to one place in memory atomically do so in whatever order they come, and the last bits
of the sum depend on it. Most kernels here add in a fixed order anyway; what does not is CuPy's `add.at`, running sums, weighted
histograms, and assigning to one element twice. With the switch on, these take slower paths that are fixed, or raise.

Products of matrices are cuBLAS's, which repeat themselves on the same GPU as long as they run in one stream; for several streams
NVIDIA asks for the environment variable CUBLAS_WORKSPACE_CONFIG=:4096:8.
"""

from __future__ import annotations

import warnings

import numpy as np

from .common import Array

MODES = ("default", "warn", "error")
mode = "default"


def set_mode(wanted: str) -> None:
    """Choose among MODES. Raises ValueError for anything else."""
    global mode
    if wanted not in MODES:
        raise ValueError(f"the mode of determinism is one of {', '.join(MODES)}, got {wanted!r}")
    mode = wanted


def required(x: Array) -> bool:
    """Whether what is done to an array of floats must not depend on the order of threads."""
    return mode != "default" and x.__class__ is not np.ndarray and x.dtype.kind in "fc"


def refuse(operation: str, why: str = "") -> None:
    """Raise RuntimeError, or warn, because an operation has no path whose result is the same at every run."""
    if mode == "default":
        return
    text = (
        f"{operation} does not have a deterministic implementation{why and f' {why}'}, but you set "
        "use_deterministic_algorithms(True); turn it off for this operation, or let it warn with warn_only=True"
    )
    if mode == "error":
        raise RuntimeError(text)
    warnings.warn(text, stacklevel=3)
