"""Dynamic sparse training: a network that is sparse from its first step on, and moves its connections while it learns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..autograd.grad_mode import is_grad_enabled, no_grad
from ..nn.module import Module
from ..nn.utils import prune
from ..ops.selection import where
from ..optim.optimizer import Optimizer
from ..tensor import Tensor
from .pruning import is_masked, mask_of, set_mask


def erdos_renyi(shapes: Iterable[tuple[int, ...]], sparsity: float) -> list[float]:
    """The sparsity of each weight (out, in, *kernel) so that small ones keep more, and all together have the given sparsity.

    A weight keeps a share in proportion to the sum of its sizes divided by their product, at most all of it: "ERK" in Evci et
    al., 2020; for linear layers Mocanu et al., "Scalable Training of Artificial Neural Networks ...", 2018.

    Example:
        >>> [round(share, 3) for share in erdos_renyi([(10, 10), (100, 100)], 0.9)]
        [0.082, 0.908]
    """
    shapes = list(shapes)
    sizes = [math.prod(shape) for shape in shapes]
    raw = [sum(shape) / size for shape, size in zip(shapes, sizes, strict=True)]
    dense: set[int] = set()
    while True:
        wanted = (1 - sparsity) * sum(sizes) - sum(sizes[i] for i in dense)
        scale = wanted / max(sum(raw[i] * sizes[i] for i in range(len(sizes)) if i not in dense), 1e-30)
        full = {i for i in range(len(sizes)) if i not in dense and raw[i] * scale >= 1}
        if not full:
            return [0.0 if i in dense else 1 - raw[i] * scale for i in range(len(sizes))]
        dense |= full


class RigL:
    """Every few steps the active weights nearest to 0 go, and as many others come: those with the largest gradients.

    It prunes `pairs`, (module, name), at random when it is made, and from then on the number of weights of each stays what it
    is. step() comes between backward() and the optimizer; where it returns True it has moved connections, and the optimizer
    rests. A weight that comes begins at 0, and so do the optimizer's means of it.

    sparsity: of all together. distribution: "erdos_renyi" (small layers keep more) or "uniform".
    fraction, end: which share of a layer's weights moves, from `fraction` at the beginning to 0 at step `end` along a cosine.
    every: move at each such step. Source: Evci et al., "Rigging the Lottery: Making All Tickets Winners", 2020.

    Example:
        >>> rigl = RigL(weights(model), optimizer, sparsity=0.9, end=1500, every=100)
        >>> for x, y in loader:
        ...     optimizer.zero_grad()
        ...     loss(model(x), y).backward()
        ...     if not rigl.step():
        ...         optimizer.step()
    """

    def __init__(
        self,
        pairs: Iterable[tuple[Module, str]],
        optimizer: Optimizer,
        sparsity: float,
        end: int,
        every: int = 100,
        fraction: float = 0.3,
        distribution: str = "erdos_renyi",
    ) -> None:
        if not 0 <= sparsity < 1 or not 0 <= fraction <= 1 or every < 1 or end < 1:
            raise ValueError(
                "RigL: sparsity must be in [0, 1), fraction in [0, 1], every and end from 1, got "
                f"{sparsity}, {fraction}, {every} and {end}"
            )
        if distribution not in ("erdos_renyi", "uniform"):
            raise ValueError(f'RigL: distribution is "erdos_renyi" or "uniform", got {distribution!r}')
        self.pairs, self.optimizer = list(pairs), optimizer
        self.end, self.every, self.fraction = end, every, fraction
        self.steps = 0
        shapes = [tuple(getattr(module, name).shape) for module, name in self.pairs]
        shares = erdos_renyi(shapes, sparsity) if distribution == "erdos_renyi" else [sparsity] * len(shapes)
        for (module, name), shape, share in zip(self.pairs, shapes, shares, strict=True):
            if is_masked(module, name):
                raise ValueError(f"RigL: {type(module).__name__}.{name} is pruned already; make_permanent() it first")
            prune.random_unstructured(module, name, round(share * math.prod(shape)))
            module.register_forward_pre_hook(self._keeper(name))

    def _due(self, step: int) -> bool:
        return step < self.end and not step % self.every

    def _keeper(self, name: str) -> Any:
        """A hook that keeps the gradient of the whole weight, also where it is masked, in the steps that need it."""

        def keep(module: Module, inputs: Any) -> None:
            if is_grad_enabled() and self._due(self.steps + 1):
                getattr(module, name).retain_grad()

        return keep

    def step(self) -> bool:
        """Count a step; True if it moved connections. Raises RuntimeError where no gradient came since the last step."""
        self.steps += 1
        if not self._due(self.steps):
            return False
        share = self.fraction / 2 * (1 + math.cos(math.pi * self.steps / self.end))
        for module, name in self.pairs:
            gradient = getattr(module, name).grad
            if gradient is None:
                raise RuntimeError(
                    f"RigL.step: {type(module).__name__}.{name} has no gradient; call step() after backward(), once for each pass"
                )
            self._move(module, name, gradient, share)
        return True

    @no_grad()
    def _move(self, module: Module, name: str, gradient: Tensor, share: float) -> None:
        weight, active = getattr(module, f"{name}_orig"), mask_of(module, name) != 0
        k = int(share * int(active.sum().item()))
        stays = _all_but(where(active, weight.abs(), math.inf), active, k)
        grows = where(stays, -math.inf, gradient.abs()).reshape(-1).topk(k).indices
        mask = stays.to(weight.dtype).reshape(-1)
        mask[grows] = 1
        mask = mask.reshape(weight.shape)
        new = (mask != 0) & ~active
        for t in (weight, *self.optimizer.state.get(weight, {}).values()):
            if isinstance(t, Tensor) and t.shape == weight.shape:
                t.masked_fill_(new, 0.0)
        set_mask(module, name, mask)


def _all_but(scores: Tensor, active: Tensor, k: int) -> Tensor:
    """`active` without the k elements of the lowest scores."""
    stays = active.reshape(-1).clone()
    stays[scores.reshape(-1).topk(k, largest=False).indices] = False
    return stays.reshape(active.shape)
