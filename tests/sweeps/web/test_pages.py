"""The pages of the service as a browser has them."""

from pathlib import Path

import pytest
from sqlalchemy import select, update

from storage.db.engine import open_engine
from storage.db.transaction import write
from storage.tables import sweeps
from tests.support.sweeps.small_sweeps import created
from tests.support.web.browser import Browser
from tests.support.web.services import serving

pytestmark = pytest.mark.processes


def test_the_first_page_lists_the_sweeps_and_text_stays_text(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db")
    engine = open_engine(url)
    with write(engine) as connection:
        spec = connection.scalar(select(sweeps.c.spec))
        spec["target"]["dataset"] = '<script>alert(1)</script>" onload="x.npz'
        connection.execute(update(sweeps).values(spec=spec))
    engine.dispose()
    with serving(f"sqlite:///{tmp_path}/s.db", folder=tmp_path) as service:
        page = service.ask("/")
    assert page.status == 200
    assert "<script>alert" not in page.text
    assert "script&gt;&quot; onload=&quot;x.npz" in page.text, "of a path the last part is shown"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["x-frame-options"] == "DENY"
    assert '<a href="/dashboard/">' in page.text
    assert '<a href="/sweeps/s">' in page.text


def test_optuna_dashboard_works_behind_the_service(browser: Browser, tmp_path: Path) -> None:
    created(f"sqlite:///{tmp_path}/s.db")
    with serving(f"sqlite:///{tmp_path}/s.db", folder=tmp_path) as service:
        shown = browser.dom(f"{service.url}/dashboard/")
    assert "s.teachers" in shown
    assert "s.transfer" in shown
