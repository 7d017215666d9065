"""Engine `slurm`: script, queue, members of an array job.

The URL of the storage may contain a password, so it is passed in the environment and never in a script.

A member requeues itself at its time limit, and Slurm requeues it when its node fails; it then is another worker with
another name. A member that died otherwise is replaced by a new job. One call of squeue covers all members.
"""

import logging
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy

from sweeps.errors import SpecError, SweepError
from sweeps.launch import engine, local
from sweeps.terminal import joined, number_of, say
from sweeps.workers.environment import GPU_VARIABLE
from sweeps.workers.logs import LOG_VARIABLE, LogTail, end_of
from sweeps.workers.reach import log_folder, variables

WARNED_S = 60  # seconds between the warning of a member and its time limit

_TEMPLATE = """\
#!/bin/bash
{directives}

# KD_SWEEPS_STORAGE comes from the environment: it may contain a password, which must not be in a file.
member="${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
export {worker_variable}="slurm-$member.${{SLURM_RESTART_COUNT:-0}}-{token}"
export {log_variable}={logs}/slurm-$member.log
{detached}if [ -n "${{SLURM_JOB_GPUS:-}}" ]; then export {gpu_variable}="${{CUDA_VISIBLE_DEVICES:-}}"; fi

# USR1: the time limit is near. TERM: cancelled or preempted. Either way the worker releases its task.
stop() {{ asked=yes; [ -z "$worker" ] || kill -TERM "$worker" 2>/dev/null; }}
asked= worker=
trap stop USR1 TERM
{command} &
worker=$!
[ -z "$asked" ] || kill -TERM "$worker"
wait "$worker"
while kill -0 "$worker" 2>/dev/null; do wait "$worker"; done
wait "$worker"
code=$?

# It released its task and was not cancelled (a cancelled job is COMPLETING): requeue it.
if [ $code -eq 143 ] && [ "$(squeue --noheader --format=%T --jobs="$member")" = RUNNING ]; then
    scontrol requeue "$member"
fi
exit $code
"""

_OURS = (
    "array", "clusters", "error", "export", "export-file", "get-user-env", "help", "input", "no-requeue",
    "open-mode", "output", "parsable", "quiet", "requeue", "signal", "test-only", "usage", "verbose", "version",
    "wait", "wrap",
)  # fmt: skip
_SHORT = {
    "a": "array", "M": "clusters", "e": "error", "h": "help", "i": "input", "o": "output", "Q": "quiet",
    "v": "verbose", "V": "version", "W": "wait",
}  # fmt: skip

# sbatch reads these as options.
FOREIGN = (
    "SBATCH_ARRAY_INX", "SBATCH_CLUSTERS", "SBATCH_ERROR", "SBATCH_EXPORT", "SBATCH_GET_USER_ENV", "SBATCH_INPUT",
    "SBATCH_NO_REQUEUE", "SBATCH_OPEN_MODE", "SBATCH_OUTPUT", "SBATCH_REQUEUE", "SBATCH_SIGNAL", "SBATCH_WAIT",
    "SLURM_CLUSTERS", "SLURM_JOB_GPUS", "SLURM_RESTART_COUNT",
)  # fmt: skip


def check_options(options: Sequence[str]) -> None:
    before = ""
    for word in options:
        if len(word.splitlines()) > 1:  # the rest would be commands of the script
            raise SpecError(f"got {word!r} after --; options of sbatch must not have line breaks")
        if not word.startswith("-"):
            if not before.startswith("-") or "=" in before:
                raise SpecError(
                    f"got {word!r} after --; allowed: options of sbatch, for example -- --partition=main --time=1:00:00"
                )
        elif name := _ours(word):
            raise SpecError(
                f"got {word!r} after --; the launch itself sets --{name}; allowed: other options of sbatch, such as"
                " --partition, --account, --time, --mem, --cpus-per-task and --gres"
            )
        before = word


