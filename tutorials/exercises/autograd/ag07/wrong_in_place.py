from minidl import Tensor


def grow(x: Tensor, w: Tensor, limit: float) -> Tensor:
    while x.norm() < limit:
        x.data = (x * w).data
    return x * 1


def count_nodes(t: Tensor) -> int:
    seen, waiting = set(), [t.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting.extend(before for before, _ in node.next_functions)
    return len(seen)
