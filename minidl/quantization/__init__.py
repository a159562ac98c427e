"""Integers instead of floats: quantizers, observers, quantized layers, training that knows of it."""
