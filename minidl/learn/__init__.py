"""Exercises, questions and the programs that run them: `minidl learn`, `minidl quiz`; `check` is for notebooks."""

from .notebook import check
