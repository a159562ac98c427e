"""The registry itself: choosing variants, refusing what does not fit, and explaining what runs."""

from __future__ import annotations

import ast
import doctest
import inspect
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import kernels, nn
from minidl.kernels import Kernel, KernelUnavailable, jit

SOURCES = sorted(Path(kernels.__file__).parent.glob("*.py"))
ROOT = Path(kernels.__file__).resolve().parent.parent


@pytest.fixture
def twice():
    """A kernel of this test's own, with variants "plus" and "absent", the latter of a package that does not exist."""

    @Kernel
    def twice(x):
        """Two times x."""
        return "reference", 2 * x

    @twice.variant("plus", device="cpu", supports=lambda x: x.dtype == np.float32)
    def twice_plus(x):
        return "plus", x + x

    @twice.variant("absent", device="cpu", requires="no_such_package")
    def twice_absent(x):
        raise AssertionError("a missing variant was called")

    yield twice
    del kernels.REGISTRY["twice"]


X = np.ones(2, np.float32)


def test_default_is_the_reference_without_numba(twice):
    assert twice(X)[0] == "reference"


def test_use_as_a_call(twice):
    kernels.use(twice="plus")
    assert twice(X)[0] == "plus"
    kernels.use(twice=None)
    assert twice(X)[0] == "reference"


def test_use_as_a_context_manager_restores(twice):
    with kernels.use(twice="plus"):
        with kernels.use(twice="numpy"):
            assert twice(X)[0] == "reference"
        assert twice(X)[0] == "plus"
    assert twice(X)[0] == "reference"


def test_a_variant_that_copies_takes_arrays_in_another_order(twice):
    row_major_floats = lambda x: x.dtype == np.float32 and x.flags.c_contiguous  # noqa: E731

    @twice.variant("copying", device="cpu", supports=row_major_floats, copies=True)
    def twice_copying(x):
        assert x.flags.c_contiguous
        return "copying", x + x

    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    with kernels.use(twice="copying"):
        for y in (x, x.T, x[:, ::2], np.broadcast_to(x[0], (4, 3))):
            name, found = twice(y)
            assert name == "copying" and (found == 2 * y).all()
        for y in (x.astype(np.float64), x.astype(np.float64).T):  # a copy would not help
            assert twice(y)[0] == "reference"


def test_use_restores_after_an_error(twice):
    with pytest.raises(ZeroDivisionError), kernels.use(twice="plus"):
        raise ZeroDivisionError
    assert twice(X)[0] == "reference"


def test_a_choice_that_fails_changes_nothing(twice):
    with pytest.raises(KernelUnavailable):
        kernels.use(twice="plus", softmax="absent")
    assert twice(X)[0] == "reference"
    with pytest.raises(KernelUnavailable):
        kernels.use("absent", twice="plus")
    assert twice(X)[0] == "reference"


def test_one_name_for_all_kernels(twice):
    with kernels.use("numpy"):
        assert {k.in_force("cpu").name for k in kernels.REGISTRY.values()} == {"numpy"}
    with kernels.use("numpy", twice="plus"):
        assert twice.in_force().name == "plus"


def test_unsupported_input_takes_the_reference(twice):
    with kernels.use(twice="plus"):
        assert twice(X.astype(np.float64))[0] == "reference"


def test_a_function_of_the_users(twice):
    def mine(x):
        return "mine", x

    with kernels.use(twice=mine):
        assert twice(X)[0] == "mine"
        text = kernels.explain("twice")
    marked = [line for line in text.splitlines() if "->" in line and "[cpu]" in line]
    assert len(marked) == 1
    assert "mine" in marked[0] and "test_registry.py:" in marked[0]


def test_missing_variants_are_listed_with_the_reason(twice):
    with pytest.raises(KernelUnavailable) as error:
        kernels.use(twice="absent")
    assert str(error.value).startswith(
        "kernel 'twice' has no variant 'absent' here (no_such_package is not installed); there are: numpy [cpu], "
    )
    assert "plus [cpu], absent [cpu] (missing: no_such_package is not installed)" in str(error.value)
    with pytest.raises(
        KernelUnavailable, match=r"kernel 'twice' has no variant 'numba' here; there are: numpy \[cpu\]"
    ):
        kernels.use(twice="numba")
    with pytest.raises(KernelUnavailable, match=r"no kernel has a variant 'avx'"):
        kernels.use("avx")


