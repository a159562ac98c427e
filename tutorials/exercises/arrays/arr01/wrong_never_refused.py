from itertools import zip_longest


def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    columns = zip_longest(*(shape[::-1] for shape in shapes), fillvalue=1)
    return tuple(next((size for size in sizes if size != 1), 1) for sizes in columns)[::-1]
