"""Reading the files that PyTorch's save writes, without executing anything in them.

Such a file is a zip archive: `data.pkl` says how tensors are nested, in Python's pickle format, and `data/0`, `data/1`, ... hold
their memory. Before version 1.6 it was a row of pickles with the memory behind them. `minidl.pickles` reads the pickles; what
they call tensors, parameters and storages is put together here.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter, defaultdict
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from . import devices, dtypes, pickles
from .autograd.op import wrap
from .nn.parameter import Parameter
from .tensor import Size, Tensor

STORAGES = {
    "FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "BFloat16Storage": "bfloat16",
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "?", "ComplexFloatStorage": "c8", "ComplexDoubleStorage": "c16", "UntypedStorage": "u1",
}  # fmt: skip
MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a file of the old kind
PROTOCOL = 1001  # and the second


class _Kind(NamedTuple):
    """The class of a storage in the file: what its elements are."""

    code: str

    @property
    def itemsize(self) -> int:
        return 2 if self.code == "bfloat16" else np.dtype(self.code).itemsize


def is_archive(data: bytes) -> bool:
    """Whether these are the bytes of a zip archive."""
    return data[:4] == b"PK\x03\x04"


def is_pickle(data: bytes) -> bool:
    """Whether these are the bytes of a pickle."""
    return data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def read(data: bytes, target: devices.device, stand_ins: bool = False) -> Any:
    """What torch.save wrote, with the tensors on the target device.

    stand_ins: an object of an unknown class becomes a minidl.pickles.StandIn.
    Raises ValueError for an archive that is not one of torch.save's, or that names something else than tensors and containers.
    """
    try:
        return (_read_archive if is_archive(data) else _read_pickles)(data, target, stand_ins)
    except pickles.UnknownName as error:
        raise ValueError(
            f"it names {error.name}, which is neither a tensor nor a container; save a state_dict() instead of a whole "
            "model, or read it with weights_only=False, which puts inert stand-ins for such objects and still runs nothing"
        ) from None


def bfloat16_row(raw: bytes) -> np.ndarray[Any, Any]:
    """The numbers of little-endian bfloat16, as one writable row."""
    return np.frombuffer(raw, "<u2").astype(np.uint16).view(dtypes.bfloat16.dtype)


def _row(raw: bytes, kind: _Kind, numel: int) -> np.ndarray[Any, Any]:
    """The memory of a storage, as one writable row."""
    if len(raw) != numel * kind.itemsize:
        raise ValueError(f"a storage of {numel} elements has {len(raw)} bytes, expected {numel * kind.itemsize}")
    if kind.code == "bfloat16":
        return bfloat16_row(raw)
    return np.frombuffer(raw, "<" + kind.code).astype(kind.code)


def _read_archive(data: bytes, target: devices.device, stand_ins: bool) -> Any:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        names = archive.namelist()
        (listing,) = (name for name in names if name.endswith("/data.pkl") or name == "data.pkl")
        bad = archive.testzip()
    except (zipfile.BadZipFile, ValueError) as error:
        raise ValueError(f"it is a zip archive, but not one of torch.save's ({error})") from None
    folder = listing.removesuffix("data.pkl")
    if f"{folder}constants.pkl" in names:
        raise ValueError(
            "it is a TorchScript program (torch.jit.save), whose network is code; with PyTorch, "
            "torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE) keeps its weights"
        )
    if bad is not None:
        raise ValueError(f"the checksum of its part {bad} is wrong")
    if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
        raise ValueError("it was written on a big-endian machine, and only little-endian files can be read")
    return _ArchiveReader(io.BytesIO(archive.read(listing)), target, stand_ins, archive, folder).load()


def _read_pickles(data: bytes, target: devices.device, stand_ins: bool) -> Any:
    """A file of the old kind: pickles of a magic number, a version, the machine, the object and its storages' names.

    Then, in the order of the names, the length and the memory of each storage.
    """
    file = io.BytesIO(data)
    if pickles.Reader(file, stand_ins=True).load() != MAGIC:
        raise ValueError(
            "it is a pickle, but not one of torch.save's, and to read it in the usual way can run code; minidl.pickles.Reader "
            "takes plain data out of it without"
        )
    version, machine = pickles.Reader(file).load(), pickles.Reader(file).load()
    if version != PROTOCOL or not machine.get("little_endian"):
        raise ValueError(f"it has version {version} and comes from a machine {machine}; only {PROTOCOL} can be read")
    start = file.tell()
    reader = _PicklesReader(file, target, stand_ins, len(data))
    reader.load()  # says what the storages are, which come later in the file
    for key in pickles.Reader(file).load():
        kind, numel = reader.storages[key]
        if int.from_bytes(file.read(8), "little") != numel:
            raise ValueError(f"its storage {key} has another length than the {numel} elements that were announced")
        reader.rows[key] = _row(file.read(numel * kind.itemsize), kind, numel)
    file.seek(start)
    again = _PicklesReader(file, target, stand_ins, len(data))
    again.rows = reader.rows
    return again.load()


class _Reader(pickles.Reader):
    def __init__(self, file: BinaryIO, target: devices.device, stand_ins: bool) -> None:
        known: dict[tuple[str, str], Any] = {
            ("collections", "Counter"): Counter,
            ("collections", "defaultdict"): defaultdict,
            ("torch", "Size"): Size,
            ("torch", "device"): devices.device,
            ("torch", "Tensor"): Tensor,  # these two only name the type of a rebuilt tensor
            ("torch.nn.parameter", "Parameter"): Parameter,
            ("torch._utils", "_rebuild_tensor"): self.tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self.tensor,
            ("torch._utils", "_rebuild_tensor_v3"): self.tensor_of,
            ("torch._utils", "_rebuild_parameter"): _parameter,
            ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
            ("torch._tensor", "_rebuild_from_type_v2"): lambda function, kind, arguments, state: function(*arguments),
            ("torch.storage", "UntypedStorage"): _Kind("u1"),
            **{("torch", name): _Kind(code) for name, code in STORAGES.items()},
            **{("torch", d.name): d for d in dtypes.ALL.values()},
        }
        super().__init__(file, known, stand_ins)
        self.target = target

    def tensor(
        self,
        row: Any,
        offset: int,
        size: Any,
        stride: Any,
        requires_grad: bool = False,
        hooks: Any = None,
        metadata: Any = None,
    ) -> Tensor:
        """A tensor in the memory of a row."""
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if 0 not in size else -1
        if offset < 0 or min(stride, default=0) < 0 or min(size, default=0) < 0 or last >= row.size:
            raise ValueError(f"a tensor of shape {list(size)} does not fit into its memory of {row.size} elements")
        strides = [s * row.itemsize for s in stride]
        array = np.lib.stride_tricks.as_strided(row[offset:], tuple(size), strides)
        return wrap(devices.move(array, self.target)).requires_grad_(requires_grad)

    def tensor_of(
        self,
        row: Any,
        offset: int,
        size: Any,
        stride: Any,
        requires_grad: bool,
        hooks: Any,
        dtype: Any,
        metadata: Any = None,
    ) -> Tensor:
        """A tensor in the memory of an untyped row."""
        return self.tensor(row.view(dtype.dtype), offset, size, stride, requires_grad)


def _parameter(data: Tensor, requires_grad: bool, hooks: Any, state: Any = None) -> Parameter:
    return Parameter(data, requires_grad)


class _ArchiveReader(_Reader):
    def __init__(
        self, file: BinaryIO, target: devices.device, stand_ins: bool, archive: zipfile.ZipFile, folder: str
    ) -> None:
        super().__init__(file, target, stand_ins)
        self.archive, self.folder = archive, folder
        self.rows: dict[str, Any] = {}

    def persistent_load(self, identity: Any) -> Any:
        """The row of a storage, by ("storage", kind, key, place, number of elements)."""
        _, kind, key, _, numel = identity
        if key not in self.rows:
            self.rows[key] = _row(self.archive.read(f"{self.folder}data/{key}"), kind, numel)
        return self.rows[key]


class _PicklesReader(_Reader):
    def __init__(self, file: BinaryIO, target: devices.device, stand_ins: bool, limit: int) -> None:
        super().__init__(file, target, stand_ins)
        self.limit = limit  # the length of the file
        self.storages: dict[str, tuple[_Kind, int]] = {}
        self.rows: dict[str, Any] = {}

    def persistent_load(self, identity: Any) -> Any:
        """The row of a storage, by ("storage", kind, key, place, number of elements, which part of it or None).

        Until the memory has been read it is a row of as many zeros. A module is named with its source, which is not read.
        """
        if identity[0] == "module":
            return identity[1]
        _, kind, key, _, numel, part = identity
        if key not in self.rows:
            self.storages[key] = kind, numel
            self.rows[key] = _row(bytes(min(numel * kind.itemsize, self.limit)), kind, numel)
        return self.rows[key] if part is None else self.rows[key][part[1] : part[1] + part[2]]
