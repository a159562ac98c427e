def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    # TODO
    raise NotImplementedError
