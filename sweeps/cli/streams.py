"""Stdout and stderr that no text and no reader can break, and the exit code of a command."""

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

# What reports are written with, for terminals that know ASCII only.
_PLAIN = dict(zip("−–—×·’“”", '---x*\'""', strict=True))
_PLAIN |= {"±": "+/-", "…": "...", "→": "->", "≤": "<=", "≥": ">=", "α": "alpha", "²": "^2"}
_END_S = 5.0  # for threads that a command has left to end


class ReaderGone(Exception):
    """The reader of stdout (head, less) has what it wanted and closed it."""


class Unprintable(Exception):
    """Stdout takes nothing. The message is the system's reason, such as "No space left on device"."""


def prepare() -> None:
    """Make the standard streams of this process ready: call it once, before anything is opened or printed.

    A closed stdout is opened for reading only: a command that prints a result then fails with one line, and one that
    prints none works. Left closed, the next file that is opened - the database - would become stdout.
    """
    for number, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # it gets the lowest free number, which is this one
    codecs.register_error(_plainly.__name__, _plainly)
    sys.stdout = _Output(_bytes(sys.stdout, 1), _encoding(sys.stdout), _plainly.__name__, line_buffering=os.isatty(1))
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors=_plainly.__name__)
    else:
        sys.stderr = io.TextIOWrapper(_bytes(None, 2), errors=_plainly.__name__, line_buffering=True)


class _Output(io.TextIOWrapper):
    """Stdout that raises its own errors and escapes control characters.

    Escaped here and not where each text is made, since every text may hold names, reasons and logs of another user's
    archive. JSON stays JSON: the escapes are those of JSON.
    """

    def write(self, text: str) -> int:
        with _told():
            super().write(escape_control_chars(text))
        return len(text)

    def flush(self) -> None:
        with _told():
            super().flush()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Python keeps what it could not write, tries again when it exits, and complains.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            raise ReaderGone from None
        raise Unprintable(error.strerror or str(error)) from None


def _bytes(stream: TextIO | None, number: int) -> io.BufferedWriter:
    # Not detached from the old stream, which stays whole as sys.__stdout__.
    return stream.buffer if stream is not None else open(number, "wb", closefd=False)  # type: ignore[return-value]


def _encoding(stream: TextIO | None) -> str:
    return stream.encoding if stream is not None else "utf-8"


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for the characters that cannot be encoded: in ASCII, and as JSON writes them."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter) or json.dumps(letter)[1:-1] for letter in text), error.end


def run_and_exit(app: typer.Typer) -> NoReturn:
    """Run the command line in sys.argv, and end this process with its exit code."""
    code = 1
    try:
        code = exit_code_of(app)
    finally:
        threading.Thread(target=_end, args=(code,), name="end", daemon=True).start()
    sys.exit(code)


def _end(code: int) -> None:
    """End the process where Python would wait for ever, such as for threads or exit handlers of a user's code."""
    time.sleep(_END_S)
    say("finished; ending the threads that are left")
    os._exit(code)


def exit_code_of(app: typer.Typer) -> int:
    """Run the command line in sys.argv."""
    try:
        code = app(prog_name="kd-sweeps", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        text = error.format_message()
        # With no command at all the message is the whole help, which needs no hint to itself.
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
    """Return what is wrong with the words of a command, and which help to read."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    command = context.command_path if context else "kd-sweeps"
    if isinstance(error, typer.BadParameter) and getattr(parameter, "metavar", None) == "NAME" and not error.message:
        is_new = context is not None and context.info_name in ("run", "create")
        typed = f"{command} mnist-kd" if is_new else f"{command} NAME; to list the names: {local().line('list')}"
        return f"the name of the sweep is missing; type: {typed}"
    return f"{text if text.endswith('?') else text.rstrip('.') + ';'} see: {command} --help"
