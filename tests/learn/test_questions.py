"""The question bank: complete in both languages, its words and references checked, its mistakes named."""

import re
import shutil
import tomllib
from collections import Counter

import pytest

from minidl import demos
from minidl.learn import glossary, questions
from minidl.learn.bank import bank as exercises
from minidl.learn.questions import QuestionError, load


@pytest.fixture(scope="module")
def bank():
    return questions.bank()


def figures():
    return {name: [figure.name for figure in demo.figures] for name, demo in demos.DEMOS.items()}


def test_nineteen_questions_answer_all_fifty_of_the_seed_once(bank):
    assert len(bank.questions) == 19 and len(bank.topics) == 17
    assert Counter(number for question in bank.questions.values() for number in question.seed) == dict.fromkeys(
        range(1, 51), 1
    )


def test_claims_are_not_always_false(bank):
    verdicts = Counter(claim.verdict for claim in bank.claims.values())
    assert len(bank.claims) >= 24 and verdicts["true"] >= 3 and verdicts["half-true"] >= 3
    assert {claim.topic for claim in bank.claims.values()} == set(bank.topics)
    for claim in bank.claims.values():
        assert claim.topic == bank.questions[claim.question].topic, claim.id
        assert set(claim.seed) <= {n for q in bank.questions.values() if q.topic == claim.topic for n in q.seed}


def test_answers_are_as_long_as_they_are_said_to_be(bank):
    for question in bank.questions.values():
        assert 110 <= len(question.short["en"].split()) <= 165, question.id  # a minute
        assert 250 <= len(question.full["en"].split()) <= 460, question.id
        # Latin letters within Chinese are many to the word, so only the characters are counted
        assert 130 <= len(re.findall(r"[\u4e00-\u9fff]", question.short["zh"])) <= 280, question.id
        assert 350 <= len(re.findall(r"[\u4e00-\u9fff]", question.full["zh"])) <= 900, question.id


def test_both_languages_are_what_they_are_called(bank):
    for where, text in questions.texts(bank):
        letters = len(re.findall(r"[\u4e00-\u9fff]", text["en"]))
        assert not letters, f"{where}: Chinese in the English text"
        assert re.search(r"[\u4e00-\u9fff]", text["zh"]), f"{where}: no Chinese"


def test_everything_that_is_referred_to_is_there(bank):
    assert not questions.unknown_references(bank, figures(), exercises())


def test_numbers_in_answers_are_those_of_demos(bank):
    quoted = 0
    for where, text in questions.texts(bank):
        for words in text.values():
            assert not demos.misquoted(words), where
        cited = [{(c.demo, c.figure, c.value) for c in demos.citations(text[lang])} for lang in ("en", "zh")]
        assert cited[0] == cited[1], f"{where}: the languages cite different numbers"
        quoted += len(cited[0])
    assert quoted >= 10


def test_demos_that_answers_name_are_there(bank):
    for where, text in questions.texts(bank):
        named = re.findall(r"\bdemo ([a-z0-9]+(?:-[a-z0-9]+)+)", text["en"])
        named += re.findall(r"\b([a-z0-9]+(?:-[a-z0-9]+)+) ?演示", text["zh"])
        assert set(named) <= set(demos.DEMOS), where


def test_unknown_references_are_found(bank):
    problems = questions.unknown_references(bank, {"init-variance": ["relu.he"]}, [])
    assert "initialization.criterion: exercises: there is no 'init02'" in problems
    assert "initialization.criterion: evidence: there is no demo 'momentum-vs-init'" in problems
    assert any("demo 'init-variance' has no figure 'relu.xavier'" in problem for problem in problems)


def test_predictions_can_be_scored_by_a_factor(bank):
    for prediction in bank.predictions.values():
        assert demos.find(prediction.evidence.demo).figure(prediction.evidence.figure).low > 0, prediction.id


def test_wrong_answers_come_from_the_seed_numbers_of_their_question(bank):
    for question in bank.questions.values():
        assert {wrong.seed for wrong in question.wrong} - {None} <= set(question.seed), question.id


# ---- words


def test_words_follow_the_glossary(bank):
    assert len(glossary.glossary()) >= 80
    assert not list(glossary.problems(questions.texts(bank)))


def test_words_of_the_exercises_follow_it_too():
    texts = [
        (f"{exercise.id}: {name}", text)
        for exercise in exercises().values()
        for name, text in [
            *((name, getattr(exercise, name)) for name in ("title", "task", "why", "followup")),
            *(("hints", hint) for hint in exercise.hints),
            *exercise.wrong.items(),
        ]
    ]
    assert texts and not list(glossary.problems(texts))


