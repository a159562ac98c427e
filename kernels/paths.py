"""From a layer or a function down to the routines that run: what `kernels.explain` prints.

Python code says by name what it calls. This follows those names through the functions and classes of this project,
without running anything, and keeps the branches that end in a kernel.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from . import REGISTRY, Kernel, load_all

PROJECT = __name__.partition(".")[0]
DEEPEST = 6  # from a layer over its function and its operation to the kernel there are three steps


def explain(thing: Any) -> str:
    """Print, and return, the path from `thing` down to the routines that run.

    thing: a layer or its class, an operation, a function, a kernel or the name of one. Each line names a file and a line;
    the variant in force is marked with an arrow. Raises ValueError for a name that no kernel has.

    Example:
        >>> kernels.explain(nn.Linear)
    """
    load_all()
    if isinstance(thing, str):
        if thing not in REGISTRY:
            raise ValueError(f"no kernel is named {thing!r}; there are: {', '.join(sorted(REGISTRY))}")
        thing = REGISTRY[thing]
    if not callable(thing):
        raise TypeError(f"explain: expected a layer, an operation, a function or a kernel, got {thing!r}")
    if not isinstance(thing, (type, FunctionType, Kernel)) and hasattr(thing, "forward"):
        thing = type(thing)  # a layer, which is an instance of its class
    lines = list(_lines(thing, 0, set()))
    if not lines:
        lines = [_line(thing, 0), *(_line(called, 1) for called in _called_by(thing))]
        lines.append("  (no kernel below: it calls NumPy itself)")
    text = "\n".join(lines)
    print(text)
    return text


def location(thing: Any) -> str:
    """file:line of a function or class, as far as Python knows its source; the file as seen from beside the package."""
    thing = inspect.unwrap(thing)
    try:
        from pathlib import Path  # here, for the sake of the time that importing minidl takes

        path, line = Path(inspect.getsourcefile(thing) or "?").resolve(), inspect.getsourcelines(thing)[1]
    except (OSError, TypeError):  # typed into a prompt, or built in
        return "(no source file)"
    root = Path(sys.modules[PROJECT].__file__ or "").resolve().parent.parent
    return f"{path.relative_to(root) if path.is_relative_to(root) else path}:{line}"


def _lines(thing: Any, depth: int, seen: set[int]) -> Iterator[str]:
    """The line of `thing` and those below it, if a kernel is among them."""
    if depth > DEEPEST or id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, Kernel):
        yield from _kernel_lines(thing, depth)
        return
    below = [line for called in _called_by(thing) for line in _lines(called, depth + 1, seen)]
    if below:
        yield _line(thing, depth)
        yield from below


def _line(thing: Any, depth: int) -> str:
    return f"{'  ' * depth}{getattr(thing, '__qualname__', thing)}  {location(thing)}"


def _kernel_lines(kernel: Kernel, depth: int) -> Iterator[str]:
    indent = "  " * max(depth, 1)
    yield f"{indent}kernels.{kernel.name}  {location(kernel.reference)}"
    own = [kernel.in_force(device) for device, wanted in kernel.choice.items() if callable(wanted)]
    for variant in [*kernel.variants.values(), *own]:
        why = f"  missing: {variant.missing()}" if variant.missing() else ""
        mark = "->" if not why and variant.run is kernel.in_force(variant.device).run else "  "
        yield f"{indent}{mark} {variant.name} [{variant.device}]  {location(variant.run)}{why}"


def _called_by(thing: Any) -> list[Any]:
    """The kernels, operations and functions of this project that the code of `thing` names."""
    if isinstance(thing, type):
        functions = [getattr(thing, name, None) for name in ("forward", "backward")]
    else:
        functions = [inspect.unwrap(thing)]
    named = [found for f in functions if isinstance(f, FunctionType) for found in _named_in(f)]
    steps = {id(t): t for t in named if isinstance(t, Kernel) or _is_step(t)}
    return sorted(steps.values(), key=lambda t: isinstance(t, FunctionType))  # the operation itself before its helpers


def _is_step(thing: Any) -> bool:
    module = getattr(thing, "__module__", None) or ""
    if not module.startswith(f"{PROJECT}.") or module.startswith((f"{PROJECT}.autograd.", __package__)):
        return False
    return isinstance(thing, FunctionType) or (isinstance(thing, type) and hasattr(thing, "forward"))


def _named_in(function: FunctionType) -> Iterator[Any]:
    """What the names in a function's code stand for: globals, what it closes over, attributes of modules among them."""
    names = list(_names(function.__code__))
    found = [function.__globals__[name] for name in names if name in function.__globals__]
    found += [cell.cell_contents for cell in function.__closure__ or () if cell.cell_contents is not function]
    for thing in found:  # grows while it is read: a module may hold another module
        if isinstance(thing, ModuleType):
            if thing.__name__.startswith(PROJECT):
                found += [getattr(thing, name) for name in names if hasattr(thing, name)]
        else:
            yield thing


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
