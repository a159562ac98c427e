"""The quiz: how it judges, its schedule under a fake clock, and whole sessions with typed lines."""

import json
import math
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from typer.testing import CliRunner

from minidl import demos
from minidl.cli.app import app
from minidl.learn import dialogue, mock, progress, questions, quiz, schedule
from minidl.learn.layout import wide

all_cards = quiz.cards
START = datetime(2026, 1, 1, tzinfo=UTC)
needs_fsrs = pytest.mark.skipif(not schedule.installed(), reason="fsrs is not installed")


@pytest.fixture(scope="module")
def bank():
    return questions.bank()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDL_HOME", str(tmp_path))
    monkeypatch.setenv("MINIDL_LANG", "en")
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def ask(*arguments, typed=""):
    return CliRunner().invoke(app, list(arguments), input=typed)


def kept(home):
    return json.loads((home / "progress.json").read_text(encoding="utf-8"))["cards"]


# ---- judging


def test_a_missing_point_that_must_be_there_means_again(bank):
    question = bank.questions["initialization.criterion"]
    everything = set(range(1, len(question.rubric) + 1))
    needed = {number for number, point in enumerate(question.rubric, 1) if point.must}
    assert quiz.recalled(question, everything) == "easy"
    assert quiz.recalled(question, needed) == "hard"
    assert quiz.recalled(question, everything - {8}) == "good"
    for number in needed:
        assert quiz.recalled(question, everything - {number}) == "again"
    assert quiz.share(question, set()) == 0 and quiz.share(question, everything) == 1


def test_choices_have_the_right_sentence_once_at_any_place(bank):
    for question in bank.questions.values():
        offers = [quiz.choices(question, Random(seed)) for seed in range(40)]
        assert all(offer.count(None) == 1 and 3 <= len(offer) <= 4 for offer in offers)
        assert len({offer.index(None) for offer in offers}) == len(offers[0])


def test_claims_are_judged_by_verdict_and_reason(bank):
    claim = bank.claims["claim.f1-accuracy"]
    assert [quiz.judged(claim, *given) for given in (("false", True), ("false", False), ("true", True))] == [
        "good",
        "hard",
        "again",
    ]


@pytest.mark.parametrize(
    ("guess", "band", "factor", "rating"),
    [
        (2.0, (1.0, 3.0), 1, "easy"),
        (0.5, (1.0, 3.0), 2, "good"),
        (30.0, (1.0, 3.0), 10, "hard"),
        (1e-9, (1e-7, 1e-6), 100, "again"),
        (0.0, (1.0, 3.0), math.inf, "again"),
        (-1.0, (1.0, 3.0), math.inf, "again"),
        (math.inf, (1.0, 3.0), math.inf, "again"),
        (0.0, (0.0, 0.0), 1, "easy"),
        (1.0, (0.0, 0.0), math.inf, "again"),
    ],
)
def test_guesses_are_scored_by_factor(guess, band, factor, rating):
    assert quiz.off(guess, *band) == pytest.approx(factor)
    assert quiz.guessed(quiz.off(guess, *band)) == rating


def test_followups_go_where_the_answer_was_thin(bank):
    question = bank.questions["transfer.how"]  # its follow-ups go into points 3, 5 and 1; 3 and 1 must be there
    assert [f.about for f in dialogue.followups(question, {1, 2, 4, 5, 6}, 1)] == [3]
    assert [f.about for f in dialogue.followups(question, {1, 2, 3, 4, 6}, 1)] == [5]
    assert [f.about for f in dialogue.followups(question, set(), 2)] == [3, 1]


# ---- the schedule


@needs_fsrs
def test_what_is_known_comes_later_and_later():
    record, at, gaps = {}, START, []
    for _ in range(5):
        record = schedule.reviewed(record, "good", at)
        gaps.append(datetime.fromisoformat(record["due"]) - at)
        assert not schedule.due(record, at)
        at += gaps[-1]
        assert schedule.due(record, at)
    assert gaps == sorted(gaps) and gaps[0] < timedelta(hours=1) and gaps[-1] > timedelta(days=10)
    assert record["asked"] == 5 and record["missed"] == 0
    assert schedule.retention(record, at) == pytest.approx(0.9, abs=0.02)
    after = schedule.reviewed(record, "again", at)
    assert datetime.fromisoformat(after["due"]) - at < timedelta(hours=1) and after["missed"] == 1
    assert json.loads(json.dumps(after)) == after


