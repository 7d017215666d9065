"""`HttpBackend`: the queue of a sweep for a worker without a database, through a service.

Every request is idempotent or names its attempt, so one without an answer is sent again: after a network failure, a
restart of the service, or an error of a proxy before it.
"""

import contextlib
import hashlib
import http.client
import os
import platform
import tempfile
import threading
import time
import urllib.error
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import sqlalchemy

from storage.db.transaction import RESULT_RETRY_FOR_S, RETRY_FOR_S, retry_transient
from storage.errors import NotAStorage, SweepNotFound, Unreachable
from storage.queue.notify import Listener
from storage.queue.tasks import Ending
from storage.queue.workers import Seen
from storage.records.queries import Outlook
from storage.tables import TaskRecord
from storage.url import is_loopback
from sweeps.contrib.server import work
from sweeps.contrib.server.client import (
    TIMEOUT_S,
    HttpClient,
    another_version,
    not_a_service,
    problem_of,
    unreachable,
)
from sweeps.contrib.server.work import Call
from sweeps.errors import SweepError
from sweeps.launch.oversight import Outline
from sweeps.operations.operation import A, R, decode, encode
from sweeps.plan import jobs
from sweeps.query.status import StageCount
from sweeps.spec.stored import check_name, stored_spec
from sweeps.terminal import say
from sweeps.workers.folders import OLD_S, cache
from sweeps.workers.reach import Service

T = TypeVar("T")

_AWAY = {408, 429, 502, 503, 504}  # the service is busy or starting, or a proxy cannot reach it
_CUT = (ConnectionResetError, BrokenPipeError, TimeoutError, http.client.HTTPException)
_NO_ROUTE = "there is nothing at"  # every version begins a 404 for an unknown path like this


