"""The page and the metrics of a sweep that scores a loss."""

import re

import pytest

from storage.url import resolve
from sweeps.usecases.create import create_sweep
from sweeps.workers.worker import run_worker
from tests.contrib.server.test_metrics import read
from tests.examples.loss_trainer import loss_spec


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of a storage with a finished sweep "s" whose best point was confirmed on four seeds."""
    url = f"sqlite:///{tmp_path_factory.mktemp('loss')}/s.db"
    assert create_sweep(resolve(url), "s", loss_spec(outer={"searches": 1}, confirm={"rounds": [[1, 4]]})).new
    assert run_worker(resolve(url), "s") == 0
    return url


def test_the_page_restores_the_sign_of_a_loss_and_its_interval(url: str) -> None:
    from sweeps.contrib.server.pages import sweep_page
    from sweeps.contrib.server.state import Views, serve_database

    served = serve_database(resolve(url), None, allow_code=False)
    page = sweep_page(Views(served, dict).of("s"))
    served.database.close()
    text = re.sub(r"\s+", " ", re.sub("<[^>]*>", "", page))
    best = re.search(r"(0\.\d+) 95 % CI (0\.\d+) to (0\.\d+) .*rate = 0\.\d+ validation, mean of 4 new seeds", text)
    assert best is not None, text
    mean, low, high = map(float, best.groups())
    assert 0.034 < low < mean < high < 0.036
    assert "accuracy" not in text


def test_the_best_score_of_the_metrics_is_the_stored_one(url: str) -> None:
    assert read(url)["kd_sweeps_best_score", "s"] == pytest.approx(-0.0347, abs=1e-4)
