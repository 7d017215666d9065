"""Run a user's training that is a program: without a shell, with bounded output, and one JSON object as its result."""

import contextlib
import json
import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kd.errors import NotHere, SubprocessKilled
from kd.tools import code
from kd.tools.processes import Report
from storage import json_text
from sweeps.custom.results import TEST, VALIDATION, Request, Result, result_of, scored
from sweeps.errors import SpecError, TrainingFailed
from sweeps.terminal import truncated

PLACEHOLDERS = ("seed", "dataset", "role", "arm", "test", "folder", "out")
"""Names that a command may have in braces besides its parameters."""

PREFIX = "KD_SWEEPS_"
MOST_LOGGED = 1 << 20  # bytes from the start of a call's output; of the rest only the end is logged
MOST_RESULT = 1 << 20  # bytes of JSON
MOST_CODE = 16 << 20  # bytes of a file of code, which is hashed before every task: a larger file is data
_SECRETS = ("KD_SWEEPS_STORAGE", "OPTUNA_STORAGE", "KD_SWEEPS_TOKEN", "KD_SWEEPS_TOKENS")
_CHUNK = 1 << 16
_POLL_S = 0.1
_STEP_EVERY_S = 0.5
_INTERPRETER = re.compile(r"python[\d.]*|bash|sh|Rscript|julia|perl")
_SCRIPT = re.compile(r"[^-{][^{]*\.\w+")
_BRACES = re.compile(r"\{([A-Za-z_]\w*)\}")
_NAN = re.compile(rb":\s*[+-]?(nan|inf|infinity)\b(?=\s*[,}])", re.IGNORECASE)  # as C, awk and R print it
_OPERATORS = ("|", ">", ">>", "2>", "2>&1", "&>", "&&", "||")  # as whole words: a program would get them as arguments
_CURE = 'print as last line, or write to {out}, one JSON object such as {"validation": 0.93}'


def placeholders(command: str) -> list[str]:
    """Return the names in braces in a command."""
    return [name for word in shlex.split(command) for name in _BRACES.findall(word)]


def filled(words: Iterable[str], values: Mapping[str, str]) -> list[str]:
    """Return the words of a frozen command with the values of its placeholders, and its files as they are here.

    Each value stays within its word.
    """
    return [_here(word, values, is_program=not place) for place, word in enumerate(words)]


def frozen(key: str, command: str) -> str:
    """Return a command with absolute paths of its files; raise SpecError if it cannot start here."""
    words = shlex.split(command)
    if not words:
        raise SpecError(f"{key}: got {command!r}; give a program and its arguments")
    first = words[0]
    if shutil.which(os.path.expanduser(first)) is None:
        if os.sep not in first and os.access(first, os.X_OK) and Path(first).is_file():
            raise SpecError(f"{key}: {first!r} is no program on PATH; a file of this folder is written ./{first}")
        if Path(first).expanduser().is_file():
            raise SpecError(f"{key}: {first} is not executable; type: chmod +x {first}")
        meant = f"did you mean {sys.executable}?" if first == "python" else "give one on PATH, or a file as ./train.sh"
        raise SpecError(f"{key}: there is no program {first!r} on this machine; {meant}")
    if fault := _script_fault(shutil.which(os.path.expanduser(first))):
        raise SpecError(f"{key}: {fault}")
    script = words[1] if len(words) > 1 else ""
    runs_script = _INTERPRETER.fullmatch(os.path.basename(first)) and _SCRIPT.fullmatch(script)
    if runs_script and not _is_file(script, is_program=False):
        raise SpecError(f"{key}: there is no file {script}, which {first} should run; give its path")
    for word in words:
        if word in _OPERATORS:
            raise SpecError(
                f"{key}: got {word!r}, but no shell runs the command; put it into a script, or type: sh -c '...'"
            )
    return shlex.join([_absolute(word) if _is_file(word, is_program=not at) else word for at, word in enumerate(words)])