class HttpBackend:
    """A `sweeps.workers.backend.Backend` of a service. Raises the errors of a database that is unreachable."""

    def __init__(self, client: HttpClient, opened: work.Opened, url: sqlalchemy.URL) -> None:
        self._client = client
        self.name, self.identity = opened.sweep.name, opened.sweep.identity
        self.spec = stored_spec(opened.sweep)
        self.url: sqlalchemy.URL | None = url
        self._claim: TaskRecord | None = None  # the attempt whose results `put` and `freeze` store
        self._blobs = cache() / "blobs"

    @classmethod
    def open(cls, service: Service, name: str) -> Self:
        """Open a sweep. Raises NotAStorage where the service refuses the token or is of another version."""
        client = HttpClient(service.address, service.token)
        parts = urlsplit(client.address)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            say(f"{client.address} is without TLS: others can read token and results on the network; use https://")
        # A closed port may as well be a wrong URL: only a service that was reached is waited for.
        text = _again(lambda: _send(client, ["work", check_name(name)]), RETRY_FOR_S, on=_Interrupted)
        opened = _decoded(client, work.Opened, text)
        if opened.version != work.VERSION:
            why = f"calls of version {opened.version}, not {work.VERSION}"
            raise NotAStorage(another_version(client.address, why))
        backend = cls(client, opened, service.url)
        _remove_old(backend._blobs)
        return backend

    def outlook(self) -> Outlook:
        with contextlib.suppress(SweepNotFound):
            return self._ask(work.OUTLOOK, work.NoArgs())
        return Outlook(state="deleted", unended=0)

    def sign_in(self, worker: str, provenance: Mapping[str, Any]) -> None:
        args = work.SignInArgs(worker=worker, host=platform.node(), pid=os.getpid(), provenance=dict(provenance))
        self._ask(work.SIGN_IN, args)

    def sign_out(self, worker: str, reason: str | None) -> None:
        with contextlib.suppress(SweepNotFound):
            self._ask(work.SIGN_OUT, work.SignOutArgs(worker=worker, reason=reason))

    def listen(self, stop: threading.Event) -> AbstractContextManager[Listener]:
        """Poll, less and less often: a service sends no notifications."""
        return nullcontext(Listener(stop))

    def claim(self, worker: str) -> TaskRecord | None:
        self._claim = None
        with contextlib.suppress(SweepNotFound):  # `outlook` reports the deletion
            self._claim = self._ask(work.CLAIM, work.ProcessArgs(worker=worker, host=platform.node(), pid=os.getpid()))
        return self._claim

    def deadline_s(self, stage: str) -> float:
        return self._ask(work.DEADLINE, work.StageArgs(stage=stage))

    def start(self, claim: TaskRecord, job: jobs.AnyJob) -> dict[str, Any] | None:
        with contextlib.suppress(SweepNotFound):
            return self._ask(work.START, work.AttemptArgs(**_attempt(claim)))
        return None

    def renew(self, claim: TaskRecord, *, idle_s: float, log: str | None) -> bool:
        args = work.RenewArgs(**_attempt(claim), idle_s=min(idle_s, 1e9), log=log)
        try:  # once: the next renewal comes within the lease
            return _unless_deleted(lambda: self._ask_once(work.RENEW, args, timeout_s=self.spec.lease.seconds))
        except SweepError as error:  # an error of the service must not end a training
            raise Unreachable(str(error)) from error

    def end(self, claim: TaskRecord, ending: Ending, *, cap: int | None = None) -> bool:
        args = work.EndArgs(**_attempt(claim), **vars(ending))  # the service takes the cap from its spec
        return _unless_deleted(lambda: self._ask(work.END, args))

    def finish(self, claim: TaskRecord, *, outcome: dict[str, Any], score: float, log: str | None) -> bool:
        args = work.FinishArgs(**_attempt(claim), outcome=outcome, score=score, log=log)
        return _unless_deleted(lambda: self._ask(work.FINISH, args, for_s=RESULT_RETRY_FOR_S))

    def repair(self, worker: str, *, first: bool, cap: int | None) -> None:
        with contextlib.suppress(SweepNotFound):
            self._ask(work.REPAIR, work.RepairArgs(worker=worker, first=first))

    def done(self, stage: str | None = None, *, keys: Collection[str] | None = None) -> Sequence[TaskRecord]:
        return self._ask(work.DONE, work.DoneArgs(stage=stage, keys=None if keys is None else list(keys)))

    def selection(self, name: str) -> Mapping[str, Any] | None:
        return self._ask(work.SELECTION, work.SelectionArgs(name=name))

    def freeze(self, name: str, value: dict[str, Any]) -> Mapping[str, Any]:
        return self._ask(work.FREEZE, work.FreezeArgs(**self._at_work, name=name, value=value))

    def get(self, digest: str) -> bytes:
        """Return bytes from the cache of this machine or from the service. Raises BlobCorrupt."""
        path = self._blobs / digest
        with contextlib.suppress(OSError):
            data = path.read_bytes()
            if _sha256(data) == digest:
                os.utime(path)  # `_remove_old` counts from the latest use
                return data
        data = _again(lambda: self._fetched(digest), RESULT_RETRY_FOR_S)
        self._cache(digest, data)
        return data

    def put(self, data: bytes) -> str:
        if len(data) > work.MOST_BLOB_BYTES:
            raise SweepError(
                f"a file of {len(data):,} bytes cannot be stored through a service; allowed: {work.MOST_BLOB_BYTES:,};"
                " a worker with the database's URL has no such limit"
            )
        digest = _sha256(data)
        if not self._ask(work.KEEP, work.BlobArgs(**self._at_work, digest=digest), for_s=RESULT_RETRY_FOR_S):
            path, options = [*self._path, "blobs", digest], {"query": self._at_work, "timeout_s": work.UPLOAD_S}
            _again(lambda: _send(self._client, path, body=data, method="PUT", **options), RESULT_RETRY_FOR_S)
        self._cache(digest, data)  # the students on this machine read their teacher's logits
        return digest

    def publish(self) -> None:
        """Have the service publish the answer to the dashboard."""
        self._ask(work.PUBLISH, work.NoArgs())

    def close(self) -> None:
        """Do nothing: no connection is open."""

    @property
    def _path(self) -> list[str]:
        return ["work", self.name, self.identity]

    @property
    def _at_work(self) -> dict[str, Any]:
        assert self._claim is not None, "only a run stores anything"
        return _attempt(self._claim)

    def _ask(self, call: Call[A, R], args: A, *, for_s: float = RETRY_FOR_S) -> R:
        return _again(lambda: self._ask_once(call, args), for_s)

    def _ask_once(self, call: Call[A, R], args: A, *, timeout_s: float = TIMEOUT_S) -> R:
        text = _send(self._client, [*self._path, call.name], body=encode(call.args, args), timeout_s=timeout_s)
        answer: R = _decoded(self._client, call.answer, text)
        return answer

    def _fetched(self, digest: str) -> bytes:
        path = [*self._path, "blobs", digest]
        data = _send(self._client, path, accept="application/octet-stream", timeout_s=work.UPLOAD_S)
        if _sha256(data) != digest:
            raise Unreachable(f"{self._client.address}: blob {digest[:12]} was damaged in transit")
        return data

    def _cache(self, digest: str, data: bytes) -> None:
        with contextlib.suppress(OSError):  # on a full disk it is fetched again when needed
            self._blobs.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(dir=self._blobs)
            with open(number, "wb") as file:
                file.write(data)
            os.replace(name, self._blobs / digest)