@pytest.mark.parametrize(
    ("en", "zh", "problem"),
    [
        ("precision is TP/(TP+FP)", "准确率即 TP/(TP+FP)", "zh has 准确率, and en does not have accuracy"),
        ("precision is TP/(TP+FP)", "精度即 TP/(TP+FP)", "en has precision, and zh has none of 精确率, 查准率"),
        ("accuracy", "精确率", "zh has 精确率, and en does not have precision"),
        ("the precision", "召回率", "zh has 召回率, and en does not have recall"),
        ("regularization", "正规化", "正规化 is not the word for regularization, which is 正则化"),
    ],
)
def test_words_that_are_mixed_up_are_found(en, zh, problem):
    assert problem in "\n".join(glossary.problems([("here", {"en": en, "zh": zh})]))


def test_mixed_precision_is_no_metric():
    assert not list(glossary.problems([("here", {"en": "Mixed precision\ntraining", "zh": "混合精度训练"})]))


def test_a_chinese_word_stands_for_one_term(tmp_path, monkeypatch):
    file = tmp_path / "glossary.toml"
    file.write_text('terms = [{en = "accuracy", zh = ["准确率"]}, {en = "precision", zh = ["精确率", "准确率"]}]')
    monkeypatch.setattr(glossary, "FILE", file)
    glossary.glossary.cache_clear()
    try:
        with pytest.raises(ValueError, match="准确率 stands for both 'accuracy' and 'precision'"):
            glossary.glossary()
    finally:
        glossary.glossary.cache_clear()


# ---- mistakes in the files


@pytest.fixture
def folder(tmp_path):
    for name in ("initialization.toml", "claims.toml"):
        shutil.copy(questions.FOLDER / name, tmp_path)
    content = (tmp_path / "claims.toml").read_text(encoding="utf-8")
    records = content.split("[[claim]]")
    kept = [record for record in records[1:] if 'topic = "initialization"' in record]
    (tmp_path / "claims.toml").write_text("[[claim]]".join(["", *kept]), encoding="utf-8")
    assert len(load(tmp_path).claims) == 3
    return tmp_path


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        (
            "initialization.toml",
            "prompt.zh = ",
            "prompt.fr = ",
            "prompt.zh: is missing; every text is in both languages",
        ),
        ("initialization.toml", "prompt.en = ", 'prompt.fr = ""\nprompt.en = ', "prompt: has fr beside en and zh"),
        ("initialization.toml", 'right.en = "', 'right.en = "" # "', "right.en: is missing"),
        ("initialization.toml", 'level = "mid"', 'level = "expert"', "level: is 'expert', expected one of junior"),
        ("initialization.toml", "minutes = 5", 'minutes = "5"', "minutes: is '5', expected int"),
        ("initialization.toml", "minutes = 5", "minutes = 5\ncolour = 1", "colour: is not a known field"),
        ("initialization.toml", "seed = [14,", "seed = [0,", "seed: 0 is no number of a seed question"),
        ("initialization.toml", "must = true", "must = false", "no point has must = true"),
        ("initialization.toml", "about = 1\n", "about = 9\n", "about = 9, and the rubric has 8 points"),
        ("initialization.toml", "from = 14", "from = 51", "from: 51 is no number of a seed question"),
        ("initialization.toml", "why.zh", "why.cn", "why.zh: is missing"),
        ("initialization.toml", "[[question]]", "[[qestion]]", "qestion: expected one of question, claim, prediction"),
        ("initialization.toml", "[[question]]", "[[question]", "not TOML"),
        ("claims.toml", 'verdict = "false"', 'verdict = "maybe"', "verdict: is 'maybe', expected one of true, false"),
        ("claims.toml", ", right = true", "", "reasons: exactly one has right = true"),
        ("claims.toml", "claim.xavier-variance", "claim.momentum-initialization", "id: is there twice"),
        ("claims.toml", 'question = "init', 'question = "int', "there is no question 'intialization.criterion'"),
    ],
)
def test_mistakes_are_named(folder, file, old, new, problem):
    content = (folder / file).read_text(encoding="utf-8")
    assert old in content
    (folder / file).write_text(content.replace(old, new), encoding="utf-8")
    with pytest.raises(QuestionError, match=re.escape(problem)) as caught:
        load(folder)
    assert file in str(caught.value) or "claim." in str(caught.value)


def test_an_empty_folder_is_said(tmp_path):
    with pytest.raises(QuestionError, match="there are no question files here"):
        load(tmp_path)


def test_question_files_are_in_the_package():
    settings = tomllib.loads((questions.FOLDER.resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["tool"]["setuptools"]["package-data"]["minidl.learn.questions"] == ["*.toml"]
