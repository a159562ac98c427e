"""absent.toml lists what of PyTorch's public names is not here: all of it, and nothing that is."""

from __future__ import annotations

import fnmatch
import importlib
import tomllib
import types
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
LISTED = tomllib.loads((Path(__file__).parent / "absent.toml").read_text())
MODULES = [
    "torch", "torch.Tensor", "torch.nn", "torch.nn.Module", "torch.nn.functional", "torch.nn.init", "torch.nn.utils",
    "torch.nn.utils.rnn", "torch.nn.utils.parametrize", "torch.nn.utils.parametrizations", "torch.nn.utils.prune",
    "torch.nn.attention", "torch.optim", "torch.optim.lr_scheduler", "torch.optim.swa_utils", "torch.optim.Optimizer",
    "torch.utils.data", "torch.utils.checkpoint", "torch.distributions", "torch.distributions.constraints",
    "torch.autograd", "torch.autograd.function", "torch.autograd.functional", "torch.autograd.graph", "torch.func",
    "torch.linalg", "torch.special", "torch.fft", "torch.signal.windows", "torch.random", "torch.amp", "torch.testing",
    "torch.profiler", "torch.sparse", "torch.Generator",
]  # fmt: skip


def locate(root, path):
    """The module or class of that path below torch or minidl."""
    found, parts = importlib.import_module(root), path.split(".")[1:]
    for i, part in enumerate(parts, 1):
        if not hasattr(found, part) and not isinstance(found, type):
            importlib.import_module(".".join([root, *parts[:i]]))
        found = getattr(found, part)
    return found


def public(owner):
    """The public functions, classes and methods of one of PyTorch's modules or classes, not those that it only imports."""
    names = dir(owner) if isinstance(owner, type) else getattr(owner, "__all__", None) or dir(owner)
    result = set()
    for name in names:
        value = getattr(owner, name, None)
        borrowed = isinstance(value, (type, types.FunctionType)) and not value.__module__.startswith("torch")
        if not name.startswith("_") and not isinstance(value, types.ModuleType) and not borrowed:
            if callable(value) or isinstance(owner, type):
                result.add(name)
    return result


def entries_of(path):
    return [entry for entry in LISTED["absent"] if entry["of"] == path]


def is_listed(name, entry):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in entry["names"])


@pytest.mark.parametrize("path", MODULES)
def test_what_is_missing_is_listed(path):
    ours = locate("minidl", path)
    missing = {name for name in public(locate("torch", path)) if not hasattr(ours, name)}
    if torch.__version__.startswith(LISTED["pytorch"]):
        unlisted = sorted(n for n in missing if not any(is_listed(n, entry) for entry in entries_of(path)))
        assert not unlisted, f"{path}: {unlisted} are missing and not in absent.toml"
    for entry in entries_of(path):
        assert any(is_listed(name, entry) for name in missing), (
            f"nothing of {entry} is missing: take it off absent.toml"
        )


def test_every_entry_is_of_a_module_that_is_looked_at():
    assert {entry["of"] for entry in LISTED["absent"]} <= set(MODULES)
    assert all(set(entry) == {"of", "names", "why"} for entry in LISTED["absent"])
