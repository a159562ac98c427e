"""The profiler: what it counts, that it leaves no trace, what it writes."""

from __future__ import annotations

import json
import re
import threading

import pytest
from typer.testing import CliRunner

import minidl as md
from minidl import nn
from minidl.autograd.op import Op
from minidl.cli import app
from minidl.profiler import ProfilerAction, ProfilerActivity, profile, record_function, schedule

pytestmark = pytest.mark.tiny


@pytest.fixture
def step():
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    optimizer = md.optim.SGD(model.parameters(), lr=0.1)
    x, y = md.randn(5, 4), md.tensor([0, 1, 0, 1, 1])

    def run():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return run


def counts(prof):
    return {row.name: row.count for row in prof.key_averages()}


def test_every_kind_of_call_is_counted(step):
    with profile() as prof:
        for _ in range(3):
            step()
    found = counts(prof)
    assert found["Linear"] == found["LinearBackward"] == 6
    assert found["Tanh"] == found["TanhBackward"] == 3  # called by the path for small element-wise operations
    assert found["(model) Sequential"] == found["0 Linear"] == found["1 Tanh"] == 3
    assert found["Optimizer.step#SGD"] == 3


def test_binary_operations_numbers_and_ufuncs():
    x = md.ones(2, 3, requires_grad=True)
    with profile(record_shapes=True) as prof:
        ((x * 2.0 + x).exp() / 3.0).sum().backward()
    assert {"Mul": 1, "Add": 1, "Exp": 1, "Div": 1, "Sum": 1}.items() <= counts(prof).items()
    mul = next(e for e in prof.events() if e.name == "Mul")
    assert mul.shapes == ((2, 3),) and mul.nbytes == 24


def test_nothing_is_left_behind(step):
    def state():
        methods = [(c, m, vars(c)[m]) for c in Op.__subclasses__() for m in ("forward", "backward") if m in vars(c)]
        return [nn.Module.__call__, md.optim.SGD.step, *methods]

    before, result = state(), md.tensor(2.0) * 3.0
    with pytest.raises(ZeroDivisionError), profile() as prof:
        step()
        raise ZeroDivisionError
    assert state() == before
    seen = len(prof.events())
    step()
    assert (md.tensor(2.0) * 3.0).item() == result.item() and len(prof.events()) == seen


def test_self_time_excludes_what_is_inside(step):
    with profile() as prof, record_function("all"):
        step()
    every = prof.events()
    outer = every[0]
    assert (outer.name, outer.depth) == ("all", 0)
    assert sum(e.self_time for e in every) == pytest.approx(outer.end - outer.start, rel=1e-6)
    assert all(outer.start <= e.start <= e.end <= outer.end for e in every)


def test_table_and_trace(step, tmp_path):
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as prof:
        step()
    table = prof.key_averages().table(sort_by="cpu_time_total", row_limit=3)
    assert table.splitlines()[0].split() == ["name", "calls", "self", "ms", "self", "%", "total", "ms", "us/call", "MB"]
    assert len(table.splitlines()) == 5 and table.splitlines()[-1].endswith("ms)")
    assert prof.peak_bytes > 0
    with pytest.raises(ValueError, match="cannot sort by 'size'"):
        prof.key_averages().table(sort_by="size")
    prof.export_chrome_trace(tmp_path / "trace.json")
    rows = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert len(rows) == len(prof.events()) and {row["ph"] for row in rows} == {"X"}
    assert [p.name for p in tmp_path.iterdir()] == ["trace.json"]


def test_schedule_records_some_steps_only(step):
    assert [schedule(wait=1, warmup=1, active=1)(i).name for i in range(4)] == [
        "NONE", "WARMUP", "RECORD_AND_SAVE", "NONE"
    ]  # fmt: skip
    assert schedule(wait=0, warmup=0, active=1, repeat=1)(1) is ProfilerAction.NONE
    seen = []
    with profile(
        schedule=schedule(wait=1, warmup=1, active=2, repeat=1), on_trace_ready=lambda p: seen.append(counts(p))
    ) as p:
        for _ in range(6):
            step()
            p.step()
    assert [found["Optimizer.step#SGD"] for found in seen] == [2]


