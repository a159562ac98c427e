"""Every call that minidl makes of `xp`, which is NumPy or CuPy, is one that CuPy has: the name, and the arguments by their names.

Found in the source, so that lines which no test reaches are looked at, too. What CuPy has stands in the stand-in's api.json; where
CuPy is installed it is asked itself, for which no GPU is needed.
"""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path

import pytest

import minidl
from minidl.testing.strict_cupy import device, functions, record

PACKAGE = Path(minidl.__file__).parent
API = json.loads(record.FILE.read_text())
OF_UFUNCS = {"out", "dtype", "casting"}  # and of their methods reduce and accumulate:
OF_METHODS = {"axis", "dtype", "out", "keepdims"}
# neither functions of arrays nor in api.json; fft is a module
OTHERS = {
    f"cupy.{name}"
    for name in (
        "__version__",
        "RawKernel",
        "RawModule",
        "fft",
        "finfo",
        "from_dlpack",
        "get_default_memory_pool",
        "iinfo",
    )
}


def sources():
    for folder in (PACKAGE, (PACKAGE / "kernels").resolve()):
        yield from (path for path in sorted(folder.rglob("*.py")) if path.parent.name != "strict_cupy")


def module_of(node):
    """The dotted name of what an expression takes from CuPy, such as cupy.linalg.inv, or None."""
    if isinstance(node, ast.Name) and node.id in ("xp", "cupy"):
        return "cupy"
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "array_module":
        return "cupy"
    if isinstance(node, ast.Attribute) and (inner := module_of(node.value)) is not None:
        return f"{inner}.{node.attr}"
    return None


def uses(text):
    """(line, dotted name, the call or None) of all that a source takes from CuPy."""
    nodes = list(ast.walk(ast.parse(text)))
    calls = {id(node.func): node for node in nodes if isinstance(node, ast.Call)}
    inner = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if isinstance(node, ast.Attribute) and id(node) not in inner and (name := module_of(node)) is not None:
            yield node.lineno, name, calls.get(id(node))


def keywords(call):
    return {k.arg for k in call.keywords if k.arg} if call is not None else set()


def bound(signature, call):
    """Whether a call fits a signature; one with *arguments may."""
    if any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords):
        parameters = signature.parameters.values()
        return keywords(call) <= {p.name for p in parameters} or any(p.kind is p.VAR_KEYWORD for p in parameters)
    try:
        signature.bind(*call.args, **{k.arg: None for k in call.keywords})
    except TypeError:
        return False
    return True


def problem(name, call):
    """What is wrong with a use according to api.json, or None. Of cupy.cuda and the like, see the other test."""
    module, _, last = name.rpartition(".")
    if module.rpartition(".")[2] in API["ufuncs"]["cupy"]:  # a ufunc's method
        return None if last in ("reduce", "accumulate", "at", "outer") and keywords(call) <= OF_METHODS else "unknown"
    if last in API["ufuncs"].get(module, {}):
        return None if keywords(call) <= OF_UFUNCS else f"ufuncs take {sorted(OF_UFUNCS)}"
    parameters = API["functions"].get(module, {}).get(last)
    if parameters is None:
        known = module == "cupy" and (last in API["from numpy"] or last in functions.SPECIAL_CASES)
        return None if known or module not in API["functions"] else "there is no such function"
    signature = inspect.signature(eval(f"lambda {parameters}: None"))
    return None if call is None or bound(signature, call) else f"it takes ({parameters})"


def test_all_calls_are_of_functions_that_cupy_has():
    count, wrong = 0, []
    for path in sources():
        for line, name, call in uses(path.read_text()):
            count += 1
            if name not in OTHERS and (why := problem(name, call)):
                wrong.append(f"{path.name}:{line}: {name}: {why}")
    assert count > 400 and not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "line, wrong",
    [
        ("xp.sum(x, axis=0, keepdims=True)", False),
        ("xp.sum(x, where=x > 0)", True),
        ("array_module(x).insert(x, 0, 1)", True),
        ("xp.add(x, y, out=x)", False),
        ("xp.add(x, y, where=m)", True),
        ("xp.add.reduce(x, axis=0)", False),
        ("xp.add.reduceat(x, i)", True),
        ("cupy.linalg.inv(x)", False),
        ("cupy.linalg.inv(x, True)", True),
        ("xp.linalg.no(x)", True),
        ("xp.zeros(3, 'f', 'C', 1, 2)", True),
    ],
)
def test_what_is_wrong_is_found(line, wrong):
    ((_, name, call),) = uses(line)
    assert bool(problem(name, call)) is wrong


def test_bfloat16_is_added_by_cupy_where_that_is_counted_on():
    for name in functions.BFLOAT16:
        loops = API["ufuncs"]["cupy"][name]["types"].split()
        assert any(set(loop.partition("->")[0]) == {"E"} and loop.endswith("->E") for loop in loops), name


def test_all_calls_are_of_the_cupy_that_is_installed():
    cupy = pytest.importorskip("cupy")
    wrong = []
    for path in sources():
        for line, name, call in uses(path.read_text()):
            found = cupy
            for part in name.split(".")[1:]:
                found = getattr(found, part, None)
            if found is None:
                wrong.append(f"{path.name}:{line}: {name}: there is no such thing")
            elif inspect.isfunction(found) and call is not None and not bound(inspect.signature(found), call):
                wrong.append(f"{path.name}:{line}: {name}: it takes {inspect.signature(found)}")
    assert not wrong, "\n".join(wrong)


def test_the_device_of_the_stand_in_has_nothing_that_cupy_lacks():
    cuda = pytest.importorskip("cupy").cuda
    missing = []
    for name, ours in vars(device.module()).items():
        if name.startswith("__"):
            continue
        theirs = getattr(cuda, name, None)
        members = vars(ours) if inspect.isclass(ours) or name == "runtime" else ()
        of_ours = (
            [name] if theirs is None else [f"{name}.{m}" for m in members if m[0] != "_" and not hasattr(theirs, m)]
        )
        missing += of_ours
    assert not missing
    attributes = ("MaxSharedMemoryPerBlockOptin", "MultiProcessorCount", "MaxSharedMemoryPerMultiprocessor",
                  "MaxRegistersPerMultiprocessor", "MaxThreadsPerMultiProcessor")  # fmt: skip
    assert all(hasattr(cuda.runtime, f"cudaDevAttr{name}") for name in attributes)
    assert hasattr(cuda.compiler, "CompileException")
