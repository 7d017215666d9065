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
from kd.tools.processes import run_in_subprocess, started
from tests.processes.kd import children
from tests.support.paths import REPOSITORY
from tests.support.processes import is_alive, wait_until_gone
from tests.support.sweeps.small_sweeps import wait_until


def the_child() -> int:
    (child,) = multiprocessing.active_children()
    assert child.pid is not None
    return child.pid


def test_a_grandchild_returns_its_result_and_reports_and_ignores_signals() -> None:
    reports: list[tuple[float, str]] = []
    total, pid, parent = run_in_subprocess(
        children.add_in_a_grandchild,
        2,
        3,
        on_step=children.ignore_step,
        on_report=lambda part, text: reports.append((part, text)),
    )
    assert total == 5
    assert len({pid, parent, os.getpid()}) == 3
    assert reports == [(0.5, "half way")]


def test_an_exception_of_the_function_arrives_with_the_childs_traceback() -> None:
    with pytest.raises(ValueError, match="nine is too many") as error:
        run_in_subprocess(children.raise_error, on_step=children.ignore_step)
    assert "in raise_error" in "".join(error.value.__notes__)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (children.raise_unpicklable, SubprocessFailed, "cannot be sent"),
        (children.exit_3, SubprocessFailed, r"sys.exit\(3\) was called in the child process"),
        (children.kill_itself, SubprocessKilled, "memory"),  # the usual cause
    ],
)
def test_a_child_without_an_answer_is_an_error_with_the_reason(
    function: children.Function, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        run_in_subprocess(function, on_step=children.ignore_step)
    assert type(caught.value) is error


def test_a_child_that_takes_too_long_is_killed() -> None:
    started: set[int] = set()
    with pytest.raises(SubprocessFailed, match="stopped after 0 s"):
        run_in_subprocess(children.sleep, None, on_step=lambda: started.add(the_child()), seconds=0.3)
    (child,) = started
    wait_until_gone(child)


def test_a_stopping_parent_does_not_report_the_death_of_its_child() -> None:
    stops: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: stops.append(number))

    def stop() -> None:
        if stops:
            raise InterruptedError

    try:
        with pytest.raises(InterruptedError):
            run_in_subprocess(children.signal_both, on_step=stop)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_exception_of_on_step_ends_a_child_even_if_frozen_before_it_reads_its_job() -> None:
    frozen: list[int] = []

    def freeze_then_stop() -> None:
        if frozen:
            raise KeyboardInterrupt
        frozen.append(the_child())
        os.kill(frozen[0], signal.SIGSTOP)

    with pytest.raises(KeyboardInterrupt):
        run_in_subprocess(len, bytes(10_000_000), on_step=freeze_then_stop)
    wait_until_gone(frozen[0])


_WAITS = """
import sys
from pathlib import Path
from kd.tools.processes import started
from tests.processes.kd import children

if __name__ == "__main__":
    with started(getattr(children, sys.argv[1]), Path(sys.argv[2]), group=sys.argv[1] == "wait_for_a_program") as child:
        child.result(on_step=children.ignore_step)
"""


@pytest.mark.parametrize("function", ["sleep_in_a_grandchild", "wait_for_a_program"])
def test_no_descendant_outlives_a_parent_killed_with_kill_9(tmp_path: Path, function: str) -> None:
    program, numbers = tmp_path / "parent.py", tmp_path / "numbers"
    program.write_text(_WAITS)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    parent = subprocess.Popen([sys.executable, str(program), function, str(numbers)], env=environment)
    wait_until(lambda: numbers.exists() and numbers.read_text().endswith("\n"), "no child sleeps", 30)
    sleeping = [int(number) for number in numbers.read_text().split()]
    assert all(map(is_alive, sleeping))
    parent.kill()
    parent.wait()
    wait_until_gone(*sleeping)


def test_a_generator_resumes_at_the_next_request(tmp_path: Path) -> None:
    with started(children.count, tmp_path) as child:
        assert child.result(on_step=children.ignore_step) == 1
        time.sleep(0.3)
        assert [path.name for path in tmp_path.iterdir()] == ["1"]
        assert child.result(on_step=children.ignore_step) == 2
        with pytest.raises(SubprocessFailed, match="the child process has no further result"):
            child.result(on_step=children.ignore_step)


_EXITS = """
import sys
from pathlib import Path
from kd.tools.processes import started
from tests.processes.kd import children

child = started(children.count, Path(sys.argv[1]), group=True)
print(child.__enter__().result(on_step=children.ignore_step), flush=True)
sys.exit(0)
"""


def test_a_process_can_exit_while_its_child_awaits_a_request(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _EXITS, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (0, "1\n"), result.stderr
