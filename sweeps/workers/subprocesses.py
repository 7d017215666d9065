"""One function in a child process of its own: it can use its own thread count, be killed, and never outlives us.

TensorFlow cannot change its number of threads or be stopped once it runs, so teachers and AutoKeras train here.
"""

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from sweeps.errors import ChildFailed, ChildKilled

_POLL_S = 0.25

Report = Callable[[float, str], None]
"""Called with the fraction done, in [0, 1], and a few words."""


def run_in_subprocess(
    function: Callable[..., Any],
    *arguments: Any,
    on_step: Callable[[], None],
    on_report: Report | None = None,
    seconds: float | None = None,
) -> Any:
    """function(report, *arguments) in a fresh process, and what it returns.

    Args:
        function: importable by name; its first argument is a Report.
        on_step: called a few times per second; what it raises ends the child and comes through.
        on_report: called here with what the child reports.
        seconds: wall-clock limit; the child is killed after it.

    Raises:
        ChildKilled: it was killed.
        ChildFailed: it died otherwise, ran out of time, or its result could not be sent.
        Exception: whatever the function raised, with the child's traceback as a note.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_main, args=(theirs, function, arguments), daemon=True)
    process.start()
    theirs.close()
    deadline = None if seconds is None else time.monotonic() + seconds
    try:
        while True:
            on_step()
            if deadline is not None and time.monotonic() > deadline:
                raise ChildFailed(f"stopped after {seconds:.0f} s without a result")
            if not ours.poll(_POLL_S):
                continue
            try:
                kind, value = ours.recv()
            except EOFError:
                process.join()
                raise _death(process.exitcode) from None
            if kind == "report" and on_report is not None:
                on_report(*value)
            elif kind == "error":
                raise value
            elif kind == "result":
                return value
    finally:
        process.kill()
        process.join()
        ours.close()


def _death(code: int | None) -> ChildFailed:
    if code == -signal.SIGKILL:
        return ChildKilled("the child process was killed; the system does that when memory runs out")
    how = f"of signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
    return ChildFailed(f"the child process died {how}")


def _main(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_die_with_parent, daemon=True).start()

    def report(fraction: float, text: str) -> None:
        pipe.send(("report", (fraction, text)))

    try:
        message: tuple[str, Any] = ("result", function(report, *arguments))
    except Exception as error:
        error.add_note(traceback.format_exc())
        message = ("error", error)
    try:
        pipe.send(message)
    except Exception as error:  # an exception that cannot be pickled must still be told
        pipe.send(("error", ChildFailed(f"{message[1]!r} could not be sent: {error}")))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])  # readable as soon as the parent is gone, kill -9 included
    os._exit(1)
