"""Random state: generators that are a seed and a position in the Philox stream of that seed.

The stream is the same on every device, so a seed gives the same numbers everywhere. Streams differ from PyTorch's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import devices

MASK = 2**64 - 1


class Generator:
    """A source of random numbers of its own.

    Example:
        >>> g = minidl.Generator().manual_seed(7)
        >>> minidl.rand(3, generator=g).shape
        torch.Size([3])
    """

    def __init__(self, device: Any = "cpu") -> None:
        self.device = devices.device(device)
        self.key = self.offset = 0
        self.manual_seed(67280421310721)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed` (any 64-bit integer) at its beginning."""
        seed = int(seed)
        if not -(2**63) <= seed <= MASK:
            raise RuntimeError(f"manual_seed: expected a 64-bit integer, got {seed}")
        self.key, self.offset = seed & MASK, 0
        return self

    def seed(self) -> int:
        """Start the stream of a seed that nobody can foresee; that seed."""
        self.manual_seed(int.from_bytes(os.urandom(8)) >> 1)
        return self.key

    def initial_seed(self) -> int:
        """The seed of this stream."""
        return self.key

    def take(self, blocks: int) -> tuple[int, int]:
        """Reserve blocks of four words: the key and the counter of the first."""
        if devices.capturing.get():
            raise RuntimeError("cuda.graph: random numbers cannot be recorded: every replay would have the same ones")
        start = self.offset
        self.offset += blocks
        return self.key, start

    def get_state(self) -> Any:
        """Seed and position, as a uint8 tensor (16,)."""
        from .autograd.op import wrap

        return wrap(np.array([self.key, self.offset], np.uint64).view(np.uint8))

    def set_state(self, state: Any) -> Generator:
        """Go back to a state that get_state gave."""
        if getattr(state, "array", np.zeros(0)).dtype != np.uint8 or state.array.size != 16:
            raise RuntimeError("set_state: expected a state from get_state(), a uint8 tensor of 16 elements")
        self.key, self.offset = (int(v) for v in np.ascontiguousarray(state.array).view(np.uint64))
        return self

    def clone_state(self) -> Generator:
        """Another generator at the same position of the same stream."""
        other = Generator(self.device)
        other.key, other.offset = self.key, self.offset
        return other


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Start the global generator's stream of `seed`; the generator."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Start the global generator with a seed that nobody can foresee; that seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the global generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Any:
    """The state of the global generator."""
    return default_generator.get_state()


def set_rng_state(state: Any) -> None:
    """Set the state of the global generator."""
    default_generator.set_state(state)


@contextmanager
def fork_rng(devices: Any = None, enabled: bool = True) -> Iterator[None]:
    """Draws inside the block leave the global generator as it was."""
    state = get_rng_state()
    try:
        yield
    finally:
        if enabled:
            set_rng_state(state)
