"""The text of a tensor, in PyTorch's format.

One format is chosen for all printed elements: whole floats print as `1.`, others with four digits, and all of them in
scientific notation where they span too many orders of magnitude. Above a thousand elements the middle is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np


class Options(NamedTuple):
    """What set_printoptions sets."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


PROFILES = {
    "default": Options(),
    "short": Options(precision=2, edgeitems=2),
    "full": Options(threshold=math.inf),
}
_options = Options()


def get_printoptions() -> Options:
    """The options in force."""
    return _options


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Choose how tensors print: digits, the size above which they are summarized, items shown at each edge, line width.

    profile: "default", "short" or "full" first sets everything; sci_mode: True, False, or None for automatic.
    """
    global _options
    if profile is not None:
        if profile.lower() not in PROFILES:
            raise ValueError(f"set_printoptions: profile is one of {', '.join(PROFILES)}, got {profile!r}")
        _options = PROFILES[profile.lower()]
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    _options = _options._replace(sci_mode=sci_mode, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]


@contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """set_printoptions for the length of a block."""
    global _options
    before = _options
    try:
        set_printoptions(**options)
        yield
    finally:
        _options = before


class _Format:
    """The text of single elements, chosen by looking at all that will be printed."""

    def __init__(self, shown: np.ndarray[Any, Any]) -> None:
        self.is_float = shown.dtype.kind == "f"
        self.scientific, self.whole, self.width = False, True, 1
        if not self.is_float:
            self.width = max([len(str(x)) for x in shown.ravel().tolist()], default=1)
            return
        # infinities, NaN and zeros have no say, not even in the width
        finite = shown[np.isfinite(shown) & (shown != 0)].astype(np.float64)
        if finite.size:
            largest, smallest = float(np.abs(finite).max()), float(np.abs(finite).min())
            self.whole = bool((finite == np.ceil(finite)).all())
            self.scientific = (
                largest / smallest > 1000.0 or largest > 1.0e8 or (smallest < 1.0e-4 and not self.whole)
                if _options.sci_mode is None
                else _options.sci_mode
            )
            self.width = max(len(self(x)) for x in finite)

    def __call__(self, x: Any) -> str:
        if not self.is_float:
            text = str(x.item() if hasattr(x, "item") else x)
        elif self.scientific:
            text = f"{float(x):.{_options.precision}e}"
        elif self.whole:
            text = f"{float(x):.0f}." if math.isfinite(x) else str(float(x))
        else:
            text = f"{float(x):.{_options.precision}f}"
        return text.rjust(self.width)


class _ComplexFormat:
    """The text of complex elements: real and imaginary parts each in a format of their own."""

    def __init__(self, shown: np.ndarray[Any, Any]) -> None:
        self.real, self.imaginary = _Format(shown.real), _Format(shown.imag)
        self.width = self.real.width + self.imaginary.width + 1

    def __call__(self, x: Any) -> str:
        imaginary = self.imaginary(x.imag).lstrip()
        return f"{self.real(x.real)}{'' if imaginary.startswith('-') else '+'}{imaginary}j"


def _edges(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Of each long dimension, the items at both ends: what a summary shows."""
    n = _options.edgeitems
    for axis, size in enumerate(array.shape):
        if size > 2 * n:
            array = np.take(array, [*range(n), *range(size - n, size)], axis=axis)
    return array


def _lines(array: np.ndarray[Any, Any], indent: int, summarize: bool, form: Any) -> str:
    """The nested brackets of an array with at least one dimension, continued lines indented by `indent`."""
    n = _options.edgeitems
    cut = summarize and array.shape[0] > 2 * n
    if array.ndim == 1:
        per_line = max(1, (_options.linewidth - indent) // (form.width + 2))
        items = [form(x) for x in (array if not cut else np.concatenate([array[:n], array[-n:]]))]
        if cut:
            items.insert(n, " ...")
        rows = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(rows) + "]"
    parts = array if not cut else [*array[:n], *array[-n:]]
    texts = [_lines(part, indent + 1, summarize, form) for part in parts]
    if cut:
        texts.insert(n, "...")
    separator = "," + "\n" * (array.ndim - 1) + " " * (indent + 1)
    return "[" + separator.join(texts) + "]"


def format_tensor(
    array: np.ndarray[Any, Any],
    *,
    dtype_suffix: str | None,
    requires_grad: bool = False,
    grad_fn_name: str | None = None,
    device: str | None = None,
    indent: int = 0,
    prefix: str = "tensor(",
) -> str:
    """What a tensor with these values prints as, with the suffixes that are given."""
    indent += len(prefix)
    suffixes = [f"device='{device}'"] if device else []
    if not array.size and array.ndim != 1:
        suffixes.append(f"size={tuple(array.shape)}")
    text = _values(array, indent)
    if dtype_suffix:
        suffixes.append(f"dtype={dtype_suffix}")
    return _with_suffixes(prefix + text, [*suffixes, *_of_graph(requires_grad, grad_fn_name)], indent)


def _values(array: np.ndarray[Any, Any], indent: int) -> str:
    """The elements, in brackets; lines after the first are indented."""
    if not array.size:
        return "[]"
    if array.dtype.kind == "V":  # bfloat16, whose numbers are float32's too
        array = array.astype(np.float32)
    summarize = array.size > _options.threshold
    shown = _edges(array) if summarize else array
    form: Any = _ComplexFormat(shown) if array.dtype.kind == "c" else _Format(shown)
    return _lines(array, indent, summarize, form) if array.ndim else form(array[()])


def _of_graph(requires_grad: bool, grad_fn_name: str | None) -> list[str]:
    """What is said of a tensor's place in the graph."""
    return [f"grad_fn=<{grad_fn_name}>"] if grad_fn_name else ["requires_grad=True"] if requires_grad else []


def format_sparse(
    parts: dict[str, np.ndarray[Any, Any]],
    shape: tuple[int, ...],
    layout: str,
    *,
    dtype_suffix: str | None,
    requires_grad: bool = False,
    grad_fn_name: str | None = None,
    device: str | None = None,
) -> str:
    """What a sparse tensor prints as: its index arrays and values by name, then the size and the suffixes that are given."""
    prefix, texts = "tensor(", []
    for name, array in parts.items():
        opening = f"{name}=tensor("
        size = "" if array.size else f", size={tuple(array.shape)}"
        texts.append(opening + _values(array, len(prefix) + len(opening)) + size + ")")
    text = prefix + (",\n" + " " * len(prefix)).join(texts)
    suffixes = [f"device='{device}'"] if device else []
    suffixes += [f"size={tuple(shape)}", f"nnz={len(parts['values'])}"]
    suffixes += [f"dtype={dtype_suffix}"] if dtype_suffix else []
    suffixes += [f"layout={layout}", *_of_graph(requires_grad, grad_fn_name)]
    return _with_suffixes(text, suffixes, len(prefix), new_line="indices" in parts)


def _with_suffixes(text: str, suffixes: list[str], indent: int, new_line: bool = False) -> str:
    """The suffixes behind the text, on a new line where they would pass the line's end, or at once with `new_line`."""
    length = len(text) - text.rfind("\n") + 1
    for i, suffix in enumerate(suffixes):
        if (new_line and not i) or length + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + suffix
            length = indent + len(suffix)
        else:
            text += f", {suffix}"
            length += len(suffix) + 2
    return text + ")"
