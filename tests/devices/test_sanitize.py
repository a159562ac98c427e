"""tests/devices/sanitize.sh without a GPU: its arguments, what it says is missing, and its table, on a tool that is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minidl import devices

SCRIPT = Path(__file__).with_name("sanitize.sh")
FAKE_TOOL = r"""#!/usr/bin/env bash
while (($#)); do
    case $1 in
        --tool) tool=$2 ;;
        --log-file) report=$2 ;;
    esac
    shift
done
echo "========= ERROR SUMMARY: 0 errors" > "$report"
case $tool in
    racecheck) echo "========= RACECHECK SUMMARY: 2 hazards displayed (2 errors, 0 warnings)" > "$report"; exit 86 ;;
    initcheck) rm "$report"; exit 1 ;;
    synccheck) exec sleep 20 ;;
esac
"""


def run(*arguments, **environment):
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments], text=True, capture_output=True, env={**os.environ, **environment}, timeout=60
    )


def program(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["fastcheck"], "there is no tool fastcheck; there are: memcheck racecheck initcheck synccheck"),
        (["memcheck", "-x"], "there is no tool -x; there are"),
        (["-x"], "there is no option -x; -h lists them"),
        (["-k"], "-k needs a value; -h explains"),
        (["-t", "soon"], "-t soon: expected a number of seconds above 0"),
        (["-t", "0"], "-t 0: expected a number of seconds above 0"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1 and not done.stdout


def test_it_explains_itself():
    done = run("-h")
    assert (
        done.returncode == 0 and "racecheck" in done.stdout and "Exit code:" in done.stdout and "#" not in done.stdout
    )


def test_a_missing_tool_is_one_line():
    done = run("memcheck", COMPUTE_SANITIZER="/nowhere/compute-sanitizer")
    assert done.returncode == 3 and not done.stdout
    assert "compute-sanitizer is not installed" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(devices.gpus()[0] > 0, reason="there is a GPU")
def test_a_missing_gpu_is_one_line_with_the_reason(tmp_path):
    tool = program(tmp_path / "tool", FAKE_TOOL)
    program(tmp_path / "python3", f'#!/usr/bin/env bash\nexec {sys.executable} "$@"\n')
    done = run(COMPUTE_SANITIZER=tool, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 3 and not done.stdout and len(done.stderr.splitlines()) == 1
    assert devices.gpus()[1] in done.stderr and "minidl doctor" in done.stderr


def test_the_table_and_the_exit_code(tmp_path):
    tool = program(tmp_path / "tool", FAKE_TOOL)
    program(tmp_path / "python3", "#!/usr/bin/env bash\n")  # which sees a GPU, as it does not complain
    settings = {"COMPUTE_SANITIZER": tool, "PATH": f"{tmp_path}:{os.environ['PATH']}", "OUT": str(tmp_path / "reports")}
    done = run("-t", "2", **settings)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["tool", "result", "errors", "seconds"] and done.returncode == 1
    assert [row[:3] for row in rows[1:5]] == [
        ["memcheck", "clean", "0"], ["racecheck", "ERRORS", "2"], ["initcheck", "FAILED", "-"], ["synccheck", "TIMEOUT", "0"],
    ]  # fmt: skip
    assert rows[5] == ["reports:", str(tmp_path / "reports")]
    done = run("memcheck", **settings)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 3
