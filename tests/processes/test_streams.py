"""Unwritable streams, encodings, and Ctrl-C during the start: real programs with real streams."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps import create_sweep
from sweeps.plan.audit import audit
from sweeps.query.listing import open_sweep
from tests.support.paths import REPOSITORY, clean_environment

NOTE = "größer − 🙂 ±1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a sweep of 200 tasks, whose output exceeds a pipe's buffer."""
    path = tmp_path_factory.mktemp("streams")
    storage = f"sqlite:///{path}/kd-sweeps.db"
    create_sweep("s", preset="tiny", changes={"search.trials": 70, "note": NOTE}, storage=storage)
    return path


def shell(folder: Path, line: str, **environment: str) -> tuple[int, str, str]:
    """Run a line of bash in which $KD is kd-sweeps; (exit code, stdout, stderr)."""
    known = {"PYTHONPATH": str(REPOSITORY), "KD": f"{sys.executable} -m sweeps.cli", **environment}
    result = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=clean_environment() | known, capture_output=True, timeout=60
    )
    return result.returncode, result.stdout.decode(), result.stderr.decode()


@pytest.mark.parametrize(
    ("command", "closed", "why"),
    [
        ("status s", ">&-", "Bad file descriptor"),
        ("trials s", ">/dev/full", "No space left on device"),
        ("report --help", ">/dev/full", "No space left on device"),
    ],
)
def test_a_closed_or_full_stdout_is_reported_in_one_line(folder: Path, command: str, closed: str, why: str) -> None:
    code, _, err = shell(folder, f"$KD {command} {closed}")
    lines = [line for line in err.splitlines() if not line.startswith("storage ")]
    message = f"kd-sweeps: cannot write to stdout: {why}; send the output elsewhere, for example > FILE"
    assert (code, lines) == (1, [message])


def test_a_command_without_a_result_runs_without_stdout_and_prints_nothing_into_its_database(folder: Path) -> None:
    assert shell(folder, "$KD pause s <&- >&-")[0] == 0
    with open_sweep(f"sqlite:///{folder}/kd-sweeps.db", "s") as (engine, sweep):
        assert (sweep.state, audit(engine, sweep).violations) == ("paused", [])


def test_in_one_pipe_the_plan_precedes_the_next_command(folder: Path) -> None:
    code, out, _ = shell(folder, "$KD create t --preset tiny 2>&1")
    lines = out.splitlines()
    assert code == 0
    assert lines.index("created: t. Next:") > next(i for i, line in enumerate(lines) if line.startswith("answer "))


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full"])
def test_without_stderr_the_result_is_still_printed(folder: Path, closed: str) -> None:
    code, out, err = shell(folder, f"$KD trials s --field task -f value {closed}")
    assert (code, err) == (0, "")
    assert "search#69" in out.splitlines()


def test_a_reader_that_closes_the_pipe_is_no_failure(folder: Path) -> None:
    code, _, err = shell(folder, "$KD trials s | true; exit ${PIPESTATUS[0]}")
    assert (code, err) == (0, "storage sqlite:///kd-sweeps.db\n")


@pytest.mark.parametrize(
    "encoding",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["ascii", "C"],
)
def test_characters_outside_ascii_are_escaped_in_text_and_in_json(folder: Path, encoding: dict[str, str]) -> None:
    program = folder / "prints.py"
    program.write_text(
        "import sys\n"
        "from sweeps.cli import streams\n"
        "streams.prepare()\n"
        "print('regret +0.33 ± 0.2, α² ≤ 1')\n"
        "print('\"größer 🙂\"', file=sys.stderr)\n",
        encoding="utf-8",
    )
    code, out, err = shell(folder, f"{sys.executable} {program}", **encoding)
    assert (code, out) == (0, "regret +0.33 +/- 0.2, alpha^2 <= 1\n")
    assert err.isascii()
    assert json.loads(err) == "größer 🙂"
    if "LC_ALL" in encoding:
        code, out, _ = shell(folder, "$KD status s", **encoding)
        assert (code, "search " in out) == (0, True)


def test_ctrl_c_while_the_command_line_is_imported_ends_with_130_and_no_traceback(folder: Path) -> None:
    program = folder / "interrupted.py"
    program.write_text(
        "import os, runpy, signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'typer':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "runpy.run_module('sweeps.cli', run_name='__main__')\n"
    )
    assert shell(folder, f"{sys.executable} {program}") == (130, "", "")


EVIL = "w\x1b]0;title\x07\x9b2J\x7f"


def test_control_characters_in_a_sweep_reach_no_terminal_and_stay_valid_json(folder: Path) -> None:
    """Reasons, logs and names of workers may contain any text; every command prints through these streams."""
    lines = ["import json", "from sweeps.cli import streams", "streams.prepare()", f"print({EVIL!r})"]
    lines.append(f"print(json.dumps({EVIL!r}, ensure_ascii=False))")
    (folder / "evil.py").write_text("\n".join(lines))
    code, out, _ = shell(folder, f"{sys.executable} evil.py", PYTHONUTF8="1")
    plain, as_json = out.splitlines()
    assert (code, plain) == (0, "w\\u001b]0;title\\u0007\\u009b2J\\u007f")
    assert all(map(str.isprintable, as_json))
    assert json.loads(as_json) == EVIL
