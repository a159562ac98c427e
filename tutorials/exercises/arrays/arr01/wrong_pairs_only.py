from itertools import zip_longest


def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    first, second = shapes
    result = []
    for a, b in zip_longest(first[::-1], second[::-1], fillvalue=1):
        if a != b and 1 not in (a, b):
            raise ValueError(f"sizes {a} and {b} do not broadcast")
        result.append(b if a == 1 else a)
    return tuple(reversed(result))
