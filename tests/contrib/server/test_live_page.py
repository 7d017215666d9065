"""The live page: idle, running and finished sweeps, with and without scripts, and in a browser."""

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sweeps.contrib.server.client import Event, events
from sweeps.usecases import steering
from tests.support.sweeps.audited_sweeps import execute
from tests.support.sweeps.planted_sweeps import failing, work
from tests.support.sweeps.small_sweeps import created, start_worker
from tests.support.web.driven_browser import DrivenBrowser, driven_browser
from tests.support.web.services import OPERATOR, TOKENS, VIEWER, Reply, Service, serving

pytestmark = pytest.mark.processes

# Shows markup that leaked into the page: elements must close in the order of their opening.
_TAG = re.compile(r"<(/?)([a-z0-9]+)[^>]*>")
_VOID = {"meta", "link", "br"}


def _unclosed(page: str) -> list[str]:
    opened: list[str] = []
    for close, tag in _TAG.findall(page):
        if close:
            assert opened.pop() == tag, f"</{tag}> closes another element"
        elif tag not in _VOID:
            opened.append(tag)
    return opened


@contextmanager
def _followed(service: Service, path: str) -> Iterator[Iterator[Event]]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {VIEWER}"})
        answer = connection.getresponse()
        assert answer.status == 200
        yield events(line.decode().rstrip("\r\n") for line in answer)
    finally:
        connection.close()


def test_a_finished_sweep_has_one_headline_its_hash_and_working_links(finished: Service) -> None:
    page = finished.ask("/sweeps/s", token=VIEWER)
    assert page.status == 200
    assert not _unclosed(page.text)
    assert '<p class="headline">' in page.text
    assert "100 % of the work" in page.text
    answer = finished.ask("/api/v1/sweeps/s", token=VIEWER).json["fingerprints"]["answer_hash"]
    assert f"<code>{answer}</code>" in page.text
    links = re.findall(r'href="(/[^"]*)"', page.text)
    assert any(link.startswith("/dashboard/studies/") for link in links)
    for link in links:
        assert finished.ask(link.replace("&amp;", "&"), token=VIEWER).status == 200, link


def test_pages_run_and_load_only_what_the_service_serves(finished: Service) -> None:
    for path in ("/", "/sweeps/s"):
        page = finished.ask(path, token=VIEWER)
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert re.findall(r"<script[^>]*>[^<]", page.text) == []
        assert re.findall(r'(?:src|href)="https?:', page.text) == []
        assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in page.text, (
            "without scripts it reloads"
        )


@pytest.mark.parametrize("path", ["/", "/sweeps/s", "/events", "/events/sweeps/s", "/live.js"])
def test_without_a_token_nothing_is_shown(finished: Service, path: str) -> None:
    assert finished.ask(path).status == 401
    reply = finished.ask(path, headers={"Accept": "text/html"})
    assert (reply.status, reply.headers["location"].partition("?")[0]) == (303, "/login")


@pytest.mark.parametrize("name", ["nothing", "..", "%2e%2e%2f", "<script>", "%3Cscript%3E", "a" * 300])
def test_a_missing_sweep_is_one_line(finished: Service, name: str) -> None:
    for path in (f"/sweeps/{name}", f"/events/sweeps/{name}"):
        refused = finished.ask(path.replace("<", "%3C").replace(">", "%3E"), token=VIEWER)
        assert refused.status in (404, 422)
        assert refused.headers["content-type"] == "application/problem+json", "browsers do not read markup in it"
        assert len(refused.json["detail"].splitlines()) == 1


def test_an_empty_storage_says_what_to_type(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path}/new.db", folder=tmp_path) as service:
        page = service.ask("/").text
        assert "No sweep yet" in page
        assert "create NAME --preset quick --storage URL" in page
        assert not _unclosed(page)


def test_the_page_follows_a_sweep_through_its_states(tmp_path: Path) -> None:
    storage_url = f"sqlite:///{tmp_path}/s.db"
    url = created(storage_url)
    with (
        serving(storage_url, folder=tmp_path, tokens=TOKENS) as service,
        _followed(service, "/events/sweeps/s") as events,
    ):
        pages = (json.loads(event.data) for event in events if event.kind == "page")
        first = next(pages)
        assert "no worker is running" in first
        assert "Pause" not in first, "a viewer may read only"
        assert "So far" not in first
        assert ">Report<" not in first, "there is no report yet"
        assert "launch s" in first
        steering.pause(url, "s")
        assert any(">paused</span>" in page for page in pages)
        steering.resume(url, "s")
        worker = start_worker(storage_url, seconds=0.5)
        try:
            working = next(page for page in pages if ">running</span>" in page and "So far" in page)
            assert re.search(r"partly luck|new seed", working)
            assert worker.pid is not None
            assert f"-{worker.pid}-" in working, "the worker by its name"
            last = next(page for page in pages if ">finished" in page)
        finally:
            worker.kill()
            worker.join(10)
        assert "So far" not in last
        assert not _unclosed(last)


def test_the_page_reports_a_lost_database_and_its_return(tmp_path: Path) -> None:
    file = tmp_path / "s.db"
    created(f"sqlite:///{file}")
    with (
        serving(f"sqlite:///{file}", folder=tmp_path, tokens=TOKENS) as service,
        _followed(service, "/events") as events,
    ):
        assert next(events).kind == "page"
        hidden = file.rename(tmp_path / "away.db")
        trouble = next(event for event in events if event.kind == "trouble")
        assert "cannot read its database" in trouble.data
        assert next(events).kind == "trouble", "no page may replace it during the outage"
        hidden.rename(file)
        assert next(event for event in events if event.kind == "page").data


