import math


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    places = math.prod(shape[2:])
    return shape[0] * places, shape[1] * places
