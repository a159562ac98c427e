"""What a check of an exercise is made of.

A check looks at the learner's functions and yields observations: what was seen beside what was wanted. Because every kind of
check (values, gradients, properties, statistics, training) yields the same thing, one mechanism judges them all, and one
mechanism recognizes a misconception: the learner's file shows the same as a stored wrong answer (minidl/learn/examine.py).

    checks = [
        forbid("softmax", "log_softmax"),
        values(reference, cases),
        gradient("softmax_backward", reference, cases),
        sums_to_one,                                  # a function below @check("property")
    ]
"""

from __future__ import annotations

import ast
import copy
import linecache
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

STAGES = ("signature", "forbidden", "values", "gradient", "property", "statistics", "training", "simulator", "budget")


class Subject:
    """What is checked: the objects that the learner's file defines, as attributes, and its text."""

    def __init__(self, objects: dict[str, Any], names: tuple[str, ...], source: str = "") -> None:
        self.objects, self.names, self.source = objects, names, source

    @classmethod
    def of_source(cls, source: str, filename: str, names: tuple[str, ...]) -> Subject:
        """Run a text as a module of its own. Whatever it raises comes out as it is, with lines for the traceback."""
        # under the file's own name, so that a traceback and inspect.getsource show its lines though it is not on the disk
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        objects: dict[str, Any] = {"__name__": "exercise", "__file__": filename}
        exec(compile(source, filename, "exec"), objects)
        return cls(objects, names, source)

    @property
    def main(self) -> Any:
        """The first of the names: what `values` calls."""
        return getattr(self, self.names[0])

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["objects"][name]
        except KeyError:
            raise MissingName(name) from None


class MissingName(AttributeError):
    """The learner's file lacks one of the names that the exercise asks for."""


@dataclass
class Observation:
    """What was seen, what was wanted, and how near is near enough.

    `what` says for which input, short and the same in every language ("fan_in=64, fan_out=512", "d loss/dx at x=-1e4").
    `relation` is "equal", "at least", "at most" or "near" (within `atol`, a stated bound of a statistic).
    `noise` is the standard error of a random `got`: two files that draw differently but do the same show the same up to it.
    `alike`, if given, is what two files are compared by instead of `got`, which may name lines that only one of them has.
    """

    what: str
    got: Any
    expected: Any
    relation: str = "equal"
    rtol: float = 1e-6
    atol: float = 1e-9
    noise: float = 0.0
    alike: Any = None


def equal(what: str, got: Any, expected: Any, *, rtol: float = 1e-6, atol: float = 1e-9) -> Observation:
    """`got` must equal `expected`: numbers and arrays within the tolerance, everything else exactly."""
    return Observation(what, _as_it_is_now(got), _as_it_is_now(expected), "equal", rtol, atol)


def _as_it_is_now(value: Any) -> Any:
    """Arrays by value: the next step of an optimizer changes the ones that it was given."""
    if isinstance(value, np.ndarray):
        return value.copy()
    return type(value)(map(_as_it_is_now, value)) if type(value) in (list, tuple) else value


def at_least(what: str, got: float, bound: float, *, noise: float = 0.0) -> Observation:
    return Observation(what, got, bound, "at least", noise=noise)


def at_most(what: str, got: float, bound: float, *, noise: float = 0.0) -> Observation:
    return Observation(what, got, bound, "at most", noise=noise)


def near(what: str, got: float, expected: float, sigma: float, *, z: float = 5.0) -> Observation:
    """A statistic whose standard error is `sigma`: right within `z` of them (z = 5: one false alarm in 1.7 million)."""
    return Observation(what, got, expected, "near", 0.0, z * sigma, noise=sigma)


def raises(what: str, kind: type[Exception], call: Callable[[], Any]) -> Observation:
    """`call` must raise `kind`; what is seen is the name of what it raised, or what it returned."""
    try:
        result = call()
    except NotImplementedError:
        raise
    except Exception as error:
        return equal(what, kind.__name__ if isinstance(error, kind) else type(error).__name__, kind.__name__)
    return equal(what, f"returned {brief(result)}", kind.__name__)


