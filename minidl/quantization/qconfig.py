"""QConfig: which observer is put on inputs, or rather outputs, of layers, and which on their weights."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..dtypes import qint8, quint4x2, quint8
from .fake_quantize import FakeQuantize
from .histogram import HistogramObserver
from .observer import (
    FixedQParamsObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    PerChannelMinMaxObserver,
    PlaceholderObserver,
)
from .tensor import per_channel_affine_float_qparams, per_channel_symmetric, per_tensor_symmetric


class QConfig(NamedTuple):
    """Two functions that make observers, for the results of layers and for their weights.

    Example:
        >>> QConfig(
        ...     activation=MovingAverageMinMaxObserver.with_args(averaging_constant=0.1),
        ...     weight=PerChannelMinMaxObserver.with_args(dtype=minidl.qint8, qscheme=minidl.per_channel_symmetric),
        ... )  # doctest: +ELLIPSIS
        QConfig(activation=...)
    """

    activation: Any
    weight: Any


default_observer = MinMaxObserver.with_args(dtype=quint8)
default_weight_observer = MinMaxObserver.with_args(dtype=qint8, qscheme=per_tensor_symmetric)
default_per_channel_weight_observer = PerChannelMinMaxObserver.with_args(dtype=qint8, qscheme=per_channel_symmetric)
default_histogram_observer = HistogramObserver.with_args(dtype=quint8)
default_float_qparams_observer = PerChannelMinMaxObserver.with_args(
    dtype=quint8, qscheme=per_channel_affine_float_qparams, ch_axis=0
)
default_float_qparams_observer_4bit = PerChannelMinMaxObserver.with_args(
    dtype=quint4x2, qscheme=per_channel_affine_float_qparams, ch_axis=0
)
default_placeholder_observer = PlaceholderObserver
default_fixed_qparams_range_0to1_observer = FixedQParamsObserver.with_args(scale=1 / 256, zero_point=0, dtype=quint8)
default_fixed_qparams_range_neg1to1_observer = FixedQParamsObserver.with_args(
    scale=2 / 256, zero_point=128, dtype=quint8
)

default_fake_quant = FakeQuantize.with_args(observer=MovingAverageMinMaxObserver, dtype=quint8)
default_weight_fake_quant = FakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver, dtype=qint8, qscheme=per_tensor_symmetric
)
default_per_channel_weight_fake_quant = FakeQuantize.with_args(
    observer=MovingAveragePerChannelMinMaxObserver, dtype=qint8, qscheme=per_channel_symmetric
)
default_fixed_qparams_range_0to1_fake_quant = FakeQuantize.with_args(observer=default_fixed_qparams_range_0to1_observer)
default_fixed_qparams_range_neg1to1_fake_quant = FakeQuantize.with_args(
    observer=default_fixed_qparams_range_neg1to1_observer
)

default_qconfig = QConfig(default_observer, default_weight_observer)
default_per_channel_qconfig = QConfig(default_observer, default_per_channel_weight_observer)
default_dynamic_qconfig = QConfig(default_placeholder_observer, default_weight_observer)
per_channel_dynamic_qconfig = QConfig(default_placeholder_observer, default_per_channel_weight_observer)
float_qparams_weight_only_qconfig = QConfig(default_placeholder_observer, default_float_qparams_observer)
float_qparams_weight_only_qconfig_4bit = QConfig(default_placeholder_observer, default_float_qparams_observer_4bit)
default_qat_qconfig = QConfig(default_fake_quant, default_weight_fake_quant)

BACKENDS = ("x86", "fbgemm", "onednn", "qnnpack")


def _check_backend(name: str, backend: str) -> None:
    if backend not in BACKENDS:
        raise AssertionError(f"{name}: backend is one of {', '.join(BACKENDS)}, got {backend!r}")


def get_default_qconfig(backend: str = "x86", version: int = 0) -> QConfig:
    """Histograms of the results, weights per output channel. It is the same for every name of a backend.

    PyTorch's keeps results to 7 bits on x86, for the sake of kernels whose sums overflow. Those of minidl are exact: 8 bits.
    """
    _check_backend("get_default_qconfig", backend)
    return QConfig(default_histogram_observer, default_per_channel_weight_observer)


def get_default_qat_qconfig(backend: str = "x86", version: int = 1) -> QConfig:
    """Moving averages of the results, weights per output channel, both through fake quantization."""
    _check_backend("get_default_qat_qconfig", backend)
    return QConfig(default_fake_quant, default_per_channel_weight_fake_quant)
