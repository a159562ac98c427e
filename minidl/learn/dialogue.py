"""The dialogue of a quiz, line by line: in a terminal with colour, plainly, or with input from a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from . import quiz
from .language import Language, text
from .layout import wrap
from .mock import Answer
from .questions import VERDICTS, Claim, Evidence, FollowUp, Prediction, Question

if TYPE_CHECKING:
    from ..demos import Demo, Figure

WORDS: dict[str, dict[Language, str]] = {
    "recall": {"en": "recall", "zh": "回忆"},
    "choice": {"en": "choice", "zh": "选择"},
    "claim": {"en": "claim", "zh": "判断"},
    "predict": {"en": "predict", "zh": "预测"},
    "true": {"en": "true", "zh": "对"},
    "false": {"en": "false", "zh": "错"},
    "half-true": {"en": "half-true", "zh": "半对"},
    "again": {"en": "again", "zh": "重来"},
    "hard": {"en": "hard", "zh": "勉强"},
    "good": {"en": "good", "zh": "良好"},
    "easy": {"en": "easy", "zh": "轻松"},
    "right": {"en": "Right.", "zh": "正确。"},
    "wrong": {"en": "Wrong.", "zh": "错误。"},
    "colon": {"en": ": ", "zh": "："},
    "instead": {"en": "The right one: ", "zh": "应当选："},
    "not for that reason": {"en": "Right, but not for that reason.", "zh": "判断正确，理由不对。"},
    "answer": {
        "en": "Say or type your answer; an empty line ends it (q quits).",
        "zh": "说出或写下你的回答，空行结束（q 退出）。",
    },
    "minute": {"en": "In one minute:", "zh": "一分钟回答："},
    "points": {"en": "Points (* must be there):", "zh": "要点（* 为必答）："},
    "tick": {
        "en": "Which did you make? Numbers, a for all, Enter for none, f for the full answer:",
        "zh": "你答到了哪些？输入编号，a 为全部，回车为无，f 看完整回答：",
    },
    "missed": {"en": "missed: ", "zh": "漏答："},
    "missed must": {"en": "missed, must be there: ", "zh": "漏答（必答）："},
    "next": {"en": "Asked next: ", "zh": "追问："},
    "which": {"en": "Which of these would you say?", "zh": "下面哪一句你会这样说？"},
    "verdict": {"en": "true (t), false (f) or half-true (h)?", "zh": "对（t）、错（f）还是半对（h）？"},
    "why": {"en": "Why?", "zh": "为什么？"},
    "number": {"en": "a number from 1 to {count}:", "zh": "输入 1 到 {count} 的编号："},
    "guess": {"en": "Your number (as 0.5 or 2e-8):", "zh": "你的预测（如 0.5 或 2e-8）："},
    "band": {"en": "over {seeds} seeds: {low:.3g} to {high:.3g} {unit}", "zh": "{seeds} 个种子：{low:.3g} 到 {high:.3g} {unit}"},
    "always": {"en": "over {seeds} seeds: always {low:.3g} {unit}", "zh": "{seeds} 个种子：都是 {low:.3g} {unit}"},
    "measured": {"en": "measured now: {value:.4g}", "zh": "本次测得：{value:.4g}"},
    "running": {"en": "running {demo}, about {seconds:.0f} s ...", "zh": "正在运行 {demo}，约 {seconds:.0f} 秒……"},
    "within": {"en": "Your number is within it.", "zh": "你的预测在范围之内。"},
    "off": {"en": "You are off by a factor of {factor:.3g}.", "zh": "相差 {factor:.3g} 倍。"},
    "far": {"en": "No factor leads from your number there.", "zh": "你的预测与之无法用倍数比较。"},
    "sources": {"en": "Sources:", "zh": "文献："},
    "see": {"en": "See: ", "zh": "参见："},
    "not a number": {"en": "{typed!r} is no number", "zh": "{typed!r} 不是数"},
    "not one of": {"en": "{typed!r} is none of {choices}", "zh": "{typed!r} 不在 {choices} 之中"},
    "nothing due": {
        "en": "Nothing is due; the next card is at {when} (UTC).",
        "zh": "目前没有到期的卡片；下一张在 {when}（UTC）到期。",
    },
    "nothing answered": {"en": "Nothing was answered.", "zh": "没有作答。"},
    "answered": {
        "en": "{answered} of {count} answered, {again} to ask again; kept in {path}",
        "zh": "已答 {answered}/{count}，其中 {again} 张需重来；记录在 {path}",
    },
    "columns": {"en": "topic cards asked due missed remembered", "zh": "主题 卡片 已问 到期 答错 记得"},
    "totals": {
        "en": "cards due: {due}; exercises solved: {solved}",
        "zh": "到期卡片 {due} 张；已完成练习 {solved} 道",
    },
    "clock": {
        "en": "question {number} of {count}, minute {passed:.0f} of {minutes}",
        "zh": "第 {number}/{count} 题，已用 {passed:.0f} 分钟（共 {minutes} 分钟）",
    },
    "report": {"en": "report: {path}", "zh": "报告：{path}"},
    "points from": {"en": "{typed!r}: numbers from 1 to {count}, such as 1 3", "zh": "{typed!r}：请输入 1 到 {count} 的编号，如 1 3"},
}  # fmt: skip
_STYLES = {"again": "bold red", "hard": "yellow", "good": "green", "easy": "bold green"}


class Ended(Exception):
    """The learner has had enough: q, or the end of the input."""


class Dialogue:
    """Asks one card after the other. read(prompt) gives a line and raises EOFError after the last one."""

    def __init__(self, lang: Language, plain: bool = False, read: Callable[[str], str] = input) -> None:
        from rich.console import Console

        width = 80 if plain or not sys.stdout.isatty() else None
        self.console = Console(
            markup=False, highlight=False, width=width, force_terminal=False if plain else None, no_color=plain or None
        )
        self.lang = lang
        self.read = read

    def word(self, name: str, **values: Any) -> str:
        """What the interface says, in the learner's language."""
        return WORDS[name][self.lang].format(**values)

    def say(self, line: str = "", style: str = "", indent: int = 0, mark: str = "") -> None:
        """A paragraph, broken to the width; what does not fit beside a mark goes on below the words."""
        from rich.text import Text

        for part in wrap(line, " " * indent + mark, width=self.console.width):
            self.console.print(Text(part, style=style), soft_wrap=True)

    def line(self) -> str:
        """A line that was typed. Raises Ended at "q" and where the input ends."""
        try:
            typed = self.read("> ")
        except EOFError:
            self.say()
            raise Ended from None
        if not sys.stdin.isatty():  # a terminal shows what is typed, a transcript has to
            self.say(typed)
        if typed.strip().lower() == "q":
            raise Ended
        return typed.strip()

    def free(self) -> str:
        """Lines up to an empty one."""
        lines = []
        while line := self.line():
            lines.append(line)
        return "\n".join(lines)

    def one(self, question: str, choices: Sequence[str]) -> int:
        """The place of one of some choices, asked for until it is given."""
        while True:
            self.say(question)
            typed = self.line()
            if typed.lower() in choices:
                return choices.index(typed.lower())
            self.say(self.word("not one of", typed=typed, choices=", ".join(choices)), "red")

    def put(self, card: quiz.Card, random: Random, run: bool = False) -> str:
        """Ask a card and show what is to be said about it; the rating. Raises Ended."""
        self.say()
        self.say(f"{self.word(card.mode)} · {card.topic}", "bold cyan")
        item = card.item
        if isinstance(item, Claim):
            return self.judge(item, random)
        if isinstance(item, Prediction):
            return self.predict(item, random, run)
        return self.recall(item) if card.mode == "recall" else self.choose(item, random)

    def recall(self, question: Question) -> str:
        """The answer in the learner's own words, then the points."""
        self.prompt(question)
        self.free()
        ticked = self.tick(question)
        rating = quiz.recalled(question, ticked)
        self.rated(rating)
        self.missed(question, ticked)
        for followup in followups(question, ticked, 1):
            self.say(self.word("next") + text(followup.prompt, self.lang), "bold")
            self.say(text(followup.answer, self.lang), indent=2)
        self.see(question)
        return rating

    def interview(self, question: Question) -> Answer:
        """What was said to a question, and the points that were made."""
        self.prompt(question)
        said = self.free()
        return Answer(question, said, self.tick(question))

    def deeper(self, answer: Answer) -> None:
        """Two follow-ups into what was left out."""
        for followup in followups(answer.question, answer.ticked, 2):
            self.say(self.word("next") + text(followup.prompt, self.lang), "bold")
            answer.followups.append((followup, self.free()))
            self.say(text(followup.answer, self.lang), indent=2)

    def prompt(self, question: Question) -> None:
        """What is asked, and that it is to be answered."""
        self.say(text(question.prompt, self.lang), "bold")
        self.say(self.word("answer"), "dim")

    def tick(self, question: Question) -> set[int]:
        """The short answer, and which points of the rubric were made, from 1."""
        self.say(self.word("minute"), "cyan")
        self.say(text(question.short, self.lang), indent=2)
        self.say(self.word("points"), "cyan")
        for number, point in enumerate(question.rubric, 1):
            self.say(text(point.text, self.lang), indent=2, mark=f"{number} {'*' if point.must else ' '} ")
        count = len(question.rubric)
        while True:
            self.say(self.word("tick"))
            typed = self.line()
            if typed.lower() == "a":
                return set(range(1, count + 1))
            if typed.lower() == "f":
                self.full(question)
                continue
            numbers = typed.replace(",", " ").replace("，", " ").split()
            if all(number in map(str, range(1, count + 1)) for number in numbers):
                return set(map(int, numbers))
            self.say(self.word("points from", typed=typed, count=count), "red")

    def full(self, question: Question) -> None:
        """The long answer and its sources."""
        from ..demos import plain

        for paragraph in plain(text(question.full, self.lang)).split("\n"):
            self.say(paragraph, indent=2)
        self.say(self.word("sources"), "cyan")
        for source in question.sources:
            said = f"{source.ref.removesuffix('.')}. {source.title}. {source.year}. {source.url or ''}"
            self.say(said.rstrip(), indent=2)

    def missed(self, question: Question, ticked: set[int]) -> None:
        """The points that were not made."""
        for point in quiz.missed(question, ticked):
            self.say(self.word("missed must" if point.must else "missed") + text(point.text, self.lang), indent=2)

    def choose(self, question: Question, random: Random) -> str:
        """One right sentence among wrong answers."""
        self.say(text(question.prompt, self.lang), "bold")
        offered = quiz.choices(question, random)
        self.say(self.word("which"))
        chosen = offered[self.numbered([text(wrong.text if wrong else question.right, self.lang) for wrong in offered])]
        self.verdict(chosen is None)
        if chosen is not None:
            self.say(text(chosen.why, self.lang), indent=2)
            self.say(self.word("instead") + text(question.right, self.lang), "green", indent=2)
            self.evidence([Evidence(chosen.demo, None)] if chosen.demo else [])
        rating = "again" if chosen else "good"
        self.rated(rating)
        return rating

    def judge(self, claim: Claim, random: Random) -> str:
        """True, false or half-true, and why; then the figures that decide it."""
        self.say(f"“{text(claim.claim, self.lang)}”", "bold")
        said = self.one(self.word("verdict"), ("t", "f", "h", *VERDICTS))  # a letter, or the word
        verdict = VERDICTS[said % len(VERDICTS)]
        self.say(self.word("why"))
        reasons = random.sample(claim.reasons, len(claim.reasons))
        right = reasons[self.numbered([text(reason.text, self.lang) for reason in reasons])].right
        if verdict == claim.verdict and not right:
            self.say(self.word("not for that reason"), "yellow")
        else:
            self.verdict(verdict == claim.verdict)
        self.say(
            f"{self.word(claim.verdict)}{self.word('colon')}{text(next(r.text for r in reasons if r.right), self.lang)}",
            indent=2,
        )
        self.say(text(claim.explanation, self.lang), indent=2)
        self.evidence(claim.evidence)
        rating = quiz.judged(claim, verdict, right)
        self.rated(rating)
        return rating

    def predict(self, prediction: Prediction, random: Random, run: bool) -> str:
        """A number for a figure of a demo, against the band that was measured or, with run, against a run now."""
        from .. import demos

        demo = demos.find(prediction.evidence.demo)
        figure = demo.figure(str(prediction.evidence.figure))
        self.say(text(prediction.prompt, self.lang), "bold")
        guess = self.number()
        self.say(self.band(demo, figure), indent=2)
        if run:
            self.say(self.word("running", demo=demo.name, seconds=demo.seconds), "dim")
            value = demo.run(random.randrange(1000)).figures[figure.name]
            self.say(self.word("measured", value=value), indent=2)
        factor = quiz.off(guess, *figure.band)
        rating = quiz.guessed(factor)
        named = "within" if factor == 1 else "off" if factor < float("inf") else "far"
        self.say(self.word(named, factor=factor), indent=2)
        self.say(text(prediction.explanation, self.lang), indent=2)
        self.say(f"{self.word('see')}minidl demo {demo.name}", "dim", indent=2)
        self.rated(rating)
        return rating

    def number(self) -> float:
        """A number, asked for until one is typed."""
        while True:
            self.say(self.word("guess"))
            typed = self.line()
            try:
                value = float(typed)
                if value == value:
                    return value
            except ValueError:
                pass
            self.say(self.word("not a number", typed=typed), "red")

    def numbered(self, options: Sequence[str]) -> int:
        """The place of the option that is chosen by its number."""
        for number, option in enumerate(options, 1):
            self.say(option, indent=2, mark=f"{number}  ")
        return self.one(self.word("number", count=len(options)), [str(number + 1) for number in range(len(options))])

    def verdict(self, right: bool) -> None:
        self.say(self.word("right" if right else "wrong"), "bold green" if right else "bold red")

    def rated(self, rating: str) -> None:
        self.say(f"[{self.word(rating)}]", _STYLES[rating])

    def evidence(self, evidence: Sequence[Evidence]) -> None:
        """The figures of demos with the bands that were measured, and how to run the demos."""
        from .. import demos

        for found in evidence:
            if found.figure is not None:
                demo = demos.find(found.demo)
                figure = demo.figure(found.figure)
                self.say(figure.what + self.word("colon") + self.band(demo, figure), indent=2)
        if evidence:
            names = dict.fromkeys(f"minidl demo {found.demo}" for found in evidence)
            self.say(self.word("see") + ", ".join(names), "dim", indent=2)

    def band(self, demo: Demo, figure: Figure) -> str:
        """The band of a figure, and over how many seeds it was measured."""
        name = "always" if f"{figure.low:.3g}" == f"{figure.high:.3g}" else "band"
        return self.word(name, seeds=demo.seeds, low=figure.low, high=figure.high, unit=figure.unit).rstrip()

    def see(self, question: Question) -> None:
        """Demos and exercises about a question."""
        places = [f"minidl demo {found.demo}" for found in question.evidence]
        places += [f"minidl learn run {id}" for id in question.exercises]
        if places:
            self.say(self.word("see") + ", ".join(places), "dim")


def followups(question: Question, ticked: set[int], count: int) -> list[FollowUp]:
    """What to ask next: what goes deeper into points that were not made, those that must be there first."""

    def order(followup: FollowUp) -> tuple[bool, bool]:
        return followup.about in ticked, not question.rubric[followup.about - 1].must

    return sorted(question.followups, key=order)[:count]