_COUNTED_FOR_S = 2.0


class HttpOversight(HttpBackend):
    """A `sweeps.launch.oversight.Oversight` of a service. Queries of its loop are sent once: the next one follows."""

    _counts: Mapping[str, StageCount] = {}
    _counted_at = -float("inf")

    def to_wake(self, most: int) -> Collection[str]:
        return self._ask_once(work.TO_WAKE, work.NumberArgs(number=most))

    def seen(self) -> Mapping[str, Seen]:
        return self._ask_once(work.SEEN, work.NoArgs())

    def has_finished(self, worker: str) -> bool:
        return self._ask(work.HAS_FINISHED, work.WorkerArgs(worker=worker))

    def reap(self, worker: str, *, reason: str, log: str | None) -> None:
        self._ask(work.REAP, work.ReapArgs(worker=worker, reason=reason, log=log))

    def check_room(self, worker: str) -> None:
        self._ask_once(work.CHECK_ROOM, work.WorkerArgs(worker=worker))

    def counts(self) -> Mapping[str, StageCount]:
        """Return counts that are at most 2 s old: a launch asks twice a second."""
        if time.monotonic() - self._counted_at > _COUNTED_FOR_S:
            counts = self._ask_once(work.COUNTS, work.NoArgs())
            self._counts, self._counted_at = counts, time.monotonic()
        return self._counts

    def outline(self, workers: int) -> Outline:
        return self._ask_once(work.OUTLINE, work.NumberArgs(number=workers))

    def failures(self) -> list[str]:
        return self._ask(work.FAILURES, work.NoArgs())


def _attempt(claim: TaskRecord) -> dict[str, Any]:
    return {"worker": claim.worker, "task": claim.id, "attempt": claim.attempt}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _again(send: Callable[[], T], for_s: float, *, on: type[Unreachable] = Unreachable) -> T:
    return retry_transient(for_s, when=lambda error: isinstance(error, on))(send)()


def _unless_deleted(ask: Callable[[], bool]) -> bool:
    """Return the answer; False if the sweep was deleted, and its attempts with it."""
    try:
        return ask()
    except SweepNotFound:
        return False


class _Interrupted(Unreachable):
    """The service was reached, but cannot answer at the moment."""


def _send(client: HttpClient, path: list[str], **given: Any) -> bytes:
    """Return the answer to one request. Raises Unreachable if it may succeed later, NotAStorage if it cannot."""
    try:
        with client.open(path, **given) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        with error:
            raise _raised(client, error) from None
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        cut = isinstance(getattr(error, "reason", error), _CUT)
        raise (_Interrupted if cut else Unreachable)(unreachable(client.address, error)) from None


def _raised(client: HttpClient, error: urllib.error.HTTPError) -> Exception:
    address, problem = client.address, problem_of(error)
    if problem is None and error.code not in _AWAY:
        return NotAStorage(not_a_service(address, error))
    detail = f"it answers {error.code} {error.reason}" if problem is None else problem[0]
    if kind := work.ERRORS.get(error.headers.get(work.ERROR_HEADER, "")):
        return kind(detail)
    if error.code in _AWAY:
        return _Interrupted(f"cannot use the service {address}: {detail}")
    if error.code in (401, 403):
        return NotAStorage(f"{address}: {detail}")
    if error.code == 404 and detail.startswith(_NO_ROUTE):
        return NotAStorage(another_version(address, "it has no routes for workers"))
    return NotAStorage(detail) if error.code == 404 else SweepError(detail)


def _decoded(client: HttpClient, kind: Any, text: bytes) -> Any:
    try:
        return decode(kind, text)
    except SweepError as error:
        raise NotAStorage(another_version(client.address, str(error))) from None


def _remove_old(folder: Path) -> None:
    """Remove blobs that no worker of this machine has used for a month."""
    with contextlib.suppress(OSError):  # the folder is missing, or another process removes the file first
        for path in folder.iterdir():
            if time.time() - path.stat().st_mtime > OLD_S:
                path.unlink(missing_ok=True)
