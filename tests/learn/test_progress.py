"""The progress file and the language that a learner reads."""

import json

import pytest

from minidl.learn import progress
from minidl.learn.language import language, text

FRESH = {"version": 1, "exercises": {}, "cards": {}}


def test_progress_is_kept_whole_with_sorted_keys(tmp_path):
    path = tmp_path / "new" / "progress.json"
    assert progress.load(path) == FRESH and not path.exists()
    progress.update(path, "cards", "b", {"lapses": 1})
    progress.update(path, "cards", "a", {"note": "初始化"})
    progress.update(path, "exercises", "init02", {"state": "passed"})
    content = path.read_text(encoding="utf-8")
    assert list(json.loads(content)) == ["cards", "exercises", "version"]
    assert list(json.loads(content)["cards"]) == ["a", "b"]
    assert "初始化" in content and content.endswith("}\n")
    assert [found.name for found in path.parent.iterdir()] == ["progress.json"]


def test_keys_of_others_survive(tmp_path):
    path = tmp_path / "progress.json"
    path.write_text('{"version": 1, "current": "init02", "cards": {}}')
    progress.update(path, "cards", "a", {"lapses": 0})
    assert progress.load(path) == {**FRESH, "current": "init02", "cards": {"a": {"lapses": 0}}}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("\xff", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a progress file"),
        ("{}", "not a progress file"),
        ('{"version": "1"}', "not a progress file"),
        ('{"version": 2}', "of version 2, and this minidl knows 1"),
        ('{"version": 1, "cards": []}', '"cards" is not a table'),
        ('{"version": 1, "exercises": {"a": 3}}', '"exercises" is not a table'),
    ],
)
def test_damaged_progress_is_refused_and_left_alone(tmp_path, content, why):
    path = tmp_path / "progress.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(progress.ProgressError, match=why) as caught:
        progress.update(path, "cards", "a", {})
    assert str(path) in str(caught.value) and "Nothing was written" in str(caught.value)
    assert path.read_bytes() == content.encode("latin-1")


def test_where_progress_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MINIDL_HOME", raising=False)
    work = tmp_path / "work" / "init"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    assert progress.default_path() == tmp_path / "home" / ".minidl" / "progress.json"
    (work / "minidl-exercises").mkdir()
    (work / "minidl-exercises" / "progress.json").write_text(json.dumps(FRESH))
    assert progress.default_path() == work / "minidl-exercises" / "progress.json"
    (tmp_path / "work" / "progress.json").write_text(json.dumps(FRESH))
    assert progress.default_path() == tmp_path / "work" / "progress.json"
    monkeypatch.setenv("MINIDL_HOME", str(tmp_path / "set"))
    assert progress.default_path() == tmp_path / "set" / "progress.json"


@pytest.mark.parametrize(
    ("asked", "environment", "expected"),
    [
        ("zh", {"MINIDL_LANG": "en", "LANG": "en_US.UTF-8"}, "zh"),
        (None, {"MINIDL_LANG": "zh", "LANG": "en_US.UTF-8"}, "zh"),
        (None, {"LANG": "zh_CN.UTF-8"}, "zh"),
        (None, {"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        (None, {"LC_ALL": "zh_TW.UTF-8", "LANG": "C"}, "zh"),
        (None, {"LANG": "de_DE.UTF-8"}, "en"),
    ],
)
def test_language(monkeypatch, asked, environment, expected):
    for name in ("MINIDL_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert language(asked) == expected


def test_unknown_languages_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="--lang fr: it is en or zh"):
        language("fr")
    monkeypatch.setenv("MINIDL_LANG", "EN")
    with pytest.raises(ValueError, match="MINIDL_LANG EN: it is en or zh"):
        language()
    assert text({"en": " loss\n", "zh": "损失"}, "en") == "loss"
