"""Requests that break optuna-dashboard do not reach it."""

import http.client

import pytest

from tests.support.web.services import VIEWER, Service

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("path", ["/favicon.ico", "/dashboard/", "/static/bundle.js"])
def test_its_files_are_served_without_an_accept_encoding_header(finished: Service, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", finished.port, timeout=30)
    connection.putrequest("GET", path, skip_accept_encoding=True)
    connection.putheader("Authorization", f"Bearer {VIEWER}")
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.headers["Content-Encoding"] is None
    assert len(answer.read()) == int(answer.headers["Content-Length"])
    connection.close()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/csv/1{26 * '0'}", 404),
        (f"/api/studies/{30 * '9'}", 404),
        ("/api/studies/1?after=x", 400),
        ("/api/studies/1?after=", 400),
        ("/api/studies/1?after=-1", 400),
        (f"/api/studies/1?after={5000 * '9'}", 400),
        ("/api/studies/1?after=%D9%A3", 400),
        ("/api/studies/1?after=2", 200),
        ("/csv/1?trial_ids=x", 400),
        ("/static/%00", 404),
        ("/static/a%00b.js", 404),
        ("/static/..%2F..%2Fapp.py", 403),
        ("/static/../_app.py", 403),
        ("/static//etc/passwd", 404),
        (f"/static/{'x' * 5000}", 404),
        ("/static/%ff", 404),
    ],
)
def test_no_request_is_answered_500(finished: Service, path: str, status: int) -> None:
    reply = finished.ask(path, token=VIEWER)
    assert reply.status == status, reply.text
    assert b"root:" not in reply.body
    assert "Traceback" not in finished.log