def _ours(word: str) -> str:
    # sbatch accepts every unambiguous prefix.
    if not word.startswith("--"):
        return _SHORT.get(word[1:2], "")
    typed = word[2:].partition("=")[0]
    return typed if typed in _OURS else next((option for option in _OURS if typed and option.startswith(typed)), "")


def script(
    name: str, slots: Sequence[int], options: Sequence[str], *, logs: Path, token: str, detached: bool = False
) -> str:
    """Write the script of an array job with a worker for each slot.

    options: of sbatch, written into the script so that it can be submitted by hand. logs: folder that every node can
    write. token: makes worker names unique among clusters on one storage. detached: no launch waits.
    """
    directives = [
        f"--job-name=kd-sweeps-{name}",
        "--cpus-per-task=1",
        *_lines(options),
        f"--array={ranges(slots)}",
        "--export=ALL",
        "--requeue",
        "--open-mode=append",
        f"--signal=B:USR1@{WARNED_S}",
        f"--output={_quoted(str(logs).replace('%', '%%') + '/slurm-%A_%a.log')}",
    ]
    # -P: nothing is imported from the current folder, such as a random.py of the user
    command = shlex.join([sys.executable, "-P", "-m", "sweeps.cli", "worker", name])
    return _TEMPLATE.format(
        directives="\n".join(f"#SBATCH {directive}" for directive in directives),
        worker_variable=local.WORKER_VARIABLE,
        log_variable=LOG_VARIABLE,
        gpu_variable=GPU_VARIABLE,
        token=token,
        logs=shlex.quote(str(logs)),
        detached=f"export {engine.DETACHED_VARIABLE}=yes\n" if detached else "",
        command=command,
    )


def ranges(numbers: Sequence[int]) -> str:
    """Format numbers for sbatch and scancel: "0-3,7"."""
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _lines(options: Sequence[str]) -> list[str]:
    lines: list[str] = []
    for word in options:
        if word.startswith("-"):
            lines.append(_quoted(word))
        else:
            lines[-1] += f" {_quoted(word)}"
    return lines


def _quoted(word: str) -> str:
    # sbatch interprets quotes and backslashes, and # starts a comment.
    plain = all(letter.isalnum() or letter in "-_=:,./%@+[]*&()" for letter in word)
    return word if plain else '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


log = logging.getLogger(__name__)

PROGRAMS = ("sbatch", "squeue", "scancel")
LOOK_EVERY_S = 2.0
_TIMEOUT_S = 60.0  # of one of Slurm's programs: a busy controller is slow
_NO_ANSWER = "no answer"
_COLUMNS = ("ArrayJobID", "ArrayTaskID", "State", "RestartCnt", "exit_code", "Reason")
_ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
    "TIMEOUT",
}  # fmt: skip
_WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"}

Member = tuple[int, int]
"""Number of the array job, index in it."""


@dataclass(frozen=True)
class Job:
    """The state of a member in Slurm. restarts: how often it was requeued. code: negative for a signal."""

    state: str
    restarts: int = 0
    code: int = 0
    reason: str = ""

    @property
    def ended(self) -> bool:
        return self.state in _ENDED

    @property
    def waiting(self) -> bool:
        return self.state in _WAITING


