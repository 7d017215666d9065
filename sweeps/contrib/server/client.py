"""`HttpClient`: queries and commands to a service, over HTTP."""

import http.client
import json
import re
import socket
import ssl
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

from storage.url import is_loopback
from sweeps.errors import NoResultsYet, SpecError, SweepError
from sweeps.hints import local
from sweeps.operations.operation import A, Operation, R, decode
from sweeps.spec.stored import check_name
from sweeps.terminal import truncated

ALLOWED = "allowed: http://HOST:PORT and https://HOST[:PORT][/PATH]"
_LONGEST = 500
TIMEOUT_S = 90.0  # the service gives up after 60
_ERRORS = {2: SpecError, 3: NoResultsYet}  # by exit code of the same command on a database
_PAGE = 10_000  # rows, the most that one answer of the service has


def checked(text: str) -> str:
    """Return a valid address without a trailing slash. Raises SpecError, also where it holds a password."""
    text = text.strip()
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
        if "@" not in text:
            raise SpecError(f"--url: got {text[:80]!r}; {ALLOWED}") from None
    if "@" in parts.netloc:
        raise SpecError("--url: got an address with a user or password; put a token into KD_SWEEPS_TOKEN")
    quoted = repr(truncated(text, 80))
    if "://" in text and parts.scheme not in ("http", "https"):
        raise SpecError(f"--url: got {quoted.partition('://')[0]}://...'; {ALLOWED}")
    printable = re.fullmatch(r"[\x21-\x7e]+", text)  # a line break would end a header
    if not printable or not parts.hostname or port == 0 or parts.query or parts.fragment or len(text) > _LONGEST:
        raise SpecError(f"--url: got {quoted}; {ALLOWED}")
    return text.rstrip("/")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    # A redirect would send the token to another address.
    def redirect_request(self, *_: Any) -> None:
        return None


def problem_of(error: urllib.error.HTTPError) -> tuple[str, type[SweepError]] | None:
    """Return the detail of a problem document and the error that it stands for; None if the body is something else."""
    try:
        problem = json.loads(error.read(100_000))
        return str(problem["detail"]), _ERRORS.get(problem.get("exit_code"), SweepError)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, http.client.HTTPException):
        return None


def not_a_service(address: str, error: urllib.error.HTTPError) -> str:
    return f"{address} answers {error.code} {error.reason} and does not seem to be kd-sweeps serve"


def another_version(address: str, why: str) -> str:
    return (
        f"{address} is not kd-sweeps serve of this version ({why}); compare the version here, {local().line('doctor')},"
        f" with {address}/healthz"
    )


def unreachable(address: str, error: Exception) -> str:
    """Say in one line why a service did not answer."""
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, (TimeoutError, socket.timeout)):
        text = f"no answer within {TIMEOUT_S:.0f} s"
    elif isinstance(reason, ssl.SSLError) and reason.reason == "WRONG_VERSION_NUMBER":
        text = "that port does not speak TLS, so the address may begin with http://"
    elif isinstance(reason, UnicodeError):
        text = "not a valid host name"
    elif isinstance(reason, OSError) and reason.strerror:
        text = reason.strerror
    else:
        text = " ".join(str(reason).split()) or type(reason).__name__
    return f"cannot use the service {address}: {text}; --url names another one"


@dataclass(frozen=True)
class Event:
    kind: str
    data: str