def test_unknown_kernel():
    with pytest.raises(ValueError, match=r"unknown kernel sofmax; there are: .*softmax"):
        kernels.use(sofmax="numpy")
    with pytest.raises(ValueError, match=r"no kernel is named 'sofmax'; there are: .*softmax"):
        kernels.explain("sofmax")


def test_a_variant_with_another_signature_is_refused(twice):
    with pytest.raises(
        TypeError, match=r"kernel twice: variant 'other' has the parameters \(x, y\), the reference .*\(x\)"
    ):
        twice.variant("other", device="cpu")(lambda x, y: x)


def test_a_second_kernel_of_the_same_name_is_refused(twice):
    def again(x):
        return x

    again.__name__ = "twice"
    with pytest.raises(ValueError, match=r"kernel 'twice' is defined twice"):
        Kernel(again)


def test_every_variant_has_the_signature_of_its_reference():
    kernels.load_all()
    assert {"softmax", "adam", "philox", "layer_norm", "cross_entropy", "embedding_backward"} <= set(kernels.REGISTRY)
    for kernel in kernels.REGISTRY.values():
        for variant in kernel.variants.values():
            names = [list(inspect.signature(f).parameters) for f in (variant.run, kernel.reference)]
            assert names[0] == names[1], (kernel.name, variant.name)


def test_examples_in_the_docstrings():
    kernels.load_all()
    for kernel in kernels.REGISTRY.values():  # doctest's own search does not look into Kernel objects
        names = vars(sys.modules[kernel.reference.__module__])
        example = doctest.DocTestParser().get_doctest(kernel.__doc__ or "", dict(names), kernel.name, None, 0)
        report = io.StringIO()
        assert not doctest.DocTestRunner().run(example, out=report.write).failed, report.getvalue()


def test_explain(twice, capsys):
    with kernels.use(twice="plus"):
        text = kernels.explain("twice")
    assert capsys.readouterr().out == text + "\n"
    head, *lines = text.splitlines()
    assert head.startswith("  kernels.twice  ")
    assert "test_registry.py:" in head
    assert [line.split()[0] for line in lines if "[cpu]" in line] == ["numpy", "->", "absent"]
    assert next(line for line in lines if "absent" in line).endswith("missing: no_such_package is not installed")
    assert kernels.explain(twice).startswith(head)


def test_explain_finds_the_kernels_that_a_function_calls(capsys):
    def layer(x):
        return kernels.softmax(x, -1)

    first, second, *rest = kernels.explain(layer).splitlines()
    assert "layer" in first and "test_registry.py:" in first
    assert second.startswith(f"  kernels.softmax  kernels{os.sep}softmax.py:")
    assert any(line.startswith("  -> ") for line in rest)


def test_repr_and_docstring(twice):
    assert repr(twice).startswith("<Kernel twice: numpy [cpu], ")
    assert repr(twice).endswith("in force on the CPU: numpy>")
    assert twice.__doc__ == "Two times x."


@jit.jit
def jitted_inner(x):
    return x + 1


@jit.jit
def jitted_outer(x):
    return 2 * jitted_inner(x)


@jit.jit
def jitted_plus(x):
    return x + 1


@jit.jit
def jitted_caller(x):
    return 2 * jitted_plus(x)


def test_jit_compiles_at_the_first_call_and_rebinds_the_names():
    pytest.importorskip("numba")
    stub = jitted_outer
    assert isinstance(stub, jit.LazyJit)
    assert stub.compiled is None
    assert jitted_outer(3) == 8
    assert not isinstance(jitted_outer, jit.LazyJit)
    assert jitted_outer is stub.compiled
    assert stub(4) == 10  # a stub that somebody kept still works


def test_jit_compiles_for_kernels_and_for_python_apart():
    pytest.importorskip("numba")
    inner, compiled = jit.jit(jitted_plus.function), jitted_plus.compile()
    assert compiled is jitted_plus.compile() and compiled.targetoptions["no_cpython_wrapper"]
    assert inner(3) == 4 and jitted_plus(3) == 4  # the name was not rebound to what Python cannot call
    assert jitted_plus.lazy.compile() is compiled
    assert jitted_caller(3) == 8 and jitted_caller.py_func.__globals__["jitted_plus"] is compiled


