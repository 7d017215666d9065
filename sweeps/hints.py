"""The commands that messages suggest.

A command includes the storage, or the service, that the reader typed: without it, it would mean another sweep of that
name. Messages of a service are read at another terminal, for which `for_client` sets the form of the commands.
"""

import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from storage.errors import NextStep, StorageError
from sweeps.terminal import program

WITHOUT_STORAGE = ("check-loss", "data", "database", "judge", "spec", "verify")
"""Commands without a storage."""

THROUGH_A_SERVICE = (
    *("worker", "launch", "best", "status", "trials", "report", "compare", "workers", "list", "logs"),
    *("pause", "resume", "cancel", "extend", "retry"),
)
"""Commands that take --url, because a service answers them like a database."""

_typed = ""
_service = ""


@dataclass(frozen=True)
class Commands:
    """The commands of one installation.

    program: its name, for example ".venv/bin/kd-sweeps". storage: the URL to include, without a password; "": none,
    for that of the environment. service: instead, the URL of a service.
    """

    program: str
    storage: str = ""
    service: str = ""

    def retry_and_launch(self, name: str) -> str:
        """Queue failed and skipped tasks again, and start workers for them."""
        return f"{self.line('retry', name)}, then {self.line('launch', name)}"

    def after(self, text: str, next_steps: Iterable[NextStep]) -> str:
        """Return the text, followed by the command of each step."""
        return "; ".join([text, *(f"{step.purpose}: {self.line(step.action, step.sweep)}" for step in next_steps)])

    def line(self, command: str, *words: str) -> str:
        """Return a command, for example line("best", name)."""
        return " ".join(filter(None, [self.program, command, *words, self._place(command)]))

    def _place(self, command: str) -> str:
        if command in WITHOUT_STORAGE:
            return ""
        if self.storage:
            return f"--storage {shlex.quote(self.storage)}"
        if not self.service:
            return ""
        # A client of a service does not know its database; a user who starts workers does.
        return f"--url {shlex.quote(self.service)}" if command in THROUGH_A_SERVICE else "--storage URL"


PORTABLE = Commands("kd-sweeps")
"""For pages, notes and stored text, which are read on any machine."""


# A command in a page, which ends at a comma, semicolon or bracket.
_PORTABLE_COMMAND = re.compile(rf"(?<![\w./-]){PORTABLE.program} ([a-z-]+)((?: [^\s,;)]+)*)")

_answered: ContextVar[Commands | None] = ContextVar("_answered", default=None)


def local() -> Commands:
    """Return the commands as typed at this terminal, or by the client of the current request."""
    return _answered.get() or Commands(program(), _typed, _service)


def as_typed(text: str) -> str:
    """Return a text of a page with its commands in local form, including the typed storage."""
    return _PORTABLE_COMMAND.sub(lambda match: local().line(match[1], match[2].strip()), text)


@contextmanager
def for_client(reader: Commands) -> Iterator[None]:
    """Let commands in messages of the block be for a reader at another terminal."""
    before = _answered.set(reader)
    try:
        yield
    finally:
        _answered.reset(before)


def use_storage(typed: str) -> None:
    """Include the typed storage in this process's commands; "" if none was typed."""
    global _typed
    _typed = typed


def use_service(typed: str) -> None:
    """Include the typed service in this process's commands; "" if none was typed."""
    global _service
    _service = typed


def explain(error: BaseException) -> str:
    """Return the message of an error in one line, followed by its remedies as local commands."""
    steps = error.next_steps if isinstance(error, StorageError) else ()
    return local().after(" ".join(str(error).split()), steps)
