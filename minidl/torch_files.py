"""Reading the files that PyTorch's save writes, without executing anything in them.

Such a file is a zip archive: `data.pkl` says how tensors are nested, in Python's pickle format, and `data/0`, `data/1`, ... hold
their memory. A pickle may name any function to call. This reader knows a short list of names, all of them harmless, and refuses
every other.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

from . import devices, dtypes
from .autograd.op import wrap
from .nn.parameter import Parameter
from .tensor import Size, Tensor

STORAGES = {
    "FloatStorage": np.float32, "DoubleStorage": np.float64, "HalfStorage": np.float16, "LongStorage": np.int64,
    "IntStorage": np.int32, "ShortStorage": np.int16, "CharStorage": np.int8, "ByteStorage": np.uint8,
    "BoolStorage": np.bool_, "ComplexFloatStorage": np.complex64, "ComplexDoubleStorage": np.complex128,
    "BFloat16Storage": None,
}  # fmt: skip


class _Kind(NamedTuple):
    """The class of a storage in the file, of which only the dtype counts; None for bfloat16."""

    dtype: Any


def is_archive(data: bytes) -> bool:
    """Whether these are the bytes of a zip archive."""
    return data[:4] == b"PK\x03\x04"


def read(data: bytes, target: devices.device) -> Any:
    """What torch.save wrote, with the tensors on the target device. bfloat16 tensors become float32.

    Raises ValueError for an archive that is not one of torch.save's, or that names something else than tensors and containers.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        (listing,) = (name for name in archive.namelist() if name.endswith("/data.pkl") or name == "data.pkl")
        bad = archive.testzip()
    except (zipfile.BadZipFile, ValueError) as error:
        raise ValueError(f"it is a zip archive, but not one of torch.save's ({error})") from None
    if bad is not None:
        raise ValueError(f"the checksum of its part {bad} is wrong")
    return _Reader(archive, listing.removesuffix("data.pkl"), target, archive.read(listing)).load()


class _Reader(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, folder: str, target: devices.device, listing: bytes) -> None:
        super().__init__(io.BytesIO(listing), encoding="utf-8")
        self.archive, self.folder, self.target = archive, folder, target
        self.memory: dict[str, Any] = {}
        self.known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch", "Size"): Size,
            ("torch", "device"): devices.device,
            ("torch._utils", "_rebuild_tensor_v2"): self.tensor,
            ("torch._utils", "_rebuild_parameter"): lambda t, requires_grad, hooks: Parameter(t, requires_grad),
            **{("torch", name): _Kind(dtype) for name, dtype in STORAGES.items()},
            **{("torch", name): dtype for name, dtype in dtypes.ALL.items()},
        }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.known[module, name]
        except KeyError:
            raise ValueError(
                f"it names {module}.{name}, which is neither a tensor nor a container; save a state_dict() instead of a "
                "whole model"
            ) from None

    def persistent_load(self, identity: Any) -> Any:
        """The memory of a storage, as one row."""
        kind, key = identity[1], identity[2]
        if key not in self.memory:
            raw = self.archive.read(f"{self.folder}data/{key}")
            if kind.dtype is None:  # bfloat16: the upper half of a float32
                row = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
            else:
                row = np.frombuffer(raw, np.dtype(kind.dtype).newbyteorder("<")).astype(kind.dtype)
            self.memory[key] = row
        return self.memory[key]

    def tensor(
        self, row: Any, offset: int, size: Any, stride: Any, requires_grad: bool, hooks: Any, metadata: Any = None
    ) -> Tensor:
        """A tensor in the memory of a row."""
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if 0 not in size else -1
        if offset < 0 or min(stride, default=0) < 0 or last >= row.size:
            raise ValueError(f"a tensor of shape {list(size)} does not fit into its memory of {row.size} elements")
        strides = [s * row.itemsize for s in stride]
        array = np.lib.stride_tricks.as_strided(row[offset:], tuple(size), strides)
        return wrap(devices.move(array, self.target)).requires_grad_(requires_grad)