@needs_fsrs
def test_due_cards_come_first_the_longest_overdue_before(bank):
    found = quiz.cards(bank, mode="claim")
    first, second, third = (card.id for card in found[:3])
    records = {
        first: schedule.reviewed({}, "good", START),
        second: schedule.reviewed({}, "again", START),
        third: schedule.reviewed({}, "easy", START),
    }
    later = START + timedelta(hours=1)
    ids = [card.id for card in quiz.session(found, records, later, Random(0), 100)]
    assert ids[:2] == [second, first] and third not in ids and len(ids) == len(found) - 1
    assert ids == [card.id for card in quiz.session(found, records, later, Random(0), 100)]
    assert ids != [card.id for card in quiz.session(found, records, later, Random(1), 100)]
    assert third in [card.id for card in quiz.session(found, records, START + timedelta(days=60), Random(0), 3)]


def test_without_fsrs_cards_are_counted_in_no_schedule(bank, monkeypatch):
    monkeypatch.setattr(schedule, "find_spec", lambda name: None)
    old = schedule.reviewed({}, "again", START)
    assert old == {"asked": 1, "missed": 1, "rating": "again", "last_review": START.isoformat()}
    assert schedule.retention(old, START) is None and not schedule.due(old, START)
    found = quiz.cards(bank, mode="claim")
    records = {found[0].id: schedule.reviewed({}, "good", START + timedelta(1)), found[1].id: old}
    ids = [card.id for card in quiz.session(found, records, START, Random(0), 100)]
    assert ids[-2:] == [found[1].id, found[0].id] and len(ids) == len(found)


def test_unknown_ratings_are_refused():
    with pytest.raises(ValueError, match="rating 'fine': it is one of again, hard, good, easy"):
        schedule.reviewed({}, "fine", START)


# ---- sessions


def test_recall(home):
    result = ask(
        "quiz", "--topic", "initialization", "--mode", "recall", typed="it depends\non it\n\nf\n1, 2 9\n1 2 3\n"
    )
    assert result.exit_code == 0, result.output
    for part in (
        "Say or type your answer",
        "In one minute:",
        "1 * The criterion is the activation",
        "Sources:",
        "Glorot & Bengio. Understanding the difficulty",
        "'1, 2 9': numbers from 1 to 8",
        "[hard]",
        "missed: Normalization and residuals",
        "Asked next: What changes with LayerNorm",
        "minidl demo init-variance",
        "1 of 1 answered, 0 to ask again",
    ):
        assert part in " ".join(result.output.split()), part
    assert kept(home)["recall:initialization.criterion"]["rating"] == "hard"


def test_points_that_must_be_there_are_asked_again(home):
    result = ask("quiz", "--topic", "initialization", "--mode", "recall", typed="\n2 3\n")
    assert "missed, must be there: The criterion is the activation" in " ".join(result.output.split())
    assert kept(home)["recall:initialization.criterion"]["missed"] == 1


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_choice(home, bank, lang):
    question = bank.questions["initialization.criterion"]
    cards = quiz.cards(bank, "initialization", "choice")
    random = Random(5)
    random.sample(cards, len(cards))  # what the session draws before the first card
    right = quiz.choices(question, random).index(None) + 1
    arguments = ("quiz", "--topic", "initialization", "--mode", "choice", "--seed", "5", "--lang", lang)
    result = ask(*arguments, typed=f"{right}\n")
    assert {"en": "Right.", "zh": "正确。"}[lang] in result.output and result.exit_code == 0
    (home / "progress.json").unlink()
    result = ask(*arguments, typed=f"7\n{right % 4 + 1}\n")
    assert {"en": "'7' is none of 1, 2, 3, 4", "zh": "'7' 不在 1, 2, 3, 4 之中"}[lang] in result.output
    said = "".join(result.output.split())
    assert {"en": "Therightone:", "zh": "应当选\uff1a"}[lang] + "".join(question.right[lang].split()) in said and any(
        "".join(wrong.why[lang].split()) in said for wrong in question.wrong
    )
    assert kept(home)["choice:initialization.criterion"]["rating"] == "again"


