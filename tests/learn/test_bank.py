"""The teaching, tested: stubs are not started, solutions pass, wrong answers fail and are recognized, hints give nothing away."""

from __future__ import annotations

import ast
import importlib

import pytest

from minidl.demos import names
from minidl.learn.bank import LANGUAGES, BankError, bank, read
from minidl.learn.checks import Subject
from minidl.learn.examine import examine, solves

EXERCISES = list(bank().values())
WRONG = [(exercise, name) for exercise in EXERCISES for name in exercise.wrong]
each = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.id)


@each
def test_the_stub_is_not_started(exercise):
    assert exercise.untouched(exercise.source("stub"))
    assert solves(exercise, "stub").verdict == "not started"
    assert not exercise.untouched(exercise.source("solution"))
    # with something added it is still not started, but where the stub is a program to be mended: that is wrong as it stands
    begun = Subject.of_source(exercise.source("stub") + "\nadded = 1\n", "begun.py", exercise.names)
    assert examine(exercise, begun).verdict == ("wrong" if exercise.topic == "bugs" else "not started")


@each
@pytest.mark.parametrize("seed", range(3))
def test_the_solution_passes(exercise, seed):
    verdict = solves(exercise, "solution", seed)
    assert verdict.passed, (verdict.stage, verdict.problems, verdict.exception)
    assert verdict.observations == verdict.held >= 5


@pytest.mark.parametrize(("exercise", "name"), WRONG, ids=[f"{exercise.id}-{name}" for exercise, name in WRONG])
@pytest.mark.parametrize("seed", range(2))
def test_a_wrong_answer_fails_and_is_named(exercise, name, seed):
    verdict = solves(exercise, f"wrong_{name}", seed)
    assert not verdict.passed
    assert verdict.misconception == name, (verdict.stage, verdict.problems[:2], verdict.exception)


@each
def test_every_text_is_there_and_every_reference_leads_somewhere(exercise):
    assert len(exercise.wrong) >= 2, "at least two wrong answers are known by name"
    assert 1 <= exercise.difficulty <= 5 and 1 <= exercise.minutes <= 90
    assert all(1 <= number <= 50 for number in exercise.seed)
    assert not exercise.demo or exercise.demo in names()
    assert exercise.engine, "where the engine has the same"
    module, _, path = exercise.engine.partition(":")
    found = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)


@each
def test_hints_do_not_hold_the_solution(exercise):
    """No line of the solution that does something stands in a hint."""
    starting = {
        ast.unparse(node) for node in ast.walk(ast.parse(exercise.source("stub"))) if isinstance(node, ast.stmt)
    }
    lines = {
        ast.unparse(node)
        for node in ast.walk(ast.parse(exercise.source("solution")))
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Return | ast.Expr)
    } - starting
    for hint in exercise.hints:
        for language in LANGUAGES:
            shown = "".join(hint[language].split())
            assert not [line for line in lines if len(line) > 12 and "".join(line.split()) in shown]


def test_ids_are_unique_and_prerequisites_come_first():
    seen: set[str] = set()
    for exercise in EXERCISES:
        assert set(exercise.needs) <= seen
        seen.add(exercise.id)


def test_a_damaged_folder_is_refused_by_file_and_field(tmp_path):
    whole = EXERCISES[0].folder
    for name, damage, message in [
        ("language", lambda text: text.replace("zh = ", "de = ", 1), "needs a text in each of en, zh"),
        ("unknown", lambda text: "colour = 1\n" + text, "unknown colour"),
        ("hints", lambda text: text.replace("[[hints]]", "[[ignored]]", 1), "three hints"),
        ("type", lambda text: text.replace("minutes = ", "minutes = 0.5 # ", 1), "minutes is of type int"),
        ("syntax", lambda text: "= " + text, "Invalid"),
    ]:
        folder = tmp_path / "arrays" / name
        folder.mkdir(parents=True)
        for path in whole.iterdir():
            if path.is_file():
                (folder / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        assert read(folder).title == EXERCISES[0].title
        meta = folder / "meta.toml"
        meta.write_text(damage(meta.read_text(encoding="utf-8")), encoding="utf-8")
        with pytest.raises(BankError, match=message) as caught:
            read(folder)
        assert str(meta) in str(caught.value)
    (tmp_path / "arrays" / "extra").mkdir()
    for path in whole.glob("*.*"):
        (tmp_path / "arrays" / "extra" / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "arrays" / "extra" / "wrong_unheard.py").write_text("")
    with pytest.raises(BankError, match=r"differ: .*unheard"):
        read(tmp_path / "arrays" / "extra")
