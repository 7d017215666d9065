"""The answers of the service and of the dashboard behind it: pages, entity tags, formats, and errors."""

import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.postgres_server import PostgresServer
from tests.support.sweeps.small_sweeps import created
from tests.support.web.services import TOKENS, VIEWER, Service, serving

pytestmark = pytest.mark.processes


@pytest.fixture
def service(finished: Service) -> Service:
    """Return a service on a finished sweep "s"."""
    return finished


def test_pages_of_trials_are_contiguous(service: Service) -> None:
    whole = service.ask("/api/v1/sweeps/s/trials?limit=10000", token=VIEWER).json
    assert whole["next_offset"] is None
    offset, items = 0, []
    while offset is not None:
        page = service.ask(f"/api/v1/sweeps/s/trials?limit=20&offset={offset}", token=VIEWER).json
        assert page["total"] == len(whole["items"])
        items += page["items"]
        offset = page["next_offset"]
    assert items == whole["items"]
    beyond = service.ask("/api/v1/sweeps/s/trials?offset=99999", token=VIEWER).json
    assert (beyond["items"], beyond["next_offset"]) == ([], None)


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "limit=x", "offset=-1", "limit=", "limit=1e3"])
def test_an_invalid_page_is_reported_in_one_line(service: Service, query: str) -> None:
    refused = service.ask(f"/api/v1/sweeps?{query}", token=VIEWER)
    assert refused.status == 422
    assert query.partition("=")[0] in refused.json["detail"]
    assert refused.json["exit_code"] == 2


@pytest.mark.parametrize("path", ["/api/v1/sweeps", "/api/v1/sweeps/s/best", "/api/v1/sweeps/s/report?format=html"])
def test_an_unchanged_answer_is_not_sent_again(service: Service, path: str) -> None:
    first = service.ask(path, token=VIEWER)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        response = service.ask(path, token=VIEWER, headers={"If-None-Match": known})
        assert (response.status, response.body, response.headers["etag"]) == (304, b"", tag)
    assert service.ask(path, token=VIEWER, headers={"If-None-Match": '"other"'}).body == first.body


EVERYWHERE = (
    *("/healthz", "/readyz", "/metrics", "/", "/sweeps/s", "/live.js", "/live.css", "/login", "/events"),
    *("/api/v1/sweeps", "/api/v1/sweeps/s", "/api/v1/sweeps/s/best", "/api/v1/sweeps/s/report?format=html"),
    *("/api/v1/sweeps/s/tasks/search%230/log?follow=true", "/api/v1/openapi.json", "/api/v1/sweeps/none"),
    *(
        "/dashboard/",
        "/api/studies",
        "/api/studies/1",
        "/csv/1",
        "/favicon.ico",
        "/static/none",
        "/api/v1/sweeps/s/pause",
    ),
)


@pytest.mark.parametrize("path", EVERYWHERE)
def test_head_is_get_without_a_body(service: Service, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    with closing(connection):
        answers = []
        for method in ("HEAD", "GET"):
            connection.request(method, path, headers={"Authorization": f"Bearer {VIEWER}"})
            answer = connection.getresponse()
            if method == "HEAD":
                assert answer.read() == b""  # and the connection stays open
            answers.append(
                (answer.status, sorted((name, value) for name, value in answer.getheaders() if name != "date"))
            )
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("accept", "query", "kind", "begins"),
    [
        ("", "", "application/json", b'{"sweep":"s"'),
        ("*/*", "", "application/json", b'{"sweep":"s"'),
        ("text/html,application/xhtml+xml", "", "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ("text/markdown", "", "text/markdown; charset=utf-8", b"**TRANSFERS"),
        ("application/json", "?format=html", "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ("text/html", "?format=json", "application/json", b'{"sweep":"s"'),
    ],
)
def test_a_report_has_the_requested_format(service: Service, accept: str, query: str, kind: str, begins: bytes) -> None:
    reply = service.ask(f"/api/v1/sweeps/s/report{query}", token=VIEWER, headers={"Accept": accept})
    assert reply.status == 200
    assert reply.headers["content-type"] == kind
    assert begins in reply.body[:3000]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/api/v1/sweeps/none", 404, "this service has no sweep 'none'"),
        ("/api/v1/sweeps/none/best", 404, "this service has no sweep 'none'"),
        ("/api/v1/sweeps/..%2F..%2Fetc%2Fpasswd", 404, "there is nothing at"),
        ("/api/v1/sweeps/..%5Cetc", 422, "sweep name"),
        ("/api/v1/sweeps/%3Cscript%3E", 422, "sweep name '<script>'"),
        (f"/api/v1/sweeps/{'x' * 150}", 422, "(150 characters)"),
        ("/api/v1/sweeps/s/tasks/search%2399/log", 404, "s has no task 'search#99'"),
        ("/api/v1/sweeps/s/tasks/..%2F..%2Fetc/log", 404, "s has no task '../../etc'"),
        ("/api/v1/sweeps/s/tasks/search%230/log?attempt=5", 404, "search#0 has attempt 1 only"),
        ("/api/v1/sweeps/s/trials?stage=nowhere", 422, "allowed: teachers, search"),
        ("/api/v1/nothing", 404, "there is nothing at /api/v1/nothing"),
        ("/api/v2/sweeps", 404, ""),
    ],
)
def test_a_missing_resource_is_reported_in_one_line(service: Service, path: str, status: int, message: str) -> None:
    response = service.ask(path, token=VIEWER)
    assert response.status == status, response.text
    if message:
        assert response.headers["content-type"] == "application/problem+json"
        assert message in response.json["detail"]
        assert response.json["status"] == status
        assert response.json["exit_code"] in (1, 2)


