"""Schedules that move the momentum against the learning rate, once a batch.

Sources: Smith, "Cyclical Learning Rates for Training Neural Networks", 2017 (CyclicLR); Smith and Topin,
"Super-Convergence", 2018 (OneCycleLR).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .optimizer import Optimizer
from .schedule import LRScheduler


class OneCycleLR(LRScheduler):
    """One cycle over the whole training: up to max_lr, down to the start, and far below; momentum goes the other way.

    The length is total_steps, or epochs * steps_per_epoch; step() is called after every batch.

    Example:
        >>> scheduler = OneCycleLR(optimizer, max_lr=0.1, total_steps=1000)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
            total_steps = epochs * steps_per_epoch
        if total_steps <= 0 or not isinstance(total_steps, int):
            raise ValueError(f"Expected positive integer total_steps, but got {total_steps}")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self.total_steps, self.anneal_strategy = total_steps, anneal_strategy
        peak = float(pct_start * total_steps) - 1
        names = ["initial", "max", "initial", "min"] if three_phase else ["initial", "max", "min"]
        ends = [peak, 2 * peak, total_steps - 1] if three_phase else [peak, total_steps - 1]
        self.phases = list(zip(ends, names, names[1:], strict=False))
        self.cycle_momentum = cycle_momentum
        groups = optimizer.param_groups
        if cycle_momentum:
            _need_momentum(optimizer)
        if last_epoch == -1:
            for group, top in zip(groups, _one_a_group("max_lr", max_lr, optimizer), strict=True):
                group["initial_lr"] = top / div_factor
                group["max_lr"], group["min_lr"] = top, group["initial_lr"] / final_div_factor
                group["initial_momentum"] = group["min_momentum"] = max_momentum  # against the rate: high, low, high
                group["max_momentum"], group["base_momentum"] = max_momentum, base_momentum
        super().__init__(optimizer, last_epoch)

    def _between(self, group: dict[str, Any], step: float, value: Callable[[dict[str, Any], str], float]) -> float:
        start = 0.0
        for end, first, last in self.phases:
            if step <= end or (end, first, last) == self.phases[-1]:
                done = (step - start) / (end - start)
                low, high = value(group, first), value(group, last)
                if self.anneal_strategy == "linear":
                    return low + (high - low) * done
                return high + (low - high) / 2.0 * (1 + math.cos(math.pi * done))
            start = end
        raise AssertionError("the last phase takes every step")

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(f"Tried to step {step} times. The total number of steps is {self.total_steps}")
        groups = self.optimizer.param_groups
        if self.cycle_momentum:
            for group in groups:
                _set_momentum(group, self._between(group, step, _momentum_at))
        return [self._between(group, step, lambda g, name: float(g[f"{name}_lr"])) for group in groups]


def _momentum_at(group: dict[str, Any], name: str) -> float:
    return float(group["base_momentum" if name == "max" else "max_momentum"])


class CyclicLR(LRScheduler):
    """From base_lr up to max_lr in step_size_up steps and down again in step_size_down, again and again.

    mode: "triangular" keeps the height, "triangular2" halves it each cycle, "exp_range" multiplies it by gamma each step;
    scale_fn gives a height of one's own, of the number of the cycle (from 1) or, with scale_mode="iterations", of the step.
    step() is called after every batch.

    Example:
        >>> scheduler = CyclicLR(optimizer, base_lr=0.01, max_lr=0.1, step_size_up=200)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(
                f"mode must be 'triangular', 'triangular2' or 'exp_range' without a scale_fn, got {mode!r}"
            )
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(f"scale_mode must be 'cycle' or 'iterations', got {scale_mode!r}")
        down = step_size_up if step_size_down is None else step_size_down
        if step_size_up <= 0 or down <= 0:
            raise ValueError(f"Expected positive step_size_up and step_size_down, but got {step_size_up} and {down}")
        self.step_size_up, self.step_size_down = step_size_up, down
        self.mode, self.gamma, self.cycle_momentum = mode, gamma, cycle_momentum
        self.scale_fn = scale_fn
        self.scale_mode = scale_mode if scale_fn else "iterations" if mode == "exp_range" else "cycle"
        self.max_lrs = _one_a_group("max_lr", max_lr, optimizer)
        bases = _one_a_group("base_lr", base_lr, optimizer)
        if cycle_momentum:
            _need_momentum(optimizer)
            self.base_momentums = _one_a_group("base_momentum", base_momentum, optimizer)
            self.max_momentums = _one_a_group("max_momentum", max_momentum, optimizer)
        if last_epoch == -1:
            for group, base in zip(optimizer.param_groups, bases, strict=True):
                group["lr"] = group["initial_lr"] = base
        super().__init__(optimizer, last_epoch)

    def _height(self) -> float:
        """How far from base_lr (0) to max_lr (1) the rate is."""
        step, length = self.last_epoch, self.step_size_up + self.step_size_down
        cycles, place = divmod(step, length)
        rise = place / self.step_size_up if place <= self.step_size_up else (length - place) / self.step_size_down
        at = step if self.scale_mode == "iterations" else cycles + 1
        if self.scale_fn is not None:
            return rise * self.scale_fn(at)
        return rise * {"triangular": 1.0, "triangular2": 0.5**cycles, "exp_range": self.gamma**step}[self.mode]

    def get_lr(self) -> list[float]:
        height = self._height()
        if self.cycle_momentum:
            for group, low, high in zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
            ):
                _set_momentum(group, high - (high - low) * height)
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]


def _need_momentum(optimizer: Optimizer) -> None:
    if not {"momentum", "betas"} & optimizer.defaults.keys():
        raise ValueError("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")


def _set_momentum(group: dict[str, Any], momentum: float) -> None:
    """The momentum of SGD, beta1 of Adam's family."""
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


def _one_a_group(name: str, value: float | list[float], optimizer: Optimizer) -> list[float]:
    groups = len(optimizer.param_groups)
    values = list(value) if isinstance(value, (list, tuple)) else [value] * groups
    if len(values) != groups:
        raise ValueError(f"{name} must have one value for each of the {groups} parameter groups, got {len(values)}")
    return values
