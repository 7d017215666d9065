"""Child processes: real ones, killed for real."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kd.errors import SubprocessFailed, SubprocessKilled
from kd.tools.processes import Report, run_in_subprocess
from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.processes


def _add(report: Report, first: int, second: int) -> tuple[int, int]:
    report(0.5, "half way")
    return first + second, os.getpid()


def _raise(report: Report) -> None:
    raise ValueError("nine is too many")


def _raise_unpicklable(report: Report) -> None:
    raise type("Local", (Exception,), {})("cannot be sent")


def _add_in_a_grandchild(report: Report, first: int, second: int) -> object:
    return run_in_subprocess(_add, first, second, on_step=_go_on, on_report=report)


def _sleep_in_a_grandchild(report: Report, path: Path) -> None:
    run_in_subprocess(_sleep, path, on_step=_go_on)


def _exit(report: Report) -> None:
    sys.exit(3)


def _kill_itself(report: Report) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _sleep(report: Report, path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(600)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie still has a number; it does nothing any more.
    status = Path(f"/proc/{pid}/status")
    return "zombie" not in status.read_text() if status.exists() else True


def _wait_for(path: Path) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if path.exists() and path.read_text():
            return int(path.read_text())
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


def _gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _alive(pid)


def _go_on() -> None:
    pass


def test_the_result_comes_from_another_process_and_reports_arrive() -> None:
    heard: list[tuple[float, str]] = []
    total, pid = run_in_subprocess(_add, 2, 3, on_step=_go_on, on_report=lambda part, text: heard.append((part, text)))
    assert total == 5
    assert pid != os.getpid()
    assert heard == [(0.5, "half way")]


def test_a_child_may_have_a_child_of_its_own() -> None:
    heard: list[tuple[float, str]] = []
    total, _ = run_in_subprocess(
        _add_in_a_grandchild, 2, 3, on_step=_go_on, on_report=lambda part, text: heard.append((part, text))
    )
    assert total == 5
    assert heard == [(0.5, "half way")]


def test_what_the_function_raises_comes_through_with_the_childs_traceback() -> None:
    with pytest.raises(ValueError, match="nine is too many") as error:
        run_in_subprocess(_raise, on_step=_go_on)
    assert "in _raise" in "".join(error.value.__notes__)


def test_an_exception_that_cannot_be_sent_is_still_told() -> None:
    with pytest.raises(SubprocessFailed, match="cannot be sent"):
        run_in_subprocess(_raise_unpicklable, on_step=_go_on)


def test_a_function_that_exits_is_told_from_a_child_that_died() -> None:
    with pytest.raises(SubprocessFailed, match=r"sys.exit\(3\) was called in the child process"):
        run_in_subprocess(_exit, on_step=_go_on)


def test_a_killed_child_is_an_error_of_its_own_because_memory_may_be_why() -> None:
    with pytest.raises(SubprocessKilled, match="memory"):
        run_in_subprocess(_kill_itself, on_step=_go_on)


def test_a_child_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    with pytest.raises(SubprocessFailed, match="stopped after 2 s"):
        run_in_subprocess(_sleep, tmp_path / "pid", on_step=_go_on, seconds=2)
    assert _gone(_wait_for(tmp_path / "pid"))


def _outlive_signals(report: Report) -> str:
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
    return "here"


def test_a_child_leaves_signals_to_its_parent_which_gets_them_too() -> None:
    assert run_in_subprocess(_outlive_signals, on_step=_go_on) == "here"


def _signal_both(report: Report) -> None:
    os.kill(os.getppid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_parent_that_was_asked_to_stop_does_not_blame_the_death_of_its_child() -> None:
    asked: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))

    def stop() -> None:
        if asked:
            raise InterruptedError

    try:
        with pytest.raises(InterruptedError):
            run_in_subprocess(_signal_both, on_step=stop)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_on_step_raises_ends_the_child(tmp_path: Path) -> None:
    def stop_once_it_runs() -> None:
        if (tmp_path / "pid").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_subprocess(_sleep, tmp_path / "pid", on_step=stop_once_it_runs)
    assert _gone(_wait_for(tmp_path / "pid"))


def test_a_child_that_is_frozen_before_it_has_read_its_job_is_ended_all_the_same() -> None:
    frozen: list[int] = []

    def freeze_then_stop() -> None:
        if frozen:
            raise KeyboardInterrupt
        (child,) = multiprocessing.active_children()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        frozen.append(child.pid)

    with pytest.raises(KeyboardInterrupt):
        run_in_subprocess(len, bytes(10_000_000), on_step=freeze_then_stop)
    assert _gone(frozen[0])


@pytest.mark.parametrize("job", ["_sleep", "_sleep_in_a_grandchild"])
def test_a_child_does_not_outlive_a_parent_killed_with_kill_9(job: str, tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(
        "import sys, pathlib\n"
        "from kd.tools.processes import run_in_subprocess\n"
        "from tests.processes.kd.test_subprocesses import _sleep, _sleep_in_a_grandchild\n"
        "if __name__ == '__main__':\n"
        f"    run_in_subprocess({job}, pathlib.Path(sys.argv[1]), on_step=lambda: None)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    parent = subprocess.Popen([sys.executable, str(program), str(tmp_path / "pid")], env=environment)
    child = _wait_for(tmp_path / "pid")
    assert _alive(child)
    parent.kill()
    parent.wait()
    assert _gone(child)
