"""Launch, then publish: only by whoever saw the last task end, and only once."""

from pathlib import Path

import pytest

from storage.url import resolve
from sweeps.contrib.slurm import DETACHED_VARIABLE
from sweeps.errors import SweepError
from sweeps.launch import launcher
from sweeps.launch.launcher import Launched
from sweeps.launch.local import WORKER_VARIABLE
from sweeps.usecases import run
from sweeps.workers import worker


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sweeps that were published."""
    names: list[str] = []
    monkeypatch.setattr(run, "publish", lambda url, name: names.append(name))
    monkeypatch.delenv(WORKER_VARIABLE, raising=False)
    return names


@pytest.mark.parametrize(
    ("launched", "expected"),
    [
        (Launched(0, finished=True), ["s"]),
        (Launched(1, finished=True), ["s"]),
        (Launched(1, finished=False), []),
        (Launched(130, finished=False), []),
    ],
)
def test_a_launch_publishes_what_it_finished(
    launched: Launched, expected: list[str], published: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "launch", lambda *arguments, **options: launched)
    assert run.launch(resolve(f"sqlite:///{tmp_path}/a.db"), "s") == launched.code
    assert published == expected


@pytest.mark.parametrize(("code", "name", "expected"), [(0, None, ["s"]), (143, None, []), (0, "host-1-ab-0", [])])
def test_a_worker_publishes_unless_a_launch_will(
    code: int,
    name: str | None,
    expected: list[str],
    published: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "run_worker", lambda *arguments, **options: code)
    if name is not None:
        monkeypatch.setenv(WORKER_VARIABLE, name)
    assert run.work(resolve(f"sqlite:///{tmp_path}/a.db"), "s") == code
    assert published == expected


def test_a_worker_that_no_launch_waits_for_publishes_though_it_has_a_name(
    published: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "run_worker", lambda *arguments, **options: 0)
    monkeypatch.setenv(WORKER_VARIABLE, "slurm-12_3.0-ab12")
    monkeypatch.setenv(DETACHED_VARIABLE, "yes")
    assert run.work(resolve(f"sqlite:///{tmp_path}/a.db"), "s") == 0
    assert published == ["s"]


@pytest.mark.parametrize("workers", [0, -1, 1_001, 10**9])
def test_a_number_of_workers_that_no_machine_has_is_refused_from_python_too(workers: int, tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=f"--workers: got {workers}; allowed: 1 to 1000"):
        run.launch(resolve(f"sqlite:///{tmp_path}/a.db"), "s", workers=workers)
