from itertools import zip_longest


def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    result = []
    for sizes in zip_longest(*shapes, fillvalue=1):
        apart_from_one = set(sizes) - {1}
        if len(apart_from_one) > 1:
            raise ValueError(f"sizes {sizes} do not broadcast")
        result.append(apart_from_one.pop() if apart_from_one else 1)
    return tuple(result)
