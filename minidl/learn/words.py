"""What the runner says, in both languages: `say("passed", "zh")`."""

from __future__ import annotations

import re
from typing import Any

from .language import Language

WORDS: dict[str, dict[Language, str]] = {
    # the four verdicts
    "not started": {"en": "not started", "zh": "未开始"},
    "error": {"en": "error", "zh": "出错"},
    "wrong": {"en": "wrong", "zh": "错误"},
    "passed": {"en": "passed", "zh": "通过"},
    # stages
    "signature": {"en": "names", "zh": "名称"},
    "forbidden": {"en": "forbidden names", "zh": "禁用名称"},
    "values": {"en": "values", "zh": "数值"},
    "gradient": {"en": "gradient", "zh": "梯度"},
    "property": {"en": "properties", "zh": "性质"},
    "statistics": {"en": "statistics", "zh": "统计"},
    "training": {"en": "training", "zh": "训练"},
    "simulator": {"en": "simulator", "zh": "模拟器"},
    "budget": {"en": "budget", "zh": "预算"},
    # after a verdict
    "held": {"en": "{held} of {all} checks held; in stage: {stage}", "zh": "{all} 项检查中 {held} 项成立；出问题的环节：{stage}"},
    "checks": {"en": "{held}/{all} checks (seed {seed}), {seconds:.1f} s", "zh": "{held}/{all} 项检查（种子 {seed}），用时 {seconds:.1f} 秒"},
    "checks with statistics": {
        "en": "{held}/{all} checks, {statistical} of them statistical (seed {seed}), {seconds:.1f} s",
        "zh": "{held}/{all} 项检查，其中 {statistical} 项是统计检查（种子 {seed}），用时 {seconds:.1f} 秒",
    },
    "edit": {"en": "Replace the TODO in {path}; hint: minidl learn hint", "zh": "请改写 {path} 中的 TODO；提示：minidl learn hint"},
    "more": {"en": "and {count} more in this stage; minidl learn run -v shows them", "zh": "本环节另有 {count} 处，用 minidl learn run -v 查看"},
    "later": {"en": "then, in stage: {stage}", "zh": "后续环节：{stage}"},
    "looks": {"en": "looks like: ", "zh": "很可能是："},
    "see": {"en": "see: ", "zh": "参考："},
    "why": {"en": "why it matters: ", "zh": "为什么重要："},
    "engine": {"en": "in the engine: ", "zh": "引擎中的同一函数："},
    "followup": {"en": "next question: ", "zh": "追问："},
    "copy": {"en": "for comparison: ", "zh": "参考答案："},
    "unlocked": {"en": "unlocked: ", "zh": "已解锁："},
    "printed": {"en": "your file printed:", "zh": "你的程序输出："},
    "cut": {"en": "[... {count} more lines ...]", "zh": "[... 另有 {count} 行 ...]"},
    # problems
    "type": {"en": "returned {got}, wanted {expected}", "zh": "返回的是 {got}，应当是 {expected}"},
    "nothing": {"en": "returned nothing (None), wanted {expected}: is there a return?", "zh": "什么也没有返回（None），应当是 {expected}：是否漏写 return？"},
    "shape": {"en": "returned shape {got}, wanted shape {expected}", "zh": "返回的形状是 {got}，应当是 {expected}"},
    "dtype": {"en": "returned dtype {got}, wanted {expected}", "zh": "返回的 dtype 是 {got}，应当是 {expected}"},
    "length": {"en": "returned {got} items, wanted {expected}", "zh": "返回了 {got} 项，应当是 {expected} 项"},
    "missing": {"en": "the file must define `{expected}`", "zh": "文件中必须定义 `{expected}`"},
    "uses": {"en": "uses {what}: here it is to be written without", "zh": "用到了 {what}：本题要求自己实现"},
    "loops": {"en": "{got} loops in Python, where whole arrays can be used", "zh": "用了 {got} 处 Python 循环，请改用整个数组的运算"},
    "value": {"en": "expected {expected}   got {got}{ratio}", "zh": "期望 {expected}   得到 {got}{ratio}"},
    "at least": {"en": "at least {expected}", "zh": "至少 {expected}"},
    "at most": {"en": "at most {expected}", "zh": "至多 {expected}"},
    "elements": {"en": "{count} of {size} elements differ{ratio}", "zh": "{size} 个元素中 {count} 个不同{ratio}"},
    "bad": {"en": "{bad} of them NaN or infinite", "zh": "其中 {bad} 个是 NaN 或无穷"},
    "number": {"en": "a number", "zh": "一个数"},
    "array": {"en": "an array", "zh": "一个数组"},
    # what ends a run without a verdict
    "raised": {"en": "line {line}, in {function}", "zh": "第 {line} 行，位于 {function}"},
    "line": {"en": "line {line}", "zh": "第 {line} 行"},
    "outside": {
        "en": "raised while your code was called or its result was used, not within it",
        "zh": "异常出现在调用你的函数或使用其返回值时，不在你的代码之内",
    },
    "time": {"en": "It took longer than {seconds:g} s and was ended. An endless loop?", "zh": "运行超过 {seconds:g} 秒，已被终止。是不是死循环？"},
    "where": {"en": "At the end it was at line {line}:", "zh": "终止时执行到第 {line} 行："},
    "memory": {"en": "It took more than {gigabytes:.1f} GiB of memory and was ended.", "zh": "占用内存超过 {gigabytes:.1f} GiB，已被终止。"},
    "processes": {"en": "It started more than {count} processes and was ended.", "zh": "启动了超过 {count} 个进程，已被终止。"},
    "exit": {
        "en": "Its process ended (exit status {code}) before the checks were done. Does it call os._exit, or close files that it did not open?",
        "zh": "检查尚未完成，进程就退出了（退出码 {code}）。是否调用了 os._exit，或关闭了不属于它的文件？",
    },
    "signal": {
        "en": "Its process was ended by {signal} before the checks were done: a crash in compiled code, or memory ran out.",
        "zh": "检查尚未完成，进程就被 {signal} 终止：可能是编译代码崩溃，也可能是内存耗尽。",
    },
    "changed": {
        "en": "Your file replaces {names}, on which the checks rest. Use a name of your own.",
        "zh": "你的文件替换了 {names}，检查依赖它们。请换用自己的名称。",
    },
    "early": {"en": "The checks could not be started; this is not about your code.", "zh": "检查未能启动；这与你的代码无关。"},
    # workspace
    "task head": {"en": "Check it: minidl learn run {id}", "zh": "检查：minidl learn run {id}"},
    "minutes": {"en": "{minutes} min", "zh": "{minutes} 分钟"},
    "needs": {"en": "needs: {ids}", "zh": "先修：{ids}"},
    "hint": {"en": "hint {level} of 3: ", "zh": "提示 {level}/3: "},
    "hint last": {"en": "That was the last hint; `minidl learn solution` shows an answer.", "zh": "提示到此为止；`minidl learn solution` 可以看答案。"},
    "made": {"en": "{count} new exercises in {folder}", "zh": "{folder} 中新增 {count} 道练习"},
    "begin": {"en": "Now: cd {folder}, then minidl learn", "zh": "接下来：cd {folder}，然后 minidl learn"},
    "current": {"en": "current: {id}  {title}", "zh": "当前：{id}  {title}"},
    "all solved": {"en": "All exercises are solved.", "zh": "全部练习都已通过。"},
    "solved": {"en": "{done} of {all} solved", "zh": "{all} 题中已通过 {done} 题"},
    "unsolved": {
        "en": "{id} is not solved yet; `minidl learn skip [REASON]` goes on without it",
        "zh": "{id} 还没有通过；`minidl learn skip [原因]` 可以先跳过",
    },
    "before": {"en": "{id} builds on {needs}, not solved yet", "zh": "{id} 以 {needs} 为基础，后者还没有通过"},
    "skipped": {"en": "skipped", "zh": "已跳过"},
    "pending": {"en": "pending", "zh": "待重做"},
    "stub": {"en": "{path} is a stub again", "zh": "{path} 已恢复为题目"},
    "reset": {"en": "{path} is a stub again; what it was: {backup}", "zh": "{path} 已恢复为题目；原内容在 {backup}"},
    "ask solution": {
        "en": "Show the answer to {id}? It will be marked as assisted.", "zh": "要看 {id} 的答案吗？会记为「看过答案」。",
    },
    "ask reset": {"en": "Put the stub back into {path}?", "zh": "要把 {path} 恢复为题目吗？"},
    "no diff": {"en": "the same as the reference", "zh": "与参考答案相同"},
    "diff after": {"en": "{id}: the comparison comes after you have solved it", "zh": "{id}：通过之后才能对照参考答案"},
    "failed again": {"en": "{id} was solved and fails now: it is pending again", "zh": "{id} 曾经通过，现在失败，已改为待重做"},
    "marks": {
        "en": "> current   * short way through   last: state, tries, deepest hint (4: answer)",
        "zh": "> 当前   * 核心路线   行末依次为：状态，次数，用到的提示（4：答案）",
    },
    # mistakes
    "no workspace": {
        "en": "there are no exercises in {folder} or above; `minidl learn init` makes a folder of them",
        "zh": "{folder} 及其上级中没有练习；用 `minidl learn init` 新建",
    },
    "no folder": {"en": "{folder} is no folder", "zh": "{folder} 不是文件夹"},
    "not empty": {
        "en": "{folder} is not empty and is no folder of exercises; name a new one",
        "zh": "{folder} 不是空的，也不是练习文件夹；请换一个名字",
    },
    "no exercise": {"en": "there is no exercise {id}; `minidl learn list` has all", "zh": "没有练习 {id}; `minidl learn list` 列出全部"},
    "no exercise, near": {"en": "there is no exercise {id}; is it {near}?", "zh": "没有练习 {id}；是不是 {near}？"},
    "no topic": {"en": "--topic {topic}: it is one of {topics}", "zh": "--topic {topic}：只能是 {topics} 之一"},
    "no text": {"en": "{path} is not text in UTF-8: {error}", "zh": "{path} 不是 UTF-8 文本：{error}"},
    "no terminal": {
        "en": "watching needs a terminal; `minidl learn run` checks the current exercise once",
        "zh": "监视需要终端；`minidl learn run` 把当前练习检查一次",
    },
    # doctor
    "d exercises": {"en": "exercises", "zh": "练习"},
    "d none": {"en": "none", "zh": "没有"},
    "d gone": {
        "en": "files are missing: {ids}; `minidl learn init` writes them anew",
        "zh": "缺少文件：{ids}；`minidl learn init` 可以补上",
    },
    "d bank": {"en": "bank", "zh": "题库"},
    "d count": {"en": "{count} exercises", "zh": "{count} 题"},
    "d bank means": {"en": "they come with minidl", "zh": "随 minidl 一起安装"},
    "d sandbox": {"en": "sandbox", "zh": "沙箱"},
    "d missing": {"en": "missing", "zh": "缺失"},
    "d broken": {"en": "does not work", "zh": "不可用"},
    "d works": {"en": "works", "zh": "可用"},
    "d system": {
        "en": "{id} took {seconds:.1f} s; memory is held to {gib} GiB by the system",
        "zh": "{id} 用时 {seconds:.1f} 秒；内存由系统限制在 {gib} GiB 以内",
    },
    "d watched": {
        "en": "{id} took {seconds:.1f} s; memory is held to {gib} GiB by looking at it",
        "zh": "{id} 用时 {seconds:.1f} 秒；内存靠监视限制在 {gib} GiB 以内",
    },
    "d watching": {"en": "file watching", "zh": "文件监视"},
    "d polls": {"en": "by polling", "zh": "轮询"},
    "d install": {"en": 'watchfiles is not installed: pip install "minidl[learn]"', "zh": '未安装 watchfiles: pip install "minidl[learn]"'},
    "d container": {
        "en": "in WSL or a container it may hear nothing: then minidl learn --poll, or r",
        "zh": "在 WSL 或容器中可能收不到通知：请用 minidl learn --poll，或按 r",
    },
    "d at once": {"en": "minidl learn sees a saved file at once", "zh": "保存后 minidl learn 立即可见"},
    "d terminal": {"en": "terminal", "zh": "终端"},
    "d yes": {"en": "yes", "zh": "有"},
    "d looks": {"en": "colour: {colour}, symbols: {symbols}, language: {language}", "zh": "颜色：{colour}，符号：{symbols}，语言：{language}"},
    "d engine": {"en": "engine", "zh": "引擎"},
    "d rest": {"en": "says what else this machine has", "zh": "说明本机的其余情况"},
    # watch mode
    "watching": {"en": "watching {path}; save it to have it checked", "zh": "正在监视 {path}；保存即检查"},
    "keys": {
        "en": "h hint  r run  n next  l list  d diff  q quiz  x reset  s skip  Q quit",
        "zh": "h 提示  r 运行  n 下一题  l 列表  d 对照  q 卡片  x 重置  s 跳过  Q 退出",
    },
    "go on": {"en": "n goes on to the next exercise", "zh": "按 n 进入下一题"},
    "unsolved key": {"en": "{id} is not solved yet; s goes on without it", "zh": "{id} 还没有通过；按 s 可以先跳过"},
    "unknown key": {"en": "{pressed} is no key", "zh": "没有 {pressed} 这个键"},
    "running": {"en": "checking ...", "zh": "正在检查 ..."},
    "bye": {"en": "{done} of {all} solved; minidl learn goes on here", "zh": "{all} 题中已通过 {done} 题；下次用 minidl learn 继续"},
    "gone": {"en": "{path} is gone; minidl learn reset {id} puts the stub there", "zh": "{path} 不见了；minidl learn reset {id} 可以放回题目"},
}  # fmt: skip


def say(key: str, lang: Language, **values: Any) -> str:
    """A phrase in one language, with values put in; between two Chinese characters there is no space."""
    return re.sub("(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])", "", WORDS[key][lang].format(**values))
