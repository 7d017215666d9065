"""Run a function in a child process that can be killed, with its own temporary folder and output that never fails.

TensorFlow can neither change its number of threads nor be stopped once it runs, and its int8 converter can crash the
whole process. So teachers and AutoKeras train, and models are converted, in child processes. TensorFlow writes a file
for each function that it compiles, and does not remove it when its process is killed. The output of a user's function
goes to the log of its worker, and a full disk below a log must not end a training.
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
import subprocess
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
YOUNG_S = 60.0  # a newer folder may be about to get its lock
_POLL_S = 0.25
_PR_SET_PDEATHSIG = 1  # of prctl(2)


class _Dropping(io.FileIO):
    """An open file that drops output instead of failing."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return len(memoryview(data).cast("B"))


def unfailing(number: int, *, close: bool = False) -> TextIO:
    """Return a stream to a file descriptor that never fails. close: whether closing the stream closes the file."""
    file = _Dropping(number, "wb", closefd=close)
    return io.TextIOWrapper(io.BufferedWriter(file), encoding="utf-8", errors="backslashreplace", line_buffering=True)


@contextmanager
def forgiving() -> Iterator[None]:
    """Let prints in the block go to descriptors 1 and 2 without failing."""
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
    """Discard what a user's code, or a library in C, writes to descriptors 1 and 2 of this process."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(nothing, output)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder below the present one for temporary files; remove it at the end, and folders of killed processes.

    Raises:
        NotHere: temporary files cannot be written anywhere on this machine.
    """
    try:
        base = Path(tempfile.gettempdir())
        remove_left_over()
        new = Path(tempfile.mkdtemp(prefix=NEW_PREFIX, dir=base))
    except OSError as error:  # full, or read-only; Python has tried all its folders
        why = error.strerror or str(error)
        raise NotHere(f"cannot write temporary files: {why}; free space there, or export TMPDIR=DIR") from error
    # Held until this process ends, even if killed. A process id would not do: another container has the same ids.
    lock = os.open(new, os.O_RDONLY)
    _try_to_lock(lock)
    folder = new.rename(base / new.name.replace(NEW_PREFIX, PREFIX, 1))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextmanager
def set_tempdir(folder: Path) -> Iterator[None]:
    """Let this process and its children put temporary files into a folder."""
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
    except OSError:  # all are full: making one will raise
        return
    for folder in (*base.glob(f"{PREFIX}*"), *base.glob(f"{NEW_PREFIX}*")):
        with contextlib.suppress(OSError):  # another user's, or another process is removing it
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
    except OSError:  # held by its process; or a file system without locks, where no folder counts as left over
        return False
    return True


Report = Callable[..., None]
"""Sends its arguments to the parent process. A training sends the fraction done, in [0, 1], and a short text."""


def run_in_subprocess(
    function: Callable[..., Any],
    *arguments: Any,
    on_step: Callable[[], None],
    on_report: Report | None = None,
    seconds: float | None = None,
) -> Any:
    """Run function(report, *arguments) in a new Python process and return its result.

    The function, its arguments, its reports and its result are pickled. The child's temporary files are removed.

    Args:
        function: importable by name; its first argument is a Report.
        on_step: called a few times per second; an exception from it ends the child and propagates.
        on_report: called in this process with the arguments of each report of the child, in order.
        seconds: wall-clock limit, after which the child is killed; None is no limit.

    Raises:
        SubprocessKilled: the child was killed.
        SubprocessFailed: the child died otherwise or ran out of time, or its result cannot be pickled.
        Exception: raised by the function, with the child's traceback as a note.
    """
    with started(function, *arguments) as child:
        return child.result(on_step=on_step, on_report=on_report, seconds=seconds)


@dataclass
class Child:
    """A function running in a child process; see `started`."""

    process: SpawnProcess
    _messages: Connection
    _requests: Connection
    _results: int = 0

    def result(
        self, *, on_step: Callable[[], None], on_report: Report | None = None, seconds: float | None = None
    ) -> Any:
        """Return its next result; a generator has one for each value it yields, and continues when asked for the next.

        Arguments and errors: as for `run_in_subprocess`.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        if self._results:
            with contextlib.suppress(OSError):  # it died, as the end of its messages will show
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
                on_step()  # a signal may have hit both processes
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

    group: whether it leads its own process group, so that its children are killed with it. Else it stays in the group
    of its parent, which a launch kills as a whole.
    """
    context = multiprocessing.get_context("spawn")
    job = pickle.dumps((function, arguments))
    with temporary_folder() as folder:
        ours, theirs = context.Pipe(duplex=False)
        their_job, our_job = context.Pipe(duplex=False)
        process = context.Process(target=_main, args=(theirs, their_job, folder, group))
        process.start()
        theirs.close()
        their_job.close()
        # In a thread: a pipe holds 64 KiB, and a child that hangs at its start reads none of it.
        handing = threading.Thread(target=_hand_over, args=(our_job, job), daemon=True)
        handing.start()

        def kill() -> None:
            if group:
                with contextlib.suppress(ProcessLookupError, PermissionError):  # no group yet, or no process left
                    os.killpg(process.pid or 0, signal.SIGKILL)
            process.kill()

        atexit.register(kill)  # an exiting process waits for its children, and the child waits for it
        try:
            with _killed_with_this_process(process.pid or 0) if group else contextlib.nullcontext():
                yield Child(process, ours, our_job)
        finally:
            kill()
            atexit.unregister(kill)
            process.join()
            handing.join(1.0)  # it writes to this descriptor, which another file must not get meanwhile
            ours.close()
            if not handing.is_alive():
                our_job.close()


@contextmanager
def _killed_with_this_process(group: int) -> Iterator[None]:
    """Let a shell kill a process group when this process dies within the block.

    The leader of the group cannot: Linux kills it in the same moment, and the programs that it started would go on.
    """
    command = ["/bin/sh", "-c", f"read line; kill -s KILL -- -{group}"]  # read ends when no process can write
    silent = subprocess.DEVNULL
    with subprocess.Popen(  # in a session of its own: a launch kills the group of this process
        command, stdin=subprocess.PIPE, stdout=silent, stderr=silent, start_new_session=True
    ) as shell:
        try:
            yield
        finally:
            shell.kill()


def _death(code: int | None) -> SubprocessFailed:
    if code == -signal.SIGKILL:
        return SubprocessKilled("the child process was killed; the system does that when memory runs out")
    how = f"of signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
    return SubprocessFailed(f"the child process died {how}")


def _hand_over(pipe: Connection, job: bytes) -> None:
    with contextlib.suppress(OSError):  # the child died, which the parent notices
        pipe.send_bytes(job)


def _main(pipe: Connection, job: Connection, folder: Path, group: bool) -> None:
    # A signal to a whole job or terminal reaches the parent, too, which ends this process after reporting why.
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

    with set_tempdir(folder), forgiving(), contextlib.suppress(EOFError), job:  # EOF: the parent wants no more results
        results = _results(report, job)
        while True:
            message = _next(results)
            try:
                pipe.send(message)
            except Exception as error:  # it cannot be pickled: describe it instead
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
    """Let Linux kill this process with its parent: compiled code may hold the lock that its watching thread needs."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