def test_optuna_dashboard_answers_503_once_its_file_was_replaced(tmp_path: Path) -> None:
    for name in ("s", "other"):
        created(f"sqlite:///{tmp_path}/{name}.db")
    with serving(f"sqlite:///{tmp_path}/s.db", folder=tmp_path) as service:
        assert service.ask("/api/studies").status == 200
        (tmp_path / "other.db").replace(tmp_path / "s.db")
        assert service.ask("/api/studies").status == 503
        assert "s.db was replaced by another while it was in use" in service.log


def test_buttons_work_only_for_operators_and_on_pages_of_this_service(tmp_path: Path) -> None:
    storage_url = f"sqlite:///{tmp_path}/s.db"
    created(storage_url)
    with serving(storage_url, folder=tmp_path, tokens=TOKENS) as service:
        form = {"Content-Type": "application/x-www-form-urlencoded"}

        def command(word: str, token: str, **headers: str) -> Reply:
            return service.ask(f"/sweeps/s/{word}", method="POST", token=token, headers=form | headers)

        assert command("pause", "").status == 401
        assert command("pause", VIEWER).status == 403
        assert command("launch", OPERATOR).status == 422
        login = service.ask("/login", method="POST", body=f"token={OPERATOR}".encode(), headers=form)
        cookie = login.headers["set-cookie"].partition(";")[0]
        assert command("pause", "", Cookie=cookie, Origin="https://evil.example").status == 403
        assert ">paused</span>" not in service.ask("/sweeps/s", token=OPERATOR).text
        for word, state in (("pause", "paused"), ("resume", "no worker is running"), ("cancel", "cancelled")):
            reply = command(word, OPERATOR)
            assert (reply.status, reply.headers["location"]) == (303, "/sweeps/s")
            assert f">{state}</span>" in service.ask("/sweeps/s", token=OPERATOR).text, "the page is up to date"
        assert command("pause", OPERATOR).json["detail"] == "nothing to pause: s is cancelled"


def press(browser: DrivenBrowser, label: str) -> None:
    buttons = "[...document.querySelectorAll('.steer button')]"
    browser.run(f"{buttons}.find((button) => button.textContent === '{label}').click()")


def test_in_a_browser_the_page_changes_without_a_reload_and_links_to_the_dashboard(tmp_path: Path) -> None:
    storage_url = f"sqlite:///{tmp_path}/s.db"
    created(storage_url)
    with (
        serving(storage_url, folder=tmp_path, tokens=TOKENS) as service,
        # A host name other than localhost: over plain HTTP, browsers then send no Sec-Fetch-Site.
        driven_browser(tmp_path / "profile", "--host-resolver-rules=MAP team.example 127.0.0.1") as browser,
    ):
        url = f"http://team.example:{service.port}"
        browser.go(f"{url}/sweeps/s")
        browser.wait_for("Token")
        browser.run(f"document.querySelector('#token').value = '{OPERATOR}'; document.forms[0].submit()")
        browser.go(f"{url}/dashboard/")
        browser.wait_for("s.teachers")
        browser.wait_for("s.transfer")
        browser.go(f"{url}/sweeps/s")
        browser.wait_for("no worker is running")
        press(browser, "Pause")
        browser.wait_for("paused", 10)
        press(browser, "Resume")
        browser.wait_for("no worker is running", 10)
        browser.run("window.loadedOnce = true")
        worker = start_worker(storage_url, seconds=0.2)
        try:
            browser.wait_for("at work on")
            browser.wait_for("Point at a trial, or tap it.")
            dot = "document.querySelector('circle')"
            click = f"{dot}.dispatchEvent(new MouseEvent('click', {{bubbles: true}}))"
            task, _, point = browser.run(f"{click}; return {dot}.textContent").partition(": ")
            assert point.startswith("T = ")
            browser.wait_for(f"{task}: T = ")
            assert not browser.run("return document.querySelector('#numbers').open"), "for readers without scripts"
            browser.wait_for("finished")
        finally:
            worker.kill()
            worker.join(10)
        assert browser.run("return window.loadedOnce === true")
        browser.resize(400, 800)
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than a phone"
        service.stop()
        browser.wait_for("does not answer")


def test_the_first_page_lists_the_sweeps_and_escapes_their_text(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db")
    created(f"sqlite:///{tmp_path}/s.db", name="failed")
    work(url, failing("<img src=x onerror=alert(1)> & 'more'"), name="failed")
    dataset = '<script>alert(1)</script>" onload="x.npz'
    execute(url, f"UPDATE sweeps SET spec = json_set(spec, '$.target.dataset', '{dataset}') WHERE name = 's'")
    with serving(f"sqlite:///{tmp_path}/s.db", folder=tmp_path) as service:
        page, of_failed = service.ask("/"), service.ask("/sweeps/failed").text
    assert page.status == 200
    assert "<script>alert" not in page.text
    assert "script&gt;&quot; onload=&quot;x.npz" in page.text, "only the last part of a path is shown"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["x-frame-options"] == "DENY"
    assert '<a href="/dashboard/">' in page.text
    assert '<a href="/sweeps/s">' in page.text
    assert "&lt;img src=x onerror=alert(1)&gt; &amp; &#x27;more&#x27;" in of_failed
    assert "<img" not in of_failed