def test_claim_shows_the_figures_that_decide_it(home):
    result = ask(
        "quiz", "--topic", "initialization", "--mode", "claim", "--count", "3", typed="x\n\nfh\n" + "f\n1\n" * 3
    )
    assert result.exit_code == 0 and all(f"{typed!r} is none of t, f, h" in result.output for typed in ("x", "", "fh"))
    said = " ".join(result.output.split())
    for part in (
        "ReLU, Xavier: dies out: over 20 seeds: 3.7e-09 to 1.7e-07",
        "minidl demo init-variance",
        "minidl demo momentum-vs-init",
    ):
        assert part in said, part
    ratings = [card["rating"] for card in kept(home).values()]
    assert len(ratings) == 3 and set(ratings) <= {"good", "hard"}


def test_predict(home):
    result = ask("quiz", "--topic", "initialization", "--mode", "predict", typed="much\nnan\n1e-3\n2e-3\n1e-3\n")
    assert "'much' is no number" in result.output and "'nan' is no number" in result.output
    assert "You are off by a factor of" in result.output and "measured now" not in result.output
    assert len(kept(home)) == 3


def test_predict_can_run_the_demo(home, monkeypatch):
    monkeypatch.setattr(demos.Demo, "run", lambda demo, seed: demos.Result(demo, seed, {"relu.xavier": 2.5e-8}, {}))
    monkeypatch.setattr(quiz, "cards", lambda bank, *_: [card for card in all_cards(bank) if "relu-xavier" in card.id])
    result = ask("quiz", "--mode", "predict", "--run", typed="1e-6\n")
    assert result.exit_code == 0 and "measured now: 2.5e-08" in result.output and "off by a factor of" in result.output


@needs_fsrs
def test_a_card_comes_back_when_its_time_has_come(home, monkeypatch):
    clock = [START]
    monkeypatch.setattr(schedule, "now", lambda: clock[0])
    arguments = ("quiz", "--topic", "initialization", "--mode", "recall")
    assert "1 of 1 answered" in " ".join(ask(*arguments, typed="\na\n").output.split())
    assert "Nothing is due; the next card is at 2026-01-" in ask(*arguments).output
    clock[0] += timedelta(days=30)
    assert "1 of 1 answered" in " ".join(ask(*arguments, typed="\na\n").output.split())
    assert kept(home)["recall:initialization.criterion"]["asked"] == 2


def test_what_was_answered_is_kept_when_the_input_ends(home):
    result = ask("quiz", "--topic", "metrics", "--mode", "claim", typed="f\n1\nt\n")
    assert result.exit_code == 0 and "1 of 2 answered" in " ".join(result.output.split())
    assert len(kept(home)) == 1
    result = ask("quiz", "--topic", "attention", typed="q\n")
    assert result.exit_code == 0 and "Nothing was answered." in result.output and len(kept(home)) == 1


def test_ctrl_c_keeps_what_was_answered(home, monkeypatch):
    put, asked = dialogue.Dialogue.put, []

    def interrupted(self, *arguments):
        asked.append(1)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return put(self, *arguments)

    monkeypatch.setattr(dialogue.Dialogue, "put", interrupted)
    result = ask("quiz", "--topic", "metrics", "--mode", "claim", typed="f\n1\n")
    assert result.exit_code == 130 and len(kept(home)) == 1
    assert "1 of 2 answered" in " ".join(result.output.split())


def test_damaged_progress_is_refused_and_left_alone(home):
    file = home / "progress.json"
    file.write_text('{"version": 1, "cards"')
    for command in (("quiz",), ("stats",), ("mock",)):
        result = ask(*command)
        assert result.exit_code == 2 and "is not JSON" in " ".join(result.stderr.split()), result.output
    assert file.read_text() == '{"version": 1, "cards"'


@pytest.mark.parametrize(
    "record", [{"due": "soon"}, {"due": 3}, {"due": "2026-01-01"}, {"asked": "often"}, {"asked": None}]
)
def test_a_damaged_card_is_named(home, record):
    progress.save(home / "progress.json", {"version": 1, "cards": {"claim:x": record}, "exercises": {}})
    before = (home / "progress.json").read_bytes()
    for command in ("quiz", "stats", "mock"):
        result = ask(command)
        assert result.exit_code == 2 and "the card claim:x cannot be read" in " ".join(result.stderr.split())
    assert (home / "progress.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--topic", "cooking"), "--topic cooking: it is one of architectures, attention"),
        (("--mode", "guess"), "--mode guess: it is one of recall, choice, claim, predict"),
        (("--lang", "fr"), "--lang fr: it is en or zh"),
        (("--topic", "multitask", "--mode", "predict"), "--topic multitask --mode predict: there is no such card"),
    ],
)
def test_unknown_options_are_refused_in_one_line(home, arguments, message):
    result = ask("quiz", *arguments)
    assert result.exit_code == 2 and message in result.stderr and len(result.stderr.splitlines()) == 1