def events(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events of a stream. Skips comments, which only keep it alive."""
    kind, data = "", list[str]()
    for line in lines:
        if not line:
            if data:
                yield Event(kind or "message", "\n".join(data))
            kind, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)


class HttpClient:
    """A `Client` of a service, over HTTP."""

    def __init__(self, address: str, token: str = "") -> None:
        self.address = checked(address)
        # The service's messages then name the program and the address as they are typed here.
        self._headers = {"User-Agent": "kd-sweeps", "KD-Sweeps-Program": local().program}
        self._headers["KD-Sweeps-Url"] = local().service or "-"
        if token:
            if not token.isascii() or not token.isprintable():
                raise SpecError("KD_SWEEPS_TOKEN: a token has no line break and only ASCII characters")
            self._headers["Authorization"] = f"Bearer {token}"
        handlers: list[Any] = [_NoRedirects()]
        if is_loopback(urlsplit(self.address).hostname or ""):  # a proxy would look on its own machine
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    @property
    def label(self) -> str:
        return f"service {self.address}"

    def ask(self, operation: Operation[A, R], args: A) -> R:
        values = args.model_dump()
        name = values.pop("name", None)
        parts = [check_name(name) if part == "{name}" else part for part in operation.path.split("/")]
        if operation.changes:
            body = self._read(self._sent(parts, accept="application/json", body=json.dumps(values).encode()))
            answer: R = self._decoded(operation.kind, body)
        elif operation.rows:
            answer = self._rows(operation.kind, *parts, **values)
        else:
            answer = self._decoded(operation.kind, self._get(*parts, **values))
        return answer

    def log(self, name: str, key: str, *, attempt: int | None = None, lines: int | None = None) -> list[str]:
        path = "sweeps", check_name(name), "tasks", key, "log"
        text = self._get(*path, accept="text/plain", attempt=attempt, lines=lines)
        return text.decode("utf-8", "replace").split("\n")

    def follow(self, name: str, key: str, *, attempt: int | None = None, lines: int | None = None) -> Iterator[str]:
        path = "sweeps", check_name(name), "tasks", key, "log"
        stream = self._lines(*path, follow="true", attempt=attempt, lines=lines)
        for event in events(stream):
            if event.kind == "end":
                return
            if event.kind == "problem":
                raise SweepError(_detail(event))
            yield event.data
        raise SweepError("the service closed the log before the attempt ended; repeat the command")

    def _get(self, *path: str, accept: str = "application/json", **query: Any) -> bytes:
        """Return the body of an answer to GET. Raises the SweepError that the same command raises on a database."""
        return self._read(self._sent(path, query=query, accept=accept))

    def _lines(self, *path: str, **query: Any) -> Iterator[str]:
        """Yield the lines of a stream of events as they arrive. Raises as `_get`."""
        with self._sent(path, query=query, accept="text/event-stream") as answer:
            try:
                for line in answer:
                    yield line.decode("utf-8", "replace").rstrip("\r\n")
            except (OSError, http.client.HTTPException) as error:
                raise SweepError(unreachable(self.address, error)) from None

    def _sent(
        self, path: Iterable[str], *, accept: str, query: Mapping[str, Any] = {}, body: bytes | None = None
    ) -> IO[bytes]:
        try:
            return self.open(path, accept=accept, query=query, body=body)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error) from None
        except (OSError, http.client.HTTPException, UnicodeError) as error:  # the last: an invalid host name
            raise SweepError(unreachable(self.address, error)) from None

    def _refused(self, error: urllib.error.HTTPError) -> SweepError:
        if 300 <= error.code < 400:
            place = error.headers.get("Location", "?")
            return SweepError(f"{self.address} redirects to {place}; name that address with --url")
        if (problem := problem_of(error)) is None:
            return SweepError(not_a_service(self.address, error))
        detail, kind = problem
        return kind(detail)

    def open(
        self,
        path: Iterable[str],
        *,
        accept: str = "application/json",
        query: Mapping[str, Any] = {},
        body: bytes | None = None,
        method: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> IO[bytes]:
        """Send one request and return its answer. Raises the errors of `urllib`.

        method: by default GET without a body and POST with one. The body of PUT is bytes, any other is JSON.
        """
        address = "/".join([f"{self.address}/api/v1", *(quote(part, safe="") for part in path)])
        if arguments := {name: value for name, value in query.items() if value is not None}:
            address += f"?{urlencode(arguments)}"
        headers = self._headers | {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = "application/octet-stream" if method == "PUT" else "application/json"
        request = urllib.request.Request(address, data=body, headers=headers, method=method)
        answer: IO[bytes] = self._opener.open(request, timeout=timeout_s)
        return answer

    def _read(self, answer: IO[bytes]) -> bytes:
        try:
            with answer:
                return answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise SweepError(unreachable(self.address, error)) from None

    def _rows(self, kind: Any, *path: str, **query: Any) -> Any:
        rows: list[Any] = []
        while True:
            body = self._get(*path, limit=_PAGE, offset=len(rows) or None, **query)
            try:
                page = json.loads(body)
                text, more = json.dumps(page["items"]).encode(), page["next_offset"] is not None
            except (ValueError, KeyError, TypeError, RecursionError):
                raise SweepError(another_version(self.address, "not a page of rows")) from None
            new = self._decoded(list[kind], text)
            rows += new
            if not more or not new:
                return rows

    def _decoded(self, kind: Any, text: bytes) -> Any:
        try:
            return decode(kind, text)
        except SweepError as error:
            raise SweepError(another_version(self.address, str(error))) from None


def _detail(event: Event) -> str:
    try:
        return str(json.loads(event.data)["detail"])
    except (ValueError, KeyError, TypeError):
        return event.data