def _script_fault(program: str | None) -> str:
    """Return why the system would not start a script that is here and executable; "" if it would."""
    try:
        with open(program or "", "rb") as file:
            first, is_text = file.readline(_CHUNK), b"\0" not in file.read(_CHUNK)
    except OSError:  # missing, or only to be executed
        return ""
    if not is_text or b"\0" in first:
        return ""
    if not first.startswith(b"#!"):
        return f"{program} cannot be started; is its first line #!/bin/sh?"
    if first.endswith(b"\r\n"):
        return f"{program} has Windows line ends; type: sed -i 's/\\r$//' {program}"
    interpreter = os.fsdecode(first[2:]).split()[:1]
    if interpreter and not os.path.isfile(interpreter[0]):
        return f"{program} needs {interpreter[0]}, as its first line says, which is not on this machine"
    return ""


def scripts(command: str) -> list[Path]:
    """Return the files in a frozen command that are here and not too large for code."""
    named = [Path(word) for place, word in enumerate(shlex.split(command)) if _is_file(word, is_program=not place)]
    return [path for path in named if path.is_absolute() and _is_code(code.located(path))]


def _is_file(word: str, *, is_program: bool) -> bool:
    # A program without a path is the machine's, and "adam" is an option, even if a file here has that name.
    if os.sep not in word and (is_program or "." not in word):
        return False
    try:
        return code.located(Path(word)).is_file()
    except (OSError, RuntimeError):  # too long for a path, or the home of an unknown user
        return False


def _here(word: str, values: Mapping[str, str], *, is_program: bool) -> str:
    if os.path.isabs(word) and _is_file(word, is_program=is_program):  # braces in its path are no placeholders
        return str(code.located(Path(word)))
    return _BRACES.sub(lambda match: values[match[1]], word)


def _is_code(path: Path) -> bool:
    if path.stat().st_size > MOST_CODE:
        return False
    with path.open("rb") as file:  # a binary, such as Python itself, differs between machines
        return b"\0" not in file.read(_CHUNK)


def _absolute(word: str) -> str:
    return str(Path(os.path.normpath(Path(word).expanduser().absolute())))


def work(report: Report, request: Request) -> Iterator[Result | float]:
    """Run the program and yield its result; when asked for more, run the test's program and yield the score.

    Both run in the process group of this child process, which is killed with it.
    """
    began = time.perf_counter(), _cpu_s()
    values = _called(report, request, request.train, test=False)
    train_s, cpu_s = time.perf_counter() - began[0], _cpu_s() - began[1]
    yield result_of(program(request.train), values, request.bounds, train_s=train_s, cpu_s=cpu_s)
    name, values = program(request.test), _called(report, request, request.test, test=True)
    if TEST not in values:
        raise TrainingFailed(f'{name} gave no "{TEST}" when called for the test; print {{"{TEST}": 0.9}}')
    yield scored(name, values[TEST], request.bounds)


def _called(report: Report, request: Request, command: str, *, test: bool) -> Mapping[str, Any]:
    out = Path(tempfile.mkdtemp()) / "result.json"
    flag = "1" if test else "0"
    own = {"seed": str(request.seed), "dataset": request.dataset, "role": request.role, "arm": request.arm}
    own |= {"test": flag, "folder": request.folder, "out": str(out)}
    point = dict(request.point)
    texts = {name: value if isinstance(value, str) else repr(value) for name, value in point.items()}
    environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    environment |= {f"{PREFIX}{name.upper()}": value for name, value in own.items()}
    environment |= {f"{PREFIX}POINT": json.dumps(point)}
    ending, output = _run(report, filled(shlex.split(command), texts | own), environment)
    name = program(command)
    if ending == -signal.SIGKILL:
        raise SubprocessKilled(f"{name} was killed; the system does that when memory runs out")
    if ending:
        how = f"died of signal {-ending}" if ending < 0 else f"ended with exit code {ending}"
        raise TrainingFailed(f"{name} {how}; its last line: {output.last_line()}")
    values = _read(name, out) or output.result(name)
    if values is None:
        raise TrainingFailed(f"{name} gave no result; {_CURE}; its last line: {output.last_line()}")
    return values


