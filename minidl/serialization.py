"""save and load: nested containers of tensors in one safetensors file, read without executing anything.

The tensors are the body of the file; how they are nested, with the numbers and texts between them, is JSON in its metadata.
A file is complete or it is not there: it is written beside its place, flushed to disk, and renamed.
"""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from . import devices, dtypes
from .autograd.op import wrap
from .tensor import Size, Tensor

FORMAT = "minidl-1"


def save(obj: Any, f: str | os.PathLike[str] | BinaryIO) -> None:
    """Write dicts, lists, tuples, numbers, texts and None with Tensors between them, such as state dicts.

    f: a path, which is replaced in one step, or a binary file object.
    Raises TypeError for anything else, with the path of keys that leads to it.

    Example:
        >>> minidl.save(model.state_dict(), "model.pt")
        >>> model.load_state_dict(minidl.load("model.pt"))
    """
    from safetensors.numpy import save as to_bytes

    arrays: dict[str, np.ndarray[Any, Any]] = {}
    structure = _encode(obj, arrays, "")
    text = json.dumps(structure)
    data = to_bytes(arrays, {"format": FORMAT, "structure": text, "crc32": _checksum(text, arrays)})
    if hasattr(f, "write"):
        f.write(data)
        return
    write_whole(f, data)


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace a file in one step: whoever looks, and whenever writing is cut short, sees the old content or the new."""
    path = Path(path)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load(f: str | os.PathLike[str] | BinaryIO, map_location: Any = None, weights_only: bool = True) -> Any:
    """Read what `save` wrote. Nothing in the file is executed, whatever `weights_only` says.

    map_location: the device that the tensors go to (default: the CPU).
    Raises RuntimeError for a file that is damaged or was not written by `save`; FileNotFoundError for none.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    named = getattr(f, "name", "the file") if hasattr(f, "read") else str(f)
    data = f.read() if hasattr(f, "read") else Path(f).read_bytes()
    if data[:2] in (b"PK", b"\x80\x02", b"\x80\x04"):
        raise RuntimeError(
            f"load: {named} is a file of PyTorch's (or a pickle), and reading one can run code; export the weights with "
            "safetensors.torch.save_file, or as NumPy arrays"
        )
    try:
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
        arrays = from_bytes(data)
        if not metadata.keys() & {"structure", "crc32"} and metadata.get("format") != FORMAT:
            # a safetensors file from elsewhere: a flat dict of tensors
            structure: Any = ["dict", [[["str", name], ["tensor", name]] for name in arrays]]
        else:
            if metadata["crc32"] != _checksum(metadata["structure"], arrays):
                raise ValueError("its checksum is wrong")
            if metadata["format"] != FORMAT:
                raise ValueError(f"its format is {metadata['format']!r}, this version reads {FORMAT!r}")
            structure = json.loads(metadata["structure"])
        target = None if map_location is None else devices.device(map_location)
        return _decode(structure, arrays, target)
    except (SafetensorError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise RuntimeError(
            f"load: {named} ({len(data)} bytes) is damaged or was not written by minidl.save: {error}. "
            "If it was cut short, use the last complete checkpoint."
        ) from None


def _checksum(structure: str, arrays: dict[str, np.ndarray[Any, Any]]) -> str:
    """CRC-32 of a file's content, so that a flipped bit is not read as a weight."""
    crc = zlib.crc32(structure.encode())
    for name in sorted(arrays):
        crc = zlib.crc32(arrays[name].reshape(-1).view(np.uint8).data, crc)
    return f"{crc:08x}"


def _encode(obj: Any, arrays: dict[str, np.ndarray[Any, Any]], path: str) -> Any:
    """obj as JSON: every value as [kind, content]; tensors go to `arrays` under their path of keys, shared ones once."""
    if isinstance(obj, Tensor):
        array = np.ascontiguousarray(devices.move(obj.array, devices.CPU)).reshape(obj.array.shape)
        name = next((known for known, other in arrays.items() if _same_memory(array, other)), None)
        if name is None:
            name = path.removeprefix(".") or "tensor"
            while name in arrays:
                name += "'"
            arrays[name] = array
        return ["tensor" if type(obj) is Tensor else "parameter", name, obj.requires_grad and obj.is_leaf]
    if obj is None or isinstance(obj, (bool, int, str)) or (isinstance(obj, float) and np.isfinite(obj)):
        return [type(obj).__name__, obj]
    if isinstance(obj, float):
        return ["float", repr(obj)]
    if isinstance(obj, np.generic):
        return _encode(obj.item(), arrays, path)
    if isinstance(obj, dict):
        items = [[_encode(k, arrays, f"{path}.<key>"), _encode(v, arrays, f"{path}.{k}")] for k, v in obj.items()]
        return ["OrderedDict" if isinstance(obj, OrderedDict) else "dict", items]
    if isinstance(obj, (list, tuple)):
        kind = "Size" if isinstance(obj, Size) else "list" if isinstance(obj, list) else "tuple"
        return [kind, [_encode(v, arrays, f"{path}.{i}") for i, v in enumerate(obj)]]
    if isinstance(obj, (dtypes.dtype, devices.device)):
        return [type(obj).__name__, obj.name if isinstance(obj, dtypes.dtype) else str(obj)]
    raise TypeError(
        f"save: cannot write the {type(obj).__module__}.{type(obj).__qualname__} at {path.removeprefix('.') or 'the top'}: "
        "a file holds tensors, numbers, texts, None, and dicts, lists and tuples of them; save a module's state_dict()"
    )


def _same_memory(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return a.size > 0 and a.shape == b.shape and a.dtype == b.dtype and a.ctypes.data == b.ctypes.data


def _decode(node: Any, arrays: dict[str, Any], target: devices.device | None) -> Any:
    kind: str = node[0]
    content: Any = node[1]
    if kind in ("tensor", "parameter"):
        array = arrays[content]
        t = wrap(array if array.flags.writeable else array.copy())
        if target is not None:
            t.array = devices.move(t.array, target)
        if kind == "parameter":
            from .nn.parameter import Parameter

            return Parameter(t, requires_grad=bool(node[2]))
        return t.requires_grad_() if len(node) > 2 and node[2] else t
    if kind in ("dict", "OrderedDict"):
        items = [(_decode(k, arrays, target), _decode(v, arrays, target)) for k, v in content]
        return OrderedDict(items) if kind == "OrderedDict" else dict(items)
    if kind in ("list", "tuple", "Size"):
        values = [_decode(v, arrays, target) for v in content]
        return values if kind == "list" else tuple(values) if kind == "tuple" else Size(values)
    if kind == "dtype":
        return dtypes.ALL[content]
    if kind == "device":
        return devices.device(content)
    if kind == "float":
        return float(content)
    if kind in ("NoneType", "bool", "int", "str"):
        return content
    raise ValueError(f"unknown kind {kind!r}")
