"""Pretrained weights by their address, under PyTorch's name: from a folder, since nothing is downloaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from ..serialization import load


def load_url(
    url: str,
    model_dir: str | os.PathLike[str] | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = True,
) -> Any:
    """What `load` reads from the file that the address ends in, in model_dir, by default the folder of PyTorch's own cache.

    progress and check_hash are accepted for PyTorch's sake. Raises FileNotFoundError where the file is not there.
    """
    cache = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch"))
    folder = cache / "hub" / "checkpoints" if model_dir is None else Path(model_dir)
    path = folder / (file_name or Path(urlparse(url).path).name)
    if not path.is_file():
        raise FileNotFoundError(
            f"load_url: nothing is downloaded here, and {path} is not there; get it from {url} yourself"
        )
    return load(path, map_location, weights_only)


__all__ = ["load_url"]
