"""Counting the floating-point operations of a program, a multiplication and an addition as two.

    with FlopCounterMode() as counter:
        model(x).sum().backward()
    counter.get_total_flops()

Products are counted exactly from the shapes: of matrices, dense and sparse, convolutions, attention, recurrent layers, einsum.
Everything else counts one per element of the result, which is little beside them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

Shapes = tuple[tuple[int, ...], ...]


def _matmul(inputs: Shapes, out: Shapes) -> int:
    return 2 * math.prod(out[0]) * inputs[0][-1]


def _convolution(inputs: Shapes, out: Shapes) -> int:
    return 2 * math.prod(out[0]) * math.prod(inputs[1][1:])  # weight (O, C / G, *K)


def _transposed_convolution(inputs: Shapes, out: Shapes) -> int:
    return 2 * math.prod(inputs[0]) * math.prod(inputs[1][1:])


def _weight_gradient(inputs: Shapes, out: Shapes) -> int:
    return 2 * math.prod(inputs[1]) * math.prod(out[0][1:])  # each number of y (B, O, *P) meets one filter


def _recurrent(inputs: Shapes, out: Shapes) -> int:
    T, B = inputs[0][:2]
    return 2 * T * B * (math.prod(inputs[1]) + math.prod(inputs[2]))  # the weights of inputs and states


def _attention(inputs: Shapes, out: Shapes) -> int:
    q, k, v = inputs[:3]
    return 2 * math.prod(q[:-1]) * k[-2] * (q[-1] + v[-1])


def _sparse(inputs: Shapes, out: Shapes) -> int:
    return 2 * math.prod(inputs[0]) * math.prod(inputs[1][1:])  # each stored number meets a row of the dense matrix


def _sampled(inputs: Shapes, out: Shapes) -> int:
    return 2 * math.prod(out[0]) * math.prod(inputs[0][1:])


PRODUCTS: dict[str, Callable[[Shapes, Shapes], int]] = {
    "Linear": _matmul, "MatMul": _matmul, "Convolution": _convolution, "TransposedConvolution": _transposed_convolution,
    "WeightGradient": _weight_gradient, "RNNSequence": _recurrent, "GRUSequence": _recurrent,
    "LSTMSequence": _recurrent, "Attention": _attention, "SparseMM": _sparse, "SampledMM": _sampled,
}  # fmt: skip
COMPOSED = frozenset(
    ("TransposedConvolution", "WeightGradient", "Einsum", "SparseMM", "SampledMM")
)  # their rules are operations
RECURRENT = frozenset(("RNNSequence", "GRUSequence", "LSTMSequence"))


def flops_of_forward(op: Any, name: str, inputs: Shapes, out: Shapes) -> int:
    """The operations of one call of an operation's forward; `op` is its node, if it has one."""
    if name in PRODUCTS:
        return PRODUCTS[name](inputs, out)
    if name == "Einsum":
        sizes: dict[str, int] = {}
        for term, shape in zip(op.inputs.split(","), inputs, strict=True):
            sizes.update(zip(term, shape, strict=True))
        return len(inputs) * math.prod(sizes.values())
    return sum(math.prod(shape) for shape in out)


def flops_of_backward(op: Any, name: str, forward: int, out: Shapes) -> int:
    """Of one call of its rule: each gradient of a product takes as many as the product itself did."""
    if name in COMPOSED:
        return 0
    if name == "Attention":
        return forward * 5 // 2  # five products of the size of two: the probabilities are computed again
    if name in RECURRENT:
        return forward * 2  # of what is multiplied with the weights, and of the weights
    if name in PRODUCTS:
        return forward * sum(edge is not None for edge in op.edges[:2])
    return sum(math.prod(shape) for shape in out)


class FlopCounterMode:
    """Count inside the block; PyTorch's name and methods.

    Example:
        >>> with FlopCounterMode(display=False) as counter:
        ...     y = minidl.ones(2, 3) @ minidl.ones(3, 4)
        >>> counter.get_total_flops()
        48
    """

    def __init__(self, mods: Any = None, depth: int = 2, display: bool = True, custom_mapping: Any = None) -> None:
        self.display = display

    def __enter__(self) -> Self:
        from ..profiler import profile

        self.profiler = profile(with_flops=True).__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.profiler.__exit__(*exception)
        if self.display:
            print(self.get_table())

    def get_total_flops(self) -> int:
        """All of them."""
        return sum(event.flops for event in self.profiler.recorded)

    def get_flop_counts(self) -> dict[str, dict[str, int]]:
        """By operation, under the one key "Global"."""
        counts: dict[str, int] = {}
        for event in self.profiler.recorded:
            if event.flops:
                counts[event.name] = counts.get(event.name, 0) + event.flops
        return {"Global": counts}

    def get_table(self, depth: int | None = None) -> str:
        """The counts as text, the largest first."""
        counts = sorted(self.get_flop_counts()["Global"].items(), key=lambda item: -item[1])
        whole = self.get_total_flops() or 1
        width = max([len(name) for name, _ in counts] + [5])
        rows = [f"{name:{width}} {n:18,d} {n / whole:7.1%}" for name, n in counts]
        return "\n".join([f"{'total':{width}} {self.get_total_flops():18,d} {1:7.1%}", *rows])
