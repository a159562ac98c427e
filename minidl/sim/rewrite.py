"""From a kernel's source to a generator: it yields wherever a thread has to wait for others.

    value = cuda.shfl_down_sync(mask, value, 1)     becomes     value = yield ("shfl_down_sync", (mask, value, 1), place)
    cuda.syncthreads()                                          yield ("syncthreads", (), place)
    while step > 0: ...                                         while step > 0: yield None; ...
    reduce(s)          # a device function with a barrier       yield from reduce(s)

A thousand suspended generators cost what a thousand small objects do, and switching between them is a function call; with
a thread of the operating system each, or the simulator of Numba, a barrier costs milliseconds. Each turn of a `while` lets the other
threads run as well, since it may wait for what they do. The new code keeps the file name and the lines of the old one.

Reading the source also shows what CUDA does not have: see `Rewriter`, whose methods are named after the syntax.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any, NoReturn

import numpy as np

from .arithmetic import MATH, cast
from .errors import KernelError
from .intrinsics import NAMES, WAITING, Device, Host
from .memory import Array, dtype_of

UNKNOWN = object()  # what a name stands for that is only known at run time
ALLOWED = {"abs", "bool", "enumerate", "float", "int", "len", "max", "min", "pow", "print", "range", "round", "zip"}
ALLOCATIONS = {"shared.array", "local.array", "const.array_like"}
INSTEAD = {
    "sum": "add up in a loop",
    "sorted": "sort with a network of compare and exchange",
    "list": "use cuda.local.array",
    "any": "write a loop, or cuda.any_sync for a warp",
    "all": "write a loop, or cuda.all_sync for a warp",
}


class CudaName(str):
    """A dotted name below `cuda`, such as "shared.array"."""


@dataclass(eq=False)
class Function:
    """A kernel or device function that has been rewritten."""

    name: str
    file: str
    text: list[str]  # the lines of the source
    first: int  # the number of the first one in the file
    call: Callable[..., Any] = field(init=False)
    waits: bool = False  # whether it is a generator

    def parsed(self) -> ast.FunctionDef:
        """The definition, with the line numbers of the file. One that is indented stands under an `if`."""
        indented = self.text[0][:1].isspace()
        tree = ast.parse("\n".join(["if True:", *self.text] if indented else self.text)).body[0]
        ast.increment_lineno(tree, self.first - (2 if indented else 1))
        tree = tree.body[0] if isinstance(tree, ast.If) else tree
        if not isinstance(tree, ast.FunctionDef):
            raise KernelError("unsupported", "a kernel is a function made by `def`", self.name, self.file, self.first)
        return tree

    def excerpt(self, position: tuple[int | None, ...]) -> str:
        """The source between the (line, end line, column, end column) of an instruction, on one line."""
        line, end, column, end_column = (p or 0 for p in position)
        if not self.first <= line < self.first + len(self.text):
            return ""
        whole = self.text[line - self.first].encode()  # columns count bytes
        return (whole[column:end_column] if end == line else whole[column:].rstrip()).decode()


class Program:
    """A kernel with the device functions that it calls, made to run on a simulated device."""

    def __init__(self, kernel: Any, device: Device) -> None:
        self.device = device
        self.codes: dict[CodeType, Function] = {}
        self.done: dict[Any, Function] = {}
        self.warnings: list[str] = []
        self.main = self.compile(python_function(kernel), is_kernel=True)

    def compile(self, function: FunctionType, is_kernel: bool = False) -> Function:
        """The rewritten function; the same one for a function that is met again."""
        if function in self.done:
            if self.done[function] not in self.codes.values():
                again = self.done[function]
                raise KernelError("unsupported", "it calls itself: write a loop", again.name, again.file, again.first)
            return self.done[function]
        source = self.source(function)
        self.done[function] = source
        tree = source.parsed()
        rewriter = Rewriter(self, function, source, is_kernel)
        tree = rewriter.function(tree)
        source.waits = rewriter.waits
        names = list(function.__code__.co_freevars)
        maker = ast.parse(f"def _make({', '.join(names)}):\n    pass\n    return {tree.name}")
        maker.body[0].body[0] = tree  # type: ignore[attr-defined]
        code = compile(ast.fix_missing_locations(maker), source.file, "exec")
        scope = {name: self.rebound(name, value) for name, value in function.__globals__.items()} | rewriter.scope
        exec(code, scope)
        cells = [self.rebound(n, c.cell_contents) for n, c in zip(names, function.__closure__ or (), strict=True)]
        made = scope["_make"](*cells)
        made.__defaults__ = function.__defaults__
        self.codes[made.__code__] = source
        source.call = made
        return source

    def source(self, function: FunctionType) -> Function:
        name, file = function.__name__, function.__code__.co_filename
        try:
            lines, first = inspect.getsourcelines(function)
        except (OSError, TypeError):
            raise KernelError(
                "unsupported",
                "its source cannot be read: write it to a file, or define it in a notebook cell",
                name,
                file,
            ) from None
        return Function(name, file, "".join(lines).splitlines(), max(first, 1))

    def rebound(self, name: str, value: Any) -> Any:
        """What a global name of the kernel's file stands for in the simulation."""
        if is_cuda(value):
            return self.device
        if isinstance(value, np.ndarray):
            memory = self.device.memory
            return Array(memory, memory.buffer(name, "const", value.nbytes, tracked=False), value, 0, writable=False)
        return value


