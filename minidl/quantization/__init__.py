"""Integers instead of floats: quantizers, observers, quantized layers, training that knows of it."""

from . import forms  # from here on operations know what to do with quantized tensors
from .quantize import quantize_dynamic
