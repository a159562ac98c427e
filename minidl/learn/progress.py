"""What a learner has done: one plain JSON file that exercises and quiz share.

    {"version": 1, "exercises": {ID: {...}}, "cards": {ID: {...}}}

Keys are sorted and the file is replaced whole, so it can be read, compared, kept under version control and carried to another
machine. A file that cannot be understood is never written over.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..serialization import write_whole

NAME = "progress.json"
WORKSPACE = "minidl-exercises"  # what `minidl learn init` makes where nothing else is asked for
VERSION = 1
KINDS = ("exercises", "cards")


class ProgressError(ValueError):
    """The file is there and is not the progress of a learner that this version understands."""


def default_path() -> Path:
    """Where progress is kept: $MINIDL_HOME if set, else the nearest folder upward that has the file, ./minidl-exercises
    if it has, else ~/.minidl."""
    home = os.environ.get("MINIDL_HOME")
    if home:
        return Path(home).expanduser() / NAME
    here = Path.cwd()
    for folder in (here, *here.parents, here / WORKSPACE):
        if (folder / NAME).is_file():
            return folder / NAME
    return Path.home() / ".minidl" / NAME


def load(path: Path) -> dict[str, Any]:
    """The progress in a file; that of somebody new where there is no file.

    Raises ProgressError for anything else: damaged, another program's, a later version's.
    """
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {"version": VERSION, **{kind: {} for kind in KINDS}}
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"it is not JSON ({error})") from None
    except OSError as error:
        raise _refused(path, f"it cannot be read ({error.strerror})") from None
    if not isinstance(found, dict) or not isinstance(found.get("version"), int):
        raise _refused(path, 'it is not a progress file: {"version": 1, ...} was expected')
    if found["version"] > VERSION:
        raise _refused(path, f"it is of version {found['version']}, and this minidl knows {VERSION}")
    for kind in KINDS:
        records = found.setdefault(kind, {})
        if not isinstance(records, dict) or not all(isinstance(record, dict) for record in records.values()):
            raise _refused(path, f'"{kind}" is not a table of records')
    return found


def save(path: Path, data: dict[str, Any]) -> None:
    """Write progress to a file, whole; its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(data, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode())


def update(path: Path, kind: str, id: str, record: dict[str, Any]) -> None:
    """Put one record into the file and leave what another program wrote meanwhile: kind is "exercises" or "cards"."""
    data = load(path)
    data[kind][id] = record
    save(path, data)


def _refused(path: Path, why: str) -> ProgressError:
    return ProgressError(f"{path}: {why}. Nothing was written; mend the file, or move it away to start afresh")