def is_cuda(value: Any) -> bool:
    """Whether a value is `cuda`: ours, Numba's own or that of the package numba-cuda."""
    return isinstance(value, (Host, Device)) or (
        isinstance(value, ModuleType) and value.__name__ in ("numba.cuda", "numba_cuda.numba.cuda")
    )


def python_function(thing: Any) -> FunctionType:
    """The Python function under `@cuda.jit`, or the function itself."""
    found = getattr(thing, "py_func", thing)
    if not isinstance(found, FunctionType):
        raise KernelError("launch", f"expected a kernel, a function under @cuda.jit, got {thing!r}", "simulate")
    return found


def is_scalar_type(value: Any) -> bool:
    """Whether calling the value converts a number: np.float32, or Numba's float32."""
    if isinstance(value, type):
        return issubclass(value, np.generic)
    return type(value).__module__.partition(".")[0] == "numba" and hasattr(value, "bitwidth")


class Rewriter(ast.NodeTransformer):
    """Rewrites one function, and raises KernelError for what CUDA does not have."""

    def __init__(self, program: Program, function: FunctionType, source: Function, is_kernel: bool) -> None:
        self.program, self.source, self.is_kernel = program, source, is_kernel
        self.waits = is_kernel
        self.scope: dict[str, Any] = {}
        self.locals = set(function.__code__.co_varnames) | set(function.__code__.co_cellvars)
        code = function.__code__
        self.parameters = set(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
        closure = zip(code.co_freevars, function.__closure__ or (), strict=True)
        self.outer = {**vars(builtins), **function.__globals__, **{n: c.cell_contents for n, c in closure}}
        self.shared_lines: set[int] = set()

    def function(self, tree: ast.FunctionDef) -> ast.FunctionDef:
        tree.decorator_list = []
        tree.args.defaults, tree.returns = [], None
        for argument in [*tree.args.posonlyargs, *tree.args.args]:
            argument.annotation = None
        if tree.args.vararg or tree.args.kwarg or tree.args.kwonlyargs:
            self.refuse(tree, "*args, **kwargs and keyword-only parameters: a kernel has positional parameters")
        body = [statement for statement in tree.body if not is_docstring(statement)]
        tree.body = [self.visit(statement) for statement in body]
        if self.waits:  # a generator, whether or not it meets a barrier
            never = ast.parse("if False:\n    yield").body[0]
            tree.body.append(ast.copy_location(never, tree))
        return tree

    def refuse(self, node: ast.AST, what: str) -> NoReturn:
        line = getattr(node, "lineno", self.source.first)
        raise KernelError("unsupported", what, self.source.name, self.source.file, line)

    def resolve(self, node: ast.AST) -> Any:
        """What a name or dotted name stands for, as far as that is known before the kernel runs."""
        if isinstance(node, ast.Name):
            found = UNKNOWN if node.id in self.locals else self.outer.get(node.id, UNKNOWN)
            return CudaName("") if is_cuda(found) else found
        if isinstance(node, ast.Attribute):
            base = self.resolve(node.value)
            if isinstance(base, CudaName):
                return CudaName(f"{base}.{node.attr}".lstrip("."))
            if isinstance(base, ModuleType):
                found = getattr(base, node.attr, UNKNOWN)
                return CudaName("") if is_cuda(found) else found
        return UNKNOWN

    def visit_Name(self, node: ast.Name) -> ast.AST:
        target = self.resolve(node)
        module = getattr(target, "__module__", None) or type(target).__module__
        if str(module).startswith(("numba.cuda", "numba_cuda")) and not hasattr(target, "py_func"):
            self.refuse(node, f"{node.id}: import cuda alone, `from numba import cuda`, and write cuda.{node.id}")
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        target = self.resolve(node)
        if isinstance(target, CudaName) and not target:  # numba.cuda, of `import numba`
            return self.named("_cuda", self.program.device, node)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        target = self.resolve(node.func)
        if isinstance(target, CudaName):
            return self.cuda_call(node, str(target))
        if is_scalar_type(target):
            dtype = dtype_of(target)
            node.func = self.named(f"_cast_{dtype}", cast(dtype), node.func)
        elif callable(target) and getattr(math, getattr(target, "__name__", ""), None) is target:
            name = str(getattr(target, "__name__", ""))
            if name not in MATH:
                self.refuse(node, f"math.{name}: CUDA has no such function")
            node.func = self.named(f"_math_{name}", MATH[name], node.func)
        elif isinstance(getattr(target, "py_func", None), FunctionType):
            callee = self.program.compile(target.py_func)
            node.func = self.named(f"_device_{callee.name}_{id(callee)}", callee.call, node.func)
            if callee.waits:
                self.waits = True
                self.generic_visit(node)
                return ast.copy_location(ast.YieldFrom(node), node)
        elif target is not UNKNOWN:
            self.check_call(node, target)
        return self.generic_visit(node)

    def cuda_call(self, node: ast.Call, name: str) -> ast.AST:
        if name not in NAMES:
            near = difflib.get_close_matches(name, sorted(NAMES), 3)
            hint = f"nearest: {', '.join(near)}" if near else "`help(minidl.sim)` lists what it has"
            self.refuse(node, f"cuda.{name}: the simulator does not have it; {hint}")
        node = self.generic_visit(node)  # type: ignore[assignment]
        if name == "shared.array":
            self.check_shared(node)
        if name in ("shared.array", "local.array"):
            self.check_size(node, name)
        if name not in WAITING:
            return node
        if node.keywords:
            self.refuse(node, f"cuda.{name}: give its arguments by position")
        least, most = WAITING[name]
        if not least <= len(node.args) <= most:
            self.refuse(node, f"cuda.{name} takes {least} to {most} arguments, got {len(node.args)}")
        self.waits = True
        place = ast.parse(repr((self.source.name, node.lineno, node.col_offset)), mode="eval").body
        arguments = ast.Tuple(list(node.args), ast.Load())
        request = ast.Tuple([ast.Constant(name), arguments, place], ast.Load())
        return ast.copy_location(ast.Yield(request), node)

    def check_shared(self, node: ast.Call) -> None:
        if node.lineno in self.shared_lines:
            self.program.warnings.append(
                f"{self.source.name}:{node.lineno}: two shared arrays on one line are one and the same array in the "
                "simulator of Numba; write one on a line"
            )
        self.shared_lines.add(node.lineno)

    def check_size(self, node: ast.Call, name: str) -> None:
        """Numba must know the size of an array when it compiles: numbers, and names of constants, one by one."""
        given = node.args[:1] or [keyword.value for keyword in node.keywords if keyword.arg == "shape"]
        for part in ast.walk(given[0]) if given else ():
            if isinstance(part, ast.Name) and part.id in self.parameters:
                self.refuse(
                    node,
                    f"cuda.{name}: its size depends on {part.id!r}, and must be known when the kernel is compiled: a global "
                    "constant, or for shared memory 0, which is the size given at the launch",
                )
            if isinstance(part, ast.BinOp) and any(isinstance(inner, ast.Name) for inner in ast.walk(part)):
                self.refuse(
                    node,
                    f"cuda.{name}: Numba takes no expression as a size; give {ast.unparse(part)} a name beside the kernel",
                )

    def check_call(self, node: ast.Call, target: Any) -> None:
        name = getattr(target, "__name__", str(target))
        module = (getattr(target, "__module__", None) or "").partition(".")[0]
        if getattr(builtins, name, None) is target and name not in ALLOWED:
            if not isinstance(target, type) or not issubclass(target, BaseException):
                self.refuse(node, f"{name}(): CUDA has no such function; {INSTEAD.get(name, 'write it out')}")
        elif isinstance(target, np.ufunc) or module == "numpy":
            self.refuse(
                node, f"np.{name}(): a kernel computes single numbers, with operators and the functions of math"
            )
        elif isinstance(target, FunctionType):
            self.refuse(node, f"{name}() is a plain Python function: put @cuda.jit(device=True) above it")

    def named(self, name: str, value: Any, like: ast.AST) -> ast.Name:
        self.scope[name] = value
        return ast.copy_location(ast.Name(name, ast.Load()), like)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        call, target = node.value, node.targets[0]
        allocates = isinstance(call, ast.Call) and self.resolve(call.func) in ALLOCATIONS
        self.generic_visit(node)
        if allocates and isinstance(call, ast.Call) and isinstance(target, ast.Name):
            call.keywords.append(ast.keyword("name", ast.Constant(target.id)))  # what messages call the array
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        self.generic_visit(node)
        self.waits = True
        node.body.insert(0, ast.copy_location(ast.Expr(ast.Yield(None)), node))
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        nothing = node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None)
        if self.is_kernel and not nothing:
            self.refuse(node, "a kernel returns nothing: write the result into an array that is an argument")
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, (str, bytes)):
            self.refuse(node, "a string: CUDA has none but in print()")
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        call = node.value
        if isinstance(call, ast.Call) and self.resolve(call.func) is print:
            call.args = [a if isinstance(a, ast.Constant) else self.visit(a) for a in call.args]
            return node
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        node.test = self.visit(node.test)
        return node


