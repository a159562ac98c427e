"""The bank of exercises: one folder each under tutorials/exercises/<topic>/<id>/.

meta.toml        what it is called, what it asks for, hints, why it matters: every text in English and in Chinese
stub.py          what the learner starts from; "not started" means: still this, as a syntax tree
solution.py      one right answer
wrong_NAME.py    a wrong answer that people give; [wrong.NAME] in meta.toml says what its author believes
check.py         `checks`, a list in the order in which they are run (minidl/learn/checks.py)
"""

from __future__ import annotations

import ast
import importlib.util
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from .checks import Check, Subject

LANGUAGES = ("en", "zh")
Text = Mapping[str, str]  # language -> text


class BankError(ValueError):
    """A file of the bank is not as it must be; the message names file and field."""


@dataclass(frozen=True)
class Exercise:
    """One exercise, as its meta.toml has it. `folder` holds the rest, read when asked for."""

    id: str
    topic: str
    folder: Path
    names: tuple[str, ...]  # what the learner's file must define; the first one is what most checks call
    title: Text
    task: Text
    why: Text  # one line, shown after it is solved
    followup: Text  # the question that an interviewer asks next
    hints: tuple[Text, Text, Text]  # an idea; shapes and formula; all but one line
    wrong: Mapping[str, Text] = field(default_factory=dict)  # name of wrong_NAME.py -> the belief behind it
    difficulty: int = 1  # 1 to 5
    minutes: int = 10
    core: bool = False  # part of the short way through the bank
    needs: tuple[str, ...] = ()  # exercises that come before
    seed: tuple[int, ...] = ()  # numbers of the interview questions that it belongs to
    engine: str = ""  # where the engine has the same: "minidl.nn.init:xavier_normal_"
    demo: str = ""  # an experiment about it: `minidl demo NAME`

    def source(self, name: str) -> str:
        """The text of one of its files: "stub", "solution" or "wrong_NAME"."""
        return (self.folder / f"{name}.py").read_text(encoding="utf-8")

    def subject(self, name: str) -> Subject:
        """One of its files, run, as something to be checked."""
        return Subject.of_source(self.source(name), f"{self.id}/{name}.py", self.names)

    def checks(self) -> list[Check]:
        """What check.py lists."""
        return _checks(self.folder / "check.py")

    def untouched(self, source: str) -> bool:
        """Whether a file is still the stub: comments and layout do not count."""
        return same_program(source, self.source("stub"))


def same_program(a: str, b: str) -> bool:
    """Whether two texts are the same Python, but for comments and layout. A text that is no Python equals only itself."""
    try:
        return ast.dump(ast.parse(a)) == ast.dump(ast.parse(b))
    except SyntaxError:
        return a == b


@cache
def _checks(path: Path) -> list[Check]:
    spec = importlib.util.spec_from_file_location(f"minidl_checks_of_{path.parent.name}", path)
    if spec is None or spec.loader is None:
        raise BankError(f"{path} cannot be read")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.checks)


def root() -> Path:
    """The folder of the bank."""
    return Path(str(files("minidl.learn") / "exercises"))


@cache
def bank() -> dict[str, Exercise]:
    """All exercises by id, each after those that it needs, else in the order of the topics and ids."""
    found = {exercise.id: exercise for exercise in _read_all(root())}
    ordered: dict[str, Exercise] = {}

    def add(exercise: Exercise, path: tuple[str, ...]) -> None:
        if exercise.id in path:
            raise BankError(f"exercises need each other in a circle: {' -> '.join((*path, exercise.id))}")
        for before in exercise.needs:
            if before not in found:
                raise BankError(f"{exercise.folder / 'meta.toml'}: needs {before!r}, which is no exercise")
            if before not in ordered:
                add(found[before], (*path, exercise.id))
        ordered.setdefault(exercise.id, exercise)

    for exercise in found.values():
        add(exercise, ())
    return ordered


TOPICS = (
    "arrays", "autograd", "nn", "initialization", "optimizers", "regularization", "metrics", "attention", "recurrent",
    "transfer", "quantization", "sparsity", "distributed", "gpu", "bugs",
)  # fmt: skip


def _read_all(folder: Path) -> Iterator[Exercise]:
    topics = [path for path in folder.iterdir() if path.is_dir() and path.name != "__pycache__"]
    for topic in topics:
        if topic.name not in TOPICS:
            raise BankError(f"{topic}: a topic is one of {', '.join(TOPICS)}")
    for topic in sorted(topics, key=lambda path: TOPICS.index(path.name)):
        for path in sorted(topic.iterdir()):
            if (path / "meta.toml").is_file():
                yield read(path)


_TEXTS = ("title", "task", "why", "followup")
_PLAIN = {"difficulty": int, "minutes": int, "core": bool, "engine": str, "demo": str}
_LISTS = {"names": str, "needs": str, "seed": int}


def read(folder: Path) -> Exercise:
    """The exercise in a folder. Raises BankError for a missing, unknown or one-language field."""
    path = folder / "meta.toml"
    try:
        meta: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise BankError(f"{path}: {error}") from None
    given: dict[str, Any] = {"id": folder.name, "topic": folder.parent.name, "folder": folder}
    for name in _TEXTS:
        given[name] = _text(path, name, meta.pop(name, None))
    hints = meta.pop("hints", [])
    if len(hints) != 3:
        raise BankError(f"{path}: there are three hints (idea; shapes and formula; all but one line), not {len(hints)}")
    given["hints"] = tuple(_text(path, f"hints[{i}]", hint) for i, hint in enumerate(hints))
    given["wrong"] = {name: _text(path, f"wrong.{name}", text) for name, text in meta.pop("wrong", {}).items()}
    for name, kind in _LISTS.items():
        value = meta.pop(name, [])
        if not isinstance(value, list) or not all(type(item) is kind for item in value):
            raise BankError(f"{path}: {name} is a list of {kind.__name__}, not {value!r}")
        given[name] = tuple(value)
    for name, kind in _PLAIN.items():
        if name in meta:
            value = meta.pop(name)
            if type(value) is not kind:
                raise BankError(f"{path}: {name} is of type {kind.__name__}, not {value!r}")
            given[name] = value
    if meta:
        raise BankError(f"{path}: unknown {', '.join(meta)}")
    if not given["names"]:
        raise BankError(f"{path}: names must list what the learner's file defines")
    variants = {file.stem.removeprefix("wrong_") for file in folder.glob("wrong_*.py")}
    if variants != set(given["wrong"]):
        raise BankError(f"{path}: [wrong.NAME] and wrong_NAME.py differ: {sorted(variants ^ set(given['wrong']))}")
    return Exercise(**given)


def _text(path: Path, name: str, value: Any) -> Text:
    if not isinstance(value, dict) or set(value) != set(LANGUAGES) or not all(str(v).strip() for v in value.values()):
        raise BankError(f"{path}: {name} needs a text in each of {', '.join(LANGUAGES)}, got {value!r}")
    return {language: text.strip() for language, text in value.items()}
