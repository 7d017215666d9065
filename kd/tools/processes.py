"""Run a function in a child process that can be killed, with its own temporary folder and output that never fails.

TensorFlow can neither change its number of threads nor be stopped once it runs, and its int8 converter can crash the
whole process. Teachers and AutoKeras are therefore trained, and models converted, in child processes. TensorFlow writes
a file for each function that it compiles, and removes it only when its process ends by itself; ours are killed. What a
user's function prints goes into the log of its worker, and a log is no reason to lose a training.
"""

import atexit
import contextlib
import ctypes
import fcntl
import io
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, TextIO

from kd.errors import NotHere, SubprocessFailed, SubprocessKilled

PREFIX = "kd-sweeps-tmp-"
NEW_PREFIX = "kd-sweeps-new-"  # until its lock is held
YOUNG_S = 60.0  # so long a new folder may still be about to get its lock
_POLL_S = 0.25
_PR_SET_PDEATHSIG = 1  # of prctl(2)


class _Dropping(io.FileIO):
    """An open file that takes everything; what it has no room for is gone."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return len(memoryview(data).cast("B"))


def unfailing(number: int, *, close: bool = False) -> TextIO:
    """Return a stream to the file with this descriptor. close: the stream closes it when it is closed."""
    file = _Dropping(number, "wb", closefd=close)
    return io.TextIOWrapper(io.BufferedWriter(file), encoding="utf-8", errors="backslashreplace", line_buffering=True)


@contextmanager
def forgiving() -> Iterator[None]:
    """Let whatever is printed in the block go to descriptors 1 and 2 without ever failing."""
    before = sys.stdout, sys.stderr
    sys.stdout.flush()
    sys.stderr.flush()
    sys.stdout, sys.stderr = unfailing(1), unfailing(2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def silence() -> None:
    """Let what a user's code, or a library in C, writes to descriptors 1 and 2 of this process go nowhere."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(nothing, output)


@contextmanager
def made() -> Iterator[Path]:
    """Make a folder below the present one for temporary files; remove it at the end, and those of killed processes.

    Raises:
        NotHere: no folder of this machine takes temporary files.
    """
    try:
        base = Path(tempfile.gettempdir())
        remove_left_over()
        new = Path(tempfile.mkdtemp(prefix=NEW_PREFIX, dir=base))
    except OSError as error:  # full, or read-only; Python has tried every folder that it knows
        why = error.strerror or str(error)
        raise NotHere(f"cannot write temporary files: {why}; free space there, or export TMPDIR=DIR") from error
    # Held until this process ends, however it does. Not its number: in another container, that is another process.
    lock = os.open(new, os.O_RDONLY)
    _try_to_lock(lock)
    folder = new.rename(base / new.name.replace(NEW_PREFIX, PREFIX, 1))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextmanager
def used(folder: Path) -> Iterator[None]:
    """Let this process, and those that it starts, put temporary files into a folder."""
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before[0]
        if before[1] is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before[1]


def remove_left_over() -> None:
    """Remove the folders below the present one whose process is gone: their locks are free."""
    try:
        base = Path(tempfile.gettempdir())
    except OSError:  # all of them are full: who needs one says so
        return
    for folder in (*base.glob(f"{PREFIX}*"), *base.glob(f"{NEW_PREFIX}*")):
        with contextlib.suppress(OSError):  # another user's; or another process removes it at this moment
            if folder.name.startswith(NEW_PREFIX) and time.time() - folder.stat().st_mtime < YOUNG_S:
                continue
            lock = os.open(folder, os.O_RDONLY)
            try:
                if _try_to_lock(lock):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _try_to_lock(number: int) -> bool:
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held by its process; or a file system without locks, where nothing is taken for left over
        return False
    return True


Report = Callable[..., None]
"""Sends its arguments to the parent process. A training sends the fraction done, in [0, 1], and a few words."""


def run_in_subprocess(
    function: Callable[..., Any],
    *arguments: Any,
    on_step: Callable[[], None],
    on_report: Report | None = None,
    seconds: float | None = None,
) -> Any:
    """Run function(report, *arguments) in a new Python process and return its result.

    The function, its arguments, its reports and its result are pickled. What the child leaves among the temporary files
    is removed.

    Args:
        function: importable by name; its first argument is a Report.
        on_step: called a few times per second; an exception that it raises ends the child and is passed on.
        on_report: called here with the arguments of each report of the child, in order.
        seconds: wall-clock limit, after which the child is killed; None is no limit.

    Raises:
        SubprocessKilled: the child was killed.
        SubprocessFailed: the child died otherwise or ran out of time, or its result cannot be pickled.
        Exception: what the function raised, with the child's traceback as a note.
    """
    with started(function, *arguments) as child:
        return child.result(on_step=on_step, on_report=on_report, seconds=seconds)


