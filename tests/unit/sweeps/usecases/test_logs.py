"""Logs: the ends of the log files on this machine, and the stored logs of attempts from any machine."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.db.engine import open_engine
from storage.queue import tasks
from storage.queue.tasks import Ending
from storage.records import queries
from sweeps.operations.operation import LocalClient
from sweeps.plan.jobs import AnyJob
from sweeps.trainers.protocol import Steps
from sweeps.usecases.logs import follow
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.logs import log_root
from sweeps.workers.reach import log_folder
from sweeps.workers.runner import Outcome
from sweeps.workers.worker import Worker
from tests.support.sweeps.planted_sweeps import worked
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import created
from tests.support.sweeps.storage_sweeps import claimed

pytestmark = pytest.mark.usefixtures("in_memory")

KdSweeps = Callable[..., tuple[int, str, str]]


def logged(key: str, text: str) -> str:
    """Return a line in the format of a worker."""
    record = {"time": "2026-01-01T00:00:00.000+00:00", "level": "INFO", "attempt": 1}
    return json.dumps(record | {"task": key, "message": text})


def test_logs_prints_the_end_of_each_log_on_this_machine(
    kd_sweeps: KdSweeps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    url = created(f"sqlite:///{tmp_path}/kd-sweeps.db")
    code, _, err = kd_sweeps("logs", "s")
    assert (code, "no logs of s on this machine" in err) == (1, True)
    assert "kd-sweeps logs s --task KEY" in err
    folder = log_folder(url, "s")
    folder.mkdir(parents=True)
    for worker, keys in (("one", ["search#1", "search#2"]), ("two", ["search#3"])):
        lines = [line for key in keys for line in (logged(key, f"{key} attempt 1"), f"noise in {key}")]
        (folder / f"{worker}.log").write_text("\n".join(lines))
    code, out, _ = kd_sweeps("logs", "s", "-n", "1")
    assert code == 0
    lines = [line for line in out.splitlines() if not line.startswith("==>")]
    assert lines == ["noise in search#2", "", "noise in search#3", ""]


def test_sweeps_of_one_name_in_two_storages_have_two_log_folders_and_the_old_folder_is_still_read(
    kd_sweeps: KdSweeps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("a", "b")]
    for url in urls:
        folder = log_folder(created(url), "s")
        folder.mkdir(parents=True)
        (folder / "w.log").write_text(f"worked for {url}")
    old = log_root() / "s"
    old.mkdir()
    (old / "w.log").write_text("worked for any")
    texts = [kd_sweeps("logs", "s", "--storage", url)[1] for url in (*urls, f"sqlite:///{tmp_path}/c.db")]
    assert [text.splitlines()[1:] for text in texts] == [
        [f"worked for {urls[0]}", ""],
        [f"worked for {urls[1]}", ""],
        ["worked for any", ""],
    ]


def test_the_log_of_a_task_is_read_from_the_storage_attempt_by_attempt(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    url, log_file = created(f"sqlite:///{tmp_path}/kd-sweeps.db"), tmp_path / "worker.log"

    def run(claim: AnyJob, params: dict[str, Any], steps: Steps) -> Outcome:
        with log_file.open("a") as file:
            print(logged(claim.key, f"{claim.key} attempt {claim.row.attempt}"), file=file)
            print(f"noise in {claim.key}", file=file)
        if claim.key == "search#1" and claim.row.attempt == 1:
            raise KeyError("a mistake")
        return quadratic(claim, params, steps)

    log_file.write_text("before\n")
    with Worker(DatabaseBackend.open(url, "s"), run=run, worker="w1", log_file=log_file) as worker:
        assert worker.work() == 0
    log_file.unlink()  # as on another machine
    code, out, _ = kd_sweeps("logs", "s", "--task", "search#1")
    assert code == 0
    first, second = out.split("==> search#1 attempt ")[1:]
    assert first.startswith("1: failed (error), worker w1 on ")
    for text in ("I search#1 attempt 1", "noise in search#1", "Traceback", "KeyError: 'a mistake'", "reason: KeyError"):
        assert text in first
    assert second.startswith("2: done, worker w1")
    assert "I search#1 attempt 2" in second
    assert "attempt 1" not in second
    assert "before" not in out
    assert "search#2" not in out
    assert kd_sweeps("logs", "s", "--task", "search#1", "--attempt", "2")[1].startswith("==> search#1 attempt 2: done")
    ends = kd_sweeps("logs", "s", "--task", "search#1", "-n", "1")[1].splitlines()
    assert [line for line in ends if line and not line.startswith("==>")] == [
        first.strip().splitlines()[-1],
        second.strip().splitlines()[-1],
    ]


def test_a_running_attempt_is_followed_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.usecases.logs.POLL_S", 0.01)
    url = created(f"sqlite:///{tmp_path}/a.db")
    engine = open_engine(url)
    claim = claimed(engine, queries.find_sweep(engine, "s").id)
    assert tasks.renew(engine, claim, 600, log="one\ntwo")
    lines = follow(LocalClient(url).open, "s", claim.key)
    assert [next(lines) for _ in range(3)] == [f"==> {claim.key} attempt 1: running, worker w on h", "one", "two"]
    assert tasks.renew(engine, claim, 600, log="two\nthree")  # the first line was dropped
    assert next(lines) == "three"
    assert tasks.end(engine, claim, Ending("failed", "error", "boom", log="three\nfour"), cap=1)
    engine.dispose()
    assert list(lines) == ["four", "reason: boom"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "search#3"], "search#3 has not started yet"),
        (["--task", "dream#1"], "s has no task 'dream#1'"),
        (["--task", "search#1", "--attempt", "7"], "--attempt: got 7; search#1 has attempt 1 only"),
        (["--follow"], "--attempt and --follow need --task"),
        (["--attempt", "x", "--task", "search#1"], "--attempt: got 'x'"),
        (["--attempt", "0", "--task", "search#1"], "--attempt: got '0'; allowed: a whole number from 1 to"),
        (["-n", "few"], "--lines: got 'few'; allowed: a whole number"),
        (["-n", "-1"], "--lines: got '-1'; allowed: a whole number from 0 to"),
    ],
)
def test_bad_options_of_logs_give_a_one_line_error(
    kd_sweeps: KdSweeps, tmp_path: Path, words: list[str], message: str
) -> None:
    worked(f"sqlite:///{tmp_path}/kd-sweeps.db", stop_at="search#2")
    code, out, err = kd_sweeps("logs", "s", *words)
    assert (code in (1, 2), out, len(err.splitlines())) == (True, "", 1)
    assert message in err