@dataclass
class SlurmQueue:
    _jobs: dict[Member, Job] = field(default_factory=dict)
    _arrays: list[int] = field(default_factory=list)
    _looked_at: float = float("-inf")
    _to_cancel: set[Member] = field(default_factory=set)

    def submit(self, script: str, slots: Sequence[int], options: Sequence[str], variables: Mapping[str, str]) -> int:
        """Submit an array and return its number. slots: its indices, as in the script.

        options: of sbatch; on the command line they override the environment.
        """
        check_programs()
        environment = {name: value for name, value in os.environ.items() if name not in FOREIGN} | dict(variables)
        done = _run(["sbatch", "--parsable", *options], script, environment)
        match = re.match(r"(\d+)(;|$)", done.stdout.strip())
        if done.returncode or not match:
            raise SweepError(f"sbatch refused the workers: {_one_line(done.stderr or done.stdout)}")
        array = int(match[1])
        self._arrays.append(array)
        # Pending until Slurm answers: a controller that does not answer has lost no member.
        self._jobs |= {(array, slot): Job("PENDING") for slot in slots}
        self._looked_at = float("-inf")
        return array

    def look(self, member: Member) -> Job | None:
        self._cancel()
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._look()
            self._looked_at = time.monotonic()
        return self._jobs.get(member)

    def cancel(self, member: Member) -> None:
        """Cancel a member at the next look, in one call with all others; it gets SIGTERM."""
        self._to_cancel.add(member)

    def kill(self, member: Member) -> None:
        job = self._jobs.get(member)
        at_once = [] if job is None or job.waiting else ["--signal=KILL", "--full"]
        _scancel(*at_once, f"{member[0]}_{member[1]}")
        self._looked_at = float("-inf")

    def _look(self) -> None:
        arguments = ["--noheader", "--array", "--states=all", f"--jobs={','.join(map(str, self._arrays))}"]
        done = _run(["squeue", *arguments, f"--Format={','.join(f'{name}:|' for name in _COLUMNS)}"])
        forgotten = "Invalid job id" in done.stderr
        if done.returncode and not forgotten:  # its controller is unreachable: the last states hold until it is back
            log.warning("squeue: %s", _one_line(done.stderr))
            return
        self._jobs = {} if forgotten else dict(filter(None, map(_read, done.stdout.splitlines())))
        # An array that Slurm has forgotten is not queried again.
        known = {array for array, _ in self._jobs}
        self._arrays = [array for array in self._arrays if array in known] or self._arrays[-1:]

    def _cancel(self) -> None:
        if not self._to_cancel:
            return
        wanted, self._to_cancel = self._to_cancel, set()  # a signal handler may add more at any moment
        slots: dict[int, list[int]] = defaultdict(list)
        for array, slot in wanted:
            slots[array].append(slot)
        _scancel(*(f"{array}_[{ranges(indices)}]" for array, indices in slots.items()))
        self._looked_at = float("-inf")


def check_programs() -> None:
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise SweepError(
            f"--on slurm needs {joined(missing)}, not found in PATH; use a machine that can submit Slurm jobs"
        )


def _read(line: str) -> tuple[Member, Job] | None:
    array, slot, state, restarts, code, reason = line.split("|")[: len(_COLUMNS)]
    if not slot.isdecimal():
        return None
    left, _, number = code.partition(":")
    ended = -int(number or 0) or int(left or 0)
    if state in _ENDED and state != "COMPLETED" and not ended:
        ended = -15 if state == "CANCELLED" else 1
    return (int(array), int(slot)), Job(state, int(restarts or 0), ended, reason)


def _scancel(*arguments: str) -> None:
    done = _run(["scancel", "--quiet", *arguments])
    # It also complains of members that have ended, which does not matter.
    if done.returncode and ("contact" in done.stderr or _NO_ANSWER in done.stderr):
        say(f"Slurm did not cancel: {_one_line(done.stderr)}; when it answers again: scancel {' '.join(arguments)}")


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
            timeout=_TIMEOUT_S,
            check=False,
            start_new_session=True,  # on Ctrl-C the launch cancels the members
            umask=0o077,  # inherited by the jobs, so that no other user can read their logs
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"{_NO_ANSWER} within {_TIMEOUT_S:.0f} s")
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def _one_line(text: str) -> str:
    lines = [re.sub(r"^\w+: (error: )?", "", line.strip()) for line in text.splitlines()]
    return "; ".join(line for line in lines if line) or "it printed nothing"


_REQUEUED = 128 + signal.SIGTERM  # exit code of a member that is requeued


