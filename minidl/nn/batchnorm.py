"""Batch and instance normalisation: each channel by its mean and variance, over the batch or within each sample."""

from __future__ import annotations

from typing import Any, ClassVar

from .. import dtypes
from ..tensor import Tensor
from . import functional as F
from . import init
from .lazy import LazyModuleMixin
from .module import Module
from .normalization import _Affine
from .parameter import blank


class _NormBase(_Affine):
    """Running estimates of mean and variance, and inputs with one of the given numbers of dimensions.

    momentum: the weight of the newest batch in the estimates; None for the plain average of all.
    """

    dimensions: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        for name in ("running_mean", "running_var"):
            value = blank(num_features, device=device, dtype=dtype) if track_running_stats else None
            self.register_buffer(name, value)
        count = blank(device=device, dtype=dtypes.int64) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)
        self._make_affine((num_features,), affine, affine and bias, device, dtype)

    def reset_running_stats(self) -> None:
        """Set the running estimates to mean 0 and variance 1."""
        if self.track_running_stats:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Set weight to 1, bias to 0 and the running estimates to mean 0 and variance 1."""
        self.reset_running_stats()
        super().reset_parameters()

    def _check_input(self, input: Tensor) -> None:
        if input.ndim not in self.dimensions:
            expected = " or ".join(f"{n}D" for n in self.dimensions)
            raise ValueError(
                f"{type(self).__name__}: expected {expected} input (got {input.ndim}D input, {list(input.shape)})"
            )

    def _batched(self, input: Tensor) -> Tensor:
        """input with a batch dimension."""
        return input

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_NormBase):
    """Batch normalisation: in training by the mean and variance of the batch, which the running estimates follow; in
    evaluation by the running estimates. Source: Ioffe and Szegedy, "Batch Normalization", 2015.
    """

    def forward(self, input: Tensor) -> Tensor:
        self._check_input(input)
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.array += 1
            if momentum is None:
                momentum = 1.0 / self.num_batches_tracked.item()
        track = not self.training or self.track_running_stats
        return F.batch_norm(
            input,
            self.running_mean if track else None,
            self.running_var if track else None,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            momentum or 0.0,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (B, C) or (B, C, L)."""

    dimensions = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (B, C, H, W)."""

    dimensions = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (B, C, D, H, W)."""

    dimensions = (5,)


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation of (B, C, *) over all processes. Here there is one, so it is ordinary batch normalisation."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"SyncBatchNorm: expected at least 2D input (got {input.ndim}D input)")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """The module with every batch normalisation in it replaced by one of this class, on the same tensors."""
        result = module
        if isinstance(module, _BatchNorm):
            state = module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats
            result = cls(*state, process_group, bias=module.bias is not None)
            result.__dict__.update(training=module.training, _parameters=module._parameters, _buffers=module._buffers)
        for name, child in module.named_children():
            result.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return result


class _InstanceNorm(_NormBase):
    """Instance normalisation for inputs with the given numbers of dimensions, the smaller without a batch.

    Each channel of each sample is normalised by its own mean and variance; with track_running_stats, in evaluation by the
    running estimates. Source: Ulyanov, Vedaldi and Lempitsky, "Instance Normalization", 2016.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def _batched(self, input: Tensor) -> Tensor:
        """input with a batch dimension."""
        return input if input.ndim == max(self.dimensions) else input.unsqueeze(0)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input(input)
        x = self._batched(input)
        if self.affine and x.shape[1] != self.num_features:
            raise ValueError(
                f"expected input's size at dim=1 to match num_features ({self.num_features}), but got: {x.shape[1]}."
            )
        own = self.training or not self.track_running_stats
        out = F.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, own, self.momentum or 0.0, self.eps
        )
        return out if x is input else out.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of (B, C, L) or (C, L)."""

    dimensions = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of (B, C, H, W) or (C, H, W)."""

    dimensions = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of (B, C, D, H, W) or (C, D, H, W)."""

    dimensions = (4, 5)


class _LazyNorm(LazyModuleMixin, _NormBase):
    """Batch or instance normalisation without num_features, which it reads off the first input."""

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self._forget_shapes()

    def reset_parameters(self) -> None:
        """Set weight, bias and running estimates to their first values, once the input is known."""
        if self.num_features:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        self._check_input(input)
        self.num_features = self._batched(input).shape[1]
        if self.has_uninitialized_params():
            for t in (self.weight, self.bias, self.running_mean, self.running_var):
                if t is not None:
                    t.materialize((self.num_features,))
            self.reset_parameters()


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """A BatchNorm1d that reads num_features off its first input."""

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """A BatchNorm2d that reads num_features off its first input."""

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """A BatchNorm3d that reads num_features off its first input."""

    cls_to_become = BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """An InstanceNorm1d that reads num_features off its first input. Affine, with running estimates, by default."""

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """An InstanceNorm2d that reads num_features off its first input. Affine, with running estimates, by default."""

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):
    """An InstanceNorm3d that reads num_features off its first input. Affine, with running estimates, by default."""

    cls_to_become = InstanceNorm3d
