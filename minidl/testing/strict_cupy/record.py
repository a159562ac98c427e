"""What the real CuPy has, written to api.json: names, signatures, the loops of its ufuncs. No GPU is needed.

    python -m minidl.testing.strict_cupy.record        # with CuPy installed

The stand-in has what stands in the file and nothing else, so that a function or an argument that CuPy lacks fails in the
tests, too. `tests/test_strict_cupy.py` compares the file with the CuPy that is installed, where one is.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("api.json")
MODULES = ("cupy", "cupy.linalg", "cupy.fft", "cupyx.scipy.special")
# needs libraries that are there only beside a GPU, so that it cannot be imported everywhere: recorded by hand
BY_HAND = {
    "cupyx.scipy.linalg": {
        "block_diag": "*arrs",
        "expm": "a",
        "lu": "a, permute_l=False, overwrite_a=False, check_finite=True",
        "lu_factor": "a, overwrite_a=False, check_finite=True",
        "lu_solve": "lu_and_piv, b, trans=0, overwrite_b=False, check_finite=True",
        "solve_triangular": "a, b, trans=0, lower=False, unit_diagonal=False, overwrite_b=False, check_finite=False",
    }
}


def record() -> dict[str, Any]:
    """The interface of the installed CuPy, in the form of the file."""
    import cupy

    array = cupy.ndarray
    methods = {}
    attributes = []
    for name in dir(array):
        if name.startswith("_") and not name.startswith("__"):
            continue
        member = getattr(array, name)
        if name.startswith("__") or not callable(member):
            attributes.append(name)
        else:
            methods[name] = _parameters_in_text((member.__doc__ or "").partition("\n")[0])
    return {
        "version": cupy.__version__,
        "functions": {name: _functions(importlib.import_module(name)) for name in MODULES} | BY_HAND,
        "ufuncs": {name: _ufuncs(importlib.import_module(name)) for name in MODULES},
        "from numpy": [n for n in _public(cupy) if getattr(np, n, None) is getattr(cupy, n)],
        "array attributes": attributes,
        "array methods": methods,
    }


def _public(module: ModuleType) -> list[str]:
    return [n for n in sorted(dir(module)) if not n.startswith("_") and not inspect.ismodule(getattr(module, n))]


def _functions(module: ModuleType) -> dict[str, str]:
    """The parameters of each function that Python can look into, without annotations and with defaults as text."""
    found = {}
    for name in _public(module):
        function = getattr(module, name)
        if getattr(np, name, None) is function:
            continue
        if inspect.isfunction(function) or type(function).__name__ == "_GUFunc":
            signature = inspect.signature(function)
            plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
            text = str(signature.replace(parameters=plain, return_annotation=signature.empty))[1:-1]
            found[name] = re.sub(r"<class '(?:numpy\.)?(\w+)'>", r"'\1'", text)
    return found


def _ufuncs(module: ModuleType) -> dict[str, dict[str, Any]]:
    """The number of inputs, the loops and the casting rule of each ufunc."""
    import cupy

    return {
        name: {
            "nin": f.nin,
            "types": " ".join(dict.fromkeys(f.types)),
            "casting": f._default_casting,
            "at": bool(f._scatter_op),
        }
        for name in _public(module)
        if isinstance(f := getattr(module, name), cupy.ufunc)
    }


def _parameters_in_text(line: str) -> str:
    """The parameters in the first line of a compiled method's documentation, without C's types."""
    text = line[line.find("(") + 1 : line.rfind(")")]
    parameters = [p.strip().split()[-1] if "=" not in p else p.strip() for p in text.split(",") if p.strip() != "self"]
    return ", ".join(re.sub(r"^\w+ (\w+=)", r"\1", p) for p in parameters if p)


if __name__ == "__main__":
    FILE.write_text(json.dumps(record(), indent=1) + "\n")