def is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


REFUSED: dict[str, str] = {
    "ListComp": "a list comprehension: CUDA has no lists; use a loop, and cuda.local.array for what it keeps",
    "SetComp": "a set comprehension: CUDA has no sets",
    "DictComp": "a dict comprehension: CUDA has no dicts",
    "GeneratorExp": "a generator expression: write a loop",
    "List": "a list: use cuda.local.array, or a tuple",
    "Dict": "a dict: CUDA has none; use arrays",
    "Set": "a set: CUDA has none",
    "JoinedStr": "an f-string: CUDA has no strings",
    "Try": "try: CUDA has no exceptions; test for the condition",
    "TryStar": "try: CUDA has no exceptions; test for the condition",
    "With": "with: CUDA has no context managers",
    "Import": "an import inside of a kernel: put it at the top of the file",
    "ImportFrom": "an import inside of a kernel: put it at the top of the file",
    "ClassDef": "a class: CUDA has none",
    "FunctionDef": "a function inside of a kernel: put it beside the kernel, under @cuda.jit(device=True)",
    "AsyncFunctionDef": "an async function",
    "Lambda": "a lambda: put a function beside the kernel, under @cuda.jit(device=True)",
    "Global": "global: pass an array as an argument and write to it",
    "Nonlocal": "nonlocal: pass an array as an argument and write to it",
    "Delete": "del: CUDA frees nothing",
    "Yield": "yield: CUDA has no generators",
    "YieldFrom": "yield: CUDA has no generators",
    "Await": "await",
    "Match": "match: write if and elif",
    "Starred": "a starred expression: name every argument",
    "NamedExpr": "an assignment inside of an expression: put it on a line of its own",
}


def _refuser(message: str) -> Callable[[Rewriter, ast.AST], None]:
    return lambda self, node: self.refuse(node, message)


for _syntax, _message in REFUSED.items():
    setattr(Rewriter, f"visit_{_syntax}", _refuser(_message))
