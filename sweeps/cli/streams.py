"""Make stdout and stderr robust against any text and any reader; turn errors into exit codes."""

import codecs
import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, TextIO

import typer

from kd.errors import KdError
from storage.errors import StorageError, UrlError
from sweeps.errors import MissingExtra, NoResultsYet, SpecError, SweepError
from sweeps.hints import explain, local
from sweeps.terminal import escape_control_chars, say

# Replacements for the characters of reports, on terminals that only know ASCII.
_PLAIN = dict(zip("−–—×·’“”", '---x*\'""', strict=True))
_PLAIN |= {"±": "+/-", "…": "...", "→": "->", "≤": "<=", "≥": ">=", "α": "alpha", "²": "^2"}
_END_S = 5.0  # grace for threads that outlive their command


class ReaderGone(Exception):
    """The reader of stdout, such as head, has closed it."""


class Unprintable(Exception):
    """Stdout cannot be written; the message is the system's, such as "No space left on device"."""


def prepare() -> None:
    """Set up the standard streams of this process; call once, before anything is opened or printed.

    Open a closed stdout for reading only: commands that print a result then fail with one line, others work. If it
    stayed closed, the next file opened, the database, would become stdout.
    """
    for number, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # gets the lowest free number, which is this one
    codecs.register_error(_to_ascii.__name__, _to_ascii)
    encoding = getattr(sys.stdout, "encoding", "utf-8")  # stdout is None where it was closed
    sys.stdout = _Output(_bytes(sys.stdout, 1), encoding, _to_ascii.__name__, line_buffering=os.isatty(1))
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors=_to_ascii.__name__)
    else:
        sys.stderr = io.TextIOWrapper(_bytes(None, 2), errors=_to_ascii.__name__, line_buffering=True)


class _Output(io.TextIOWrapper):
    """Stdout that raises its own errors and escapes control characters.

    Escape here, not where each text is made: any text may contain names, reasons or logs of another user's archive.
    JSON stays valid, because the escapes are JSON's.
    """

    def write(self, text: str) -> int:
        with _stdout_errors():
            super().write(escape_control_chars(text))
        return len(text)

    def flush(self) -> None:
        with _stdout_errors():
            super().flush()


@contextmanager
def _stdout_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Python would keep the unwritten text, retry at exit, and print an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            raise ReaderGone from None
        raise Unprintable(error.strerror or str(error)) from None


def _bytes(stream: TextIO | None, number: int) -> io.BufferedWriter:
    # Do not detach it from the old stream, which is still sys.__stdout__.
    return stream.buffer if stream is not None else open(number, "wb", closefd=False)  # type: ignore[return-value]


def _to_ascii(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that cannot be encoded by ASCII ones, or else by JSON escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter) or json.dumps(letter)[1:-1] for letter in text), error.end


def run_and_exit(app: typer.Typer) -> NoReturn:
    """Run the command line of sys.argv and exit with its code."""
    code = 1
    try:
        code = exit_code_of(app)
    finally:
        threading.Thread(target=_end, args=(code,), name="end", daemon=True).start()
    sys.exit(code)


def _end(code: int) -> None:
    """Exit although threads or exit handlers of a user's code never end."""
    time.sleep(_END_S)
    say("finished; ending the threads that are left")
    os._exit(code)


def exit_code_of(app: typer.Typer) -> int:
    """Run the command line of sys.argv and return its exit code."""
    try:
        code = app(prog_name="kd-sweeps", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        text = error.format_message()
        # Without a command the message is the whole help, which does not need a hint to itself.
        say(text if "\n" in text else f"kd-sweeps: {_usage(error, text)}")
        return error.exit_code
    except (MissingExtra, SpecError, UrlError) as error:
        say(f"kd-sweeps: {explain(error)}")
        return 2
    except NoResultsYet as error:
        say(f"kd-sweeps: {explain(error)}")
        return 3
    except (SweepError, StorageError, KdError) as error:
        say(f"kd-sweeps: {explain(error)}")
        return 1
    except ReaderGone:
        return 0
    except Unprintable as error:
        say(f"kd-sweeps: cannot write to stdout: {error}; send the output elsewhere, for example > FILE")
        return 1
    except typer.Abort:
        return 130
    return code or 0


def _usage(error: typer.TyperException, text: str) -> str:
    """Return a usage error with the help or command to type next."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    command = context.command_path if context else "kd-sweeps"
    if isinstance(error, typer.BadParameter) and getattr(parameter, "metavar", None) == "NAME" and not error.message:
        is_new = context is not None and context.info_name in ("run", "create")
        typed = f"{command} mnist-kd" if is_new else f"{command} NAME; to list the names: {local().line('list')}"
        return f"the name of the sweep is missing; type: {typed}"
    wrong = getattr(error.__cause__, "errors", None)  # of pydantic, which leaves out the value
    if wrong is not None and (given := repr(wrong()[0]["input"])) not in text:
        text = f"{text}: got {given}"
    return f"{text if text.endswith('?') else text.rstrip('.') + ';'} see: {command} --help"
