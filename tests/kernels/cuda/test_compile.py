"""Every .cu file compiles for every architecture and stays within its registers and shared memory, without spills."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from minidl import kernels
from minidl.kernels import cuda
from minidl.testing import nvrtc

pytestmark = pytest.mark.skipif(nvrtc.library() is None, reason=f"NVRTC is not installed; {nvrtc.INSTALL}")
kernels.load_all()


FILES = sorted(cuda.SOURCES)


def elements(file, architecture):
    """float16 is compiled for the newest architecture only, for the sake of time, or where the file has nothing else."""
    types = sorted({element for entry in cuda.SOURCES[file].entries.values() for element in entry.types})
    return types if architecture == cuda.ARCHITECTURES[-1] or "float32" not in types else ["float32"]


def compile_file(file, architecture):
    return {
        element: nvrtc.compile_file(cuda.SOURCES[file].path, architecture, element)
        for element in elements(file, architecture)
    }


@pytest.fixture(scope="module")
def compiled(request):
    """What every file that is to be tested uses on every architecture; two compilations at a time, which NVRTC allows."""
    tests = [getattr(item, "callspec", None) for item in request.session.items]
    wanted = {
        (test.params["file"], test.params["architecture"]) for test in tests if test and "architecture" in test.params
    }
    with ThreadPoolExecutor(2) as pool:
        yield {of: pool.submit(compile_file, *of) for of in sorted(wanted)}


@pytest.mark.parametrize("architecture", cuda.ARCHITECTURES)
@pytest.mark.parametrize("file", FILES)
def test_compiles_within_its_budget(file, architecture, compiled):
    for element, used in compiled[file, architecture].result().items():
        for entry in cuda.SOURCES[file].entries.values():
            if element not in entry.types or architecture < entry.since:
                continue
            over = nvrtc.excess(used[entry.name], entry)
            assert not over, f"{entry.name} for {element}, sm_{architecture}: {over}"


def test_an_error_names_file_and_line():
    with pytest.raises(nvrtc.CompileError, match=r"kernels\.cu\(1\): error"):
        nvrtc.compile('extern "C" __global__ void f(float* x) { y[0] = 1; }', 75)


def test_spills_are_seen():
    many = 'extern "C" __global__ void __launch_bounds__(1024) f(float* x) { float v[200];'
    many += " for (int i = 0; i < 200; i++) v[i] = x[i * 1024 + threadIdx.x];"
    many += " for (int k = 0; k < 9; k++) for (int i = 0; i < 200; i++) v[i] = v[i] * v[(i * 7 + k) % 200];"
    many += " for (int i = 0; i < 200; i++) x[i * 1024 + threadIdx.x] = v[i]; }"
    usage = nvrtc.compile(many, 80)["f"]
    assert usage.spills + usage.stack > 0


def test_the_table_of_a_file(monkeypatch, capsys):
    source = cuda.SOURCES["cast.cu"]
    command = ["nvrtc", str(source.path), "--arch", "90", "--type", "float16", "--only", "packed"]
    monkeypatch.setattr("sys.argv", command)
    assert nvrtc.main() == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["kernel", "type", "arch", "registers", "shared", "stack", "spills"]
    assert [line.split()[:3] for line in lines] == [
        [name, "float16", "sm_90"] for name in ("widen_packed", "narrow_packed")
    ]
    monkeypatch.setitem(source.entries, "widen_packed", source.entries["widen_packed"]._replace(registers=1))
    assert nvrtc.main() == 1
    assert capsys.readouterr().out.splitlines()[1].endswith(", allowed 1")


def test_what_is_beyond_the_budget_is_named():
    entry = cuda.Entry("f", "g", registers=40)
    assert nvrtc.excess(nvrtc.Usage(registers=40, shared=0, spills=0, stack=0), entry) == ""
    over = nvrtc.excess(nvrtc.Usage(registers=41, shared=4, spills=8, stack=0), entry)
    assert over == "registers: 41, allowed 40, shared: 4, allowed 0, spills: 8, allowed 0"
