"""Functions of child processes, in a module of their own because each process imports it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kd.tools.processes import Report, run_in_subprocess

Function = Callable[[Report], Any]


def ignore_step() -> None:
    pass


def _add(report: Report, first: int, second: int) -> tuple[int, int, int]:
    for number in (signal.SIGTERM, signal.SIGINT):  # as when a whole job or terminal is signalled
        os.kill(os.getpid(), number)
    report(0.5, "half way")
    return first + second, os.getpid(), os.getppid()


def add_in_a_grandchild(report: Report, first: int, second: int) -> object:
    return run_in_subprocess(_add, first, second, on_step=ignore_step, on_report=report)


def raise_error(report: Report) -> None:
    raise ValueError("nine is too many")


def raise_unpicklable(report: Report) -> None:
    raise type("Local", (Exception,), {})("cannot be sent")


def exit_3(report: Report) -> None:
    sys.exit(3)


def kill_itself(report: Report) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def signal_both(report: Report) -> None:
    os.kill(os.getppid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(report: Report, numbers: Path | None) -> None:
    """numbers: a file for the process numbers of this process and its parent."""
    if numbers is not None:
        numbers.write_text(f"{os.getpid()} {os.getppid()}\n")
    time.sleep(600)


def sleep_in_a_grandchild(report: Report, numbers: Path) -> None:
    run_in_subprocess(sleep, numbers, on_step=ignore_step)


def wait_for_a_program(report: Report, numbers: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as program:
        numbers.write_text(f"{os.getpid()} {program.pid}\n")


def print_much(report: Report) -> int:
    for stream in (sys.stdout, sys.stderr):
        print("noise" * 10_000, file=stream, flush=True)
    return 7


def count(report: Report, marks: Path) -> Iterator[int]:
    """Yield two numbers, and leave a mark before each."""
    for number in (1, 2):
        (marks / str(number)).touch()
        yield number
