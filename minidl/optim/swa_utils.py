"""Averages of a model's parameters over training: stochastic weight averaging and exponential moving averages."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import no_grad
from ..autograd.storage import mark_written
from ..nn.batchnorm import _BatchNorm
from ..nn.module import Module
from ..ops.creation import tensor
from ..tensor import Tensor
from .schedule import LRScheduler

Average = Callable[[Tensor, Tensor, Any], Tensor]
MultiAverage = Callable[[list[Tensor], list[Tensor], Any], None]


def get_swa_avg_fn() -> Average:
    """The plain average: every model counts the same (Izmailov et al., 2018)."""
    return lambda averaged, current, count: averaged + (current - averaged) / (int(count) + 1)


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """The exponential moving average: decay * averaged + (1 - decay) * current (Polyak & Juditsky, 1992)."""
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")
    return lambda averaged, current, count: decay * averaged + (1 - decay) * current


def get_swa_multi_avg_fn() -> MultiAverage:
    """get_swa_avg_fn for all parameters at once: writes into the averages."""
    return _for_all(get_swa_avg_fn())


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """get_ema_avg_fn for all parameters at once: writes into the averages."""
    return _for_all(get_ema_avg_fn(decay))


def _for_all(average: Average) -> MultiAverage:
    def write(averaged: list[Tensor], current: list[Tensor], count: Any) -> None:
        for a, b in zip(averaged, current, strict=True):
            a.copy_(average(a, b, count))

    return write


class AveragedModel(Module):
    """A copy of a model that holds the average of its parameters; `update_parameters(model)` takes in the present ones.

    avg_fn(averaged, current, number averaged so far) gives the new average (default: get_swa_avg_fn()); multi_avg_fn gets
    the lists of all and writes into the first. use_buffers: average the buffers too; else the last are copied, and update_bn
    computes those of batch normalizations anew.

    Example:
        >>> averaged = AveragedModel(model, avg_fn=get_ema_avg_fn(0.99))
        >>> averaged.update_parameters(model)
    """

    def __init__(
        self, model: Module, device: Any = None, avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None, use_buffers: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0))
        self.avg_fn = avg_fn or get_swa_avg_fn()
        self.multi_avg_fn, self.use_buffers = multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def _states(self, model: Module) -> list[Tensor]:
        return [*model.parameters(), *(model.buffers() if self.use_buffers else ())]

    def update_parameters(self, model: Module) -> None:
        """Take the present parameters of the model into the average; the first are copied."""
        averaged, current = self._states(self.module), [t.detach() for t in self._states(model)]
        count = int(self.n_averaged.item())
        with no_grad():
            if count and self.multi_avg_fn is not None:
                self.multi_avg_fn([t.detach() for t in averaged], current, self.n_averaged)
            for a, b in zip(averaged, current, strict=True):
                if not count or a.array.dtype.kind not in dtypes.FLOATING:
                    a.copy_(b)
                elif self.multi_avg_fn is None:
                    a.copy_(self.avg_fn(a.detach(), b, self.n_averaged))
            if not self.use_buffers:
                for a, b in zip(self.module.buffers(), model.buffers(), strict=True):
                    a.copy_(b.detach())
        self.n_averaged.array += 1
        mark_written(self.n_averaged)


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running estimates of the batch normalizations anew, in one pass over the data.

    loader gives batches, or tuples whose first element is the batch. The model's mode is kept.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    if not layers:
        return
    momenta = {m: m.momentum for m in layers}
    was_training = model.training
    for m in layers:
        m.reset_running_stats()
        m.momentum = None  # the plain average of all batches
    model.train()
    with no_grad():
        for batch in loader:
            x = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(x if device is None else x.to(device))
    for m, momentum in momenta.items():
        m.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """Moves the learning rates to swa_lr within anneal_epochs, by a cosine or a line, and keeps them there."""

    def __init__(
        self, optimizer: Any, swa_lr: float, anneal_epochs: int = 10, anneal_strategy: str = "cos", last_epoch: int = -1
    ) -> None:
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs, self.anneal_strategy = anneal_epochs, anneal_strategy
        rates = swa_lr if isinstance(swa_lr, (list, tuple)) else [swa_lr] * len(optimizer.param_groups)
        for rate, group in zip(rates, optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        super().__init__(optimizer, last_epoch)

    def _share(self, epoch: int) -> float:
        """How much of swa_lr the learning rate is made of."""
        t = 1.0 if not self.anneal_epochs else min(1.0, max(0.0, epoch / self.anneal_epochs))
        return float((1 - np.cos(np.pi * t)) / 2) if self.anneal_strategy == "cos" else t

    def get_lr(self) -> list[float]:
        epoch = self.last_epoch
        before, now = self._share(max(0, epoch - 1)), self._share(epoch)
        rates = []
        for group in self.optimizer.param_groups:
            lr = group["lr"]
            first = group["swa_lr"] if before == 1 else (lr - group["swa_lr"] * before) / (1 - before)
            rates.append(group["swa_lr"] * now + first * (1 - now))
        return rates
