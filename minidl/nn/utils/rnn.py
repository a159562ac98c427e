"""Sequences of different lengths in one batch: padded to the longest, or packed without the padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...autograd.op import wrap
from ...devices import move, of_array
from ...ops.creation import as_tensor, full
from ...ops.indexing import Take
from ...ops.joining import cat, stack
from ...tensor import Tensor


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None


class PackedSequence(_Packed):
    """Sequences without their padding: `data` holds the first steps of all, then the second steps, and so on.

    batch_sizes: (T,) int64, how many sequences are still running at each step; they are sorted by length, longest first.
    sorted_indices, unsorted_indices: the order of sorting and the way back, or None for sequences that came sorted.
    Made by pack_padded_sequence; recurrent layers take it and give it back.
    """

    __slots__ = ()

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """With `data` in another dtype, or data and indices on another device; batch_sizes stay on the CPU."""
        data = self.data.to(*args, **kwargs)
        order, back = (i if i is None else i.to(data.device) for i in (self.sorted_indices, self.unsorted_indices))
        return PackedSequence(data, self.batch_sizes, order, back)

    def cpu(self) -> PackedSequence:
        return self.to("cpu")

    def cuda(self) -> PackedSequence:
        return self.to("cuda")

    @property
    def is_cuda(self) -> bool:
        return self.data.is_cuda


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes one."""
    return None if permutation is None else permutation.argsort()


def _places(sizes: Any, like: Any) -> tuple[Any, Any]:
    """Time step and row of each entry of packed data, on the device of an array."""
    times, rows = np.repeat(np.arange(len(sizes)), sizes), np.concatenate([np.arange(n) for n in sizes])
    return move(times, of_array(like)), move(rows, of_array(like))


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack input (T, B, *), or (B, T, *) with batch_first, of which sequence b has lengths[b] valid steps.

    enforce_sorted: raise if the lengths do not fall; False sorts, and unpacking undoes it.

    Example:
        >>> packed = pack_padded_sequence(minidl.arange(6.0).reshape(3, 2, 1), [3, 1])
        >>> packed.data.flatten(), packed.batch_sizes
        (tensor([0., 1., 2., 4.]), tensor([2, 1, 1]))
    """
    lengths = np.asarray(as_tensor(lengths).tolist(), np.int64)
    x = input.transpose(0, 1) if batch_first else input
    T, B = x.shape[:2]
    if len(lengths) != B:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(lengths)} (batch_size={B})"
        )
    if not B:
        raise RuntimeError("pack_padded_sequence: Cannot pack empty tensors, got a batch of no sequences")
    if lengths.min() <= 0 or lengths.max() > T:
        raise RuntimeError(
            f"pack_padded_sequence: lengths must be from 1 to the {T} time steps of the input, got {lengths.tolist()}; "
            "leave out empty sequences"
        )
    order = None
    if not enforce_sorted:
        order = np.argsort(-lengths, kind="stable")
        lengths = lengths[order]
    elif (np.diff(lengths) > 0).any():
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence to sidestep this requirement."
        )
    sizes = (np.arange(lengths.max())[:, None] < lengths).sum(1)
    times, rows = _places(sizes, x.array)
    if order is None:
        return PackedSequence(Take.apply(x, index=(times, rows)), wrap(sizes))
    there, back = (move(i, of_array(x.array)) for i in (order, np.argsort(order)))
    return PackedSequence(Take.apply(x, index=(times, there[rows])), wrap(sizes), wrap(there), wrap(back))


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """(padded, lengths): the sequences as (T, B, *), or (B, T, *) with batch_first, in the order they were given in.

    total_length: pad to that many steps, for batches that are to fit together.
    """
    sizes = sequence.batch_sizes.numpy()
    T, B = len(sizes), int(sizes[0]) if len(sizes) else 0
    if total_length is not None and total_length < T:
        raise ValueError(
            f"Expected total_length to be at least the length of the longest sequence in input, but got {total_length} and "
            f"max sequence length being {T}"
        )
    lengths = wrap((sizes[:, None] > np.arange(B)).sum(0))
    data = sequence.data
    times, rows = _places(sizes, data.array)
    padded = full((total_length or T, B, *data.shape[1:]), padding_value, dtype=data.dtype, device=data.device)
    padded = padded.index_put((wrap(times), wrap(rows)), data)
    if sequence.unsorted_indices is not None:
        back = sequence.unsorted_indices
        padded, lengths = padded.index_select(1, back), lengths[back.cpu()]
    return padded.transpose(0, 1) if batch_first else padded, lengths


def pad_sequence(
    sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences (L, *) of different lengths as one tensor (T, B, *), or (B, T, *) with batch_first.

    Example:
        >>> pad_sequence([minidl.tensor([1, 2]), minidl.tensor([3])], batch_first=True)
        tensor([[1, 2],
                [3, 0]])
    """
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"pad_sequence: padding_side must be 'left' or 'right', got {padding_side!r}")
    if not len(sequences):
        raise RuntimeError("pad_sequence: received an empty list of sequences")
    T = max(len(s) for s in sequences)
    rows = []
    for s in sequences:
        padding = full((T - len(s), *s.shape[1:]), padding_value, dtype=s.dtype, device=s.device)
        rows.append(s if len(s) == T else cat([s, padding] if padding_side == "right" else [padding, s]))
    return stack(rows, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The sequences (L, *) of a padded batch: the inverse of pad_sequence."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[: int(n)] for row, n in zip(rows, as_tensor(lengths).tolist(), strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (L, *) of different lengths."""
    return pack_padded_sequence(pad_sequence(sequences), [len(s) for s in sequences], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed batch: the inverse of pack_sequence."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences))
