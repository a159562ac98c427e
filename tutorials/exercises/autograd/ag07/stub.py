from minidl import Tensor


def grow(x: Tensor, w: Tensor, limit: float) -> Tensor:
    """Multiply x by w, and again, until its norm is at least `limit`."""
    # TODO
    raise NotImplementedError


def count_nodes(t: Tensor) -> int:
    """How many different nodes lead to t: t.grad_fn, and node.next_functions with its pairs (node or None, number)."""
    # TODO
    raise NotImplementedError
