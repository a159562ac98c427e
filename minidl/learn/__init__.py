"""Exercises, questions and the programs that run them: `minidl learn`, `minidl quiz`."""
