"""save and load: nested containers of tensors in one safetensors file, read without executing anything.

The tensors are the body of the file; how they are nested, with the numbers and texts between them, is JSON in its metadata,
beside a checksum of it all. A file is complete or it is not there: it is written beside its place, flushed to disk, renamed.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
import zlib
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from . import devices, dtypes, layouts, torch_files
from .autograd.op import same_memory, wrap
from .nn.parameter import Parameter
from .tensor import Size, Tensor


@contextmanager
def safe_globals(globals: list[Any]) -> Iterator[None]:
    """Changes nothing: reading a file makes no objects but tensors, containers, numbers and texts, whatever is called safe."""
    yield


def add_safe_globals(globals: list[Any]) -> None:
    """Does nothing; see safe_globals."""


FORMAT = "minidl-1"
CONTAINERS: dict[str, type] = {t.__name__: t for t in (dict, OrderedDict, Counter, list, tuple, Size)}
PLAIN = (type(None), bool, int, str)  # what JSON holds as it is
CODES = {
    "F64": "f8", "F32": "f4", "F16": "f2", "C64": "c8", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1",
    "U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip  # the names of dtypes in a safetensors file


def save(obj: Any, f: str | os.PathLike[str] | BinaryIO) -> None:
    """Write dicts, lists, tuples, numbers, texts and None with Tensors between them, such as state dicts.

    f: a path, which is replaced in one step, or a binary file object.
    Tensors on the same memory are written once, and share memory again when they are loaded; a view of a part of another
    tensor is written for itself. Raises TypeError for anything else, with the path of keys that leads to it.

    Example:
        >>> minidl.save(model.state_dict(), "model.pt")
        >>> model.load_state_dict(minidl.load("model.pt"))
    """
    from safetensors.numpy import save as to_bytes

    writer = _Writer()
    structure = json.dumps(writer.encode(obj, ""))
    metadata = {"format": FORMAT, "structure": structure, "crc32": _checksum(structure, writer.arrays)}
    data = to_bytes(writer.arrays, metadata)
    if hasattr(f, "write"):
        f.write(data)
    else:
        write_whole(f, data)


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace a file in one step: whoever looks, and whenever writing is cut short, sees the old content or the new.

    A process that is killed meanwhile may leave a hidden file .NAME.xxxxxxxx beside it, which can be deleted.
    """
    path = Path(path).resolve()  # through a link to what it points to
    if path.exists() and not path.is_file():
        path.write_bytes(data)  # into a device such as /dev/null; a folder raises
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(f: str | os.PathLike[str] | BinaryIO, map_location: Any = None, weights_only: bool = True) -> Any:
    """Read what `save` wrote, a safetensors file from elsewhere, which is a dict of tensors, or PyTorch's own .pt weights.

    Nothing in the file is executed, whatever `weights_only` says.
    weights_only=False: an object of another class in a .pt file, such as a settings object beside the weights, comes as a
    `minidl.pickles.StandIn`, which holds its name and state; by default it is an error.
    map_location: the device that the tensors go to (default: the CPU, which is also what a function or a dict stands for).
    Raises RuntimeError for a file that is damaged or of another kind; FileNotFoundError for none.
    """
    from safetensors import SafetensorError

    anywhere = map_location is None or callable(map_location) or isinstance(map_location, dict)
    target = devices.CPU if anywhere else devices.device(map_location)
    named = getattr(f, "name", "the file") if hasattr(f, "read") else str(f)
    data = f.read() if hasattr(f, "read") else Path(f).read_bytes()
    if data[8:9] != b"{" and (torch_files.is_archive(data) or torch_files.is_pickle(data)):
        try:
            return torch_files.read(data, target, stand_ins=not weights_only)
        except Exception as error:  # a pickle can go wrong in any way
            raise RuntimeError(f"load: {named} cannot be read: {error}") from None
    try:
        metadata, arrays = _parts(data)
        return _Reader(arrays, target).decode(_structure(metadata, arrays))
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RuntimeError(
            f"load: {named} ({len(data)} bytes) is damaged or was not written by minidl.save: {error}. "
            "If it was cut short, use the last complete checkpoint."
        ) from None


def _parts(data: bytes) -> tuple[dict[str, str], dict[str, np.ndarray[Any, Any]]]:
    """The metadata of a safetensors file and its arrays, in the order of its header."""
    from safetensors import deserialize

    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    parts = dict(deserialize(data))  # type: ignore[no-untyped-call]
    arrays = {}
    for name in header:
        if name == "__metadata__":
            continue
        code, raw = parts[name]["dtype"], parts[name]["data"]
        if code == "BF16":
            row = torch_files.bfloat16_row(raw)
        elif code in CODES:
            row = np.frombuffer(raw, CODES[code])
        else:
            raise ValueError(f"{name} holds numbers of type {code}, which NumPy does not have")
        arrays[name] = row.reshape(parts[name]["shape"])
    return header.get("__metadata__", {}), arrays


