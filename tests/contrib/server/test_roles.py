"""Who may do what: by token, by cookie, and without either."""

import http.client
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.url import resolve
from sweeps.contrib.server.auth import OPEN
from sweeps.contrib.server.work import PREFIX as WORK
from sweeps.operations.operation import Args, LocalClient
from sweeps.operations.table import STATUS, SWEEPS, TRIALS, SweepArgs, TrialsArgs
from tests.support.sweeps.small_sweeps import created
from tests.support.web.services import OPERATOR, TOKENS, VIEWER, WORKER, Service, serving

pytestmark = pytest.mark.processes

STEERING = ("pause", "resume", "cancel", "extend", "retry")
# Changes through optuna-dashboard: every method other than GET, and one route of each kind.
DASHBOARD = [
    ("DELETE", "/api/studies/0"),
    ("POST", "/api/studies"),
    ("POST", "/api/studies/0/rename"),
    ("PUT", "/api/studies/0/note"),
    ("POST", "/api/trials/0/tell"),
    ("PUT", "/api/trials/0/user-attrs"),
    ("PUT", "/api/studies/0/preference"),
]
COMMANDS = [
    *(("POST", f"/api/v1/sweeps/s/{order}") for order in STEERING),
    ("POST", "/api/v1/sweeps"),
    ("PATCH", "/"),
    ("OPTIONS", "/api/v1/sweeps"),
    *DASHBOARD,
]
QUERIES = [
    "/",
    "/metrics",
    "/dashboard/",
    "/api/studies",
    "/static/bundle.js",
    "/api/v1/openapi.json",
    "/api/v1/sweeps",
    *(f"/api/v1/sweeps/s{more}" for more in ("", "/best", "/trials", "/workers", "/audit", "/report", "/findings")),
    "/api/v1/sweeps/s/tasks/search%230/log",
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield a service with tokens on an untouched sweep "s"."""
    folder = tmp_path_factory.mktemp("roles")
    url = f"sqlite:///{folder}/s.db"
    created(url)
    with serving(url, folder=folder, tokens=TOKENS) as service:
        service.folder = folder  # type: ignore[attr-defined]
        yield service


def state(service: Service) -> str:
    """Return the answers of all queries about the sweep, without values that change with time."""
    database = LocalClient(resolve(f"sqlite:///{service.folder}/s.db"))  # type: ignore[attr-defined]
    return repr(
        (
            database.ask(STATUS, SweepArgs(name="s")),
            database.ask(TRIALS, TrialsArgs(name="s")),
            database.ask(SWEEPS, Args()),
        )
    )


def test_the_lists_of_queries_and_commands_are_complete(tmp_path: Path) -> None:
    from sweeps.contrib.server.app import make_app

    app = make_app(resolve(f"sqlite:///{tmp_path}/none.db"), with_dashboard=False)
    queries, commands = set(), set()
    for path, methods in app.openapi()["paths"].items():
        if path.startswith(WORK):
            continue  # for workers only: the next test
        plain = path.replace("{name}", "s").replace("{key}", "search%230")
        queries |= {plain} if "get" in methods else set()
        commands |= {(method.upper(), plain) for method in methods if method != "get"}
    assert queries - {"/healthz", "/readyz"} <= set(QUERIES)
    assert commands <= set(COMMANDS)


def test_worker_routes_need_a_worker_token_which_opens_no_other_route(service: Service) -> None:
    document = service.ask("/api/v1/openapi.json", token=VIEWER).json
    routes = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
    assert len([path for _, path in routes if path.startswith(WORK)]) > 20
    for method, path in routes:
        for token in (VIEWER, OPERATOR) if path.startswith(WORK) else (WORKER,):
            reply = service.ask(re.sub("{.*?}", "s", path), method=method, token=token)
            assert (reply.status == 403 and "role" in reply.json["detail"]) != (path in OPEN), (method, path, token)


@pytest.mark.parametrize("path", QUERIES)
def test_a_query_needs_the_token_of_a_viewer_or_operator(service: Service, path: str) -> None:
    refused = service.ask(path)
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert refused.json["exit_code"] == 1
    for token in (VIEWER, OPERATOR):
        assert service.ask(path, token=token).status in (200, 307, 409), path
    for method in ("GET", "HEAD"):
        assert service.ask(path, method=method, token=WORKER).status == 403
    for token in ("", "viewer", VIEWER[:-1], f"{VIEWER}x", VIEWER.upper(), "é", f"{VIEWER} {OPERATOR}"):
        refused = service.ask(path, headers={"Authorization": f"Bearer {token}"})
        assert refused.status == 401
    assert service.ask(path, headers={"Authorization": f"Basic {VIEWER}"}).status == 401


@pytest.mark.parametrize(("method", "path"), COMMANDS)
def test_a_command_needs_the_role_operator_and_changes_nothing_without(
    service: Service, method: str, path: str
) -> None:
    before = state(service)
    body = {"name": "t", "preset": "tiny"} if path == "/api/v1/sweeps" else {"seeds": 1}
    assert service.ask(path, method=method, body=body).status == 401
    for token, needed in ((VIEWER, "role operator"), (WORKER, "for workers")):
        refused = service.ask(path, method=method, body=body, token=token)
        assert refused.status == 403
        assert needed in refused.json["detail"]
    assert state(service) == before


def test_an_operator_steers_the_sweep_and_the_dashboard(service: Service) -> None:
    assert service.ask("/api/v1/sweeps/s/pause", method="POST", token=OPERATOR).json == {"tasks": 0}
    assert service.ask("/api/v1/sweeps/s", token=VIEWER).json["state"] == "paused"
    assert service.ask("/api/v1/sweeps/s/resume", method="POST", token=OPERATOR).json["tasks"] > 10
    response = service.ask(
        "/api/studies", method="POST", token=OPERATOR, body={"study_name": "mine", "directions": ["minimize"]}
    )
    assert response.status == 201
    number = response.json["study_summary"]["study_id"]
    assert service.ask(f"/api/studies/{number}", method="DELETE", token=OPERATOR, body={}).status == 204


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/login"])
def test_health_and_login_need_no_token(service: Service, path: str) -> None:
    assert service.ask(path).status == 200


class Browser:
    """A browser that keeps one cookie and sends the origin of its page."""

    def __init__(self, service: Service, token: str) -> None:
        body = f"token={token}&next=/api/v1/sweeps".encode()
        self.reply = service.ask(
            "/login", method="POST", body=body, headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        self.set_cookie = self.reply.headers.get("set-cookie", "")
        self.cookie = self.set_cookie.partition(";")[0]

    def headers(self, **more: str) -> dict[str, str]:
        return {"Cookie": self.cookie, **{name.replace("_", "-"): value for name, value in more.items()}}


def test_a_browser_is_redirected_to_the_login_form_and_back(service: Service) -> None:
    response = service.ask("/api/v1/sweeps?limit=1", headers={"Accept": "text/html,*/*"})
    assert response.status == 303
    assert response.headers["location"] == "/login?next=%2Fapi%2Fv1%2Fsweeps%3Flimit%3D1"
    form = service.ask(response.headers["location"])
    assert 'value="/api/v1/sweeps?limit=1"' in form.text
    browser = Browser(service, VIEWER)
    assert browser.reply.status == 303
    assert browser.reply.headers["location"] == "/api/v1/sweeps"
    assert re.search(r"; HttpOnly; .*Path=/; SameSite=strict", browser.set_cookie)
    assert VIEWER not in browser.set_cookie
    assert service.ask("/api/v1/sweeps", headers=browser.headers()).status == 200


@pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1"])
def test_the_form_leads_to_no_other_site(service: Service, elsewhere: str) -> None:
    body = f"token={VIEWER}&next={elsewhere}".encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert service.ask("/login", method="POST", body=body, headers=headers).headers["location"] == "/"


def test_a_wrong_or_worker_token_gives_no_cookie_and_markup_is_escaped(service: Service) -> None:
    for token in ("%3Cscript%3E", WORKER):
        browser = Browser(service, token)
        assert (browser.reply.status, browser.set_cookie) == (403, "")
    page = service.ask("/login?next=/%22%3E%3Cscript%3E1%3C/script%3E").text
    assert "<script>" not in page


def test_a_cookie_has_a_role_and_changes_only_from_pages_of_the_service(service: Service) -> None:
    pause, host = "/api/v1/sweeps/s/resume", f"127.0.0.1:{service.port}"
    viewer, operator = Browser(service, VIEWER), Browser(service, OPERATOR)
    same = {"Sec_Fetch_Site": "same-origin"}
    assert service.ask(pause, method="POST", headers=viewer.headers(**same)).status == 403
    assert service.ask(pause, method="POST", headers=operator.headers(**same)).status == 200
    assert service.ask(pause, method="POST", headers=operator.headers(Origin=f"http://{host}")).status == 200
    before = state(service)
    for more in (
        {},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://{host}.evil.example"},
    ):
        for path in (pause, "/api/v1/sweeps/s/cancel"):
            refused = service.ask(path, method="POST", headers=operator.headers(**more))
            assert refused.status == 403, more
    assert state(service) == before


def test_a_forged_cookie_opens_nothing(service: Service) -> None:
    _, _, value = Browser(service, VIEWER).cookie.partition("=")
    _, _, operators = Browser(service, OPERATOR).cookie.partition("=")
    for forged in (operators[:16] + value[16:], value[:-1], f"{value}x", value.swapcase(), "", ".", "operator"):
        assert service.ask("/api/v1/sweeps", headers={"Cookie": f"kd_sweeps_session={forged}"}).status == 401, forged


def test_two_cookie_headers_are_both_read(service: Service) -> None:
    browser = Browser(service, VIEWER)
    for lines in (("a=b", browser.cookie), (browser.cookie, "a=b")):
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        connection.putrequest("GET", "/api/v1/sweeps")
        for line in lines:
            connection.putheader("Cookie", line)
        connection.endheaders()
        assert connection.getresponse().status == 200
        connection.close()


def test_after_a_logout_a_copy_of_the_cookie_opens_nothing(service: Service) -> None:
    browser, other = Browser(service, OPERATOR), Browser(service, OPERATOR)
    assert "operator" not in browser.cookie, "the role stays on the server"
    elsewhere = browser.headers(Origin="https://evil.example")
    assert service.ask("/logout", method="POST", headers=elsewhere).status == 403
    assert service.ask("/api/v1/sweeps", headers=browser.headers()).status == 200
    out = service.ask("/logout", method="POST", headers=browser.headers(Sec_Fetch_Site="same-origin"))
    assert (out.status, out.headers["location"]) == (303, "/login")
    assert "Max-Age=0" in out.headers["set-cookie"]
    assert service.ask("/api/v1/sweeps", headers=browser.headers()).status == 401
    assert service.ask("/api/v1/sweeps", headers=other.headers()).status == 200, "other logins stay valid"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_behind_a_proxy_with_tls_the_cookie_is_secure(service: Service, scheme: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-Proto": scheme}
    reply = service.ask("/login", method="POST", body=f"token={VIEWER}".encode(), headers=headers)
    assert ("Secure" in reply.headers["set-cookie"]) == (scheme == "https")


def test_no_token_or_cookie_is_logged(service: Service) -> None:
    browser = Browser(service, OPERATOR)
    service.ask(f"/api/v1/sweeps?token={OPERATOR}", token=OPERATOR)
    service.ask(f"/nowhere?access_token={VIEWER}", headers=browser.headers())
    service.ask("/api/v1/sweeps", headers={"Authorization": f"Bearer {OPERATOR}x"})
    assert service.ask("/api/v1/last", token=VIEWER).status == 404
    assert service.logged("GET /api/v1/sweeps 401")
    assert service.logged("GET /api/v1/last 404")
    for secret in (VIEWER, OPERATOR, browser.cookie.partition("=")[2]):
        assert secret not in service.log


def test_a_path_cannot_write_into_the_log(service: Service) -> None:
    service.ask("/api/v1/%0A2026%20GET%20/forged%1b[31m%E2%80%AEtxt", token=VIEWER)
    assert "GET /api/v1/\\n2026 GET /forged\\x1b[31m\\u202etxt 404" in service.logged("forged")


def test_without_tokens_only_this_machine_is_answered_and_no_page_of_another_site(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    created(url)
    with serving(url, "s", folder=tmp_path) as service:
        pause = "/api/v1/sweeps/s/pause"
        assert service.ask("/api/v1/sweeps/s").status == 200
        for name in ("evil.example", f"evil.example:{service.port}", "127.0.0.1.evil.example", ""):
            assert service.ask("/api/v1/sweeps/s", headers={"Host": name}).status == 403
        for name in ("localhost", "[::1]", "127.0.0.1:1"):
            assert service.ask("/api/v1/sweeps/s", headers={"Host": name}).status == 200
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
            assert service.ask(pause, method="POST", headers=headers).status == 403
        assert service.ask("/api/v1/sweeps/s").json["state"] == "active"
        assert service.ask(pause, method="POST").status == 200
        assert service.ask("/api/v1/sweeps/s").json["state"] == "paused"
