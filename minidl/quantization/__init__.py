"""Integers instead of floats: quantizers, observers, quantized layers, training that knows of it.

A float model becomes one whose weights, or whose weights and activations, are bytes: a quarter of the memory, and products that a
CPU does several of in the time of one. quantize.py says how, in three ways. tensor.py: what a quantized tensor is. observer.py and
histogram.py choose scales. quantized.py (with static.py and what it names there) and dynamic.py: the layers; weight_only.py: four
bits. fuse_modules.py and qat.py: before that. The names are those of PyTorch's torch.ao.quantization.
"""

from . import (  # forms: operations know of quantized tensors from here on
    dynamic,
    forms,
    intrinsic,
    observer,
    qat,
    quantized,
)
from .fake_quantize import (
    FakeQuantize,
    disable_fake_quant,
    disable_observer,
    enable_fake_quant,
    enable_observer,
)
from .fuse_modules import fuse_modules, fuse_modules_qat
from .histogram import EntropyObserver, HistogramObserver, MSEObserver, PercentileObserver
from .observer import (
    FixedQParamsObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    NoopObserver,
    ObserverBase,
    PerChannelMinMaxObserver,
    PlaceholderObserver,
)
from .qconfig import (
    QConfig,
    default_dynamic_qconfig,
    default_fake_quant,
    default_fixed_qparams_range_0to1_fake_quant,
    default_fixed_qparams_range_0to1_observer,
    default_fixed_qparams_range_neg1to1_fake_quant,
    default_fixed_qparams_range_neg1to1_observer,
    default_float_qparams_observer,
    default_float_qparams_observer_4bit,
    default_histogram_observer,
    default_observer,
    default_per_channel_qconfig,
    default_per_channel_weight_fake_quant,
    default_per_channel_weight_observer,
    default_placeholder_observer,
    default_qat_qconfig,
    default_qconfig,
    default_weight_fake_quant,
    default_weight_observer,
    float_qparams_weight_only_qconfig,
    float_qparams_weight_only_qconfig_4bit,
    get_default_qat_qconfig,
    get_default_qconfig,
    per_channel_dynamic_qconfig,
)
from .quantize import (
    convert,
    default_eval_fn,
    prepare,
    prepare_qat,
    propagate_qconfig_,
    quantize,
    quantize_dynamic,
    quantize_qat,
)
from .stubs import DeQuantStub, FloatFunctional, QuantStub, QuantWrapper
from .tensor import QTensor, quantize_per_channel, quantize_per_tensor, quantize_per_tensor_dynamic
from .weight_only import WeightOnlyLinear, quantize_weight_only
