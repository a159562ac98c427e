"""Pruning little by little, so that the network can make up for each loss."""

from __future__ import annotations

from collections.abc import Iterable

from ..nn.module import Module
from .pruning import prune_to


def cubic(step: int, final: float, begin: int, end: int, initial: float = 0.0) -> float:
    """The sparsity at a step: `initial` until `begin`, `final` from `end` on, fast at first in between, then slower.

    final + (initial - final) (1 - (step - begin) / (end - begin))³: Zhu & Gupta, "To Prune, or Not to Prune", 2017.

    Example:
        >>> [round(cubic(step, 0.8, 0, 4), 3) for step in (0, 2, 4)]
        [0.0, 0.7, 0.8]
    """
    if not begin < end:
        raise ValueError(f"cubic: begin must come before end, got {begin} and {end}")
    left = 1 - min(max((step - begin) / (end - begin), 0.0), 1.0)
    return final + (initial - final) * left**3


class GradualPruning:
    """Prunes by magnitude along the cubic schedule; call step() after each step of the optimizer.

    pairs: what to prune, as (module, name). every: prune at each such step only, and at the last.
    scope: "layer" or "global", see prune_to.

    Example:
        >>> pruning = GradualPruning(weights(model), final=0.9, begin=0, end=1000, every=50)
        >>> for x, y in loader:
        ...     loss(model(x), y).backward()
        ...     optimizer.step()
        ...     pruning.step()
    """

    def __init__(
        self,
        pairs: Iterable[tuple[Module, str]],
        final: float,
        begin: int,
        end: int,
        every: int = 1,
        initial: float = 0.0,
        scope: str = "layer",
    ) -> None:
        if not 0 <= initial <= final <= 1 or every < 1:
            raise ValueError(
                f"GradualPruning: expected 0 <= initial <= final <= 1 and every >= 1, got {initial}, {final}, {every}"
            )
        cubic(0, final, begin, end)  # raises for a schedule that goes nowhere
        self.pairs, self.final, self.begin, self.end = list(pairs), final, begin, end
        self.every, self.initial, self.scope = every, initial, scope
        self.steps = 0

    def step(self) -> None:
        """Count a step, and prune if it is time."""
        self.steps += 1
        due = self.begin <= self.steps < self.end and not (self.steps - self.begin) % self.every
        if due or self.steps == self.end:
            sparsity = cubic(self.steps, self.final, self.begin, self.end, self.initial)
            prune_to(self.pairs, sparsity, self.scope)
