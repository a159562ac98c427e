"""What this machine has that matters to minidl: the findings of `minidl doctor`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import re
import sys
import warnings
from pathlib import Path
from typing import Any

from . import cuda, devices


def findings() -> list[tuple[str, str, str]]:
    """Rows of (what, what was found, what it means)."""
    return [_python(), _numpy(), _numba(), _cache(), _cpu(), _threads(), _cupy(), _driver(), _torch()]


def _import(package: str) -> tuple[Any, str]:
    """A package and its version; None, and what is wrong, where it is missing or does not import."""
    if importlib.util.find_spec(package) is None:
        return None, "missing"
    try:
        module = importlib.import_module(package)
    except Exception as error:  # whatever a broken installation raises: that is what a user looks for here
        return None, f"does not import: {error}"
    return module, str(getattr(module, "__version__", "of unknown version"))


def _python() -> tuple[str, str, str]:
    return (
        "Python",
        f"{platform.python_version()} ({platform.machine()})",
        "fine" if sys.version_info >= (3, 11) else "too old",
    )


def _numpy() -> tuple[str, str, str]:
    import numpy as np

    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    name = f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
    return "NumPy and its BLAS", f"{np.__version__}, {name}", "matrix products run in this BLAS"


def _numba() -> tuple[str, str, str]:
    numba, found = _import("numba")
    if numba is None:
        return "Numba", found, "everything runs on the NumPy reference, slower; pip install numba"
    return "Numba", found, "CPU kernels are compiled at their first call and kept on disk"


def _cache() -> tuple[str, str, str]:
    if importlib.util.find_spec("numba") is None:
        return "kernel cache", "none", "without Numba nothing is compiled"
    from .kernels._cache import folder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        place = folder()
    if not place:
        return (
            "kernel cache",
            "no folder can be written to",
            "kernels are compiled in each process; set NUMBA_CACHE_DIR",
        )
    size = sum(path.stat().st_size for path in Path(place).glob("*.nbc")) / 1e6
    return "kernel cache", f"{place}, {size:.1f} MB", "kernels are compiled once; `minidl warmup` does it now"


def _cpu() -> tuple[str, str, str]:
    if importlib.util.find_spec("llvmlite") is None:
        return "CPU vectors", "unknown", "Numba would tell"
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    width = 512 if features.get("avx512f") else 256 if features.get("avx2") else 128
    extra = ", VNNI" if features.get("avx512vnni") else ""
    return (
        "CPU vectors",
        f"{width} bits{extra} ({binding.get_host_cpu_name()})",
        f"{width // 32} floats per instruction",
    )


def _threads() -> tuple[str, str, str]:
    from .kernels import blas, threads

    return (
        "threads",
        f"{threads.get_num_threads()} of {os.cpu_count()} cores",
        f"shared out by minidl; BLAS in kernels: {blas.describe()}",
    )


def _cupy() -> tuple[str, str, str]:
    cupy, found = _import("cupy")
    if cupy is None:
        return "CuPy", found, "no GPU: install minidl[cuda12] or minidl[cuda13], whichever the driver supports"
    count, why = devices.gpus()
    if not count:
        return "CuPy", f"{found}, no usable GPU", why
    names = [cuda.get_device_name(i) for i in range(count)]
    return "CuPy", f"{found}: {', '.join(names)}", "tensors can move to cuda"


def _driver() -> tuple[str, str, str]:
    path = Path("/proc/driver/nvidia/version")
    if not path.exists():
        return "NVIDIA driver", "none", "everything runs on the CPU"
    version = re.search(r"\b\d+\.\d+(\.\d+)?\b", path.read_text())
    return "NVIDIA driver", version[0] if version else "of unknown version", "a GPU is there"


def _torch() -> tuple[str, str, str]:
    found = importlib.util.find_spec("torch") is not None
    return "PyTorch", "installed" if found else "missing", "`minidl bench` and parity tests use it; minidl never does"
