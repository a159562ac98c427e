"""PyTorch's import paths: each of the table leads to a module with PyTorch's names, by import and by attribute."""

from __future__ import annotations

import functools
import importlib
import subprocess
import sys
import types

import pytest

import minidl as md
from minidl.paths import PLACES


@pytest.mark.parametrize("path", PLACES)
def test_paths_lead_to_modules(path):
    module = importlib.import_module(path)
    assert module.__name__ == path
    assert functools.reduce(getattr, path.split(".")[1:], md) is module
    assert importlib.import_module(PLACES[path]).__name__ == PLACES[path]


@pytest.mark.parametrize("path", PLACES)
def test_paths_are_pytorchs(path):
    torch = pytest.importorskip("torch")
    theirs = importlib.import_module("torch" + path.removeprefix("minidl"))
    kinds = type, types.FunctionType
    own = [
        n for n, v in vars(theirs).items() if isinstance(v, kinds) and v.__module__ == theirs.__name__ and n[0] != "_"
    ]
    assert torch and (not own or any(hasattr(importlib.import_module(path), n) for n in own)), f"none of {own}"


@pytest.mark.tiny
def test_private_names_that_programs_use():
    from minidl.nn.modules.activation import MultiheadAttention
    from minidl.nn.modules.batchnorm import _BatchNorm
    from minidl.nn.modules.conv import _ConvNd
    from minidl.nn.modules.dropout import _DropoutNd
    from minidl.nn.modules.instancenorm import _InstanceNorm
    from minidl.nn.modules.loss import _Loss, _WeightedLoss
    from minidl.nn.modules.module import _IncompatibleKeys
    from minidl.nn.modules.pooling import _MaxPoolNd
    from minidl.nn.modules.utils import _pair, _quadruple, _reverse_repeat_tuple, _single, _triple

    assert MultiheadAttention is md.nn.MultiheadAttention
    assert isinstance(md.nn.BatchNorm2d(3), _BatchNorm) and isinstance(md.nn.SyncBatchNorm(3), _BatchNorm)
    assert isinstance(md.nn.InstanceNorm2d(3), _InstanceNorm) and not isinstance(md.nn.InstanceNorm2d(3), _BatchNorm)
    assert isinstance(md.nn.Conv2d(1, 1, 1), _ConvNd) and isinstance(md.nn.MaxPool2d(2), _MaxPoolNd)
    assert isinstance(md.nn.Dropout(), _DropoutNd) and isinstance(md.nn.MSELoss(), _Loss)
    assert issubclass(_WeightedLoss, _Loss) and isinstance(
        md.nn.Linear(1, 1).load_state_dict({}, False), _IncompatibleKeys
    )
    assert _pair(2) == (2, 2) and _pair((1, 3)) == (1, 3) and _single(4) == (4,)
    assert _triple(0) == (0, 0, 0) and len(_quadruple(1)) == 4 and _reverse_repeat_tuple((1, 2), 2) == (2, 2, 1, 1)


def test_star_imports():
    names = {}
    exec("from minidl.nn.modules import *\nfrom minidl.optim.adamw import *", names)
    assert names["Linear"] is md.nn.Linear and names["AdamW"] is md.optim.AdamW


def test_what_is_not_there():
    with pytest.raises(AttributeError, match=r"which stands for 'minidl.nn', has no attribute 'Foo'"):
        md.nn.modules.Foo  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("minidl.nn.modules.foo")
    with pytest.raises(AttributeError, match=r"module 'minidl.optim' has no attribute 'foo'"):
        md.optim.foo  # noqa: B018
    assert not hasattr(md, "foo")


def test_nothing_of_it_is_imported_before_it_is_used():
    code = (
        "import sys, minidl; print(*[m for m in sys.modules if m.startswith('minidl.') and m in minidl.paths.PLACES])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
