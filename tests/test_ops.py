"""Every operation of the engine against its samples: values, layouts, gradients of order 1 and 2."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from minidl import ops
from minidl.autograd.op import Op
from minidl.ops.conversion import Move
from minidl.testing.checks import check_op, check_op_on_device
from minidl.testing.samples import REGISTRY

for _module in pkgutil.iter_modules(ops.__path__):
    importlib.import_module(f"minidl.ops.{_module.name}")


def _subclasses(cls: type[Op]) -> list[type[Op]]:
    direct = cls.__subclasses__()
    return direct + [deeper for c in direct for deeper in _subclasses(c)]


DIFFERENTIABLE = sorted(
    {
        op
        for op in _subclasses(Op)
        if op.differentiable and op.__module__.startswith("minidl.ops.") and not op.__name__.startswith("_")
    },
    key=lambda op: (op.__module__, op.__name__),
)


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.__name__)
def test_op_against_its_samples(op):
    assert op in REGISTRY, f"{op.__module__}.{op.__name__} has a gradient and no samples: declare them beside it"
    assert check_op(op) > 0


@pytest.mark.parametrize(
    "op", sorted(set(REGISTRY) - {Move}, key=lambda op: (op.__module__, op.__name__)), ids=lambda op: op.__name__
)
def test_op_on_the_device(op, device):
    assert check_op_on_device(op, device) > 0


def test_every_sample_belongs_to_an_op():
    assert all(issubclass(op, Op) and hasattr(op, "apply") for op in REGISTRY)
    assert len(DIFFERENTIABLE) > 60