def test_one_profiler_at_a_time():
    with profile(), pytest.raises(RuntimeError, match="a profiler is running already"), profile():
        pass
    with profile(), profile(enabled=False):
        pass


def test_record_function_without_a_profiler_and_as_a_decorator():
    @record_function("double")
    def double(x):
        return 2 * x

    assert double(3) == 6
    with profile() as prof:
        double(3)
    assert counts(prof) == {"double": 1}


SCRIPT = """
import sys
import helper
import minidl as md
x = md.ones(3, requires_grad=True)
(x * helper.FACTOR).sum().backward()
print(sys.argv[1:], x.grad.tolist())
"""


def test_command_line(tmp_path):
    (tmp_path / "helper.py").write_text("FACTOR = 2.0")
    (tmp_path / "program.py").write_text(SCRIPT)
    trace = tmp_path / "t.json"
    result = CliRunner().invoke(app, ["profile", "--trace", str(trace), str(tmp_path / "program.py"), "--rows", "7"])
    assert result.exit_code == 0
    assert "['--rows', '7'] [2.0, 2.0, 2.0]" in result.output and "MulBackward" in result.output
    assert "wall time" in result.output and json.loads(trace.read_text())["traceEvents"]


@pytest.mark.parametrize(
    ("ending", "code", "words"),
    [
        ("sys.exit('no good')", 1, ["no good"]),
        ("sys.exit(3)", 3, []),
        ("raise ValueError('my bug')", 1, ["Traceback", "ValueError: my bug", "the program failed"]),
        ("raise KeyboardInterrupt", 130, ["stopped"]),
    ],
)
def test_a_program_that_ends_early_is_reported_on(tmp_path, ending, code, words):
    (tmp_path / "program.py").write_text(f"import sys, minidl\nminidl.ones(3).exp()\n{ending}\n")
    result = CliRunner().invoke(app, ["profile", str(tmp_path / "program.py")])
    assert result.exit_code == code and re.search(r"^Exp +1 ", result.stdout, re.MULTILINE)
    assert all(word in result.stderr for word in words) and "runpy" not in result.stderr


def test_a_module_is_run_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "profiled_module.py").write_text(
        "import sys, minidl\nprint(__name__, sys.argv[1:], minidl.ones(3).exp())"
    )
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["profile", "-m", "profiled_module", "--lr", "1"])
    assert result.exit_code == 0, result.output
    assert "__main__ ['--lr', '1']" in result.output and "Exp" in result.output


def test_each_thread_has_calls_of_its_own(tmp_path):
    inside, done = threading.Event(), threading.Event()

    def other():
        with record_function("other"):
            inside.set()
            done.wait()

    with profile() as prof:
        thread = threading.Thread(target=other)
        thread.start()
        inside.wait()
        with record_function("one"):  # within the time of the other, but not in it
            md.ones(3).exp()
        done.set()
        thread.join()
    found = {e.name: e for e in prof.events()}
    assert found["one"].thread == found["Exp"].thread != found["other"].thread
    assert found["other"].inside == 0.0 and found["one"].depth == 0 and found["Exp"].depth == 1
    prof.export_chrome_trace(tmp_path / "t.json")
    assert {e["tid"] for e in json.loads((tmp_path / "t.json").read_text())["traceEvents"]} == {0, 1}


def test_memory_is_that_of_the_arrays():
    x = md.ones(1000, 2500)  # 10 MB
    x.exp()  # a first call loads compiled code
    with profile(profile_memory=True) as prof:
        y = x.exp()
        y.T, y[:10]  # views are not new memory
    rows = {row.name: row.nbytes for row in prof.key_averages()}
    assert rows["Exp"] == y.numpy().nbytes == 10_000_000 and not rows["Slice"]
    assert 10_000_000 <= prof.peak_bytes < 11_000_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.py"], "there is no file nowhere.py"),
        (["--sort", "size", __file__], "--sort size: it is one of"),
        (["--trace", "/nowhere/t.json", __file__], "there is no folder /nowhere"),
    ],
)
def test_command_line_mistakes(arguments, message):
    result = CliRunner().invoke(app, ["profile", *arguments])
    assert result.exit_code == 2 and message in result.stderr
