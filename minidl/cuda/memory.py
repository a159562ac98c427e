"""How much memory of the GPU arrays hold, and what CuPy's pool has reserved for them. Without a GPU it is 0."""

from __future__ import annotations

from typing import Any

from ..devices import cupy_for, gpus

_watch: Any = None  # the hook that watches the peak, once it was asked for


def _pool() -> Any:
    return cupy_for("cuda").get_default_memory_pool()


def empty_cache() -> None:
    """Give memory that is kept for later back to the GPU. Does nothing without one."""
    if gpus()[0]:
        _pool().free_all_blocks()


def memory_allocated(device: Any = None) -> int:
    """Bytes that arrays hold, each rounded up to 512."""
    return int(_pool().used_bytes()) if gpus()[0] else 0


def memory_reserved(device: Any = None) -> int:
    """Bytes that the pool has taken from the GPU."""
    return int(_pool().total_bytes()) if gpus()[0] else 0


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that arrays held since reset_peak_memory_stats().

    That call begins to watch. Without it the answer is memory_reserved(), which may be more but is never less, unless memory
    was given back.
    """
    return memory_reserved() if _watch is None or not gpus()[0] else int(_watch.peak)


def max_memory_reserved(device: Any = None) -> int:
    """Bytes that the pool has taken from the GPU: it gives nothing back before empty_cache()."""
    return memory_reserved()


def reset_peak_memory_stats(device: Any = None) -> None:
    """From now on watch the most that is held at a time, in this thread; costs a microsecond or so per array."""
    global _watch
    if not gpus()[0]:
        return
    if _watch is None:
        _watch = _peak_hook()
        _watch.__enter__()  # for good
    _watch.used = _watch.peak = memory_allocated()


def _peak_hook() -> Any:
    class Peak(cupy_for("cuda").cuda.MemoryHook):  # type: ignore[misc]
        """Counts what CuPy's pool hands out and gets back."""

        name = "minidl peak"
        used = peak = 0

        def malloc_postprocess(self, *, mem_size: int, mem_ptr: int, **more: Any) -> None:
            if mem_ptr:
                self.used += mem_size
                self.peak = max(self.peak, self.used)

        def free_postprocess(self, *, mem_size: int, **more: Any) -> None:
            self.used -= mem_size

    return Peak()


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """(free, total) bytes of the GPU, as the driver sees it: what the pool keeps is not free."""
    free, total = cupy_for("cuda").cuda.runtime.memGetInfo()
    return int(free), int(total)


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """These numbers as a small table."""
    rows = {
        "held by arrays": memory_allocated(),
        "most at a time": max_memory_allocated(),
        "reserved by the pool": memory_reserved(),
    }
    if gpus()[0]:
        rows["free on the GPU"], rows["all of the GPU"] = mem_get_info()
    return "\n".join(f"{name:<22}{size / 2**20:>12,.1f} MiB" for name, size in rows.items())
