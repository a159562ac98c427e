from minidl import Tensor


def grow(x: Tensor, w: Tensor, limit: float) -> Tensor:
    """Multiply x by w, and again, until its norm is at least `limit`."""
    while x.norm() < limit:
        x = x * w
    return x


def count_nodes(t: Tensor) -> int:
    """How many different nodes lead to t: t.grad_fn, and node.next_functions with its pairs (node or None, number)."""
    seen, waiting = set(), [t.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting.extend(before for before, _ in node.next_functions)
    return len(seen)
