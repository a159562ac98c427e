class Value:
    """A number that remembers how it was computed."""

    def __init__(self, data: float, inputs: tuple[tuple["Value", float], ...] = ()) -> None:
        self.data = data
        self.grad = 0.0
        self.inputs = inputs  # each with the derivative of this value with respect to it

    def __add__(self, other: "Value") -> "Value":
        return Value(self.data + other.data, ((self, 1.0), (other, 1.0)))

    def __mul__(self, other: "Value") -> "Value":
        return Value(self.data * other.data, ((self, other.data), (other, self.data)))

    def __pow__(self, n: float) -> "Value":
        return Value(self.data**n, ((self, n * self.data**n),))

    def backward(self, g: float = 1.0) -> None:
        self.grad += g
        for value, slope in self.inputs:
            value.backward(g * slope)
