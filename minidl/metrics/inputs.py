"""What every metric asks of its arguments: tensors, arrays or lists become arrays, and nonsense becomes an error."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor

Array = np.ndarray[Any, Any]


class UndefinedMetricWarning(UserWarning):
    """A metric divided by zero, and 0 stands in its place; `zero_division` says otherwise."""


def as_array(x: Any) -> Array:
    """A tensor on any device, with or without a graph, an array or a list, as an array."""
    return x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)


def class_labels(metric: str, name: str, values: Any) -> Array:
    """The labels (N,): whole numbers, booleans (as 0 and 1) or texts. Raises ValueError for anything else and for none."""
    y = as_array(values)
    if y.ndim != 1:
        raise ValueError(
            f"{metric}: {name} holds one label per sample, (N,), got the shape {y.shape}; argmax(1) turns scores of "
            "classes into labels"
        )
    if not len(y):
        raise ValueError(f"{metric}: {name} is empty; there must be at least one sample")
    if y.dtype.kind == "f":
        if not (np.isfinite(y) & (y == np.round(y))).all():
            wrong = y[~(np.isfinite(y) & (y == np.round(y)))][0]
            raise ValueError(
                f"{metric}: {name} holds {wrong}, which is no label; compare scores with a threshold first, as in score > 0.5"
            )
        return y.astype(np.int64)
    if y.dtype.kind not in "biuU":
        raise ValueError(f"{metric}: {name} holds {y.dtype}; labels are whole numbers, booleans or texts")
    return y if y.dtype.kind == "U" else y.astype(np.int64)


def pair_of_labels(metric: str, y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    """True and predicted labels, equally many and of one kind."""
    true, predicted = class_labels(metric, "y_true", y_true), class_labels(metric, "y_pred", y_pred)
    same_length(metric, y_true=true, y_pred=predicted)
    if (true.dtype.kind == "U") != (predicted.dtype.kind == "U"):
        raise ValueError(f"{metric}: y_true holds {true.dtype} and y_pred {predicted.dtype}: no label is in both")
    return true, predicted


def scores(metric: str, name: str, values: Any, dims: tuple[int, ...] = (1,)) -> Array:
    """Scores of samples (N,) or of samples and classes (N, C), in float64. Raises ValueError for NaN and for none."""
    x = as_array(values)
    if x.dtype.kind not in "fiub":
        raise ValueError(f"{metric}: {name} holds {x.dtype}; it must hold numbers")
    x = x.astype(np.float64)
    if x.ndim not in dims:
        wanted = " or ".join({1: "(N,)", 2: "(N, C)"}[d] for d in dims)
        column = "; take the column of the positive class, such as y_score[:, 1]" if x.ndim == 2 else ""
        raise ValueError(f"{metric}: {name} has the shape {wanted}, got {x.shape}{column}")
    if not x.size:
        raise ValueError(f"{metric}: {name} is empty, its shape is {x.shape}; there must be at least one sample")
    if np.isnan(x).any():
        sample = int(np.argwhere(np.isnan(x))[0][0])
        raise ValueError(f"{metric}: {name} is NaN for sample {sample}; look there before you measure")
    return x


def probabilities(metric: str, name: str, values: Any, dims: tuple[int, ...] = (1,)) -> Array:
    """Scores from 0 to 1, whose rows add up to 1 where there is a column per class."""
    p = scores(metric, name, values, dims)
    if (p < 0).any() or (p > 1).any():
        wrong = p[(p < 0) | (p > 1)][0]
        raise ValueError(
            f"{metric}: {name} holds {wrong:g}, which is no probability; sigmoid or softmax(1) makes probabilities of logits"
        )
    if p.ndim == 2:
        precision = as_array(values).dtype
        allowed = np.sqrt(np.finfo(precision if precision.kind == "f" else np.float64).eps)
        off = np.abs(p.sum(1) - 1)
        if (off > allowed).any():
            row = int(off.argmax())
            raise ValueError(
                f"{metric}: the probabilities of sample {row} in {name} add up to {p[row].sum():g} instead of 1; "
                "softmax(1) makes probabilities of logits"
            )
    return p


def class_numbers(metric: str, y_true: Any, count: int) -> Array:
    """Labels that are the numbers of `count` columns. Raises ValueError for one that is out of range."""
    y = class_labels(metric, "y_true", y_true)
    if y.dtype.kind == "U":
        raise ValueError(f"{metric}: y_true holds texts; a column of scores belongs to the class of its number")
    if (y < 0).any() or (y >= count).any():
        wrong = y[(y < 0) | (y >= count)][0]
        raise ValueError(
            f"{metric}: y_true holds the class {wrong}, but there are {count} columns, for the classes 0 to {count - 1}"
        )
    return y


def positives(metric: str, y_true: Any, pos_label: Any) -> Array:
    """Which samples are positive, (N,) bool. Raises ValueError for more than two classes."""
    y = class_labels(metric, "y_true", y_true)
    classes = np.unique(y)
    if len(classes) > 2:
        raise ValueError(
            f"{metric}: y_true holds {len(classes)} classes; a single score per sample tells two apart: pass "
            "y_true == c for the class c that is to be positive"
        )
    if pos_label is None:
        pos_label = 1
        if not set(classes.tolist()) <= {0, 1} and not set(classes.tolist()) <= {-1, 1}:
            raise ValueError(
                f"{metric}: y_true holds {', '.join(map(str, classes))}; say which is positive with pos_label="
            )
    return y == pos_label


def sample_weights(metric: str, values: Any, n: int) -> Array:
    """A weight per sample (N,), all 1 for None. Raises ValueError for weights that are negative, no numbers, or all 0."""
    if values is None:
        return np.ones(n)
    w = scores(metric, "sample_weight", values)
    if len(w) != n:
        raise ValueError(f"{metric}: there are {n} samples, but sample_weight has {len(w)}")
    if not np.isfinite(w).all() or (w < 0).any() or not w.any():
        raise ValueError(f"{metric}: the weights of samples must be finite, at least 0, and not all 0")
    return w


def same_length(metric: str, **arrays: Array) -> None:
    """Raise ValueError unless all have equally many samples."""
    if len({len(a) for a in arrays.values()}) > 1:
        found = " and ".join(f"{name} {len(a)}" for name, a in arrays.items())
        raise ValueError(f"{metric}: the numbers of samples differ: {found}")


def one_of(metric: str, name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Raise ValueError unless the option has one of the values that there are."""
    if value not in allowed:
        raise ValueError(f"{metric}: {name} is one of {', '.join(map(repr, allowed))}, got {value!r}")
