"""Shape, mean and variance for layers that narrow and widen; a square one cannot tell the schemes apart."""

import numpy as np

from minidl.learn.checks import check, equal, forbid, near

LAYERS = [(64, 512), (512, 64), (256, 256), (1000, 10)]


@check("values")
def shape(subject, rng):
    for fan_in, fan_out in [*LAYERS, (1, 1), (3, 0)]:
        weights = subject.main(fan_in, fan_out, rng)
        yield equal(f"shape for fan_in={fan_in}, fan_out={fan_out}", np.shape(weights), (fan_in, fan_out))


@check("statistics")
def moments(subject, rng):
    for fan_in, fan_out in LAYERS:
        n = fan_in * fan_out
        wanted = 2 / (fan_in + fan_out)
        weights = subject.main(fan_in, fan_out, rng)
        layer = f"fan_in={fan_in}, fan_out={fan_out}"
        yield near(f"mean, {layer}", weights.mean(), 0.0, np.sqrt(wanted / n))
        # the variance of n normal numbers has the standard error variance * sqrt(2 / n)
        yield near(f"variance, {layer}", weights.var(), wanted, wanted * np.sqrt(2 / n))


@check("property")
def from_rng(subject, rng):
    state = rng.bit_generator.state
    once = subject.main(8, 4, rng)
    rng.bit_generator.state = state
    yield equal("the same rng, the same weights", once, subject.main(8, 4, rng))


checks = [forbid("xavier_normal_", "glorot_normal"), shape, moments, from_rng]
