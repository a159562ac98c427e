"""Watch mode."""

from __future__ import annotations

from .layout import Style
from .workspace import Workspace


def watch(workspace: Workspace, style: Style, poll: bool, seed: int) -> int:
    raise NotImplementedError
