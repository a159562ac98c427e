"""From which sparsity on a CSR layer is faster than a dense one: measured, for it is another number on every machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from ..autograd.grad_mode import no_grad
from ..nn.linear import Linear
from ..ops.random import randn
from ..pictures import GREY, figure, save
from .csr import SparseLinear
from .pruning import prune_to

SPARSITIES = (0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)


@dataclass
class BreakEven:
    """Median times of one call in seconds, dense and CSR, at each sparsity."""

    out_features: int
    in_features: int
    batch: int
    sparsities: list[float]
    dense: list[float]
    csr: list[float]

    @property
    def crossing(self) -> float | None:
        """The sparsity from which on CSR stays faster, on a straight line between two measurements.

        The lowest that was measured if CSR is faster everywhere, None if it is slower at the highest.
        """
        ahead = [d - c for d, c in zip(self.dense, self.csr, strict=True)]
        if ahead[-1] <= 0:
            return None
        last = max((i for i, gain in enumerate(ahead) if gain <= 0), default=None)
        if last is None:
            return self.sparsities[0]
        low, high = self.sparsities[last], self.sparsities[last + 1]
        return low + (high - low) * ahead[last] / (ahead[last] - ahead[last + 1])

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Both times over sparsity, with the crossing, as a picture: .png, .svg or .pdf."""
        drawn, axes = figure(6.5, 4.2)
        axes.plot(self.sparsities, [t * 1e3 for t in self.dense], label="dense")
        axes.plot(self.sparsities, [t * 1e3 for t in self.csr], label="CSR")
        if self.crossing is not None:
            axes.axvline(self.crossing, color=GREY, marker="", linestyle=":", label=f"break-even {self.crossing:.1%}")
        axes.set(
            title=f"linear layer {self.in_features} to {self.out_features}, batch {self.batch}",
            xlabel="share of zeros in the weight", ylabel="milliseconds, median", yscale="log",
        )  # fmt: skip
        axes.legend()
        save(drawn, path)


@no_grad()
def break_even(
    out_features: int = 1024,
    in_features: int = 1024,
    batch: int = 256,
    sparsities: Sequence[float] = SPARSITIES,
    rounds: int = 15,
    on_measured: Callable[[float, float, float], None] | None = None,
) -> BreakEven:
    """Time a dense and a CSR layer with the same random weights, pruned by magnitude, in turn at each sparsity.

    Threads are as they are set: a dense product uses all that BLAS has, the CSR kernel one.
    on_measured: called with each sparsity and its two times, as soon as they are there.
    Raises ValueError for sparsities that do not rise within [0, 1], and for rounds below 1.

    Example:
        >>> measured = break_even(512, 512, batch=64, rounds=5)
        >>> measured.plot("break_even.png")
    """
    sparsities = list(sparsities)
    if not sparsities or sorted(set(sparsities)) != sparsities or sparsities[0] < 0 or sparsities[-1] > 1 or rounds < 1:
        raise ValueError(f"break_even: sparsities must rise within [0, 1], rounds from 1; got {sparsities}, {rounds}")
    layer, x = Linear(in_features, out_features), randn(batch, in_features)
    times: list[tuple[float, float]] = []
    for share in sparsities:
        prune_to([(layer, "weight")], share)
        csr, dense = SparseLinear.from_linear(layer), Linear(in_features, out_features)
        dense.weight.copy_(layer.weight)
        times.append(alternate(lambda: dense(x), lambda: csr(x), rounds))  # noqa: B023  # called at once
        if on_measured is not None:
            on_measured(share, *times[-1])
    return BreakEven(out_features, in_features, batch, sparsities, [t[0] for t in times], [t[1] for t in times])


def alternate(a: Callable[[], object], b: Callable[[], object], rounds: int) -> tuple[float, float]:
    """The median times of two calls that are made in turn, after one of each that is not counted."""
    a(), b()
    times: tuple[list[float], list[float]] = [], []
    for _ in range(rounds):
        for call, found in zip((a, b), times, strict=True):
            begin = time.perf_counter()
            call()
            found.append(time.perf_counter() - begin)
    return median(times[0]), median(times[1])
