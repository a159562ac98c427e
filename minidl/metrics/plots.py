"""Metrics as pictures. Every function returns a matplotlib Figure: `figure.savefig(...)`, or the last line of a notebook's cell.

matplotlib is imported at the first call.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .calibration import bins_of, confidences, expected_calibration_error
from .classification import confusion_matrix
from .inputs import positives
from .ranking import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve


def plot_confusion_matrix(y_true: Any, y_pred: Any, *, labels: Any = None, names: Any = None, axes: Any = None) -> Any:
    """Counts by true class (row) and predicted class (column), coloured by the share of the row.

    names: what to call the classes (default: their labels).
    """
    matrix = confusion_matrix(y_true, y_pred, labels=labels)
    figure, axes = _axes(axes, (1.5 + 0.45 * len(matrix), 1.2 + 0.45 * len(matrix)))
    if names is None:
        names = labels if labels is not None else np.unique(np.concatenate([_list(y_true), _list(y_pred)]))
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in zip(*np.nonzero(matrix), strict=True):
        color = "white" if share[i, j] > 0.5 else "black"
        axes.text(j, i, str(matrix[i, j]), ha="center", va="center", color=color, fontsize=8)
    places = range(len(matrix))
    axes.set(xlabel="predicted", ylabel="true", xticks=places, yticks=places, xticklabels=names, yticklabels=names)
    return figure


def plot_roc_curve(y_true: Any, y_score: Any, *, pos_label: Any = None, name: str = "model", axes: Any = None) -> Any:
    """True against false positive rate over all thresholds, with the area; the diagonal is a score without information."""
    fpr, tpr, _ = roc_curve(y_true, y_score, pos_label=pos_label)
    area = roc_auc_score(positives("plot_roc_curve", y_true, pos_label), y_score)
    figure, axes = _axes(axes)
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":", label="no information")
    axes.plot(fpr, tpr, label=f"{name}, area {area:.3f}")
    axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)", aspect="equal")
    axes.legend(loc="lower right")
    return figure


def plot_precision_recall_curve(
    y_true: Any, y_score: Any, *, pos_label: Any = None, name: str = "model", axes: Any = None
) -> Any:
    """Precision against recall over all thresholds, with the average precision; the dotted line is the share of positives."""
    precision, recall, _ = precision_recall_curve(y_true, y_score, pos_label=pos_label)
    positive = positives("plot_precision_recall_curve", y_true, pos_label)
    average = average_precision_score(positive, y_score)
    figure, axes = _axes(axes)
    axes.axhline(positive.mean(), color="0.7", linestyle=":", label="no information")
    axes.step(recall, precision, where="post", label=f"{name}, average precision {average:.3f}")
    axes.set(xlabel="recall", ylabel="precision", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    axes.legend(loc="lower left")
    return figure


def plot_reliability(y_true: Any, y_prob: Any, *, n_bins: int = 10, name: str = "model", axes: Any = None) -> Any:
    """How often predictions came true against how probable they were said to be, and how many samples are in each bin.

    Arguments as for expected_calibration_error. Below the diagonal the model is too sure of itself.
    """
    confidence, right = confidences("plot_reliability", y_true, y_prob)
    count, said, happened = bins_of("plot_reliability", confidence, right, n_bins)
    error = expected_calibration_error(y_true, y_prob, n_bins=n_bins)
    figure, axes = _axes(axes)
    width = 1 / n_bins
    axes.bar(
        width * (np.arange(n_bins) + 0.5), count / count.sum(), 0.9 * width, color="0.88", label="share of samples"
    )
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":", label="perfect calibration")
    full = count > 0
    axes.plot(
        said[full] / count[full], happened[full] / count[full], "o-", label=f"{name}, calibration error {error:.3f}"
    )
    axes.set(
        xlabel="probability that was said", ylabel="share that came true", aspect="equal", xlim=(0, 1), ylim=(0, 1.03)
    )
    axes.legend(loc="upper left")
    return figure


def _list(y: Any) -> Any:
    return y.tolist() if hasattr(y, "tolist") else y


def _axes(axes: Any, size: tuple[float, float] = (4.5, 4.5)) -> tuple[Any, Any]:
    """The axes to draw into, and their figure: a new one where none are given."""
    if axes is not None:
        return axes.figure, axes
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots()
