"""Limits of one request: bytes, headers, time to send, time to answer. With real connections."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from storage.url import resolve
from tests.support.sweeps.small_sweeps import wait_until
from tests.support.web.services import OPERATOR, VIEWER, Service

pytestmark = pytest.mark.processes


def raw(port: int, *parts: bytes) -> bytes:
    """Send parts one after the other; return everything received until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
        return answer


def post(length: int | None, *, token: str = OPERATOR) -> bytes:
    sized = f"Content-Length: {length}" if length is not None else "Transfer-Encoding: chunked"
    return (
        f"POST /api/v1/sweeps HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\n{sized}\r\n\r\n"
    ).encode()


def test_a_body_declared_too_large_is_refused_before_it_is_sent(finished: Service) -> None:
    answer = raw(finished.port, post(10**12))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"1,000,000 bytes" in answer


def test_an_undeclared_large_body_is_cut_off(finished: Service) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", finished.port), timeout=30) as connection:
        connection.sendall(post(None))
        for _ in range(16):
            connection.sendall(chunk)
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_body_from_a_token_without_the_role_is_never_read(finished: Service) -> None:
    started = time.monotonic()
    assert raw(finished.port, post(900_000, token=VIEWER)).startswith(b"HTTP/1.1 403")
    assert raw(finished.port, post(900_000, token="none")).startswith(b"HTTP/1.1 401")
    assert time.monotonic() - started < 10


def test_huge_headers_are_refused(finished: Service) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-Long: " + b"x" * 100_000
    for _ in range(5):
        # The service closes while the rest is unread, so the kernel may drop the answer, too.
        with contextlib.suppress(ConnectionError):
            assert raw(finished.port, request + b"\r\n\r\n").startswith(b"HTTP/1.1 431")
            break
    else:
        pytest.fail("the connection was closed without an answer, five times")
    endless = b"X-Long: " + b"x" * 4_000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", finished.port), timeout=30) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + 20 * endless)
        assert connection.recv(100).startswith(b"HTTP/1.1 400"), "refused before its end is known"


def test_five_thousand_headers_are_refused(finished: Service) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + b"X: y\r\n" * 5_000 + b"\r\n"
    assert raw(finished.port, request).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("host", ["[", "[::::::::]", "a b", "h:99999", "h:x", "h/../x", "\u00e4"])
def test_an_invalid_host_is_refused(finished: Service, host: str) -> None:
    for path in ("/healthz", "/login", "/api/studies"):
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        assert raw(finished.port, request).startswith(b"HTTP/1.1 400"), path


@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_an_invalid_origin_counts_as_another_site(finished: Service, path: str) -> None:
    reply = finished.ask(path, method="POST", body=b"token=x", headers={"Origin": "http://["})
    assert reply.status == 403


def fill(stack: contextlib.ExitStack, port: int, count: int, part: bytes = b"") -> list[socket.socket]:
    """Open `count` connections that send part of a request and then stop."""
    opened = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30)) for _ in range(count)]
    for connection in opened:
        connection.sendall(part)
    return opened


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: h\r\n"])
def test_silent_connections_block_no_client_and_are_closed(
    finished: Service, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr("sweeps.contrib.server.app.HEADERS_S", 2.0)
    with contextlib.ExitStack() as stack:
        silent = fill(stack, finished.port, 230, sent)
        assert finished.ask("/healthz").status == 200
        assert {connection.recv(1) for connection in silent} == {b""}


def test_a_header_that_trickles_in_times_out_like_one_that_does_not_come(
    finished: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.contrib.server.app.HEADERS_S", 1.0)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", finished.port), timeout=30) as connection:
        request = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
        connection.sendall(request)
        assert connection.recv(10_000).startswith(b"HTTP/1.1 200")
        with contextlib.suppress(ConnectionError):
            for _ in range(100):  # of the second request on this connection
                connection.sendall(b"G")
                time.sleep(0.1)
        assert time.monotonic() - began < 8


