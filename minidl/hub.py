"""Models from the network are not there: programs that only import this run, and those that load are told what to do."""

from __future__ import annotations

from typing import Any, NoReturn


def _absent(name: str) -> Any:
    def function(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            f"hub.{name} is not there: nothing is downloaded here. Get the weights with a browser or with PyTorch, read them "
            "with minidl.load, which takes PyTorch's .pt and safetensors files, and give them to load_state_dict of a model of "
            "your own"
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Raises NotImplementedError."
    return function


load, list, help, load_state_dict_from_url, download_url_to_file, get_dir, set_dir = map(
    _absent, ("load", "list", "help", "load_state_dict_from_url", "download_url_to_file", "get_dir", "set_dir")
)

__all__ = ["download_url_to_file", "get_dir", "help", "list", "load", "load_state_dict_from_url", "set_dir"]
