class Value:
    """A number that remembers how it was computed."""

    def __init__(self, data: float) -> None:
        self.data = data
        self.grad = 0.0
        # TODO: what backward needs to know

    def __add__(self, other: "Value") -> "Value":
        # TODO
        raise NotImplementedError

    def __mul__(self, other: "Value") -> "Value":
        # TODO
        raise NotImplementedError

    def __pow__(self, n: float) -> "Value":
        # TODO
        raise NotImplementedError

    def backward(self) -> None:
        # TODO
        raise NotImplementedError
