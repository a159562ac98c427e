"""Global state is sealed: a test that leaks grad mode, default dtype, seed or kernel choice fails.

Tests that take the fixture `device` run there: by default on the strict stand-in for CuPy, which needs no GPU, and with
`--device cuda` on the GPU. `-m device` selects them.
"""

from __future__ import annotations

import contextlib
import warnings

import pytest

import minidl as md
from minidl import devices, kernels
from minidl.autograd import engine
from minidl.autograd import op as op_module
from minidl.kernels import determinism
from minidl.testing import strict_cupy


def pytest_addoption(parser):
    parser.addoption(
        "--device", choices=("strict", "cuda"), default="strict",
        help="where tests of the device run: on the strict stand-in for CuPy (default), or on a GPU",
    )  # fmt: skip


def pytest_configure(config):
    if config.getoption("--device") == "cuda":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries that are looked for and not needed
            count, why = devices.gpus()
        if not count:
            raise pytest.UsageError(f"--device cuda: {why}; `minidl doctor` says what this machine has")
        config.addinivalue_line("filterwarnings", "default::Warning:cupy")


def pytest_collection_modifyitems(items):
    for item in items:
        if "device" in getattr(item, "fixturenames", ()):
            item.add_marker("device")


@pytest.fixture
def device(request):
    """The device "cuda": a GPU with --device cuda, else the stand-in."""
    real = request.config.getoption("--device") == "cuda"
    with contextlib.nullcontext() if real else strict_cupy.installed():
        yield md.device("cuda")


@pytest.fixture(autouse=True)
def sealed_state(request):
    md.manual_seed(0)
    choices = {name: dict(kernel.choice) for name, kernel in kernels.REGISTRY.items()}
    yield
    leaks = []
    if not md.is_grad_enabled():
        leaks.append("grad mode is off")
        md.set_grad_enabled(True)
    if md.get_default_dtype() is not md.float32:
        leaks.append(f"the default dtype is {md.get_default_dtype()}")
        md.set_default_dtype(md.float32)
    if md.get_default_device().type != "cpu" or devices.capturing.get() or op_module.half_of.get() is not None:
        leaks.append("the default device, a recording or autocast is left on")
        devices.default_device.set(None)
        devices.capturing.set(False)
        op_module.half_of.set(None)
    if op_module.observers or engine.check_rule is not None:
        leaks.append("an observer of operations is left")
        op_module.observers.clear()
        engine.check_rule = None
    if determinism.mode != "default":
        leaks.append(f"determinism is {determinism.mode!r}")
        determinism.set_mode("default")
    for name, kernel in kernels.REGISTRY.items():
        if kernel.choice != choices.get(name, {}):
            leaks.append(f"kernel {name} was chosen to be {kernel.choice}")
            kernel.choice = {}
            kernel._resolved.clear()
    if leaks:
        pytest.fail(f"{request.node.name} leaks global state: {'; '.join(leaks)}")