@dataclass(eq=False)
class SlurmMember:
    """One run of a member; after a requeue it is another worker.

    slot: its index in the array. restarts: how often it was requeued before.
    """

    slot: int
    array: int
    restarts: int
    token: str
    logs: Path
    queue: SlurmQueue
    replacement: "SlurmMember | None" = None
    _code: int | None = None
    _started: float | None = None  # monotonic seconds
    _word: str = ""  # Slurm's state at its end
    _unwanted: bool = False

    @property
    def worker(self) -> str:
        return f"slurm-{self.array}_{self.slot}.{self.restarts}-{self.token}"

    @property
    def log_place(self) -> str:
        return str(self._log_file)

    @property
    def _log_file(self) -> Path:
        return self.logs / f"slurm-{self.array}_{self.slot}.log"

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs or waits for a node."""
        if self._code is None:
            self._see(self.queue.look((self.array, self.slot)))
        return self._code

    @property
    def lived_s(self) -> float:
        return 0.0 if self._started is None else time.monotonic() - self._started

    def _see(self, job: Job | None) -> None:
        if job is not None and job.restarts > self.restarts:
            self._code, self._word = _REQUEUED, "requeued"
            self.replacement = SlurmMember(self.slot, self.array, job.restarts, self.token, self.logs, self.queue)
        elif job is None or job.ended:
            # A cancelled member ends with 0, even if it started at that moment.
            self._code = 0 if self._unwanted else -int(signal.SIGTERM) if job is None else job.code
            self._word = "no longer in the queue" if job is None else job.state
        elif not job.waiting and self._started is None:
            self._started = time.monotonic()

    def send(self, number: int) -> None:
        """Cancel it: for any signal it gets SIGTERM, releases its task and is not requeued."""
        self._unwanted = True
        self.queue.cancel((self.array, self.slot))

    def wake(self) -> None:
        """Do nothing: it listens itself."""

    def kill(self) -> None:
        self.queue.kill((self.array, self.slot))

    def end_children(self) -> None:
        """Do nothing: Slurm ends the processes of a member."""

    def last_lines(self, count: int) -> list[str]:
        """Return the end of its output, then Slurm's state if Slurm ended it."""
        lines = local.log_tail(end_of(self._log_file), self._code, count)
        own = [f"Slurm says: {self._word}"] if self._word not in ("", "COMPLETED", "FAILED") else []
        return [*lines, *own][-count:]

    def stored_log(self, url: sqlalchemy.URL | None) -> str | None:
        return LogTail(self._log_file, url).read()


@dataclass(frozen=True)
class SlurmEngine:
    request: engine.Request
    stop_s: float = 30.0  # Slurm's default between SIGTERM and SIGKILL
    _queue: SlurmQueue = field(default_factory=SlurmQueue)
    _token: str = field(default_factory=lambda: secrets.token_hex(2))

    def __post_init__(self) -> None:
        check_options(self.request.options)

    def start(self, slots: Sequence[int], first: int) -> list[SlurmMember]:
        array = self._submit(slots, detached=False)
        say(f"submitted {number_of(len(slots), 'worker')} as Slurm job {array}")
        return [SlurmMember(slot, array, 0, self._token, self._logs, self._queue) for slot in slots]

    def detach(self, slots: Sequence[int]) -> int:
        return self._submit(slots, detached=True)

    def script(self, slots: Sequence[int], *, detached: bool = True) -> str:
        return script(
            self.request.sweep, slots, self.request.options, logs=self._logs, token=self._token, detached=detached
        )

    @property
    def _logs(self) -> Path:
        return log_folder(self.request.url, self.request.sweep)

    def _submit(self, slots: Sequence[int], *, detached: bool) -> int:
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SweepError(
                f"cannot write logs into {self._logs}: {error.strerror}; name a folder that every node can write:"
                " export XDG_STATE_HOME=DIR"
            ) from None
        script = self.script(slots, detached=detached)
        return self._queue.submit(script, slots, self.request.options, variables(self.request.url))
