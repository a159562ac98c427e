"""Schedulers made of schedulers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from .optimizer import Optimizer
from .schedule import LRScheduler


class SequentialLR(LRScheduler):
    """Schedulers one after another: the next one takes over at each of the milestones.

    Example:
        >>> SequentialLR(optimizer, [LinearLR(optimizer), CosineAnnealingLR(optimizer, 95)], milestones=[5])
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int], last_epoch: int = -1
    ) -> None:
        _check_same_optimizer(schedulers, optimizer)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "Sequential Schedulers expects number of schedulers provided to be one more than the number of "
                f"milestone points, but got number of schedulers {len(schedulers)} and the number of milestones to be "
                f"equal to {len(milestones)}"
            )
        self.optimizer, self._schedulers, self._milestones = optimizer, schedulers, milestones
        self.last_epoch, self._step_count = last_epoch + 1, 1
        self._set([group["initial_lr"] for group in optimizer.param_groups])  # as if none had begun
        first = schedulers[0]
        first.last_epoch = 0
        first._set(first.get_lr())
        self._last_lr = first.get_last_lr()

    def _advance(self, epoch: int | None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        i = bisect_right(self._milestones, self.last_epoch)
        begins = i > 0 and self._milestones[i - 1] == self.last_epoch
        self._schedulers[i]._advance(0 if begins else None)
        self._last_lr = self._schedulers[i].get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, with the schedulers' own states."""
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state_dict."""
        _load_all(self, self._schedulers, state_dict)


class ChainedScheduler(LRScheduler):
    """Schedulers that all act in every epoch, one after another."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if not schedulers:
            raise ValueError("ChainedScheduler expects at least one scheduler to be chained, but got no scheduler.")
        self.optimizer = optimizer or schedulers[0].optimizer
        _check_same_optimizer(schedulers, self.optimizer)
        self._schedulers = list(schedulers)
        self._last_lr = self._rates()

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch in all of them."""
        for scheduler in self._schedulers:
            scheduler.step(epoch)
        self._last_lr = self._rates()

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, with the schedulers' own states."""
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state_dict."""
        _load_all(self, self._schedulers, state_dict)


def _check_same_optimizer(schedulers: Sequence[LRScheduler], optimizer: Optimizer) -> None:
    for i, scheduler in enumerate(schedulers):
        if scheduler.optimizer is not optimizer:
            raise ValueError(f"all schedulers must belong to the same optimizer, the one at index {i} does not")


def _load_all(scheduler: Any, schedulers: list[LRScheduler], state_dict: dict[str, Any]) -> None:
    scheduler.__dict__.update({key: value for key, value in state_dict.items() if key != "_schedulers"})
    for one, state in zip(schedulers, state_dict["_schedulers"], strict=True):
        one.load_state_dict(state)
