def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[1], shape[0]
