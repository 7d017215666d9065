"""The messages of a command whose service is missing, is another server, or refuses."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sweeps.contrib.server.client import Event, HttpClient, checked, events
from sweeps.errors import NoResultsYet, SpecError, SweepError
from sweeps.operations.operation import Args
from sweeps.operations.table import SWEEPS
from tests.support.sweeps.typed_commands import KdSweeps


@contextmanager
def answering(status: int, headers: dict[str, str], body: bytes) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Start a server with a fixed answer; yields its URL and the headers it receives."""
    requests: list[dict[str, str]] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append({**{name.lower(): value for name, value in self.headers.items()}, "path": self.path})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    "text",
    ["", "host:8080", "ftp://host", "file:///etc/passwd", "http://", "http://h/?a=1", "http://h#a", "http://user:pw@h",
     "http://h/\r\nX: 1", "http://h h", "https://" + "h" * 600, "http://h:8080x", "http://h:99999", "http://[::1"],
)  # fmt: skip
def test_an_invalid_address_is_reported_in_one_line(text: str) -> None:
    with pytest.raises(SpecError) as refused:
        checked(text)
    assert str(refused.value).startswith("--url: got ")
    assert len(str(refused.value)) < 300
    assert "pw" not in str(refused.value)
    if text.startswith(("http://h:", "http://[")):  # nearly an address: it may be shown
        assert str(refused.value).startswith(f"--url: got '{text}'; allowed: http://HOST:PORT")


def test_an_address_may_have_a_path_and_a_slash_at_its_end() -> None:
    assert checked(" https://host/sweeps/ ") == "https://host/sweeps"


def test_the_token_is_sent_with_each_request_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with answering(200, {}, b'{"items": [], "total": 0, "next_offset": null}') as (url, requests):
        assert HttpClient(url, "secret").ask(SWEEPS, Args()) == []
        assert requests[0]["authorization"] == "Bearer secret"
        assert "authorization" not in requests[0]["path"]
    with answering(302, {"Location": url}, b"") as (from_here, _):
        with pytest.raises(SweepError, match=r"redirects to http://127.0.0.1:.*name that address with --url"):
            HttpClient(from_here, "secret").ask(SWEEPS, Args())
        assert len(requests) == 1, "the redirect must not be followed with the token"


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (422, b'{"detail": "bad\\u001b[31m", "exit_code": 2}', SpecError, "bad"),
        (409, b'{"detail": "too early", "exit_code": 3}', NoResultsYet, "too early"),
        (401, b'{"detail": "a token", "exit_code": 1}', SweepError, "a token"),
        (404, b"<html>nginx</html>", SweepError, "answers 404 Not Found and does not seem to be kd-sweeps serve"),
        (500, b'{"detail": 3', SweepError, "answers 500"),
        (502, b"[]", SweepError, "answers 502"),
        (502, b'{"detail": "x", "exit_code": []}', SweepError, "answers 502"),
        (502, b"[" * 90_000, SweepError, "answers 502"),
        (200, b"[" * 90_000, SweepError, "is not kd-sweeps serve of this version"),
        (200, b"<html>", SweepError, "is not kd-sweeps serve of this version"),
        (200, b'{"items": 3, "next_offset": null}', SweepError, "is not kd-sweeps serve of this version"),
        (200, b'{"items": [{}], "next_offset": null}', SweepError, "of this version .0.name: Field required"),
        (200, b"\xff", SweepError, "is not kd-sweeps serve of this version"),
    ],
)
def test_a_refusal_becomes_an_error_of_the_product(
    status: int, body: bytes, kind: type[Exception], message: str
) -> None:
    with answering(status, {}, body) as (url, _), pytest.raises(kind, match=message):
        HttpClient(url).ask(SWEEPS, Args())


def test_an_unreachable_service_is_one_line_and_exit_code_1(kd_sweeps: KdSweeps) -> None:
    code, out, err = kd_sweeps("status", "s", "--url", "http://127.0.0.1:1")
    assert (code, out) == (1, "")
    assert err == "kd-sweeps: cannot use the service http://127.0.0.1:1: Connection refused; --url names another one\n"


