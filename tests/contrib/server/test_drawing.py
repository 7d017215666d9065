"""Reports: drawn once for each state of a sweep, one at a time, while the service keeps answering."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.url import resolve
from sweeps.contrib.server import drawing
from sweeps.usecases import steering
from tests.support.sweeps import reported_sweeps
from tests.support.sweeps.small_sweeps import wait_until
from tests.support.web.services import Reply, Service, serving

pytestmark = pytest.mark.processes
HTML = "/api/v1/sweeps/s/report?format=html"


class Drawn:
    """The forms drawn, in order; each drawing waits for `allowed`."""

    def __init__(self) -> None:
        self.forms: list[str] = []
        self.allowed = threading.Event()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Counts the drawings of the service of this process."""
    drawn, draw = Drawn(), drawing.Drawings._draw

    async def counted(self: drawing.Drawings, name: str, form: drawing.Form, *more: object) -> bytes:
        drawn.forms.append(form)
        while not drawn.allowed.is_set():
            await asyncio.sleep(0.01)
        return await draw(self, name, form, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(drawing.Drawings, "_draw", counted)
    return drawn


@pytest.fixture
def service(tmp_path: Path, drawn: Drawn) -> Iterator[Service]:
    with serving(reported_sweeps.worked(tmp_path), folder=tmp_path) as service:
        yield service


def test_many_viewers_cost_one_drawing_until_the_sweep_changes(service: Service, drawn: Drawn, tmp_path: Path) -> None:
    drawn.allowed.set()
    with ThreadPoolExecutor(12) as pool:
        pages = [reply.body for reply in pool.map(lambda _: service.ask(HTML), range(12))]
    assert len(set(pages)) == 1
    assert pages[0].startswith(b"<!DOCTYPE html>")
    service.ask(HTML)
    assert drawn.forms == ["html"], "viewers who come during a drawing share it"
    steering.pause(resolve(f"sqlite:///{tmp_path}/s.db"), "s")
    assert service.ask(HTML).status == 200
    assert drawn.forms == ["html", "html"]


def test_all_other_requests_are_answered_while_a_report_is_drawn(service: Service, drawn: Drawn) -> None:
    with ThreadPoolExecutor(8) as pool:
        forms = ["html", "markdown", "json"]
        waiting = [pool.submit(service.ask, f"/api/v1/sweeps/s/report?format={form}") for form in forms]
        wait_until(lambda: len(drawn.forms) == 1, "nothing is drawn")
        for path in ("/readyz", "/api/v1/sweeps/s", "/sweeps/s", "/metrics"):
            assert service.ask(path).status == 200, path
        assert len(drawn.forms) == 1, "one at a time"
        drawn.allowed.set()
        assert [future.result().status for future in waiting] == [200] * 3
    assert sorted(drawn.forms) == sorted(forms)


def test_nothing_is_drawn_for_viewers_that_have_gone(service: Service, drawn: Drawn) -> None:
    import http.client

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(service.ask, HTML)
        wait_until(lambda: drawn.forms == ["html"], "nothing is drawn")
        gone = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        gone.request("GET", "/api/v1/sweeps/s/report?format=markdown")
        wait_until(lambda: "s" in service.log, "it was not asked")
        gone.close()
        service.logged("GET /api/v1/sweeps/s/report - ")
        drawn.allowed.set()
        assert first.result().status == 200
    assert service.ask("/api/v1/sweeps/s/report?format=json").status == 200
    assert drawn.forms == ["html", "json"]


def test_a_process_that_dies_while_it_draws_is_reported_and_replaced(
    service: Service, drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn.allowed.set()
    monkeypatch.setattr(drawing, "draw", _die)
    reply: Reply = service.ask(HTML)
    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert "has died; try again" in reply.json["detail"]
    monkeypatch.undo()
    assert service.ask(HTML).status == 200


def _die(*_: object) -> bytes:
    import os

    os._exit(9)
