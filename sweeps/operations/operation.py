"""`Operation`: a query or command; `LocalClient` runs it on a storage; answers as JSON.

Numbers that JSON lacks, such as the NaN of a diverged training, are the strings "NaN", "Infinity" and "-Infinity".
"""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Protocol, TypeVar

import sqlalchemy
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from storage import json_text
from storage.db.engine import opened_engine
from storage.tables import SweepRecord
from storage.url import masked
from sweeps.errors import SweepError
from sweeps.extensions import attribute
from sweeps.query.listing import open_sweep


class Args(BaseModel):
    """Arguments of an operation: options of a command, query or body of a request, keywords of a method."""

    model_config = ConfigDict(frozen=True, extra="forbid")


A = TypeVar("A", bound=Args)
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Operation(Generic[A, R]):
    """A query or command.

    args: its arguments. body: those of a command that are sent in the body of a request, if any. answer: the type of
    its answer, or "module:name" of it; with rows, of one row. changes: whether it is a command, for operators alone.
    path: of the API, with the name of the sweep. run: runs it on a storage.
    """

    name: str
    summary: str
    args: type[A]
    answer: Any
    path: str
    run: Callable[["LocalClient", A], R]
    body: type[Args] | None = None
    rows: bool = False
    changes: bool = False

    @property
    def kind(self) -> Any:
        return attribute(self.answer) if isinstance(self.answer, str) else self.answer


class Client(Protocol):
    """Runs queries and commands: a storage, or a service.

    It raises SpecError for an invalid name of a sweep, and errors of `storage.errors` and `sweeps.errors`. Queries
    change nothing.
    """

    @property
    def label(self) -> str:
        """Its name for display, without a password: "storage sqlite:///kd-sweeps.db"."""

    def ask(self, operation: Operation[A, R], args: A) -> R: ...

    def log(self, name: str, key: str, *, attempt: int | None = None, lines: int | None = None) -> list[str]:
        """Return the log of a task; see `sweeps.usecases.logs.about_task`."""

    def follow(self, name: str, key: str, *, attempt: int | None = None, lines: int | None = None) -> Iterator[str]:
        """Yield the log of one attempt until it has ended."""


class LocalClient:
    """A `Client` of a storage, which each operation opens and closes. url: from `storage.url.resolve`."""

    def __init__(self, url: sqlalchemy.URL) -> None:
        self.url = url

    @property
    def label(self) -> str:
        return f"storage {masked(self.url)}"

    def open(self, name: str) -> AbstractContextManager[tuple[sqlalchemy.Engine, SweepRecord]]:
        return open_sweep(self.url, name)

    def engine(self) -> AbstractContextManager[sqlalchemy.Engine]:
        return opened_engine(self.url)

    def ask(self, operation: Operation[A, R], args: A) -> R:
        return operation.run(self, args)

    def log(self, name: str, key: str, *, attempt: int | None = None, lines: int | None = None) -> list[str]:
        from sweeps.usecases import logs

        return logs.about_task(self.open, name, key, attempt=attempt, lines=lines)

    def follow(self, name: str, key: str, *, attempt: int | None = None, lines: int | None = None) -> Iterator[str]:
        from sweeps.usecases import logs

        return logs.follow(self.open, name, key, attempt=attempt, lines=lines)


def plain(kind: Any, value: Any) -> Any:
    """Return a value as plain JSON values: the one form of an answer, in `-f json`, over HTTP and in Python.

    kind: its type, a dataclass, pydantic model, or a list of them.
    """
    # Without unset fields, so that a decoded model encodes to the same.
    return _sendable(_adapter(kind).dump_python(value, mode="json", exclude_unset=True))


def encode(kind: Any, value: Any) -> bytes:
    """Return a value as JSON; arguments as for `plain`."""
    return json.dumps(plain(kind, value), ensure_ascii=False, separators=(",", ":")).encode()


def decode(kind: Any, text: bytes) -> Any:
    """Return the value that `encode` wrote; raise SweepError if it is invalid. Unknown fields are ignored."""
    try:
        return _adapter(kind).validate_python(json_text.parse(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SweepError(f"{where}: {first['msg']}") from None
    except ValueError as error:
        raise SweepError(f"no JSON: {error}") from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _sendable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()  # lone surrogates, as on stdout
    if isinstance(value, dict):
        return {key: _sendable(inner) for key, inner in value.items()}
    return [_sendable(inner) for inner in value] if isinstance(value, (list, tuple)) else value