def test_without_fsrs_it_is_said_in_one_line(home, monkeypatch):
    monkeypatch.setattr(schedule, "find_spec", lambda name: None)
    result = ask("quiz", "--topic", "metrics", "--mode", "claim", typed="f\n1\n")
    assert result.stderr.strip() == f"minidl: {schedule.MISSING}" and len(kept(home)) == 1


def test_plain_sessions_are_plain(home, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    for lang in ("en", "zh"):
        result = ask("quiz", "--mode", "recall", "--count", "19", "--plain", "--lang", lang, typed="\nf\n1\n" * 19)
        assert "\033[" not in result.output and all(wide(line) <= 80 for line in result.output.splitlines())
    assert not set("┃│━╇") & set(ask("stats", "--plain").output)


def test_stats(home):
    ask("quiz", "--topic", "metrics", "--mode", "claim", typed="h\n1\nh\n1\n")
    progress.update(home / "progress.json", "exercises", "init02", {"verdict": "passed", "solved": True})
    progress.update(home / "progress.json", "exercises", "init03", {"verdict": "wrong", "solved": False})
    output = ask("stats", "--plain").output
    row = next(line.split() for line in output.splitlines() if line.split()[:1] == ["metrics"])
    assert row[2] == "2" and row[4] == "2/2" and row[5] == "0%"
    assert "cards due: 0; exercises solved: 1" in output


# ---- mock interviews


def test_interviews_fill_their_time_with_the_level_and_what_is_known_least(bank):
    for seed in range(5):
        chosen = mock.plan(bank, {}, "senior", 30, START, Random(seed))
        assert {question.level for question in chosen} == {"senior"} and len(chosen) > 3
        assert sum(question.minutes for question in chosen) <= 30
        assert len({question.topic for question in chosen}) == len(chosen)
    assert len(mock.plan(bank, {}, "junior", 1, START, Random(0))) == 1
    first = mock.plan(bank, {}, "senior", 6, START, Random(0))[0]
    records = {f"recall:{first.id}": schedule.reviewed({}, "easy", START)}
    assert mock.plan(bank, records, "senior", 6, START, Random(0))[0] != first


@pytest.mark.parametrize(("lang", "must"), [("en", "missed, must be there: "), ("zh", "漏答（必答）：")])
def test_mock_writes_a_report(home, bank, lang, must):
    file = home / "report.md"
    typed = "what I say\nand more\n\n1\nnot sure\n\n\n" * 2
    result = ask("mock", "--minutes", "12", "--seed", "2", "--lang", lang, "--report", str(file), typed=typed)
    assert result.exit_code == 0, result.output
    report = file.read_text(encoding="utf-8")
    questions = [bank.questions[id.removeprefix("recall:")] for id in kept(home)]
    assert len(questions) == 2 and all(f"## {question.prompt[lang]}" in report for question in questions)
    assert "> what I say\n> and more" in report and must in report and report.count("> not sure") == 2
    assert ("question 2 of 2" if lang == "en" else "第 2/2 题") in result.output


def test_an_interview_that_is_broken_off_is_reported(home):
    result = ask("mock", "--minutes", "20", "--seed", "1", typed="an answer\n\na\n\n\nq\n")
    assert result.exit_code == 0 and "# Mock interview" in result.output and "100%" in result.output
    assert len(kept(home)) == 1
    (home / "progress.json").unlink()
    result = ask("mock", "--minutes", "20", "--seed", "1", typed="an answer\n\na\n")  # ends within the follow-ups
    assert "100%" in result.output and len(kept(home)) == 1
    assert "Nothing was answered." in ask("mock", typed="q\n").output
    assert "--level boss: it is one of junior, mid, senior" in ask("mock", "--level", "boss").stderr
