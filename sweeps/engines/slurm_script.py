"""Write the batch script of an array of workers, and check the options that are passed on to sbatch.

The URL of the storage stands in no script: it comes with the environment, since it may hold a password.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from sweeps.engines.local import WORKER_VARIABLE
from sweeps.errors import SpecError
from sweeps.workers.environment import GPU_VARIABLE
from sweeps.workers.logs import LOG_VARIABLE

DETACHED_VARIABLE = "KD_SWEEPS_DETACHED"  # in the environment of a worker that no launch waits for

WARNED_S = 60  # a member is told so many seconds before its time is up

_TEMPLATE = """\
#!/bin/bash
{directives}

# KD_SWEEPS_STORAGE comes with the environment: it may hold a password, which is no matter for a file.
member="${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
export {worker_variable}="slurm-$member.${{SLURM_RESTART_COUNT:-0}}-{token}"
export {log_variable}={logs}/slurm-$member.log
{detached}if [ -n "${{SLURM_JOB_GPUS:-}}" ]; then export {gpu_variable}="${{CUDA_VISIBLE_DEVICES:-}}"; fi

# USR1: its time is up. TERM: it was cancelled, or makes room for another job. Either way its task is given back.
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

# It gave its task back, and Slurm did not cancel it (then it is COMPLETING): it comes again.
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

# sbatch reads these as if they had been typed.
FOREIGN = (
    "SBATCH_ARRAY_INX", "SBATCH_CLUSTERS", "SBATCH_ERROR", "SBATCH_EXPORT", "SBATCH_GET_USER_ENV", "SBATCH_INPUT",
    "SBATCH_NO_REQUEUE", "SBATCH_OPEN_MODE", "SBATCH_OUTPUT", "SBATCH_REQUEUE", "SBATCH_SIGNAL", "SBATCH_WAIT",
    "SLURM_CLUSTERS", "SLURM_JOB_GPUS", "SLURM_RESTART_COUNT",
)  # fmt: skip


def check_options(options: Sequence[str]) -> None:
    """Check what was typed after "--" for sbatch.

    Raises:
        SpecError: an option is one that a launch sets itself, or a word is none.
    """
    before = ""
    for word in options:
        if len(word.splitlines()) > 1:  # in the script the rest would be commands
            raise SpecError(f"got {word!r} after --, which has a line break; sbatch takes none")
        if not word.startswith("-"):
            if not before.startswith("-") or "=" in before:
                raise SpecError(
                    f"got {word!r} after --; allowed: options of sbatch, for example -- --partition=main --time=1:00:00"
                )
        elif name := _ours(word):
            raise SpecError(
                f"got {word!r} after --; --{name} is for the launch itself; allowed are the other options of sbatch,"
                " such as --partition, --account, --time, --mem, --cpus-per-task and --gres"
            )
        before = word


def _ours(word: str) -> str:
    """Return the option's name if we set it ourselves. sbatch takes every beginning that means one option alone."""
    if not word.startswith("--"):
        return _SHORT.get(word[1:2], "")
    typed = word[2:].partition("=")[0]
    return typed if typed in _OURS else next((one for one in _OURS if typed and one.startswith(typed)), "")


def script(
    name: str, seats: Sequence[int], options: Sequence[str], *, logs: Path, token: str, detached: bool = False
) -> str:
    """Return the script of an array job with a worker for each seat.

    Args:
        name: of the sweep.
        options: of sbatch; they stand in the script, so that it can be submitted by hand.
        logs: folder that every node sees.
        token: tells its workers from those of another cluster that works on the same storage.
        detached: no launch waits for them.
    """
    given = [
        f"--job-name=kd-sweeps-{name}",
        "--cpus-per-task=1",
        *_lines(options),
        f"--array={ranges(seats)}",
        "--export=ALL",
        "--requeue",
        "--open-mode=append",
        f"--signal=B:USR1@{WARNED_S}",
        f"--output={_quoted(str(logs).replace('%', '%%') + '/slurm-%A_%a.log')}",
    ]
    # -P: what lies in the current folder is not imported, such as somebody's random.py
    command = shlex.join([sys.executable, "-P", "-m", "sweeps.cli", "worker", name])
    return _TEMPLATE.format(
        directives="\n".join(f"#SBATCH {one}" for one in given),
        worker_variable=WORKER_VARIABLE,
        log_variable=LOG_VARIABLE,
        gpu_variable=GPU_VARIABLE,
        token=token,
        logs=shlex.quote(str(logs)),
        detached=f"export {DETACHED_VARIABLE}=yes\n" if detached else "",
        command=command,
    )


def ranges(numbers: Sequence[int]) -> str:
    """Return numbers as sbatch and scancel take them: "0-3,7"."""
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _lines(options: Sequence[str]) -> list[str]:
    """Return the options, each with its value in one line."""
    lines: list[str] = []
    for word in options:
        if word.startswith("-"):
            lines.append(_quoted(word))
        else:
            lines[-1] += f" {_quoted(word)}"
    return lines


def _quoted(word: str) -> str:
    """Return a word as sbatch reads it in a script: it knows quotes and backslashes, and # begins a comment."""
    plain = all(letter.isalnum() or letter in "-_=:,./%@+[]*&()" for letter in word)
    return word if plain else '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
