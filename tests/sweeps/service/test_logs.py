"""The logs that workers left here: the end of each, or what concerns one task, as text."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.workers.logs import log_folder
from tests.support.sweeps.small_sweeps import created

KdSweeps = Callable[..., tuple[int, str, str]]


def test_logs_shows_the_end_of_each_log_and_everything_about_one_task(
    kd_sweeps: KdSweeps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    created(f"sqlite:///{tmp_path}/kd-sweeps.db")
    code, _, err = kd_sweeps("logs", "s")
    assert (code, "no worker of s has run on this machine" in err) == (1, True)
    folder = log_folder("s")
    folder.mkdir(parents=True)
    when = "2026-01-01 00:00:00,000 I"
    for worker, keys in (("one", ["search#1", "search#10", "search#2"]), ("two", ["search#3"])):
        record = {"time": "2026-01-01T00:00:00.000+00:00", "level": "INFO", "attempt": 1}
        logged = {key: json.dumps(record | {"task": key, "message": f"{key} attempt 1"}) for key in keys}
        lines = [line for key in keys for line in (logged[key], f"noise in {key}")]
        (folder / f"{worker}.log").write_text("\n".join(lines))
    code, out, _ = kd_sweeps("logs", "s", "-n", "1")
    assert code == 0
    assert [line for line in out.splitlines() if not line.startswith("==>")] == [
        "noise in search#2",
        "",
        "noise in search#3",
        "",
    ]
    code, out, _ = kd_sweeps("logs", "s", "--task", "search#1")
    assert (code, out.splitlines()[1:]) == (0, [f"{when} search#1 attempt 1", "noise in search#1"])
    code, _, err = kd_sweeps("logs", "s", "--task", "confirm#0.0")
    assert (code, "no worker has had it yet" in err) == (1, True)