def _structure(metadata: dict[str, str], arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    """How the arrays of a file are nested, once its checksum has been found right."""
    if not metadata.keys() & {"structure", "crc32"} and metadata.get("format") != FORMAT:
        return ["dict", [[["str", name], ["tensor", name, False, False]] for name in arrays]]  # from elsewhere
    if metadata["crc32"] != _checksum(metadata["structure"], arrays):
        raise ValueError("its checksum is wrong")
    if metadata["format"] != FORMAT:
        raise ValueError(f"its format is {metadata['format']!r}, this version reads {FORMAT!r}")
    return json.loads(metadata["structure"])


def _checksum(structure: str, arrays: dict[str, np.ndarray[Any, Any]]) -> str:
    """CRC-32 of a file's content, so that a flipped bit is not read as a weight."""
    crc = zlib.crc32(structure.encode())
    for name in sorted(arrays):
        array = arrays[name]
        crc = zlib.crc32(f"{name} {array.dtype.name} {array.shape}".encode(), crc)
        crc = zlib.crc32(array.reshape(-1).view(np.uint8).data, crc)
    return f"{crc:08x}"


def parts_of(t: Any) -> dict[str, Any]:
    """The parts of a sparse tensor, as sparse.creation.of_parts takes them."""
    p = t.pattern
    return {
        "layout": p.layout.name, "shape": p.shape, "coalesced": bool(t.is_sparse and p.coalesced),
        "indices": wrap(p.indices), "pointers": None if p.pointers is None else wrap(p.pointers), "values": t.entries,
    }  # fmt: skip


class _Writer:
    """Takes a nested object apart: into JSON, where every value is [kind, content], and arrays by name."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray[Any, Any]] = {}
        self.names: dict[Any, str] = {}  # by address, shape, strides and dtype: what tensors on one memory share

    def encode(self, obj: Any, path: str) -> Any:
        kind = type(obj)
        if kind in (Tensor, Parameter):
            requires_grad = obj.requires_grad and obj.is_leaf
            return [kind.__name__.lower(), self.name(obj, path), requires_grad, obj.is_complex()]
        if isinstance(obj, Tensor) and obj.is_quantized:
            return ["quantized", self.encode(obj.parts(), path)]
        if isinstance(obj, Tensor) and obj.layout is not layouts.strided:
            return ["sparse", self.encode(parts_of(obj), path)]
        if kind in PLAIN:
            return [kind.__name__, obj]
        if kind is float:
            return ["float", obj if math.isfinite(obj) else repr(obj)]
        if kind is complex:
            return ["complex", repr(obj)]
        if kind is np.ndarray and obj.dtype.kind in "biufc":
            return ["ndarray", self.name(wrap(obj), path), False, obj.dtype.kind == "c"]
        if isinstance(obj, (np.number, np.bool_)):
            return self.encode(obj.item(), path)
        if kind in (dict, OrderedDict, Counter):
            items = [[self.encode(k, f"{path}.<key>"), self.encode(v, f"{path}.{k}")] for k, v in obj.items()]
            return [kind.__name__, items]
        if kind in (list, tuple, Size):
            return [kind.__name__, [self.encode(v, f"{path}.{i}") for i, v in enumerate(obj)]]
        if isinstance(obj, dtypes.dtype):
            return ["dtype", obj.name]
        if kind is devices.device:
            return ["device", str(obj)]
        raise TypeError(
            f"save: cannot write the {kind.__module__}.{kind.__qualname__} at {path.removeprefix('.') or 'the top'}: "
            "a file holds tensors, arrays, numbers, texts, None, and dicts, lists and tuples of them; save a module's "
            "state_dict(), and turn other things into one of these"
        )

    def name(self, t: Tensor, path: str) -> str:
        """Put the tensor's array, if it is not there yet, under its path of keys; the name it has."""
        place = (t.is_cuda, t.data_ptr(), t.array.shape, t.array.strides, t.array.dtype) if t.numel() else t
        if place not in self.names:
            name = path.removeprefix(".").encode(errors="replace").decode() or "tensor"
            while name in self.arrays or name == "__metadata__":
                name += "'"
            array = np.ascontiguousarray(devices.move(t.array, devices.CPU)).reshape(t.array.shape)
            if t.is_complex():  # as pairs of floats: not every version of safetensors knows complex numbers
                array = array.reshape(-1).view(array.real.dtype).reshape(*array.shape, 2)
            self.arrays[name], self.names[place] = array, name
        return self.names[place]


class _Reader:
    """Puts together again what a _Writer took apart."""

    def __init__(self, arrays: dict[str, np.ndarray[Any, Any]], target: devices.device) -> None:
        self.arrays, self.target = arrays, target
        self.tensors: dict[str, Tensor] = {}

    def decode(self, node: Any) -> Any:
        kind, content = node[0], node[1]
        if kind in ("tensor", "parameter"):
            return self.tensor(*node)
        if kind == "sparse":
            from .sparse.creation import of_parts

            return of_parts(**self.decode(content))
        if kind == "quantized":
            from .quantization.tensor import of_parts as of_integers

            return of_integers(**self.decode(content))
        if kind == "ndarray":
            return self.tensor(*node).cpu().numpy()
        if kind in ("list", "tuple", "Size"):
            return CONTAINERS[kind](self.decode(v) for v in content)
        if kind in CONTAINERS:
            return CONTAINERS[kind]({self.decode(k): self.decode(v) for k, v in content})
        if kind == "dtype":
            return dtypes.by_name(content)
        if kind in ("device", "float", "complex"):
            return {"device": devices.device, "float": float, "complex": complex}[kind](content)
        if kind in [t.__name__ for t in PLAIN]:
            return content
        raise ValueError(f"unknown kind {kind!r}")

    def tensor(self, kind: str, name: str, requires_grad: bool, is_complex: bool) -> Tensor:
        if name not in self.tensors:
            array = self.arrays[name]
            if is_complex:
                array = array.reshape(-1).view(np.result_type(array.dtype, np.complex64)).reshape(array.shape[:-1])
            self.tensors[name] = wrap(devices.move(array if array.flags.writeable else array.copy(), self.target))
        t = same_memory(self.tensors[name])
        return Parameter(t, requires_grad) if kind == "parameter" else t.requires_grad_(requires_grad)
