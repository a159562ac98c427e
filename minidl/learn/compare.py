"""Whether what was seen is what was wanted, and if not, what exactly is different: a Problem, in data rather than words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .checks import Observation, brief

SHOWN = 5  # mismatches that a report shows


@dataclass
class Mismatch:
    index: tuple[int, ...]
    got: Any
    expected: Any


@dataclass
class Problem:
    """Why an observation does not hold.

    kind       "type", "shape", "dtype", "length", "values" (arrays: `mismatches` has the first five), "value", "bound",
               "raised" (an exception of the learner's), "missing" (a name that the file lacks)
    what       the input
    got, expected   what there was and what was wanted: values, shapes, names of types, as `kind` says
    count, size     wrong elements, and of how many; `bad` counts NaN and infinities that should be numbers
    """

    kind: str
    what: str
    got: Any = None
    expected: Any = None
    relation: str = "equal"
    tolerance: float = 0.0
    mismatches: list[Mismatch] = field(default_factory=list)
    count: int = 0
    size: int = 0
    bad: int = 0
    ratio: float | None = None  # got / expected, where that is one number throughout

    def json(self) -> dict[str, Any]:
        """The same in plain JSON values."""
        plain = {name: _json(value) for name, value in vars(self).items() if name != "mismatches"}
        plain["mismatches"] = [
            {"index": list(m.index), "got": _json(m.got), "expected": _json(m.expected)} for m in self.mismatches
        ]
        return plain


def _json(value: Any) -> Any:
    """A value that JSON has: what it lacks, NaN among it, as text."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value if isinstance(value, int | float | str | None) else brief(value)


def problem(seen: Observation) -> Problem | None:
    """What is wrong with an observation, or None."""
    if seen.relation == "equal":
        return _difference(seen.what, seen.got, seen.expected, seen.rtol, seen.atol)
    if not _number(seen.got):
        return Problem("type", seen.what, _type(seen.got), "number")
    got, bound = float(seen.got), float(seen.expected)
    holds = {
        "at least": got >= bound,
        "at most": got <= bound,
        "near": abs(got - bound) <= seen.atol,
    }[seen.relation]
    if holds:
        return None
    return Problem(
        "bound", seen.what, got, bound, seen.relation, seen.atol, ratio=_ratio(np.array(got), np.array(bound))
    )


def _difference(what: str, got: Any, expected: Any, rtol: float, atol: float) -> Problem | None:
    got, expected = _plain(got), _plain(expected)
    if _number(expected):
        if not _number(got):
            if isinstance(got, np.ndarray):
                return Problem("shape", what, got.shape, ())
            return Problem("type", what, _type(got), "number")
        return _elements(what, np.asarray(got), np.asarray(expected), rtol, atol)
    if isinstance(expected, np.ndarray):
        if not isinstance(got, np.ndarray | np.number):
            return Problem("type", what, _type(got), "array")
        got = np.asarray(got)
        if got.shape != expected.shape:
            return Problem("shape", what, got.shape, expected.shape)
        if got.dtype.kind != expected.dtype.kind:
            return Problem("dtype", what, str(got.dtype), str(expected.dtype))
        found = _elements(what, got, expected, rtol, atol)
        # numbers that would do if they were not rounded: the dtype is what is wrong
        if found and got.itemsize < expected.itemsize and not _elements(what, got, expected, 1e-3, 1e-5):
            return Problem("dtype", what, str(got.dtype), str(expected.dtype))
        return found
    if isinstance(expected, tuple | list):
        if type(got) is not type(expected):
            return Problem("type", what, _type(got), _type(expected))
        if len(got) != len(expected):
            return Problem("length", what, len(got), len(expected))
        for i, (mine, wanted) in enumerate(zip(got, expected, strict=True)):
            found = _difference(f"[{i}] {what}", mine, wanted, rtol, atol)
            # a short tuple is shown whole, as what it is: (3, 4) beside (4, 3), not "4 beside 3 at place 0"
            if found and all(isinstance(value, int | str | bool) for value in expected) and len(expected) <= 8:
                return Problem("value", what, got, expected)
            if found:
                return found
        return None
    if type(got) is not type(expected):
        return Problem("type", what, _type(got), _type(expected))
    return None if got == expected else Problem("value", what, got, expected)


def _elements(what: str, got: Any, expected: Any, rtol: float, atol: float) -> Problem | None:
    if expected.dtype.kind in "OUS":
        wrong = got != expected
    else:
        with np.errstate(all="ignore"):
            wrong = ~np.isclose(got, expected, rtol=rtol, atol=atol, equal_nan=True)
    if not wrong.any():
        return None
    if got.ndim == 0:
        return Problem("value", what, got.item(), expected.item(), tolerance=rtol, ratio=_ratio(got, expected))
    places = [tuple(int(i) for i in place) for place in np.argwhere(wrong)]
    found = Problem("values", what, got, expected, tolerance=rtol, count=len(places), size=got.size)
    found.mismatches = [Mismatch(place, got[place].item(), expected[place].item()) for place in places[:SHOWN]]
    if got.dtype.kind in "fc" and expected.dtype.kind in "fc":
        found.bad = int((wrong & ~np.isfinite(got) & np.isfinite(expected)).sum())
    found.ratio = _ratio(got, expected)
    return found


def _ratio(got: Any, expected: Any) -> float | None:
    """got / expected, if that is the same number everywhere: a forgotten factor shows itself."""
    if got.dtype.kind not in "fiu" or expected.dtype.kind not in "fiu":
        return None
    with np.errstate(all="ignore"):
        apart = expected != 0
        ratios = got[apart] / expected[apart] if got.ndim else np.asarray(got / expected).reshape(1)
    if not ratios.size or (got.ndim and np.any(got[~apart] != 0)) or not np.all(np.isfinite(ratios)):
        return None
    return float(ratios[0]) if np.ptp(ratios) <= 1e-6 * abs(ratios[0]) else None


def same(a: Observation, b: Observation) -> bool:
    """Whether two files showed the same: the learner's and a stored wrong one's."""
    if a.what != b.what:
        return False
    if isinstance(a.got, BaseException) or isinstance(b.got, BaseException):
        return type(a.got) is type(b.got) and _stopped(a.got) == _stopped(b.got)
    if a.alike is not None or b.alike is not None:
        return bool(a.alike == b.alike)
    if a.noise and _number(a.got) and _number(b.got):
        x, y, wanted = float(a.got), float(b.got), abs(float(a.expected))
        # the standard error is that of the right value; that of a variance ten times as large is ten times as large
        scale = max(abs(x), abs(y)) / wanted if wanted else 1.0
        return abs(x - y) <= 4 * (a.noise + b.noise) * scale
    return _difference("", a.got, b.got, 1e-6, 1e-12) is None


def _stopped(error: BaseException) -> tuple[Any, ...]:
    """Of a KernelError, what the simulator objects to and in which thread; lines differ from file to file."""
    return tuple(getattr(error, name, None) for name in ("kind", "block", "thread"))


def _plain(value: Any) -> Any:
    """Tensors as arrays, NumPy's scalars as Python's."""
    if type(value).__name__ in ("Tensor", "Parameter") and hasattr(value, "detach"):
        return value.detach().numpy()
    return value.item() if isinstance(value, np.generic) else value


def _number(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 0 and value.dtype.kind in "fiuc"
    return isinstance(value, int | float | complex | np.number) and not isinstance(value, bool)


def _type(value: Any) -> str:
    return {"NoneType": "None", "ndarray": "array"}.get(type(value).__name__, type(value).__name__)
