"""`check` in a notebook or a prompt: the same verdicts for functions that are there already.

from minidl.learn import check
check("init02", xavier_normal)
check("softmax", mine)          # an operation of the engine instead of an exercise: its samples are the check
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np

from .bank import Exercise, bank
from .checks import Check, Observation, Subject, equal
from .examine import Verdict, examine, summary
from .language import language
from .layout import style
from .report import report


def check(
    id: str, *functions: Any, lang: str | None = None, plain: bool = False, seed: int = 0, **named: Any
) -> Verdict:
    """Check functions as `minidl learn run` checks a file; print the verdict and return it.

    id: an exercise, or an operation of the engine such as "softmax", which is then called with the operation's arguments:
        arrays first, parameters by name. If it takes and returns Tensors, its gradients of order 1 and 2 are checked, too.
    functions: in the order of the names that the exercise asks for; or by name: check("nn05", forward=f, backward=g).

    The code runs in this process, without the limits that `minidl learn run` has. Forbidden names are looked for where Python
    knows the source. Raises ValueError for an unknown id, and where names are missing or unknown.

    Example:
        >>> verdict = check("arr04", softmax)
    """
    exercise = bank()[id] if id in bank() else _of_operation(id)
    if len(functions) > len(exercise.names):
        raise ValueError(f"check: {id} asks for {', '.join(exercise.names)}, and {len(functions)} functions were given")
    given = dict(zip(exercise.names, functions, strict=False)) | named
    if set(given) != set(exercise.names):
        raise ValueError(f"check: {id} asks for {', '.join(exercise.names)}; given: {', '.join(given) or 'nothing'}")
    verdict = examine(exercise, Subject(given, exercise.names, "\n".join(map(_source, given.values()))), seed)
    # in a notebook each function knows its own file
    files = {
        getattr(getattr(inspect.unwrap(function), "__code__", None), "co_filename", "") for function in given.values()
    }
    lines = report(exercise, summary(verdict, *files), style(language(lang), plain))
    print("\n".join(lines))
    return verdict


def _source(function: Any) -> str:
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return ""


class OperationCheck(Exercise):
    """An operation of the engine as an exercise without texts: its declared samples are the check."""

    op: Any

    def checks(self) -> list[Check]:
        return [Check("values", self._values), Check("gradient", self._gradients)]

    def untouched(self, source: str) -> bool:
        return False

    def _values(self, subject: Subject, rng: np.random.Generator) -> Iterator[Observation]:
        from ..testing.samples import samples_of

        for sample in samples_of(self.op):
            expected = _arrays(self.op.apply(*_tensors(sample, False), **sample.params))
            try:
                got = _call(subject.main, _copies(sample), sample)
            except (AttributeError, TypeError):  # not a function of arrays
                got = _call(subject.main, _tensors(sample, False), sample)
            if not sample.unique:
                continue
            yield equal(repr(sample), got if len(expected) > 1 else _only(got), _shaped(expected), rtol=1e-6, atol=1e-8)

    def _gradients(self, subject: Subject, rng: np.random.Generator) -> Iterator[Observation]:
        from ..autograd.gradcheck import GradcheckError, directional_check
        from ..testing.samples import samples_of

        if not self.op.differentiable:
            return
        for sample in samples_of(self.op):
            if not sample.smooth:
                continue
            inputs = _tensors(sample, True)
            if not _takes_tensors(subject.main, inputs, sample):
                return  # a function of arrays has no gradients
            for order in range(1, 3 if sample.second_order else 2):
                found = "agrees"
                try:
                    directional_check(lambda *xs: _call(subject.main, list(xs), sample), inputs, order=order)  # noqa: B023
                except GradcheckError as error:
                    found = str(error)
                yield equal(f"gradient of order {order}, {sample!r}", found, "agrees")


def _call(function: Any, inputs: list[Any], sample: Any) -> Any:
    """Call it as the operation is called; who calls the axis `dim`, as PyTorch does, is given it under that name."""
    params = dict(sample.params)
    if "axis" in params and "dim" in inspect.signature(function).parameters:
        params["dim"] = params.pop("axis")
    return function(*inputs, **params)


def _takes_tensors(function: Any, inputs: list[Any], sample: Any) -> bool:
    """Whether a function makes Tensors of Tensors."""
    try:
        out = _call(function, inputs, sample)
    except Exception:
        return False
    return any(hasattr(t, "array") for t in (out if isinstance(out, tuple | list) else (out,)))


def _tensors(sample: Any, requires_grad: bool) -> list[Any]:
    from ..autograd.op import wrap

    tensors = [wrap(x.copy()) if isinstance(x, np.ndarray) else x for x in sample.inputs]
    if requires_grad:
        tensors = [t.requires_grad_() if hasattr(t, "array") and t.array.dtype.kind in "fc" else t for t in tensors]
    return tensors


def _copies(sample: Any) -> list[Any]:
    return [x.copy() if isinstance(x, np.ndarray) else x for x in sample.inputs]


def _arrays(out: Any) -> list[Any]:
    return [t.array for t in (out if isinstance(out, tuple) else (out,))]


def _shaped(arrays: list[Any]) -> Any:
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def _only(got: Any) -> Any:
    return got[0] if isinstance(got, tuple) and len(got) == 1 else got


def _of_operation(id: str) -> Exercise:
    """The check of an operation by the name of its class or of its function: "softmax", "LayerNorm", "layer_norm"."""
    import difflib
    from pathlib import Path

    from ..testing.samples import REGISTRY

    def key(name: str) -> str:
        return name.replace("_", "").lower()

    ops = {key(op.__name__): op for op in REGISTRY}
    if key(id) not in ops:
        near = difflib.get_close_matches(id, [*bank(), *(op.__name__.lower() for op in REGISTRY)], 3)
        raise ValueError(
            f"check: {id!r} is neither an exercise nor an operation" + (f"; is it {' or '.join(near)}?" if near else "")
        )
    op = ops[key(id)]
    nothing = {"en": "", "zh": ""}
    made = OperationCheck(
        id=id, topic="", folder=Path(), names=(id,), title={"en": op.__name__, "zh": op.__name__}, task=nothing, why=nothing,
        followup=nothing, hints=(nothing, nothing, nothing), difficulty=0, engine=f"{op.__module__}:{op.__qualname__}",
    )  # fmt: skip
    object.__setattr__(made, "op", op)
    return made
