"""Whole sweeps of a function and of a shell script: real workers, kills, the same answer for one and two."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from storage.url import resolve
from sweeps import Sweep
from sweeps.plan.audit import audit
from sweeps.query.listing import open_sweep
from sweeps.usecases.create import create_sweep
from tests.processes.custom.own_training import train
from tests.support.custom.specs import TRAIN, spec, write
from tests.support.faults.crews import environment
from tests.support.present import present
from tests.support.sweeps.archived_sweeps import records
from tests.support.sweeps.planted_sweeps import answer_of
from tests.support.sweeps.small_sweeps import wait_until
from tests.support.sweeps.typed_commands import KdSweeps

Finished: TypeAlias = tuple[str, str, Path]
QUICK_LEASE = {"interval_s": 0.3, "grace_s": 1.2}
SMALL: Mapping[str, Any] = {
    "search": {"trials": 2, "sampler": "qmc"},
    "confirm": {"rounds": [[1, 1]]},
    "transfer": {"seeds": 1},
}
TASKS = 3 * (2 + 2 + 3)
"""Of three searches: trials, confirms with the default, and best, untreated and default."""
# The training of TRAIN as a program.
SCRIPT = """#!/bin/sh
if [ "$KD_SWEEPS_TEST" = 1 ]; then
    printf '{"test": %s}\\n' "$(cat "$KD_SWEEPS_FOLDER/score")"
    exit
fi
awk -v t="$1" -v a="$2" -v s="$3" 'BEGIN {
    srand(s); printf "%.6f", 0.9 - 0.02 * log(t / 4) ^ 2 - 0.1 * (a - 0.3) ^ 2 + rand() / 500
}' > "$KD_SWEEPS_FOLDER/score"
echo "a line of $KD_SWEEPS_DATASET before the result"
printf '{"validation": %s, "agreement": %s}\\n' "$(cat "$KD_SWEEPS_FOLDER/score")" "$2"
"""


def trainer(folder: Path, kind: str) -> dict[str, Any]:
    if kind == "function":
        return {"train": f"{write(folder / 'train.py', TRAIN)}:train"}
    script = write(folder / "train.sh", SCRIPT)
    return {"command": f"{script} {{temperature}} {{alpha}} {{seed}}", "test": str(script)}


def new(folder: Path, kind: str, name: str, url: str = "") -> str:
    url = url or f"sqlite:///{folder}/{name}.db"
    assert create_sweep(resolve(url), name, spec(trainer(folder, kind), lease=QUICK_LEASE, **SMALL)).new
    return url


def worker(url: str, name: str, folder: Path, **variables: str) -> "subprocess.Popen[bytes]":
    """Start a real worker, which keeps the folders of its tasks below `folder`."""
    own = {"KD_SWEEPS_STORAGE": url, "KD_SWEEPS_CACHE": str(folder / "cache"), "XDG_STATE_HOME": str(folder / "state")}
    command = [sys.executable, "-P", "-m", "sweeps.cli", "worker", name]
    return subprocess.Popen(
        command, env=environment() | own | variables, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def answer(url: str, name: str) -> str:
    """Return the answer hash of a finished sweep without violations."""
    tasks = records(url, name).values()
    assert ({task.state for task in tasks}, len(tasks)) == ({"done"}, TASKS)
    with open_sweep(url, name) as (engine, sweep):
        books = audit(engine, sweep)
    assert (books.violations, books.warnings) == ([], [])
    return present(answer_of(url, name))


@pytest.fixture(scope="module", params=["function", "command"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Return the kind of training, the URL of a sweep "s" that one worker finished, and its folder."""
    folder = tmp_path_factory.mktemp(request.param)
    url = new(folder, request.param, "s")
    assert worker(url, "s", folder).wait(300) == 0
    return request.param, url, folder


def test_two_workers_one_of_them_killed_repeatedly_give_the_same_answer(finished: Finished, storage_url: str) -> None:
    kind, url, folder = finished
    alone = answer(url, "s")
    other = new(folder, kind, "two", storage_url)

    def done() -> int:
        return sum(task.state == "done" for task in records(other, "two").values())

    steady = worker(other, "two", folder)
    for enough in (2, 7, 12):
        doomed = worker(other, "two", folder)
        wait_until(lambda enough=enough: done() >= enough or steady.poll() is not None, "no results", 120)  # type: ignore[misc]
        doomed.send_signal(signal.SIGKILL)
        doomed.wait()
    assert steady.wait(300) == 0
    assert answer(other, "two") == alone
    assert list((folder / "cache").rglob("score")) == [], "the folder of a finished task is removed"


def test_a_custom_sweep_can_be_replayed_archived_verified_and_reported(finished: Finished, kd_sweeps: KdSweeps) -> None:
    kind, url, _ = finished
    code, out, err = kd_sweeps("replay", "s", "--sample", "3", "--storage", url)
    assert (code, "3 rerun, 0 differ" in out) == (0, True), err
    assert kd_sweeps("archive", "s", "-o", "s.kdsweep", "--storage", url)[0] == 0
    code, checks, _ = kd_sweeps("verify", "s.kdsweep")
    assert (code, "DIFFERS" in checks) == (0, False), checks
    assert kd_sweeps("report", "s", "-o", "page", "--storage", url)[0] == 0
    page = Path("page/report.md").read_text(encoding="utf-8")
    assert ("`train.py:train`" in page) == (kind == "function")
    assert "alpha = 1" in page


def test_further_values_of_a_result_are_stored(finished: Finished) -> None:
    kind, url, _ = finished
    outcomes = [task.outcome or {} for task in records(url).values()]
    assert all(outcome["facts"]["agreement"] == outcome["alpha"] for outcome in outcomes)
    assert {outcome["parameters"] > 0 for outcome in outcomes} == {kind == "function"}


