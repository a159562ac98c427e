"""minidl.cuda on a machine without a GPU, which is where most learners are."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import types
from importlib.machinery import ModuleSpec

import pytest

import minidl as md
from minidl import devices

pytestmark = [pytest.mark.tiny, pytest.mark.skipif(md.cuda.is_available(), reason="there is a GPU")]


def test_nothing_is_available_and_nothing_fails():
    cuda = md.cuda
    assert cuda.device_count() == 0 and cuda.memory_allocated() == cuda.memory_reserved() == 0
    assert not cuda.is_available() and not cuda.is_initialized() and not cuda.is_current_stream_capturing()
    cuda.empty_cache()
    cuda.reset_peak_memory_stats()
    assert cuda.max_memory_allocated() == cuda.max_memory_reserved() == 0 and "0.0 MiB" in cuda.memory_summary()
    cuda.manual_seed_all(3)
    first = md.rand(2)
    md.manual_seed(3)
    assert md.rand(2).tolist() == first.tolist()


@pytest.mark.parametrize(
    "use",
    [lambda: md.zeros(1).cuda(), lambda: md.zeros(1, device="cuda"), lambda: md.nn.Linear(1, 1).to("cuda:0"),
     lambda: md.nn.Linear(1, 1, device="cuda"), lambda: md.randn(2, device="cuda"), lambda: md.set_default_device("cuda"),
     lambda: md.device("cuda").__enter__(), md.cuda.init, md.cuda.synchronize, md.cuda.get_device_name,
     md.cuda.get_device_properties, md.cuda.get_device_capability, md.cuda.current_device, md.cuda.mem_get_info,
     lambda: md.cuda.set_device(0), lambda: md.cuda.device(0), md.cuda.Stream, md.cuda.Event, md.cuda.current_stream,
     md.cuda.default_stream, lambda: md.cuda.graph(md.cuda.CUDAGraph())],
)  # fmt: skip
def test_using_a_gpu_says_what_is_missing(use):
    with pytest.raises(RuntimeError, match=r"minidl doctor"):
        use()
    assert md.get_default_device() == md.device("cpu")


@pytest.fixture
def look_again():
    """Forgets what was found of GPUs, before and after."""
    devices.gpus.cache_clear()
    yield
    devices.gpus.cache_clear()


def pretend(monkeypatch, count):
    """A CuPy whose runtime counts GPUs by that function."""
    cupy = types.ModuleType("cupy")
    cupy.__spec__ = ModuleSpec("cupy", None)
    cupy.cuda = types.SimpleNamespace(runtime=types.SimpleNamespace(getDeviceCount=count))
    monkeypatch.setitem(sys.modules, "cupy", cupy)


def no_driver():
    raise RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version")


@pytest.mark.parametrize(
    ("count", "why"), [(no_driver, "CuPy finds no GPU .*cudaErrorInsufficientDriver"), (lambda: 0, "CuPy finds no GPU")]
)
def test_cupy_without_a_driver_or_a_gpu(look_again, monkeypatch, count, why):
    pretend(monkeypatch, count)
    assert not md.cuda.is_available()
    with pytest.raises(RuntimeError, match=f"cannot use cuda: {why}"):
        md.ones(1).cuda()


def test_two_cupys_in_one_folder(look_again, monkeypatch):
    pretend(monkeypatch, lambda: 1)
    installed = {"cupy-cuda12x": "14.2.0", "cupy-cuda13x": "14.2.0"}

    def version(name):
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(
        RuntimeError, match="cupy-cuda12x and cupy-cuda13x are installed, into one folder; uninstall both"
    ):
        md.ones(1).cuda()
    del installed["cupy-cuda12x"]
    devices.gpus.cache_clear()
    assert md.cuda.device_count() == 1


def test_asking_for_a_gpu_imports_neither_numba_nor_scipy():
    code = "import sys, minidl; minidl.cuda.is_available(); print([m for m in ('numba', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_types_on_a_gpu():
    assert repr(md.cuda.FloatTensor) == "torch.cuda.FloatTensor" and not isinstance(md.zeros(1), md.cuda.FloatTensor)
    if not md.cuda.is_available():
        for use in (lambda: md.cuda.LongTensor([1]), lambda: md.zeros(1).type(md.cuda.FloatTensor)):
            with pytest.raises(RuntimeError, match="doctor"):
                use()
