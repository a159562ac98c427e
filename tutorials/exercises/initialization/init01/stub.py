def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    # TODO
    raise NotImplementedError
