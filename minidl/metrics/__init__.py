"""What a classifier, a ranking or a probability is worth, under scikit-learn's names.

classification  of predicted labels: confusion_matrix, accuracy, precision, recall, F-beta, top-k accuracy
ranking         of scores: ROC and precision-recall curves and their areas
calibration     of probabilities: calibration curve and error, Brier score, log loss
bootstrap       confidence intervals, also of the difference between two models
plots           the same as pictures

Arguments are tensors on any device, arrays or lists, the truth first; results are Python's floats and NumPy's arrays.
"""

from .bootstrap import Interval, bootstrap_interval
from .calibration import brier_score_loss, calibration_curve, expected_calibration_error, log_loss
from .classification import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    fbeta_score,
    precision_recall_fscore_support,
    precision_score,
    recall_score,
    top_k_accuracy_score,
)
from .inputs import UndefinedMetricWarning
from .plots import plot_confusion_matrix, plot_precision_recall_curve, plot_reliability, plot_roc_curve
from .ranking import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

__all__ = [
    "Interval", "UndefinedMetricWarning", "accuracy_score", "auc", "average_precision_score", "bootstrap_interval",
    "brier_score_loss", "calibration_curve", "confusion_matrix", "expected_calibration_error", "f1_score", "fbeta_score",
    "log_loss", "plot_confusion_matrix", "plot_precision_recall_curve", "plot_reliability", "plot_roc_curve",
    "precision_recall_curve", "precision_recall_fscore_support", "precision_score", "recall_score", "roc_auc_score",
    "roc_curve", "top_k_accuracy_score",
]  # fmt: skip
