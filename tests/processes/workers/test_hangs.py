"""Tasks and workers that hang: the sweep still ends, loses nothing, and reports what happened."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy

from storage.failpoints import POINTS
from storage.queue import workers
from storage.records import queries
from sweeps.plan.audit import audit
from sweeps.query.listing import open_sweep
from sweeps.spec.model import override
from sweeps.usecases.steering import cancel
from tests.support.launches import environment, launched, start_launch
from tests.support.processes import is_alive
from tests.support.sweeps.archived_sweeps import records
from tests.support.sweeps.small_sweeps import SMALL, created, tasks_of, wait_until

IMPATIENT = override(SMALL, {"limits.search": 1.0, "limits.teachers": 1.0})


@contextmanager
def ended_well(url: sqlalchemy.URL) -> Iterator[tuple[sqlalchemy.Engine, int]]:
    """Yield storage and sweep, after checking that all tasks are done and the audit is clean."""
    with open_sweep(url, "s") as (engine, sweep):
        assert {task.state for task in tasks_of(engine)} == {"done"}
        books = audit(engine, sweep)
        assert (books.violations, books.warnings) == ([], [])
        yield engine, sweep.id


MISBEHAVE = """
import atexit, subprocess, threading
if claim.key == "search#1" and once("hung"):
    print("about to hang", flush=True)
    while True: time.sleep(60)
if claim.key == "search#2" and once("quiet"):
    while True: steps.check(), time.sleep(0.05)
if claim.key == "search#3" and once("frozen"):
    os.kill(os.getpid(), signal.SIGSTOP)
if claim.key == "native.search#1" and once("left"):
    print("noise of a library", flush=True)
    os._exit(7)
if claim.key == "transfer#target.best.0" and once("killed"):
    (HOME / "child").write_text(str(subprocess.Popen(["sleep", "600"]).pid))
    os.kill(os.getpid(), signal.SIGKILL)
if claim.key == "transfer#target.native.0":
    threading.Thread(target=time.sleep, args=(600,)).start()
    atexit.register(time.sleep, 600)
"""


def test_one_launch_survives_every_end_of_its_workers_and_their_leftover_processes(tmp_path: Path) -> None:
    """Each worker meets the next fault. The thread and exit handler of the last one delay nothing."""
    url = created(f"sqlite:///{tmp_path}/s.db", IMPATIENT)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    env = environment(tmp_path / "home", url, MISBEHAVE) | {"TMPDIR": str(temporary)}
    code, out = launched(env, workers=1)
    assert code == 0, out
    assert "finished. Next:" in out
    assert list(temporary.iterdir()) == [], "files of dead workers are removed, too"
    assert not is_alive(int((tmp_path / "home" / "child").read_text()))
    endings = re.findall(r"^worker \S+ (.*)$", out, re.MULTILINE)
    replaced = "; its task is back in the queue; starting another"
    assert endings == [
        f"stopped itself because its task hung{replaced}",
        "is frozen; killing it",
        f"was killed by signal 9{replaced}",
        f"ended with exit code 7{replaced}",
        f"was killed by signal 9{replaced}",
    ]
    assert "noise of a library" not in out
    assert "native.search#1 attempt 1\n" in out, "the last line of the worker's own log"
    with ended_well(url) as (engine, sweep):
        tries = {task.key: queries.attempts_of(engine, sweep, task.key) or [] for task in tasks_of(engine)}
        records = workers.records(engine, sweep)
    lost = ("lost", "lost worker")
    met = {"search#1": ("failed", "timeout"), "search#2": ("failed", "timeout"), "search#3": lost}
    met |= {"native.search#1": lost, "transfer#target.best.0": lost}
    assert {
        key: [(attempt.state, attempt.error_class) for attempt in each] for key, each in tries.items() if len(each) > 1
    } == {key: [ending, ("done", None)] for key, ending in met.items()}
    for key in ("search#1", "search#2"):
        assert tries[key][0].reason == "no step for 1 s (limits.search)"
        assert "StepTimeout" in (tries[key][0].trace or "")
    assert "about to hang" in (tries["search#1"][0].log or "")
    assert [record.reason for record in records if record.reason] == [
        *("stopped itself because its task hung", "was killed by signal 9", "ended with exit code 7"),
        "was killed by signal 9",
    ]


@pytest.mark.slow
def test_a_task_that_always_hangs_fails_at_its_cap_and_the_sweep_continues(tmp_path: Path) -> None:
    spec = override(IMPATIENT, {"retry.timeout": 3, "lease.interval_s": 0.1})
    url = created(f"sqlite:///{tmp_path}/s.db", spec)
    hang = 'if claim.key == "search#1":\n    time.sleep(600)'
    code, out = launched(environment(tmp_path / "home", url, hang), workers=1)
    tasks = records(url)
    task = tasks["search#1"]
    assert (task.state, task.error_class, task.attempt) == ("failed", "timeout", 3)
    assert {task.state for task in tasks.values()} == {"done", "failed"}
    assert code == 0, out  # one lost trial does not fail a sweep
    assert out.count("stopped itself because its task hung") == 3, "hangs do not count as deaths at start"


FREEZE_AT = """
import types
import storage.failpoints as failpoints

def freeze(pid, number):
    if once(os.environ[failpoints.VARIABLE]):
        os.kill(pid, signal.SIGSTOP)

failpoints.os = types.SimpleNamespace(environ=os.environ, getpid=os.getpid, kill=freeze)
os.environ.update({{failpoints.VARIABLE: next((at for at in {points} if not (HOME / at).exists()), "none")}})
"""


@pytest.mark.slow
def test_a_worker_frozen_past_its_lease_at_any_step_loses_nothing(storage_url: str, tmp_path: Path) -> None:
    """Each worker is frozen at another step, always between two transactions, so it holds no lock."""
    points = POINTS["worker"]
    spec = override(SMALL, {"lease.interval_s": 0.2, "lease.grace_s": 0.8, "retry.lost_worker": 0})
    url = created(storage_url, spec)
    env = environment(tmp_path / "home", url)
    custom = tmp_path / "home" / "sitecustomize.py"
    custom.write_text(custom.read_text() + FREEZE_AT.format(points=points))
    code, out = 1, ""
    for _ in points:
        if code:  # three workers frozen in quick succession end a launch
            code, output = launched(env, workers=1, timeout=300)
            out += output
    assert code == 0, out
    assert out.count("is frozen; killing it") == len(points), out
    with ended_well(url):
        pass


def test_cancel_reaches_a_worker_whose_student_hangs(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db")
    home = tmp_path / "home"
    hang = 'if claim.key == "search#1":\n    once("hung")\n    while True: time.sleep(60)'
    process = start_launch(environment(home, url, hang), workers=1)
    wait_until((home / "hung").exists, "nothing hangs")
    cancel(url, "s")
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "s is cancelled; to resume it: kd-sweeps resume s" in out
    assert "; the sweep is cancelled\n" in out, "the worker ended for another reason"
    assert "takes its place" not in out
