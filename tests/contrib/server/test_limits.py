"""What one request may cost: bytes, headers, time to send, time to answer. With real connections."""

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


def raw(port: int, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Everything that comes back until the other side closes; the parts are sent one after the other."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause_s)
        answer = b""
        while got := connection.recv(65_536):
            answer += got
        return answer


def post(length: int | None, *, token: str = OPERATOR) -> bytes:
    sized = f"Content-Length: {length}" if length is not None else "Transfer-Encoding: chunked"
    return (
        f"POST /api/v1/sweeps HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\n{sized}\r\n\r\n"
    ).encode()


def test_a_huge_body_is_refused_before_it_is_sent_if_it_says_so(finished: Service) -> None:
    answer = raw(finished.port, post(10**12))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"1,000,000 bytes" in answer


def test_a_huge_body_that_does_not_say_so_is_cut_off(finished: Service) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", finished.port), timeout=30) as connection:
        connection.sendall(post(None))
        for _ in range(16):
            connection.sendall(chunk)
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_body_of_somebody_without_the_role_is_not_even_read(finished: Service) -> None:
    started = time.monotonic()
    assert raw(finished.port, post(900_000, token=VIEWER)).startswith(b"HTTP/1.1 403")
    assert raw(finished.port, post(900_000, token="none")).startswith(b"HTTP/1.1 401")
    assert time.monotonic() - started < 10


def test_huge_headers_are_refused(finished: Service) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-Long: " + b"x" * 100_000
    for _ in range(5):
        # It closes while the rest is unread, and the kernel may then drop the answer, too.
        with contextlib.suppress(ConnectionError):
            assert raw(finished.port, request + b"\r\n\r\n").startswith(b"HTTP/1.1 431")
            break
    else:
        pytest.fail("the connection was closed without an answer, five times")
    endless = b"X-Long: " + b"x" * 4_000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", finished.port), timeout=30) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + 20 * endless)
        assert connection.recv(100).startswith(b"HTTP/1.1 400"), "refused though its end is not known yet"


@pytest.mark.parametrize(
    "request_line",
    [b"GET /%ff%00 HTTP/1.1", b"GET /../../etc/passwd HTTP/1.1", b"GET http://other/ HTTP/1.1", b"G\x00T / HTTP/1.1"],
)
def test_a_strange_request_is_no_fault_of_the_service(finished: Service, request_line: bytes) -> None:
    headers = f"Host: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer {VIEWER}\r\n\r\n".encode()
    answer = raw(finished.port, request_line + b"\r\n" + headers)
    assert answer[9:10] in (b"2", b"3", b"4"), answer[:200]
    assert b"root:" not in answer


@contextmanager
def running(app: Any) -> Iterator[int]:
    """The port of an app that is served by a thread of this process."""
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
    """A service without tokens that waits a tenth of a second for a body, and half a second for an answer."""
    from sweeps.contrib.server.app import make_app
    from sweeps.contrib.server.middleware import RequestLimits

    bounds = RequestLimits(body_s=0.1, answer_s=0.5)
    return make_app(resolve(f"sqlite:///{tmp_path}/none.db"), with_dashboard=False, bounds=bounds)


def test_a_slow_body_is_waited_for_no_longer_than_that(hasty: Any) -> None:
    with running(hasty) as port:
        started = time.monotonic()
        assert raw(port, post(100), b"{").startswith(b"HTTP/1.1 408")
        assert time.monotonic() - started < 10


def test_an_answer_that_takes_too_long_is_given_up_and_the_next_one_is_not_hurt(hasty: Any) -> None:
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
