"""Gradient checkpointing: keep nothing of a stretch of the forward pass, and compute it again when backward needs it.

Memory then grows with the number of stretches instead of the number of operations, for one more forward pass
(Chen et al., "Training deep nets with sublinear memory cost", 2016).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from . import op as _op
from .grad_mode import enable_grad
from .op import Op, Packed


@contextmanager
def saved_tensors_hooks(pack: Callable[[Any], Any], unpack: Callable[[Any], Any]) -> Any:
    """Inside, what operations keep goes through `pack`, and `unpack` must bring it back when backward asks for it.

    Example:
        >>> with saved_tensors_hooks(lambda t: t.half(), lambda t: t.float()):
        ...     loss = model(x).sum()
    """

    def observe(op: Op, inputs: tuple[Any, ...], outputs: Any) -> None:
        if op.kept:
            op.kept = tuple(Packed(pack(kept), unpack) if isinstance(kept, _op._Tensor) else kept for kept in op.kept)

    _op.observers.append(observe)
    try:
        yield
    finally:
        _op.observers.remove(observe)


def save_on_cpu(pin_memory: bool = False, device_type: str = "cuda") -> Any:
    """Inside, what operations keep waits in the CPU's memory, and comes back to its GPU when backward asks for it."""

    def pack(t: Any) -> tuple[Any, Any]:
        return t.device, t.cpu()

    def unpack(packed: tuple[Any, Any]) -> Any:
        device, t = packed
        return t.to(device)

    return saved_tensors_hooks(pack, unpack)


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """function(*args), whose intermediate values are computed again in the backward pass instead of kept.

    The function must give the same values both times; its random draws do (preserve_rng_state).
    Raises RuntimeError if the second run keeps other tensors than the first.
    """
    from ..random import get_rng_state, set_rng_state

    state = get_rng_state() if preserve_rng_state else None
    kept_again: list[Any] = []
    count = 0

    def put_away(tensor: Any) -> int:
        nonlocal count
        count += 1
        return count - 1

    def bring_back(index: int) -> Any:
        if not kept_again:
            _run_again()
        return kept_again[index]

    def _run_again() -> None:
        now = get_rng_state()
        if state is not None:
            set_rng_state(state)
        try:
            with enable_grad(), saved_tensors_hooks(_remember, lambda t: t):
                function(*args, **kwargs)
        finally:
            set_rng_state(now)
        if len(kept_again) != count:
            raise RuntimeError(
                f"checkpoint: the second run of {getattr(function, '__name__', function)!r} kept {len(kept_again)} tensors, "
                f"the first {count}: it must do the same both times"
            )

    def _remember(tensor: Any) -> Any:
        kept_again.append(tensor)
        return tensor

    with saved_tensors_hooks(put_away, bring_back):
        return function(*args, **kwargs)


def checkpoint_sequential(functions: Any, segments: int, input: Any, **options: Any) -> Any:
    """Run a Sequential, or a list of functions, in `segments` stretches, each of them checkpointed."""
    steps = list(functions)
    size = -(-len(steps) // segments)
    for start in range(0, len(steps), size):

        def run(x: Any, stretch: list[Any] = steps[start : start + size]) -> Any:
            for step in stretch:
                x = step(x)
            return x

        input = checkpoint(run, input, **options)
    return input
