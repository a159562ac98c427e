"""Observers that count how often each value came, and choose a range that is better than from the smallest to the largest.

A narrower range has smaller steps, which all values gain from, and cuts off the largest ones, which lose much. Where the best
compromise lies is what the classes differ in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.op import wrap
from ..kernels.quantize import finite_range
from ..tensor import Tensor
from .observer import ObserverBase, per_tensor_affine, per_tensor_symmetric


class HistogramObserver(ObserverBase):
    """The range with the smallest mean squared error of rounding and cutting off, as the histogram tells.

    bins: how many intervals of one width the histogram has. When a batch goes beyond it, it is widened and the counts are
    distributed anew.
    """

    histogram: Tensor
    min_val: Tensor
    max_val: Tensor

    def __init__(self, bins: int = 2048, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.qscheme not in (per_tensor_affine, per_tensor_symmetric):
            raise NotImplementedError(f"{type(self).__name__}: qscheme is per tensor, got {self.qscheme}")
        if bins < 2:
            raise ValueError(f"{type(self).__name__}: bins must be at least 2, got {bins}")
        self.bins = bins
        self.register_buffer("histogram", wrap(np.zeros(bins, np.float32)))
        self.register_buffer("min_val", wrap(np.array(np.inf, np.float32)))
        self.register_buffer("max_val", wrap(np.array(-np.inf, np.float32)))

    def forward(self, input: Tensor) -> Tensor:
        """Count the values of the input, which is returned. Raises ValueError where one is not finite."""
        x = np.asarray(input.detach().array, np.float32)
        if not x.size:
            return input
        finite_range(x)
        low, high = float(x.min()), float(x.max())
        before = self.histogram.array
        if before.any():
            low, high = min(low, float(self.min_val.array)), max(high, float(self.max_val.array))
        high = max(high, low + 1e-3 * max(abs(low), abs(high), 1e-6))  # a histogram of one value needs some width
        counts, _ = np.histogram(x.astype(np.float64), self.bins, (low, high))
        if before.any():
            counts = counts + np.histogram(self.centres(), self.bins, (low, high), weights=before)[0]
        self.histogram = wrap(counts.astype(np.float32))
        self.min_val, self.max_val = (wrap(np.array(v, np.float32)) for v in (low, high))
        return input

    def centres(self) -> Any:
        """The middle of each bin."""
        low, high = float(self.min_val.array), float(self.max_val.array)
        return low + (np.arange(self.bins) + 0.5) * ((high - low) / self.bins)

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point for the best range. Raises RuntimeError before anything was observed."""
        if not self.histogram.array.any():
            raise RuntimeError(
                f"{type(self).__name__}: nothing was observed yet, so there is no scale; run some batches of data"
            )
        low, high = self.best_range()
        return self.choose(np.float32(low), np.float32(high))

    def best_range(self) -> tuple[float, float]:
        """The ends between which values keep their size; those beyond become the ends."""
        ranges = self.candidates()
        return ranges[int(np.argmin([self.squared_error(*each) for each in ranges]))]

    def candidates(self) -> list[tuple[float, float]]:
        """Ranges that leave out more and more of the values, from the whole to the middle, on the side with the rarer ones."""
        counts, centres = self.histogram.array.astype(np.float64), self.centres()
        share = np.cumsum(counts) / counts.sum()
        first, last = 0, self.bins - 1
        found = [(float(self.min_val.array), float(self.max_val.array))]
        step = 1e-5
        left_out = step
        while first < last and left_out < 0.5:
            lower, upper = int(np.searchsorted(share, left_out)), int(np.searchsorted(share, 1 - left_out))
            if lower - first > last - upper:  # the longer tail gives way
                first = max(lower, first)
            else:
                last = min(upper, last)
            found.append((float(centres[first]), float(centres[last])))
            left_out += step if left_out < 20 * step else 20 * step if left_out < 0.01 else 0.005
        return list(dict.fromkeys(found))

    def squared_error(self, low: float, high: float) -> float:
        """The sum of the squared differences between the values of all bins and what they are rounded to."""
        scale, zero = (v.array for v in self.choose(np.float32(low), np.float32(high)))
        centres = self.centres()
        q = np.clip(np.rint(centres / scale) + zero, self.quant_min, self.quant_max)
        # within a bin values are spread out: a bin that is wider than a step errs by scale^2 / 12 on average, not by nothing
        error = (centres - (q - zero) * scale) ** 2
        return float(np.sum(self.histogram.array * error))


class EntropyObserver(HistogramObserver):
    """The range whose quantized distribution tells least apart from the observed one: the smallest Kullback-Leibler divergence.

    Source: Migacz, "8-bit Inference with TensorRT", 2017.
    """

    def candidates(self) -> list[tuple[float, float]]:
        """Ranges of as many bins as half of the integers, at least: a range of one bin tells nothing apart, and diverges by 0."""
        whole, *others = super().candidates()
        least = (self.quant_max - self.quant_min + 1) // 2 * (whole[1] - whole[0]) / self.bins
        return [whole, *(each for each in others if each[1] - each[0] >= least)]

    def squared_error(self, low: float, high: float) -> float:
        """The divergence, in place of the error."""
        centres, counts = self.centres(), self.histogram.array.astype(np.float64)
        scale, zero = (v.array for v in self.choose(np.float32(low), np.float32(high)))
        q = np.clip(np.rint(centres / scale) + zero, self.quant_min, self.quant_max).astype(np.int64) - self.quant_min
        inside = (centres >= low) & (centres <= high)
        levels = self.quant_max - self.quant_min + 1
        # what saturates counts for the outermost bins in the distribution that is to be matched, and is lost for the other
        p = np.where(inside, counts, 0.0)
        ends = np.flatnonzero(inside)
        p[ends[0]] += counts[: ends[0]].sum()
        p[ends[-1]] += counts[ends[-1] + 1 :].sum()
        seen = inside & (counts > 0)
        total = np.bincount(q[inside], np.where(inside, counts, 0)[inside], levels)
        used = np.bincount(q[seen], minlength=levels)
        spread = np.where(seen, total[q] / np.maximum(used[q], 1), 0.0)
        p, spread = p / p.sum(), spread / max(spread.sum(), 1e-30)
        there = p > 0
        return float(np.sum(p[there] * np.log(p[there] / np.maximum(spread[there], 1e-12))))


class PercentileObserver(HistogramObserver):
    """The range that leaves out a share of the values at each end: 100 - percentile, in percent.

    Example:
        >>> observer = PercentileObserver(percentile=99.0)
    """

    def __init__(self, percentile: float = 99.99, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not 50 < percentile <= 100:
            raise ValueError(f"PercentileObserver: percentile must be above 50 and at most 100, got {percentile}")
        self.percentile = percentile

    def best_range(self) -> tuple[float, float]:
        counts = self.histogram.array.astype(np.float64)
        share = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
        edges = np.linspace(float(self.min_val.array), float(self.max_val.array), self.bins + 1)
        outside = 1 - self.percentile / 100
        low, high = np.interp([outside, 1 - outside], share, edges)
        return float(low), float(high)


class MSEObserver(HistogramObserver):
    """The range, among the whole one scaled down in 100 steps, with the smallest mean squared error.

    HistogramObserver cuts off one side at a time; this scales both, which suits values that are spread evenly around 0.
    Source: Nagel and others, "A White Paper on Neural Network Quantization", 2021.
    """

    def candidates(self) -> list[tuple[float, float]]:
        low, high = min(float(self.min_val.array), 0.0), max(float(self.max_val.array), 0.0)
        return [(part * low, part * high) for part in np.linspace(1, 0.01, 100)]
