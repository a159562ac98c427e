"""Mean and variance for layers that narrow and widen, for several slopes; then 20 layers that must keep the signal's size."""

import numpy as np

from minidl.learn.checks import check, equal, forbid, near

LAYERS = [(64, 512, 0.0), (512, 64, 0.0), (300, 200, 0.2), (200, 300, 1.0), (1000, 10, 0.01)]


@check("values")
def shape(subject, rng):
    for fan_in, fan_out in [(5, 3), (1, 1), (3, 0), (64, 512)]:
        weights = subject.main(fan_in, fan_out, rng)
        yield equal(f"shape for fan_in={fan_in}, fan_out={fan_out}", np.shape(weights), (fan_in, fan_out))


@check("statistics")
def moments(subject, rng):
    for fan_in, fan_out, slope in LAYERS:
        n = fan_in * fan_out
        wanted = 2 / (1 + slope * slope) / fan_in
        weights = subject.main(fan_in, fan_out, rng, slope)
        layer = f"fan_in={fan_in}, fan_out={fan_out}, slope={slope}"
        yield near(f"mean, {layer}", weights.mean(), 0.0, np.sqrt(wanted / n))
        yield near(f"variance, {layer}", weights.var(), wanted, wanted * np.sqrt(2 / n))


@check("statistics")
def depth(subject, rng):
    for slope in (0.0, 0.3):
        x = rng.normal(size=(256, 256))
        for _ in range(20):
            x = x @ subject.main(256, 256, rng, slope)
            x = np.where(x > 0, x, slope * x)
        # over seeds, log10 of the size after 20 layers of width 256 has a standard deviation of 0.11 (measured, 200 seeds)
        yield near(f"log10 of the size after 20 layers, slope={slope}", np.log10(np.sqrt(np.mean(x * x))), 0.0, 0.11)


checks = [forbid("kaiming_normal_", "calculate_gain"), shape, moments, depth]