def test_at_the_limit_of_connections_the_one_silent_for_longest_is_closed(
    finished: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.contrib.server.app.MOST_CONNECTIONS", 20)
    with contextlib.ExitStack() as stack:
        silent = fill(stack, finished.port, 30)
        assert [connection.recv(1) for connection in silent[:10]] == [b""] * 10
        assert finished.ask("/healthz").status == 200
        silent[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        assert silent[-1].recv(100).startswith(b"HTTP/1.1 200")


def test_the_limit_of_streams_holds_for_simultaneous_requests(finished: Service) -> None:
    from sweeps.contrib.server.state import MOST_FOLLOWERS

    requests = [f"GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {VIEWER}\r\n\r\n".encode()
             for path in ("/events", "/events/sweeps/s")]  # fmt: skip
    with contextlib.ExitStack() as stack:
        half = MOST_FOLLOWERS // 2 + 10
        followers = fill(stack, finished.port, half, requests[0]) + fill(stack, finished.port, half, requests[1])
        statuses = [connection.recv(100)[9:12] for connection in followers]
        assert (statuses.count(b"200"), statuses.count(b"503")) == (MOST_FOLLOWERS, 20)

    def follows() -> bool:
        with contextlib.ExitStack() as stack:
            return fill(stack, finished.port, 1, requests[0])[0].recv(100).startswith(b"HTTP/1.1 200")

    wait_until(follows, "closed streams still hold their places")


@pytest.mark.parametrize(
    "request_line",
    [b"GET /%ff%00 HTTP/1.1", b"GET /../../etc/passwd HTTP/1.1", b"GET http://other/ HTTP/1.1", b"G\x00T / HTTP/1.1"],
)
def test_a_malformed_request_is_not_answered_500(finished: Service, request_line: bytes) -> None:
    headers = f"Host: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer {VIEWER}\r\n\r\n".encode()
    answer = raw(finished.port, request_line + b"\r\n" + headers)
    assert answer[9:10] in (b"2", b"3", b"4"), answer[:200]
    assert b"root:" not in answer


@contextmanager
def running(app: Any) -> Iterator[int]:
    """Serve an app in a thread of this process; yields its port."""
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as opened:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, http="h11", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        wait_until(lambda: server.started, "it did not start")
        try:
            yield int(opened.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(30)


@pytest.fixture
def hasty(tmp_path: Path) -> Any:
    """Return a service without tokens that waits 0.1 s for a body and 0.5 s for an answer."""
    from sweeps.contrib.server.app import make_app
    from sweeps.contrib.server.middleware import RequestLimits

    bounds = RequestLimits(body_s=0.1, answer_s=0.5)
    return make_app(resolve(f"sqlite:///{tmp_path}/none.db"), with_dashboard=False, bounds=bounds)


def test_a_slow_body_times_out(hasty: Any) -> None:
    with running(hasty) as port:
        started = time.monotonic()
        assert raw(port, post(100), b"{").startswith(b"HTTP/1.1 408")
        assert time.monotonic() - started < 10


def test_an_answer_that_takes_too_long_is_abandoned_and_the_next_one_is_unharmed(hasty: Any) -> None:
    stop = threading.Event()

    def slowly() -> str:
        stop.wait(30)
        return "late"

    hasty.add_api_route("/slowly", slowly)
    with running(hasty) as port:
        answer = raw(port, b"GET /slowly HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"no answer within 0.5 s" in answer
        answer = raw(port, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
        stop.set()


def test_the_limit_of_requests_holds_and_probes_are_still_answered(hasty: Any) -> None:
    request = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    hasty.user_middleware.clear()
    from sweeps.contrib.server.middleware import LimitsMiddleware, RequestLimits

    hasty.add_middleware(LimitsMiddleware, bounds=RequestLimits(body_s=5, at_once=3))
    with running(hasty) as port, contextlib.ExitStack() as stack:
        waiting = fill(stack, port, 10, request)
        refused = [connection for connection in waiting if is_answered(connection)]
        assert len(refused) == 7
        assert all(connection.recv(100).startswith(b"HTTP/1.1 503") for connection in refused)
        assert raw(port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")[9:12] == b"200"


def is_answered(connection: socket.socket) -> bool:
    """Return whether an answer came within a second."""
    connection.settimeout(1)
    with contextlib.suppress(TimeoutError):
        return bool(connection.recv(1, socket.MSG_PEEK))
    return False