RESUMES = """
import os, signal, time

def train(alpha, *, seed, folder):
    state = folder / "epochs"
    epochs = int(state.read_text()) if state.exists() else 0
    while epochs < 4:
        epochs += 1
        state.write_text(str(epochs))
        with open(os.environ["EPOCHS"], "a") as log:
            log.write("x")
        if epochs == 3 and os.environ.get("DIES"):
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
    return 0.5 + alpha / 10
"""


def one_trial(folder: Path) -> str:
    url = f"sqlite:///{folder}/r.db"
    own = {"train": f"{write(folder / 'train.py', RESUMES)}:train", "space": {"alpha": [0.0, 1.0]}, "defaults": {}}
    assert create_sweep(resolve(url), "r", spec(own, lease=QUICK_LEASE, outer={"searches": 1}, **SMALL)).new
    return url


def test_a_training_resumes_from_its_folder_after_its_worker_was_killed(tmp_path: Path) -> None:
    url, log = one_trial(tmp_path), tmp_path / "log"
    assert worker(url, "r", tmp_path, EPOCHS=str(log), DIES="1").wait(120) == -signal.SIGKILL
    assert log.read_text() == "xxx"
    assert [path.read_text() for path in (tmp_path / "cache").rglob("epochs")] == ["3"]
    assert worker(url, "r", tmp_path, EPOCHS=str(log)).wait(120) == 0
    tasks = records(url, "r").values()
    assert {task.state for task in tasks} == {"done"}
    assert sorted(task.attempt for task in tasks) == [1] * (len(tasks) - 1) + [2]
    assert len(log.read_text()) == 4 * len(tasks), "an epoch was trained twice"
    assert list((tmp_path / "cache").rglob("epochs")) == []


def test_the_folder_of_a_worker_killed_right_after_its_result_is_removed_at_the_end(tmp_path: Path) -> None:
    url = one_trial(tmp_path)
    assert worker(url, "r", tmp_path, EPOCHS=os.devnull, KD_SWEEPS_FAILPOINT="finished").wait(120) == -signal.SIGKILL
    assert list((tmp_path / "cache").rglob("epochs")) != []
    assert worker(url, "r", tmp_path, EPOCHS=os.devnull).wait(120) == 0
    assert list((tmp_path / "cache" / "tasks").iterdir()) == []


def test_deleting_a_sweep_removes_its_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kd_sweeps: KdSweeps
) -> None:
    url = one_trial(tmp_path)
    worker(url, "r", tmp_path, EPOCHS=os.devnull, DIES="1").wait(120)
    assert list((tmp_path / "cache").rglob("epochs")) != []
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path / "cache"))
    delete = ("delete", "r", "--yes", "--storage", url)
    wait_until(lambda: kd_sweeps(*delete)[0] == 0, "its lease has not lapsed", every_s=0.5)
    assert list((tmp_path / "cache").rglob("epochs")) == []


LUCKY = "import os\n\ndef train(alpha, *, seed):\n    return int.from_bytes(os.urandom(2)) / 2**16\n"


@pytest.mark.parametrize("exact", [True, False])
def test_replay_finds_a_nondeterministic_function_unless_it_is_declared_so(
    exact: bool, tmp_path: Path, kd_sweeps: KdSweeps
) -> None:
    url = f"sqlite:///{tmp_path}/r.db"
    own = {"train": f"{write(tmp_path / 'train.py', LUCKY)}:train", "space": {"alpha": [0.0, 1.0]}, "defaults": {}}
    assert create_sweep(resolve(url), "r", spec(own | {"exact": exact}, outer={"searches": 1}, **SMALL)).new
    assert worker(url, "r", tmp_path).wait(120) == 0
    code, out, _ = kd_sweeps("replay", "r", "--task", "search#0", "--storage", url)
    assert code == (1 if exact else 0)
    assert "score: " in out
    assert ("1 rerun, 1 differ; this trainer does not promise the same score" in out) == (not exact)


RESUMED = """
from pathlib import Path

def train(alpha, *, seed, folder, report):
    first, epochs = Path(__file__).with_name("first"), folder / "epochs"
    done = int(epochs.read_text()) if epochs.exists() else 0
    for epoch in range(done + 1, 5):
        report(epoch / 4, validation=alpha * epoch / 4)
        epochs.write_text(str(epoch))
        if epoch == 2 and not first.exists():
            first.touch()
            raise RuntimeError("ended")
    return alpha
"""


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, kd_sweeps: KdSweeps) -> None:
    url = f"sqlite:///{tmp_path}/r.db"
    own = {"train": f"{write(tmp_path / 'train.py', RESUMED)}:train", "space": {"alpha": [0.0, 1.0]}, "defaults": {}}
    assert create_sweep(resolve(url), "r", spec(own, outer={"searches": 1}, **SMALL)).new
    assert worker(url, "r", tmp_path).wait(120) == 0
    code, out, _ = kd_sweeps("replay", "r", "--task", "search#0", "--storage", url)
    assert (code, "1 rerun, 0 differ" in out) == (0, True), out


def test_python_creates_a_sweep_from_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    changes = {"transfer.margin": 0.5, "outer.searches": 1, "search.trials": 3, "transfer.seeds": 1}
    url = f"sqlite:///{tmp_path}/p.db"
    sweep = Sweep.create("p", train=train, space={"alpha": [0.0, 1.0]}, changes=changes, storage=url)
    sweep.run(workers=1)
    assert 0.0 <= sweep.best.alpha <= 1.0
