from itertools import zip_longest


def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    result = []
    for sizes in zip_longest(*(shape[::-1] for shape in shapes), fillvalue=1):
        largest = max(sizes)
        if any(size not in (1, largest) for size in sizes):
            raise ValueError(f"sizes {sizes} do not broadcast")
        result.append(largest)
    return tuple(reversed(result))