@dataclass
class Child:
    """A function at work in a process of its own; see `started`."""

    process: SpawnProcess
    _messages: Connection
    _requests: Connection
    _results: int = 0

    def result(
        self, *, on_step: Callable[[], None], on_report: Report | None = None, seconds: float | None = None
    ) -> Any:
        """Return its next result; a generator has one for each value that it yields, and goes on when it is asked for.

        Arguments and errors as of `run_in_subprocess`.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        if self._results:
            with contextlib.suppress(OSError):  # it died, as the end of its messages tells
                self._requests.send_bytes(b"")
        while True:
            on_step()
            if deadline is not None and time.monotonic() > deadline:
                raise SubprocessFailed(f"stopped after {seconds:.0f} s without a result")
            if not self._messages.poll(_POLL_S):
                continue
            try:
                kind, value = self._messages.recv()
            except EOFError:
                self.process.join()
                on_step()  # a signal may have been for both of us
                raise _death(self.process.exitcode) from None
            if kind == "report" and on_report is not None:
                on_report(*value)
            elif kind == "error":
                raise value
            elif kind == "result":
                self._results += 1
                return value


@contextmanager
def started(function: Callable[..., Any], *arguments: Any, group: bool = False) -> Iterator[Child]:
    """Run function(report, *arguments) in a new Python process, which is killed at the end of the block.

    group: with all that it has started, for which it leads a process group of its own. Else it stays in that of its
    parent, which a launch kills as a whole.
    """
    context = multiprocessing.get_context("spawn")
    job = pickle.dumps((function, arguments))
    with made() as folder:
        ours, theirs = context.Pipe(duplex=False)
        their_job, our_job = context.Pipe(duplex=False)
        process = context.Process(target=_main, args=(theirs, their_job, folder, group))
        process.start()
        theirs.close()
        their_job.close()
        # In a thread: a pipe holds 64 KiB, and a child that is frozen at its start reads none of it.
        handing = threading.Thread(target=_hand_over, args=(our_job, job), daemon=True)
        handing.start()

        def kill() -> None:
            if group:
                with contextlib.suppress(ProcessLookupError, PermissionError):  # it leads none yet, or none is left
                    os.killpg(process.pid or 0, signal.SIGKILL)
            process.kill()

        atexit.register(kill)  # a process that exits waits for its children, and this one waits for it
        try:
            yield Child(process, ours, our_job)
        finally:
            kill()
            atexit.unregister(kill)
            process.join()
            handing.join(1.0)  # it writes to that pipe, whose number would else become another file's
            ours.close()
            if not handing.is_alive():
                our_job.close()


def _death(code: int | None) -> SubprocessFailed:
    if code == -signal.SIGKILL:
        return SubprocessKilled("the child process was killed; the system does that when memory runs out")
    how = f"of signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
    return SubprocessFailed(f"the child process died {how}")


def _hand_over(pipe: Connection, job: bytes) -> None:
    with contextlib.suppress(OSError):  # the child died, of which its parent is told
        pipe.send_bytes(job)


def _main(pipe: Connection, job: Connection, folder: Path, group: bool) -> None:
    # Who signals a whole job or terminal reaches the parent, too, which ends this process once it has said why.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if group:
        os.setpgid(0, 0)
        _die_with_parent()
    threading.Thread(target=_end_with_parent, args=(group,), daemon=True).start()
    sending = threading.Lock()  # several threads of a function may report

    def report(*values: Any) -> None:
        with sending:
            pipe.send(("report", values))

    with used(folder), forgiving(), contextlib.suppress(EOFError), job:  # the end of the requests: none will come
        results = _results(report, job)
        while True:
            message = _next(results)
            try:
                pipe.send(message)
            except Exception as error:  # what cannot be pickled is described instead
                pipe.send(("error", SubprocessFailed(f"{message[1]!r} could not be sent: {error}")))
            job.recv_bytes()


def _results(report: Report, job: Connection) -> Iterator[Any]:
    function, arguments = pickle.loads(job.recv_bytes())
    result = function(report, *arguments)
    if isinstance(result, Generator):
        yield from result
    else:
        yield result


def _next(results: Iterator[Any]) -> tuple[str, Any]:
    try:
        return "result", next(results)
    except StopIteration:
        return "error", SubprocessFailed("the child process has no further result")
    except Exception as error:
        error.add_note(traceback.format_exc())
        return "error", error
    except SystemExit as error:
        return "error", SubprocessFailed(f"sys.exit({error.code!r}) was called in the child process")


def _end_with_parent(group: bool) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])  # returns when the parent is gone, after a kill -9 too
    if group:
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _die_with_parent() -> None:
    """Let Linux end this process with its parent: in compiled code it may hold the lock that its threads need."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
