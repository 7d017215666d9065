"""Write the commands that messages suggest to type next.

A command names the storage or the service that the user typed; without it, it could mean another sweep of that name.
Answers of a service are read at another terminal, so `for_client` sets how commands are typed there.
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

    program: as typed, for example ".venv/bin/kd-sweeps". storage: its URL without a password, or "" for that of the
    environment. service: URL of the service that was typed instead.
    """

    program: str
    storage: str = ""
    service: str = ""

    def create(self, name: str, *more: str) -> str:
        """Create a sweep, or its missing studies."""
        return self.line("create", name, *more)

    def launch(self, name: str) -> str:
        """Start workers on this machine."""
        return self.line("launch", name)

    def retry(self, name: str) -> str:
        """Queue failed and skipped tasks again."""
        return self.line("retry", name)

    def retry_and_launch(self, name: str) -> str:
        """Queue failed and skipped tasks again, and start workers for them."""
        return f"{self.retry(name)}, then {self.launch(name)}"

    def best(self, name: str) -> str:
        """Print the best point."""
        return self.line("best", name)

    def report(self, name: str) -> str:
        """Print the verdict and the comparison."""
        return self.line("report", name)

    def spec(self, preset: str) -> str:
        """Print a preset as TOML; a redirection may follow its name."""
        return self.line("spec", preset)

    def resume(self, name: str) -> str:
        """Resume a paused or cancelled sweep."""
        return self.line("resume", name)

    def after(self, text: str, next_steps: Iterable[NextStep]) -> str:
        """Return the text followed by the command of each step."""
        return "; ".join([text, *(f"{step.purpose}: {self.line(step.action, step.sweep)}" for step in next_steps)])

    def line(self, command: str, *words: str) -> str:
        """Return any other command, for example line("best", name)."""
        return " ".join(filter(None, [self.program, command, *words, self._place(command)]))

    def _place(self, command: str) -> str:
        if command in WITHOUT_STORAGE:
            return ""
        if self.storage:
            return f"--storage {shlex.quote(self.storage)}"
        if not self.service:
            return ""
        # A client of a service does not know its database, but a user who starts workers does.
        return f"--url {shlex.quote(self.service)}" if command in THROUGH_A_SERVICE else "--storage URL"


PORTABLE = Commands("kd-sweeps")
"""For pages, notes and stored text, which are read on any machine."""


# On a page, a command ends at a comma, a semicolon, a bracket or the end of the text.
_PORTABLE_COMMAND = re.compile(rf"(?<![\w./-]){PORTABLE.program} ([a-z-]+)((?: [^\s,;)]+)*)")

_answered: ContextVar[Commands | None] = ContextVar("_answered", default=None)


def local() -> Commands:
    """Return the commands as typed at this terminal, or by the client of the current request."""
    return _answered.get() or Commands(program(), _typed, _service)


def as_typed(text: str) -> str:
    """Replace the commands in a text of a page by those to type here, with the storage that was typed."""
    return _PORTABLE_COMMAND.sub(lambda match: local().line(match[1], match[2].strip()), text)


@contextmanager
def for_client(reader: Commands) -> Iterator[None]:
    """Write commands inside the block for a reader at another terminal."""
    before = _answered.set(reader)
    try:
        yield
    finally:
        _answered.reset(before)


def use_storage(typed: str) -> None:
    """Make the commands of this process name the storage that was typed, or "" for none."""
    global _typed
    _typed = typed


def use_service(typed: str) -> None:
    """Make the commands of this process name the service that was typed, or "" for none."""
    global _service
    _service = typed


def explain(error: BaseException) -> str:
    """Return the error as one line, followed by the commands that help, as typed here."""
    steps = error.next_steps if isinstance(error, StorageError) else ()
    return local().after(" ".join(str(error).split()), steps)