@pytest.mark.parametrize("host", [".", f"{'x' * 70}.example"])
def test_a_name_that_no_host_can_have_is_one_line(host: str) -> None:
    with pytest.raises(SweepError, match=r"cannot use the service http://.*: not a valid host name; --url names"):
        HttpClient(f"http://{host}").ask(SWEEPS, Args())


@pytest.mark.parametrize("text", ["http://h:8080x", "http://h:99999", "http://[::1"])
def test_an_address_with_a_small_mistake_is_shown(text: str) -> None:
    with pytest.raises(SpecError) as error:
        checked(text)
    assert str(error.value).startswith(f"--url: got '{text}'; allowed: http://HOST:PORT")


def test_a_service_without_tls_is_reported_as_such() -> None:
    with answering(200, {}, b"") as (url, _), pytest.raises(SweepError, match="does not speak TLS, so the address"):
        HttpClient(url.replace("http:", "https:")).ask(SWEEPS, Args())


def test_a_service_and_a_storage_exclude_each_other(kd_sweeps: KdSweeps) -> None:
    code, _, err = kd_sweeps("best", "s", "--url", "http://h", "--storage", "sqlite:///s.db")
    assert (code, err) == (
        2,
        "kd-sweeps: got --url and --storage; give one of them: a service has its own database\n",
    )


def test_an_invalid_sweep_name_is_refused_without_a_request(kd_sweeps: KdSweeps) -> None:
    code, _, err = kd_sweeps("best", "../s", "--url", "http://127.0.0.1:1")
    assert code == 2
    assert "sweep name '../s'" in err


def test_the_suggested_command_names_the_service_that_was_given(kd_sweeps: KdSweeps) -> None:
    with answering(200, {}, b'{"tasks": 3}') as (url, requests):
        code, _, err = kd_sweeps("pause", "s", "--url", url)
        assert code == 0
        assert err == f"paused; 3 running tasks will finish. To resume: kd-sweeps resume s --url {url}\n"
        assert requests[0]["kd-sweeps-url"] == url
        _, _, err = kd_sweeps("resume", "s", "--url", url)
        assert f"kd-sweeps launch s --url {url}" in err


def test_with_only_a_service_configured_a_database_command_opens_no_default_database(
    kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KD_SWEEPS_URL", "https://sweeps.example")
    code, _, err = kd_sweeps("reap", "s")
    assert code == 2
    assert "reap needs a database, but KD_SWEEPS_URL names a service, https://sweeps.example;" in err
    code, _, err = kd_sweeps("reap", "s", "--storage", "sqlite:///none.db")
    assert "no storage at sqlite:///none.db" in err


@pytest.mark.parametrize("command", ["worker", "launch"])
def test_workers_use_the_service_where_no_database_is_given(
    kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("KD_SWEEPS_URL", "http://127.0.0.1:1")
    code, _, err = kd_sweeps(command, "s")
    assert (code, "service http://127.0.0.1:1" in err) == (1, True)
    assert "kd-sweeps: cannot use the service http://127.0.0.1:1: Connection refused" in err
    code, _, err = kd_sweeps(command, "s", "--storage", "sqlite:///none.db")
    assert "no storage at sqlite:///none.db" in err
    monkeypatch.setenv("KD_SWEEPS_STORAGE", "sqlite:///none.db")
    code, _, err = kd_sweeps(command, "s")
    assert "no storage at sqlite:///none.db" in err, "a configured database has precedence"
    code, _, err = kd_sweeps(command, "s", "--url", "http://127.0.0.1:1")
    assert "cannot use the service http://127.0.0.1:1" in err
    code, _, err = kd_sweeps(command, "s", "--url", "http://h", "--storage", "sqlite:///s.db")
    assert (code, "give one of them" in err) == (2, True)
    code, _, err = kd_sweeps(command, "s", "--url", "ftp://h")
    assert (code, "--url: got 'ftp://...'" in err) == (2, True)


def test_events_are_read_as_browsers_read_them() -> None:
    lines = [": ping", "", "data: one", "data: two", "", "event: end", "data:", "", "data: cut off"]
    assert list(events(lines)) == [Event("message", "one\ntwo"), Event("end", "")]
