import math


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[1] * math.prod(shape[2:]), shape[0]
