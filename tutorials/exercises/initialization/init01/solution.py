import math


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    outputs, inputs, *kernel = shape
    places = math.prod(kernel)
    return inputs * places, outputs * places