def test_jit_options():
    pytest.importorskip("numba")
    compiled = jit.jit(fastmath={"contract"})(lambda x: x).compile()
    assert compiled.targetoptions["fastmath"] == {"contract"}
    assert compiled.targetoptions["error_model"] == "numpy"


def test_cached_code_is_renewed_when_a_called_file_changes(tmp_path):
    pytest.importorskip("numba")
    (tmp_path / "caller.py").write_text(
        "from minidl.kernels.jit import jit\nfrom middle import middle\n\n@jit\ndef caller(x):\n    return middle(x)\n"
    )
    (tmp_path / "middle.py").write_text(
        "from minidl.kernels.jit import jit\nfrom callee import callee\n\n@jit\ndef middle(x):\n    return callee(x)\n"
    )
    for number in (1, 2):
        callee = tmp_path / "callee.py"
        callee.write_text(f"from minidl.kernels.jit import jit\n\n@jit\ndef callee(x):\n    return x + {number}\n")
        os.utime(callee, (number, number))
        assert run_python("import caller; print(caller.caller(0))", path=tmp_path) == f"{number}\n"
    os.utime(callee, (3, 3))  # touched, but the same
    count = "import caller; caller.caller(0); from minidl.kernels._cache import announcer; print(announcer.count)"
    assert run_python(count, path=tmp_path) == "0\n"


def run_python(code: str, path: Path | None = None, **environment: str) -> str:
    places = [str(path)] if path else []
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*places, *sys.path]), **environment}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    return done.stdout or done.stderr.splitlines()[-1]


SHOW = """
import minidl
from minidl import kernels, nn
kernels.load_all()
print(*(kernels.REGISTRY[name].in_force().name for name in ("adam", "softmax")))
"""


def test_environment_variable():
    default = " ".join(kernels.REGISTRY[name].in_force().name for name in ("adam", "softmax"))
    assert run_python(SHOW, MINIDL_KERNELS="") == f"{default}\n"
    assert run_python(SHOW, MINIDL_KERNELS="numpy") == "numpy numpy\n"
    assert run_python(SHOW, MINIDL_KERNELS="softmax=numpy, sgd=numpy") == f"{default.split()[0]} numpy\n"
    assert "write one variant name, or kernel=variant pairs" in run_python(SHOW, MINIDL_KERNELS="numpy,softmax=numpy")
    assert "unknown kernel sofmax" in run_python(SHOW, MINIDL_KERNELS="sofmax=numpy")


def test_kernels_import_nothing_heavy_until_they_run():
    heavy = "('numba', 'scipy', 'cupy')"
    code = (
        f"import sys; from minidl import kernels; kernels.load_all(); print([m for m in {heavy} if m in sys.modules])"
    )
    assert run_python(code) == "[]\n"


def test_import_kernels_is_refused(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    with pytest.raises(ImportError, match=r"write `from minidl import kernels`, not `import kernels`"):
        __import__("kernels")
    assert "kernels" not in sys.modules


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_kernels_do_not_import_minidl(source):
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"{source.name}:{node.lineno} reaches out of the package"
            modules = [] if node.level else [node.module or ""]
        else:
            continue
        assert not [m for m in modules if m.partition(".")[0] in ("minidl", "kernels")], f"{source.name}:{node.lineno}"


def _steps(text):
    """The names of the steps in an explanation, without the variants."""
    return [line.split()[0] for line in text.splitlines() if "[" not in line]


@pytest.mark.parametrize("layer", [nn.Linear, nn.Linear(2, 3), nn.functional.linear])
def test_three_hops_from_linear_to_its_kernel(layer):
    steps = _steps(kernels.explain(layer))
    if layer is not nn.functional.linear:
        assert steps.pop(0) == "Linear"
    assert steps == ["linear", "Linear", "kernels.gemm"]


def test_every_location_in_an_explanation_is_a_line_of_code():
    places = [word for word in kernels.explain(nn.LayerNorm).split() if ".py:" in word]
    assert len(places) > 5
    for place in places:
        path, line = place.rsplit(":", 1)
        assert (ROOT / path).read_text().splitlines()[int(line) - 1].lstrip().startswith(("@", "def ", "class "))


def test_explain_without_a_kernel():
    text = kernels.explain(minidl.exp)
    assert "Exp " in text and "no kernel" in text
    with pytest.raises(TypeError, match="expected a layer"):
        kernels.explain(3)
