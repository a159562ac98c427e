"""From samples to batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...tensor import Tensor


def default_collate(batch: list[Any]) -> Any:
    """One batch from a list of samples: tensors and arrays stacked, numbers made tensors, containers gone into.

    Raises RuntimeError where shapes differ, TypeError for elements of other kinds.

    Example:
        >>> default_collate([(1.0, "a"), (2.0, "b")])
        [tensor([1., 2.], dtype=torch.float64), ['a', 'b']]
    """
    from ...ops.creation import from_numpy, tensor
    from ...ops.joining import stack

    first = batch[0]
    if isinstance(first, Tensor):
        shapes = {tuple(t.shape) for t in batch if isinstance(t, Tensor)}
        if len(shapes) > 1:
            raise RuntimeError(
                f"collate: stack expects each tensor to be equal size, but the batch has {sorted(shapes)}; pad them in a "
                "collate_fn of yours"
            )
        return stack(batch)
    if isinstance(first, (bool, int)):
        return tensor(batch)
    if isinstance(first, float):
        return tensor(np.array(batch, np.float64))
    if isinstance(first, (np.number, np.bool_)):
        return tensor(np.array(batch))
    if isinstance(first, np.ndarray) and first.dtype.kind not in "OSUVMm":
        return default_collate([from_numpy(a) for a in batch])
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _like(first, {key: default_collate([sample[key] for sample in batch]) for key in first})
    if isinstance(first, (tuple, list)):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError(f"collate: the samples of a batch have different lengths: {[len(s) for s in batch]}")
        columns = [default_collate(list(column)) for column in zip(*batch, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else columns
    kind = f"arrays of {first.dtype}" if isinstance(first, np.ndarray) else str(type(first))
    raise TypeError(
        f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {kind}; give "
        "DataLoader a collate_fn that knows it"
    )


def default_convert(sample: Any) -> Any:
    """The sample with its NumPy arrays and numbers made tensors: what a loader without batches does to each."""
    from ...ops.creation import from_numpy, tensor

    if isinstance(sample, np.ndarray) and sample.dtype.kind not in "OSUVMm":
        return from_numpy(sample)
    if isinstance(sample, (np.number, np.bool_)):
        return tensor(sample)
    if isinstance(sample, Mapping):
        return _like(sample, {key: default_convert(value) for key, value in sample.items()})
    if isinstance(sample, (tuple, list)):
        values = [default_convert(value) for value in sample]
        return type(sample)(*values) if hasattr(sample, "_fields") else values
    return sample


def _like(mapping: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    """The items in a mapping of the same type, or in a dict where that type is made otherwise."""
    try:
        return type(mapping)(items)  # type: ignore[call-arg]
    except TypeError:
        return items
