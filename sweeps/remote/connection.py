"""Send requests to a service and turn what it refuses into our own errors."""

import http.client
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import IO, Any
from urllib.parse import quote, urlencode

from sweeps.errors import NoResultsYet, SpecError, SweepError
from sweeps.hints import here
from sweeps.remote.address import checked, is_loopback

TIMEOUT_S = 90.0  # the service itself gives up after 60
_ERRORS = {2: SpecError, 3: NoResultsYet}  # by the exit code that a command would have had


class _Stays(urllib.request.HTTPRedirectHandler):
    """Follow nobody elsewhere: the token is for this address only."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Connection:
    """A service at an address.

    Args:
        address: as typed. token: "" sends none.
    """

    def __init__(self, address: str, token: str) -> None:
        """Check the address; nothing is sent yet."""
        self.address = checked(address)
        # What it words for us names our program and the address as we reach it.
        self._headers = {"User-Agent": "kd-sweeps", "KD-Sweeps-Program": here().program}
        self._headers["KD-Sweeps-Url"] = here().service or "-"
        if token:
            if not token.isascii() or not token.isprintable():
                raise SpecError("KD_SWEEPS_TOKEN holds what no token has: a line break or a character beyond ASCII")
            self._headers["Authorization"] = f"Bearer {token}"
        handlers: list[Any] = [_Stays()]
        if is_loopback(self.address):
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, *path: str, accept: str = "application/json", **query: Any) -> bytes:
        """Return the body of an answer to GET.

        Raises:
            SweepError: the service is not there, or refuses; of the kind that the same command had on a database.
        """
        with self._sent("GET", path, query=query, accept=accept) as answer:
            return _read(answer, self.address)

    def post(self, *path: str, body: Mapping[str, Any] | None = None) -> bytes:
        """Return the body of an answer to POST; errors as `get`."""
        with self._sent("POST", path, body=json.dumps(body or {}).encode()) as answer:
            return _read(answer, self.address)

    def lines(self, *path: str, **query: Any) -> Iterator[str]:
        """Yield the lines of a stream of events as they come; errors as `get`."""
        with self._sent("GET", path, query=query, accept="text/event-stream") as answer:
            try:
                for line in answer:
                    yield line.decode("utf-8", "replace").rstrip("\r\n")
            except (OSError, http.client.HTTPException) as error:
                raise _unreachable(self.address, error) from None

    def _sent(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        query: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        accept: str = "application/json",
    ) -> IO[bytes]:
        address = "/".join([f"{self.address}/api/v1", *(quote(part, safe="") for part in path)])
        given = {name: value for name, value in (query or {}).items() if value is not None}
        if given:
            address += f"?{urlencode(given)}"
        headers = self._headers | {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(address, data=body, headers=headers, method=method)
        try:
            answer: IO[bytes] = self._opener.open(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(self.address, error) from None
        except (OSError, http.client.HTTPException, UnicodeError) as error:  # the last: a name that no host can have
            raise _unreachable(self.address, error) from None
        return answer


def _read(answer: IO[bytes], address: str) -> bytes:
    try:
        return answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(address, error) from None


def _refused(address: str, error: urllib.error.HTTPError) -> SweepError:
    if 300 <= error.code < 400:
        return SweepError(f"{address} sends on to {error.headers.get('Location', '?')}; name that one with --url")
    try:
        problem = json.loads(error.read(100_000))
        detail, kind = str(problem["detail"]), _ERRORS.get(problem.get("exit_code"), SweepError)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, http.client.HTTPException):
        return SweepError(f"{address} answers {error.code} {error.reason}, and is no kd-sweeps serve as it seems")
    return kind(detail)


def _unreachable(address: str, error: Exception) -> SweepError:
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, (TimeoutError, socket.timeout)):
        said = f"no answer within {TIMEOUT_S:.0f} s"
    elif isinstance(reason, ssl.SSLError) and reason.reason == "WRONG_VERSION_NUMBER":
        said = "it speaks no TLS there, so the address may begin with http://"
    elif isinstance(reason, UnicodeError):
        said = "no host can have this name"
    elif isinstance(reason, OSError) and reason.strerror:
        said = reason.strerror
    else:
        said = " ".join(str(reason).split()) or type(reason).__name__
    return SweepError(f"cannot use the service {address}: {said}; --url names another one")
