"""One addition of each kind - operation, arm, figure, loss - needs a change in one place only."""

import sys
from pathlib import Path

import numpy as np
import pytest

import kd.losses
from kd.losses import builtin
from storage.url import resolve
from sweeps.contrib.server import routes
from sweeps.contrib.server.client import HttpClient
from sweeps.findings.findings import load
from sweeps.operations.operation import LocalClient, plain
from sweeps.operations.table import SweepArgs
from sweeps.query.listing import open_sweep
from sweeps.report.folder import files
from sweeps.spec.model import override, parse
from sweeps.usecases.create import create_sweep, preset
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.worker import Worker
from tests.examples.additions import ABSOLUTE, PACE
from tests.support.web.services import TOKENS, VIEWER, serving

SPEC = {
    "trainer": {"kind": "tests.examples.additions:KIND"},
    "source": {"dataset": "digits"},
    "target": {"dataset": "negative"},
    "search": {"trials": 3},
    "confirm": {"rounds": [[1, 2]]},
    "transfer": {
        "seeds": 2,
        "source_arms": ["best", "default"],
        "target_arms": ["best", "native", "strong", "default"],
    },
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of a storage with a finished sweep "s"."""
    url = f"sqlite:///{tmp_path_factory.mktemp('additions')}/s.db"
    create_sweep(resolve(url), "s", parse(SPEC, origin="spec", new=True))
    with Worker(DatabaseBackend.open(resolve(url), "s")) as worker:
        assert worker.work() == 0
    return url


def test_an_added_operation_is_answered_locally_and_over_http(finished: str, tmp_path: Path) -> None:
    args = SweepArgs(name="s")
    answer = LocalClient(resolve(finished)).ask(PACE, args)
    assert set(answer.seconds) == {"search", "confirm", "native", "transfer"}
    before = len(routes.router.routes)
    routes.add_route(routes.router, PACE)
    try:
        with serving(finished, folder=tmp_path, tokens=TOKENS) as service:
            assert HttpClient(service.url, VIEWER).ask(PACE, args) == answer
            assert service.ask("/api/v1/sweeps/s/pace", token=VIEWER).json == plain(PACE.kind, answer)
            assert service.ask("/api/v1/sweeps/s/pace").status == 401
    finally:
        del routes.router.routes[before:]


def test_an_added_arm_is_trained_and_an_added_figure_is_on_the_page(finished: str) -> None:
    with open_sweep(finished, "s") as (engine, sweep):
        pages = files(load(engine, sweep))
    page = pages["report.html"]
    assert "Strong penalty" in page
    assert "How many trials each of 2 searches made." in page
    assert any("trials-made" in name for name in pages)


def test_a_loss_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = builtin.LOSSES
    for module in [module for name, module in sys.modules.items() if name.split(".")[0] in ("kd", "sweeps")]:
        for name, value in vars(module).copy().items():
            if value is rows:
                monkeypatch.setattr(module, name, {**rows, "absolute": ABSOLUTE})
    spec = override(preset("tiny"), {"training.distillation": "absolute"})
    assert spec.kind.formula(spec) == ABSOLUTE.formula
    labels, teacher, student = np.array([0, 1]), np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 3.0]])
    term = kd.losses.loss_named("absolute").term
    assert float(term(labels, teacher, student, temperature=1.0)) == pytest.approx(0.75)
