"""Linear layers, and convolutions of one to three dimensions, whose kernel has sizes that differ."""

import math

from minidl.learn.checks import case, forbid, values

SHAPES = [(7, 3), (1, 1), (64, 32, 3, 3), (32, 1, 1, 1), (8, 4, 5), (6, 10, 3, 5), (4, 2, 1, 2, 7), (5, 0), (13, 11, 1)]


def reference(shape):
    # how many products go into one output, and how many outputs one input goes into, counted over the whole weight
    numbers = math.prod(shape)
    return (numbers // shape[0] if shape[0] else 0), (
        numbers // shape[1] if shape[1] else shape[0] * math.prod(shape[2:])
    )


def cases(rng):
    for shape in SHAPES:
        yield case(shape)
    for _ in range(12):
        yield case(tuple(int(n) for n in rng.integers(1, 9, rng.integers(2, 6))))


checks = [forbid("_calculate_fan_in_and_fan_out", "calculate_fan_in_and_fan_out"), values(reference, cases)]