@dataclass
class Case:
    """Arguments of one call. `note` names them in a report; without it they are printed."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    def __str__(self) -> str:
        if self.note:
            return self.note
        shown = [brief(value) for value in self.args]
        return ", ".join([*shown, *(f"{name}={brief(value)}" for name, value in self.kwargs.items())])


def case(*args: Any, note: str = "", **kwargs: Any) -> Case:
    """A call with these arguments."""
    return Case(args, kwargs, note)


def brief(value: Any) -> str:
    """A value on one line: an array of more than six numbers by its shape."""
    if isinstance(value, np.ndarray):
        if value.size > 6:
            return f"array of shape {value.shape}"
        return np.array2string(value, precision=4, separator=", ").replace("\n", "")
    if isinstance(value, np.random.Generator):
        return "rng"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass
class Check:
    """A stage and what it observes: `observe(subject, rng)` yields observations. Costly ones (training) run last."""

    stage: str
    observe: Callable[[Subject, np.random.Generator], Iterable[Observation]]
    costly: bool = False

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"a check's stage is one of {', '.join(STAGES)}, not {self.stage!r}")


def check(stage: str, *, costly: bool = False) -> Callable[[Callable[..., Iterable[Observation]]], Check]:
    """Make a check of a function `(subject, rng)` that yields observations."""
    return lambda observe: Check(stage, observe, costly)


Cases = Callable[[np.random.Generator], Iterable[Case]]


def values(
    reference: Callable[..., Any],
    cases: Cases,
    *,
    name: str = "",
    rtol: float = 1e-6,
    atol: float = 1e-9,
    pure: bool = True,
) -> Check:
    """The function's results beside a reference's, which is written another way than the solution.

    `name` is the function, by default the exercise's first name. With `pure`, arguments must be left as they were.
    """

    def observe(subject: Subject, rng: np.random.Generator) -> Iterator[Observation]:
        function = getattr(subject, name) if name else subject.main
        for one in cases(rng):
            wanted, mine = copy.deepcopy(one), copy.deepcopy(one)
            expected = reference(*wanted.args, **wanted.kwargs)
            yield equal(str(one), function(*mine.args, **mine.kwargs), expected, rtol=rtol, atol=atol)
            if pure:
                for i, (before, after) in enumerate(zip(one.args, mine.args, strict=True)):
                    if isinstance(before, np.ndarray):
                        yield equal(f"argument {i + 1} must not be changed, {one}", after, before, rtol=0, atol=0)

    return Check("values", observe)


def gradient(
    name: str, forward: Callable[..., Any], cases: Cases, *, wrt: tuple[int, ...] = (0,), rtol: float = 1e-6
) -> Check:
    """A backward function beside central differences of `forward`, in float64.

    It is called as `backward(g, *args)`, where g has the shape of the result and is random (a g of ones would not notice a
    softmax gradient that is wrong by any factor), and returns the gradient of sum(g * forward(*args)) for the arguments
    `wrt`: an array, or a tuple of them if `wrt` has several.
    """

    def observe(subject: Subject, rng: np.random.Generator) -> Iterator[Observation]:
        backward = getattr(subject, name)
        for one in cases(rng):
            args = [np.asarray(a, np.float64) if i in wrt else a for i, a in enumerate(one.args)]
            g = rng.normal(size=np.shape(forward(*args, **one.kwargs)))
            got = backward(g.copy(), *copy.deepcopy(args), **one.kwargs)
            if len(wrt) == 1:
                got = (got,)
            elif not isinstance(got, tuple | list) or len(got) != len(wrt):
                yield equal(f"{name}(g, ...), {one}", got, ("gradient",) * len(wrt))
                return
            for i, mine in zip(wrt, got, strict=True):
                expected = slope(partial(_weighted, forward, one, args, i, g), args[i])
                yield equal(f"gradient of argument {i + 1}, {one}", mine, expected, rtol=rtol, atol=1e-7)

    return Check("gradient", observe)


def _weighted(forward: Callable[..., Any], one: Case, args: list[Any], i: int, g: Any, value: Any) -> Any:
    """sum(g * forward(...)) with `value` as argument i."""
    return (g * forward(*args[:i], value, *args[i + 1 :], **one.kwargs)).sum()


def slope(function: Callable[[Any], Any], x: Any) -> Any:
    """The gradient of a function with one number as its result, by central differences of fourth order; x as float64."""
    x = np.array(x, np.float64)
    result = np.zeros_like(x)
    flat, out = x.reshape(-1), result.reshape(-1)
    for i in range(flat.size):
        before, h = flat[i], 1e-3 * max(1.0, abs(flat[i]))
        around = []
        for step in (-2, -1, 1, 2):
            flat[i] = before + step * h
            around.append(float(function(x)))
        flat[i] = before
        out[i] = (around[0] - 8 * around[1] + 8 * around[2] - around[3]) / (12 * h)
    return result


def forbid(*names: str) -> Check:
    """The file must not use these names: not call, import or look them up. For what the exercise is about itself.

    A dotted name ("np.add.at") is forbidden as it stands, a plain one ("softmax", "scipy") as any part of a name. Defining a
    function of that name is what the exercise asks for, and is allowed.
    """

    def observe(subject: Subject, rng: np.random.Generator) -> Iterator[Observation]:
        used = _names_in(subject.source)
        own = set(subject.names)
        for name in names:
            found = {n for n in used if n == name or name in n.split(".")}
            # the plain name of an own function is a call of oneself, or of the helper that was asked for
            yield equal(name, sorted(found - own), [])

    return Check("forbidden", observe)


def forbid_loops() -> Check:
    """The file must not loop in Python: no for, while or comprehension."""
    loops = (ast.For, ast.While, ast.comprehension)

    def observe(subject: Subject, rng: np.random.Generator) -> Iterator[Observation]:
        found = [node for node in ast.walk(ast.parse(subject.source)) if isinstance(node, loops)]
        yield equal("loops", len(found), 0)

    return Check("forbidden", observe)


def _names_in(source: str) -> set[str]:
    """Every name that a text uses, dotted where it is."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom):
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found
