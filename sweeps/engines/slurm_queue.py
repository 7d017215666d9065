"""Speak with Slurm: submit an array, look at all members in one call, cancel some of them."""

import logging
import os
import re
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sweeps.engines.slurm_script import FOREIGN, ranges
from sweeps.errors import SweepError
from sweeps.terminal import say

log = logging.getLogger(__name__)

PROGRAMS = ("sbatch", "squeue", "scancel")
LOOK_EVERY_S = 2.0
_PATIENCE_S = 60.0  # for one of Slurm's programs: a busy controller takes a while
_NO_ANSWER = "no answer"
_COLUMNS = ("ArrayJobID", "ArrayTaskID", "State", "RestartCnt", "exit_code", "Reason")
_ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
    "TIMEOUT",
}  # fmt: skip
_WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"}

Member = tuple[int, int]
"""Number of the array job, and index in it."""


@dataclass(frozen=True)
class Job:
    """What Slurm says of a member. restarts: how often it was requeued. code: negative for a signal."""

    state: str
    restarts: int = 0
    code: int = 0
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether it does not run again by itself."""
        return self.state in _ENDED

    @property
    def waiting(self) -> bool:
        """Whether it has no machine yet."""
        return self.state in _WAITING


@dataclass
class SlurmQueue:
    """The members that one launch has submitted, as Slurm knew them a moment ago."""

    _jobs: dict[Member, Job] = field(default_factory=dict)
    _arrays: list[int] = field(default_factory=list)
    _looked_at: float = float("-inf")
    _to_cancel: set[Member] = field(default_factory=set)

    def submit(self, script: str, seats: Sequence[int], options: Sequence[str], variables: Mapping[str, str]) -> int:
        """Submit an array and return its number.

        Args:
            seats: its indices, as they stand in the script.
            options: of sbatch; typed, they count more than what the environment says.
            variables: for the environment of the jobs.

        Raises:
            SweepError: there is no Slurm here, or it refuses.
        """
        check_programs()
        environment = {name: value for name, value in os.environ.items() if name not in FOREIGN} | dict(variables)
        done = _run(["sbatch", "--parsable", *options], script, environment)
        found = re.match(r"(\d+)(;|$)", done.stdout.strip())
        if done.returncode or not found:
            raise SweepError(f"sbatch refused the workers: {_said(done.stderr or done.stdout)}")
        array = int(found[1])
        self._arrays.append(array)
        # Until Slurm answers: a controller that is away just now has forgotten nobody.
        self._jobs |= {(array, seat): Job("PENDING") for seat in seats}
        self._looked_at = float("-inf")
        return array

    def look(self, member: Member) -> Job | None:
        """Return what Slurm says of a member; None: it has forgotten it."""
        self._cancel()
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._look()
            self._looked_at = time.monotonic()
        return self._jobs.get(member)

    def cancel(self, member: Member) -> None:
        """Have a member cancelled at the next look, with all others of which that is asked: it gets SIGTERM."""
        self._to_cancel.add(member)

    def kill(self, member: Member) -> None:
        """End a member at once."""
        job = self._jobs.get(member)
        at_once = [] if job is None or job.waiting else ["--signal=KILL", "--full"]
        _scancel(*at_once, f"{member[0]}_{member[1]}")
        self._looked_at = float("-inf")

    def _look(self) -> None:
        arguments = ["--noheader", "--array", "--states=all", f"--jobs={','.join(map(str, self._arrays))}"]
        done = _run(["squeue", *arguments, f"--Format={','.join(f'{name}:|' for name in _COLUMNS)}"])
        forgotten = "Invalid job id" in done.stderr
        if done.returncode and not forgotten:  # its controller is away: what it said last holds until it is back
            log.warning("squeue: %s", _said(done.stderr))
            return
        self._jobs = {} if forgotten else dict(filter(None, map(_read, done.stdout.splitlines())))
        # Of an array that is forgotten nothing is asked again.
        self._arrays = [one for one in self._arrays if any(array == one for array, _ in self._jobs)] or self._arrays[
            -1:
        ]

    def _cancel(self) -> None:
        if not self._to_cancel:
            return
        wanted, self._to_cancel = self._to_cancel, set()  # a signal may ask for more at any moment
        seats: dict[int, list[int]] = defaultdict(list)
        for array, seat in wanted:
            seats[array].append(seat)
        _scancel(*(f"{array}_[{ranges(found)}]" for array, found in seats.items()))
        self._looked_at = float("-inf")


def check_programs() -> None:
    """Raise SweepError if Slurm's programs are not here."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise SweepError(
            f"--on slurm needs {' and '.join(missing)}, not found in PATH; type it on a machine that submits Slurm jobs"
        )


def _read(line: str) -> tuple[Member, Job] | None:
    array, seat, state, restarts, code, reason = line.split("|")[: len(_COLUMNS)]
    if not seat.isdecimal():
        return None
    left, _, number = code.partition(":")
    ended = -int(number or 0) or int(left or 0)
    if state in _ENDED and state != "COMPLETED" and not ended:
        ended = -15 if state == "CANCELLED" else 1
    return (int(array), int(seat)), Job(state, int(restarts or 0), ended, reason)


def _scancel(*arguments: str) -> None:
    done = _run(["scancel", "--quiet", *arguments])
    # Of members that have ended it complains, too; that is no news.
    if done.returncode and ("contact" in done.stderr or _NO_ANSWER in done.stderr):
        say(f"Slurm cancelled nothing: {_said(done.stderr)}; once it answers, type: scancel {' '.join(arguments)}")


def _run(
    command: Sequence[str], text: str | None = None, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
            start_new_session=True,  # Ctrl-C is for the launch, which cancels the members then
            umask=0o077,  # of the jobs, too: nobody else reads their logs
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"{_NO_ANSWER} within {_PATIENCE_S:.0f} s")
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def _said(text: str) -> str:
    """Return what one of Slurm's programs printed, in one line."""
    lines = [re.sub(r"^\w+: (error: )?", "", line.strip()) for line in text.splitlines()]
    return "; ".join(line for line in lines if line) or "it said nothing"
