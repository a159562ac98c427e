"""A softmax over very many classes that spends little on the rare ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..autograd.op import wrap
from ..kernels import array_module
from ..ops.joining import cat
from ..tensor import Tensor
from . import functional as F
from .container import ModuleList, Sequential
from .linear import Linear
from .module import Module


class ASMoutput(NamedTuple):
    """The log-probability of each target (N,), and minus their mean."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """log softmax over n_classes, which are sorted by how frequent they are, the most frequent first.

    The head scores the classes below cutoffs[0] and, with one score each, the clusters between the cutoffs. A cluster scores
    its own classes from a projection of the input to in_features / div_value^i numbers, and only for targets that lie in it.
    Source: Grave, Joulin, Cissé, Grangier and Jégou, "Efficient softmax approximation for GPUs", 2017.

    Example:
        >>> softmax = nn.AdaptiveLogSoftmaxWithLoss(16, 1000, cutoffs=[10, 100])
        >>> softmax(torch.randn(4, 16), torch.tensor([1, 5, 50, 900])).output.shape
        torch.Size([4])
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        ends = [0, *cutoffs, n_classes]
        if (
            not cutoffs
            or any(int(c) != c for c in cutoffs)
            or any(a >= b for a, b in zip(ends, ends[1:], strict=False))
        ):
            raise ValueError(
                "AdaptiveLogSoftmaxWithLoss: cutoffs should be a sequence of one or more unique, positive integers sorted in "
                f"an increasing order, each between 1 and n_classes-1, {n_classes - 1}; got {list(cutoffs)}"
            )
        self.in_features, self.n_classes, self.cutoffs = in_features, n_classes, ends[1:]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size, self.n_clusters = ends[1], len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        place = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, head_bias, **place)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(self._clusters()):
            width = int(in_features // div_value ** (i + 1))
            self.tail.append(
                Sequential(Linear(in_features, width, False, **place), Linear(width, high - low, False, **place))
            )

    def _clusters(self) -> list[tuple[int, int]]:
        """The first class of each cluster, and the one after its last."""
        return list(zip(self.cutoffs, self.cutoffs[1:], strict=False))

    def reset_parameters(self) -> None:
        """Draw all weights again."""
        for module in (self.head, *(layer for projection in self.tail for layer in projection)):
            module.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> ASMoutput:
        """input (N, in_features) and target (N,), or (in_features,) and a class: (output, loss) with output (N,) or ()."""
        if target.ndim > 1 or input.ndim != target.ndim + 1 or (target.ndim and len(input) != len(target)):
            raise RuntimeError(
                f"AdaptiveLogSoftmaxWithLoss: expected input (N, {self.in_features}) and target (N,), or without N, got "
                f"{list(input.shape)} and {list(target.shape)}"
            )
        x, y = input.reshape(-1, input.shape[-1]), target.array.reshape(-1)
        xp = array_module(y)
        if y.size and not 0 <= y.min() <= y.max() < self.n_classes:
            raise RuntimeError(
                f"AdaptiveLogSoftmaxWithLoss: Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{y.min()}, {y.max()}] were found"
            )
        cluster = xp.searchsorted(xp.asarray(self.cutoffs), y, side="right")  # 0: the head alone
        column = xp.where(cluster == 0, y, self.shortlist_size + cluster - 1)
        output = F.log_softmax(self.head(x), 1)[xp.arange(y.size), column]
        rows = [xp.flatnonzero(cluster == i) for i in range(self.n_clusters + 1)]
        within = [output.new_zeros(rows[0].size)]
        for i, (low, _) in enumerate(self._clusters(), 1):
            if rows[i].size:  # a cluster without targets is not computed, nor learned
                scores = F.log_softmax(self.tail[i - 1](x[rows[i]]), 1)
                within.append(scores[xp.arange(rows[i].size), y[rows[i]] - low])
        order = xp.concatenate(rows)
        output = output + cat(within)[wrap(xp.argsort(order))]
        return ASMoutput(output.reshape(target.shape), -output.mean())

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes: (N, in_features) gives (N, n_classes)."""
        head = F.log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for i in range(self.n_clusters):
            parts.append(F.log_softmax(self.tail[i](input), 1) + head[:, self.shortlist_size + i].unsqueeze(1))
        return cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most likely class of each row of input (N, in_features): (N,)."""
        return self.log_prob(input).argmax(1)