def _run(report: Report, words: list[str], environment: Mapping[str, str]) -> tuple[int, "_Output"]:
    """Run a program to its end; return its exit code and output. Each output counts as a step."""
    output, reported_at = _Output(), 0.0
    try:
        process = _start(words, environment)
    except FileNotFoundError as error:
        fault = _script_fault(words[0]) or f"there is no program {words[0]!r} on this machine"
        raise NotHere(fault) from error
    except PermissionError as error:
        raise NotHere(f"{words[0]} is not executable here; type: chmod +x {words[0]}") from error
    except OSError as error:
        raise TrainingFailed(f"{words[0]} cannot be started: {error.strerror}; is its first line #!/bin/sh?") from error
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as pipes:
        for pipe in (process.stdout, process.stderr):
            pipes.register(pipe, selectors.EVENT_READ, pipe is process.stdout)
        ended = False
        while pipes.get_map():
            ready = pipes.select(0 if ended else _POLL_S)
            for key, _ in ready:
                data = os.read(key.fd, _CHUNK)
                output.take(data, is_result=key.data)
                if not data:
                    pipes.unregister(key.fileobj)
            if ready and time.monotonic() - reported_at > _STEP_EVERY_S:
                reported_at = time.monotonic()
                report(None, "", ())
            if ended and not ready:  # background processes keep the pipes open, and are killed with this process
                break
            ended = ended or process.poll() is not None
    output.close()
    return process.wait(), output


def _start(words: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # Children inherit ignored signals, and a program must stop at a signal as it does elsewhere.
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return subprocess.Popen(
            words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Output:
    """The output of a program: logs its beginning and end, and keeps the end of stdout for the result."""

    def __init__(self) -> None:
        self._logged, self._left_out = 0, 0
        self._end, self._result = bytearray(), bytearray()

    def take(self, data: bytes, *, is_result: bool) -> None:
        """Take a piece of output. is_result: whether it is from stdout."""
        if is_result:
            self._result += data
            del self._result[: -2 * MOST_RESULT]
        room = max(MOST_LOGGED - self._logged, 0)
        self._log(data[:room])
        self._logged += len(data)
        self._left_out += len(data[room:])
        self._end += data
        del self._end[:-_CHUNK]

    def close(self) -> None:
        """Log the end of an output that was too long."""
        if self._left_out:
            self._log(f"\n[{self._left_out:,} bytes are left out of this log; their end:]\n".encode())
            self._log(bytes(self._end[-min(self._left_out, _CHUNK) :]))

    def last_line(self) -> str:
        """Return the last line of either stream, shortened."""
        lines = [line for line in self._end.decode(errors="replace").splitlines() if line.strip()]
        return truncated(" ".join(lines[-1].split()) if lines else "(no output)", 200)

    def result(self, name: str) -> Mapping[str, Any] | None:
        """Return the last line of stdout that is a JSON object, or None."""
        for line in reversed(self._result.splitlines()):
            if not line.lstrip().startswith(b"{") or len(line) > MOST_RESULT:
                continue
            if (values := _object(line)) is not None:
                return values
            if any(f'"{key}"'.encode() in line for key in (VALIDATION, TEST)):  # an earlier epoch must not count
                raise _no_json(name, line)
        return None

    def _log(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk below the log must not end a training
            while data:
                data = data[os.write(1, data) :]


def _read(name: str, path: Path) -> Mapping[str, Any] | None:
    """Return the object in the result file; None if the file is missing or empty."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_RESULT + 1)
    except OSError:
        return None
    if data.strip() and (len(data) > MOST_RESULT or _object(data) is None):
        raise _no_json(name, data)
    return _object(data)


def _no_json(name: str, data: bytes | bytearray) -> TrainingFailed:
    text = " ".join(data[:200].decode(errors="replace").split())
    return TrainingFailed(f"{name} gave a result that is not a JSON object: {text[:100]}; {_CURE}")


def _object(data: bytes | bytearray) -> Mapping[str, Any] | None:
    try:
        values = json_text.parse(_NAN.sub(b": NaN", data).decode())
    except (ValueError, UnicodeDecodeError):
        return None
    return values if isinstance(values, Mapping) else None


def program(command: str) -> str:
    """Return the name of a command for messages: its program, and the script that an interpreter runs."""
    words = [os.path.basename(word) for word in shlex.split(command)[:2]]
    return words[0] if len(words) < 2 or words[1].startswith("-") or "{" in words[1] else " ".join(words)


def _cpu_s() -> float:
    times = os.times()
    return times.children_user + times.children_system
