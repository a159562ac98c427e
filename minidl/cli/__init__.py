"""The command line, one file a group of commands; `app` holds them all."""

from __future__ import annotations

from . import (
    compress,
    demo,
    learn,
    measure,
    notebook,
    quiz,
    trace,
    train,
)
from .app import app


def main() -> None:
    """The console script."""
    app(prog_name="minidl")