def test_an_unsupported_method_is_refused_with_the_supported_ones(service: Service) -> None:
    from tests.support.web.services import OPERATOR

    response = service.ask("/api/v1/sweeps/s/pause", token=VIEWER)
    assert (response.status, response.headers["allow"]) == (405, "POST")
    response = service.ask("/api/v1/sweeps", token=OPERATOR, method="DELETE", body={})
    assert (response.status, response.headers["allow"]) == (405, "GET, POST")


def test_a_query_without_results_fails_as_the_command_does(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    created(url)
    with serving(url, "s", folder=tmp_path) as service:
        response = service.ask("/api/v1/sweeps/s/best")
        assert (response.status, response.json["exit_code"]) == (409, 3)
        line = f"kd-sweeps launch s --url {service.url}"
        assert line in response.json["detail"]
        named = service.ask("/api/v1/sweeps/none", headers={"KD-Sweeps-Program": ".venv/bin/kd-sweeps"})
        assert ".venv/bin/kd-sweeps list --url http://127.0.0.1:" in named.json["detail"]
        for forged in ("rm -rf /; kd-sweeps", "kd-sweeps\x7f", "../" * 50 + "kd-sweeps"):
            response = service.ask("/api/v1/sweeps/none", headers={"KD-Sweeps-Program": forged})
            assert ": kd-sweeps list --url http://127.0.0.1" in response.json["detail"]


@pytest.mark.parametrize("path", ["/favicon.ico", "/dashboard/", "/static/bundle.js"])
def test_files_of_the_dashboard_are_served_without_an_accept_encoding_header(finished: Service, path: str) -> None:
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
def test_requests_that_break_the_dashboard_do_not_reach_it(finished: Service, path: str, status: int) -> None:
    reply = finished.ask(path, token=VIEWER)
    assert reply.status == status, reply.text
    assert b"root:" not in reply.body
    assert "Traceback" not in finished.log


@pytest.mark.slow
def test_an_unreachable_database_is_reported_without_its_password_until_it_returns(
    server: PostgresServer, tmp_path: Path
) -> None:
    url = server.new_database()
    created(url)
    with serving(url, "s", folder=tmp_path, tokens=TOKENS) as service:
        assert service.ask("/readyz").status == 200
        server.stop("immediate")
        try:
            assert service.ask("/healthz").status == 200
            for path in ("/readyz", "/api/v1/sweeps/s", "/metrics", "/dashboard/", "/api/studies"):
                away = service.ask(path, token=VIEWER)
                assert away.status == 503, away.text
                assert "see its log" in away.json["detail"]
                assert "5432" not in away.text
                assert server.url("x").partition("@")[0] not in away.text
        finally:
            server.start()
        assert service.ask("/api/v1/sweeps/s", token=VIEWER).status == 200
        assert service.ask("/readyz").status == 200
        assert "GET /readyz: cannot use postgresql://sweeper:***@127.0.0.1" in service.log
        assert "s3cr3t" not in service.log


FROZEN = (
    *("/readyz", "/metrics", "/", "/sweeps/s", "/events", "/events/sweeps/s", "/api/v1/sweeps", "/api/v1/sweeps/s"),
    *("/api/v1/sweeps/s/best", "/api/v1/sweeps/s/trials", "/api/v1/sweeps/s/workers", "/api/v1/sweeps/s/audit"),
    *("/api/v1/sweeps/s/findings", "/api/v1/sweeps/s/report?format=html", "/api/v1/sweeps/s/report"),
    *("/api/v1/sweeps/s/tasks/search%230/log", "/api/v1/sweeps/s/tasks/search%230/log?follow=true"),
    *("/api/studies", "/api/studies/1", "/csv/1", "/api/studies/1/plot/edf"),
)
COMMANDS = ("pause", "resume", "cancel", "retry", "extend")


@pytest.mark.slow
def test_a_frozen_database_is_reported_on_every_route_in_time_until_it_thaws(
    server: PostgresServer, tmp_path: Path
) -> None:
    from tests.support.web.services import OPERATOR

    url = server.new_database()
    created(url)

    def ask(path: str) -> tuple[str, int, float]:
        began = time.monotonic()
        if path in COMMANDS:
            body = {"seeds": 1} if path == "extend" else None
            reply = service.ask(f"/api/v1/sweeps/s/{path}", method="POST", token=OPERATOR, body=body)
        else:
            reply = service.ask(path, token=VIEWER)
        return path, reply.status, time.monotonic() - began

    with serving(url, "s", folder=tmp_path, tokens=TOKENS) as service, ThreadPoolExecutor(100) as pool:
        assert service.ask("/api/v1/sweeps/s/report", token=VIEWER).status == 409, "the process that draws is running"
        assert service.ask("/api/studies", token=VIEWER).status == 200
        with server.frozen():
            answers = list(pool.map(ask, 2 * (FROZEN + COMMANDS)))
        assert not [answer for answer in answers if answer[1] != 503 or answer[2] > 10], answers
        with server.frozen():
            assert service.ask("/healthz").status == 200
        assert service.ask("/readyz").status == 200
        assert service.ask("/api/v1/sweeps/s", token=VIEWER).status == 200
        assert service.ask("/api/studies", token=VIEWER).status == 200
