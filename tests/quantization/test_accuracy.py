"""What quantization costs on real digits: accuracy within the bands that three seeds gave, and the size of files."""

from __future__ import annotations

import numpy as np

import minidl as md
from minidl import quantization as Q
from minidl.quantization import effects


def test_digits():
    found = effects.measure("digits", seed=1, epochs=8)
    assert found["float"] > 0.96
    assert found["int8"] >= found["float"] - 0.005
    assert found["2 bits, trained"] >= 0.93
    # four values a weight are too few without training, most of all with one scale for a whole layer
    assert found["2 bits, calibrated, per tensor"] < found["2 bits, calibrated, per channel"] < found["2 bits, trained"]


def test_file_of_a_network_for_28_x_28_pixels():
    model = effects.network(28)
    images = md.tensor(np.random.default_rng(0).random((64, 1, 28, 28), np.float32))
    quantized = effects.calibrated(model, Q.get_default_qconfig(), images)
    assert effects.file_size(model) / effects.file_size(quantized) > 3.7
    assert not list(quantized.parameters())
